//! The reverse proxy door: decide, replace the identity headers, forward.
//!
//! What holds: host, path, method and query are read once, and the same values are judged, logged
//! and forwarded; a request goes upstream only with a [`Grant`]; whatever identity headers came
//! in, only the gateway's own go out.

use std::borrow::Cow;
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Instant;

use crate::server::incoming::Incoming;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Body;

use self::ids::{Ids, Via};
use self::lasting::Lasting;
use self::sieve::Sieve;
use self::target::Target;
use self::tunnel::{Handshake, Wanted};
use crate::access::rejection::{Code, Rejection};
use crate::access::{Grant, RequestHead};
use crate::client::{ClientView, Forwarding};
use crate::clock;
use crate::config::{MaxBody, Route};
use crate::endpoints;
use crate::fields::{Fields, Headers as _};
use crate::passage::{Arrival, Asked, Passage};
use crate::refusal::Came;
use crate::reply::{self, Dialect, Form, LastWords, Reply};
use crate::server::descriptors;
use crate::server::record::{BodyState, Record};
use crate::server::worker::Worker;
use crate::signin::redirect::Whither;
use crate::site::Site;
use crate::upstream::answer::Answer;
use crate::upstream::body::Outgoing;
use crate::upstream::form::Outbound;
use crate::upstream::{Failure, Order};

pub mod cookies;
pub mod hop;
pub mod ids;
pub mod lasting;
pub mod sieve;
pub(crate) mod target;
pub mod tunnel;

/// Headers that the gateway adds to a request one by one, about.
const ADDED: usize = 8;

/// One connection's way into the proxy.
pub struct Door {
    worker: Rc<Worker>,
    record: Rc<Record>,
    /// Made for the configuration beside it.
    forwarding: RefCell<(Rc<Site>, Rc<Forwarding>)>,
}

/// What was decided, with what the upstream will be asked for when that is not the target as it
/// came.
type Judged = Result<(Grant, Option<PathAndQuery>), Rejection>;

impl Door {
    #[must_use]
    pub fn new(worker: Rc<Worker>, record: Rc<Record>) -> Self {
        let site = worker.site();
        let forwarding = RefCell::new((Rc::clone(&site), forwarding(&record, &site)));
        Self { worker, record, forwarding }
    }

    /// The way into the proxy of one of several requests on the connection, with a record of its own.
    #[must_use]
    pub fn of_stream(&self, record: &Rc<Record>) -> Self {
        let site = self.worker.site();
        let forwarding = RefCell::new((Rc::clone(&site), self.forwarding(&site)));
        Self { worker: Rc::clone(&self.worker), record: Rc::clone(record), forwarding }
    }

    /// Whom to believe about the client, under the configuration of this request.
    fn forwarding(&self, site: &Rc<Site>) -> Rc<Forwarding> {
        let mut known = self.forwarding.borrow_mut();
        if !Rc::ptr_eq(&known.0, site) {
            *known = (Rc::clone(site), forwarding(&self.record, site));
        }
        Rc::clone(&known.1)
    }

    /// Answers one request.
    ///
    /// # Errors
    /// Never: every failure is an answer.
    pub fn serve(
        self: Rc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Reply>, Infallible>> {
        self.serve_read(request, Ok(()))
    }

    /// The same for a request that may turn out unsound before its target is read.
    ///
    /// # Errors
    /// Never: every failure is an answer.
    pub fn serve_read(
        self: Rc<Self>,
        request: Request<Incoming>,
        sound: Result<(), Rejection>,
    ) -> impl Future<Output = Result<Response<Reply>, Infallible>> {
        // Not one async function within another: each would keep a request's room of its own.
        let worker = Rc::clone(&self.worker);
        self.answer(request, sound).map(move |mut response| {
            if worker.is_leaving() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        })
    }

    async fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
        sound: Result<(), Rejection>,
    ) -> Response<Reply> {
        self.record.begin_request();
        let (parts, body) = request.into_parts();
        let arrival = self.arrival(&parts);
        let target = sound.and_then(|()| self.read_target(&parts, &arrival));
        let visit = target.as_ref().ok().and_then(|target| target.visit(&arrival.site.config));
        if let (Some(visit), Ok(())) = (visit, may_be_forwarded(&parts.method)) {
            return Box::pin(endpoints::serve(visit, arrival, Request::from_parts(parts, body))).await;
        }
        let asked = Asked {
            method: parts.method.as_str(),
            host: target.as_ref().map_or("", |target| &target.host),
            path: target.as_ref().map_or_else(|_| parts.uri.path(), |target| &target.path),
        };
        let mut passage = arrival.begin(&asked, None);
        if is_asterisk(&parts) {
            return options(passage);
        }
        let judged = match may_be_forwarded(&parts.method).and(target) {
            Ok(target) => self.judge(&parts, &body, target, &passage).await,
            Err(rejection) => Err(rejection),
        };
        match judged {
            Ok((grant, rewritten)) => {
                passage.exchange.granted(&grant);
                match grant.proved() {
                    Some(proved) => {
                        let Arrival { client, site, received_at, .. } = passage.arrival();
                        let lasting = Lasting::new(parts, client.address, proved, site, *received_at);
                        self.record.lasts(Rc::clone(&lasting));
                        self.forward(&lasting.parts, body, &grant, rewritten, passage).await
                    }
                    None => self.forward(&parts, body, &grant, rewritten, passage).await,
                }
            }
            Err(rejection) => {
                let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
                let whither = Whither { path, origin: None };
                passage
                    .turn_back(&rejection, &Came { method: &parts.method, headers: &parts.headers, whither })
            }
        }
    }

    /// What is known of a request before its target is read.
    fn arrival(&self, parts: &Parts) -> Arrival {
        let started = Instant::now();
        let site = self.worker.site();
        let forwarding = self.forwarding(&site);
        Arrival {
            worker: Rc::clone(&self.worker),
            record: Rc::clone(&self.record),
            client: forwarding.view(&parts.headers, &site.config.server.trusted_proxies),
            ids: self.worker.ids.next(&parts.headers, forwarding.is_trusted()),
            site,
            forwarding,
            started,
            received_at: clock::unix_millis(),
        }
    }

    fn read_target<'p>(&self, parts: &'p Parts, arrival: &Arrival) -> Result<Target<'p>, Rejection> {
        let target = target::read(&parts.method, &parts.uri, &parts.headers)?;
        let target = self.directed_here(target, &arrival.forwarding)?;
        if Handshake::of(parts).is_some() && target.visit(&arrival.site.config).is_some() {
            let reason = "a WebSocket on one of the gateway's own paths";
            return Err(Rejection::new(Code::MethodNotAllowed, reason));
        }
        Ok(target)
    }

    /// Whether the host is the one that the connection was made for (ATTACKS.md H27, M03). A client
    /// that uses one connection for several hosts asks again on another (RFC 9110 section 15.5.20);
    /// what a trusted proxy calls us is its own affair.
    fn directed_here<'t>(
        &self,
        target: Target<'t>,
        forwarding: &Forwarding,
    ) -> Result<Target<'t>, Rejection> {
        let Some(secured) = self.record.secured() else { return Ok(target) };
        match &secured.server_name {
            Some(name) if *name != target.host && !target.host.is_empty() && !forwarding.is_trusted() => {
                let reason = "the host is not the one that the TLS connection was made for";
                Err(Rejection::new(Code::MisdirectedRequest, reason))
            }
            _ => Ok(target),
        }
    }

    async fn judge(&self, parts: &Parts, body: &Incoming, target: Target<'_>, passage: &Passage) -> Judged {
        let Arrival { site, client, received_at, .. } = passage.arrival();
        if self.worker.via.is_in(&parts.headers) {
            return Err(Rejection::new(Code::LoopDetected, "our own Via came back"));
        }
        let head = RequestHead {
            method: &parts.method,
            host: &target.host,
            path: &target.path,
            encoded_slash: target.encoded_slash,
            query: target.query,
            headers: &parts.headers,
            client: client.address,
            received_at: *received_at,
        };
        let grant = site.gate.decide(&head).await?;
        if let Some(most) = limit(grant.route())
            && body.size_hint().lower() > most
        {
            let rejection = Rejection::new(Code::BodyTooLarge, "Content-Length is over the limit");
            return Err(rejection.on_route(grant.index()));
        }
        let session = &site.config.session;
        let hidden = session.websocket_query.as_deref().filter(|_| head.is_websocket());
        let rewritten = target
            .rewritten(&parts.uri, grant.route().strip_prefix.as_deref(), hidden)
            .map_err(|rejection| rejection.on_route(grant.index()))?;
        Ok((grant, rewritten))
    }

    async fn forward(
        &self,
        inbound: &Parts,
        body: Incoming,
        grant: &Grant,
        rewritten: Option<PathAndQuery>,
        mut passage: Passage,
    ) -> Response<Reply> {
        let bound = hop::binds_connection(&inbound.headers, header::AUTHORIZATION);
        let site = Rc::clone(passage.site());
        let route = grant.route();
        let Some(upstream) = route.upstream.map(|index| site.upstream(index)) else {
            let rejection =
                Rejection::new(Code::NoRoute, "the route has no upstream").on_route(grant.index());
            return passage.refuse(&rejection, &inbound.method, &inbound.headers);
        };
        passage.exchange.forwarded();
        let most = limit(route).unwrap_or(u64::MAX);
        let outgoing = Outgoing::new(body, most, &self.record, &site.owned);
        let is_bodiless = outgoing.is_end_stream();
        let wanted = Wanted::read(inbound).filter(|_| is_bodiless && upstream.can_switch());
        if wanted.is_none() && Handshake::of(inbound).is_some() {
            let deaf = Rejection::new(Code::UpstreamProtocol, "the upstream speaks HTTP/2 alone");
            return passage.fail(&deaf, Form::of(&inbound.method, &inbound.headers));
        }
        let order = Order {
            record: &self.record,
            timeouts: route.timeouts.as_ref().unwrap_or(&upstream.settings().timeouts),
            is_bodiless,
            may_repeat: is_bodiless && is_idempotent(&inbound.method),
            switches: wanted.is_some(),
        };
        let outbound = |host: Option<HeaderValue>, body: Outgoing| {
            let onward = passage.onward(inbound.version);
            let mut headers = onward.headers(&inbound.headers, grant, host);
            if let Some(client) = self.record.secured().and_then(|secured| secured.client.as_ref()) {
                site.vouch_for_client(grant, client, &mut headers);
            }
            if let Some(wanted) = &wanted {
                wanted.ask(&mut headers);
            }
            if upstream.settings().http2 && hop::takes_trailers(&inbound.headers) {
                headers.set(Cow::Owned(header::TE), Cow::Owned(HeaderValue::from_static("trailers")));
            }
            let target = rewritten.as_ref().or_else(|| inbound.uri.path_and_query());
            Outbound { method: &inbound.method, target, headers, body }
        };
        let answered = upstream.send(&order, outgoing, &outbound).await;
        let form = || Form::of(&inbound.method, &inbound.headers);
        let mut response = match answered {
            Ok(response) => response,
            Err(failure) => return self.broken(&failure, passage, form()),
        };
        passage.exchange.upstream_answered();
        let switched = match switches(&response, wanted) {
            Ok(switched) => switched,
            Err(rejection) => return passage.fail(&rejection, form()),
        };
        if bound || hop::binds_connection(response.headers(), header::WWW_AUTHENTICATE) {
            response.body_mut().once();
        }
        take_in(&mut response, &site, grant);
        passage.exchange.answers(response.status());
        let Some(switched) = switched else {
            let call = if is_bodiless { None } else { Dialect::of(&inbound.headers) };
            let words = call.and_then(|call| LastWords::of(call, inbound.version, response.headers()));
            return response.map(|body| Reply::pass_on(body, passage.exchange, words));
        };
        switched.confirm(response.headers_mut());
        let (head, body) = response.into_parts();
        let Some(remains) = body.into_remains() else {
            let gone = Rejection::new(Code::UpstreamProtocol, "the connection was gone after the switch");
            return passage.fail(&gone, form());
        };
        let websocket = switched.is_websocket();
        self.record.upgrade(tunnel::Far { remains, exchange: passage.exchange, websocket });
        Response::from_parts(head, Reply::switch())
    }

    /// The answer to a request that was let pass, and that the upstream gave none to.
    fn broken(&self, failure: &Failure, passage: Passage, form: Form) -> Response<Reply> {
        let was_cut = self.record.was_cut().is_some();
        let mut response = passage.fail(&self.explain(failure), form);
        if was_cut {
            // Its body may still be coming.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Why a request failed that was let pass. What we and the client did to it comes first: it is
    /// what made the upstream's part fail.
    fn explain(&self, failure: &Failure) -> Rejection {
        if let Some(cut) = self.record.was_cut() {
            return Rejection::new(cut.code.unwrap_or(Code::Overloaded), cut.reason);
        }
        match self.record.body() {
            BodyState::TooLarge => return Rejection::new(Code::BodyTooLarge, "the body is over the limit"),
            BodyState::Broken => {
                return Rejection::new(Code::BadRequest, "the body broke off or is malformed");
            }
            BodyState::Fine => {}
        }
        let (code, reason) = match failure {
            Failure::NoAddress => (Code::UpstreamUnreachable, "the upstream's name has no address"),
            Failure::NoneHealthy => {
                (Code::NoHealthyUpstream, "every instance of the upstream fails its health checks")
            }
            Failure::Connect(error) if descriptors::is_shortage(error) => {
                (Code::Overloaded, "descriptors are short")
            }
            Failure::Connect(_) => (Code::UpstreamUnreachable, "no connection to the upstream"),
            Failure::ConnectTimeout => (Code::UpstreamUnreachable, "no connection within timeouts.connect"),
            Failure::ResponseTimeout => (Code::UpstreamTimeout, "no response within timeouts.response"),
            Failure::Full => (Code::Overloaded, "the upstream's max_connections stayed in use"),
            Failure::DeadLink | Failure::Unprocessed(_) => {
                (Code::UpstreamUnreachable, "the pooled connection was closed")
            }
            Failure::Silent(error) | Failure::Exchange(error) if error.is_malformed() => {
                (Code::UpstreamProtocol, "the upstream's response is malformed")
            }
            Failure::Silent(error) | Failure::Exchange(error) if error.is_incomplete() => {
                (Code::UpstreamProtocol, "the upstream closed the connection without a response")
            }
            Failure::Silent(_) | Failure::Exchange(_) => {
                (Code::UpstreamUnreachable, "the connection to the upstream broke")
            }
        };
        Rejection::new(code, reason)
    }
}

/// What a request takes along to its upstream.
pub(crate) struct Onward<'a> {
    pub(crate) site: &'a Site,
    pub(crate) client: &'a ClientView,
    pub(crate) forwarding: &'a Forwarding,
    pub(crate) ids: &'a Ids,
    pub(crate) via: &'a Via,
    /// The version that the request came in.
    pub(crate) received: Version,
}

impl<'a> Onward<'a> {
    /// The headers that go upstream, gathered anew: what came in stays as it was.
    pub(crate) fn headers(
        &self,
        inbound: &'a HeaderMap,
        grant: &'a Grant,
        upstream_host: Option<HeaderValue>,
    ) -> Fields<'a> {
        static NO_HOST: HeaderValue = HeaderValue::from_static("");
        let mut headers = Fields::with_capacity(inbound.len() + ADDED);
        let sieve = Sieve { owned: &self.site.owned, forwarding: self.forwarding, ids: self.ids };
        sieve.pass(inbound, &mut headers);
        self.site.withhold(grant, &mut headers);
        let host = inbound.get(header::HOST).unwrap_or(&NO_HOST);
        self.forwarding.tell(self.client, host, inbound, &mut headers);
        if let Some(host) = upstream_host {
            headers.set(Cow::Owned(header::HOST), Cow::Owned(host));
        } else if host.is_empty() {
            headers.set(Cow::Owned(header::HOST), Cow::Borrowed(host));
        }
        self.via.add(self.received, &mut headers);
        self.ids.set(&mut headers);
        self.site.vouch(grant, &mut headers);
        headers
    }
}

/// What the response switches to, when it switches protocols.
///
/// # Errors
/// `upstream_protocol`: nobody asked for the switch, or it cannot be told where the response ends.
fn switches(response: &Response<Answer>, wanted: Option<Wanted>) -> Result<Option<Wanted>, Rejection> {
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let is_handshake = wanted.as_ref().is_some_and(Wanted::is_handshake);
    let switched = wanted.filter(|wanted| switching && wanted.is_granted(response.headers()));
    if switching && switched.is_none() {
        return Err(Rejection::new(Code::UpstreamProtocol, "a switch of protocols nobody asked for"));
    }
    if is_handshake && !switching && response.status().is_success() {
        // Over HTTP/2, success means that the WebSocket is open.
        return Err(Rejection::new(Code::UpstreamProtocol, "the upstream did not open the WebSocket"));
    }
    // Of HTTP/1.1 that was seen when it was read.
    if response.version() == Version::HTTP_2 && !hop::is_plainly_framed(response.headers()) {
        return Err(Rejection::new(
            Code::UpstreamProtocol,
            "the response is framed in two ways or an odd one",
        ));
    }
    Ok(switched)
}

/// What is taken from and given to a response's headers on the way.
fn take_in(response: &mut Response<Answer>, site: &Site, grant: &Grant) {
    let session = &site.config.session;
    *response.version_mut() = Version::HTTP_11;
    let headers = response.headers_mut();
    hop::strip(headers);
    site.withhold_assertion(headers);
    cookies::drop_own(session, headers);
    let Some(proved) = grant.proved() else { return };
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    if let Some(fresh) = proved.take_fresh() {
        cookies::write_back(session, &fresh, headers);
    }
}

/// `OPTIONS *` asks about the gateway, not about anything behind it.
fn options(passage: Passage) -> Response<Reply> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, reply::METHODS);
    passage.own(response)
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE].contains(method)
}

fn forwarding(record: &Record, site: &Site) -> Rc<Forwarding> {
    Rc::new(Forwarding::new(record.peer, record.secured().is_some(), &site.config.server.trusted_proxies))
}

/// Before anything else, since the target of CONNECT has a form of its own.
pub(crate) fn may_be_forwarded(method: &Method) -> Result<(), Rejection> {
    if [Method::CONNECT, Method::TRACE].contains(method) || method.as_str() == "TRACK" {
        return Err(Rejection::new(Code::MethodNotAllowed, "a method that is never forwarded"));
    }
    Ok(())
}

fn is_asterisk(inbound: &Parts) -> bool {
    inbound.method == Method::OPTIONS && inbound.uri.path() == "*"
}

pub(crate) const fn limit(route: &Route) -> Option<u64> {
    match route.max_body {
        MaxBody::Bytes(most) => Some(most),
        MaxBody::Unlimited => None,
    }
}
