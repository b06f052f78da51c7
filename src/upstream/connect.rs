//! Finds a request a connection that can carry it, waiting for one where `max_connections` are in
//! use.
//!
//! What holds: one deadline, `timeouts.connect`, for the wait, and another for the connection with
//! its handshake; a request that waits takes whatever comes first, a connection that another one
//! left or a place for a new one.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use super::pool::{Endpoint, Link, Multiplexed};
use super::room::{Place, Queue};
use super::tls::Speak;
use super::{Failure, Order, Upstream};
use crate::metrics::ConnectionState;
use crate::upstream::io::Socket;

/// A connection that a request may go out on.
pub(super) enum Way {
    Link(Link),
    /// With the place that the request itself takes.
    Stream(Rc<Multiplexed>, Option<Place>),
}

impl Upstream {
    /// A new connection to that instance, or one that many requests share.
    pub(super) async fn reach(&self, endpoint: &Rc<Endpoint>, order: &Order<'_>) -> Result<Way, Failure> {
        let place = match &self.queue {
            None => None,
            Some(queue) => match self.find_room(queue, endpoint, order).await? {
                Given::Link(link) => return Ok(Way::Link(link)),
                Given::Place(place) => Some(place),
            },
        };
        if !self.settings().http2 || order.switches || endpoint.declined_http2.get() {
            let connecting = self.connect(endpoint, Speak::Http1, place);
            return tokio::time::timeout(order.timeouts.connect, connecting)
                .await
                .map_err(|_| Failure::ConnectTimeout)?;
        }
        if let Some(open) = endpoint.multiplexed() {
            return Ok(Way::Stream(open, place));
        }
        let connecting = async {
            let _turn = endpoint.opening.acquire().await;
            match endpoint.multiplexed() {
                Some(open) => Ok(Way::Stream(open, place)),
                None => self.connect(endpoint, Speak::Http2, place).await,
            }
        };
        tokio::time::timeout(order.timeouts.connect, connecting).await.map_err(|_| Failure::ConnectTimeout)?
    }

    async fn connect(
        &self,
        endpoint: &Rc<Endpoint>,
        speak: Speak,
        place: Option<Place>,
    ) -> Result<Way, Failure> {
        let stream = Socket::connect(&endpoint.instance, self.settings().tls.as_ref(), speak)
            .await
            .map_err(Failure::Connect)?;
        endpoint.is_taking();
        if stream.speaks_http2(speak) {
            let multiplexed = Multiplexed::open(stream, &self.counts, self.clock.now()).await?;
            endpoint.share(&multiplexed);
            return Ok(Way::Stream(multiplexed, place));
        }
        if speak == Speak::Http2 {
            endpoint.declined_http2.set(true);
        }
        Ok(Way::Link(Link::open(stream, place, &self.counts)))
    }

    async fn find_room(
        &self,
        queue: &Rc<Queue>,
        endpoint: &Rc<Endpoint>,
        order: &Order<'_>,
    ) -> Result<Given, Failure> {
        if let Some(place) = queue.room.try_take() {
            return Ok(Given::Place(place));
        }
        let _waiting = queue.join();
        let _counted = self.counts.waits();
        let waiting = async {
            let mut place = pin!(queue.room.take());
            loop {
                tokio::select! {
                    place = &mut place => return place.map(Given::Place).ok_or(Failure::Full),
                    () = queue.freed.notified() => {
                        if let Some(mut link) = endpoint.take_idle() {
                            link.counted.becomes(ConnectionState::Active);
                            return Ok(Given::Link(link));
                        }
                        // It is another instance's: its place will do.
                        make_room(&self.endpoints.borrow());
                    }
                }
            }
        };
        tokio::time::timeout(order.timeouts.connect, waiting).await.map_err(|_| Failure::Full)?
    }
}

/// Closes a connection that nobody uses, for somebody who waits for its place.
fn make_room(endpoints: &[Rc<Endpoint>]) {
    let _closed = endpoints.iter().any(|endpoint| endpoint.evict());
}

/// Gives up idle connections when some request, of whatever worker, waits for a place.
pub(super) async fn yield_room(room: Arc<super::room::Room>, endpoints: Rc<RefCell<Rc<[Rc<Endpoint>]>>>) {
    loop {
        let mut sought = pin!(room.sought.notified());
        sought.as_mut().enable();
        if room.is_sought() {
            make_room(&endpoints.borrow());
        }
        sought.await;
    }
}

/// What a request that waited was given.
enum Given {
    Link(Link),
    Place(Place),
}
