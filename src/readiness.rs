//! Whether the gateway should be sent traffic, and what it still waits for.
//!
//! Each part that must be there first takes a guard and drops it when it is. A part may become
//! pending again later (Stytch refuses our own secret, say), so readiness is never latched. Only
//! draining is: a gateway that began to stop does not become ready again.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// What [`Readiness::pending`] says while the gateway stops.
const DRAINING: &str = "draining";

/// The parts that are not ready. Clones speak of the same gateway.
#[derive(Debug, Clone)]
pub struct Readiness {
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// How many guards stand for each part.
    pending: BTreeMap<&'static str, usize>,
    draining: bool,
}

impl State {
    fn is_ready(&self) -> bool {
        self.pending.is_empty() && !self.draining
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Ready until something is waited for.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Arc::new(watch::Sender::new(State::default())) }
    }

    /// Marks a part as pending until the guard is dropped. Several guards may share a name: the
    /// part is ready when the last of them is gone.
    pub fn wait_for(&self, part: &'static str) -> Pending {
        self.state.send_modify(|state| *state.pending.entry(part).or_default() += 1);
        Pending { part, readiness: self.clone() }
    }

    /// From here on the gateway is not ready, whatever its parts say.
    pub fn drain(&self) {
        self.state.send_modify(|state| state.draining = true);
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state.borrow().is_ready()
    }

    /// The names of what is pending, `draining` first; empty when ready.
    #[must_use]
    pub fn pending(&self) -> Vec<&'static str> {
        let state = self.state.borrow();
        state.draining.then_some(DRAINING).into_iter().chain(state.pending.keys().copied()).collect()
    }

    /// Tells whether the gateway is ready, now and after each change. Never returns.
    pub async fn follow(&self, mut tell: impl AsyncFnMut(bool)) {
        let mut changes = self.state.subscribe();
        loop {
            let ready = changes.borrow_and_update().is_ready();
            tell(ready).await;
            // The sender lives as long as `self`, so this cannot fail.
            drop(changes.changed().await);
        }
    }

    /// Returns when nothing is pending, which after [`Readiness::drain`] is never.
    pub async fn ready(&self) {
        let mut changes = self.state.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        drop(changes.wait_for(State::is_ready).await);
    }

    /// Returns when nothing is pending but this part.
    pub async fn ready_but(&self, part: &'static str) {
        let mut changes = self.state.subscribe();
        let is_ready =
            |state: &State| !state.draining && state.pending.keys().all(|pending| *pending == part);
        drop(changes.wait_for(is_ready).await);
    }
}

/// Stands for one part that is not ready yet.
#[derive(Debug)]
#[must_use = "the part counts as ready as soon as this is dropped"]
pub struct Pending {
    part: &'static str,
    readiness: Readiness,
}

impl Pending {
    /// The same as dropping it, for where a name reads better.
    pub fn done(self) {}
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.readiness.state.send_modify(|state| {
            if let Some(guards) = state.pending.get_mut(self.part) {
                *guards -= 1;
                if *guards == 0 {
                    state.pending.remove(self.part);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_pending_until_its_last_guard_is_gone() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let keys = readiness.wait_for("keys");
        let first = readiness.wait_for("workers");
        let second = readiness.wait_for("workers");
        assert_eq!(readiness.pending(), ["keys", "workers"]);
        first.done();
        drop(keys);
        assert_eq!(readiness.pending(), ["workers"]);
        second.done();
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_part_can_become_pending_again() {
        let readiness = Readiness::new();
        readiness.wait_for("stytch credentials").done();
        assert!(readiness.is_ready());
        let refused = readiness.wait_for("stytch credentials");
        assert_eq!(readiness.pending(), ["stytch credentials"]);
        drop(refused);
        assert!(readiness.is_ready());
    }

    #[test]
    fn draining_is_for_good() {
        let readiness = Readiness::new();
        let keys = readiness.wait_for("keys");
        readiness.drain();
        assert_eq!(readiness.pending(), ["draining", "keys"]);
        keys.done();
        assert_eq!(readiness.pending(), ["draining"]);
        assert!(!readiness.is_ready());
    }

    #[tokio::test]
    async fn ready_returns_when_the_last_part_is() {
        let readiness = Readiness::new();
        let keys = readiness.wait_for("keys");
        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.ready().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        keys.done();
        waiting.await.unwrap();
    }
}
