//! Header and trailer fields: most of them at a stroke, and what they say about framing.

use super::bytes::{is_alias, is_field_content, is_token};
use super::{Framing, Interest, MAX_NAME, Malformed, State, Step, WORD, syntax};

/// Decimal digits of a Content-Length: 18 cannot overflow 64 bits.
const MAX_LENGTH_DIGITS: usize = 18;

impl Framing {
    pub(super) fn line_end(&mut self, byte: u8) -> Step {
        if byte != b'\n' {
            return syntax("a CR that is not followed by LF");
        }
        self.state = State::LineStart;
        Ok(self.count(1))
    }

    /// Most lines at a stroke: those that are there to their end, say nothing about framing but that
    /// there is a `Host`, and have nothing wrong. Every other line goes piece by piece, where each
    /// verdict is given.
    pub(super) fn plain_line(&mut self, rest: &[u8]) -> Option<usize> {
        let name = rest.iter().position(|&byte| !is_token(byte))?;
        if rest[name] != b':' || name == 0 || name > MAX_NAME {
            return None;
        }
        // The lengths of the names that [`Interest`] knows, and of their aliases.
        let is_host = match name {
            4 => rest[..name].eq_ignore_ascii_case(b"host"),
            7 if rest[..name].eq_ignore_ascii_case(b"upgrade") => return None,
            14 | 17 => return None,
            _ => false,
        };
        let end = name + memchr::memchr(b'\r', &rest[name..])?;
        let is_plain = rest.get(end + 1) == Some(&b'\n') && is_field_content(&rest[name..end]);
        if !is_plain || self.headers == self.max_headers {
            return None;
        }
        if is_host && !self.in_trailers {
            self.hosts = self.hosts.saturating_add(1);
        }
        self.headers += 1;
        Some(self.count(end + 2))
    }

    pub(super) fn line_start(&mut self, rest: &[u8]) -> Step {
        match rest[0] {
            b'\r' => {
                self.state = State::HeadEnd;
                Ok(self.count(1))
            }
            b' ' | b'\t' => syntax("a header line begins with white space"),
            b'\n' => syntax("a line ends in a bare LF"),
            _ => {
                self.headers += 1;
                if self.headers > self.max_headers {
                    return Err(Malformed::TooLarge("too many headers"));
                }
                self.forget();
                self.state = State::Name;
                self.name(rest)
            }
        }
    }

    pub(super) fn name(&mut self, rest: &[u8]) -> Step {
        let end = rest.iter().position(|&b| !is_token(b)).unwrap_or(rest.len()).min(MAX_NAME - self.len);
        self.remember(&rest[..end]);
        self.len += end;
        match rest.get(end) {
            Some(b':') if self.len > 0 => {
                let name = if self.len > WORD { b"too long" } else { self.word() };
                self.interest = match Interest::in_name(name) {
                    Ok(interest) => interest,
                    why => return self.blame(end, why.map(|_| 0)),
                };
                self.forget();
                self.state = State::ValueStart;
                Ok(self.count(end + 1))
            }
            Some(b':') => syntax("a header without a name"),
            Some(b' ' | b'\t') => self.blame(end, syntax("white space before the colon of a header")),
            Some(&byte) if is_token(byte) => {
                self.blame(end, Err(Malformed::TooLarge("a header name is too long")))
            }
            _ => self.blame(end, syntax("a byte in a header name is not allowed there")),
        }
    }

    pub(super) fn value_start(&mut self, rest: &[u8]) -> Step {
        if rest[0] == b' ' || rest[0] == b'\t' {
            return Ok(self.count(1));
        }
        self.state = State::Value;
        self.value(rest)
    }

    pub(super) fn value(&mut self, rest: &[u8]) -> Step {
        let end = memchr::memchr(b'\r', rest).unwrap_or(rest.len());
        if !is_field_content(&rest[..end]) {
            let good = rest.iter().position(|&b| !is_field_content(&[b])).unwrap_or(end);
            return self.blame(good, syntax("a control byte or a bare LF in a header value"));
        }
        if self.interest != Interest::None {
            self.remember(&rest[..end]);
            self.len += end;
        }
        if end == rest.len() {
            return Ok(self.count(end));
        }
        if let Err(why) = self.field_done() {
            return self.blame(end, Err(why));
        }
        self.state = State::LineEnd;
        Ok(self.count(end + 1))
    }

    /// A complete field: what it says about framing is taken down.
    pub(super) fn field_done(&mut self) -> Result<(), Malformed> {
        if self.in_trailers || self.interest == Interest::None {
            return Ok(());
        }
        let value = if self.len <= WORD { self.word().trim_ascii_end() } else { b"too long" };
        match self.interest {
            Interest::ContentLength => {
                let length = parse_length(value)?;
                if self.length.replace(length).is_some() {
                    return syntax("Content-Length is repeated");
                }
            }
            Interest::TransferEncoding => {
                if value != b"chunked" {
                    return syntax("Transfer-Encoding is not exactly chunked");
                }
                if self.chunked {
                    return syntax("Transfer-Encoding is repeated");
                }
                self.chunked = true;
            }
            Interest::Host => self.hosts = self.hosts.saturating_add(1),
            Interest::Upgrade => self.upgrade = true,
            Interest::None => {}
        }
        Ok(())
    }
}

impl Interest {
    /// Of a name in lower case. Servers that turn `_` into `-` would read an alias as the header
    /// itself, after the body was framed without it.
    pub(super) fn in_name(name: &[u8]) -> Result<Self, Malformed> {
        match name {
            b"content-length" => Ok(Self::ContentLength),
            b"transfer-encoding" => Ok(Self::TransferEncoding),
            b"host" => Ok(Self::Host),
            b"upgrade" => Ok(Self::Upgrade),
            _ if is_alias(name, b"content-length") || is_alias(name, b"transfer-encoding") => {
                syntax("a header that some take for Content-Length or Transfer-Encoding")
            }
            _ => Ok(Self::None),
        }
    }
}

/// RFC 9110 section 8.6: digits alone, once, and small enough to count with.
fn parse_length(value: &[u8]) -> Result<u64, Malformed> {
    if value.is_empty() || value.len() > MAX_LENGTH_DIGITS || !value.iter().all(u8::is_ascii_digit) {
        return syntax("Content-Length is not a plain number");
    }
    if value.len() > 1 && value[0] == b'0' {
        return syntax("Content-Length could be read as octal");
    }
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}
