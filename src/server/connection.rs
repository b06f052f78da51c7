//! The life of one connection.
//!
//! hyper's connection is polled by hand, because this task owns the socket and must act when
//! hyper is done with it or may no longer have it: to answer a head that hyper never saw the end
//! of, to tunnel an upgrade, and to let the last answer reach a client that is still sending.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::framing::Malformed;
use super::io::Guarded;
use super::record::{End, Record};
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
}

/// What is left of a connection after HTTP: its socket and what was read of the next protocol.
pub struct Remains<S> {
    pub stream: S,
    pub read: Vec<u8>,
}

/// Serves HTTP/1.1 until the connection ends. Returns its remains when the last response switched
/// protocols. `refusal` makes the answer to what is malformed.
pub async fn serve<S, V>(
    stream: S,
    record: Rc<Record>,
    clock: Rc<CoarseClock>,
    builder: &http1::Builder,
    service: V,
    refusal: impl FnOnce(Malformed) -> Vec<u8>,
) -> Option<Remains<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    V: HttpService<Incoming, ResBody = Reply>,
    V::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let io = TokioIo::new(Guarded::new(stream, Rc::clone(&record), clock));
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
        match record.malformed() {
            Some(why) if record.is_quiet() => Poll::Ready(Outcome::Malformed(why)),
            _ => Poll::Pending,
        }
    })
    .await;
    let parts = connection.into_parts();
    let (mut stream, held) = parts.io.into_inner().into_parts();
    match outcome {
        Outcome::Done(Ok(())) if record.is_upgraded() => {
            let mut read = parts.read_buf.to_vec();
            read.extend_from_slice(&held);
            return Some(Remains { stream, read });
        }
        Outcome::Done(Ok(())) => {
            let unread = !record.framing.borrow().between_messages() || record.malformed().is_some();
            if unread {
                linger(&mut stream).await;
            }
        }
        Outcome::Malformed(why) => {
            let _ = refuse(&mut stream, &refusal(why)).await;
        }
        Outcome::Done(Err(_)) | Outcome::Abrupt => {}
    }
    None
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
