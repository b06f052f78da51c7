//! HTTP/2 on https listeners (RFC 9113): each stream is a request of its own, which goes the way that
//! a request of HTTP/1.1 goes.
//!
//! What holds: the door is the same, so one function decides; what is judged is a head that HTTP/1.1
//! would have taken too; what a client can make the gateway do by frames alone is bounded; a request
//! that takes too long ends its stream, and no other. In clear text nobody speaks it.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::{self, Body, Frame, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use self::websocket::Switched;
use self::wire::Wire;
use super::incoming::Incoming;
use super::record::{End, Record};
use super::worker::{Enlisted, Worker, contained};
use crate::config::Limits;
use crate::metrics::ConnectionRefusal;
use crate::proxy::Door;
use crate::reply::Reply;
use crate::upstream;

mod frames;
mod head;
mod websocket;
mod wire;

/// Requests of one connection at one time, as other servers have it.
const STREAMS: u32 = 100;
/// Bytes a client may send ahead of what was read of one body, and of all bodies of a connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of one answer that wait for a client which does not read.
const UNSENT: usize = 32 << 10;
/// Streams that a client resets before they were looked at (CVE-2023-44487), and that it provokes to
/// be reset (CVE-2025-8671). Before it has read our settings, it may well open more than [`STREAMS`].
const PENDING_RESETS: usize = 20;
const PROVOKED_RESETS: usize = 1000;
/// What a header counts beside its bytes (RFC 9113 section 6.5.2).
const BESIDE_A_HEADER: usize = 32;
/// How often a client must show that it is still there, and how long it may take over it.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(15);
/// How long a connection that is told to end may take over it once nothing is under way.
const LINGER: Duration = Duration::from_secs(1);

/// One connection and its streams.
struct Connection<S> {
    worker: Rc<Worker>,
    /// Of the connection: idle while no stream is open.
    record: Rc<Record>,
    door: Door,
    wire: Wire<S>,
    streams: Cell<usize>,
    /// The stream of the request that was handed over, until hyper runs it.
    arriving: Cell<Option<Rc<Stream<S>>>>,
    /// The request that was answered with a switch, until hyper has told the client.
    switched: Cell<Option<Switched<S>>>,
}

/// Serves HTTP/2 until the connection ends.
pub async fn serve<S>(stream: S, worker: &Rc<Worker>, record: &Rc<Record>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let wire = Wire::new(stream, record, &worker.clock);
    let connection = Rc::new(Connection {
        worker: Rc::clone(worker),
        record: Rc::clone(record),
        door: Door::new(Rc::clone(worker), Rc::clone(record)),
        wire: wire.clone(),
        streams: Cell::new(0),
        arriving: Cell::default(),
        switched: Cell::default(),
    });
    let answering = Rc::clone(&connection);
    let service = service_fn(move |request| answering.answer(request));
    let builder = builder(Streams(Rc::clone(&connection)), &worker.site().config.server.limits);
    let mut serving = builder.serve_connection(TokioIo::new(wire.clone()), service);
    let mut lingering = None;
    poll_fn(|cx| {
        record.polled_by(cx);
        if record.end() == Some(End::Gracefully) && lingering.is_none() {
            Pin::new(&mut serving).graceful_shutdown();
            lingering = Some(Box::pin(tokio::time::sleep(LINGER)));
        }
        let served = Pin::new(&mut serving).poll(cx);
        if let Poll::Ready(Err(error)) = &served {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::debug!(peer = %record.peer, %error, cause, "a connection of HTTP/2 broke off");
        }
        let written = wire.poll_out(cx);
        if served.is_ready() || record.end() == Some(End::Abruptly) || matches!(written, Poll::Ready(Err(_)))
        {
            return Poll::Ready(());
        }
        match &mut lingering {
            // Nobody has to answer the PING that goes with a GOAWAY.
            Some(linger) if connection.streams.get() == 0 => linger.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    })
    .await;
    if wire.is_flooded() {
        worker.metrics.connection_refused(ConnectionRefusal::Http2Flood);
        wire.calm();
    } else if record.end() == Some(End::Abruptly) {
        return;
    }
    let _ = tokio::time::timeout(LINGER, wire.close()).await;
}

fn builder<S>(streams: Streams<S>, limits: &Limits) -> http2::Builder<Streams<S>> {
    let head = limits.header_bytes + limits.headers * BESIDE_A_HEADER;
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(UNSENT)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(PROVOKED_RESETS)
        .enable_connect_protocol()
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE);
    builder
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Connection<S> {
    /// Begins a request. hyper spawns its stream right after.
    fn answer(
        self: &Rc<Self>,
        mut request: Request<body::Incoming>,
    ) -> impl Future<Output = Result<Response<Answer>, Infallible>> + use<S> {
        let record = self.worker.record(&self.worker.site(), self.record.peer);
        if let Some(secured) = self.record.secured() {
            record.secure(Rc::clone(secured));
        }
        let stream = Rc::new(Stream::begin(self, record));
        self.arriving.set(Some(Rc::clone(&stream)));
        // On the heap: hyper and the runtime move what they run, and a request's room is some KiB.
        Box::pin(async move {
            let (connection, record) = (&stream.connection, Rc::clone(&stream.record));
            let is_head = request.method() == Method::HEAD;
            let near = (request.method() == Method::CONNECT).then(|| hyper::upgrade::on(&mut request));
            let (mut parts, body) = request.into_parts();
            let site = connection.worker.site();
            let sound = head::translate(&mut parts, &site.config.server.limits);
            drop(site);
            let door = Rc::new(connection.door.of_stream(&record));
            let Ok(mut response) =
                door.serve_read(Request::from_parts(parts, Incoming::http2(body)), sound).await;
            connection.wire.answered();
            if let Some(near) = near
                && let Some(far) = record.take_tunnel()
            {
                response = websocket::accepted(response);
                connection.switched.set(Some(Switched { near, far, stream: Rc::clone(&stream) }));
            }
            Ok(Answer::to(response, is_head, record))
        })
    }
}

/// Runs the streams of a connection where the connection is.
struct Streams<S>(Rc<Connection<S>>);

impl<S> Clone for Streams<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: 'static, F: Future + Unpin + 'static> hyper::rt::Executor<F> for Streams<S> {
    fn execute(&self, future: F) {
        match self.0.switched.take() {
            Some(switched) => {
                let metrics = Arc::clone(&self.0.worker.metrics);
                drop(tokio::task::spawn_local(contained(metrics, switched.carry(future))));
            }
            None => {
                drop(tokio::task::spawn_local(Running { sending: future, stream: self.0.arriving.take() }))
            }
        }
    }
}

/// A stream to its end, or until the sweep ends it: then hyper's part is dropped, which resets it. A
/// panic ends that stream alone.
struct Running<S, F> {
    /// hyper's part.
    sending: F,
    stream: Option<Rc<Stream<S>>>,
}

impl<S, F: Future + Unpin> Future for Running<S, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { sending, stream } = self.get_mut();
        if let Some(stream) = stream {
            stream.record.polled_by(cx);
            if stream.record.end() == Some(End::Abruptly) {
                return Poll::Ready(());
            }
        }
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(sending).poll(cx).is_ready()));
        if let Ok(false) = polled {
            return Poll::Pending;
        }
        if let Some(stream) = stream {
            // Of an answer that could not be told.
            drop(stream.connection.switched.take());
            if polled.is_err() {
                stream.connection.worker.metrics.panic_caught();
            }
        }
        Poll::Ready(())
    }
}

/// A stream that is open: its connection is not idle.
struct Stream<S> {
    connection: Rc<Connection<S>>,
    record: Rc<Record>,
    _listed: Enlisted,
}

impl<S> Stream<S> {
    fn begin(connection: &Rc<Connection<S>>, record: Rc<Record>) -> Self {
        if connection.streams.replace(connection.streams.get() + 1) == 0 {
            connection.record.begin_request();
        }
        let listed = connection.worker.enlist(&record);
        Self { connection: Rc::clone(connection), record, _listed: listed }
    }
}

impl<S> Drop for Stream<S> {
    fn drop(&mut self) {
        let connection = &self.connection;
        if !self.record.is_answered() {
            connection.wire.unanswered();
        }
        // Whatever of its body is still on its way to an upstream.
        self.record.end_with(End::Abruptly);
        let left = connection.streams.get() - 1;
        connection.streams.set(left);
        if left == 0 {
            connection.record.end_request(connection.worker.clock.now());
            if connection.record.end().is_some() {
                connection.record.wake();
            }
        }
    }
}

/// The body of an answer on its stream.
struct Answer {
    reply: Reply,
    /// To HEAD: the head says what the body would have been.
    headless: bool,
    record: Rc<Record>,
}

impl Answer {
    fn to(response: Response<Reply>, is_head: bool, record: Rc<Record>) -> Response<Self> {
        let (mut head, reply) = response.into_parts();
        // What a connection of HTTP/1.1 would be told.
        head.headers.remove(header::CONNECTION);
        let length = reply.size_hint().exact().filter(|length| is_head && *length > 0);
        if let Some(length) = length {
            head.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
        let answer = Self { reply, headless: is_head, record };
        Response::from_parts(head, answer)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = upstream::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, upstream::Error>>> {
        let this = self.get_mut();
        if this.headless {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut this.reply).poll_frame(cx));
        this.record.progressed();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.headless || self.reply.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.headless { SizeHint::with_exact(0) } else { self.reply.size_hint() }
    }
}
