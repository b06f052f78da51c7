//! A connection's socket as hyper sees it: every byte read was judged by [`Framing`] first.
//!
//! [`Framing`]: super::framing::Framing

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::Stop;
use super::record::{Parking, Record};
use crate::clock::CoarseClock;

/// Judges what is read, and keeps the connection's [`Record`] up to date.
pub struct Guarded<S> {
    stream: S,
    record: Rc<Record>,
    clock: Rc<CoarseClock>,
    /// Bytes read and not judged yet: behind a request for an upgrade, or before hyper was there.
    held: Vec<u8>,
}

impl<S> Guarded<S> {
    #[must_use]
    pub const fn new(stream: S, held: Vec<u8>, record: Rc<Record>, clock: Rc<CoarseClock>) -> Self {
        Self { stream, record, clock, held }
    }

    /// The socket, and what was read from it and passed to nobody.
    #[must_use]
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.held)
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(written) => {
                self.record.wrote(Some(*written.as_ref().unwrap_or(&0)));
                self.record.progress(self.clock.now());
            }
            Poll::Pending => self.record.wrote(None),
        }
    }

    /// Passes on as much as may be, starting at `from` of what is filled.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, from: usize) -> Poll<io::Result<()>> {
        let bytes = &buf.filled()[from..];
        let (in_body, judged) = {
            let mut framing = self.record.framing.borrow_mut();
            let judged = framing.judge(bytes);
            (!framing.in_head() && !framing.between_messages(), judged)
        };
        match judged.stop {
            Stop::None => return Poll::Ready(Ok(())),
            Stop::Hold => self.held = bytes[judged.passed..].to_vec(),
            Stop::Malformed(why) => self.record.set_malformed(why),
        }
        buf.set_filled(from + judged.passed);
        if judged.passed > 0 {
            return Poll::Ready(Ok(()));
        }
        match judged.stop {
            Stop::Malformed(_) if in_body => Poll::Ready(Err(malformed_body())),
            // The connection's task looks at the record after every poll.
            _ => Poll::Pending,
        }
    }
}

fn malformed_body() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the framing of the request body is malformed")
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.record.malformed().is_some() {
            let framing = this.record.framing.borrow();
            let in_body = !framing.in_head() && !framing.between_messages();
            return if in_body { Poll::Ready(Err(malformed_body())) } else { Poll::Pending };
        }
        if this.record.framing.borrow().is_held() || this.record.parking() == Parking::Leaving {
            return Poll::Pending;
        }
        let from = buf.filled().len();
        if this.held.is_empty() {
            let read = Pin::new(&mut this.stream).poll_read(cx, buf);
            this.record.read(read.is_ready().then(|| buf.filled().len() - from));
            ready!(read)?;
        } else {
            let taken = this.held.len().min(buf.remaining());
            buf.put_slice(&this.held[..taken]);
            this.held.drain(..taken);
        }
        if buf.filled().len() == from {
            return Poll::Ready(Ok(()));
        }
        this.record.progress(this.clock.now());
        let rest = std::mem::take(&mut this.held);
        let outcome = this.judge(buf, from);
        this.held.extend_from_slice(&rest);
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.record.set_flushed(false);
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.record.set_flushed(false);
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes only when its own buffer is empty, so a flush that succeeds means that
    /// nothing is left to write.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.record.set_flushed(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.record.parking() == Parking::Leaving {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
