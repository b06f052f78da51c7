//! Heads that were told of rather than sent: decoded from frames of HTTP/2, or told by a proxy.
//!
//! What holds: such a head passes exactly if its bytes would have passed in HTTP/1.1.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Framing, Interest, MAX_NAME, Malformed, Stop, syntax};

const NO_HEAD: &str = "the head is not one of HTTP/1.1";

impl Framing {
    /// Judges a request line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge_told(method: &str, target: &str) -> Result<(), Malformed> {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: told\r\n\r\n");
        match Self::new(usize::MAX, 1).judge(head.as_bytes()).stop {
            Stop::None | Stop::Hold => Ok(()),
            Stop::Malformed(why) => Err(why),
        }
    }

    /// Judges a whole head of a request that stands between no others. The types say of names that they are tokens in lower
    /// case, and of values that no control byte is in them; what else a head of HTTP/1.1 has to be is found out here.
    ///
    /// # Errors
    /// What is wrong with it, or that it asks for an upgrade.
    pub fn judge_head(
        mut self,
        method: &Method,
        target: &PathAndQuery,
        headers: &HeaderMap,
    ) -> Result<(), Malformed> {
        for piece in [method.as_str(), " ", target.as_str(), " HTTP/1.1\r\n"] {
            self.pass(piece.as_bytes())?;
        }
        for (name, value) in headers {
            self.field(name, value)?;
        }
        self.pass(b"\r\n")?;
        if self.messages == 1 && !self.is_held() { Ok(()) } else { syntax(NO_HEAD) }
    }

    fn pass(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        match self.judge(bytes).stop {
            Stop::None => Ok(()),
            Stop::Hold => syntax(NO_HEAD),
            Stop::Malformed(why) => Err(why),
        }
    }

    /// A line of the head, which stands between two of them.
    fn field(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), Malformed> {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        if value.trim_ascii().len() != value.len() {
            return syntax("a header's value begins or ends with white space");
        }
        if self.headers == self.max_headers {
            return Err(Malformed::TooLarge("too many headers"));
        }
        if name.len() > MAX_NAME {
            return Err(Malformed::TooLarge("a header name is too long"));
        }
        let line = name.len() + b": ".len() + value.len() + b"\r\n".len();
        if line > self.max_head_bytes - self.head_bytes {
            return Err(Malformed::TooLarge("the head is larger than limits.header_bytes"));
        }
        self.headers += 1;
        self.count(line);
        self.interest = Interest::in_name(name)?;
        if self.interest != Interest::None {
            self.forget();
            self.remember(value);
            self.len = value.len();
        }
        self.field_done()
    }
}
