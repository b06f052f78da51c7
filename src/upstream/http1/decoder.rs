//! The body of a response, out of the bytes of its connection.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::SizeHint;

use super::Error;
use super::chunked::Chunked;

/// Where a body ends, and how far it is read.
#[derive(Debug)]
pub(in crate::upstream) enum Decoder {
    /// So many bytes are left.
    Length(u64),
    Chunked(Box<Chunked>),
    /// With its connection.
    UntilClose,
}

/// What is next of a body.
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// It cannot be told before more has come.
    More,
    End,
}

impl Decoder {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Box::default())
    }

    /// Whether all of it was read.
    pub(in crate::upstream) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_done(),
            Self::UntilClose => false,
        }
    }

    pub(super) const fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Length(left) => SizeHint::with_exact(*left),
            Self::Chunked(_) | Self::UntilClose => SizeHint::default(),
        }
    }

    /// Takes the next piece out of what is held.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub(super) fn next(&mut self, held: &mut BytesMut) -> Result<Piece, Error> {
        Ok(match self {
            Self::Chunked(chunked) => return chunked.next(held),
            Self::Length(0) => Piece::End,
            _ if held.is_empty() => Piece::More,
            Self::Length(left) => {
                let data = take(held, *left);
                *left -= data.len() as u64;
                Piece::Data(data)
            }
            Self::UntilClose => Piece::Data(take(held, u64::MAX)),
        })
    }
}

/// As many bytes as are held, and no more than so many.
pub(super) fn take(held: &mut BytesMut, most: u64) -> Bytes {
    match usize::try_from(most) {
        Ok(most) if most < held.len() => held.split_to(most).freeze(),
        _ => std::mem::take(held).freeze(),
    }
}
