//! HTTP/1.1 with a client (RFC 9112): one request after another on a connection.
//!
//! What holds: a head is judged byte by byte and then read once, so that nothing reads it otherwise
//! than it was judged; the next request is looked at when the answer to the one before is out and its
//! body was taken to the end; who has left is not served any further.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use http::{Method, Request, Response, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::consume_budget;

use self::wire::{Came, Out};
use super::framing::Malformed;
use super::incoming::Incoming;
use crate::reply::Reply;
use crate::sending::Sending;

mod head;
mod response;
#[cfg(test)]
mod tests;
mod wire;

pub(super) use self::wire::Wire;

/// How a conversation ended.
pub(super) enum Outcome {
    /// As it was to end, and all that was said is on its way.
    Done,
    /// What came is not HTTP as we hold it to be. Nothing before it is left unanswered.
    Malformed(Malformed),
    /// In the middle of something.
    Abrupt,
    /// Nothing is under way, and it was asked to be parked.
    Idle,
    /// The last response switched protocols.
    Switched,
}

/// What of a request decides how it is answered.
#[derive(Debug)]
struct Manner {
    version: Version,
    is_head: bool,
    is_connect: bool,
    /// Whether the client leaves the connection open.
    keeps_alive: bool,
    takes_trailers: bool,
    /// It sends its body when it is told to go on (RFC 9110 section 10.1.1).
    expects: bool,
}

impl Manner {
    fn of(method: &Method, version: Version) -> Self {
        Self {
            version,
            is_head: method == Method::HEAD,
            is_connect: method == Method::CONNECT,
            keeps_alive: version == Version::HTTP_11,
            takes_trailers: false,
            expects: false,
        }
    }

    /// Whether an answer can have content (RFC 9110 section 6.4.1).
    fn lets_have_content(&self, status: StatusCode) -> bool {
        let has_none = self.is_head
            || (self.is_connect && status.is_success())
            || status.is_informational()
            || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        !has_none
    }
}

/// Serves one request after another.
pub(super) async fn converse<S, F>(wire: &Rc<Wire<S>>, answer: impl Fn(Request<Incoming>) -> F) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Future<Output = Result<Response<Reply>, Infallible>>,
{
    loop {
        let (request, manner) = match poll_fn(|cx| wire.poll_head(cx)).await {
            Came::Request(request, manner) => (request, manner),
            Came::Malformed(why) => return Outcome::Malformed(why),
            Came::Rest => return Outcome::Idle,
            Came::Nothing => return Outcome::Done,
        };
        let response = {
            let mut answering = pin!(answer(request));
            poll_fn(|cx| match answering.as_mut().poll(cx) {
                Poll::Ready(Ok(response)) => Poll::Ready(Some(response)),
                Poll::Pending if wire.poll_left(cx).is_ready() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            })
            .await
        };
        let Some(response) = response else { return Outcome::Abrupt };
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        match send(wire, response, &manner).await {
            None => return Outcome::Abrupt,
            Some(_) if switches => return Outcome::Switched,
            // Whoever reads the body goes on, and the client need not wait for that.
            Some(Persistence::Closes) => {
                let _ends = poll_fn(|cx| Pin::new(&mut Out(wire)).poll_shutdown(cx)).await;
                poll_fn(|cx| wire.poll_through(cx)).await;
                return Outcome::Done;
            }
            Some(Persistence::Persists) => {}
        }
        // What follows an upgrade that did not happen is HTTP again.
        wire.record.framing.borrow_mut().resume();
        if !poll_fn(|cx| wire.poll_through(cx)).await {
            return Outcome::Done;
        }
        // Many requests may have come at once, and others are to have their turn.
        consume_budget().await;
    }
}

/// Whether a connection outlasts an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Persistence {
    Persists,
    Closes,
}

/// Sends an answer. None when it could not be sent whole.
async fn send<S>(wire: &Rc<Wire<S>>, response: Response<Reply>, manner: &Manner) -> Option<Persistence>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let persists = manner.keeps_alive
        && wire.record.end().is_none()
        && poll_fn(|cx| Poll::Ready(wire.may_go_on(cx))).await;
    let (parts, reply) = response.into_parts();
    let head = response::write_head(&parts, &reply, manner, persists, &wire.clock);
    let persistence = head.persistence;
    let mut sending = if manner.lets_have_content(parts.status) {
        Sending::new(head.out, head.framing, reply).with_trailers(head.trailers)
    } else {
        drop(reply);
        Sending::of_rest(head.out)
    };
    wire.record.set_flushed(false);
    let is_sent = poll_fn(|cx| match sending.poll(cx, &mut Out(wire)) {
        Poll::Ready(sent) => Poll::Ready(sent.is_ok()),
        Poll::Pending if wire.poll_left(cx).is_ready() => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    });
    let is_sent = is_sent.await;
    wire.record.set_flushed(is_sent);
    is_sent.then_some(persistence)
}
