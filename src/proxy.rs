//! The reverse proxy door: decide, replace the identity headers, forward.
//!
//! What holds: host, path, method and query are read once, and the same values are judged, logged
//! and forwarded; a request goes upstream only with a [`Grant`]; whatever identity headers came
//! in, only the gateway's own go out.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::{Body, Incoming};

use self::ids::Ids;
use self::target::Target;
use self::tunnel::Wanted;
use crate::access::rejection::{Code, Rejection};
use crate::access::{Grant, RequestHead, credential};
use crate::client::{ClientView, Forwarding};
use crate::clock;
use crate::config::{Auth, Config, MaxBody, Route};
use crate::exchange::Exchange;
use crate::reply::{self, Form, Reply};
use crate::server::record::{BodyState, Record};
use crate::server::worker::Worker;
use crate::site::Site;
use crate::telemetry::access_log;
use crate::upstream::body::Outgoing;
use crate::upstream::{self, Failure, Lease, Order};

pub mod cookies;
pub mod hop;
pub mod ids;
mod target;
pub mod tunnel;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Signed by the gateway alone: an upstream that echoes it must not hand it to a client.
pub(crate) const ASSERTION: HeaderName = HeaderName::from_static("x-stytch-assertion");

/// One connection's way into the proxy.
pub struct Door {
    worker: Rc<Worker>,
    record: Rc<Record>,
    /// Made for the configuration beside it.
    forwarding: RefCell<(Rc<Site>, Rc<Forwarding>)>,
}

/// A request on its way through the door.
struct Passage {
    client: ClientView,
    forwarding: Rc<Forwarding>,
    ids: Ids,
    exchange: Box<Exchange>,
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
    pub async fn serve(self: Rc<Self>, request: Request<Incoming>) -> Result<Response<Reply>, Infallible> {
        self.record.begin_request();
        let started = Instant::now();
        let received_at = clock::unix_millis();
        let site = self.worker.site();
        let forwarding = self.forwarding(&site);
        let client = forwarding.view(request.headers(), &site.config.server.trusted_proxies);
        let ids = self.worker.ids.next(request.headers(), forwarding.is_trusted());
        let target = target::read(&request);
        let line = self.worker.lines.begin(&access_log::Request {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(received_at.unsigned_abs()),
            request_id: ids.request_id(),
            trace_id: ids.trace_id(),
            client: Some(client.address),
            method: request.method().as_str(),
            host: target.as_ref().map_or("", |target| &target.host),
            path: target.as_ref().map_or_else(|_| request.uri().path(), |target| &target.path),
        });
        let mut passage = Passage {
            client,
            forwarding,
            ids,
            exchange: Exchange::begin(&self.worker, &self.record, site, line, started),
        };
        if is_asterisk(&request) {
            return Ok(passage.options());
        }
        let judged = match may_be_forwarded(request.method()).and(target) {
            Ok(target) => self.judge(&request, target, &passage, received_at).await,
            Err(rejection) => Err(rejection),
        };
        Ok(match judged {
            Ok((grant, rewritten)) => {
                passage.exchange.granted(&grant);
                self.forward(request, grant, rewritten, passage).await
            }
            Err(rejection) => passage.refuse(&rejection, request.method(), request.headers()),
        })
    }

    async fn judge(
        &self,
        request: &Request<Incoming>,
        target: Target<'_>,
        passage: &Passage,
        received_at: i64,
    ) -> Judged {
        let site = &passage.exchange.site;
        if self.worker.via.is_in(request.headers()) {
            return Err(Rejection::new(Code::LoopDetected, "our own Via came back"));
        }
        if target.is_reserved() {
            return Err(Rejection::new(Code::NoRoute, "a reserved path"));
        }
        let head = RequestHead {
            method: request.method(),
            host: &target.host,
            path: &target.path,
            encoded_slash: target.encoded_slash,
            query: target.query,
            headers: request.headers(),
            client: passage.client.address,
            received_at,
        };
        let grant = site.gate.decide(&head).await?;
        if let Some(most) = limit(grant.route())
            && request.body().size_hint().lower() > most
        {
            let rejection = Rejection::new(Code::BodyTooLarge, "Content-Length is over the limit");
            return Err(rejection.on_route(grant.index()));
        }
        let session = &site.config.session;
        let hidden = session.websocket_query.as_deref().filter(|_| head.is_websocket());
        let rewritten = target
            .rewritten(request.uri(), grant.route().strip_prefix.as_deref(), hidden)
            .map_err(|rejection| rejection.on_route(grant.index()))?;
        Ok((grant, rewritten))
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        grant: Grant,
        rewritten: Option<PathAndQuery>,
        mut passage: Passage,
    ) -> Response<Reply> {
        let (mut parts, body) = request.into_parts();
        let form = Form::of(&parts.method, &parts.headers);
        let wanted = Wanted::read(&parts).filter(|_| body.is_end_stream());
        let bound = hop::binds_connection(&parts.headers, header::AUTHORIZATION);
        let site = Rc::clone(&passage.exchange.site);
        let route = grant.route();
        let upstream = site.upstream(route.upstream);
        if let Some(path) = rewritten {
            parts.uri = Uri::from(path);
        }
        parts.version = Version::HTTP_11;
        let most = limit(route).unwrap_or(u64::MAX);
        let outgoing = Outgoing::new(body, most, &self.record, &site.owned);
        let timeouts = route.timeouts.as_ref().unwrap_or(&upstream.settings().timeouts);
        let order = Order { endpoint: upstream.pick(), record: &self.record, timeouts };
        let host = upstream.host_of(order.endpoint);
        // As the client sent it, since everything else can be done again.
        let spare = may_repeat(&parts.method, &outgoing).then(|| parts.clone());
        self.prepare(&mut parts.headers, &grant, &passage, wanted.as_ref(), host.clone());
        if !outgoing.is_end_stream() && outgoing.size_hint().exact().is_none() {
            // hyper would send a GET without the body that it cannot tell the length of.
            parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let request = Request::from_parts(parts, outgoing);
        let answered = match (upstream.send(&order, request).await, spare) {
            (Err(Failure::DeadLink), Some(mut parts)) => {
                self.prepare(&mut parts.headers, &grant, &passage, wanted.as_ref(), host);
                upstream.send_again(&order, Request::from_parts(parts, Outgoing::empty())).await
            }
            (answered, _) => answered,
        };
        match answered {
            Ok((response, lease)) => {
                passage.exchange.upstream_answered();
                let bound = bound || hop::binds_connection(response.headers(), header::WWW_AUTHENTICATE);
                let lease = if bound { lease.once() } else { lease };
                self.pass_on(response, lease, &grant, wanted, passage, form).await
            }
            Err(failure) => passage.fail(&self.explain(&failure), form),
        }
    }

    /// Everything that is taken from and given to a request's headers on the way.
    fn prepare(
        &self,
        headers: &mut HeaderMap,
        grant: &Grant,
        passage: &Passage,
        wanted: Option<&Wanted>,
        upstream_host: Option<HeaderValue>,
    ) {
        let site = &passage.exchange.site;
        let config: &Config = &site.config;
        hop::strip(headers);
        if !config.identity.forward_credentials {
            let ours = grant.route().auth != Auth::None
                || credential::could_be_ours(headers, &config.stytch.issuers);
            credential::withhold(&config.session, headers, ours && config.session.bearer);
        }
        let host = headers.get(header::HOST).cloned().unwrap_or(HeaderValue::from_static(""));
        passage.forwarding.apply(&passage.client, &host, headers);
        if let Some(host) = upstream_host.or_else(|| host.is_empty().then_some(host)) {
            headers.insert(header::HOST, host);
        }
        self.worker.via.add(headers);
        passage.ids.set(headers);
        site.vouch(grant, headers);
        if let Some(wanted) = wanted {
            wanted.ask(headers);
        }
    }

    async fn pass_on(
        &self,
        response: Response<Incoming>,
        lease: Lease,
        grant: &Grant,
        wanted: Option<Wanted>,
        mut passage: Passage,
        form: Form,
    ) -> Response<Reply> {
        let (mut parts, body) = response.into_parts();
        let switching = parts.status == StatusCode::SWITCHING_PROTOCOLS;
        let switched = wanted.filter(|wanted| switching && wanted.is_granted(&parts.headers));
        if switching && switched.is_none() {
            let rejection = Rejection::new(Code::UpstreamProtocol, "a switch of protocols nobody asked for");
            return passage.fail(&rejection, form);
        }
        if !hop::is_plainly_framed(&parts.headers) {
            let rejection =
                Rejection::new(Code::UpstreamProtocol, "the response is framed in two ways or an odd one");
            return passage.fail(&rejection, form);
        }
        hop::strip(&mut parts.headers);
        parts.version = Version::HTTP_11;
        parts.headers.remove(ASSERTION);
        let config = &passage.exchange.site.config;
        cookies::drop_own(&config.session, &mut parts.headers);
        if let Some(proved) = grant.proved() {
            if !parts.headers.contains_key(header::CACHE_CONTROL) {
                parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
            }
            if let Some(fresh) = proved.take_fresh() {
                cookies::write_back(&config.session, &fresh, &mut parts.headers);
            }
        }
        passage.exchange.answers(parts.status);
        let Some(switched) = switched else {
            return Response::from_parts(parts, Reply::pass_on(body, lease, passage.exchange));
        };
        switched.confirm(&mut parts.headers);
        let Some(remains) = lease.into_remains().await else {
            let rejection =
                Rejection::new(Code::UpstreamProtocol, "the connection was gone after the switch");
            return passage.fail(&rejection, form);
        };
        self.record.upgrade(tunnel::Far { remains, exchange: passage.exchange });
        Response::from_parts(parts, Reply::switch())
    }

    /// Why a request failed that was let pass. What the client did to its body comes first: it is
    /// what made the upstream's part fail.
    fn explain(&self, failure: &Failure) -> Rejection {
        match self.record.body() {
            BodyState::TooLarge => return Rejection::new(Code::BodyTooLarge, "the body is over the limit"),
            BodyState::Broken => {
                return Rejection::new(Code::BadRequest, "the body broke off or is malformed");
            }
            BodyState::Fine => {}
        }
        let (code, reason) = match failure {
            Failure::Connect(_) => (Code::UpstreamUnreachable, "no connection to the upstream"),
            Failure::ConnectTimeout => (Code::UpstreamUnreachable, "no connection within timeouts.connect"),
            Failure::ResponseTimeout => (Code::UpstreamTimeout, "no response within timeouts.response"),
            Failure::Full => (Code::Overloaded, "the upstream's max_connections are in use"),
            Failure::DeadLink => (Code::UpstreamUnreachable, "the pooled connection was closed"),
            Failure::Exchange(error) if upstream::is_malformed(error) => {
                (Code::UpstreamProtocol, "the upstream's response is malformed")
            }
            Failure::Exchange(error) if error.is_incomplete_message() => {
                (Code::UpstreamProtocol, "the upstream closed the connection without a response")
            }
            Failure::Exchange(_) => (Code::UpstreamUnreachable, "the connection to the upstream broke"),
        };
        Rejection::new(code, reason)
    }
}

impl Passage {
    fn refuse(mut self, rejection: &Rejection, method: &Method, headers: &HeaderMap) -> Response<Reply> {
        self.exchange.refused(rejection);
        let session = &self.exchange.site.config.session;
        let forget = rejection.code == Code::InvalidCredential && cookies::has_own(session, headers);
        let mut response = reply::refusal(rejection, Form::of(method, headers), self.ids.request_id());
        if forget {
            cookies::forget(session, response.headers_mut());
        }
        if method == Method::CONNECT {
            // What follows may be meant for the tunnel that did not come about.
            response.headers_mut().insert(header::CONNECTION, CLOSE);
        }
        self.own(response)
    }

    fn fail(mut self, rejection: &Rejection, form: Form) -> Response<Reply> {
        self.exchange.failed(rejection.code, rejection.reason);
        let response = reply::refusal(rejection, form, self.ids.request_id());
        self.own(response)
    }

    /// `OPTIONS *` asks about the gateway, not about anything behind it.
    fn options(self) -> Response<Reply> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(header::ALLOW, reply::METHODS);
        self.own(response)
    }

    fn own(mut self, mut response: Response<Bytes>) -> Response<Reply> {
        if [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE].contains(&response.status()) {
            // Whoever cannot write a request is not trusted to know where its body ends, and a
            // body that is too large is not read to its end.
            response.headers_mut().insert(header::CONNECTION, CLOSE);
        }
        self.exchange.answers(response.status());
        response.map(|body| Reply::own(body, self.exchange))
    }
}

/// Whether a request may be sent twice: idempotent (RFC 9110 section 9.2.2) and without a body.
fn may_repeat(method: &Method, body: &Outgoing) -> bool {
    body.is_end_stream()
        && [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE].contains(method)
}

fn forwarding(record: &Record, site: &Site) -> Rc<Forwarding> {
    Rc::new(Forwarding::new(record.peer, false, &site.config.server.trusted_proxies))
}

/// Before anything else, since the target of CONNECT has a form of its own.
fn may_be_forwarded(method: &Method) -> Result<(), Rejection> {
    if [Method::CONNECT, Method::TRACE].contains(method) || method.as_str() == "TRACK" {
        return Err(Rejection::new(Code::MethodNotAllowed, "a method that is never forwarded"));
    }
    Ok(())
}

fn is_asterisk(request: &Request<Incoming>) -> bool {
    request.method() == Method::OPTIONS && request.uri().path() == "*"
}

const fn limit(route: &Route) -> Option<u64> {
    match route.max_body {
        MaxBody::Bytes(most) => Some(most),
        MaxBody::Unlimited => None,
    }
}
