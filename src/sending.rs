//! A message of HTTP/1.1 on its way out (RFC 9112): what is left of it to be written.
//!
//! What holds: no more of a body is taken than whoever it is for takes; where a body ends is said once,
//! in its head, and held to; a body that breaks off is not ended.

use std::io::{self, ErrorKind, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName};
use hyper::body::{Body, Frame};
use tokio::io::AsyncWrite;

use crate::field_lines::write_field;

/// Pieces of a body up to here are copied behind one another and go out together.
const SHORT: usize = 8 * 1024;

/// How the end of a body is told (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// None of it, or so many bytes to come.
    Length(u64),
    Chunked,
    /// The connection ends with it.
    Close,
}

/// Why a message was not sent whole.
#[derive(Debug)]
pub enum Broken<E> {
    Io(io::Error),
    Body(E),
    /// The body is not as long as was said.
    WrongLength,
}

impl<E> From<io::Error> for Broken<E> {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// See the module.
pub struct Sending<B> {
    /// To be written in this order: what was copied, a long piece of the body, and what ends it.
    out: Vec<u8>,
    written: usize,
    piece: Bytes,
    behind: &'static [u8],
    /// None when all of it was taken.
    body: Option<B>,
    framing: Framing,
    /// The trailers that may go out; None for all.
    trailers: Option<Vec<HeaderName>>,
    writes: u64,
}

impl<B> Sending<B> {
    /// `out` is the head. What it says of the framing is what is held to.
    #[must_use]
    pub fn new(out: Vec<u8>, framing: Framing, body: B) -> Self {
        Self { body: Some(body), framing, ..Self::of_rest(out) }
    }

    /// Of a message without a body.
    #[must_use]
    pub const fn of_rest(out: Vec<u8>) -> Self {
        let framing = Framing::Length(0);
        let piece = Bytes::new();
        Self { out, written: 0, piece, behind: b"", body: None, framing, trailers: None, writes: 0 }
    }

    /// With no other trailers than these.
    #[must_use]
    pub fn with_trailers(mut self, names: Vec<HeaderName>) -> Self {
        self.trailers = Some(names);
        self
    }

    /// Whether everything that was taken of the body is out.
    #[must_use]
    pub const fn is_out(&self) -> bool {
        self.written == self.out.len() && self.piece.is_empty() && self.behind.is_empty()
    }

    /// Times that something was taken.
    #[must_use]
    pub const fn writes(&self) -> u64 {
        self.writes
    }
}

impl<B: Body<Data = Bytes> + Unpin> Sending<B> {
    /// Ready when all is out.
    ///
    /// # Errors
    /// See [`Broken`]. Nothing more can be sent then.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), Broken<B::Error>>> {
        loop {
            let taken = self.poll_take(cx);
            if let Poll::Ready(Err(error)) = taken {
                return Poll::Ready(Err(error));
            }
            if self.is_out() {
                ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                return taken;
            }
            ready!(self.poll_write(cx, stream))?;
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        let slices = [&self.out[self.written..], &self.piece, self.behind].map(IoSlice::new);
        let mut written = ready!(Pin::new(stream).poll_write_vectored(cx, &slices))?;
        if written == 0 {
            return Poll::Ready(Err(ErrorKind::WriteZero.into()));
        }
        self.writes += 1;
        let of_out = written.min(self.out.len() - self.written);
        self.written += of_out;
        written -= of_out;
        let of_piece = written.min(self.piece.len());
        self.piece.advance(of_piece);
        if self.piece.is_empty() {
            // Nobody holds the memory any more, so that the next piece can be read into it.
            self.piece = Bytes::new();
        }
        self.behind = &self.behind[written - of_piece..];
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes of the body what is there, as long as it is little. Ready when there is no more.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken<B::Error>>> {
        while let Some(body) = &mut self.body {
            if self.out.len() >= SHORT || !self.piece.is_empty() || !self.behind.is_empty() {
                return Poll::Pending;
            }
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => self.frame(frame)?,
                Some(Err(error)) => return Poll::Ready(Err(Broken::Body(error))),
                None => self.end(None)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn frame(&mut self, frame: Frame<Bytes>) -> Result<(), Broken<B::Error>> {
        let data = match frame.into_data() {
            Ok(data) if data.is_empty() => return Ok(()),
            Ok(data) => data,
            Err(frame) => return self.end(frame.into_trailers().ok()),
        };
        match &mut self.framing {
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Broken::WrongLength)?;
                if *left == 0 {
                    self.body = None;
                }
            }
            Framing::Chunked => {
                write_size(data.len(), &mut self.out);
                self.behind = b"\r\n";
            }
            Framing::Close => {}
        }
        // What ends a message is written from where it is.
        if data.len() > SHORT || self.body.is_none() {
            self.piece = data;
        } else {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(std::mem::take(&mut self.behind));
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Broken<B::Error>> {
        self.body = None;
        match self.framing {
            Framing::Length(0) | Framing::Close => {}
            Framing::Length(_) => return Err(Broken::WrongLength),
            Framing::Chunked => {
                self.out.extend_from_slice(b"0\r\n");
                let may_go = |name: &HeaderName| match &self.trailers {
                    Some(names) => names.contains(name),
                    None => true,
                };
                for (name, value) in trailers.iter().flatten().filter(|(name, _)| may_go(name)) {
                    write_field(name.as_str(), value.as_bytes(), &mut self.out);
                }
                self.out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }
}

/// Writes the line before a chunk.
fn write_size(size: usize, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(out, "{size:x}\r\n");
}
