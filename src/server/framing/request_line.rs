//! The request line: method, target and version, each byte judged where it stands.

use super::bytes::{is_method, is_target};
use super::{Framing, MAX_TARGET, Malformed, Part, State, Step, Verb, syntax};

pub(super) const MAX_METHOD: usize = 24;
/// An IPv6 address has no more.
pub(super) const MAX_ADDRESS_COLONS: u8 = 7;

impl Framing {
    pub(super) fn start(&mut self, first: u8) -> Result<(), Malformed> {
        if !is_method(first) {
            return syntax("the request line does not begin with a method");
        }
        *self = Self { messages: self.messages, ..Self::new(self.max_head_bytes, self.max_headers) };
        self.state = State::Method;
        Ok(())
    }

    pub(super) fn method(&mut self, rest: &[u8]) -> Step {
        let end = rest.iter().position(|&b| !is_method(b)).unwrap_or(rest.len()).min(MAX_METHOD - self.len);
        self.remember(&rest[..end]);
        self.len += end;
        match rest.get(end) {
            Some(b' ') => {
                self.verb = self.verb();
                self.forget();
                self.state = State::TargetStart;
                Ok(self.count(end + 1))
            }
            Some(&byte) if is_method(byte) => self.blame(end, syntax("the method is too long")),
            _ => self.blame(end, syntax("the method is not an upper-case token")),
        }
    }

    pub(super) fn verb(&self) -> Verb {
        match self.word() {
            b"connect" => Verb::Connect,
            b"options" => Verb::Options,
            b"get" | b"head" | b"delete" | b"trace" => Verb::Plain,
            _ => Verb::Other,
        }
    }

    /// RFC 9112 section 3.2: origin, absolute, authority (for CONNECT alone, refused later) or
    /// asterisk (for OPTIONS alone).
    pub(super) fn target_start(&mut self, rest: &[u8]) -> Step {
        let first = rest[0];
        match first {
            _ if self.verb == Verb::Connect => self.authority(first, Part::Start),
            b'/' => {
                self.state = State::Target;
                self.target(rest)
            }
            b'h' | b'H' => {
                self.state = State::Scheme;
                self.scheme(first)
            }
            b'*' if self.verb == Verb::Options => {
                self.state = State::Asterisk;
                Ok(self.count(1))
            }
            _ => syntax("the request target is in none of the four forms"),
        }
    }

    pub(super) fn scheme(&mut self, byte: u8) -> Step {
        self.remember(&[byte]);
        let word = self.word();
        if word == b"http://" || word == b"https://" {
            self.state = State::Authority(Part::Start);
        } else if !b"http://".starts_with(word) && !b"https://".starts_with(word) {
            return syntax("the request target is in none of the four forms");
        }
        self.len += 1;
        Ok(self.count(1))
    }

    /// No more than what [`http::uri::Authority`] takes, and no user: the host itself is judged
    /// where it is compared.
    pub(super) fn authority(&mut self, byte: u8, part: Part) -> Step {
        let next = match (part, byte) {
            (Part::Start, b'[') => Part::Address,
            (Part::Start | Part::Name, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_') => Part::Name,
            (Part::Name, b'.') => Part::Name,
            (Part::Address, b':') if self.colons < MAX_ADDRESS_COLONS => {
                self.colons += 1;
                Part::Address
            }
            (Part::Address, b'a'..=b'f' | b'A'..=b'F' | b'0'..=b'9' | b'.') => Part::Address,
            (Part::Address, b']') => Part::AddressEnd,
            (Part::Name | Part::AddressEnd, b':') => Part::PortStart,
            (Part::PortStart | Part::Port, b'0'..=b'9') => Part::Port,
            (Part::Name | Part::AddressEnd | Part::Port, b' ') => return self.target_end(byte),
            (Part::Name | Part::AddressEnd | Part::Port, b'/' | b'?') if self.verb != Verb::Connect => {
                self.state = State::Target;
                return self.target(&[byte]);
            }
            (_, b'@') => return syntax("the request target names a user"),
            _ => return syntax("the request target does not name a host"),
        };
        if self.len == MAX_TARGET {
            return syntax("the request target is too long");
        }
        self.len += 1;
        self.state = State::Authority(next);
        Ok(self.count(1))
    }

    pub(super) fn target(&mut self, rest: &[u8]) -> Step {
        let end = rest.iter().position(|&b| !is_target(b)).unwrap_or(rest.len()).min(MAX_TARGET - self.len);
        self.len += end;
        match rest.get(end) {
            Some(b' ') => {
                self.target_end(b' ')?;
                Ok(self.count(end) + 1)
            }
            Some(b'#') => self.blame(end, syntax("the request target has a fragment")),
            Some(&byte) if is_target(byte) => self.blame(end, syntax("the request target is too long")),
            _ => self.blame(end, syntax("a byte in the request target is not allowed there")),
        }
    }

    pub(super) fn target_end(&mut self, byte: u8) -> Step {
        if byte != b' ' {
            return syntax("the request target is in none of the four forms");
        }
        self.forget();
        self.state = State::Version;
        Ok(self.count(1))
    }

    /// Byte by byte, so that the verdict does not depend on where they were split; all of it at a stroke
    /// where it is there and is what it nearly always is.
    pub(super) fn version(&mut self, rest: &[u8]) -> Step {
        const VERSION: &[u8; 8] = b"HTTP/1.1";
        const LINE_END: &[u8; 10] = b"HTTP/1.1\r\n";
        if self.len == 0 && rest.starts_with(LINE_END) {
            self.state = State::LineStart;
            return Ok(self.count(LINE_END.len()));
        }
        let byte = rest[0];
        match VERSION.get(self.len) {
            Some(&wanted) if byte == wanted => {}
            Some(_) if byte == b'0' && self.len + 1 == VERSION.len() => self.http_10 = true,
            None if byte == b'\r' => self.state = State::RequestLineEnd,
            _ => return syntax("the version is neither HTTP/1.1 nor HTTP/1.0"),
        }
        self.len += 1;
        Ok(self.count(1))
    }
}
