//! One direction of a tunnel.
//!
//! What holds: at most one buffer of it is in memory; an end is passed on as an end; whoever is told
//! goodbye has got whole frames before.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::frames::{self, Frames, Side};
use crate::server::record::Cut;

const BUFFER: usize = 16 * 1024;

/// See the module.
pub(super) struct Half {
    buffer: Vec<u8>,
    /// What is in the buffer and not written yet.
    from: usize,
    to: usize,
    frames: Frames,
    /// Bytes passed on.
    pub(super) carried: u64,
    is_flushed: bool,
    /// Nothing comes any more.
    has_ended: bool,
    /// And that was passed on.
    is_over: bool,
}

impl Half {
    /// Begins with what was read already.
    pub(super) fn new(read: Vec<u8>) -> Self {
        let to = read.len();
        Self {
            buffer: read,
            from: 0,
            to,
            frames: Frames::default(),
            carried: 0,
            is_flushed: true,
            has_ended: false,
            is_over: false,
        }
    }

    /// Passes bytes on until there are no more, and then that. Ready when that is done.
    pub(super) fn poll_carry<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while !self.is_over {
            while self.from < self.to {
                let rest = &self.buffer[self.from..self.to];
                let written = ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.frames.pass(&rest[..written]);
                self.wrote(written);
            }
            if self.has_ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.is_over = true;
                return Poll::Ready(Ok(()));
            }
            self.buffer.resize(BUFFER, 0);
            let mut buffer = ReadBuf::new(&mut self.buffer);
            let read = Pin::new(&mut *from).poll_read(cx, &mut buffer);
            let filled = buffer.filled().len();
            if read.is_pending() && !self.is_flushed {
                ready!(Pin::new(&mut *to).poll_flush(cx))?;
                self.is_flushed = true;
            }
            ready!(read)?;
            (self.from, self.to, self.has_ended) = (0, filled, filled == 0);
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, bytes: usize) {
        self.from += bytes;
        self.carried += bytes as u64;
        self.is_flushed = false;
    }

    /// Passes on what is left of the WebSocket frame under way, if one is, and nothing after it.
    pub(super) async fn finish_frame<R, W>(&mut self, from: &mut R, to: &mut W) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while !self.frames.is_between() {
            if self.from == self.to {
                self.buffer.resize(BUFFER, 0);
                (self.from, self.to) = (0, from.read(&mut self.buffer).await?);
                if self.to == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let rest = &self.buffer[self.from..self.to];
            let mut frames = self.frames;
            let frame = frames.pass_frame(rest);
            to.write_all(&rest[..frame]).await?;
            self.frames = frames;
            self.wrote(frame);
        }
        Ok(())
    }

    /// Ends a WebSocket in this direction, which is what `side` sends, with a frame that says why. In
    /// the middle of another there is none.
    pub(super) async fn goodbye<W>(&mut self, cut: Cut, side: Side, to: &mut W) -> io::Result<()>
    where
        W: AsyncWrite + Unpin,
    {
        if self.frames.is_between() && !self.frames.is_closed() {
            to.write_all(&frames::close(cut, side)).await?;
        }
        to.flush().await?;
        to.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;
    use crate::access::rejection::Code;
    use crate::metrics::StreamEnd;

    #[tokio::test]
    async fn a_goodbye_stands_behind_the_frame_under_way() {
        let cut = Cut { why: StreamEnd::Forbidden, code: Some(Code::NoRoute), reason: "" };
        let (mut upstream, mut far) = duplex(64);
        let (mut client, mut near) = duplex(64);
        let mut half = Half::new(b"\x82\x05he".to_vec());
        std::future::poll_fn(|cx| {
            assert!(half.poll_carry(cx, &mut far, &mut near).is_pending());
            Poll::Ready(())
        })
        .await;
        upstream.write_all(b"llo\x82\x01x").await.unwrap();
        half.finish_frame(&mut far, &mut near).await.unwrap();
        half.goodbye(cut, Side::Server, &mut near).await.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"\x82\x05hello\x88\x0a\x03\xf0no_route");
        assert_eq!(half.carried, 7, "what was put in was not carried");
    }

    #[tokio::test]
    async fn a_frame_that_breaks_off_is_followed_by_nothing() {
        let cut = Cut { why: StreamEnd::Forbidden, code: Some(Code::NoRoute), reason: "" };
        let (upstream, mut far) = duplex(64);
        let (mut client, mut near) = duplex(64);
        let mut half = Half::new(b"\x82\x05he".to_vec());
        std::future::poll_fn(|cx| {
            assert!(half.poll_carry(cx, &mut far, &mut near).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(upstream);
        half.finish_frame(&mut far, &mut near).await.unwrap_err();
        half.goodbye(cut, Side::Server, &mut near).await.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"\x82\x05he");
    }
}
