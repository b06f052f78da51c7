//! Bodies: counted when their length is declared, and chunk by chunk when it is not.

use super::{Framing, State, Step, syntax};

/// Chunk extensions of one message, in bytes: nobody needs more, and they cost without progress.
pub(super) const MAX_EXTENSIONS: usize = 4 * 1024;
/// Hexadecimal digits of a chunk size: 15 cannot overflow 64 bits.
pub(super) const MAX_CHUNK_DIGITS: u8 = 15;

impl Framing {
    pub(super) const fn has_body(&self) -> bool {
        self.chunked || !matches!(self.length, None | Some(0))
    }

    pub(super) const fn begin_body(&mut self) {
        self.state = if self.chunked {
            State::ChunkSize { size: 0, digits: 0 }
        } else {
            match self.length {
                Some(0) | None => State::Start,
                Some(length) => State::Body(length),
            }
        };
    }

    pub(super) fn counted(&mut self, rest: &[u8], left: u64, more: fn(u64) -> State, done: State) -> usize {
        let taken = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        let left = left - taken as u64;
        self.state = if left == 0 { done } else { more(left) };
        taken
    }

    pub(super) fn chunk_size(&mut self, byte: u8, size: u64, digits: u8) -> Step {
        if let Some(digit) = (byte as char).to_digit(16) {
            if digits == MAX_CHUNK_DIGITS {
                return syntax("a chunk size is too large");
            }
            self.state = State::ChunkSize { size: size * 16 + u64::from(digit), digits: digits + 1 };
            return Ok(1);
        }
        self.state = match byte {
            b'\r' if digits > 0 => State::ChunkSizeEnd(size),
            b';' if digits > 0 => State::ChunkExtension(size),
            _ => return syntax("a chunk size is not hexadecimal digits"),
        };
        Ok(1)
    }

    pub(super) fn chunk_extension(&mut self, byte: u8, size: u64) -> Step {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS {
            return syntax("chunk extensions are too long");
        }
        match byte {
            b'\r' => self.state = State::ChunkSizeEnd(size),
            b'\t' | b' '..=b'~' => {}
            _ => return syntax("a byte in a chunk extension is not allowed there"),
        }
        Ok(1)
    }

    pub(super) fn chunk_size_end(&mut self, byte: u8, size: u64) -> Step {
        if byte != b'\n' {
            return syntax("a chunk size line does not end in CR LF");
        }
        if size > 0 {
            self.state = State::ChunkData(size);
        } else {
            self.in_trailers = true;
            self.headers = 0;
            self.head_bytes = 0;
            self.state = State::LineStart;
        }
        Ok(1)
    }

    pub(super) fn expect(&mut self, byte: u8, wanted: u8, next: State, reason: &'static str) -> Step {
        if byte != wanted {
            return syntax(reason);
        }
        self.state = next;
        Ok(1)
    }
}
