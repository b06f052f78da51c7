//! The handshake that a WebSocket over HTTP/2 comes without (RFC 8441 section 5), made in its client's
//! place.
//!
//! What holds: from here on its request is one for an upgrade of HTTP/1.1, which is judged, forwarded
//! and judged again as any other; its upstream switches only with an answer that fits our key.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};

use crate::access::rejection::{Code, Rejection};

/// RFC 6455 section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Stands with a request whose handshake is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// What its upstream has to answer (RFC 6455 section 4.2.2).
    accept: HeaderValue,
}

impl Handshake {
    /// Makes a request for an upgrade of one that asked for the same without.
    ///
    /// # Errors
    /// `overloaded`: there is no randomness.
    pub fn begin(parts: &mut Parts) -> Result<(), Rejection> {
        let mut nonce = [0; 16];
        rand::fill(&mut nonce)
            .map_err(|_| Rejection::new(Code::Overloaded, "the system has no randomness"))?;
        let key = BASE64_STANDARD.encode(nonce);
        let handshake = Self { accept: text(accept(&key)) };
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        parts.headers.insert(header::SEC_WEBSOCKET_KEY, text(key));
        parts.extensions.insert(handshake);
        Ok(())
    }

    #[must_use]
    pub fn of(request: &Parts) -> Option<&Self> {
        request.extensions.get()
    }

    /// Whether whoever answered has seen our key.
    pub(super) fn is_answered_by(&self, headers: &HeaderMap) -> bool {
        let mut answers = headers.get_all(header::SEC_WEBSOCKET_ACCEPT).iter();
        answers.next() == Some(&self.accept) && answers.next().is_none()
    }
}

fn accept(key: &str) -> String {
    let digest = digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    BASE64_STANDARD.encode(digest)
}

/// Base64 is visible ASCII.
fn text(base64: String) -> HeaderValue {
    HeaderValue::try_from(base64).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_that_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_handshake_asks_for_an_upgrade_with_a_key_of_its_own() {
        let begun = || {
            let request = http::Request::get("/ws").header("sec-websocket-key", "theirs");
            let mut parts = request.body(()).unwrap().into_parts().0;
            Handshake::begin(&mut parts).unwrap();
            parts
        };
        let (one, other) = (begun(), begun());
        assert_eq!(
            (&one.headers["upgrade"], &one.headers["connection"]),
            (&"websocket".parse().unwrap(), &"Upgrade".parse().unwrap())
        );
        let keys =
            [&one, &other].map(|parts| parts.headers.get_all("sec-websocket-key").iter().collect::<Vec<_>>());
        assert!(keys[0].len() == 1 && keys[0] != keys[1] && keys[0] != ["theirs"], "{keys:?}");
        let handshake = Handshake::of(&one).unwrap();
        let answer = |parts: &Parts| {
            let key = parts.headers["sec-websocket-key"].to_str().unwrap();
            HeaderMap::from_iter([(header::SEC_WEBSOCKET_ACCEPT, text(accept(key)))])
        };
        assert!(handshake.is_answered_by(&answer(&one)));
        assert!(!handshake.is_answered_by(&answer(&other)) && !handshake.is_answered_by(&HeaderMap::new()));
        let mut twice = answer(&one);
        twice.append(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(!handshake.is_answered_by(&twice));
    }
}
