//! Heads that were told of rather than sent: decoded from frames of HTTP/2, or told by a proxy.
//!
//! What holds: such a head passes exactly if its bytes would have passed in HTTP/1.1.

use http::uri::PathAndQuery;
use http::{HeaderMap, Method};

use super::bytes::{is_method, is_target};
use super::request_line::MAX_METHOD;
use super::{Framing, Interest, MAX_NAME, MAX_TARGET, Malformed, Stop, TOO_LARGE, syntax};

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

    /// Judges the head of one request. The types say of names that they are tokens in lower case, and of
    /// values that no control byte is in them; what else a head of HTTP/1.1 has to be is found out here.
    ///
    /// # Errors
    /// What is wrong with it, or that it asks for an upgrade.
    pub fn judge_head(
        mut self,
        method: &Method,
        target: &PathAndQuery,
        headers: &HeaderMap,
    ) -> Result<(), Malformed> {
        self.request_line(method.as_str(), target.as_str())?;
        for (name, value) in headers {
            self.field(name.as_str().as_bytes(), value.as_bytes())?;
        }
        self.take(b"\r\n".len())?;
        self.head_end(b'\n')?;
        if self.is_held() { syntax("the head asks for an upgrade") } else { Ok(()) }
    }

    /// In origin form, or an asterisk: the other forms name what a decoded head has beside its target.
    fn request_line(&mut self, method: &str, target: &str) -> Result<(), Malformed> {
        if method.len() > MAX_METHOD || !method.bytes().all(is_method) {
            return syntax("the method is not an upper-case token");
        }
        let is_path = target.starts_with('/') && method != "CONNECT";
        if !is_path && (method, target) != ("OPTIONS", "*") {
            return syntax("the request target is neither a path nor an asterisk");
        }
        if target.len() > MAX_TARGET {
            return syntax("the request target is too long");
        }
        if !target.bytes().all(is_target) {
            return syntax("a byte in the request target is not allowed there");
        }
        self.take(method.len() + b" ".len() + target.len() + b" HTTP/1.1\r\n".len())
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        if value.trim_ascii().len() != value.len() {
            return syntax("a header's value begins or ends with white space");
        }
        if self.headers == self.max_headers {
            return Err(Malformed::TooLarge("too many headers"));
        }
        if name.len() > MAX_NAME {
            return Err(Malformed::TooLarge("a header name is too long"));
        }
        self.headers += 1;
        self.take(name.len() + b": ".len() + value.len() + b"\r\n".len())?;
        self.interest = Interest::in_name(name)?;
        if self.interest == Interest::None {
            return Ok(());
        }
        self.forget();
        self.remember(value);
        self.len = value.len();
        self.field_done()
    }

    /// Counts bytes of the head, if it may have them.
    fn take(&mut self, bytes: usize) -> Result<(), Malformed> {
        if bytes > self.max_head_bytes - self.head_bytes {
            return Err(Malformed::TooLarge(TOO_LARGE));
        }
        self.head_bytes += bytes;
        Ok(())
    }
}
