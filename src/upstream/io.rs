//! The socket to an upstream, and how much of what was given to it has been taken.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::cluster::{Address, Instance};
use super::head::Head;
use super::tls::{self, Speak, Tls};
use crate::config::Target;

/// Bytes of a request body that may wait in memory for an upstream that does not read.
const MOST_UNWRITTEN: u64 = 32 * 1024;

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

/// Keeps a request body from running ahead of the socket: hyper's own buffer would hold several
/// hundred KiB for an upstream that stopped reading.
#[derive(Default)]
pub struct Flow {
    given: Cell<u64>,
    written: Cell<u64>,
    waiting: RefCell<Option<Waker>>,
    head: RefCell<Head>,
    /// Whether any byte came since a response is awaited.
    heard: Cell<bool>,
}

impl Flow {
    /// Ready when more of a body may be given to hyper.
    pub fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.given.get().saturating_sub(self.written.get()) < MOST_UNWRITTEN {
            return Poll::Ready(());
        }
        self.waiting.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// What comes next is the head of a response.
    pub fn await_head(&self) {
        self.head.replace(Head::awaited());
        self.heard.set(false);
    }

    /// Whether any byte of a response came, though it may be an interim one or a part.
    pub fn has_heard(&self) -> bool {
        self.heard.get()
    }

    pub fn give(&self, bytes: usize) {
        self.given.set(self.given.get() + bytes as u64);
    }

    /// Heads and chunk sizes are counted as written but were not given: they only make room.
    fn wrote(&self, bytes: usize) {
        self.written.set(self.given.get().min(self.written.get() + bytes as u64));
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

/// A socket that tells its [`Flow`] what was written.
pub struct Metered {
    stream: Socket,
    flow: Rc<Flow>,
}

impl Metered {
    pub const fn new(stream: Socket, flow: Rc<Flow>) -> Self {
        Self { stream, flow }
    }

    pub fn into_inner(self) -> Socket {
        self.stream
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let from = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.flow.heard.set(this.flow.heard.get() || buf.filled().len() > from);
        if this.flow.head.borrow_mut().is_well_formed(&buf.filled()[from..]) {
            return Poll::Ready(Ok(()));
        }
        buf.set_filled(from);
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a bare LF in the head of a response, or interim ones without end",
        )))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        this.flow.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
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
