//! A request body on its way to an upstream: counted, limited and without trailers that are not the
//! client's to send.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

use crate::identity::owned::Owned;
use crate::proxy::hop;
use crate::server::incoming::{self, Incoming};
use crate::server::record::{End, Record};

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the body is larger than allowed")]
    TooLarge,
    #[error("the body could not be read")]
    Broken(#[source] incoming::Error),
    /// The request that it belongs to is over, or was ended.
    #[error("nobody waits for the body any more")]
    GivenUp,
    #[error("the body is not as long as was said")]
    WrongLength,
}

/// See the module.
pub struct Outgoing(Option<Streaming>);

struct Streaming {
    inner: Incoming,
    /// Bytes still allowed.
    left: u64,
    record: Rc<Record>,
    owned: Rc<Owned>,
}

impl Outgoing {
    #[must_use]
    pub const fn empty() -> Self {
        Self(None)
    }

    /// `limit` is in bytes, whether declared or chunked.
    #[must_use]
    pub fn new(inner: Incoming, limit: u64, record: &Rc<Record>, owned: &Rc<Owned>) -> Self {
        if inner.is_end_stream() {
            return Self(None);
        }
        let (record, owned) = (Rc::clone(record), Rc::clone(owned));
        Self(Some(Streaming { inner, left: limit, record, owned }))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(streaming) = &mut self.get_mut().0 else { return Poll::Ready(None) };
        if streaming.record.end() == Some(End::Abruptly) {
            return Poll::Ready(Some(Err(Error::GivenUp)));
        }
        let frame = match ready!(streaming.poll_inner(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => {
                streaming.record.body_broke();
                return Poll::Ready(Some(Err(Error::Broken(error))));
            }
            Some(Ok(frame)) => frame,
        };
        Poll::Ready(Some(streaming.pass(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|streaming| streaming.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |streaming| streaming.inner.size_hint())
    }
}

impl Streaming {
    /// The next of what the client sent. A request that is cut short sends nothing on while its last
    /// words are said.
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, incoming::Error>>> {
        let next = match self.record.was_cut() {
            Some(_) => Poll::Pending,
            None => Pin::new(&mut self.inner).poll_frame(cx),
        };
        if next.is_pending() {
            self.record.sent_on_by(cx);
        }
        next
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Error> {
        match frame.into_data() {
            Ok(data) => {
                let size = data.len() as u64;
                let Some(left) = self.left.checked_sub(size) else {
                    self.record.body_too_large();
                    return Err(Error::TooLarge);
                };
                self.left = left;
                self.record.received(size);
                Ok(Frame::data(data))
            }
            Err(frame) => Ok(Frame::trailers(self.trailers(frame))),
        }
    }

    fn trailers(&self, frame: Frame<Bytes>) -> HeaderMap {
        let mut trailers = frame.into_trailers().unwrap_or_default();
        self.owned.strip(&mut trailers);
        hop::strip_trailers(&mut trailers);
        trailers
    }
}
