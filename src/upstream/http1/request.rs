//! A request as it is written.
//!
//! What holds: where its body ends is said by what is known of the body, once, whatever its headers
//! say.

use std::io::Write as _;

use http::{HeaderName, header};
use hyper::body::Body;

use crate::upstream::form::Outbound;

/// How the end of a request's body is told (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// None of it, or so many bytes to come.
    Length(u64),
    Chunked,
}

impl Framing {
    fn of(body: &impl Body) -> Self {
        if body.is_end_stream() {
            return Self::Length(0);
        }
        body.size_hint().exact().map_or(Self::Chunked, Self::Length)
    }
}

/// Writes the head of a request, its target in origin form.
pub(super) fn write_head(request: &Outbound<'_>, out: &mut Vec<u8>) -> Framing {
    let framing = Framing::of(&request.body);
    let target = request.target.map_or("/", |target| target.as_str());
    for part in [request.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let mut has_length = false;
    for (name, value) in request.headers.iter() {
        if frames(name) {
            has_length |= name == header::CONTENT_LENGTH;
            continue;
        }
        write_field(name.as_str(), value.as_bytes(), out);
    }
    match framing {
        Framing::Length(0) if !has_length => {}
        Framing::Length(length) => {
            write_field("content-length", itoa::Buffer::new().format(length).as_bytes(), out);
        }
        Framing::Chunked => write_field("transfer-encoding", b"chunked", out),
    }
    out.extend_from_slice(b"\r\n");
    framing
}

fn frames(name: &HeaderName) -> bool {
    // Told apart by their lengths first: hardly any header is as long as these.
    matches!(name.as_str(), "content-length" | "transfer-encoding")
}

pub(super) fn write_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes the line before a chunk.
pub(super) fn write_size(size: usize, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(out, "{size:x}\r\n");
}
