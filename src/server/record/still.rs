//! Whether a connection is to be parked, which takes its task and the sweep to agree.

use super::{Record, Ticks};

/// How far a connection is from being parked (see [`crate::server::parking`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parking {
    /// It is shaking hands, ending, or speaks something that cannot be taken up again.
    Never,
    /// Its task can hand it over.
    Able,
    /// The sweep found it idle, and its task is to hand it over if it still is.
    Asked,
    Parked,
}

impl Record {
    #[must_use]
    pub fn parking(&self) -> Parking {
        self.parking.get()
    }

    pub fn set_parking(&self, parking: Parking) {
        self.parking.set(parking);
    }

    /// The task is gone, and all that it held is to go with it.
    pub fn park(&self) {
        self.parking.set(Parking::Parked);
        self.waker.replace(None);
    }

    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.parking.get() == Parking::Parked
    }

    /// Whether nothing has come that was not answered, and nothing is left to be written.
    #[must_use]
    pub fn is_still(&self) -> bool {
        self.is_quiet()
            && self.framing.borrow().between_messages()
            && self.malformed.get().is_none()
            && self.end.get().is_none()
    }

    /// One look by the sweep: asks a connection that has been idle for so long to be handed over.
    pub fn ask_to_park(&self, now: Ticks, after: Ticks) {
        if self.parking.get() == Parking::Able
            && now.saturating_sub(self.phase_since.get()) >= after
            && self.is_still()
        {
            self.parking.set(Parking::Asked);
            self.wake();
        }
    }

    /// Begins with a head under these limits, which may have changed while nothing came.
    pub fn limit(&self, max_head_bytes: usize, max_headers: usize) {
        let mut framing = self.framing.borrow_mut();
        if framing.between_messages() {
            framing.limit(max_head_bytes, max_headers);
        }
    }
}
