//! `stytch-gateway explain`: the decision for one request, step by step.
//!
//! What holds: the gate decides as it does for a running gateway, and what is told is what it found
//! on the way; no credential is ever shown; one that could not be checked is told apart from a
//! refused one.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, header};

use self::near::Sought;
use self::reach::Connected;
use self::report::Report;
pub use self::request::{Asked, NoRequest};
use crate::access::authn::Proved;
use crate::access::authz::Basis;
use crate::access::authz::rules::Context;
use crate::access::credential::Presented;
use crate::access::rejection::{Code, Rejection};
use crate::access::route::Match;
use crate::access::{Grant, RequestHead};
use crate::app::{self, StartError};
use crate::client::{ClientView, Forwarding};
use crate::clock;
use crate::config::{Auth, Config};
use crate::endpoints::Endpoint;
use crate::proxy::ids::{Generator, Via};
use crate::proxy::target::{self, Target};
use crate::proxy::{self, Onward};
use crate::site::Site;

mod credential;
mod headers;
mod near;
mod reach;
pub mod report;
mod request;
mod rules;

/// Who asks: nobody vouches for this client.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    /// Not for an upstream: the gateway answers itself.
    Own,
    Refused(Code),
    /// Stytch would have to be asked, and was not to be.
    Open,
}

/// A decision and how it came about.
pub struct Explained {
    pub report: Report,
    pub outcome: Outcome,
}

/// Decides about one request. Stytch is asked where the gateway would ask, but with `offline`
/// never. Blocks.
///
/// # Errors
/// When there can be no client for Stytch, or no runtime.
pub fn explain(config: Config, asked: &Asked, offline: bool) -> Result<Explained, StartError> {
    let runtime = app::runtime().map_err(StartError::Thread)?;
    runtime.block_on(async {
        let connected = reach::connect(config, offline)?;
        let site = Rc::clone(&connected.site);
        let received_at = clock::unix_millis();
        let mut walk = Walk { connected, site, asked, report: Report::default(), received_at };
        let outcome = walk.walk().await;
        Ok(Explained { report: walk.report, outcome })
    })
}

/// One request on its way.
struct Walk<'a> {
    connected: Connected,
    site: Rc<Site>,
    asked: &'a Asked,
    report: Report,
    /// Unix milliseconds.
    received_at: i64,
}

/// What a request that is let pass takes along.
struct Passage {
    grant: Grant,
    rewritten: Option<PathAndQuery>,
    client: ClientView,
    forwarding: Forwarding,
}

/// What the gate found.
struct Found<'a> {
    route: &'a Match,
    presented: &'a Result<Presented<'a>, Rejection>,
    /// None where there were none to be had.
    keys: Option<String>,
    basis: Option<Basis>,
    proved: Option<&'a Proved>,
    /// What it says no with, or would on a route that is not in observe.
    refusal: Option<&'a Rejection>,
}

impl Walk<'_> {
    async fn walk(&mut self) -> Outcome {
        let decided = match self.request() {
            Ok(parts) => self.decide(&parts).await.map(|passage| (parts, passage)),
            Err(rejection) => Err(rejection),
        };
        let unasked = self.connected.unasked();
        if !unasked.is_empty() {
            let calls = unasked.join(" and ");
            self.report.note("outcome", format!("open: the gateway would {calls}, which --offline forbids"));
            return Outcome::Open;
        }
        match decided {
            Ok((parts, Some(passage))) => {
                self.passes(&parts, &passage);
                Outcome::Allowed
            }
            Ok((_, None)) => {
                self.report.ok("outcome", "the gateway answers this itself");
                Outcome::Own
            }
            Err(rejection) => {
                self.report.no("outcome", format!("refused: {}", said(&rejection)));
                Outcome::Refused(rejection.code)
            }
        }
    }

    fn request(&mut self) -> Result<Parts, Rejection> {
        let request = self.asked.read(&self.site.config.server.limits);
        let request = request.map_err(|rejection| self.no("request", rejection))?;
        self.report.ok("request", self.asked.line());
        Ok(request.into_parts().0)
    }

    /// What the proxy does with a request until it goes upstream; none where it does not go there.
    async fn decide(&mut self, parts: &Parts) -> Result<Option<Passage>, Rejection> {
        let site = Rc::clone(&self.site);
        let target = proxy::may_be_forwarded(&parts.method)
            .and_then(|()| target::read(&parts.method, &parts.uri, &parts.headers));
        let target = target.map_err(|rejection| self.no("target", rejection))?;
        self.report.ok("target", spelled(&target, parts.uri.path()));
        if let Some(visit) = target.visit(&site.config) {
            if visit.endpoint == Endpoint::Nothing {
                return Err(self.no("route", Rejection::new(Code::NoRoute, "a reserved path")));
            }
            self.report.ok("route", "an endpoint of the gateway's own");
            return Ok(None);
        }
        let trusted = &site.config.server.trusted_proxies;
        let forwarding = Forwarding::new(CLIENT, self.asked.https, trusted);
        let client = forwarding.view(&parts.headers, trusted);
        let head = RequestHead {
            method: &parts.method,
            host: &target.host,
            path: &target.path,
            encoded_slash: target.encoded_slash,
            query: target.query,
            headers: &parts.headers,
            client: client.address,
            received_at: self.received_at,
        };
        let grant = self.judge(&head).await?;
        if proxy::limit(grant.route()).is_some_and(|most| content_length(&parts.headers) > most) {
            return Err(
                self.no("body", Rejection::new(Code::BodyTooLarge, "Content-Length is over the limit"))
            );
        }
        let session = &site.config.session;
        let hidden = session.websocket_query.as_deref().filter(|_| head.is_websocket());
        let rewritten = target
            .rewritten(&parts.uri, grant.route().strip_prefix.as_deref(), hidden)
            .map_err(|rejection| self.no("upstream path", rejection))?;
        Ok(Some(Passage { grant, rewritten, client, forwarding }))
    }

    /// Has the gate decide, and tells what it found on the way.
    async fn judge(&mut self, head: &RequestHead<'_>) -> Result<Grant, Rejection> {
        let site = Rc::clone(&self.site);
        let route = self.route(head)?;
        let presented = site.gate.credentials(head);
        let settings = &site.config.routes[route.route];
        let keys = match &presented {
            Ok(presented) if !presented.is_empty() && settings.auth != Auth::None => {
                self.connected.policy(&settings.rules).await;
                self.connected.keys(presented).await
            }
            Ok(_) | Err(_) => None,
        };
        let mut turned_back = None;
        let decided = site.gate.decide_and_tell(head, &mut turned_back).await;
        let (basis, proved, refusal) = match &decided {
            Ok(grant) => (Some(grant.basis()), grant.proved(), grant.observed()),
            Err(rejection) => (None, turned_back.as_ref(), Some(rejection)),
        };
        self.connected.decided(refusal);
        self.tell(head, &Found { route: &route, presented: &presented, keys, basis, proved, refusal });
        decided
    }

    fn route(&mut self, head: &RequestHead<'_>) -> Result<Match, Rejection> {
        let site = Rc::clone(&self.site);
        let config = &site.config;
        let found = site.gate.route(head).map_err(|rejection| self.no("route", rejection));
        if let Ok(found) = &found {
            let route = &config.routes[found.route];
            let upstream =
                route.upstream.map(|index| format!(", to the upstream {}", config.upstreams[index].name));
            let mut text = format!("{}{}", route.name, upstream.unwrap_or_default());
            for (index, name) in config.table.names(found.route).iter().enumerate() {
                let captured = found.captures.at(index, head.host, head.path).unwrap_or_default();
                text.push_str(&format!("; {{{name}}} is {captured}"));
            }
            self.report.ok("route", text);
        }
        let sought = Sought { host: head.host, method: head.method, path: head.path };
        let routes = config.routes.iter().map(|route| &**route);
        for line in near::misses(routes, found.as_ref().ok().map(|found| found.route), sought) {
            self.report.note("route", line);
        }
        found
    }

    /// The steps after the route, as far as they were taken.
    fn tell(&mut self, head: &RequestHead<'_>, found: &Found<'_>) {
        let site = Rc::clone(&self.site);
        let route = &site.config.routes[found.route.route];
        if found.basis == Some(Basis::Public) {
            let why = if route.auth == Auth::None {
                "nobody is asked for one"
            } else {
                "a CORS preflight needs none"
            };
            return self.report.ok("credential", format!("{why}, and none is looked at"));
        }
        let presented = match (found.presented, found.refusal) {
            (_, Some(refusal)) if refusal.code == Code::AmbiguousPath => {
                return self.report.no("target", refusal.reason);
            }
            (Err(malformed), _) => return self.report.no("credential", malformed.reason),
            (Ok(presented), Some(_)) if presented.is_empty() => {
                return self.report.no("credential", "none, and the route asks for one");
            }
            (Ok(presented), None) if presented.is_empty() => {
                return self.report.ok("credential", "none, and the route does without one");
            }
            (Ok(presented), _) => presented,
        };
        let now = self.received_at / 1000;
        for one in presented {
            credential::presented(&mut self.report, one, &site.config.session, head.headers, now);
        }
        if let Some(keys) = &found.keys {
            self.report.note("keys", keys);
        }
        match (found.proved, found.refusal) {
            (Some(proved), refusal) => {
                credential::proved(&mut self.report, proved, now);
                let context = Context {
                    identity: &proved.word.identity,
                    kind: proved.word.kind,
                    captures: &found.route.captures,
                    host: head.host,
                    path: head.path,
                    now: head.received_at,
                    leeway: clock::span(site.config.session.leeway),
                };
                rules::tell(&mut self.report, &route.rules, &context, refusal);
            }
            (None, Some(refusal)) if refusal.code == Code::CrossSiteRequest => {
                self.report.ok("verification", "the session is good");
                self.report.no("origin", refusal.reason);
            }
            (None, Some(_)) if !self.connected.unasked().is_empty() => {}
            (None, Some(refusal)) => self.report.no("verification", why(refusal)),
            (None, None) => {}
        }
    }

    /// What becomes of a request that is let pass.
    fn passes(&mut self, parts: &Parts, passage: &Passage) {
        let why = match (passage.grant.basis(), passage.grant.observed()) {
            (Basis::Allowed, _) => "allowed".to_owned(),
            (Basis::Public, _) => "allowed, as anybody is".to_owned(),
            (Basis::Anonymous, _) => "allowed without a credential".to_owned(),
            (Basis::Observed(code), None) => format!("allowed in observe, in spite of {}", code.as_str()),
            (Basis::Observed(_), Some(refusal)) => {
                format!("allowed in observe, in spite of {}", said(refusal))
            }
        };
        let site = Rc::clone(&self.site);
        let Some(index) = passage.grant.route().upstream else {
            let mut headers = HeaderMap::new();
            site.vouch(&passage.grant, &mut headers);
            headers::tell(&mut self.report, &HeaderMap::new(), &headers, &site);
            return self.report.ok("outcome", format!("{why}: the proxy that asks may pass it on"));
        };
        let upstream = site.upstream(index);
        let ids = Generator::default().next(&parts.headers, passage.forwarding.is_trusted());
        let onward = Onward {
            site: &site,
            client: &passage.client,
            forwarding: &passage.forwarding,
            ids: &ids,
            via: &Via::default(),
            received: parts.version,
        };
        let host = upstream.first_host();
        let after = onward.headers(&parts.headers, &passage.grant, host).to_map();
        headers::tell(&mut self.report, &parts.headers, &after, &site);
        let path = passage.rewritten.as_ref().map_or_else(|| parts.uri.path(), PathAndQuery::path);
        let name = &upstream.settings().name;
        self.report.ok("outcome", format!("{why}: {} {path} goes to the upstream {name}", parts.method));
    }

    fn no(&mut self, step: &str, rejection: Rejection) -> Rejection {
        self.report.no(step, why(&rejection));
        rejection
    }
}

/// In the words of the log.
fn why(rejection: &Rejection) -> String {
    match rejection.code {
        Code::StytchUnavailable | Code::KeysUnavailable => {
            format!("could not be checked: {}", rejection.reason)
        }
        _ => rejection.reason.to_owned(),
    }
}

/// In the words of the answer.
fn said(rejection: &Rejection) -> String {
    let code = rejection.code;
    format!("{} {}, {:?}", code.status().as_u16(), code.as_str(), code.title())
}

fn spelled(target: &Target<'_>, came: &str) -> String {
    let host = if target.host.is_empty() { "no host" } else { &target.host };
    let respelled = if target.path == came { String::new() } else { format!(", which came as {came}") };
    format!("host {host}, path {}{respelled}", target.path)
}

/// The length of a body that is declared; framing has seen that it is one number.
fn content_length(headers: &HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}
