//! The emulator's own time: the real clock, plus however far ahead it has been moved.
//!
//! Everything that issues or expires asks this clock, so a test reaches the end of a session
//! without waiting for it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

#[derive(Debug, Default)]
pub(crate) struct Clock {
    ahead: SignedDuration,
}

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        let now = Timestamp::now().saturating_add(self.ahead).unwrap_or(Timestamp::MAX);
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// The second that is running. Sessions and tokens count in whole seconds, as JWTs do.
    pub(crate) fn second(&self) -> Timestamp {
        let now = self.now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        self.ahead = self.ahead.saturating_add(by);
    }
}

/// `minutes` after `start`, and never an error: a time too far to write is simply the last one.
pub(crate) fn minutes_after(start: Timestamp, minutes: u32) -> Timestamp {
    start.saturating_add(SignedDuration::from_mins(i64::from(minutes))).unwrap_or(Timestamp::MAX)
}
