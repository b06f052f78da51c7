//! A WebSocket on one stream of a connection (RFC 8441).
//!
//! What holds: it is carried by the tunnel that carries those of HTTP/1.1, and counted like them; its
//! stream stays one of its connection's until both ends are done with it.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use http::{Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::{LINGER, Stream};
use crate::proxy::tunnel::{self, Far};
use crate::server::connection::Remains;
use crate::server::record::End;

/// A request that was answered with a switch, before bytes are carried.
pub(super) struct Switched<S> {
    pub(super) near: OnUpgrade,
    pub(super) far: Far,
    pub(super) stream: Rc<Stream<S>>,
}

impl<S> Switched<S> {
    /// Carries bytes until either end closes. `sending` is hyper's part of the way to the client.
    pub(super) async fn carry<F: Future>(self, sending: F) {
        let Self { near, far, stream } = self;
        let worker = &stream.connection.worker;
        let _upgraded = worker.metrics.upgrade();
        let carrying = async {
            // Else the client was gone before it was told.
            let Ok(near) = near.await else { return };
            let near = Remains { stream: TokioIo::new(near), read: Vec::new() };
            tunnel::run(near, far, Rc::clone(&stream.record), Rc::clone(&worker.clock)).await;
        };
        // On the heap, so that hyper's part is gone once it is done: the tunnel waits for that.
        match select(Box::pin(sending), pin!(carrying)).await {
            Either::Left((_, carrying)) => carrying.await,
            Either::Right(((), sending)) if stream.record.end() != Some(End::Abruptly) => {
                // What was written last may still wait for the client to take it.
                let _late = tokio::time::timeout(LINGER, sending).await;
            }
            Either::Right(_) => {}
        }
    }
}

/// A switch of protocols as HTTP/2 tells it.
pub(super) fn accepted<B>(mut response: Response<B>) -> Response<B> {
    *response.status_mut() = StatusCode::OK;
    for name in [header::CONNECTION, header::UPGRADE, header::SEC_WEBSOCKET_ACCEPT] {
        response.headers_mut().remove(name);
    }
    response
}
