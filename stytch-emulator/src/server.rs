//! Takes connections and calls: notes every API call, lets ordered faults strike, passes the rest
//! on to the routers.
//!
//! Runs on hyper itself rather than on axum's server, because a fault may be to close the
//! connection without an answer, and only a service that may fail can do that.

use std::convert::Infallible;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::Request;
use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::request::Parts;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::state::Shared;
use crate::{api, control, journal};

/// Of what is larger than this, or breaks off, there is nothing to answer. What is too large for a
/// call is for the routers to say.
const READ_AT_MOST: usize = 16 << 20;

/// A call that gets no answer: to order, or since it was none.
#[derive(Debug, thiserror::Error)]
#[error("dropped")]
struct Dropped;

#[derive(Clone)]
struct Door {
    shared: Shared,
    api: Router,
    control: Router,
}

/// Serves until the future is dropped; every connection ends with it.
pub(crate) async fn serve(listener: TcpListener, shared: Shared) -> Infallible {
    let door = Door { api: api::router(shared.clone()), control: control::router(shared.clone()), shared };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // An accept that fails concerns one client only; the next one may fare better.
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(converse(stream, door.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, door: Door) {
    // Answers are small and somebody waits for each.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let door = door.clone();
        async move { door.answer(request).await }
    });
    // A client's pooled connection may wait as long as it likes for its next call.
    let mut http = http1::Builder::new();
    http.header_read_timeout(None);
    // Whatever ends a conversation early, a client gone or a fault ordered, needs no handling.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

impl Door {
    async fn answer(self, request: Request<Incoming>) -> Result<Response, Dropped> {
        let request = request.map(Body::new);
        let path = request.uri().path().to_owned();
        if path == "/emulator" || path.starts_with("/emulator/") {
            return Ok(routed(self.control, request).await);
        }
        let (parts, body) = request.into_parts();
        let bytes = to_bytes(body, READ_AT_MOST).await.map_err(|_| Dropped)?;
        let (entry, fault) = {
            let state = &mut *self.shared.lock();
            let now = state.clock.now();
            let entry = state.journal.arrived(parts.method.to_string(), path.clone(), now);
            state.journal.said(said(&parts, &path, bytes.clone()));
            (entry, state.faults.strike(&path))
        };
        let mut ordered = None;
        if let Some(fault) = fault {
            tokio::time::sleep(fault.latency()).await;
            if fault.drop {
                return Err(Dropped);
            }
            ordered = fault.response();
        }
        let response = match ordered {
            Some(response) => response,
            None => routed(self.api, Request::from_parts(parts, bytes.into())).await,
        };
        self.shared.lock().journal.answered(entry, response.status().as_u16());
        Ok(response)
    }
}

fn said(parts: &Parts, path: &str, bytes: Bytes) -> journal::Body {
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    journal::Body {
        method: parts.method.to_string(),
        path: path.to_owned(),
        user_agent: header(USER_AGENT),
        content_type: header(CONTENT_TYPE),
        bytes,
    }
}

async fn routed(router: Router, request: Request<Body>) -> Response {
    let Ok(response) = router.oneshot(request).await;
    response
}
