//! The socket to an upstream.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::cluster::{Address, Instance};
use super::tls::{self, Speak, Tls};
use crate::config::Target;

impl Target {
    /// Host and port as a `Host` header; `localhost` for a unix socket.
    #[must_use]
    pub fn authority(&self) -> HeaderValue {
        let text = match self {
            Self::Tcp { host, port, tls } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let usual = if *tls { 443 } else { 80 };
                if *port == usual { host } else { format!("{host}:{port}") }
            }
            Self::Unix(_) => "localhost".to_owned(),
        };
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("localhost"))
    }
}

/// A connected socket of either family, perhaps with TLS on it.
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// `tls` is there for what is reached over https.
    ///
    /// # Errors
    /// When nobody listens, or it is not who it should be.
    pub async fn connect(instance: &Instance, tls: Option<&Tls>, speak: Speak) -> io::Result<Self> {
        let stream = match &instance.address {
            Address::Unix(path) => return Ok(Self::Unix(UnixStream::connect(path).await?)),
            Address::Tcp(address) => TcpStream::connect(address).await?,
        };
        stream.set_nodelay(true)?;
        let Target::Tcp { host, tls: true, .. } = &instance.target else { return Ok(Self::Tcp(stream)) };
        let Some(tls) = tls else { return Err(io::Error::other("no TLS to speak https with")) };
        Ok(Self::Tls(Box::new(tls.connect(stream, host, speak).await?)))
    }

    /// Whether it has neither ended nor anything to say, without waiting for that.
    pub fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut byte),
            Self::Unix(stream) => stream.try_read(&mut byte),
            Self::Tls(stream) => {
                let mut context = Context::from_waker(Waker::noop());
                return Pin::new(stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending();
            }
        };
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    pub const fn is_secure(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether HTTP/2 is what to speak: known beforehand, or agreed on with TLS.
    pub fn speaks_http2(&self, speak: Speak) -> bool {
        match self {
            Self::Tls(stream) => tls::agreed_on_http2(stream),
            Self::Tcp(_) | Self::Unix(_) => speak == Speak::Http2,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
