//! Reads every request head before hyper does, and refuses what hyper would repair.
//!
//! hyper accepts a bare LF, folds nothing but drops a fragment, lets Transfer-Encoding win over
//! Content-Length and merges equal lengths: RFC 9112 permits each, and each is a way for two
//! servers to read one request differently. Here they are refused (DESIGN.md section 3).
//!
//! What holds: a byte is passed on only after it was judged, so hyper never sees the end of a head
//! that was refused, and sees none that it would refuse itself; the state is a few words, nothing
//! is buffered and nothing allocated; wherever the bytes were split, the verdict is the same and
//! falls on the same byte.

use std::ops::RangeInclusive;

/// The longest request target, in bytes.
const MAX_TARGET: usize = 8 * 1024;
const MAX_METHOD: usize = 24;
/// hyper takes names of up to 64 KiB and fails on longer ones; nobody needs a fraction of it.
const MAX_NAME: usize = 256;
/// hyper takes less than 16 KiB of trailers, whatever the limit on heads is.
const MAX_TRAILERS: usize = 8 * 1024;
/// An IPv6 address has no more.
const MAX_ADDRESS_COLONS: u8 = 7;
/// Chunk extensions of one message, in bytes: nobody needs more, and they cost without progress.
const MAX_EXTENSIONS: usize = 4 * 1024;
/// Hexadecimal digits of a chunk size: 15 cannot overflow 64 bits.
const MAX_CHUNK_DIGITS: u8 = 15;
/// Decimal digits of a Content-Length: 18 cannot overflow 64 bits.
const MAX_LENGTH_DIGITS: usize = 18;
/// As long as the longest header name or value that is looked at.
const WORD: usize = 20;

/// Why a head or a body's framing is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// 400, with what is wrong for the log.
    Syntax(&'static str),
    /// 431.
    TooLarge(&'static str),
}

/// How much of the bytes shown may be passed on, and why not more.
#[derive(Debug, PartialEq, Eq)]
pub struct Judged {
    pub passed: usize,
    pub stop: Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Everything was passed.
    None,
    /// What follows an `Upgrade` request waits until it is known which protocol it is in.
    Hold,
    Malformed(Malformed),
}

/// Where in a message the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between messages: nothing of the next head has arrived.
    Start,
    Method,
    TargetStart,
    Scheme,
    Authority(Part),
    /// Path and query.
    Target,
    Asterisk,
    Version,
    RequestLineEnd,
    LineStart,
    Name,
    ValueStart,
    Value,
    LineEnd,
    HeadEnd,
    Body(u64),
    ChunkSize {
        size: u64,
        digits: u8,
    },
    ChunkExtension(u64),
    ChunkSizeEnd(u64),
    ChunkData(u64),
    ChunkDataEnd,
    ChunkDataEndLf,
    /// An upgrade was asked for: see [`Stop::Hold`].
    Held,
    /// Another protocol: nothing is looked at any more.
    Tunnel,
}

/// Where in `host:port` the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Start,
    Name,
    Address,
    AddressEnd,
    PortStart,
    Port,
}

/// What of a method decides how its request is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Connect,
    Options,
    /// Comes without a body as a rule.
    Plain,
    Other,
}

/// A header whose value decides about framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interest {
    None,
    ContentLength,
    TransferEncoding,
    Host,
    Upgrade,
}

/// The framing of one connection's requests, byte by byte.
#[derive(Debug)]
pub struct Framing {
    state: State,
    interest: Interest,
    /// The part of a method, scheme, name or value that must be known, lower-case.
    word: [u8; WORD],
    word_len: usize,
    /// Bytes of the current method, target or name.
    len: usize,
    head_bytes: usize,
    headers: usize,
    extensions: usize,
    length: Option<u64>,
    chunked: bool,
    hosts: u8,
    upgrade: bool,
    http_10: bool,
    verb: Verb,
    /// Colons of the address in brackets in the target.
    colons: u8,
    in_trailers: bool,
    /// Heads that were passed to their end.
    messages: u32,
    max_head_bytes: usize,
    max_headers: usize,
}

type Step = Result<usize, Malformed>;

const fn syntax<T>(reason: &'static str) -> Result<T, Malformed> {
    Err(Malformed::Syntax(reason))
}

impl Framing {
    /// `max_head_bytes` counts the request line; `max_headers` counts fields, of a trailer too.
    #[must_use]
    pub const fn new(max_head_bytes: usize, max_headers: usize) -> Self {
        Self {
            state: State::Start,
            interest: Interest::None,
            word: [0; WORD],
            word_len: 0,
            len: 0,
            head_bytes: 0,
            headers: 0,
            extensions: 0,
            length: None,
            chunked: false,
            hosts: 0,
            upgrade: false,
            http_10: false,
            verb: Verb::Other,
            colons: 0,
            in_trailers: false,
            messages: 0,
            max_head_bytes,
            max_headers,
        }
    }

    /// Whether the next byte begins a message.
    #[must_use]
    pub const fn between_messages(&self) -> bool {
        matches!(self.state, State::Start)
    }

    /// Whether a head has begun and not ended.
    #[must_use]
    pub const fn in_head(&self) -> bool {
        !self.in_trailers
            && !matches!(
                self.state,
                State::Start
                    | State::Body(_)
                    | State::ChunkSize { .. }
                    | State::ChunkExtension(_)
                    | State::ChunkSizeEnd(_)
                    | State::ChunkData(_)
                    | State::ChunkDataEnd
                    | State::ChunkDataEndLf
                    | State::Held
                    | State::Tunnel
            )
    }

    /// Whether the next byte is content of a body, rather than framing.
    #[must_use]
    pub const fn in_content(&self) -> bool {
        matches!(self.state, State::Body(_) | State::ChunkData(_))
    }

    /// How many heads have been passed to their end.
    #[must_use]
    pub const fn messages(&self) -> u32 {
        self.messages
    }

    /// The upgrade was answered otherwise: what follows is HTTP again.
    pub const fn resume(&mut self) {
        if matches!(self.state, State::Held) {
            self.begin_body();
        }
    }

    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self.state, State::Held)
    }

    /// The upgrade took place: everything passes from here.
    pub const fn tunnel(&mut self) {
        self.state = State::Tunnel;
    }

    /// Judges the next bytes of the connection, in order.
    pub fn judge(&mut self, bytes: &[u8]) -> Judged {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self.step(rest) {
                Ok(0) => return Judged { passed: at, stop: Stop::Hold },
                Ok(taken) => at += taken,
                Err(why) => return Judged { passed: at, stop: Stop::Malformed(why) },
            }
        }
        Judged { passed: at, stop: Stop::None }
    }

    /// Takes as many bytes as the current state can, at least one. None taken: held.
    fn step(&mut self, rest: &[u8]) -> Step {
        match self.state {
            State::Start => self.start(rest[0]),
            State::Body(left) => Ok(self.counted(rest, left, State::Body, State::Start)),
            State::ChunkSize { size, digits } => self.chunk_size(rest[0], size, digits),
            State::ChunkExtension(size) => self.chunk_extension(rest[0], size),
            State::ChunkSizeEnd(size) => self.chunk_size_end(rest[0], size),
            State::ChunkData(left) => Ok(self.counted(rest, left, State::ChunkData, State::ChunkDataEnd)),
            State::ChunkDataEnd => {
                self.expect(rest[0], b'\r', State::ChunkDataEndLf, "chunk data is not followed by CR")
            }
            State::ChunkDataEndLf => {
                let next = State::ChunkSize { size: 0, digits: 0 };
                self.expect(rest[0], b'\n', next, "chunk data is not followed by CR LF")
            }
            State::Held => Ok(0),
            State::Tunnel => Ok(rest.len()),
            _ => {
                let most = if self.in_trailers {
                    MAX_TRAILERS.min(self.max_head_bytes)
                } else {
                    self.max_head_bytes
                };
                match most - self.head_bytes {
                    0 => Err(Malformed::TooLarge("the head is larger than limits.header_bytes")),
                    room => self.head_step(&rest[..room.min(rest.len())]),
                }
            }
        }
    }

    fn head_step(&mut self, rest: &[u8]) -> Step {
        match self.state {
            State::Method => self.method(rest),
            State::TargetStart => self.target_start(rest[0]),
            State::Scheme => self.scheme(rest[0]),
            State::Authority(part) => self.authority(rest[0], part),
            State::Target => self.target(rest),
            State::Asterisk => self.target_end(rest[0]),
            State::Version => self.version(rest[0]),
            State::LineStart => match self.plain_line(rest) {
                Some(taken) => Ok(taken),
                None => self.line_start(rest[0]),
            },
            State::Name => self.name(rest),
            State::ValueStart => self.value_start(rest[0]),
            State::Value => self.value(rest),
            State::HeadEnd => self.head_end(rest[0]),
            // RequestLineEnd and LineEnd; the others were told apart before.
            _ => self.line_end(rest[0]),
        }
    }

    fn start(&mut self, first: u8) -> Step {
        if !is_method(first) {
            return syntax("the request line does not begin with a method");
        }
        *self = Self { messages: self.messages, ..Self::new(self.max_head_bytes, self.max_headers) };
        self.state = State::Method;
        self.method(&[first])
    }

    fn method(&mut self, rest: &[u8]) -> Step {
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

    fn verb(&self) -> Verb {
        match self.word() {
            b"connect" => Verb::Connect,
            b"options" => Verb::Options,
            b"get" | b"head" | b"delete" | b"trace" => Verb::Plain,
            _ => Verb::Other,
        }
    }

    /// RFC 9112 section 3.2: origin, absolute, authority (for CONNECT alone, refused later) or
    /// asterisk (for OPTIONS alone).
    fn target_start(&mut self, first: u8) -> Step {
        match first {
            _ if self.verb == Verb::Connect => self.authority(first, Part::Start),
            b'/' => {
                self.state = State::Target;
                self.target(&[first])
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

    fn scheme(&mut self, byte: u8) -> Step {
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
    fn authority(&mut self, byte: u8, part: Part) -> Step {
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

    fn target(&mut self, rest: &[u8]) -> Step {
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

    fn target_end(&mut self, byte: u8) -> Step {
        if byte != b' ' {
            return syntax("the request target is in none of the four forms");
        }
        self.forget();
        self.state = State::Version;
        Ok(self.count(1))
    }

    /// hyper judges a version byte by byte, so each is judged here before it is passed.
    fn version(&mut self, byte: u8) -> Step {
        const VERSION: &[u8; 8] = b"HTTP/1.1";
        match VERSION.get(self.len) {
            Some(&wanted) if byte == wanted => {}
            Some(_) if byte == b'0' && self.len + 1 == VERSION.len() => self.http_10 = true,
            None if byte == b'\r' => self.state = State::RequestLineEnd,
            _ => return syntax("the version is neither HTTP/1.1 nor HTTP/1.0"),
        }
        self.len += 1;
        Ok(self.count(1))
    }

    fn line_end(&mut self, byte: u8) -> Step {
        if byte != b'\n' {
            return syntax("a CR that is not followed by LF");
        }
        self.state = State::LineStart;
        Ok(self.count(1))
    }

    /// Most lines at a stroke: those that are there to their end, have nothing to do with framing
    /// and nothing wrong. Every other line goes byte by byte, where each verdict is given.
    fn plain_line(&mut self, rest: &[u8]) -> Option<usize> {
        let name = rest.iter().position(|&byte| !is_token(byte))?;
        if rest[name] != b':' || name == 0 || name > MAX_NAME || may_frame(name) {
            return None;
        }
        let end = name + memchr::memchr(b'\r', &rest[name..])?;
        let is_plain = rest.get(end + 1) == Some(&b'\n') && is_field_content(&rest[name..end]);
        if !is_plain || self.headers == self.max_headers {
            return None;
        }
        self.headers += 1;
        Some(self.count(end + 2))
    }

    fn line_start(&mut self, byte: u8) -> Step {
        match byte {
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
                self.name(&[byte])
            }
        }
    }

    fn name(&mut self, rest: &[u8]) -> Step {
        let end = rest.iter().position(|&b| !is_token(b)).unwrap_or(rest.len()).min(MAX_NAME - self.len);
        self.remember(&rest[..end]);
        self.len += end;
        match rest.get(end) {
            Some(b':') if self.len > 0 => {
                self.interest = match self.interest_in_name() {
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

    /// Servers that turn `_` into `-` would read an alias as the header itself, after the body was
    /// framed without it.
    fn interest_in_name(&self) -> Result<Interest, Malformed> {
        if self.len > WORD {
            return Ok(Interest::None);
        }
        match self.word() {
            b"content-length" => Ok(Interest::ContentLength),
            b"transfer-encoding" => Ok(Interest::TransferEncoding),
            b"host" => Ok(Interest::Host),
            b"upgrade" => Ok(Interest::Upgrade),
            name if is_alias(name, b"content-length") || is_alias(name, b"transfer-encoding") => {
                syntax("a header that some take for Content-Length or Transfer-Encoding")
            }
            _ => Ok(Interest::None),
        }
    }

    fn value_start(&mut self, byte: u8) -> Step {
        if byte == b' ' || byte == b'\t' {
            return Ok(self.count(1));
        }
        self.state = State::Value;
        self.value(&[byte])
    }

    fn value(&mut self, rest: &[u8]) -> Step {
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
    fn field_done(&mut self) -> Result<(), Malformed> {
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

    fn head_end(&mut self, byte: u8) -> Step {
        if byte != b'\n' {
            return syntax("a CR that is not followed by LF");
        }
        if self.in_trailers {
            self.in_trailers = false;
            self.state = State::Start;
            return Ok(1);
        }
        if self.hosts > 1 {
            return syntax("Host is repeated");
        }
        if self.hosts == 0 && !self.http_10 {
            return syntax("Host is missing");
        }
        if self.chunked && self.length.is_some() {
            return syntax("Content-Length beside Transfer-Encoding");
        }
        if self.chunked && self.http_10 {
            return syntax("Transfer-Encoding in HTTP/1.0");
        }
        // RFC 1945 section 7.2.2: its body would last until the connection closes.
        if self.http_10 && self.length.is_none() && self.verb == Verb::Other {
            return syntax("an HTTP/1.0 request whose body has no length");
        }
        self.messages = self.messages.wrapping_add(1);
        // With a body or in HTTP/1.0 no upgrade is ever granted.
        if self.upgrade && !self.http_10 && !self.has_body() {
            self.state = State::Held;
        } else {
            self.begin_body();
        }
        Ok(self.count(1))
    }

    const fn has_body(&self) -> bool {
        self.chunked || !matches!(self.length, None | Some(0))
    }

    const fn begin_body(&mut self) {
        self.state = if self.chunked {
            State::ChunkSize { size: 0, digits: 0 }
        } else {
            match self.length {
                Some(0) | None => State::Start,
                Some(length) => State::Body(length),
            }
        };
    }

    fn counted(&mut self, rest: &[u8], left: u64, more: fn(u64) -> State, done: State) -> usize {
        let taken = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        let left = left - taken as u64;
        self.state = if left == 0 { done } else { more(left) };
        taken
    }

    fn chunk_size(&mut self, byte: u8, size: u64, digits: u8) -> Step {
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

    fn chunk_extension(&mut self, byte: u8, size: u64) -> Step {
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

    fn chunk_size_end(&mut self, byte: u8, size: u64) -> Step {
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

    fn expect(&mut self, byte: u8, wanted: u8, next: State, reason: &'static str) -> Step {
        if byte != wanted {
            return syntax(reason);
        }
        self.state = next;
        Ok(1)
    }

    const fn count(&mut self, bytes: usize) -> usize {
        self.head_bytes += bytes;
        bytes
    }

    /// Refuses the byte after those taken, but not before it comes first: so it does not matter
    /// where the bytes were split.
    const fn blame(&mut self, taken: usize, why: Step) -> Step {
        if taken == 0 { why } else { Ok(self.count(taken)) }
    }

    /// Keeps the first bytes, in lower case.
    fn remember(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(WORD - self.word_len);
        let place = &mut self.word[self.word_len..self.word_len + kept];
        place.copy_from_slice(&bytes[..kept]);
        place.make_ascii_lowercase();
        self.word_len += kept;
    }

    fn word(&self) -> &[u8] {
        &self.word[..self.word_len]
    }

    const fn forget(&mut self) {
        self.word_len = 0;
        self.len = 0;
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

/// Whether a name of this length may be one that [`Interest`] knows, or an alias of one.
const fn may_frame(length: usize) -> bool {
    matches!(length, 4 | 7 | 14 | 17)
}

const UPPER: RangeInclusive<u8> = b'A'..=b'Z';

/// Methods are case-sensitive; every registered one is upper case (RFC 9110 section 16.1).
const fn is_method(byte: u8) -> bool {
    byte >= *UPPER.start() && byte <= *UPPER.end() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
}

const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~", true);
/// RFC 3986 without a fragment; the few further bytes that browsers leave alone.
const TARGET: [bool; 256] = table(b"!$%&'()*+,-./:;=?@[\\]^_|~{}", true);

const fn table(punctuation: &[u8], alphanumeric: bool) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = alphanumeric && (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < punctuation.len() {
        table[punctuation[index] as usize] = true;
        index += 1;
    }
    table
}

const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

const fn is_target(byte: u8) -> bool {
    TARGET[byte as usize]
}

/// Whether a name is another one but for the marks between its letters. Both are in lower case.
fn is_alias(name: &[u8], known: &[u8]) -> bool {
    name.len() == known.len()
        && name
            .iter()
            .zip(known)
            .all(|(byte, known)| byte == known || (*known == b'-' && !byte.is_ascii_alphanumeric()))
}

/// Visible bytes, space, tab and bytes above ASCII (RFC 9110 section 5.5). Written so that the
/// compiler can look at many bytes at once.
fn is_field_content(bytes: &[u8]) -> bool {
    let bad = |byte: u8| u8::from(byte < b' ') & u8::from(byte != b'\t') | u8::from(byte == 0x7f);
    bytes.iter().fold(0, |found, &byte| found | bad(byte)) == 0
}

#[cfg(test)]
mod tests;
