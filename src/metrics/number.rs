//! Numbers that one thread writes and any thread may read.
//!
//! A worker's numbers have one writer, so counting is a relaxed load and a relaxed store: no
//! locked instruction, and nothing another core waits for. What several threads count goes
//! through the `_shared` twins. A reader may see a sum a few events behind its buckets; a scrape
//! does not care.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A count, or a level that goes up and down.
#[derive(Debug, Default)]
pub(super) struct Number(AtomicU64);

impl Number {
    pub(super) fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn store(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// By the one writer.
    pub(super) fn add(&self, amount: u64) {
        self.store(self.load().wrapping_add(amount));
    }

    /// By the one writer.
    pub(super) fn subtract(&self, amount: u64) {
        self.store(self.load().saturating_sub(amount));
    }

    pub(super) fn add_shared(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }
}

/// The finest bucket holds everything up to 2^10 ns, about a microsecond.
const FIRST: u32 = 10;
/// The last bucket with a bound ends at 2^36 ns, about 69 seconds.
const LAST: u32 = 36;
/// One for each bound, and one for what is slower than all of them.
const BUCKETS: usize = (LAST - FIRST) as usize + 2;

/// Durations, counted in buckets that end at powers of two nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [Number; BUCKETS],
    nanoseconds: Number,
}

impl Histogram {
    /// By the one writer.
    pub(super) fn record(&self, duration: Duration) {
        let nanoseconds = whole_nanoseconds(duration);
        self.buckets[bucket(nanoseconds)].add(1);
        self.nanoseconds.add(nanoseconds);
    }

    pub(super) fn record_shared(&self, duration: Duration) {
        let nanoseconds = whole_nanoseconds(duration);
        self.buckets[bucket(nanoseconds)].add_shared(1);
        self.nanoseconds.add_shared(nanoseconds);
    }
}

/// The histograms of all workers added up, for one scrape.
#[derive(Debug, Default)]
pub(super) struct Durations {
    buckets: [u64; BUCKETS],
    nanoseconds: u64,
}

impl Durations {
    pub(super) fn of<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Self {
        let mut sum = Self::default();
        for histogram in histograms {
            for (total, bucket) in sum.buckets.iter_mut().zip(&histogram.buckets) {
                *total += bucket.load();
            }
            sum.nanoseconds = sum.nanoseconds.wrapping_add(histogram.nanoseconds.load());
        }
        sum
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(super) fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanoseconds).as_secs_f64()
    }

    /// Upper bound in seconds and count of each bucket, not cumulated, the unbounded one last.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = (FIRST..=LAST).map(|power| Duration::from_nanos(1 << power).as_secs_f64());
        bounds.chain([f64::INFINITY]).zip(self.buckets).collect()
    }
}

fn whole_nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The bucket whose bounds are 2^(n-1) < nanoseconds <= 2^n.
fn bucket(nanoseconds: u64) -> usize {
    let power = u64::BITS - nanoseconds.saturating_sub(1).leading_zeros();
    (power.clamp(FIRST, LAST + 1) - FIRST) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::default();
        let bounds: Vec<f64> = Durations::of([&histogram]).buckets().iter().map(|bucket| bucket.0).collect();
        let edges = (0..40).flat_map(|power| {
            let edge = 1_u64 << power;
            [edge - 1, edge, edge + 1]
        });
        for nanoseconds in edges.chain([u64::MAX]) {
            let seconds = Duration::from_nanos(nanoseconds).as_secs_f64();
            let expected = bounds.iter().position(|bound| seconds <= *bound).unwrap();
            assert_eq!(bucket(nanoseconds), expected, "{nanoseconds} ns");
        }
    }

    #[test]
    fn the_histograms_of_several_workers_add_up() {
        let workers = [Histogram::default(), Histogram::default()];
        workers[0].record(Duration::from_millis(1));
        workers[1].record(Duration::from_millis(2));
        workers[1].record_shared(Duration::from_secs(100));
        let sum = Durations::of(&workers);
        assert_eq!(sum.count(), 3);
        assert!((sum.seconds() - 100.003).abs() < 1e-9);
        assert_eq!(sum.buckets().last(), Some(&(f64::INFINITY, 1)));
    }

    #[test]
    fn a_level_does_not_go_below_zero() {
        let level = Number::default();
        level.add(1);
        level.subtract(2);
        assert_eq!(level.load(), 0);
    }
}
