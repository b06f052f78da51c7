//! What callers of gRPC and gRPC-Web are told: a refusal, and why their call is cut short.
//!
//! A refusal is an answer of headers alone ("trailers-only"). A call that is cut short ends with
//! trailers of ours, which gRPC-Web has in its body as a last message.
//!
//! What holds: last words stand between two messages and come once, after which nothing of the
//! upstream's follows; where there is no such place, there are none, and the stream breaks off.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use hyper::body::Frame;

use self::messages::Messages;
use crate::access::rejection::Code;

mod messages;

/// The status of a call and what is said about it, which are not those of HTTP.
pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What a message of gRPC-Web begins with that holds trailers (PROTOCOL-WEB.md of gRPC).
const TRAILERS: u8 = 0x80;

/// How a call is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Grpc,
    /// What browsers speak: trailers are in the body.
    Web,
    /// The same in base64.
    WebText,
}

impl Dialect {
    /// By `Content-Type`, whatever the messages themselves are written in: `+proto`, `+json`.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE)?.as_bytes();
        let (family, rest) = kind.split_at_checked(b"application/grpc".len())?;
        if !family.eq_ignore_ascii_case(b"application/grpc") {
            return None;
        }
        let end = rest.iter().position(|byte| b"+; \t".contains(byte)).unwrap_or(rest.len());
        match &rest[..end] {
            b"" => Some(Self::Grpc),
            name if name.eq_ignore_ascii_case(b"-web") => Some(Self::Web),
            name if name.eq_ignore_ascii_case(b"-web-text") => Some(Self::WebText),
            _ => None,
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::Web => "application/grpc-web",
            Self::WebText => "application/grpc-web-text",
        }
    }
}

/// A response of headers alone: the status of the call, which is not the status of HTTP.
pub(super) fn refusal(code: Code, dialect: Dialect) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(dialect.content_type()));
    say(code, headers);
    response
}

fn say(code: Code, trailers: &mut HeaderMap) {
    trailers.insert(GRPC_STATUS, HeaderValue::from(status(code)));
    trailers.insert(GRPC_MESSAGE, HeaderValue::from_static(code.as_str()));
}

/// The canonical mapping of gRPC's status codes (`google.rpc.Code`).
pub(crate) fn status(code: Code) -> u16 {
    match code.status() {
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => 12,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => 8,
        StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => 4,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => 14,
        _ => 13,
    }
}

/// Follows the answer to a call, so that it can be ended with a status of ours.
pub struct LastWords {
    dialect: Dialect,
    messages: Messages,
}

impl LastWords {
    /// For a call in this dialect that came in this version, if `answer` is one to it and can hold
    /// more than its upstream wrote. HTTP/1.1 has no trailers that every client reads.
    #[must_use]
    pub fn of(asked: Dialect, version: Version, answer: &HeaderMap) -> Option<Box<Self>> {
        let has_room = !answer.contains_key(header::CONTENT_LENGTH);
        let can_be_told = asked != Dialect::Grpc || version == Version::HTTP_2;
        let is_in_kind = || Dialect::of(answer) == Some(asked);
        (has_room && can_be_told && is_in_kind())
            .then(|| Box::new(Self { dialect: asked, messages: Messages::new(asked == Dialect::WebText) }))
    }

    /// These bytes of the answer go out.
    pub(super) fn pass(&mut self, data: &[u8]) {
        self.messages.pass(data);
    }

    /// How many of these bytes go out when only the message under way is finished.
    pub(super) fn finish(&mut self, data: &[u8]) -> usize {
        self.messages.finish(data)
    }

    /// Whether they may be said now: between two messages, and not after the upstream's own.
    pub(super) fn may_be_said(&self) -> bool {
        self.messages.is_between() && !self.messages.have_ended()
    }

    pub(super) fn said(&self, code: Code) -> Frame<Bytes> {
        match self.dialect {
            Dialect::Grpc => {
                let mut trailers = HeaderMap::new();
                say(code, &mut trailers);
                Frame::trailers(trailers)
            }
            Dialect::Web => Frame::data(in_body(code)),
            Dialect::WebText => Frame::data(BASE64_STANDARD.encode(in_body(code)).into()),
        }
    }
}

/// Trailers as a message of gRPC-Web.
fn in_body(code: Code) -> Bytes {
    let text = format!("{GRPC_STATUS}:{}\r\n{GRPC_MESSAGE}:{}\r\n", status(code), code.as_str());
    let mut message = BytesMut::with_capacity(5 + text.len());
    message.extend_from_slice(&[TRAILERS]);
    // Two short lines.
    message.extend_from_slice(&(text.len() as u32).to_be_bytes());
    message.extend_from_slice(text.as_bytes());
    message.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])
    }

    #[test]
    fn a_dialect_is_known_by_its_content_type() {
        for (kind, dialect) in [
            ("application/grpc", Some(Dialect::Grpc)),
            ("application/grpc+proto", Some(Dialect::Grpc)),
            ("Application/GRPC;v=1", Some(Dialect::Grpc)),
            ("application/grpc-web", Some(Dialect::Web)),
            ("application/grpc-web+json", Some(Dialect::Web)),
            ("application/grpc-web-text+proto", Some(Dialect::WebText)),
            ("application/grpc-other", None),
            ("application/grpcx", None),
            ("application/json", None),
            ("application/grp", None),
        ] {
            assert_eq!(Dialect::of(&typed(kind)), dialect, "{kind}");
        }
    }

    #[test]
    fn last_words_are_for_an_answer_in_kind_that_has_room() {
        let (grpc, web) = (typed("application/grpc"), typed("application/grpc-web"));
        let mut full = grpc.clone();
        full.insert(header::CONTENT_LENGTH, HeaderValue::from(5));
        for (asked, version, answer, expected) in [
            (Dialect::Grpc, Version::HTTP_2, &grpc, true),
            (Dialect::Grpc, Version::HTTP_11, &grpc, false),
            (Dialect::Grpc, Version::HTTP_2, &web, false),
            (Dialect::Grpc, Version::HTTP_2, &full, false),
            (Dialect::Web, Version::HTTP_11, &web, true),
            (Dialect::Web, Version::HTTP_2, &typed("text/html"), false),
        ] {
            assert_eq!(LastWords::of(asked, version, answer).is_some(), expected, "{asked:?} {answer:?}");
        }
    }

    #[test]
    fn last_words_in_a_body_are_a_message_of_their_own() {
        let said = |dialect| {
            let words = LastWords { dialect, messages: Messages::new(dialect == Dialect::WebText) };
            words.said(Code::InvalidCredential).into_data().unwrap()
        };
        let message = said(Dialect::Web);
        let text = "grpc-status:16\r\ngrpc-message:invalid_credential\r\n";
        assert_eq!(message, [&[0x80, 0, 0, 0, text.len() as u8], text.as_bytes()].concat());
        assert_eq!(BASE64_STANDARD.decode(said(Dialect::WebText)).unwrap(), message);
    }
}
