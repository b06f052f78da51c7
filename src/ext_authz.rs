//! Envoy's door: answers its `ext_authz` filter over gRPC (`envoy.service.auth.v3`), and with it
//! gRPC's health protocol.
//!
//! What holds: a check is read into the request that the proxy would have read, judged by the same
//! gate, and answered with what the proxy would have changed about it; whatever goes wrong here is
//! a refusal or an error of the call, never a pass. Everything runs on the one thread of the worker
//! that the listener belongs to: hyper polls each call there, and tonic only frames and codes.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic::server::{Grpc, UnaryService};
use tonic_prost::ProstCodec;

pub use self::health::Health;
use self::io::Joined;
use self::proto::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use self::question::Question;
use crate::access::rejection::{Code, Rejection};
use crate::access::{Grant, RequestHead};
use crate::client::Forwarding;
use crate::clock;
use crate::passage::{Arrival, Asked};
use crate::proxy::hop;
use crate::proxy::target::{self, Target};
use crate::refusal::Came;
use crate::server::record::Record;
use crate::server::worker::Worker;
use crate::signin::redirect::{Origin, Whither};
use crate::site::Site;

mod answer;
mod health;
mod io;
#[rustfmt::skip]
pub mod proto;
mod question;

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// As many as Envoy sends at most, unless told otherwise: its `max_requests` of a cluster.
const STREAMS: u32 = 1024;
/// What a check may hold beside two copies of the head: addresses, certificates, metadata.
const BESIDE_THE_HEAD: usize = 128 * 1024;
/// How long a connection that is told to end may take over it once nothing is under way.
const LINGER: Duration = Duration::from_secs(1);

/// One connection of Envoy's.
struct Door {
    worker: Rc<Worker>,
    /// Of the connection: idle while no call is under way.
    record: Rc<Record>,
    health: Health,
    calls: Cell<usize>,
}

/// Serves gRPC until the connection ends.
pub async fn serve<S>(stream: S, worker: &Rc<Worker>, record: &Rc<Record>, health: &Health)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let door = Rc::new(Door {
        worker: Rc::clone(worker),
        record: Rc::clone(record),
        health: health.clone(),
        calls: Cell::new(0),
    });
    let answering = Rc::clone(&door);
    let service = service_fn(move |request| Rc::clone(&answering).answer(request));
    let mut connection = http2::Builder::new(OnThisThread)
        .max_concurrent_streams(STREAMS)
        .serve_connection(TokioIo::new(Joined::new(stream)), service);
    let mut lingering = None;
    poll_fn(|cx| {
        record.polled_by(cx);
        if record.end().is_some() && lingering.is_none() {
            Pin::new(&mut connection).graceful_shutdown();
            lingering = Some(Box::pin(tokio::time::sleep(LINGER)));
        }
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match &mut lingering {
            // A call of `Watch` would never end by itself, nor would a peer that says nothing.
            Some(linger) if door.calls.get() == 0 => linger.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    })
    .await;
}

/// Lets hyper spawn the calls of a connection where the connection is.
#[derive(Clone, Copy)]
struct OnThisThread;

impl<F: Future + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        drop(tokio::task::spawn_local(future));
    }
}

/// A call under way: its connection is not idle.
struct Call(Rc<Door>);

impl Call {
    fn begin(door: &Rc<Door>) -> Self {
        if door.calls.replace(door.calls.get() + 1) == 0 {
            door.record.begin_request();
        }
        Self(Rc::clone(door))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let left = self.0.calls.get() - 1;
        self.0.calls.set(left);
        if left == 0 {
            self.0.record.end_request(self.0.worker.clock.now());
            if self.0.record.end().is_some() {
                self.0.record.wake();
            }
        }
    }
}

impl Door {
    /// Answers one call. A panic ends that call alone, as an error, which Envoy takes for a refusal.
    async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let _call = Call::begin(&self);
        let answered = AssertUnwindSafe(self.route(request)).catch_unwind().await;
        Ok(answered.unwrap_or_else(|_| {
            self.worker.metrics.panic_caught();
            Status::internal("").into_http()
        }))
    }

    async fn route(self: &Rc<Self>, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if path == CHECK {
            return self.take(request).await;
        }
        if Health::serves(path) {
            let Ok(response) = self.health.server().call(request).await;
            return response;
        }
        Status::unimplemented("").into_http()
    }

    /// Reads a check, within bounds of size and time, and has it answered.
    async fn take(self: &Rc<Self>, request: Request<Incoming>) -> Response<Body> {
        let site = self.worker.site();
        let most = 2 * site.config.server.limits.header_bytes + BESIDE_THE_HEAD;
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, most).collect();
        let Ok(body) = tokio::time::timeout(site.config.server.timeouts.header, body).await else {
            return Status::deadline_exceeded("the check did not arrive in time").into_http();
        };
        let Ok(body) = body else {
            return Status::resource_exhausted("the check is too large, or broke off").into_http();
        };
        let request = Request::from_parts(parts, Full::new(body.to_bytes()));
        let codec = ProstCodec::<CheckResponse, CheckRequest>::default();
        Grpc::new(codec).max_decoding_message_size(most).unary(Check(Rc::clone(self), site), request).await
    }
}

/// Answers one check under the configuration it came under.
struct Check(Rc<Door>, Rc<Site>);

impl UnaryService<CheckRequest> for Check {
    type Response = CheckResponse;
    type Future = LocalBoxFuture<'static, Result<tonic::Response<CheckResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<CheckRequest>) -> Self::Future {
        let (door, site) = (Rc::clone(&self.0), Rc::clone(&self.1));
        async move { Ok(tonic::Response::new(door.check(site, request.into_inner()).await)) }.boxed_local()
    }
}

impl Door {
    async fn check(&self, site: Rc<Site>, request: CheckRequest) -> CheckResponse {
        let started = Instant::now();
        let received_at = clock::unix_millis();
        let source = question::source(&request);
        let peer = source.as_ref().ok().copied().flatten().unwrap_or(self.record.peer);
        let read = source.and_then(|_| question::read(request, &site.config.server.limits));
        let (question, sound) = match read {
            Ok(question) => (question, Ok(())),
            Err(rejection) => (Question::default(), Err(rejection)),
        };
        let (head, known) = (&question.head, sound.is_ok());
        let trusted = &site.config.server.trusted_proxies;
        let forwarding = Rc::new(Forwarding::new(peer, question.https, trusted));
        let arrival = Arrival {
            worker: Rc::clone(&self.worker),
            record: self.worker.record(&site, peer),
            client: forwarding.view(head.headers(), trusted),
            forwarding,
            ids: self.worker.ids.next(head.headers(), true),
            started,
            received_at,
            site,
        };
        let target = sound.and_then(|()| target::read(head.method(), head.uri(), head.headers()));
        let asked = Asked {
            method: if known { head.method().as_str() } else { "" },
            host: target.as_ref().map_or("", |target| &target.host),
            path: match &target {
                Ok(target) => &target.path,
                Err(_) if known => head.uri().path(),
                Err(_) => "",
            },
        };
        let mut passage = arrival.begin(&asked, None);
        let judged = match &target {
            Ok(target) => judge(passage.arrival(), head, target).await,
            Err(rejection) => Err(rejection.clone()),
        };
        match judged {
            Ok((grant, rewritten)) => {
                passage.exchange.granted(&grant);
                passage.exchange.answers(StatusCode::OK);
                let mut headers = head.headers().clone();
                prepare(passage.arrival(), &grant, &mut headers);
                answer::allowed(passage.site(), &grant, head.headers(), &headers, rewritten)
            }
            Err(rejection) => {
                passage.exchange.refused(&rejection);
                let path = head.uri().path_and_query().map_or("/", PathAndQuery::as_str);
                let authority = head.headers().get(header::HOST).and_then(|host| host.to_str().ok());
                let origin = Origin {
                    https: passage.arrival().client.https,
                    authority: authority.unwrap_or_default(),
                };
                let whither = Whither { path, origin: Some(origin) };
                let came = Came { method: head.method(), headers: head.headers(), whither };
                let (denied, status) = answer::denied(&passage.turned_back(&rejection, &came));
                passage.exchange.answers(status);
                denied
            }
        }
    }
}

/// What becomes of a request's target.
struct Rewritten {
    /// What `:path` is to be where that is not what Envoy has.
    path: Option<PathAndQuery>,
    /// The query parameter to be taken out.
    hidden: Option<String>,
}

async fn judge(
    arrival: &Arrival,
    request: &Request<()>,
    target: &Target<'_>,
) -> Result<(Grant, Rewritten), Rejection> {
    let Arrival { site, client, received_at, .. } = arrival;
    if target.visit(&site.config).is_some() {
        return Err(Rejection::new(Code::NoRoute, "a reserved path"));
    }
    let head = RequestHead {
        method: request.method(),
        host: &target.host,
        path: &target.path,
        encoded_slash: target.encoded_slash,
        query: target.query,
        headers: request.headers(),
        client: client.address,
        received_at: *received_at,
    };
    let grant = site.gate.decide(&head).await?;
    let hidden = hidden_parameter(site, &head);
    // Without the parameter too: Envoy takes it out of the path it has, not of the one it is given.
    let respelt = match target.rewritten(request.uri(), None, None) {
        Ok(Some(_)) => target.rewritten(request.uri(), None, hidden),
        unchanged => unchanged,
    };
    let path = respelt.map_err(|rejection| rejection.on_route(grant.index()))?;
    Ok((grant, Rewritten { path, hidden: hidden.map(str::to_owned) }))
}

/// Everything that is taken from and given to a request's headers on the way, but for those of one
/// hop, which are between Envoy and its neighbours.
fn prepare(arrival: &Arrival, grant: &Grant, headers: &mut HeaderMap) {
    let Arrival { site, forwarding, ids, .. } = arrival;
    // Of an upgrade, Envoy passes on what `Connection` nominates, identity headers not excepted.
    if headers.get_all(header::CONNECTION).iter().any(hop::nominates) && headers.contains_key(header::UPGRADE)
    {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    site.withhold(grant, headers);
    forwarding.correct(is_envoys, headers);
    let ours = |name: &&HeaderName| site.owned.is_alias(name) || !ids.let_pass(name);
    let claimed: Vec<_> = headers.keys().filter(ours).cloned().collect();
    for name in claimed {
        headers.remove(name);
    }
    ids.set(headers);
    site.vouch(grant, headers);
}

/// Whether Envoy writes, or checks, a forwarding header before its filters run.
fn is_envoys(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-envoy-")
        || matches!(
            name,
            "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-port" | "x-forwarded-client-cert"
        )
}

/// The query parameter of a WebSocket handshake that carries a credential.
fn hidden_parameter<'s>(site: &'s Site, head: &RequestHead<'_>) -> Option<&'s str> {
    let name = site.config.session.websocket_query.as_deref()?;
    let mut names = head.query?.split('&').filter_map(|pair| pair.split('=').next());
    (head.is_websocket() && names.any(|other| other == name)).then_some(name)
}
