//! HTTP/1.1 to an upstream (RFC 9112): a request goes out on a connection, and its response comes in.
//!
//! What holds: whoever waits for the response reads it, without a task or a buffer of its own; where
//! a response ends is said in one way, which everyone reads alike, or it is none; a connection on
//! which anything is left over carries no further request.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, Response};
use hyper::body::{Body as _, Frame};

use self::decoder::Piece;
use self::response::Heads;
use self::upload::{Elsewhere, Progress, Upload};
use super::body;
use super::form::Outbound;
use super::io::Socket;
use super::room::Place;
use crate::intake::Intake;
use crate::outbox::{Posted, Recipient};

mod chunked;
mod decoder;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod upload;

pub(super) use self::decoder::Decoder;

/// Why a response did not come, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("malformed response: {0}")]
    Malformed(&'static str),
    #[error("the connection ended before the response did")]
    Incomplete,
    #[error("the request's body could not be sent on")]
    Body(#[source] body::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A connection that carries one request at a time.
pub(super) struct Connection {
    /// Shared with what is still to be sent when the response begins.
    recipient: Rc<Recipient<Socket>>,
    intake: Intake,
    heads: Heads,
    upload: Progress,
    has_heard: bool,
    keeps_alive: bool,
    /// Free again when the connection has ended.
    _place: Option<Place>,
}

impl Connection {
    pub(super) fn new(stream: Socket, place: Option<Place>) -> Self {
        Self {
            recipient: Rc::new(Recipient::new(stream)),
            intake: Intake::default(),
            heads: Heads::default(),
            upload: Progress::Done,
            has_heard: false,
            keeps_alive: true,
            _place: place,
        }
    }

    /// Whether a connection that nothing is expected on has neither ended nor spoken. Asks the system
    /// only when something has happened on it.
    pub(super) fn is_silent(&self) -> bool {
        self.recipient.socket.borrow_mut().is_silent()
    }

    /// Whether any byte came since the request was sent, though it may be of an interim response.
    pub(super) const fn has_heard(&self) -> bool {
        self.has_heard
    }

    /// Whether a further request can be sent, after a response was read to its end.
    pub(super) fn may_be_kept(&mut self) -> bool {
        self.intake.shrink();
        self.keeps_alive && self.intake.held.is_empty() && self.upload.is_done()
    }

    /// What is still to be sent after the response was read to its end, if anything is.
    pub(super) fn take_rest(&mut self) -> Option<Elsewhere> {
        self.upload.take_rest()
    }

    /// The socket, and what was read beyond the response, once the request is through.
    pub(super) fn into_parts(mut self) -> Option<(Socket, Vec<u8>)> {
        let (recipient, read) = (Rc::clone(&self.recipient), std::mem::take(&mut self.intake.held));
        drop(self);
        Some((Rc::try_unwrap(recipient).ok()?.socket.into_inner(), read.to_vec()))
    }

    /// Sends a request, and waits for the head of its response. The request is taken when its first
    /// byte is: one that stays in its place has not been seen by the upstream.
    ///
    /// # Errors
    /// See [`Error`]. The connection is of no more use then.
    pub(super) fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        request: &mut Option<Outbound<'_>>,
    ) -> Poll<Result<Response<Decoder>, Error>> {
        if let Some(unsent) = request {
            if unsent.body.is_end_stream() {
                ready!(self.poll_post(cx, unsent))?;
                *request = None;
            } else if let Some(unsent) = request.take() {
                self.expect_response(unsent.method);
                self.upload = Progress::Here(Box::new(upload::of(unsent)));
            }
        }
        // An upstream may answer, and close, before it has read a request to its end.
        let sent = self.upload.poll_here(cx, &self.recipient);
        if let Poll::Ready(Err(error @ Error::Body(_))) = sent {
            return Poll::Ready(Err(error));
        }
        loop {
            if let Some(head) = self.heads.next(&mut self.intake.held)? {
                self.keeps_alive = head.keeps_alive;
                self.upload.goes_on(&self.recipient);
                return Poll::Ready(Ok(head.response));
            }
            match self.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Error::Incomplete)),
                Poll::Ready(Ok(_)) => self.has_heard = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn expect_response(&mut self, method: &Method) {
        self.heads = Heads::of(*method == Method::HEAD);
        self.has_heard = false;
    }

    /// Has a request without a body sent. Ready when it is out, most often with the response.
    fn poll_post(&mut self, cx: &mut Context<'_>, request: &Outbound<'_>) -> Poll<Result<(), Error>> {
        match self.recipient.posted() {
            Posted::Nothing => {
                self.expect_response(request.method);
                self.recipient.post(cx.waker(), |out| {
                    request::write_head(request, out);
                });
            }
            Posted::Waiting => {}
            Posted::Out(None) => return Poll::Ready(Ok(())),
            Posted::Out(Some(rest)) => {
                self.upload = Progress::Here(Box::new(Upload::of_rest(rest)));
                return Poll::Ready(Ok(()));
            }
            Posted::Failed(error) => return Poll::Ready(Err(error.into())),
        }
        match ready!(self.poll_fill(cx))? {
            0 => Poll::Ready(Err(Error::Incomplete)),
            _ => Poll::Ready(Err(Error::Malformed("it speaks without being asked"))),
        }
    }

    /// The next piece of a response's body.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        decoder: &mut Decoder,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(error) = self.upload.broken(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            match decoder.next(&mut self.intake.held) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::More) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) if decoder.ends_with_connection() => return Poll::Ready(None),
                Ok(0) => return Poll::Ready(Some(Err(Error::Incomplete))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Reads more into what is held. Zero bytes are the end of the connection.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let mut stream = self.recipient.socket.borrow_mut();
        self.intake.poll_fill(Pin::new(&mut *stream), cx)
    }
}

impl Drop for Connection {
    /// A request that nobody waits for any more is not sent.
    fn drop(&mut self) {
        self.recipient.withdraw();
    }
}
