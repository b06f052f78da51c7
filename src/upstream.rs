//! Sends a request to an upstream, over a connection of this worker's own pool.
//!
//! What holds: a connection carries one request at a time and goes back to the pool only after
//! its response was read to the end; a request is sent twice only when it is idempotent, has no
//! body and went out on a pooled connection that gave no byte of an answer.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use self::body::Outgoing;
use self::io::{Flow, Metered, Socket};
use crate::clock::{self, CoarseClock, Ticks};
use crate::config::{self, UpstreamTimeouts};
use crate::metrics::{ConnectionState, UpstreamConnection, UpstreamOutcome, UpstreamWorker};
use crate::server::record::Record;

pub mod body;
mod head;
pub mod io;

/// What a stalled reader can pin is a few of these (see ARCHITECTURE.md, Memory).
const READ_SIZE: usize = 32 * 1024;

/// Why an upstream gave no response.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    #[error("no connection within timeouts.connect")]
    ConnectTimeout,
    #[error("no response within timeouts.response")]
    ResponseTimeout,
    #[error("as many connections as max_connections allows")]
    Full,
    /// The request went out on a pooled connection that turned out dead: not a byte came back. It
    /// may be sent again if it is idempotent.
    #[error("the pooled connection was dead")]
    DeadLink,
    #[error("the exchange broke off")]
    Exchange(#[source] hyper::Error),
}

/// The head of a response, and the connection its body comes on.
pub type Answered = (Response<Incoming>, Lease);

/// Where a request goes, on whose behalf, and how long it may take.
pub struct Order<'a> {
    /// See [`Upstream::pick`].
    pub endpoint: usize,
    pub record: &'a Record,
    pub timeouts: &'a UpstreamTimeouts,
}

/// One worker's connections to one upstream.
pub struct Upstream {
    settings: Arc<config::Upstream>,
    endpoints: Vec<Rc<Endpoint>>,
    next: Cell<usize>,
    /// This worker's share of `max_connections`.
    most: usize,
    clock: Rc<CoarseClock>,
    counts: UpstreamWorker,
}

struct Endpoint {
    target: config::Target,
    /// Most recently used last.
    idle: RefCell<Vec<Link>>,
    open: Cell<usize>,
}

/// A connection and the way to send on it.
struct Link {
    sender: SendRequest<Outgoing>,
    shared: Rc<Shared>,
    idle_since: Ticks,
    counted: UpstreamConnection,
}

/// Shared by a link and the task that drives its connection.
struct Shared {
    flow: Rc<Flow>,
    /// Filled when the connection stopped speaking HTTP.
    remains: RefCell<Option<Remains>>,
}

/// An upstream's socket after a switch of protocols, and what was read of the next one.
pub struct Remains {
    pub stream: Socket,
    pub read: Vec<u8>,
    /// It counts as a connection until the tunnel ends.
    _counted: Option<UpstreamConnection>,
}

/// A connection in use. Dropped, it closes; released, it serves the next request.
pub struct Lease {
    endpoint: Rc<Endpoint>,
    link: Option<Link>,
    clock: Rc<CoarseClock>,
    reusable: bool,
}

impl Upstream {
    #[must_use]
    pub fn new(
        settings: Arc<config::Upstream>,
        workers: usize,
        clock: Rc<CoarseClock>,
        counts: UpstreamWorker,
    ) -> Self {
        let endpoints = settings
            .targets
            .iter()
            .map(|target| {
                Rc::new(Endpoint { target: target.clone(), idle: RefCell::default(), open: Cell::new(0) })
            })
            .collect();
        let most = settings.max_connections.map_or(usize::MAX, |most| most.div_ceil(workers));
        Self { settings, endpoints, next: Cell::new(0), most, clock, counts }
    }

    #[must_use]
    pub fn settings(&self) -> &config::Upstream {
        &self.settings
    }

    /// The endpoint whose turn it is, and the `Host` it expects.
    #[must_use]
    pub fn pick(&self) -> usize {
        let at = self.next.get();
        self.next.set(if at + 1 < self.endpoints.len() { at + 1 } else { 0 });
        at
    }

    /// `Host` for an endpoint when the client's own is not preserved.
    #[must_use]
    pub fn host_of(&self, endpoint: usize) -> Option<HeaderValue> {
        match &self.settings.host {
            config::UpstreamHost::Preserve => None,
            config::UpstreamHost::Fixed(host) => Some(host.clone()),
            config::UpstreamHost::Target => self.endpoints[endpoint].target.authority(),
        }
    }

    /// Sends a request on a pooled connection, or on a new one, and waits for the head of its
    /// response. The request is taken from its place when it is sent.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn send(
        &self,
        order: &Order<'_>,
        request: &mut Option<Request<Outgoing>>,
    ) -> Result<Answered, Failure> {
        let mut counted = Counted { counts: &self.counts, outcome: Some(UpstreamOutcome::Cancelled) };
        let endpoint = &self.endpoints[order.endpoint];
        while let Some(mut link) = endpoint.take_idle() {
            link.counted.becomes(ConnectionState::Active);
            let shared = Rc::clone(&link.shared);
            let sent = match self.send_on(link, order, request).await {
                // Never written: any other connection will do.
                Err(_) if request.is_some() => continue,
                Err(Failure::Exchange(error)) if gave_no_answer(&error) && !shared.flow.has_heard() => {
                    Err(Failure::DeadLink)
                }
                sent => sent,
            };
            counted.ends(&sent);
            return sent;
        }
        // Boxed: a new connection costs more, and otherwise each client's would hold room for it.
        let sent = Box::pin(self.send_afresh(order, request)).await;
        counted.ends(&sent);
        sent
    }

    /// The same once more, on a new connection alone.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn send_again(
        &self,
        order: &Order<'_>,
        request: &mut Option<Request<Outgoing>>,
    ) -> Result<Answered, Failure> {
        self.counts.retry();
        let mut counted = Counted { counts: &self.counts, outcome: Some(UpstreamOutcome::Cancelled) };
        let sent = Box::pin(self.send_afresh(order, request)).await;
        counted.ends(&sent);
        sent
    }

    async fn send_afresh(
        &self,
        order: &Order<'_>,
        request: &mut Option<Request<Outgoing>>,
    ) -> Result<Answered, Failure> {
        let link = self.connect(&self.endpoints[order.endpoint], order.timeouts).await?;
        self.send_on(link, order, request).await
    }

    /// Puts a request that was never written back in its place.
    async fn send_on(
        &self,
        mut link: Link,
        order: &Order<'_>,
        request: &mut Option<Request<Outgoing>>,
    ) -> Result<Answered, Failure> {
        let Order { record, timeouts, .. } = order;
        let Some(mut sent) = request.take() else { return Err(Failure::DeadLink) };
        sent.body_mut().paced_by(&link.shared.flow);
        link.shared.flow.await_head();
        record.expect_within(clock::ticks(timeouts.response), self.clock.now());
        let mut answer = pin!(link.sender.try_send_request(sent));
        let answered = poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Pending if record.timed_out() => Poll::Ready(Err(Failure::ResponseTimeout)),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
            Poll::Ready(Err(mut error)) => {
                *request = error.take_message();
                Poll::Ready(Err(Failure::Exchange(error.into_error())))
            }
        })
        .await;
        let response = answered?;
        record.expect_within(clock::ticks(timeouts.idle), self.clock.now());
        let (endpoint, clock) = (Rc::clone(&self.endpoints[order.endpoint]), Rc::clone(&self.clock));
        Ok((response, Lease { endpoint, link: Some(link), clock, reusable: true }))
    }

    async fn connect(&self, endpoint: &Rc<Endpoint>, timeouts: &UpstreamTimeouts) -> Result<Link, Failure> {
        if endpoint.open.get() >= self.most {
            return Err(Failure::Full);
        }
        let place = Place::take(endpoint);
        let stream = tokio::time::timeout(timeouts.connect, Socket::connect(&endpoint.target))
            .await
            .map_err(|_| Failure::ConnectTimeout)?
            .map_err(Failure::Connect)?;
        let flow = Rc::new(Flow::default());
        let io = TokioIo::new(Metered::new(stream, Rc::clone(&flow)));
        let (sender, mut connection) = http1::Builder::new()
            .writev(false)
            .read_buf_exact_size(Some(READ_SIZE))
            .handshake::<_, Outgoing>(io)
            .await
            .map_err(Failure::Exchange)?;
        let shared = Rc::new(Shared { flow, remains: RefCell::new(None) });
        let driven = Rc::clone(&shared);
        tokio::task::spawn_local(async move {
            let _place = place;
            if poll_fn(|cx| connection.poll_without_shutdown(cx)).await.is_ok() {
                let parts = connection.into_parts();
                let stream = parts.io.into_inner().into_inner();
                let read = parts.read_buf.to_vec();
                driven.remains.replace(Some(Remains { stream, read, _counted: None }));
            }
        });
        Ok(Link { sender, shared, idle_since: 0, counted: self.counts.connection() })
    }

    /// Closes connections that nobody used for `timeouts.idle`.
    pub fn sweep(&self) {
        let oldest = self.clock.now().saturating_sub(clock::ticks(self.settings.timeouts.idle));
        for endpoint in &self.endpoints {
            endpoint.idle.borrow_mut().retain(|link| link.idle_since >= oldest && !link.sender.is_closed());
        }
    }
}

impl Endpoint {
    /// The connection used last, so that the others grow old and close.
    fn take_idle(&self) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            if idle[at].sender.is_closed() {
                idle.remove(at);
            } else if idle[at].sender.is_ready() {
                return Some(idle.remove(at));
            }
        }
        None
    }
}

/// A request to an upstream: counted when it has ended, also when nobody waits for it any more.
struct Counted<'c> {
    counts: &'c UpstreamWorker,
    /// None for one that was never sent.
    outcome: Option<UpstreamOutcome>,
}

impl Counted<'_> {
    fn ends(&mut self, sent: &Result<Answered, Failure>) {
        self.outcome = match sent {
            Ok((response, _)) => Some(response.status().into()),
            Err(failure) => failure.outcome(),
        };
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome {
            self.counts.request(outcome);
        }
    }
}

impl Failure {
    fn outcome(&self) -> Option<UpstreamOutcome> {
        match self {
            Self::Connect(_) | Self::ConnectTimeout | Self::DeadLink => Some(UpstreamOutcome::Unreachable),
            Self::ResponseTimeout => Some(UpstreamOutcome::Timeout),
            Self::Full => None,
            Self::Exchange(error) if error.is_parse() || error.is_incomplete_message() => {
                Some(UpstreamOutcome::Protocol)
            }
            Self::Exchange(_) => Some(UpstreamOutcome::Unreachable),
        }
    }
}

/// A place among an endpoint's open connections.
struct Place(Rc<Endpoint>);

impl Place {
    fn take(endpoint: &Rc<Endpoint>) -> Self {
        endpoint.open.set(endpoint.open.get() + 1);
        Self(Rc::clone(endpoint))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

impl Lease {
    /// Nobody else may be given this connection.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.reusable = false;
        self
    }

    /// The response was read to its end.
    pub fn release(mut self) {
        if let Some(mut link) = self.link.take().filter(|_| self.reusable) {
            link.idle_since = self.clock.now();
            link.counted.becomes(ConnectionState::Idle);
            self.endpoint.idle.borrow_mut().push(link);
        }
    }

    /// Waits until the connection has stopped speaking HTTP, after a 101.
    pub async fn into_remains(mut self) -> Option<Remains> {
        let link = self.link.take()?;
        let Link { mut sender, shared, counted, .. } = link;
        // Resolves with an error once the connection's task is done.
        let _ = poll_fn(|cx| sender.poll_ready(cx)).await;
        let remains = shared.remains.take()?;
        Some(Remains { _counted: Some(counted), ..remains })
    }
}

/// The connection turned out dead: not a byte of an answer came.
fn gave_no_answer(error: &hyper::Error) -> bool {
    error.is_incomplete_message()
        || error.is_canceled()
        || matches!(io_kind(error), Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
}

/// Whether a response came that is none.
#[must_use]
pub fn is_malformed(error: &hyper::Error) -> bool {
    error.is_parse() || io_kind(error) == Some(ErrorKind::InvalidData)
}

fn io_kind(error: &hyper::Error) -> Option<ErrorKind> {
    use std::error::Error as _;
    Some(error.source()?.downcast_ref::<std::io::Error>()?.kind())
}
