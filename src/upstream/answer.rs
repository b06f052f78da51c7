//! The body of an upstream's response.
//!
//! What holds: its connection is free for the next request when the body was read to its end, and
//! closes when it was not.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::Error;
use super::http1::Decoder;
use super::pool::{Lease, Remains};

/// See the module.
pub struct Answer {
    content: Content,
    /// None once there is nothing more to be read.
    lease: Option<Lease>,
    /// Told only after the client got what came before it.
    broken: Option<Error>,
}

enum Content {
    Http1(Decoder),
    Http2(Incoming),
}

impl Answer {
    pub(super) const fn http1(decoder: Decoder, lease: Lease) -> Self {
        Self { content: Content::Http1(decoder), lease: Some(lease), broken: None }
    }

    pub(super) const fn http2(body: Incoming, lease: Lease) -> Self {
        Self { content: Content::Http2(body), lease: Some(lease), broken: None }
    }

    /// Nobody else may be given the connection.
    pub fn once(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.once();
        }
    }

    /// After a 101: the socket, and what was read of the next protocol.
    #[must_use]
    pub fn into_remains(mut self) -> Option<Remains> {
        self.lease.take()?.into_remains()
    }

    /// Gives the connection back once all was read.
    fn settle(&mut self) {
        if self.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.release();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let Some(lease) = &mut this.lease else { return Poll::Ready(this.broken.take().map(Err)) };
        let next = match &mut this.content {
            Content::Http1(decoder) => match lease.connection() {
                Some(connection) => ready!(connection.poll_frame(cx, decoder)).map(|next| Ok(next?)),
                None => None,
            },
            Content::Http2(body) => ready!(Pin::new(body).poll_frame(cx)).map(|next| Ok(next?)),
        };
        match next {
            Some(Ok(_)) => this.settle(),
            Some(Err(error)) => {
                this.lease = None;
                this.broken = Some(error);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => {
                if let Some(lease) = this.lease.take() {
                    lease.release();
                }
            }
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Http1(decoder) => decoder.is_done(),
            Content::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Http1(decoder) => decoder.size_hint(),
            Content::Http2(body) => body.size_hint(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.settle();
    }
}
