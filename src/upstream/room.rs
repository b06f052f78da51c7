//! `max_connections`: how many there may be, and who waits for one.
//!
//! What holds: the count is one for all workers. Whoever finds no room waits in the order of
//! arrival, for at most `timeouts.connect`; workers with idle connections then give them up.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Hand-overs within a worker between two that go to the others, while those wait.
const TURNS: u32 = 8;

/// What one upstream can take, for all workers.
pub(super) struct Room {
    places: Arc<Semaphore>,
    /// Requests that wait, in all workers.
    waiting: AtomicUsize,
    /// Told when one begins to.
    pub(super) sought: Notify,
}

/// A place taken; free again when dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// One worker's requests that wait.
pub(super) struct Queue {
    pub(super) room: Arc<Room>,
    waiting: Cell<usize>,
    turn: Cell<u32>,
    /// Told when a connection of this worker's has become idle.
    pub(super) freed: Notify,
}

/// A request that waits.
pub(super) struct Waiting<'q>(&'q Queue);

impl Room {
    pub(super) fn new(most: usize) -> Self {
        let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { places, waiting: AtomicUsize::new(0), sought: Notify::new() }
    }

    /// None while there is none, or others wait for it.
    pub(super) fn try_take(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(|permit| Place { _permit: permit })
    }

    pub(super) async fn take(&self) -> Option<Place> {
        Arc::clone(&self.places).acquire_owned().await.ok().map(|permit| Place { _permit: permit })
    }

    pub(super) fn is_sought(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }
}

impl Queue {
    pub(super) fn new(room: Arc<Room>) -> Self {
        Self { room, waiting: Cell::new(0), turn: Cell::new(0), freed: Notify::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.get() == 0
    }

    pub(super) fn join(&self) -> Waiting<'_> {
        self.waiting.set(self.waiting.get() + 1);
        self.room.waiting.fetch_add(1, Relaxed);
        self.room.sought.notify_waiters();
        Waiting(self)
    }

    /// Whether a connection that has become free may be kept. Otherwise it is to be closed, and its
    /// place goes to whoever waits longest.
    pub(super) fn may_keep(&self) -> bool {
        let all = self.room.waiting.load(Relaxed);
        let own = self.waiting.get();
        if all <= own {
            return true;
        }
        self.turn.set(self.turn.get().wrapping_add(1));
        own > 0 && !self.turn.get().is_multiple_of(TURNS)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
        self.0.room.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_free_goes_to_those_who_wait() {
        let room = Arc::new(Room::new(1));
        let (here, there) = (Queue::new(Arc::clone(&room)), Queue::new(Arc::clone(&room)));
        let place = room.try_take().unwrap();
        assert!(room.try_take().is_none() && here.may_keep());
        let elsewhere = there.join();
        assert!(room.is_sought() && !here.may_keep(), "only others wait");
        let _own = here.join();
        let kept = (0..TURNS * 10).filter(|_| here.may_keep()).count();
        assert_eq!(kept as u32, (TURNS - 1) * 10, "others get their turn");
        drop(elsewhere);
        assert!(here.may_keep());
        drop(place);
        assert!(room.try_take().is_some());
    }
}
