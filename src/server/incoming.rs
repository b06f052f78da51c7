//! The body of a request as it comes in, over either version of HTTP.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::framing::Length;

/// See the module.
#[derive(Debug, Default)]
pub struct Incoming(Source);

#[derive(Debug, Default)]
enum Source {
    #[default]
    Empty,
    Http1(FromConnection),
    Http2(hyper::body::Incoming),
}

/// Why there is no more of a body, though it has not ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the framing of the body is malformed")]
    Malformed,
    #[error("the connection ended before the body did")]
    Incomplete,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

/// A connection of HTTP/1.1 that a body comes in on.
pub(super) trait Connection {
    /// The next piece of the body.
    fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>>;

    /// Whether all of the body was read.
    fn is_read(&self) -> bool;

    /// Nobody reads the body any more.
    fn give_up(&self);
}

struct FromConnection {
    /// None when there is no more to come: what comes next on the connection is another's.
    connection: Option<Rc<dyn Connection>>,
    /// Bytes still to come, where that was said.
    left: Option<u64>,
}

impl Incoming {
    pub(super) fn http1(connection: Rc<dyn Connection>, length: Length) -> Self {
        let left = match length {
            Length::None => return Self::default(),
            Length::Known(left) => Some(left),
            Length::Chunked => None,
        };
        Self(Source::Http1(FromConnection { connection: Some(connection), left }))
    }

    pub(super) const fn http2(body: hyper::body::Incoming) -> Self {
        Self(Source::Http2(body))
    }
}

impl FromConnection {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(connection) = &self.connection else { return Poll::Ready(None) };
        let piece = ready!(connection.poll_piece(cx));
        if let (Some(Ok(frame)), Some(left)) = (&piece, &mut self.left) {
            *left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        if connection.is_read() {
            self.connection = None;
        }
        Poll::Ready(piece)
    }
}

impl Drop for FromConnection {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.give_up();
        }
    }
}

impl fmt::Debug for FromConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromConnection").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.get_mut().0 {
            Source::Empty => Poll::Ready(None),
            Source::Http1(body) => body.poll_frame(cx),
            Source::Http2(body) => Pin::new(body).poll_frame(cx).map_err(Error::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Empty => true,
            Source::Http1(body) => body.connection.is_none(),
            Source::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Empty => SizeHint::with_exact(0),
            Source::Http1(body) => body.left.map_or_else(SizeHint::default, SizeHint::with_exact),
            Source::Http2(body) => body.size_hint(),
        }
    }
}
