//! The heads of responses.
//!
//! What holds: a line ends in CR LF, and a bare LF ends nothing (ATTACKS.md G35); before a response
//! come no more than [`MOST_INTERIM`] interim ones; a response that says in two ways or an odd one
//! where it ends is malformed (RFC 9112 section 6.3, read strictly).

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use hyper::ext::ReasonPhrase;

use super::Error;
use super::decoder::Decoder;
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
    /// Bytes of the head at hand that were looked at for its end.
    seen: usize,
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
                self.seen = 0;
            }
            let Some(end) = self.end(held)? else { return Ok(None) };
            self.seen = 0;
            let head = parse(&held.split_to(end).freeze(), self.is_to_head)?;
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
            if held[..=lf].ends_with(b"\r\n\r\n") {
                return Ok(Some(lf + 1));
            }
        }
        self.seen = held.len();
        if held.len() >= READ_SIZE { Err(TOO_LARGE) } else { Ok(None) }
    }
}

/// A whole head.
fn parse(head: &Bytes, is_to_head: bool) -> Result<Head, Error> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let complete = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, head, &mut fields)
        .map_err(|_| Error::Malformed("the head is not one"))?;
    let (httparse::Status::Complete(_), Some(code)) = (complete, parsed.code) else {
        return Err(Error::Malformed("the head breaks off"));
    };
    let status = StatusCode::from_u16(code).map_err(|_| Error::Malformed("the status is none"))?;
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    let mut framing = Framing::default();
    for field in &*parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(slice_of(head, field.value));
        let (Ok(name), Ok(value)) = (name, value) else { return Err(Error::Malformed("a field is none")) };
        framing.note(&name, &value)?;
        headers.append(name, value);
    }
    let body = framing.body(status, version, is_to_head)?;
    let keeps_alive = status != StatusCode::SWITCHING_PROTOCOLS
        && !body.ends_with_connection()
        && framing.persists(version);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.version_mut() = version;
    *response.headers_mut() = headers;
    if let Some(reason) = parsed.reason.filter(|reason| Some(*reason) != status.canonical_reason())
        && let Ok(reason) = ReasonPhrase::try_from(reason.to_owned())
    {
        response.extensions_mut().insert(reason);
    }
    Ok(Head { response, keeps_alive })
}

/// A part of the bytes it was found in, without copying it.
fn slice_of(whole: &Bytes, part: &[u8]) -> Bytes {
    if part.is_empty() { Bytes::new() } else { whole.slice_ref(part) }
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
