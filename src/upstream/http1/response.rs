//! The heads of responses.
//!
//! What holds: a line ends in CR LF, and a bare LF ends nothing (ATTACKS.md G35); before a response
//! come no more than [`MOST_INTERIM`] interim ones; a response that says in two ways or an odd one
//! where it ends is malformed (RFC 9112 section 6.3, read strictly).

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use hyper::ext::ReasonPhrase;

use super::Error;
use super::decoder::Decoder;
use crate::field_lines::{read_fields, split_line};
use crate::intake::READ_SIZE;
use crate::proxy::hop;

/// More interim responses (RFC 9110 section 15.2) are an upstream that will never answer.
const MOST_INTERIM: u8 = 32;
const MOST_HEADERS: usize = 100;
const TOO_LARGE: Error = Error::Malformed("the head is too large");

/// The head of a response, and how its body is read.
pub(super) struct Head {
    pub(super) response: Response<Decoder>,
    /// The connection may carry another request afterwards.
    pub(super) keeps_alive: bool,
}

/// Watches what comes on a connection until the head of a response has ended.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// The answer to HEAD has no body.
    is_to_head: bool,
    interim: u8,
    /// Bytes of the head at hand that were looked at for its end, and lines in them.
    seen: usize,
    lines: usize,
}

impl Heads {
    pub(super) fn of(is_to_head: bool) -> Self {
        Self { is_to_head, ..Self::default() }
    }

    /// Takes the head of the response, once all of it is there. Interim ones are passed over.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub(super) fn next(&mut self, held: &mut BytesMut) -> Result<Option<Head>, Error> {
        loop {
            // Of an empty line before a head, one byte may have come before the other.
            while self.seen < 2 && held.starts_with(b"\r\n") {
                held.advance(2);
                (self.seen, self.lines) = (0, 0);
            }
            let Some(end) = self.end(held)? else { return Ok(None) };
            let fields = self.lines.saturating_sub(2);
            (self.seen, self.lines) = (0, 0);
            let head = parse(&held.split_to(end).freeze(), fields, self.is_to_head)?;
            let status = head.response.status();
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            self.interim += 1;
            if self.interim > MOST_INTERIM {
                return Err(Error::Malformed("interim responses without end"));
            }
        }
    }

    /// Where the head ends, when that is there.
    fn end(&mut self, held: &[u8]) -> Result<Option<usize>, Error> {
        for lf in memchr::memchr_iter(b'\n', &held[self.seen..]).map(|at| self.seen + at) {
            if lf == 0 || held[lf - 1] != b'\r' {
                return Err(Error::Malformed("a bare LF in the head"));
            }
            if lf >= READ_SIZE {
                return Err(TOO_LARGE);
            }
            self.lines += 1;
            if held[..=lf].ends_with(b"\r\n\r\n") {
                return Ok(Some(lf + 1));
            }
        }
        self.seen = held.len();
        if held.len() >= READ_SIZE { Err(TOO_LARGE) } else { Ok(None) }
    }
}

/// A whole head with so many fields.
fn parse(head: &Bytes, fields: usize, is_to_head: bool) -> Result<Head, Error> {
    let (line, lines) = split_line(head).ok_or(Error::Malformed("the head is not one"))?;
    let (version, status, reason) = status_line(line).ok_or(Error::Malformed("the status line is none"))?;
    if fields > MOST_HEADERS {
        return Err(Error::Malformed("too many fields"));
    }
    let mut headers = HeaderMap::with_capacity(fields);
    let (mut framing, mut noted) = (Framing::default(), Ok(()));
    let read = read_fields(head, lines, |name, value| {
        noted = framing.note(&name, &value);
        headers.append(name, value);
        noted.is_ok()
    });
    noted?;
    read.ok_or(Error::Malformed("a field is none"))?;
    let body = framing.body(status, version, is_to_head)?;
    let keeps_alive = status != StatusCode::SWITCHING_PROTOCOLS
        && !body.ends_with_connection()
        && framing.persists(version);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.version_mut() = version;
    *response.headers_mut() = headers;
    if reason != status.canonical_reason().unwrap_or_default().as_bytes() {
        let reason = ReasonPhrase::try_from(reason).map_err(|_| Error::Malformed("the reason is none"))?;
        response.extensions_mut().insert(reason);
    }
    Ok(Head { response, keeps_alive })
}

/// RFC 9112 section 4. The space before a reason that is not given may be missing.
fn status_line(line: &[u8]) -> Option<(Version, StatusCode, &[u8])> {
    let (version, rest) = line.split_at_checked(b"HTTP/1.1 ".len())?;
    let version = match version {
        b"HTTP/1.1 " => Version::HTTP_11,
        b"HTTP/1.0 " => Version::HTTP_10,
        _ => return None,
    };
    let (status, reason) = rest.split_at_checked(3)?;
    let reason = if reason.is_empty() { reason } else { reason.strip_prefix(b" ")? };
    Some((version, StatusCode::from_bytes(status).ok()?, reason))
}

/// What the fields of a head say about where the response ends, and about its connection.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    is_chunked: bool,
    closes: bool,
    keeps_alive: bool,
}

impl Framing {
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), Error> {
        if *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING {
            if self.length.is_some() || self.is_chunked {
                return Err(Error::Malformed("it is framed in two ways"));
            }
            if *name == header::CONTENT_LENGTH {
                self.length = Some(length(value).ok_or(Error::Malformed("a length that is none"))?);
            } else if value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                self.is_chunked = true;
            } else {
                return Err(Error::Malformed("a transfer coding other than chunked"));
            }
        } else if *name == header::CONNECTION {
            self.closes |= hop::has_option(value, b"close");
            self.keeps_alive |= hop::has_option(value, b"keep-alive");
        }
        Ok(())
    }

    /// RFC 9112 section 6.3.
    fn body(&self, status: StatusCode, version: Version, is_to_head: bool) -> Result<Decoder, Error> {
        if self.is_chunked && version == Version::HTTP_10 {
            return Err(Error::Malformed("a transfer coding in HTTP/1.0"));
        }
        let is_bodiless =
            status.is_informational() || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        Ok(match self.length {
            _ if is_to_head || is_bodiless => Decoder::Length(0),
            Some(length) => Decoder::Length(length),
            None if self.is_chunked => Decoder::chunked(),
            None => Decoder::UntilClose,
        })
    }

    /// Whether the connection stays, as far as the response says (RFC 9112 section 9.3).
    fn persists(&self, version: Version) -> bool {
        !self.closes && (version == Version::HTTP_11 || self.keeps_alive)
    }
}

/// Digits alone: what else a parser of numbers takes, another one does not.
fn length(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}
