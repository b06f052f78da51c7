//! How many requests may be sent again.
//!
//! What holds: retries are at most a fifth of a worker's requests to an upstream, beside
//! [`SAVED`] at first and one a second. An upstream that fails everything gets hardly more requests
//! than it would without retries.

use std::cell::Cell;

/// What a retry costs, in what a request brings.
const COST: u32 = 5;
/// Retries that can be saved.
const SAVED: u32 = 10;

/// One worker's, for one upstream.
pub(super) struct Budget(Cell<u32>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(SAVED * COST))
    }
}

impl Budget {
    pub(super) fn request(&self) {
        self.0.set((self.0.get() + 1).min(SAVED * COST));
    }

    /// So that an upstream that is hardly used is retried too.
    pub(super) fn second(&self) {
        self.0.set((self.0.get() + COST).min(SAVED * COST));
    }

    /// Whether a request may be sent again.
    pub(super) fn spend(&self) -> bool {
        let left = self.0.get().checked_sub(COST);
        self.0.set(left.unwrap_or(self.0.get()));
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_fifth_of_requests() {
        let budget = Budget::default();
        let retried = (0..1000)
            .filter(|_| {
                budget.request();
                budget.spend()
            })
            .count();
        // The first request finds everything saved that can be.
        assert_eq!(retried, (999 / COST + SAVED) as usize);
        assert!(!budget.spend());
        budget.second();
        assert!(budget.spend() && !budget.spend());
    }
}
