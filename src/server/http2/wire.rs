//! A connection's socket as h2 sees it: what is read was counted first, what is written is joined.
//!
//! h2 flushes after each piece of a body, so every answer would be a TLS record and a system call of
//! its own. Here writes gather until the connection's task has been polled to its end, and then go out
//! together: several answers to one write.
//!
//! What holds: whatever is gathered goes out with the same poll, or when the socket takes it; what is
//! gathered is bounded, and an idle connection holds none.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;
use crate::clock::CoarseClock;
use crate::server::record::{End, Record};

/// More than this is written at once; where the socket does not take it, h2 waits.
const GATHERED: usize = 64 * 1024;
const SCRATCH: usize = 4096;

/// Shared by h2 and the task that polls it.
pub(super) struct Wire<S>(Rc<RefCell<Inner<S>>>);

struct Inner<S> {
    stream: S,
    out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
    frames: Frames,
    flooded: bool,
    record: Rc<Record>,
    clock: Rc<CoarseClock>,
}

impl<S> Clone for Wire<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, record: &Rc<Record>, clock: &Rc<CoarseClock>) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            stream,
            out: Vec::new(),
            written: 0,
            frames: Frames::new(clock.now()),
            flooded: false,
            record: Rc::clone(record),
            clock: Rc::clone(clock),
        })))
    }

    /// Whether the client was told to end for what it sent.
    pub(super) fn is_flooded(&self) -> bool {
        self.0.borrow().flooded
    }

    pub(super) fn answered(&self) {
        self.0.borrow_mut().frames.answered();
    }

    /// A request was given up that had reached the door.
    pub(super) fn unanswered(&self) {
        let inner = &mut *self.0.borrow_mut();
        if !inner.frames.unanswered() {
            inner.flood();
        }
    }

    /// The last that is said to a client which sent too much (RFC 9113 section 10.5). Behind half a
    /// frame it would say nothing, but then the client does not read either.
    pub(super) fn calm(&self) {
        let mut inner = self.0.borrow_mut();
        let last = inner.frames.last_stream().to_be_bytes();
        let head = [0, 0, 8, 7, 0, 0, 0, 0, 0];
        let calm = 11u32.to_be_bytes();
        for piece in [&head[..], &last, &calm] {
            inner.out.extend_from_slice(piece);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Writes what is gathered.
    pub(super) fn poll_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_out(cx)
    }

    /// Writes what is left and closes, and takes in what the client still sends until it closes too:
    /// unread bytes would make the kernel discard the last that was said.
    pub(super) async fn close(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let inner = &mut *self.0.borrow_mut();
            ready!(inner.poll_out(cx))?;
            Pin::new(&mut inner.stream).poll_shutdown(cx)
        })
        .await?;
        let mut scratch = vec![0; SCRATCH];
        poll_fn(|cx| {
            let inner = &mut *self.0.borrow_mut();
            loop {
                let mut unread = ReadBuf::new(&mut scratch);
                ready!(Pin::new(&mut inner.stream).poll_read(cx, &mut unread))?;
                if unread.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        })
        .await
    }
}

impl<S> Inner<S> {
    /// The connection's task looks at the record after every poll.
    fn flood(&mut self) {
        self.flooded = true;
        self.record.end_with(End::Abruptly);
    }
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_drain(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if !self.record.is_serving() {
            self.out = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Makes room for more, and says how much.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.out.len() >= GATHERED {
            ready!(self.poll_drain(cx))?;
        }
        Poll::Ready(Ok(GATHERED - self.out.len()))
    }

    fn gather(&mut self, bytes: &[u8], room: usize) -> usize {
        let taken = bytes.len().min(room);
        self.out.extend_from_slice(&bytes[..taken]);
        self.frames.moved(taken);
        taken
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        if inner.flooded {
            return Poll::Pending;
        }
        let from = buf.filled().len();
        ready!(Pin::new(&mut inner.stream).poll_read(cx, buf))?;
        if inner.frames.judge(&buf.filled()[from..], inner.clock.now()) {
            inner.record.set_in_frames(inner.frames.in_head());
            return Poll::Ready(Ok(()));
        }
        buf.set_filled(from);
        inner.flood();
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.borrow_mut();
        let room = ready!(inner.poll_room(cx))?;
        Poll::Ready(Ok(inner.gather(bytes, room)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.borrow_mut();
        let room = ready!(inner.poll_room(cx))?;
        let gathered = slices.iter().fold(0, |sum, slice| sum + inner.gather(slice, room - sum));
        Poll::Ready(Ok(gathered))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is gathered goes out when the task that polls h2 is done with it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        ready!(inner.poll_out(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}
