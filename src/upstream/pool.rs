//! One worker's connections to one instance: idle ones of HTTP/1.1, and one of HTTP/2.
//!
//! What holds: a connection of HTTP/1.1 carries one request at a time and is idle again only after
//! its response was read to the end; one of HTTP/2 carries many, and none that comes after it was
//! given up.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;

use super::body::Outgoing;
use super::cluster::Instance;
use super::http1::Connection;
use super::io::Socket;
use super::room::{Place, Queue};
use super::{Error, Failure};
use crate::clock::{CoarseClock, TICK, Ticks};
use crate::intake::READ_SIZE;
use crate::metrics::{ConnectionState, UpstreamConnection, UpstreamWorker};

/// How long an instance that took no connection is left alone while there are others: nginx's
/// `fail_timeout`.
const REST: Ticks = 10_000 / TICK.as_millis() as Ticks;
/// Bytes of a request's body that may wait for an HTTP/2 upstream that does not read.
const MOST_UNSENT: usize = 64 * 1024;
/// Bytes of a response that an HTTP/2 upstream may send ahead of a client that does not read.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same of all responses on its connection.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// One worker's view of an instance.
pub(super) struct Endpoint {
    pub(super) instance: Arc<Instance>,
    /// Most recently used last.
    idle: RefCell<Vec<Link>>,
    multiplexed: RefCell<Option<Rc<Multiplexed>>>,
    /// One request opens a connection that many can use, and the others wait for it.
    pub(super) opening: Semaphore,
    /// It was offered HTTP/2 and chose HTTP/1.1.
    pub(super) declined_http2: Cell<bool>,
    in_flight: Cell<usize>,
    rests_until: Cell<Ticks>,
    pub(super) queue: Option<Rc<Queue>>,
}

/// A request under way at an endpoint, for as long as this is kept.
pub(super) struct InFlight(Rc<Endpoint>);

/// A connection of HTTP/1.1.
pub(super) struct Link {
    pub(super) connection: Box<Connection>,
    idle_since: Ticks,
    pub(super) counted: UpstreamConnection,
}

/// An upstream's socket after a switch of protocols, and what was read of the next one.
pub struct Remains {
    pub stream: Socket,
    pub read: Vec<u8>,
    /// It counts as a connection, and its request as under way, until the tunnel ends.
    _counted: (UpstreamConnection, InFlight),
}

/// A connection of HTTP/2.
pub(super) struct Multiplexed {
    pub(super) sender: http2::SendRequest<Outgoing>,
    pub(super) is_secure: bool,
    streams: Cell<usize>,
    idle_since: Cell<Ticks>,
    counted: RefCell<UpstreamConnection>,
}

/// A connection in use. Dropped, it closes; released, it serves the next request.
pub(super) struct Lease {
    load: InFlight,
    held: Held,
    clock: Rc<CoarseClock>,
}

enum Held {
    /// None when it is given away or not to be used again.
    Link {
        link: Option<Link>,
        reusable: bool,
    },
    Stream {
        _stream: Stream,
        _place: Option<Place>,
    },
}

/// One request on a connection of HTTP/2.
pub(super) struct Stream {
    pub(super) on: Rc<Multiplexed>,
    clock: Rc<CoarseClock>,
}

impl Endpoint {
    pub(super) fn new(instance: &Arc<Instance>, queue: Option<&Rc<Queue>>) -> Self {
        Self {
            instance: Arc::clone(instance),
            idle: RefCell::default(),
            multiplexed: RefCell::default(),
            opening: Semaphore::new(1),
            declined_http2: Cell::new(false),
            in_flight: Cell::new(0),
            rests_until: Cell::new(0),
            queue: queue.map(Rc::clone),
        }
    }

    /// The connection used last, so that the others grow old and close.
    pub(super) fn take_idle(&self) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop()).find(|link| link.connection.is_silent())
    }

    /// The same for a request that has only just come: those that wait come first.
    pub(super) fn take_idle_in_turn(&self) -> Option<Link> {
        if self.queue.as_ref().is_some_and(|queue| !queue.is_empty()) { None } else { self.take_idle() }
    }

    /// The connection for many requests, if it is open.
    pub(super) fn multiplexed(&self) -> Option<Rc<Multiplexed>> {
        let known = self.multiplexed.borrow();
        known.as_ref().filter(|known| !known.sender.is_closed()).map(Rc::clone)
    }

    pub(super) fn share(&self, multiplexed: &Rc<Multiplexed>) {
        self.multiplexed.replace(Some(Rc::clone(multiplexed)));
    }

    /// Requests that come later go on another connection.
    pub(super) fn give_up(&self, multiplexed: &Rc<Multiplexed>) {
        let mut known = self.multiplexed.borrow_mut();
        known.take_if(|known| Rc::ptr_eq(known, multiplexed));
    }

    /// Closes the idle connection that is oldest. Whether there was one.
    pub(super) fn evict(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        let is_there = !idle.is_empty();
        if is_there {
            idle.remove(0);
        }
        is_there
    }

    /// Closes connections that nobody has used since.
    pub(super) fn sweep(&self, oldest: Ticks) {
        self.idle.borrow_mut().retain(|link| link.idle_since >= oldest && link.connection.is_silent());
        let is_old = |known: &mut Rc<Multiplexed>| {
            known.sender.is_closed() || known.streams.get() == 0 && known.idle_since.get() < oldest
        };
        self.multiplexed.borrow_mut().take_if(is_old);
        if self.idle.borrow().is_empty() {
            self.declined_http2.set(false);
        }
    }

    /// It took no connection: others come first for a while. Whether it was not so already.
    pub(super) fn rest(&self, now: Ticks) -> bool {
        let is_new = self.is_rested(now);
        self.rests_until.set(now.saturating_add(REST));
        is_new
    }

    pub(super) fn is_rested(&self, now: Ticks) -> bool {
        self.rests_until.get() <= now
    }

    pub(super) fn is_taking(&self) {
        self.rests_until.set(0);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }
}

impl InFlight {
    pub(super) fn endpoint(&self) -> &Rc<Endpoint> {
        &self.0
    }

    pub(super) fn new(endpoint: &Rc<Endpoint>) -> Self {
        endpoint.in_flight.set(endpoint.in_flight.get() + 1);
        Self(Rc::clone(endpoint))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

impl Link {
    /// Speaks HTTP/1.1 on a socket. `place` is free again when its connection has ended.
    pub(super) fn open(stream: Socket, place: Option<Place>, counts: &UpstreamWorker) -> Self {
        let connection = Box::new(Connection::new(stream, place));
        Self { connection, idle_since: 0, counted: counts.connection() }
    }
}

impl Multiplexed {
    /// Speaks HTTP/2 on a socket.
    pub(super) async fn open(
        stream: Socket,
        counts: &UpstreamWorker,
        now: Ticks,
    ) -> Result<Rc<Self>, Failure> {
        let is_secure = stream.is_secure();
        let (sender, connection) = http2::Builder::new(OnThisThread)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(READ_SIZE as u32)
            .max_send_buf_size(MOST_UNSENT)
            .handshake::<_, Outgoing>(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::Exchange(Error::Http2(error)))?;
        tokio::task::spawn_local(connection);
        let mut counted = counts.connection();
        counted.becomes(ConnectionState::Idle);
        let (streams, idle_since) = (Cell::new(0), Cell::new(now));
        Ok(Rc::new(Self { sender, is_secure, streams, idle_since, counted: RefCell::new(counted) }))
    }
}

impl Stream {
    pub(super) fn begin(on: Rc<Multiplexed>, clock: &Rc<CoarseClock>) -> Self {
        on.streams.set(on.streams.get() + 1);
        if on.streams.get() == 1 {
            on.counted.borrow_mut().becomes(ConnectionState::Active);
        }
        Self { on, clock: Rc::clone(clock) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.on.streams.set(self.on.streams.get() - 1);
        if self.on.streams.get() == 0 {
            self.on.idle_since.set(self.clock.now());
            self.on.counted.borrow_mut().becomes(ConnectionState::Idle);
        }
    }
}

impl Lease {
    pub(super) fn of_link(load: InFlight, link: Link, clock: &Rc<CoarseClock>) -> Self {
        Self { load, held: Held::Link { link: Some(link), reusable: true }, clock: Rc::clone(clock) }
    }

    pub(super) fn of_stream(load: InFlight, stream: Stream, place: Option<Place>) -> Self {
        let clock = Rc::clone(&stream.clock);
        Self { load, held: Held::Stream { _stream: stream, _place: place }, clock }
    }

    /// The connection of HTTP/1.1, if it is one.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        match &mut self.held {
            Held::Link { link, .. } => link.as_mut().map(|link| &mut *link.connection),
            Held::Stream { .. } => None,
        }
    }

    /// Nobody else may be given this connection.
    pub(super) fn once(&mut self) {
        match &mut self.held {
            Held::Link { reusable, .. } => *reusable = false,
            Held::Stream { _stream: stream, .. } => self.load.0.give_up(&stream.on),
        }
    }

    /// The response was read to its end. What is left of the request goes out first: an upstream may
    /// answer before it has read it.
    pub(super) fn release(mut self) {
        match self.connection().and_then(Connection::take_rest) {
            None => self.put_back(),
            Some(rest) => drop(tokio::task::spawn_local(async move {
                if rest.finish().await {
                    self.put_back();
                }
            })),
        }
    }

    fn put_back(mut self) {
        let Held::Link { link, reusable: true } = &mut self.held else { return };
        let Some(mut link) = link.take_if(|link| link.connection.may_be_kept()) else { return };
        let endpoint = &self.load.0;
        if endpoint.queue.as_ref().is_some_and(|queue| !queue.may_keep()) {
            return;
        }
        link.idle_since = self.clock.now();
        link.counted.becomes(ConnectionState::Idle);
        endpoint.idle.borrow_mut().push(link);
        if let Some(queue) = endpoint.queue.as_ref().filter(|queue| !queue.is_empty()) {
            queue.freed.notify_one();
        }
    }

    /// The socket after a 101, and what was read of the next protocol.
    pub(super) fn into_remains(self) -> Option<Remains> {
        let Held::Link { link: Some(link), .. } = self.held else { return None };
        let (stream, read) = link.connection.into_parts()?;
        Some(Remains { stream, read, _counted: (link.counted, self.load) })
    }
}

/// Runs what hyper spawns for a connection where that connection is.
#[derive(Clone, Copy)]
pub(super) struct OnThisThread;

impl<F: Future + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        drop(tokio::task::spawn_local(future));
    }
}
