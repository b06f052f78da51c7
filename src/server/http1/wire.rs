//! A connection's socket, and what was read from it: every byte is judged by [`Framing`] before it is
//! believed.
//!
//! [`Framing`]: crate::server::framing::Framing

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Request;
use hyper::body::Frame;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Manner, head};
use crate::clock::CoarseClock;
use crate::field_lines::read_trailers;
use crate::intake::Intake;
use crate::server::connection::Remains;
use crate::server::corked::Corked;
use crate::server::framing::{Length, Malformed};
use crate::server::incoming::{self, Connection, Incoming};
use crate::server::record::{Parking, Record};
use crate::server::tracked::Tracked;

/// Tells a client that what it asks is worth its body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// So much is taken in at most of a body that nobody wants, so that its connection can go on.
const UNWANTED: usize = 64 * 1024;

/// The length of a trailer without a field.
const EMPTY_LINE: usize = b"\r\n".len();

/// What comes next on a connection.
#[expect(clippy::large_enum_variant, reason = "on the heap it would be an allocation a request")]
pub(super) enum Came {
    Request(Request<Incoming>, Manner),
    Malformed(Malformed),
    /// It was asked to be parked, and nothing has come.
    Rest,
    /// It ends.
    Nothing,
}

/// See the module. Keeps the connection's [`Record`] up to date.
pub(in crate::server) struct Wire<S: AsyncWrite + Unpin + 'static> {
    /// None once it was given back.
    socket: RefCell<Option<Tracked<Corked<S>>>>,
    intake: RefCell<Intake>,
    pub(super) record: Rc<Record>,
    pub(super) clock: Rc<CoarseClock>,
    /// Bytes of the head under way that were judged.
    judged: Cell<usize>,
    /// Whether somebody reads the body under way.
    has_reader: Cell<bool>,
    /// Whether its end is waited for.
    is_waited_for: Cell<bool>,
    /// The client waits to be told to send it.
    expects: Cell<bool>,
    /// The lines of a trailer that were judged.
    trailers: RefCell<Vec<u8>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Wire<S> {
    pub(in crate::server) fn new(from: Remains<S>, record: Rc<Record>, clock: Rc<CoarseClock>) -> Rc<Self> {
        Rc::new(Self {
            socket: RefCell::new(Some(Tracked::new(
                Corked::new(from.stream),
                Rc::clone(&record),
                Rc::clone(&clock),
            ))),
            intake: RefCell::new(Intake::with(&from.read)),
            record,
            clock,
            judged: Cell::new(0),
            has_reader: Cell::new(false),
            is_waited_for: Cell::new(false),
            expects: Cell::new(false),
            trailers: RefCell::default(),
        })
    }

    /// The socket, and what was read from it and not taken. Whoever still reads a body gets no more.
    pub(in crate::server) fn take_back(&self) -> Option<(Corked<S>, Vec<u8>)> {
        Some((self.socket.take()?.stream, self.intake.take().held.to_vec()))
    }

    /// Waits for the next request, or until there is to be none.
    pub(super) fn poll_head(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<Came> {
        loop {
            if let Some(came) = self.next_head() {
                return Poll::Ready(came);
            }
            let is_idle = self.intake.borrow().held.is_empty();
            if is_idle && self.record.end().is_some() {
                return Poll::Ready(Came::Nothing);
            }
            if self.record.parking() == Parking::Asked {
                if is_idle && self.record.is_still() {
                    return Poll::Ready(Came::Rest);
                }
                self.record.set_parking(Parking::Able);
            }
            if let Ok(0) | Err(_) = ready!(self.poll_fill(cx)) {
                return Poll::Ready(Came::Nothing);
            }
        }
    }

    /// The next head, if all of it is there.
    fn next_head(self: &Rc<Self>) -> Option<Came> {
        let mut intake = self.intake.borrow_mut();
        let judged = self.judged.get();
        let mut framing = self.record.framing.borrow_mut();
        let (taken, ends) = match framing.judge_head_only(&intake.held[judged..]) {
            Ok(judged) => judged,
            Err(why) => {
                self.record.set_malformed(why);
                return Some(Came::Malformed(why));
            }
        };
        if !ends {
            self.judged.set(judged + taken);
            return None;
        }
        self.judged.set(0);
        let head = intake.held.split_to(judged + taken).freeze();
        intake.shrink();
        let (fields, length) = (framing.fields(), framing.length());
        let Some((parts, manner)) = head::read(&head, fields) else {
            return Some(Came::Malformed(Malformed::Syntax("the head is none")));
        };
        let body = match length {
            Length::None => Incoming::default(),
            length => Incoming::http1(Rc::clone(self) as _, length),
        };
        self.expects.set(manner.expects);
        self.has_reader.set(framing.in_body());
        Some(Came::Request(Request::from_parts(parts, body), manner))
    }

    /// Ready when the client has left, which is seen while nothing else of it is waited for.
    pub(super) fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.record.framing.borrow().in_body() || !self.intake.borrow().held.is_empty() {
            return Poll::Pending;
        }
        match self.poll_fill(cx) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// Whether a further request may come, as far as the body of this one is concerned: somebody reads
    /// it, or it is there to its end.
    pub(super) fn may_go_on(&self, cx: &mut Context<'_>) -> bool {
        self.has_reader.get() || self.drain(cx)
    }

    /// Waits until the body was read by whoever reads it. False when nobody reads it to its end.
    pub(super) fn poll_through(&self, cx: &mut Context<'_>) -> Poll<bool> {
        self.is_waited_for.set(self.has_reader.get());
        if self.has_reader.get() { Poll::Pending } else { Poll::Ready(self.drain(cx)) }
    }

    /// Takes in what has come of a body that nobody wants. Says whether that is all of it.
    fn drain(&self, cx: &mut Context<'_>) -> bool {
        self.expects.set(false);
        let mut taken = 0;
        while self.record.framing.borrow().in_body() {
            let Poll::Ready(Some(Ok(piece))) = self.poll_piece(cx) else { break };
            taken += piece.data_ref().map_or(0, Bytes::len);
            if taken > UNWANTED {
                return false;
            }
        }
        !self.record.framing.borrow().in_body()
    }

    /// Does something with the socket, unless it was given back.
    fn poll_socket<T>(
        &self,
        poll: impl FnOnce(&mut Tracked<Corked<S>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut *self.socket.borrow_mut() {
            Some(socket) => poll(socket),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_fill(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_socket(|socket| self.intake.borrow_mut().poll_fill(Pin::new(socket), cx))
    }

    /// The next piece of a body in what is held.
    fn next_piece(&self) -> Option<Result<Frame<Bytes>, incoming::Error>> {
        let held = &mut self.intake.borrow_mut().held;
        let mut framing = self.record.framing.borrow_mut();
        while !held.is_empty() && framing.in_body() {
            let in_trailers = framing.in_trailers();
            let (taken, is_content) = match framing.judge_body(held) {
                Ok(judged) => judged,
                Err(why) => {
                    self.record.set_malformed(why);
                    return Some(Err(incoming::Error::Malformed));
                }
            };
            let taken = held.split_to(taken);
            if is_content {
                return Some(Ok(Frame::data(taken.freeze())));
            }
            if in_trailers {
                self.trailers.borrow_mut().extend_from_slice(&taken);
            }
        }
        if framing.in_body() || self.trailers.borrow().len() <= EMPTY_LINE {
            return None;
        }
        let trailers = read_trailers(&self.trailers.take().into());
        Some(trailers.map(Frame::trailers).ok_or(incoming::Error::Malformed))
    }

    /// Tells whoever waits for the end of a body.
    fn settle(&self) {
        if self.is_read() {
            self.trailers.take();
            self.give_up();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Connection for Wire<S> {
    fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, incoming::Error>>> {
        loop {
            if let Some(piece) = self.next_piece() {
                self.settle();
                return Poll::Ready(Some(piece));
            }
            if self.is_read() {
                self.settle();
                return Poll::Ready(None);
            }
            if self.expects.get() && !self.record.is_answered() {
                ready!(self.poll_socket(|socket| Pin::new(socket).poll_write(cx, CONTINUE)))?;
            }
            self.expects.set(false);
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Some(Err(incoming::Error::Incomplete)));
            }
        }
    }

    fn is_read(&self) -> bool {
        !self.record.framing.borrow().in_body()
    }

    fn give_up(&self) {
        self.has_reader.set(false);
        if self.is_waited_for.get() {
            self.record.wake();
        }
    }
}

/// Where answers are written to. The socket is taken for each write alone: an answer may go on only
/// with the request's body, which comes from it.
pub(super) struct Out<'w, S: AsyncWrite + Unpin + 'static>(pub(super) &'w Wire<S>);

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> AsyncWrite for Out<'_, S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_socket(|socket| Pin::new(socket).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_socket(|socket| Pin::new(socket).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_socket(|socket| Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_socket(|socket| Pin::new(socket).poll_shutdown(cx))
    }
}
