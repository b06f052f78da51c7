//! A client's socket whose short answers go out with those of others.
//!
//! What holds: what was taken is written before anything that comes later, and before the socket is
//! given away or shut down; only what is short is held back, and only to the end of the turn.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::outbox::{self, Posted, Recipient};

/// Up to here, in bytes, an answer is copied to go out with others.
const SHORT: usize = 8 * 1024;

/// See the module.
pub(super) struct Corked<S: AsyncWrite + Unpin + 'static> {
    recipient: Rc<Recipient<S>>,
    /// Of a message that the socket did not take at a stroke.
    rest: Vec<u8>,
}

impl<S: AsyncWrite + Unpin + 'static> Corked<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { recipient: Rc::new(Recipient::new(socket)), rest: Vec::new() }
    }

    /// The socket, when everything that was taken is out.
    pub(super) fn into_inner(self) -> Option<S> {
        let recipient = Rc::clone(&self.recipient);
        drop(self);
        Some(Rc::try_unwrap(recipient).ok()?.socket.into_inner())
    }

    /// Ready when what was taken before is out, and flushed.
    pub(super) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_settle(cx))?;
        Pin::new(self).poll_flush(cx)
    }

    /// Ready when what was taken before is out.
    fn poll_settle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.recipient.is_waiting() {
            outbox::send_all();
        }
        match self.recipient.posted() {
            Posted::Nothing | Posted::Waiting | Posted::Out(None) => {}
            Posted::Out(Some(rest)) => self.rest = rest,
            Posted::Failed(error) => return Poll::Ready(Err(error)),
        }
        while !self.rest.is_empty() {
            let mut socket = self.recipient.socket.borrow_mut();
            let written = ready!(Pin::new(&mut *socket).poll_write(cx, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.drain(..written);
        }
        self.rest = Vec::new();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin + 'static> Drop for Corked<S> {
    fn drop(&mut self) {
        if self.recipient.is_waiting() {
            outbox::send_all();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> AsyncRead for Corked<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.recipient.socket.borrow_mut()).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin + 'static> AsyncWrite for Corked<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_settle(cx))?;
        let length = slices.iter().map(|slice| slice.len()).sum();
        if length > SHORT {
            return Pin::new(&mut *this.recipient.socket.borrow_mut()).poll_write_vectored(cx, slices);
        }
        this.recipient.post(cx.waker(), |out| slices.iter().for_each(|slice| out.extend_from_slice(slice)));
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        self.recipient.socket.borrow().is_write_vectored()
    }

    /// What waits for the end of the turn is as good as out: whoever flushes is woken if it is not.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.recipient.is_waiting() {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_settle(cx))?;
        Pin::new(&mut *this.recipient.socket.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_settle(cx))?;
        Pin::new(&mut *this.recipient.socket.borrow_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::outbox::be_busy;

    const ROOM: usize = 3 * SHORT;

    fn write(near: &mut Corked<DuplexStream>, piece: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(near).poll_write(&mut Context::from_waker(std::task::Waker::noop()), piece)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Long and short pieces, a reader that is fast or slow, and the socket taken out in between.
        #[test]
        fn bytes_keep_their_order(
            lengths in proptest::collection::vec(prop_oneof![1..50usize, 1..3 * SHORT], 1..40),
            room in prop_oneof![1..50usize, 1..ROOM],
            every in 1..5usize,
            is_busy: bool,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build_local(Default::default()).unwrap();
            let sent: Vec<u8> = (0..lengths.iter().sum::<usize>()).map(|at| (at % 251) as u8).collect();
            let (stream, mut far) = duplex(room);
            let read = runtime.block_on(async {
                if is_busy {
                    be_busy().await;
                }
                let writing = async {
                    let (mut near, mut at) = (Corked::new(stream), 0);
                    for (turn, length) in lengths.iter().enumerate() {
                        near.write_all(&sent[at..at + length]).await.unwrap();
                        at += length;
                        if turn % every == 0 {
                            std::future::poll_fn(|cx| near.poll_settle(cx)).await.unwrap();
                            near = Corked::new(near.into_inner().unwrap());
                        }
                    }
                    near.shutdown().await.unwrap();
                };
                let mut read = Vec::new();
                let (_, whole) = tokio::join!(writing, far.read_to_end(&mut read));
                whole.unwrap();
                read
            });
            prop_assert!(read == sent);
        }
    }

    #[tokio::test(flavor = "local")]
    async fn what_is_short_waits_and_what_is_long_does_not() {
        be_busy().await;
        let (stream, mut far) = duplex(ROOM);
        let mut near = Corked::new(stream);
        assert!(write(&mut near, b"short").is_ready() && near.recipient.is_waiting());
        assert!(write(&mut near, &[b'x'; SHORT + 1]).is_ready() && !near.recipient.is_waiting());
        let mut read = vec![0; ROOM];
        let count = far.read(&mut read).await.unwrap();
        assert!(count == 5 + SHORT + 1 && read.starts_with(b"shortx"));
        assert!(write(&mut near, b"last").is_ready());
        drop(near);
        assert_eq!(far.read_to_end(&mut Vec::new()).await.unwrap(), 4, "sent, though nobody waits");
    }
}
