//! Field lines (RFC 9112 section 5), read and written.
//!
//! What holds: a line is a name, a colon, a value and CR LF, and nothing else is taken for one: no
//! space before the colon, no folded line, no CR or LF of its own.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

const LINE_END: &[u8] = b"\r\n";

/// Reads the lines at the end of `whole`, up to an empty one. The values are parts of `whole`. None
/// when one of them is none, or is not taken.
pub fn read_fields(
    whole: &Bytes,
    mut lines: &[u8],
    mut take: impl FnMut(HeaderName, HeaderValue) -> bool,
) -> Option<()> {
    loop {
        let (line, rest) = split_line(lines)?;
        if line.is_empty() {
            return Some(());
        }
        let (name, value) = split(line, b':')?;
        let name = HeaderName::from_bytes(name).ok()?;
        let value = trim_white_space(value);
        let value = if value.is_empty() { Bytes::new() } else { whole.slice_ref(value) };
        take(name, HeaderValue::from_maybe_shared(value).ok()?).then_some(())?;
        lines = rest;
    }
}

/// Reads the lines of a trailer, with the empty line behind them.
#[must_use]
pub fn read_trailers(lines: &Bytes) -> Option<HeaderMap> {
    let mut trailers = HeaderMap::new();
    read_fields(lines, lines, |name, value| trailers.try_append(name, value).is_ok())?;
    Some(trailers)
}

/// The line that bytes begin with, and what is behind its end.
#[must_use]
pub fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = bytes.split_at(memchr::memchr(b'\r', bytes)?);
    Some((line, rest.strip_prefix(LINE_END)?))
}

/// What is before and behind a byte that is among the first.
#[must_use]
pub fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == at)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// RFC 9110 section 5.6.3.
fn trim_white_space(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Writes a line of a head or of trailers.
pub fn write_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(LINE_END);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &'static [u8]) -> Option<Vec<(String, Vec<u8>)>> {
        let (whole, mut read) = (Bytes::from_static(lines), Vec::new());
        read_fields(&whole, &whole, |name, value| {
            read.push((name.to_string(), value.as_bytes().to_vec()));
            true
        })?;
        Some(read)
    }

    #[test]
    fn lines_are_read_to_the_empty_one() {
        let lines = read(b"A: b\r\nC-d:\t e \t\r\nf:\r\ng: \r\nh: \xe4 i\tj\r\n\r\nk: l\r\n").unwrap();
        let lines: Vec<_> = lines.iter().map(|(name, value)| (&**name, &**value)).collect();
        let expected: [(&str, &[u8]); 5] =
            [("a", b"b"), ("c-d", b"e"), ("f", b""), ("g", b""), ("h", b"\xe4 i\tj")];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_no_line_is_none() {
        for lines in [
            &b""[..],
            b"a: b\r\n",
            b"a: b\r\n\r",
            b"a: b\n\r\n",
            b"a b\r\n\r\n",
            b"a : b\r\n\r\n",
            b" a: b\r\n\r\n",
            b"a: b\r\n c\r\n\r\n",
            b": b\r\n\r\n",
            b"a: b\rXc: d\r\n\r\n",
            b"a: b\r\rc: d\r\n\r\n",
            b"a: b\nc: d\r\n\r\n",
            b"a: b\0\r\n\r\n",
            b"a: \x0cb\r\n\r\n",
            b"a: b\x0b\r\n\r\n",
            b"\xe4: b\r\n\r\n",
        ] {
            assert_eq!(read(lines), None, "{}", lines.escape_ascii());
        }
    }
}
