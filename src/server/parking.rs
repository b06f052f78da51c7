//! Connections on which nothing is under way, kept by their sockets alone.
//!
//! What a connection takes while it is served (a task, a conversation) is gone while it waits here,
//! and made anew when something comes. All sockets of a worker are watched by one epoll of its own,
//! which is one socket to the runtime.
//!
//! What holds: a socket is here only while nothing that came by it is unanswered and nothing is left to
//! be written, so what comes next is in the kernel, or said here; whoever closes costs a look, and
//! nothing is made anew for it.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use slab::Slab;
use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::unconstrained;
use tokio_rustls::server::TlsStream;

use crate::clock::Ticks;

/// How long a connection must have been idle: longer than a busy client's pauses, since a wake costs as
/// much as half a request.
pub const AFTER: Ticks = 3;

/// Sockets that are looked at before others of the worker have their turn.
const AT_ONCE: usize = 64;
/// Bytes read of a connection over TLS to find out what came.
const FIRST_READ: usize = 4096;
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
const GONE: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

/// A stream that can be kept here.
pub trait Parkable: AsyncRead + AsyncWrite + Unpin + Sized + 'static {
    /// The socket under it.
    fn socket(&self) -> BorrowedFd<'_>;

    /// Ready once there is something to be read.
    fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Whether it keeps nothing to itself of what came or is to be sent.
    fn is_empty(&self) -> bool;

    /// # Errors
    /// When the runtime does not give the socket back.
    fn into_parked(self) -> io::Result<Parked>;
}

/// A socket, over which TLS may be spoken.
pub trait Carrier: Parkable {
    fn secured(stream: Box<TlsStream<Self>>) -> Parked;
}

/// A stream as it is kept here.
pub enum Parked {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
    TlsOverTcp(Box<TlsStream<TcpStream>>),
    TlsOverUnix(Box<TlsStream<UnixStream>>),
}

/// What came on a connection.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    End,
    /// It is to be served again. What was read already comes first.
    Bytes(Vec<u8>),
}

/// A connection that was woken, with what was kept beside it.
pub struct Woken<T> {
    pub stream: Parked,
    pub read: Vec<u8>,
    pub beside: T,
}

/// A worker's parked connections. `T` is what goes with each.
pub struct Lot<T> {
    epoll: AsyncFd<OwnedFd>,
    parked: RefCell<Slab<Box<(Parked, T)>>>,
}

impl<T> Lot<T> {
    /// # Errors
    /// When there are no descriptors left, or no runtime.
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe; an `OwnedFd` is the one descriptor it says it is"
    )]
    pub fn open() -> io::Result<Self> {
        let epoll = AsyncFd::new(epoll::create(CreateFlags::CLOEXEC)?)?;
        Ok(Self { epoll, parked: RefCell::default() })
    }

    /// Keeps a connection until something comes.
    ///
    /// # Errors
    /// Both come back when it cannot be kept.
    pub fn park<S: Parkable>(&self, stream: S, beside: T) -> Result<(), (S, T)> {
        let mut parked = self.parked.borrow_mut();
        let place = parked.vacant_entry();
        let key = EventData::new_u64(place.key() as u64);
        let wanted = EventFlags::IN | EventFlags::RDHUP;
        if !stream.is_empty() || epoll::add(&self.epoll, stream.socket(), key, wanted).is_err() {
            return Err((stream, beside));
        }
        // A socket that the runtime does not give back is closed, as it would be on any other error.
        if let Ok(stream) = stream.into_parked() {
            place.insert(Box::new((stream, beside)));
        }
        Ok(())
    }

    /// Waits until something comes, and hands over whom it came for. Whoever is gone is let go.
    ///
    /// # Errors
    /// When nothing can be waited for any more.
    pub async fn wait(&self, woken: &mut Vec<Woken<T>>) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(AT_ONCE);
        while woken.is_empty() {
            let mut ready = self.epoll.readable().await?;
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&NO_WAIT)) {
                Ok(0) => ready.clear_ready(),
                Ok(_) => woken.extend(events.iter().filter_map(|event| self.look(*event))),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            // The runtime must have its turn to hear of what this epoll was told.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn look(&self, event: Event) -> Option<Woken<T>> {
        let (key, flags) = (usize::try_from(event.data.u64()).ok()?, event.flags);
        let heard = self.parked.borrow_mut().get_mut(key)?.0.listen(flags.intersects(GONE));
        match heard {
            Heard::Nothing => None,
            Heard::End => {
                drop(self.take(key));
                None
            }
            Heard::Bytes(read) => {
                let (stream, beside) = *self.take(key)?;
                Some(Woken { stream, read, beside })
            }
        }
    }

    fn take(&self, key: usize) -> Option<Box<(Parked, T)>> {
        let taken = self.parked.borrow_mut().try_remove(key)?;
        let _gone_already = epoll::delete(&self.epoll, taken.0.socket());
        Some(taken)
    }

    /// Closes those of which this is true.
    pub fn close(&self, mut those: impl FnMut(&T) -> bool) {
        let parked = self.parked.borrow();
        let found = parked.iter().filter_map(|(key, parked)| those(&parked.1).then_some(key));
        let keys: Vec<_> = found.collect();
        drop(parked);
        for key in keys {
            if let Some(mut taken) = self.take(key) {
                taken.0.say_goodbye();
            }
        }
    }
}

impl Parked {
    fn socket(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::TlsOverTcp(stream) => stream.get_ref().0.as_fd(),
            Self::TlsOverUnix(stream) => stream.get_ref().0.as_fd(),
        }
    }

    /// What came, of which the kernel says that it may be the end.
    fn listen(&mut self, may_be_the_end: bool) -> Heard {
        match self {
            Self::TlsOverTcp(stream) => read_some(stream),
            Self::TlsOverUnix(stream) => read_some(stream),
            Self::Tcp(_) | Self::Unix(_) if may_be_the_end => match peek(&self.socket()) {
                Ok(1..) => Heard::Bytes(Vec::new()),
                Ok(0) | Err(_) => Heard::End,
            },
            Self::Tcp(_) | Self::Unix(_) => Heard::Bytes(Vec::new()),
        }
    }

    /// The end of a TLS session is said, as far as that takes no waiting.
    fn say_goodbye(&mut self) {
        let _said = match self {
            Self::Tcp(_) | Self::Unix(_) => None,
            Self::TlsOverTcp(stream) => unconstrained(stream.shutdown()).now_or_never(),
            Self::TlsOverUnix(stream) => unconstrained(stream.shutdown()).now_or_never(),
        };
    }
}

/// Whether a byte is there: none is the end.
fn peek(socket: &impl AsFd) -> io::Result<usize> {
    SockRef::from(socket).peek(&mut [MaybeUninit::uninit()])
}

/// Whether there is anything for HTTP in what came: much of TLS is not.
fn read_some<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut TlsStream<S>) -> Heard {
    let mut read = [0; FIRST_READ];
    match unconstrained(stream.read(&mut read)).now_or_never() {
        None => Heard::Nothing,
        Some(Ok(0)) => {
            let _answered = unconstrained(stream.shutdown()).now_or_never();
            Heard::End
        }
        Some(Ok(count)) => Heard::Bytes(read[..count].to_vec()),
        Some(Err(_)) => Heard::End,
    }
}

/// The runtime takes a new socket for readable until somebody has tried.
fn tried<T>(
    mut poll_ready: impl FnMut() -> Poll<io::Result<()>>,
    look: impl Fn() -> io::Result<T>,
) -> Poll<()> {
    while ready!(poll_ready()).is_ok() {
        match look() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    Poll::Ready(())
}

impl Parkable for TcpStream {
    fn socket(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<()> {
        tried(|| self.poll_read_ready(cx), || self.try_io(Interest::READABLE, || peek(self)))
    }

    fn is_empty(&self) -> bool {
        true
    }

    fn into_parked(self) -> io::Result<Parked> {
        self.into_std().map(Parked::Tcp)
    }
}

impl Parkable for UnixStream {
    fn socket(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<()> {
        tried(|| self.poll_read_ready(cx), || self.try_io(Interest::READABLE, || peek(self)))
    }

    fn is_empty(&self) -> bool {
        true
    }

    fn into_parked(self) -> io::Result<Parked> {
        self.into_std().map(Parked::Unix)
    }
}

impl<S: Carrier> Parkable for TlsStream<S> {
    fn socket(&self) -> BorrowedFd<'_> {
        self.get_ref().0.socket()
    }

    fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_empty() { self.get_ref().0.poll_heard(cx) } else { Poll::Ready(()) }
    }

    fn is_empty(&self) -> bool {
        let session = self.get_ref().1;
        session.wants_read() && !session.wants_write()
    }

    fn into_parked(self) -> io::Result<Parked> {
        Ok(S::secured(Box::new(self)))
    }
}

impl Carrier for TcpStream {
    fn secured(stream: Box<TlsStream<Self>>) -> Parked {
        Parked::TlsOverTcp(stream)
    }
}

impl Carrier for UnixStream {
    fn secured(stream: Box<TlsStream<Self>>) -> Parked {
        Parked::TlsOverUnix(stream)
    }
}

#[cfg(test)]
mod tests;
