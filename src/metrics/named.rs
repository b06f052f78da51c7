//! Numbers kept for each route and each upstream, by their configured names.
//!
//! Whoever counts holds an `Arc`, taken by name when a configuration is put in place; the
//! registry holds only a `Weak`. So a name that a reload keeps goes on counting where it was, one
//! that is gone disappears with the last request that used it, a configuration that was built and
//! then rejected leaves nothing behind, and memory is bounded by what is configured.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::label::{ConnectionState, Decision, UpstreamOutcome};
use super::number::Number;

/// What is in use under each name. The lock is taken at reloads and scrapes alone.
#[derive(Debug)]
pub(super) struct Named<T>(Mutex<BTreeMap<String, Weak<T>>>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Named<T> {
    pub(super) fn obtain(&self, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, used| used.strong_count() > 0);
        if let Some(used) = names.get(name).and_then(Weak::upgrade) {
            return used;
        }
        let made = Arc::new(make());
        names.insert(name.to_owned(), Arc::downgrade(&made));
        made
    }

    pub(super) fn in_use(&self) -> Vec<(String, Arc<T>)> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().filter_map(|(name, used)| Some((name.clone(), used.upgrade()?))).collect()
    }
}

/// One route's requests, in each worker.
#[derive(Debug)]
pub struct RouteCounts {
    pub(super) workers: Box<[Requests]>,
}

impl RouteCounts {
    pub(super) fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| Requests::default()).collect() }
    }

    pub(super) fn total(&self, decision: Decision) -> u64 {
        self.workers.iter().map(|requests| requests.count(decision)).sum()
    }
}

/// Requests by [`Decision::index`], on cache lines no other worker writes.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Requests([Number; Decision::COUNT]);

impl Default for Requests {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Number::default()))
    }
}

impl Requests {
    pub(super) fn add(&self, decision: Decision) {
        self.0[decision.index()].add(1);
    }

    pub(super) fn count(&self, decision: Decision) -> u64 {
        self.0[decision.index()].load()
    }
}

/// One upstream's requests and connections, in each worker.
#[derive(Debug)]
pub struct UpstreamCounts {
    workers: Box<[UpstreamNumbers]>,
    endpoints: Named<EndpointUp>,
    /// Passed and failed.
    health_checks: [Number; 2],
    ejections: Number,
}

/// Whether requests are sent to an instance of an upstream.
#[derive(Debug)]
pub struct EndpointUp(AtomicBool);

impl EndpointUp {
    pub fn set(&self, up: bool) {
        self.0.store(up, Relaxed);
    }

    pub(super) fn is_up(&self) -> bool {
        self.0.load(Relaxed)
    }
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct UpstreamNumbers {
    requests: [Number; UpstreamOutcome::ALL.len()],
    connections: [Number; ConnectionState::ALL.len()],
    retries: Number,
    waiting: Number,
}

impl UpstreamCounts {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| UpstreamNumbers::default()).collect(),
            endpoints: Named::default(),
            health_checks: Default::default(),
            ejections: Number::default(),
        }
    }

    /// The instance with this address, which counts as up at first and is shown for as long as
    /// somebody holds this.
    #[must_use]
    pub fn endpoint(&self, address: &str) -> Arc<EndpointUp> {
        self.endpoints.obtain(address, || EndpointUp(AtomicBool::new(true)))
    }

    /// On whatever thread.
    pub fn health_check(&self, passed: bool) {
        self.health_checks[usize::from(!passed)].add_shared(1);
    }

    /// Likewise.
    pub fn ejected(&self) {
        self.ejections.add_shared(1);
    }

    pub(super) fn endpoints(&self) -> Vec<(String, Arc<EndpointUp>)> {
        self.endpoints.in_use()
    }

    pub(super) fn health_checks(&self) -> [(&'static str, u64); 2] {
        let [passed, failed] = &self.health_checks;
        [("passed", passed.load()), ("failed", failed.load())]
    }

    pub(super) fn ejections(&self) -> u64 {
        self.ejections.load()
    }

    pub(super) fn waiting(&self) -> u64 {
        self.workers.iter().map(|worker| worker.waiting.load()).sum()
    }

    pub(super) fn requests(&self, outcome: UpstreamOutcome) -> u64 {
        self.workers.iter().map(|worker| worker.requests[outcome as usize].load()).sum()
    }

    pub(super) fn connections(&self, state: ConnectionState) -> u64 {
        self.workers.iter().map(|worker| worker.connections[state as usize].load()).sum()
    }

    pub(super) fn retries(&self) -> u64 {
        self.workers.iter().map(|worker| worker.retries.load()).sum()
    }
}

/// One worker's view of an upstream: only that worker's thread may use it.
#[derive(Debug, Clone)]
pub struct UpstreamWorker {
    pub(super) counts: Arc<UpstreamCounts>,
    pub(super) worker: usize,
}

impl UpstreamWorker {
    fn numbers(&self) -> &UpstreamNumbers {
        &self.counts.workers[self.worker]
    }

    pub fn request(&self, outcome: UpstreamOutcome) {
        self.numbers().requests[outcome as usize].add(1);
    }

    pub fn retry(&self) {
        self.numbers().retries.add(1);
    }

    /// Counts a request that waits for a connection, until the guard is dropped.
    pub fn waits(&self) -> UpstreamWaiting {
        self.numbers().waiting.add(1);
        UpstreamWaiting(self.clone())
    }

    /// Counts a new connection as active until the guard says otherwise or is dropped.
    pub fn connection(&self) -> UpstreamConnection {
        self.numbers().connections[ConnectionState::Active as usize].add(1);
        UpstreamConnection { upstream: self.clone(), state: ConnectionState::Active }
    }
}

/// A request that waits for a connection.
#[derive(Debug)]
#[must_use = "the wait counts as over as soon as this is dropped"]
pub struct UpstreamWaiting(UpstreamWorker);

impl Drop for UpstreamWaiting {
    fn drop(&mut self) {
        self.0.numbers().waiting.subtract(1);
    }
}

/// One open connection to an upstream.
#[derive(Debug)]
#[must_use = "the connection counts as closed as soon as this is dropped"]
pub struct UpstreamConnection {
    upstream: UpstreamWorker,
    state: ConnectionState,
}

impl UpstreamConnection {
    pub fn becomes(&mut self, state: ConnectionState) {
        let connections = &self.upstream.numbers().connections;
        connections[self.state as usize].subtract(1);
        connections[state as usize].add(1);
        self.state = state;
    }
}

impl Drop for UpstreamConnection {
    fn drop(&mut self) {
        self.upstream.numbers().connections[self.state as usize].subtract(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stays_in_use_keeps_its_counts() {
        let names = Named::default();
        let before = names.obtain("/app/*", || RouteCounts::new(1));
        before.workers[0].add(Decision::Allowed);
        let after = names.obtain("/app/*", || RouteCounts::new(1));
        drop(before);
        assert_eq!(after.total(Decision::Allowed), 1);
    }

    #[test]
    fn a_name_nobody_uses_is_forgotten() {
        let names = Named::default();
        drop(names.obtain("/old/*", || RouteCounts::new(1)));
        assert!(names.in_use().is_empty());
        let _kept = names.obtain("/new/*", || RouteCounts::new(1));
        assert_eq!(names.0.lock().unwrap().len(), 1);
    }
}
