//! What the gateway counts, and how Prometheus reads it.
//!
//! Each worker counts in numbers of its own ([`Worker`], and its share of a [`RouteCounts`] or
//! [`UpstreamCounts`]) without a locked instruction; a scrape adds the workers up. What happens
//! rarely, on whatever thread, is counted on [`Metrics`] itself. Labels are bounded by
//! construction: see [`label`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

mod exposition;
mod label;
mod named;
mod number;

pub use exposition::CONTENT_TYPE;
pub use label::{
    CallOutcome, ConfigReload, ConnectionRefusal, ConnectionState, Decision, Handshake, KeysFetch,
    LocalFallback, Log, LogLoss, StreamEnd, UpstreamOutcome, Verification, WebhookEvent,
};
pub use named::{
    EndpointUp, RouteCounts, UpstreamConnection, UpstreamCounts, UpstreamWaiting, UpstreamWorker,
};

use named::{Named, Requests};
use number::{Histogram, Number};

/// Every number of this process.
#[derive(Debug)]
pub struct Metrics {
    workers: Box<[Arc<Worker>]>,
    routes: Named<RouteCounts>,
    upstreams: Named<UpstreamCounts>,
    stytch_calls: Mutex<BTreeMap<(&'static str, CallOutcome), u64>>,
    stytch_call_duration: Histogram,
    keys: Mutex<Option<Keys>>,
    policy_fetched_at: Mutex<Option<SystemTime>>,
    /// Unix seconds at which each certificate ends, by its file.
    certificates: Mutex<BTreeMap<String, i64>>,
    access: Mutex<Option<String>>,
    keys_fetches: [Number; KeysFetch::ALL.len()],
    config_reloads: [Number; ConfigReload::ALL.len()],
    logs_lost: [[Number; LogLoss::ALL.len()]; Log::ALL.len()],
}

/// The key set in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    pub count: usize,
    /// When Stytch gave it, which for one from `key_cache_file` is before we started.
    pub fetched_at: SystemTime,
}

impl Keys {
    #[must_use]
    pub fn age(&self) -> Duration {
        self.fetched_at.elapsed().unwrap_or_default()
    }
}

impl Metrics {
    #[must_use]
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            workers: (0..workers).map(|index| Arc::new(Worker::new(index))).collect(),
            routes: Named::default(),
            upstreams: Named::default(),
            stytch_calls: Mutex::default(),
            stytch_call_duration: Histogram::default(),
            keys: Mutex::default(),
            policy_fetched_at: Mutex::default(),
            certificates: Mutex::default(),
            access: Mutex::default(),
            keys_fetches: Default::default(),
            config_reloads: Default::default(),
            logs_lost: Default::default(),
        })
    }

    /// The numbers of one worker, of those `new` was told about.
    #[must_use]
    pub fn worker(&self, index: usize) -> Arc<Worker> {
        Arc::clone(&self.workers[index])
    }

    /// The counts of the route with this name, for as long as somebody holds them. Taken when a
    /// configuration is put in place, before the old one is let go of.
    #[must_use]
    pub fn route(&self, name: &str) -> Arc<RouteCounts> {
        self.routes.obtain(name, || RouteCounts::new(self.workers.len()))
    }

    /// Likewise for an upstream; each worker looks at it through [`Worker::upstream`].
    #[must_use]
    pub fn upstream(&self, name: &str) -> Arc<UpstreamCounts> {
        self.upstreams.obtain(name, || UpstreamCounts::new(self.workers.len()))
    }

    /// One call to Stytch's API. `endpoint` names it in our words, ids left out.
    pub fn stytch_call(&self, endpoint: &'static str, outcome: CallOutcome, duration: Duration) {
        self.stytch_call_duration.record_shared(duration);
        *held(&self.stytch_calls).entry((endpoint, outcome)).or_default() += 1;
    }

    /// From here on these keys verify tokens.
    pub fn keys_in_use(&self, keys: Keys) {
        *held(&self.keys) = Some(keys);
    }

    /// None until the first set is there.
    #[must_use]
    pub fn keys(&self) -> Option<Keys> {
        *held(&self.keys)
    }

    /// From here on permissions are judged by an RBAC policy that Stytch gave then; or by none.
    pub fn policy_in_use(&self, fetched_at: Option<SystemTime>) {
        *held(&self.policy_fetched_at) = fetched_at;
    }

    /// None until there is a policy.
    #[must_use]
    pub fn policy_age(&self) -> Option<Duration> {
        held(&self.policy_fetched_at).map(|at| at.elapsed().unwrap_or_default())
    }

    /// From here on clients are shown these certificates: the file of each, and the Unix second at
    /// which it ends.
    pub fn certificates_in_use(&self, certificates: BTreeMap<String, i64>) {
        *held(&self.certificates) = certificates;
    }

    pub fn keys_fetch(&self, outcome: KeysFetch) {
        self.keys_fetches[outcome as usize].add_shared(1);
    }

    /// From here on this is the hash of who may reach what.
    pub fn access(&self, hash: String) {
        *held(&self.access) = Some(hash);
    }

    pub fn config_reload(&self, outcome: ConfigReload) {
        self.config_reloads[outcome as usize].add_shared(1);
    }

    pub fn log_lost(&self, log: Log, why: LogLoss, lines: u64) {
        self.logs_lost[log as usize][why as usize].add_shared(lines);
    }

    /// Verified sessions remembered, in all workers together.
    #[must_use]
    pub fn sessions_cached(&self) -> u64 {
        self.sum(|worker| &worker.sessions_cached)
    }

    fn sum(&self, number: impl Fn(&Worker) -> &Number) -> u64 {
        self.workers.iter().map(|worker| number(worker).load()).sum()
    }
}

/// One worker's numbers. Only that worker's thread may count here: a second writer would lose
/// counts.
#[derive(Debug)]
#[repr(align(128))]
pub struct Worker {
    index: usize,
    /// Requests that no route is for, or that were turned back before one was looked for.
    routeless: Requests,
    request_duration: Histogram,
    /// By the positions of [`Verification::SOURCES`].
    decision_duration: [Histogram; Verification::SOURCES.len()],
    outage_graces: Number,
    sessions_cached: Number,
    local_fallbacks: [Number; LocalFallback::ALL.len()],
    webhook_events: [Number; WebhookEvent::ALL.len()],
    connections: Number,
    parked_connections: Number,
    connections_accepted: Number,
    connections_refused: [Number; ConnectionRefusal::ALL.len()],
    tls_handshakes: [Number; Handshake::ALL.len()],
    upgraded_connections: Number,
    upgrades: Number,
    streams_ended: [Number; StreamEnd::ALL.len()],
    panics: Number,
}

impl Worker {
    fn new(index: usize) -> Self {
        Self {
            index,
            routeless: Requests::default(),
            request_duration: Histogram::default(),
            decision_duration: Default::default(),
            outage_graces: Number::default(),
            sessions_cached: Number::default(),
            local_fallbacks: Default::default(),
            webhook_events: Default::default(),
            connections: Number::default(),
            parked_connections: Number::default(),
            connections_accepted: Number::default(),
            connections_refused: Default::default(),
            tls_handshakes: Default::default(),
            upgraded_connections: Number::default(),
            upgrades: Number::default(),
            streams_ended: Default::default(),
            panics: Number::default(),
        }
    }

    /// A request that has ended; `duration` is from its head to the last byte of the answer.
    pub fn request(&self, route: Option<&RouteCounts>, decision: Decision, duration: Duration) {
        let requests = route.map_or(&self.routeless, |route| &route.workers[self.index]);
        requests.add(decision);
        self.request_duration.record(duration);
    }

    /// How long a credential took to judge, and on whose word.
    pub fn decision(&self, verification: Verification, duration: Duration) {
        if verification == Verification::Stale {
            self.outage_graces.add(1);
        }
        if let Some(source) = verification.source() {
            self.decision_duration[source].record(duration);
        }
    }

    /// A token that could have been verified here is asked about instead.
    pub fn local_fallback(&self, why: LocalFallback) {
        self.local_fallbacks[why as usize].add(1);
    }

    pub fn webhook_event(&self, outcome: WebhookEvent) {
        self.webhook_events[outcome as usize].add(1);
    }

    /// The size of this worker's cache of verified sessions.
    pub fn sessions_cached(&self, sessions: usize) {
        self.sessions_cached.store(sessions as u64);
    }

    /// This worker's view of an upstream, for its pool to keep.
    #[must_use]
    pub fn upstream(&self, counts: &Arc<UpstreamCounts>) -> UpstreamWorker {
        UpstreamWorker { counts: Arc::clone(counts), worker: self.index }
    }

    /// Counts a client connection as open until the guard is dropped.
    pub fn connection(self: &Arc<Self>) -> OpenConnection {
        self.connections_accepted.add(1);
        self.connections.add(1);
        OpenConnection { worker: Arc::clone(self), level: |worker| &worker.connections }
    }

    /// Counts an open connection as parked until the guard is dropped.
    pub fn parked(self: &Arc<Self>) -> OpenConnection {
        self.parked_connections.add(1);
        OpenConnection { worker: Arc::clone(self), level: |worker| &worker.parked_connections }
    }

    pub fn connection_refused(&self, why: ConnectionRefusal) {
        self.connections_refused[why as usize].add(1);
    }

    pub fn tls_handshake(&self, kind: Handshake) {
        self.tls_handshakes[kind as usize].add(1);
    }

    /// Counts a connection that left HTTP (a WebSocket, say) until the guard is dropped. It goes
    /// on counting as a connection too, as long as that guard is kept.
    pub fn upgrade(self: &Arc<Self>) -> OpenConnection {
        self.upgrades.add(1);
        self.upgraded_connections.add(1);
        OpenConnection { worker: Arc::clone(self), level: |worker| &worker.upgraded_connections }
    }

    /// A request that had begun was cut short.
    pub fn stream_ended(&self, why: StreamEnd) {
        self.streams_ended[why as usize].add(1);
    }

    /// A request's handler panicked and the worker went on.
    pub fn panic_caught(&self) {
        self.panics.add(1);
    }
}

/// A client connection that counts as open. To be dropped on its worker's thread.
#[derive(Debug)]
#[must_use = "the connection counts as closed as soon as this is dropped"]
pub struct OpenConnection {
    worker: Arc<Worker>,
    level: fn(&Worker) -> &Number,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        (self.level)(&self.worker).subtract(1);
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
