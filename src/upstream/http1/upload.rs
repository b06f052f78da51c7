//! A request with what is left of it to be sent.
//!
//! What holds: no more of a body is taken from the client than the upstream takes; a body that breaks
//! off is not ended.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use hyper::body::{Body as _, Frame};
use tokio::io::AsyncWrite as _;
use tokio::task::JoinHandle;

use super::Error;
use super::request::{Framing, write_field, write_head, write_size};
use crate::outbox::Recipient;
use crate::upstream::body::{self, Outgoing};
use crate::upstream::form::Outbound;
use crate::upstream::io::Socket;

/// Pieces of a body up to here are copied behind one another and go out together.
const SHORT: usize = 8 * 1024;
/// An upstream that has answered, and then takes nothing for so long, reads no further.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far a request is.
pub(super) enum Progress {
    /// All of it is out.
    Done,
    /// Whoever waits for the head of the response sends it.
    Here(Box<Upload>),
    /// The response is read meanwhile: neither waits for the other.
    Elsewhere(Elsewhere),
    /// It broke off.
    Failed,
}

/// A request that is sent by a task of its own, which ends with this.
pub(in crate::upstream) struct Elsewhere {
    task: JoinHandle<()>,
    waits: Rc<Waits>,
}

/// What the task tells of itself.
#[derive(Default)]
struct Waits {
    is_through: Cell<bool>,
    /// The upstream takes nothing.
    is_blocked: Cell<bool>,
    /// Times that it took something.
    writes: Cell<u64>,
    /// The body broke off, and with it the response: whoever reads that is told.
    broken: RefCell<Option<Error>>,
    reader: RefCell<Option<Waker>>,
}

/// See the module.
pub(super) struct Upload {
    /// To be written in this order: what was copied, a long piece of the body, and what ends it.
    out: Vec<u8>,
    written: usize,
    piece: Bytes,
    behind: &'static [u8],
    /// None when all of it was taken.
    body: Option<Outgoing>,
    framing: Framing,
    writes: u64,
}

impl Progress {
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Done => true,
            Self::Elsewhere(elsewhere) => elsewhere.waits.is_through.get(),
            Self::Here(_) | Self::Failed => false,
        }
    }

    /// Sends on what is to be sent here. Ready when nothing is.
    pub(super) fn poll_here(
        &mut self,
        cx: &mut Context<'_>,
        recipient: &Recipient<Socket>,
    ) -> Poll<Result<(), Error>> {
        let Self::Here(upload) = self else { return Poll::Ready(Ok(())) };
        let sent = ready!(upload.poll(cx, &mut recipient.socket.borrow_mut()));
        *self = if sent.is_ok() { Self::Done } else { Self::Failed };
        Poll::Ready(sent)
    }

    /// The response has begun: what is still to be sent goes on beside it.
    pub(super) fn goes_on(&mut self, recipient: &Rc<Recipient<Socket>>) {
        let Self::Here(mut upload) = std::mem::replace(self, Self::Done) else { return };
        let waits = Rc::new(Waits::default());
        let (told, recipient) = (Rc::clone(&waits), Rc::clone(recipient));
        let task = tokio::task::spawn_local(async move {
            let sent = poll_fn(|cx| {
                let sent = upload.poll(cx, &mut recipient.socket.borrow_mut());
                told.is_blocked.set(sent.is_pending() && !upload.is_out());
                told.writes.set(upload.writes);
                sent
            });
            let sent = sent.await;
            told.is_through.set(sent.is_ok());
            if let Err(error @ Error::Body(_)) = sent {
                told.broken.replace(Some(error));
                if let Some(reader) = told.reader.take() {
                    reader.wake();
                }
            }
        });
        *self = Self::Elsewhere(Elsewhere { task, waits });
    }

    /// Why there will be no more of the response, when the request's body has broken off meanwhile.
    pub(super) fn broken(&self, cx: &Context<'_>) -> Option<Error> {
        let Self::Elsewhere(Elsewhere { waits, .. }) = self else { return None };
        let broken = waits.broken.take();
        if broken.is_none() {
            waits.reader.replace(Some(cx.waker().clone()));
        }
        broken
    }

    /// What is still sent by a task, now that the response is over. It counts as done.
    pub(super) fn take_rest(&mut self) -> Option<Elsewhere> {
        match std::mem::replace(self, Self::Done) {
            Self::Elsewhere(elsewhere) if !elsewhere.waits.is_through.get() => Some(elsewhere),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Elsewhere {
    /// Waits until all is sent. False when it broke off, or the upstream reads no further.
    pub(in crate::upstream) async fn finish(mut self) -> bool {
        loop {
            let before = self.waits.writes.get();
            match tokio::time::timeout(PATIENCE, &mut self.task).await {
                Ok(_) => return self.waits.is_through.get(),
                Err(_) if self.waits.is_blocked.get() && self.waits.writes.get() == before => return false,
                Err(_) => {}
            }
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upload {
    pub(super) fn new(request: Outbound<'_>) -> Self {
        let mut out = Vec::new();
        let framing = write_head(&request, &mut out);
        Self { body: Some(request.body), framing, ..Self::of_rest(out) }
    }

    /// Of a request without a body.
    pub(super) const fn of_rest(out: Vec<u8>) -> Self {
        let framing = Framing::Length(0);
        Self { out, written: 0, piece: Bytes::new(), behind: b"", body: None, framing, writes: 0 }
    }

    /// Ready when all is out.
    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Socket) -> Poll<Result<(), Error>> {
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

    fn is_out(&self) -> bool {
        self.written == self.out.len() && self.piece.is_empty() && self.behind.is_empty()
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut Socket) -> Poll<Result<(), Error>> {
        let slices = [&self.out[self.written..], &self.piece, self.behind].map(IoSlice::new);
        let mut written = ready!(Pin::new(stream).poll_write_vectored(cx, &slices))?;
        if written == 0 {
            return Poll::Ready(Err(Error::Io(ErrorKind::WriteZero.into())));
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
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while let Some(body) = &mut self.body {
            if self.out.len() >= SHORT || !self.piece.is_empty() || !self.behind.is_empty() {
                return Poll::Pending;
            }
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => self.frame(frame)?,
                Some(Err(error)) => return Poll::Ready(Err(Error::Body(error))),
                None => self.end(None)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn frame(&mut self, frame: Frame<Bytes>) -> Result<(), Error> {
        let data = match frame.into_data() {
            Ok(data) if data.is_empty() => return Ok(()),
            Ok(data) => data,
            Err(frame) => return self.end(frame.into_trailers().ok()),
        };
        match &mut self.framing {
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Error::Body(body::Error::WrongLength))?;
                if *left == 0 {
                    self.body = None;
                }
            }
            Framing::Chunked => {
                write_size(data.len(), &mut self.out);
                self.behind = b"\r\n";
            }
        }
        if data.len() > SHORT {
            self.piece = data;
        } else {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(std::mem::take(&mut self.behind));
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Error> {
        self.body = None;
        match self.framing {
            Framing::Length(0) => {}
            Framing::Length(_) => return Err(Error::Body(body::Error::WrongLength)),
            Framing::Chunked => {
                self.out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.iter().flatten() {
                    write_field(name.as_str(), value.as_bytes(), &mut self.out);
                }
                self.out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }
}
