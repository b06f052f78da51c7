//! A head that was judged, as a request.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri, Version, header};

use super::Manner;
use crate::field_lines::{read_fields, split, split_line};
use crate::proxy::hop;

/// Reads a whole head, with the empty line behind it. `fields` is how many it has. Its values are
/// parts of the bytes that came. None for what was not judged to be a head.
pub(super) fn read(head: &Bytes, fields: usize) -> Option<(Parts, Manner)> {
    let (line, lines) = split_line(head)?;
    let (method, line) = split(line, b' ')?;
    let (target, version) = split(line, b' ')?;
    let method = Method::from_bytes(method).ok()?;
    let version = if version == b"HTTP/1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut manner = Manner::of(&method, version);
    let mut closes = false;
    let mut headers = HeaderMap::with_capacity(fields);
    read_fields(head, lines, |name, value| {
        if name == header::CONNECTION {
            closes |= hop::has_option(&value, b"close");
            manner.keeps_alive |= hop::has_option(&value, b"keep-alive");
        } else if name == header::EXPECT {
            manner.expects |= value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        } else if name == header::TE {
            manner.takes_trailers |= hop::has_option(&value, b"trailers");
        }
        headers.try_append(name, value).is_ok()
    })?;
    manner.keeps_alive &= !closes;
    manner.expects &= version == Version::HTTP_11;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.uri = Uri::from_maybe_shared(head.slice_ref(target)).ok()?;
    (parts.method, parts.version, parts.headers) = (method, version, headers);
    Some((parts, manner))
}
