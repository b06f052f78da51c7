//! One thread that accepts, serves and sweeps connections of its own.
//!
//! What holds: nothing a request needs is shared with another worker but snapshots and counters;
//! one coarse sweep stands in for a timer on each connection.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, RawFd};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt;
use slab::Slab;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

pub use self::seat::Enlisted;
use self::seat::Seat;
use super::connection::Remains;
use super::descriptors;
use super::framing::{Framing, Malformed};
use super::gauge::Gauge;
use super::listener::{Accepted, Listener};
use super::parking::{Carrier, Lot};
use super::record::{Cut, End, Found, Record};
use super::tls;
use crate::access::authn;
use crate::clock::{self, CoarseClock, TICK, Ticks};
use crate::config::Config;
use crate::ext_authz;
use crate::metrics::{self, ConnectionRefusal, Decision, Metrics, StreamEnd, Verification};
use crate::proxy::ids::{Generator, Via};
use crate::proxy::lasting;
use crate::reply;
use crate::signin;
use crate::site::Site;
use crate::telemetry::access_log::{self, Lines};
use crate::telemetry::audit_log;
use crate::upstream::cluster::Fleet;

mod admission;
mod parked;
mod protocol;
mod seat;

/// How long a connection that has just come may take to say what it wants, when the gateway drains.
const FIRST_WORDS: Ticks = 10;
const GOODBYE: Cut = Cut { why: StreamEnd::Drained, code: None, reason: "the gateway stops" };
/// Sweeps between two looks at idle upstream connections.
const POOL_SWEEP: Ticks = 10;
/// Sweeps between two looks at what is remembered of credentials: a look at 100 000 takes some milliseconds.
const MEMORY_SWEEP: Ticks = 600;
/// Sweeps between two hand-overs of log lines.
const LOG_FLUSH: Ticks = 2;

/// What every worker is told, each time it changes.
#[derive(Clone)]
pub struct Orders {
    pub config: Arc<Config>,
    pub shared: authn::Shared,
    pub signin: Option<Arc<signin::Common>>,
    pub fleet: Fleet,
    /// None without https.
    pub tls: Option<Arc<tls::Terms>>,
    pub phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Serving,
    /// Everybody is served, and asked to come back elsewhere: whoever sends them here is still to
    /// notice that we leave.
    Leaving,
    /// No new connections; those that are open end with their response under way.
    Draining,
    /// WebSockets, which have no end of their own, are told goodbye.
    Closing,
}

/// What is spoken on a worker's connections.
pub enum Protocol {
    /// HTTP, with the proxy.
    Http,
    /// gRPC, with Envoy.
    ExtAuthz(ext_authz::Health),
}

/// What stands between a socket and what is spoken on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Plain,
    Tls,
}

/// What a worker's requests and connections work with.
pub struct Worker {
    protocol: Protocol,
    site: RefCell<Rc<Site>>,
    tls: RefCell<Option<Arc<tls::Terms>>>,
    pub clock: Rc<CoarseClock>,
    pub ids: Generator,
    pub via: Arc<Via>,
    pub lines: Lines,
    pub audit: audit_log::Lines,
    pub metrics: Arc<metrics::Worker>,
    all_metrics: Arc<Metrics>,
    gauge: Arc<Gauge>,
    connections: RefCell<Slab<Rc<Record>>>,
    phase: Cell<Phase>,
    /// Woken when no more connections are taken.
    closed: Notify,
    /// The first descriptor that is kept back from new connections.
    kept_back_from: RawFd,
    turning_away: Cell<usize>,
    /// None where nothing can be kept there.
    lot: Option<Lot<parked::Waiting>>,
    park_after: Ticks,
    /// Looks at what memory is left over that are still to be had.
    looks_at_memory: Cell<u8>,
}

/// What a worker is made of.
pub struct Parts {
    pub protocol: Protocol,
    pub listeners: Vec<(Listener, Transport)>,
    pub orders: watch::Receiver<Orders>,
    pub lines: Lines,
    pub audit: audit_log::Lines,
    pub metrics: Arc<metrics::Worker>,
    pub all_metrics: Arc<Metrics>,
    pub via: Arc<Via>,
    pub gauge: Arc<Gauge>,
    /// How long a connection is idle before it is parked.
    pub park_after: Ticks,
}

/// Serves until told to drain, and then until every connection has ended or nobody waits for them
/// any more. What is left then is cut off, and logged, as the runtime drops its tasks.
pub async fn run(mut parts: Parts) {
    let clock = Rc::new(CoarseClock::default());
    let orders = parts.orders.borrow_and_update().clone();
    let site = Site::new(
        orders.config,
        orders.shared,
        orders.signin,
        &orders.fleet,
        &parts.all_metrics,
        &parts.metrics,
        &clock,
    );
    let worker = Rc::new(Worker {
        protocol: parts.protocol,
        site: RefCell::new(site),
        tls: RefCell::new(orders.tls),
        clock,
        ids: Generator::default(),
        via: parts.via,
        lines: parts.lines,
        audit: parts.audit,
        metrics: parts.metrics,
        all_metrics: parts.all_metrics,
        gauge: parts.gauge,
        connections: RefCell::default(),
        phase: Cell::new(orders.phase),
        closed: Notify::new(),
        kept_back_from: descriptors::kept_back_from(),
        turning_away: Cell::new(0),
        lot: parked::lot(),
        park_after: parts.park_after,
        looks_at_memory: Cell::new(0),
    });
    let accepting: Vec<_> = parts
        .listeners
        .into_iter()
        .map(|(listener, transport)| tokio::task::spawn_local(Rc::clone(&worker).accept(listener, transport)))
        .collect();
    let sweeping = tokio::task::spawn_local(Rc::clone(&worker).sweep());
    let attending = tokio::task::spawn_local(Rc::clone(&worker).attend());
    while parts.orders.changed().await.is_ok() {
        let orders = parts.orders.borrow_and_update().clone();
        worker.phase.set(orders.phase);
        match orders.phase {
            Phase::Serving => worker.reload(orders),
            Phase::Leaving => {}
            Phase::Draining | Phase::Closing => break,
        }
    }
    worker.closed.notify_waiters();
    tokio::select! {
        () = worker.drain(accepting) => {}
        () = given_up(&mut parts.orders, &worker) => {}
    }
    sweeping.abort();
    attending.abort();
    worker.close_parked(|_| true);
    worker.lines.flush();
    worker.audit.flush();
}

/// Returns once nobody gives orders any more. Until then there may be a last one.
async fn given_up(orders: &mut watch::Receiver<Orders>, worker: &Worker) {
    while orders.changed().await.is_ok() {
        if orders.borrow_and_update().phase == Phase::Closing {
            worker.say_goodbye();
        }
    }
}

impl Worker {
    /// The configuration for a request that begins now.
    #[must_use]
    pub fn site(&self) -> Rc<Site> {
        Rc::clone(&self.site.borrow())
    }

    fn reload(&self, orders: Orders) {
        let site = Site::new(
            orders.config,
            orders.shared,
            orders.signin,
            &orders.fleet,
            &self.all_metrics,
            &self.metrics,
            &self.clock,
        );
        self.site.replace(site);
        self.tls.replace(orders.tls);
    }

    /// Whether clients are to come back elsewhere.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.phase.get() != Phase::Serving
    }

    fn is_draining(&self) -> bool {
        matches!(self.phase.get(), Phase::Draining | Phase::Closing)
    }

    /// Every connection ends after the response it is sending. One that has just come may say what it
    /// wants.
    async fn drain(&self, accepting: Vec<JoinHandle<()>>) {
        for accepting in accepting {
            let _ended = accepting.await;
        }
        let began = self.clock.now();
        while !self.connections.borrow().is_empty() {
            let patient = self.clock.now().saturating_sub(began) < FIRST_WORDS;
            for (_, record) in &*self.connections.borrow() {
                match record.end() {
                    None if !record.is_new() => record.end_with(End::Gracefully),
                    None if !patient && record.is_quiet() && !record.in_head() => {
                        record.end_with(End::Abruptly);
                    }
                    _ => {}
                }
            }
            self.close_parked(has_ended);
            tokio::time::sleep(TICK / 4).await;
        }
    }

    fn say_goodbye(&self) {
        for (_, record) in &*self.connections.borrow() {
            if record.is_tunnel() && record.was_cut().is_none() {
                self.cut(record, GOODBYE);
            }
        }
    }

    async fn sweep(self: Rc<Self>) {
        let started = Instant::now();
        let mut every = tokio::time::interval(TICK);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            every.tick().await;
            self.clock.advance(started.elapsed());
            let now = self.clock.now();
            let site = self.site();
            let timeouts = &site.config.server.timeouts;
            let (header, idle) = (clock::ticks(timeouts.header), clock::ticks(timeouts.idle));
            let millis = clock::unix_millis();
            let mut looks = lasting::AT_ONCE;
            let min_rate = site.config.server.limits.min_rate;
            let mut parked_ended = false;
            for (_, record) in &*self.connections.borrow() {
                match record.sweep(now, header, idle, min_rate) {
                    Some(Found::SlowHead) => {
                        self.metrics.connection_refused(ConnectionRefusal::HeaderTimeout)
                    }
                    Some(Found::Stuck(cut)) => self.cut(record, cut),
                    None => record.ask_to_park(now, self.park_after),
                }
                parked_ended |= has_ended(record);
                if looks > 0
                    && let Some(due) = record.due(millis, &site)
                {
                    looks -= 1;
                    lasting::look(&self, record, due);
                }
            }
            if parked_ended {
                self.close_parked(has_ended);
            }
            if now.is_multiple_of(LOG_FLUSH) {
                self.lines.flush();
                self.audit.flush();
            }
            if now.is_multiple_of(POOL_SWEEP) {
                self.look_at_memory();
                site.sweep();
                if now.is_multiple_of(MEMORY_SWEEP) {
                    site.gate.authn().forget_old(millis);
                }
                self.metrics.sessions_cached(site.gate.authn().len());
            }
        }
    }

    async fn accept(self: Rc<Self>, listener: Listener, transport: Transport) {
        let closed = self.closed.notified();
        let mut closed = std::pin::pin!(closed);
        // Nothing else awaits while it is told, and so it cannot be missed.
        while !self.is_draining() {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut closed => break,
            };
            match accepted {
                Ok(accepted) => self.take(accepted, transport),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting connections pauses");
                    tokio::time::sleep(TICK).await;
                }
            }
        }
        listener.close(|accepted| self.take(accepted, transport));
    }

    fn take(self: &Rc<Self>, accepted: Accepted, transport: Transport) {
        match accepted {
            Accepted::Tcp(stream, peer) => {
                // A socket that refuses the option works all the same, a little slower.
                let _ = stream.set_nodelay(true);
                self.start(stream, peer.ip(), transport);
            }
            Accepted::Unix(stream) => self.start(stream, IpAddr::V4(Ipv4Addr::LOCALHOST), transport),
        }
    }

    /// Serves a connection in a task of its own.
    fn start<S>(self: &Rc<Self>, stream: S, peer: IpAddr, transport: Transport)
    where
        S: Carrier + AsRawFd,
    {
        let worker = Rc::clone(self);
        tokio::task::spawn_local(contained(Arc::clone(&self.metrics), worker.serve(stream, peer, transport)));
    }

    /// The life of one connection, from its place among the allowed to its last tunnel.
    async fn serve<S>(self: Rc<Self>, mut stream: S, peer: IpAddr, transport: Transport)
    where
        S: Carrier + AsRawFd,
    {
        let site = self.site();
        let Some((place, peer)) = self.admit(&mut stream, peer, transport, &site).await else { return };
        let record = self.record(&site, peer);
        drop(site);
        let seat = Seat::take(&self, record, place);
        if let Protocol::ExtAuthz(health) = &self.protocol {
            // On the heap, or every connection of the proxy would have room for it.
            return Box::pin(ext_authz::serve(stream, &self, &seat.record, health)).await;
        }
        match transport {
            Transport::Plain => self.serve_http1(Remains { stream, read: Vec::new() }, seat).await,
            Transport::Tls => Box::pin(self.serve_tls(stream, seat)).await,
        }
    }

    /// For a connection that opens now, or a request that is one of several on its connection.
    #[must_use]
    pub fn record(&self, site: &Site, peer: IpAddr) -> Rc<Record> {
        let limits = &site.config.server.limits;
        let framing = Framing::new(limits.header_bytes, limits.headers);
        Rc::new(Record::new(peer, framing, self.clock.now()))
    }

    /// Cuts a request short that had begun.
    pub fn cut(&self, record: &Record, cut: Cut) {
        self.metrics.stream_ended(cut.why);
        record.cut(cut, self.clock.now());
    }

    /// Logs and counts what was no request, and makes the answer.
    fn malformed(&self, record: &Record, why: Malformed) -> Vec<u8> {
        let rejection = why.rejection();
        let ids = self.ids.next(&http::HeaderMap::new(), false);
        self.metrics.connection_refused(ConnectionRefusal::MalformedHead);
        self.metrics.request(None, Decision::Refused(rejection.code), std::time::Duration::ZERO);
        self.lines.append(
            &access_log::Request {
                time: SystemTime::now(),
                request_id: ids.request_id(),
                trace_id: ids.trace_id(),
                client: Some(record.peer),
                method: "",
                host: "",
                path: "",
            },
            &access_log::Outcome {
                route: None,
                decision: Decision::Refused(rejection.code),
                status: rejection.code.status().as_u16(),
                who: access_log::NOBODY,
                verification: Verification::None,
                decision_took: None,
                upstream_took: None,
                took: std::time::Duration::ZERO,
                bytes_in: 0,
                bytes_out: 0,
                reason: Some(rejection.reason),
            },
        );
        reply::raw(rejection.code, ids.request_id())
    }
}

/// Serves one connection, or a tunnel on one. A panic ends it, is counted, and goes no further.
pub fn contained(
    metrics: Arc<metrics::Worker>,
    serving: impl Future<Output = ()>,
) -> impl Future<Output = ()> {
    // Not an async function, which would have room for what it serves twice.
    AssertUnwindSafe(serving).catch_unwind().map(move |served| {
        if served.is_err() {
            metrics.panic_caught();
        }
    })
}

fn has_ended(record: &Record) -> bool {
    record.is_parked() && record.end().is_some()
}

/// Whether an error of `accept` is about a connection that is gone already.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn n13_a_panic_ends_its_connection_and_no_other() {
        let metrics = Metrics::new(1);
        let local = tokio::task::LocalSet::new();
        let served = Rc::new(Cell::new(0));
        local
            .run_until(async {
                let serve = |number: u32| {
                    let served = Rc::clone(&served);
                    async move {
                        tokio::task::yield_now().await;
                        assert!(number != 1, "a mistake of ours");
                        served.set(served.get() + 1);
                    }
                };
                let tasks: Vec<_> = (0..3)
                    .map(|number| tokio::task::spawn_local(contained(metrics.worker(0), serve(number))))
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
            })
            .await;
        assert_eq!(served.get(), 2);
        assert!(metrics.exposition().contains("stytch_gateway_panics_total 1"));
    }
}
