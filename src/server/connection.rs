//! The life of one connection.
//!
//! What holds: it ends when it is told to, whoever is waited for; the last answer reaches a client
//! that is still sending; one on which nothing is under way is given back, to be kept without a task.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::framing::Malformed;
use super::http1::{self, Outcome, Wire};
use super::incoming::Incoming;
use super::record::{End, Parking, Record};
use crate::access::rejection::Code;
use crate::clock::CoarseClock;
use crate::reply::{self, Reply};

/// How long, and for how many bytes, a closing connection still takes in what the client sends:
/// closing with unread bytes would make the kernel discard the answer on its way.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 256 * 1024;

/// What is left of a connection: its socket, and what was read and not looked at.
pub struct Remains<S> {
    pub stream: S,
    pub read: Vec<u8>,
}

/// What becomes of a connection.
pub enum Next<S> {
    /// It is closed, or about to be.
    Over,
    /// The last response switched protocols.
    Switched(Remains<S>),
    /// Nothing is under way, and it was asked to be parked.
    Idle(Remains<S>),
}

/// Serves HTTP/1.1 until the connection ends, switches protocols or is asked to be parked.
/// `refusal` makes the answer to what is malformed.
pub async fn serve<S, F>(
    from: Remains<S>,
    record: Rc<Record>,
    clock: Rc<CoarseClock>,
    answer: impl Fn(Request<Incoming>) -> F,
    refusal: impl FnOnce(Malformed) -> Vec<u8>,
) -> Next<S>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Future<Output = Result<Response<Reply>, Infallible>>,
{
    let wire = Wire::new(from, Rc::clone(&record), clock);
    let outcome = unless_ended(&record, http1::converse(&wire, answer)).await;
    record.set_parking(Parking::Never);
    let (Some(outcome), Some((mut stream, read))) = (outcome, wire.take_back()) else { return Next::Over };
    let settled = unless_ended(&record, poll_fn(|cx| stream.poll_settled(cx))).await;
    let (Some(Ok(())), Some(mut stream)) = (settled, stream.into_inner()) else { return Next::Over };
    match outcome {
        Outcome::Abrupt => {}
        Outcome::Switched => return Next::Switched(Remains { stream, read }),
        Outcome::Idle => return Next::Idle(Remains { stream, read }),
        Outcome::Done => {
            let unread = !read.is_empty() || record.framing.borrow().in_body();
            unless_ended(&record, close(&mut stream, unread)).await;
        }
        Outcome::Malformed(why) => {
            unless_ended(&record, refuse(&mut stream, &refusal(why))).await;
        }
    }
    Next::Over
}

/// Goes on until the connection is to end abruptly.
async fn unless_ended<T>(record: &Record, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        record.polled_by(cx);
        match record.end() {
            Some(End::Abruptly) => Poll::Ready(None),
            _ => future.as_mut().poll(cx).map(Some),
        }
    })
    .await
}

/// Closes; lets what was said reach a client that is still sending.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, is_sending: bool) -> io::Result<()> {
    stream.shutdown().await?;
    if is_sending {
        linger(stream).await;
    }
    Ok(())
}

/// Answers what is no request, and closes.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, answer: &[u8]) -> io::Result<()> {
    stream.write_all(answer).await?;
    close(stream, true).await
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
