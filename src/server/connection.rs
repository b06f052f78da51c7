//! The life of one connection.
//!
//! hyper's connection is polled by hand, because this task owns the socket and must act when
//! hyper is done with it or may no longer have it: to answer a head that hyper never saw the end
//! of, to tunnel an upgrade, to let the last answer reach a client that is still sending, and to
//! give a connection that is idle back to whoever keeps it without hyper.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::corked::Corked;
use super::framing::Malformed;
use super::io::Guarded;
use super::parking::Parkable;
use super::record::{End, Parking, Record};
use crate::access::rejection::Code;
use crate::clock::CoarseClock;
use crate::reply::{self, Reply};

/// How long, and for how many bytes, a closing connection still takes in what the client sends:
/// closing with unread bytes would make the kernel discard the answer on its way.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 256 * 1024;

/// How hyper's part ended.
enum Outcome {
    Done(hyper::Result<()>),
    /// The client sent something that is not HTTP as we hold it to be.
    Malformed(Malformed),
    Abrupt,
    Idle,
}

/// What is left of a connection after hyper: its socket, and what was read and not looked at.
pub struct Remains<S> {
    pub stream: S,
    pub read: Vec<u8>,
}

/// What becomes of a connection after hyper.
pub enum Next<S> {
    /// It is closed, or about to be.
    Over,
    /// The last response switched protocols.
    Switched(Remains<S>),
    /// Nothing is under way, and it was asked to be parked.
    Idle(Remains<S>),
}

/// Waits for the first bytes of a connection, or until it is to be parked (true) or ended (false).
/// None: they are there.
pub async fn first_bytes<S: Parkable>(stream: &S, record: &Record) -> Option<bool> {
    poll_fn(|cx| {
        record.polled_by(cx);
        if record.end().is_some() {
            return Poll::Ready(Some(false));
        }
        if stream.poll_heard(cx).is_ready() {
            return Poll::Ready(None);
        }
        if record.parking() == Parking::Asked { Poll::Ready(Some(true)) } else { Poll::Pending }
    })
    .await
}

/// Serves HTTP/1.1 until the connection ends, switches protocols or is asked to be parked.
/// `refusal` makes the answer to what is malformed.
pub async fn serve<S, V>(
    from: Remains<S>,
    record: Rc<Record>,
    clock: Rc<CoarseClock>,
    builder: &http1::Builder,
    service: V,
    refusal: impl FnOnce(Malformed) -> Vec<u8>,
) -> Next<S>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    V: HttpService<Incoming, ResBody = Reply>,
    V::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let io = TokioIo::new(Guarded::new(Corked::new(from.stream), from.read, Rc::clone(&record), clock));
    let mut connection = builder.serve_connection(io, service);
    let mut ending = false;
    let outcome = poll_fn(|cx| {
        record.polled_by(cx);
        if record.end() == Some(End::Abruptly) {
            return Poll::Ready(Outcome::Abrupt);
        }
        if record.end() == Some(End::Gracefully) && !ending {
            ending = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(Outcome::Done(result));
        }
        if record.parking() == Parking::Asked
            && let Some(outcome) = take_back(&record, &mut connection, cx)
        {
            return Poll::Ready(outcome);
        }
        match record.malformed() {
            Some(why) if record.is_quiet() => Poll::Ready(Outcome::Malformed(why)),
            _ => Poll::Pending,
        }
    })
    .await;
    record.set_parking(Parking::Never);
    let parts = connection.into_parts();
    let (mut stream, held) = parts.io.into_inner().into_parts();
    if matches!(outcome, Outcome::Abrupt | Outcome::Done(Err(_))) || !settle(&mut stream, &record).await {
        return Next::Over;
    }
    let Some(mut stream) = stream.into_inner() else { return Next::Over };
    match outcome {
        Outcome::Done(Ok(())) if record.is_upgraded() => {
            let mut read = parts.read_buf.to_vec();
            read.extend_from_slice(&held);
            return Next::Switched(Remains { stream, read });
        }
        // What hyper has was judged, and would be judged again: between requests it has nothing.
        Outcome::Idle if parts.read_buf.is_empty() => return Next::Idle(Remains { stream, read: held }),
        Outcome::Done(Ok(())) => {
            let unread = !record.framing.borrow().between_messages() || record.malformed().is_some();
            if unread {
                linger(&mut stream).await;
            }
        }
        Outcome::Malformed(why) => {
            let _ = refuse(&mut stream, &refusal(why)).await;
        }
        Outcome::Done(Err(_)) | Outcome::Abrupt | Outcome::Idle => {}
    }
    Next::Over
}

/// Waits until the client took what hyper wrote. False when it does not.
async fn settle<S: AsyncWrite + Unpin>(stream: &mut Corked<S>, record: &Record) -> bool {
    poll_fn(|cx| {
        record.polled_by(cx);
        let settled = match stream.poll_settle(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut *stream).poll_flush(cx),
            unsettled => unsettled,
        };
        match settled {
            Poll::Ready(settled) => Poll::Ready(settled.is_ok()),
            Poll::Pending if record.end() == Some(End::Abruptly) => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Has hyper end a connection on which nothing is under way, and leave the socket open. It is idle to
/// hyper only once the last answer was flushed, and is done at once then; otherwise it goes on to
/// the end of what is under way after all, and closes. None: it goes on.
fn take_back<I, V>(
    record: &Record,
    connection: &mut http1::Connection<I, V>,
    cx: &mut Context<'_>,
) -> Option<Outcome>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    V: HttpService<Incoming, ResBody = Reply>,
    V::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if !record.is_still() {
        record.set_parking(Parking::Able);
        return None;
    }
    record.set_parking(Parking::Leaving);
    Pin::new(&mut *connection).graceful_shutdown();
    match Pin::new(connection).poll(cx) {
        Poll::Ready(Ok(())) => Some(Outcome::Idle),
        Poll::Ready(error) => Some(Outcome::Done(error)),
        Poll::Pending => {
            record.set_parking(Parking::Never);
            // It may have tried to read meanwhile, and was told to wait for nobody.
            cx.waker().wake_by_ref();
            None
        }
    }
}

/// Answers what hyper never saw, and closes.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, answer: &[u8]) -> io::Result<()> {
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    linger(stream).await;
    Ok(())
}

/// Tells a client that there is no room for its connection.
pub async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, patience: Duration) {
    let _ = tokio::time::timeout(patience, refuse(stream, &reply::raw(Code::Overloaded, ""))).await;
}

/// Takes in what the other end still sends, for a moment.
pub async fn linger<S: AsyncRead + Unpin>(stream: &mut S) {
    let drain = async {
        let mut left = LINGER_BYTES;
        // On the heap: the connection's task would hold it from beginning to end.
        let mut scratch = vec![0; 4096];
        while let Ok(taken @ 1..) = stream.read(&mut scratch).await {
            left = left.saturating_sub(taken);
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

#[cfg(test)]
mod tests;
