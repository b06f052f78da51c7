//! The head of an answer.
//!
//! What holds: where its content ends is said once, by what is known of the content, and only where it
//! can have some (RFC 9112 section 6).

use http::response::Parts;
use http::{HeaderName, StatusCode, Version, header};
use hyper::body::Body;
use hyper::ext::ReasonPhrase;

use super::{Manner, Persistence};
use crate::clock::CoarseClock;
use crate::field_lines::write_field;
use crate::proxy::hop;
use crate::sending::Framing;

/// Room for a head as most are, in bytes.
const USUAL: usize = 512;

/// A head, and what follows from it.
pub(super) struct Head {
    pub(super) out: Vec<u8>,
    pub(super) framing: Framing,
    /// Those that were announced, to a client that takes some.
    pub(super) trailers: Vec<HeaderName>,
    pub(super) persistence: Persistence,
}

pub(super) fn write_head(
    parts: &Parts,
    content: &impl Body,
    manner: &Manner,
    persists: bool,
    clock: &CoarseClock,
) -> Head {
    let has_content = manner.lets_have_content(parts.status);
    let framing = framing(content, manner, has_content);
    let mut out = Vec::with_capacity(USUAL);
    write_status_line(parts, manner.version, &mut out);
    let (mut is_dated, mut closes) = (false, false);
    for (name, value) in &parts.headers {
        match *name {
            header::CONTENT_LENGTH | header::TRANSFER_ENCODING => continue,
            header::TRAILER if framing != Framing::Chunked => continue,
            header::DATE => is_dated = true,
            header::CONNECTION => closes |= hop::has_option(value, b"close"),
            _ => {}
        }
        write_field(name.as_str(), value.as_bytes(), &mut out);
    }
    let persists = persists && !closes && framing != Framing::Close;
    write_length(parts, content, manner, framing, &mut out);
    if parts.status != StatusCode::SWITCHING_PROTOCOLS {
        match (persists, manner.version) {
            (false, Version::HTTP_11) if !closes => write_field("connection", b"close", &mut out),
            (true, Version::HTTP_10) => write_field("connection", b"keep-alive", &mut out),
            _ => {}
        }
    }
    if !is_dated {
        write_field("date", clock.date().as_bytes(), &mut out);
    }
    out.extend_from_slice(b"\r\n");
    let trailers =
        if framing == Framing::Chunked && manner.takes_trailers { announced(parts) } else { Vec::new() };
    let persistence = if persists { Persistence::Persists } else { Persistence::Closes };
    Head { out, framing, trailers, persistence }
}

fn framing(content: &impl Body, manner: &Manner, has_content: bool) -> Framing {
    if !has_content || content.is_end_stream() {
        return Framing::Length(0);
    }
    match content.size_hint().exact() {
        Some(length) => Framing::Length(length),
        None if manner.version == Version::HTTP_10 => Framing::Close,
        None => Framing::Chunked,
    }
}

fn write_status_line(parts: &Parts, version: Version, out: &mut Vec<u8>) {
    let reason = parts.extensions.get::<ReasonPhrase>();
    if (parts.status, version, reason) == (StatusCode::OK, Version::HTTP_11, None) {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(parts.status.as_str().as_bytes());
    out.push(b' ');
    let usual = || parts.status.canonical_reason().unwrap_or_default().as_bytes();
    out.extend_from_slice(reason.map_or_else(usual, |reason| reason.as_bytes()));
    out.extend_from_slice(b"\r\n");
}

/// What the answer says of its length. To HEAD, and for what has not changed, that is what it would
/// have been (RFC 9110 section 8.6).
fn write_length(parts: &Parts, content: &impl Body, manner: &Manner, framing: Framing, out: &mut Vec<u8>) {
    let write = |length: u64, out: &mut Vec<u8>| {
        write_field("content-length", itoa::Buffer::new().format(length).as_bytes(), out);
    };
    if manner.lets_have_content(parts.status) {
        match framing {
            Framing::Length(length) => write(length, out),
            Framing::Chunked => write_field("transfer-encoding", b"chunked", out),
            Framing::Close => {}
        }
    } else if manner.is_head || parts.status == StatusCode::NOT_MODIFIED {
        match (parts.headers.get(header::CONTENT_LENGTH), content.size_hint().exact()) {
            (Some(length), _) => write_field("content-length", length.as_bytes(), out),
            (None, Some(length)) if length > 0 => write(length, out),
            _ => {}
        }
    }
}

/// RFC 9110 section 6.6.2.
fn announced(parts: &Parts) -> Vec<HeaderName> {
    let values = parts.headers.get_all(header::TRAILER).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}
