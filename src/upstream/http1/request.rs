//! A request as it is written.
//!
//! What holds: where its body ends is said by what is known of the body, once, whatever its headers
//! say.

use http::{HeaderName, header};
use hyper::body::Body;

use crate::field_lines::write_field;
use crate::sending::Framing;
use crate::upstream::form::Outbound;

/// Writes the head of a request, its target in origin form.
pub(super) fn write_head(request: &Outbound<'_>, out: &mut Vec<u8>) -> Framing {
    let framing = framing_of(&request.body);
    let target = request.target.map_or("/", |target| target.as_str());
    for part in [request.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let mut has_length = false;
    for (name, value) in request.headers.unwritten() {
        if frames(name) {
            has_length |= name == header::CONTENT_LENGTH;
            continue;
        }
        write_field(name.as_str(), value.as_bytes(), out);
    }
    out.extend_from_slice(request.headers.written());
    match framing {
        Framing::Length(0) if !has_length => {}
        Framing::Length(length) => {
            write_field("content-length", itoa::Buffer::new().format(length).as_bytes(), out);
        }
        // A request's body never ends with its connection.
        Framing::Chunked | Framing::Close => write_field("transfer-encoding", b"chunked", out),
    }
    out.extend_from_slice(b"\r\n");
    framing
}

fn frames(name: &HeaderName) -> bool {
    // Told apart by their lengths first: hardly any header is as long as these.
    matches!(name.as_str(), "content-length" | "transfer-encoding")
}

fn framing_of(body: &impl Body) -> Framing {
    if body.is_end_stream() {
        return Framing::Length(0);
    }
    body.size_hint().exact().map_or(Framing::Chunked, Framing::Length)
}
