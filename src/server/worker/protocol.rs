//! What is spoken on a connection once it was admitted.

use std::rc::Rc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Worker;
use crate::metrics::{ConnectionRefusal, Handshake};
use crate::proxy::{Door, tunnel};
use crate::server::record::Record;
use crate::server::{connection, http2, tls};

/// Bytes a connection buffers of a request at once, and of a response. What a client that stops
/// reading can pin is a few of these (see ARCHITECTURE.md, Memory).
const BUFFER: usize = 32 * 1024;

impl Worker {
    /// Shakes hands, and goes on in the protocol that was agreed on.
    pub(super) async fn serve_tls<S>(self: &Rc<Self>, stream: S, record: &Rc<Record>)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
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
            Box::pin(http2::serve(stream, self, record)).await;
        } else {
            self.serve_http1(stream, record).await;
        }
    }

    pub(super) async fn serve_http1<S>(self: &Rc<Self>, stream: S, record: &Rc<Record>)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let builder = builder(&self.site().config.server.limits);
        let door = Rc::new(Door::new(Rc::clone(self), Rc::clone(record)));
        let service = service_fn(|request| Rc::clone(&door).serve(request));
        let refusal = |why| self.malformed(record, why);
        let clock = Rc::clone(&self.clock);
        let remains = connection::serve(stream, Rc::clone(record), clock, &builder, service, refusal).await;
        if let (Some(near), Some(far)) = (remains, record.take_tunnel()) {
            let _upgraded = self.metrics.upgrade();
            tunnel::run(near, far, Rc::clone(record), Rc::clone(&self.clock)).await;
        }
    }
}

/// hyper's part. Timeouts are the sweep's, and limits the framing's; hyper's own are no tighter. A
/// buffer that is full of an unfinished head makes hyper answer by itself, so there is room for one
/// byte more than the framing lets pass.
fn builder(limits: &crate::config::Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(BUFFER.max(limits.header_bytes + 1));
    if limits.headers > 100 {
        builder.max_headers(limits.headers);
    }
    builder
}
