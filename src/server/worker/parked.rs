//! Connections that wait without a task, and the memory that this leaves over.
//!
//! What holds: one that is parked has its place in the limits, the metrics and the sweep's list like
//! any other; what would end an idle connection ends it.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};

use super::super::connection::Remains;
use super::super::parking::{Lot, Parkable, Parked, Woken};
use super::super::record::{Parking, Record};
use super::seat::Seat;
use super::{Worker, contained};
use crate::metrics::OpenConnection;

/// What goes with a parked connection.
pub(super) struct Waiting {
    seat: Seat,
    _parked: OpenConnection,
}

/// Larger than anything the allocator keeps for later.
const LARGE: usize = 16 << 20;
/// Looks at the memory after the last connection gave some back, one a second.
const LOOKS: u8 = 4;

pub(super) fn lot() -> Option<Lot<Waiting>> {
    Lot::open().inspect_err(|error| tracing::warn!(%error, "idle connections keep their buffers")).ok()
}

impl Worker {
    /// What a connection that begins or goes on may come to.
    pub(super) fn parking(&self) -> Parking {
        if self.lot.is_some() { Parking::Able } else { Parking::Never }
    }

    /// Keeps a connection until something comes. Both come back when it cannot be kept.
    pub(super) fn park<S: Parkable>(&self, stream: S, seat: Seat) -> Result<(), (S, Seat)> {
        let Some(lot) = &self.lot else { return Err((stream, seat)) };
        let record = Rc::clone(&seat.record);
        let waiting = Waiting { seat, _parked: self.metrics.parked() };
        lot.park(stream, waiting).map_err(|(stream, waiting)| (stream, waiting.seat))?;
        record.park();
        self.looks_at_memory.set(LOOKS);
        Ok(())
    }

    /// Serves parked connections again as something comes.
    pub(super) async fn attend(self: Rc<Self>) {
        let Some(lot) = &self.lot else { return };
        let mut woken = Vec::new();
        while let Ok(()) = lot.wait(&mut woken).await {
            for woken in woken.drain(..) {
                self.resume(woken);
            }
        }
    }

    fn resume(self: &Rc<Self>, woken: Woken<Waiting>) {
        let Woken { stream, read, beside: Waiting { seat, .. } } = woken;
        match stream {
            Parked::Tcp(socket) => {
                // A socket that the runtime does not take is closed.
                if let Ok(stream) = TcpStream::from_std(socket) {
                    self.resume_with(Remains { stream, read }, seat);
                }
            }
            Parked::Unix(socket) => {
                if let Ok(stream) = UnixStream::from_std(socket) {
                    self.resume_with(Remains { stream, read }, seat);
                }
            }
            Parked::TlsOverTcp(stream) => self.resume_with(Remains { stream: *stream, read }, seat),
            Parked::TlsOverUnix(stream) => self.resume_with(Remains { stream: *stream, read }, seat),
        }
    }

    fn resume_with<S: Parkable>(self: &Rc<Self>, from: Remains<S>, seat: Seat) {
        seat.record.set_parking(self.parking());
        let serving = Rc::clone(self).serve_http1(from, seat);
        tokio::task::spawn_local(contained(Arc::clone(&self.metrics), serving));
    }

    pub(super) fn close_parked(&self, those: impl Fn(&Record) -> bool) {
        if let Some(lot) = &self.lot {
            lot.close(|waiting| those(&waiting.seat.record));
        }
    }

    /// The allocator gives free pages back to the system only while it is asked for others, and some
    /// time after they became free. Where many connections end or are parked, and nothing follows,
    /// it is asked.
    pub(super) fn look_at_memory(&self) {
        let looks = self.looks_at_memory.get();
        if looks > 0 {
            self.looks_at_memory.set(looks - 1);
            drop(black_box(Vec::<u8>::with_capacity(LARGE)));
        }
    }

    /// A connection ended, and what it took is free.
    pub(super) fn left_memory(&self) {
        self.looks_at_memory.set(LOOKS);
    }
}
