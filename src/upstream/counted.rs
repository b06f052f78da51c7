//! A request to an upstream, and how it ended.
//!
//! What holds: every one that was sent is counted once, also when nobody waits for it any more.

use super::{Answered, Failure};
use crate::metrics::{UpstreamOutcome, UpstreamWorker};

/// Counted when it is dropped.
pub(super) struct Counted<'c> {
    counts: &'c UpstreamWorker,
    /// None for one that was never sent.
    outcome: Option<UpstreamOutcome>,
}

impl<'c> Counted<'c> {
    pub(super) const fn new(counts: &'c UpstreamWorker) -> Self {
        Self { counts, outcome: Some(UpstreamOutcome::Cancelled) }
    }

    pub(super) fn ends(&mut self, sent: &Result<Answered, Failure>) {
        self.outcome = match sent {
            Ok(response) => Some(response.status().into()),
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
