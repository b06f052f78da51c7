//! Chunked bodies (RFC 9112 section 7.1), read strictly: lines end in CR LF, sizes have no sign and
//! fit, extensions and trailers have an end.

use bytes::{Buf as _, BytesMut};

use super::Error;
use super::decoder::{Piece, take};
use crate::field_lines::read_trailers;

/// Bytes of a line with a size, its extensions included.
const MOST_LINE: usize = 4 * 1024;
/// Bytes of all extensions of a body.
const MOST_EXTENSIONS: usize = 16 * 1024;
/// Bytes of all trailers.
const MOST_TRAILERS: usize = 16 * 1024;
const MOST_FIELDS: usize = 100;

/// How far a chunked body is read.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Chunked {
    next: Next,
    extensions: usize,
}

#[derive(Debug, Default)]
enum Next {
    #[default]
    Size,
    /// So many bytes of a chunk.
    Data(u64),
    /// CR LF behind a chunk.
    End,
    Trailers,
    Done,
}

impl Chunked {
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.next, Next::Done)
    }

    /// See [`Decoder::next`](super::Decoder::next).
    pub(super) fn next(&mut self, held: &mut BytesMut) -> Result<Piece, Error> {
        loop {
            match &mut self.next {
                Next::Done => return Ok(Piece::End),
                Next::Size => {
                    let Some(end) = line(held, MOST_LINE)? else { return Ok(Piece::More) };
                    let (size, extensions) = size(&held[..end])?;
                    self.extensions += extensions;
                    if self.extensions > MOST_EXTENSIONS {
                        return Err(Error::Malformed("too many chunk extensions"));
                    }
                    held.advance(end + 2);
                    self.next = if size == 0 { Next::Trailers } else { Next::Data(size) };
                }
                Next::Data(_) if held.is_empty() => return Ok(Piece::More),
                Next::Data(left) => {
                    let data = take(held, *left);
                    *left -= data.len() as u64;
                    if *left == 0 {
                        self.next = if ends(held) { Next::Done } else { Next::End };
                    }
                    return Ok(Piece::Data(data));
                }
                Next::End => match held.get(..2) {
                    None if held.is_empty() || held.starts_with(b"\r") => return Ok(Piece::More),
                    Some(b"\r\n") => {
                        held.advance(2);
                        self.next = Next::Size;
                    }
                    _ => return Err(Error::Malformed("a chunk is longer than its size")),
                },
                Next::Trailers => return self.trailers(held),
            }
        }
    }

    fn trailers(&mut self, held: &mut BytesMut) -> Result<Piece, Error> {
        let end = if held.starts_with(b"\r\n") {
            Some(2)
        } else {
            memchr::memmem::find(held, b"\r\n\r\n").map(|at| at + 4)
        };
        if has_bare_lf(&held[..end.unwrap_or(held.len())]) {
            return Err(Error::Malformed("a bare LF in the trailers"));
        }
        let Some(end) = end.filter(|end| *end <= MOST_TRAILERS) else {
            let is_endless = end.is_some() || held.len() > MOST_TRAILERS;
            return if is_endless {
                Err(Error::Malformed("the trailers are too large"))
            } else {
                Ok(Piece::More)
            };
        };
        self.next = Next::Done;
        let trailers = read_trailers(&held.split_to(end).freeze());
        let trailers = trailers.filter(|trailers| trailers.len() <= MOST_FIELDS);
        let trailers = trailers.ok_or(Error::Malformed("the trailers are none"))?;
        Ok(if trailers.is_empty() { Piece::End } else { Piece::Trailers(trailers) })
    }
}

/// Takes the plainest end of a body, if that is next: whoever reads the last chunk knows at once that
/// it is the last.
fn ends(held: &mut BytesMut) -> bool {
    const END: &[u8] = b"\r\n0\r\n\r\n";
    let ends = held.starts_with(END);
    if ends {
        held.advance(END.len());
    }
    ends
}

/// Where a line ends, when its end is there.
fn line(held: &[u8], most: usize) -> Result<Option<usize>, Error> {
    let Some(lf) = memchr::memchr(b'\n', held) else {
        return if held.len() > most { Err(Error::Malformed("a line without end")) } else { Ok(None) };
    };
    match held[..lf].last() {
        Some(b'\r') if lf <= most => Ok(Some(lf - 1)),
        _ => Err(Error::Malformed("a chunk's line is too long or ends in a bare LF")),
    }
}

/// The size of a chunk, and the length of what stands behind it. White space around extensions is
/// passed over (RFC 9112 section 7.1.1), though none should be sent.
fn size(line: &[u8]) -> Result<(u64, usize), Error> {
    let malformed = Error::Malformed("the size of a chunk is none");
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, rest) = line.split_at(end);
    if !matches!(rest.trim_ascii_start(), [] | [b';', ..]) || rest.iter().any(|byte| is_control(*byte)) {
        return Err(malformed);
    }
    let digits = std::str::from_utf8(digits).unwrap_or_default();
    u64::from_str_radix(digits, 16).map(|size| (size, rest.len())).map_err(|_| malformed)
}

const fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

fn has_bare_lf(lines: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', lines).any(|lf| lf == 0 || lines[lf - 1] != b'\r')
}
