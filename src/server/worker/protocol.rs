//! What is spoken on a connection once it was admitted.

use std::rc::Rc;

use super::Worker;
use super::seat::Seat;
use crate::metrics::{ConnectionRefusal, Handshake};
use crate::proxy::{Door, tunnel};
use crate::server::connection::{self, Next, Remains};
use crate::server::parking::{Carrier, Parkable};
use crate::server::record::Record;
use crate::server::{http2, tls};

impl Worker {
    /// Shakes hands, and goes on in the protocol that was agreed on.
    pub(super) async fn serve_tls<S: Carrier>(self: Rc<Self>, stream: S, seat: Seat) {
        let record = &seat.record;
        let Some(terms) = self.tls.borrow().clone() else { return };
        let shaken = terms.shake_hands(stream, record).await;
        drop(terms);
        let (stream, secured) = match shaken {
            Ok(shaken) => shaken,
            Err(failure) => {
                // Scanners and clients of another age fail all the time: worth a number, not a line.
                let cause = std::error::Error::source(&failure).map(ToString::to_string);
                tracing::debug!(peer = %record.peer, %failure, cause, "no TLS with a client");
                if !matches!(failure, tls::Failure::Ended) {
                    self.metrics.connection_refused(ConnectionRefusal::TlsHandshake);
                }
                return;
            }
        };
        self.metrics.tls_handshake(if secured.resumed { Handshake::Resumed } else { Handshake::Full });
        let is_http2 = secured.http2;
        record.secure(Rc::new(secured));
        if is_http2 {
            Box::pin(http2::serve(stream, &self, record)).await;
        } else {
            self.serve_http1(Remains { stream, read: Vec::new() }, seat).await;
        }
    }

    /// Serves HTTP/1.1 until the connection ends, or waits without a task for what comes next.
    pub(super) async fn serve_http1<S: Parkable>(self: Rc<Self>, mut from: Remains<S>, mut seat: Seat) {
        loop {
            seat.record.set_parking(self.parking());
            // On the heap, or whoever only waits would have room for it.
            match Box::pin(self.converse(from, &seat.record)).await {
                Some(left) => from = left,
                None => return,
            }
            if from.read.is_empty() {
                match self.park(from.stream, seat) {
                    Ok(()) => return,
                    Err(kept) => (from.stream, seat) = kept,
                }
            }
        }
    }

    /// Serves a connection. Returns one that is idle.
    async fn converse<S: Parkable>(
        self: &Rc<Self>,
        from: Remains<S>,
        record: &Rc<Record>,
    ) -> Option<Remains<S>> {
        let limits = &self.site().config.server.limits;
        record.limit(limits.header_bytes, limits.headers);
        let door = Rc::new(Door::new(Rc::clone(self), Rc::clone(record)));
        let answer = |request| Rc::clone(&door).serve(request);
        let refusal = |why| self.malformed(record, why);
        let clock = Rc::clone(&self.clock);
        match connection::serve(from, Rc::clone(record), clock, answer, refusal).await {
            Next::Over => None,
            Next::Idle(left) => Some(left),
            Next::Switched(near) => {
                if let Some(far) = record.take_tunnel() {
                    let _upgraded = self.metrics.upgrade();
                    tunnel::run(near, far, Rc::clone(record), Rc::clone(&self.clock)).await;
                }
                None
            }
        }
    }
}
