//! Judges every byte that clients send, and refuses what other servers would repair.
//!
//! A bare LF, a fragment, Transfer-Encoding beside Content-Length, two equal lengths: RFC 9112 lets a
//! server make something of each, and each is a way for two servers to read one request differently.
//! Here they are refused (DESIGN.md section 3).
//!
//! What holds: nothing is read of a head before all of it was judged, and hyper would refuse none that
//! passed; the state is a few words, nothing is buffered and nothing allocated; wherever the bytes were
//! split, the verdict is the same and falls on the same byte.

mod body;
mod bytes;
mod fields;
mod request_line;
mod told;

/// The longest request target, in bytes.
const MAX_TARGET: usize = 8 * 1024;
/// Nobody needs longer ones.
const MAX_NAME: usize = 256;
/// Whatever the limit on heads is.
const MAX_TRAILERS: usize = 8 * 1024;
const TOO_LARGE: &str = "the head is larger than limits.header_bytes";
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

/// What a head says of the body behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    None,
    /// Bytes, at least one.
    Known(u64),
    Chunked,
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

#[cold]
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

    /// Whether a body has begun and not ended.
    #[must_use]
    pub const fn in_body(&self) -> bool {
        !self.in_head() && !matches!(self.state, State::Start | State::Held | State::Tunnel)
    }

    /// How many heads have been passed to their end.
    #[must_use]
    pub const fn messages(&self) -> u32 {
        self.messages
    }

    /// Other limits, for the heads that begin from now on.
    pub const fn limit(&mut self, max_head_bytes: usize, max_headers: usize) {
        self.max_head_bytes = max_head_bytes;
        self.max_headers = max_headers;
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

    #[must_use]
    pub const fn is_tunnel(&self) -> bool {
        matches!(self.state, State::Tunnel)
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

    /// Judges the next bytes of a head, and none behind it. Returns how many, and whether it ends with
    /// them.
    ///
    /// # Errors
    /// What is wrong with the head.
    pub fn judge_head_only(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let before = self.messages;
        let mut at = 0;
        while at < bytes.len() && self.messages == before && !self.is_held() {
            at += self.step(&bytes[at..])?;
        }
        Ok((at, self.messages != before))
    }

    /// Judges the next bytes of a body: as many as are content, or trailers, or neither, in a row.
    /// Returns how many, and whether they are content.
    ///
    /// # Errors
    /// What is wrong with the framing.
    pub fn judge_body(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        if self.in_content() {
            return Ok((self.step(bytes)?, true));
        }
        let (before, mut at) = (self.in_trailers, 0);
        while at < bytes.len() && !self.in_content() && !self.between_messages() && self.in_trailers == before
        {
            at += self.step(&bytes[at..])?;
        }
        Ok((at, false))
    }

    /// What the head that was judged last says of its body.
    #[must_use]
    pub const fn length(&self) -> Length {
        match self.length {
            _ if self.chunked => Length::Chunked,
            None | Some(0) => Length::None,
            Some(length) => Length::Known(length),
        }
    }

    /// How many fields the head, or the trailer, has so far.
    #[must_use]
    pub const fn fields(&self) -> usize {
        self.headers
    }

    /// Whether what comes now are trailers.
    #[must_use]
    pub const fn in_trailers(&self) -> bool {
        self.in_trailers
    }

    /// Takes as many bytes as the current state can, at least one. None taken: held.
    fn step(&mut self, rest: &[u8]) -> Step {
        match self.state {
            State::Start => {
                self.start(rest[0])?;
                self.head(rest)
            }
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
            _ => self.head(rest),
        }
    }

    /// The same within a head or a trailer, which may be only so long.
    fn head(&mut self, rest: &[u8]) -> Step {
        let most = if self.in_trailers { MAX_TRAILERS.min(self.max_head_bytes) } else { self.max_head_bytes };
        match most - self.head_bytes {
            0 => Err(Malformed::TooLarge(TOO_LARGE)),
            room => self.head_step(&rest[..room.min(rest.len())]),
        }
    }

    fn head_step(&mut self, rest: &[u8]) -> Step {
        match self.state {
            State::Method => self.method(rest),
            State::TargetStart => self.target_start(rest),
            State::Scheme => self.scheme(rest[0]),
            State::Authority(part) => self.authority(rest[0], part),
            State::Target => self.target(rest),
            State::Asterisk => self.target_end(rest[0]),
            State::Version => self.version(rest),
            State::LineStart => match self.plain_line(rest) {
                Some(taken) => Ok(taken),
                None => self.line_start(rest),
            },
            State::Name => self.name(rest),
            State::ValueStart => self.value_start(rest),
            State::Value => self.value(rest),
            State::HeadEnd => self.head_end(rest[0]),
            // RequestLineEnd and LineEnd; the others were told apart before.
            _ => self.line_end(rest[0]),
        }
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

#[cfg(test)]
pub(in crate::server) use self::tests::generated;
#[cfg(test)]
mod tests;
