//! Upgrades of HTTP/1.1 (RFC 9110 section 7.8): WebSocket and whatever else an upstream grants. What
//! comes as a WebSocket over HTTP/2 is one of them by then.
//!
//! What holds: bytes pass as they came; of a WebSocket the ends of frames are known, so that one
//! that is cut short ends between two of them and says why.

use std::borrow::Cow;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version, header};
use tokio::io::{AsyncRead, AsyncWrite};

use self::frames::Side;
use self::half::Half;
pub use self::handshake::Handshake;

use crate::clock::CoarseClock;
use crate::exchange::Exchange;
use crate::fields::Headers;
use crate::server::connection;
use crate::server::record::{End, Record};
use crate::server::tracked::Tracked;
use crate::upstream;

mod frames;
mod half;
mod handshake;

/// How long a WebSocket that is cut short may take in each direction until the frame under way has
/// ended and its last one is out.
const GOODBYE: Duration = Duration::from_secs(1);

/// The protocol a client asks to switch to.
pub struct Wanted {
    protocol: HeaderValue,
    /// The client leaves it to us.
    handshake: Option<Handshake>,
}

/// The upstream's end of a tunnel, and the exchange that lasts as long.
pub struct Far {
    pub remains: upstream::Remains,
    pub exchange: Box<Exchange>,
    /// What is spoken in it (RFC 6455).
    pub websocket: bool,
}

impl Wanted {
    /// `None` without `Connection: upgrade`, in HTTP/1.0, for more than one protocol, and for HTTP/2
    /// in clear text, in which requests would pass unseen. A request with a body must not ask: the
    /// framing holds nothing back behind one.
    #[must_use]
    pub fn read(request: &Parts) -> Option<Self> {
        let headers = &request.headers;
        let handshake = Handshake::of(request);
        if request.version != Version::HTTP_11 && handshake.is_none() {
            return None;
        }
        let mut protocols = headers.get_all(header::UPGRADE).iter();
        let protocol = protocols.next().filter(|_| protocols.next().is_none())?;
        let asked = headers.get_all(header::CONNECTION).iter().any(|value| {
            value
                .as_bytes()
                .split(|byte| *byte == b',')
                .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        });
        let bytes = protocol.as_bytes();
        let one = !bytes.is_empty()
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._/".contains(byte));
        let http = bytes.len() >= 2 && bytes[..2].eq_ignore_ascii_case(b"h2")
            || bytes.len() >= 4 && bytes[..4].eq_ignore_ascii_case(b"http");
        let wanted = || Self { protocol: protocol.clone(), handshake: handshake.cloned() };
        (asked && one && !http).then(wanted)
    }

    /// Asks the upstream for it.
    pub fn ask<'s>(&'s self, headers: &mut impl Headers<'s>) {
        let upgrade = HeaderValue::from_static("upgrade");
        headers.set(Cow::Owned(header::CONNECTION), Cow::Owned(upgrade));
        headers.set(Cow::Owned(header::UPGRADE), Cow::Borrowed(&self.protocol));
    }

    /// Whether a 101 switches to what was asked for, and nothing else.
    #[must_use]
    pub fn is_granted(&self, headers: &HeaderMap) -> bool {
        let mut granted = headers.get_all(header::UPGRADE).iter();
        let is_this =
            |protocol: &HeaderValue| protocol.as_bytes().eq_ignore_ascii_case(self.protocol.as_bytes());
        granted.next().is_some_and(is_this)
            && granted.next().is_none()
            && self.handshake.as_ref().is_none_or(|handshake| handshake.is_answered_by(headers))
    }

    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
    }

    /// Whether the handshake is ours.
    #[must_use]
    pub const fn is_handshake(&self) -> bool {
        self.handshake.is_some()
    }

    /// Tells the client.
    pub fn confirm(&self, headers: &mut HeaderMap) {
        self.ask(headers);
    }
}

/// Carries bytes both ways until either end closes, neither has sent anything for too long, or the
/// request behind it is cut short.
pub async fn run<S>(near: connection::Remains<S>, far: Far, record: Rc<Record>, clock: Rc<CoarseClock>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Far { remains: upstream::Remains { stream: mut upstream, read, .. }, exchange, websocket } = far;
    let mut client = Tracked::new(near.stream, Rc::clone(&record), clock);
    let (mut up, mut down) = (Half::new(near.read), Half::new(read));
    let cut = poll_fn(|cx| {
        record.polled_by(cx);
        if record.end() == Some(End::Abruptly) {
            return Poll::Ready(None);
        }
        if let Some(cut) = record.was_cut() {
            return Poll::Ready(Some(cut));
        }
        let sent = up.poll_carry(cx, &mut client, &mut upstream);
        let got = down.poll_carry(cx, &mut upstream, &mut client);
        match (sent, got) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(())))
            | (Poll::Ready(Err(_)), _)
            | (_, Poll::Ready(Err(_))) => Poll::Ready(None),
            _ => Poll::Pending,
        }
    })
    .await;
    if let Some(cut) = cut.filter(|_| websocket) {
        let _late = tokio::time::timeout(GOODBYE, async {
            down.finish_frame(&mut upstream, &mut client).await?;
            down.goodbye(cut, Side::Server, &mut client).await
        })
        .await;
        let _late = tokio::time::timeout(GOODBYE, up.goodbye(cut, Side::Client, &mut upstream)).await;
        connection::linger(&mut client).await;
    }
    record.received(up.carried);
    exchange.sent(usize::try_from(down.carried).unwrap_or(usize::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(pairs: &[(&'static str, &'static str)]) -> bool {
        wanted_in(Version::HTTP_11, pairs)
    }

    fn wanted_in(version: Version, pairs: &[(&'static str, &'static str)]) -> bool {
        let mut request = http::Request::builder().version(version);
        for (name, value) in pairs {
            request = request.header(*name, *value);
        }
        Wanted::read(&request.body(()).unwrap().into_parts().0).is_some()
    }

    #[test]
    fn an_upgrade_is_asked_for_in_full_or_not_at_all() {
        assert!(wanted(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]));
        assert!(!wanted_in(Version::HTTP_10, &[("connection", "Upgrade"), ("upgrade", "websocket")]));
        assert!(!wanted(&[("upgrade", "websocket")]));
        assert!(!wanted(&[("connection", "upgrade")]));
        assert!(!wanted(&[("connection", "upgrade"), ("upgrade", "websocket, h2c")]));
        for protocol in ["h2c", "H2C", "HTTP/2.0"] {
            assert!(
                !wanted(&[("connection", "upgrade, http2-settings"), ("upgrade", protocol)]),
                "{protocol}"
            );
        }
    }
}
