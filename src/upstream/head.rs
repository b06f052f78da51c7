//! The head of a response as it comes in: a line ends in CR LF, and a bare LF ends nothing; before it
//! come no more than [`MOST_INTERIM`] interim ones.
//!
//! hyper takes a bare LF for the end of a line, as RFC 9112 section 2.2 permits. Whatever an
//! application let slip into a header's value would then be a header of its own (ATTACKS.md G35).

/// Bytes of a status line that tell an interim response: `HTTP/1.1 103`.
const START: usize = 12;

/// More interim responses (RFC 9110 section 15.2) are an upstream that will never answer.
const MOST_INTERIM: u8 = 32;

/// Watches the bytes of one connection from the moment a response is awaited until its head ends.
#[derive(Debug, Default)]
pub(super) struct Head {
    awaited: bool,
    /// Bytes of the current line, and its last one.
    line: usize,
    last: u8,
    start: [u8; START],
    started: usize,
    interim: u8,
}

impl Head {
    pub(super) fn awaited() -> Self {
        Self { awaited: true, ..Self::default() }
    }

    /// Whether the next bytes of the connection may be passed on.
    pub(super) fn is_well_formed(&mut self, mut bytes: &[u8]) -> bool {
        while self.awaited && !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            self.remember(line);
            let before = if line.len() > 1 { line[line.len() - 2] } else { self.last };
            self.line += line.len();
            self.last = line[line.len() - 1];
            bytes = rest;
            if end.is_some() {
                if before != b'\r' {
                    return false;
                }
                self.end_line();
                if self.interim > MOST_INTERIM {
                    return false;
                }
            }
        }
        true
    }

    fn end_line(&mut self) {
        // hyper skips empty lines before a status line.
        if self.line == 2 && self.started > 0 {
            let awaited = self.is_interim();
            *self = Self { awaited, interim: self.interim + u8::from(awaited), ..Self::default() };
        }
        self.line = 0;
    }

    /// Keeps the beginning of the status line.
    fn remember(&mut self, line: &[u8]) {
        let room = START - self.started;
        for &byte in line.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).take(room) {
            self.start[self.started] = byte;
            self.started += 1;
        }
    }

    /// Whether the response itself is still to come.
    fn is_interim(&self) -> bool {
        self.start[9] == b'1' && &self.start[9..] != b"101"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(text: &str) -> bool {
        let bytes = text.as_bytes();
        let whole = Head::awaited().is_well_formed(bytes);
        for cut in 0..bytes.len() {
            let mut head = Head::awaited();
            let split = head.is_well_formed(&bytes[..cut]) && head.is_well_formed(&bytes[cut..]);
            assert_eq!(split, whole, "{text:?} cut at {cut}");
        }
        let mut head = Head::awaited();
        assert_eq!(bytes.iter().all(|byte| head.is_well_formed(&[*byte])), whole, "{text:?} byte by byte");
        whole
    }

    #[test]
    fn a_bare_lf_ends_no_line_of_a_head() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\nbody", true),
            ("HTTP/1.1 200 OK\r\n\r\n\n", true),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n\n", true),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n\n", true),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n\n", true),
            ("HTTP/1.1 200 OK\nA: b\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nA: b\n\nbody", false),
            ("HTTP/1.1 200 OK\r\nA: b\r\n\n", false),
            ("\nHTTP/1.1 200 OK\r\n\r\n", false),
            ("\r\nHTTP/1.1 200 OK\nA: b\r\n\r\n", false),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\n\n", false),
        ] {
            assert_eq!(passes(text), expected, "{text:?}");
        }
    }

    #[test]
    fn interim_responses_have_an_end() {
        let most = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(usize::from(MOST_INTERIM));
        assert!(passes(&format!("{most}HTTP/1.1 200 OK\r\n\r\n\n")));
        assert!(!passes(&format!("{most}HTTP/1.1 100 Continue\r\n\r\n")));
    }

    #[test]
    fn nothing_is_looked_at_unless_awaited() {
        assert!(Head::default().is_well_formed(b"\n\n"));
    }
}
