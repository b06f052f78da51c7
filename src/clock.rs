//! Wall-clock time in the units the rest of the program counts in, and jitter.

use std::cell::{Cell, Ref, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn unix_millis() -> i64 {
    millis(SystemTime::now())
}

#[must_use]
pub fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A duration in milliseconds, for comparison with [`unix_millis`].
#[must_use]
pub fn span(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A number in 0..1 that differs between processes and calls. Not a secret.
#[must_use]
pub fn jitter() -> f64 {
    let bits = RandomState::new().hash_one(SystemTime::now());
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Counts of [`TICK`]s since a worker started.
pub type Ticks = u32;

/// How often a worker sweeps its connections; the resolution of its timeouts.
pub const TICK: Duration = Duration::from_millis(100);

/// A worker's coarse clock: read for nothing, advanced by the sweep.
pub struct CoarseClock {
    ticks: Cell<Ticks>,
    date: RefCell<String>,
}

impl Default for CoarseClock {
    fn default() -> Self {
        Self { ticks: Cell::default(), date: RefCell::new(date()) }
    }
}

impl CoarseClock {
    #[must_use]
    pub const fn now(&self) -> Ticks {
        self.ticks.get()
    }

    /// The time of day as HTTP writes it (RFC 9110 section 5.6.7).
    pub fn date(&self) -> Ref<'_, str> {
        Ref::map(self.date.borrow(), String::as_str)
    }

    /// Counts on to what has passed since the worker started.
    pub fn advance(&self, since_start: Duration) {
        let ticks = since_start.as_millis() / TICK.as_millis();
        self.ticks.set(Ticks::try_from(ticks).unwrap_or(Ticks::MAX));
        self.date.replace(date());
    }
}

fn date() -> String {
    let now = Timestamp::now();
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap_or_default()
}

/// A duration in ticks, rounded up; at least one.
#[must_use]
pub fn ticks(duration: Duration) -> Ticks {
    Ticks::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(Ticks::MAX).max(1)
}
