//! A request as it is written on a command line, brought into the form in which one arrives.
//!
//! What holds: it is judged by the framing that judges every connection, byte for byte as a client
//! would send it, before it counts as a request.

use http::{HeaderName, HeaderValue, Method, Request};

use crate::access::rejection::{Code, Rejection};
use crate::config::Limits;
use crate::server::framing::{Framing, Stop};

/// What was asked for, not judged yet.
#[derive(Debug, Clone)]
pub struct Asked {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    /// Whether the client speaks TLS to whoever is in front.
    pub https: bool,
}

/// Why arguments are no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRequest {
    #[error("{0:?} is neither an http or https URL nor a path, which begins with a slash")]
    Url(String),
    #[error("a path alone names no host: give the whole URL, or the host with -H 'Host: app.example.com'")]
    NoHost,
    /// Without the value, which may be a credential.
    #[error("header {0} is not written as 'Name: value'")]
    Header(usize),
    #[error("a line break stands in the method, the URL or a header")]
    LineBreak,
}

impl Asked {
    /// From a method, a URL (or a path as it is asked for) and headers as `Name: value`. A `Host`
    /// among the headers wins over the URL's, as with other clients; `default_host` is for a path
    /// without either.
    ///
    /// # Errors
    /// When it cannot be written as a request at all. What is written and malformed is for
    /// [`read`](Self::read) to refuse.
    pub fn new(
        method: &str,
        url: &str,
        headers: &[String],
        default_host: Option<&str>,
    ) -> Result<Self, NoRequest> {
        let all = headers.iter().map(String::as_str).chain([method, url]);
        if all.into_iter().any(|text| text.contains(['\r', '\n'])) {
            return Err(NoRequest::LineBreak);
        }
        let mut written = Vec::new();
        for (index, header) in headers.iter().enumerate() {
            let (name, value) = header.split_once(':').ok_or(NoRequest::Header(index + 1))?;
            written.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        let (https, host, target) = split(url).ok_or_else(|| NoRequest::Url(url.to_owned()))?;
        if !written.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            let host = host.or(default_host).ok_or(NoRequest::NoHost)?;
            written.insert(0, ("Host".to_owned(), host.to_owned()));
        }
        Ok(Self { method: method.to_owned(), target, headers: written, https })
    }

    /// Method and target, for display.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path()).escape_debug().to_string()
    }

    /// The target without its query, where a credential may stand.
    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The request, if its bytes are one.
    ///
    /// # Errors
    /// `bad_request` or `header_too_large`, as the connection would be answered.
    pub fn read(&self, limits: &Limits) -> Result<Request<()>, Rejection> {
        let mut framing = Framing::new(limits.header_bytes, limits.headers);
        match framing.judge(&self.bytes()).stop {
            Stop::None | Stop::Hold => {}
            Stop::Malformed(malformed) => return Err(malformed.rejection()),
        }
        self.parsed().ok_or(Rejection::new(Code::BadRequest, "the head is not one of HTTP/1.1"))
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    fn parsed(&self) -> Option<Request<()>> {
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(self.method.as_bytes()).ok()?;
        *request.uri_mut() = self.target.parse().ok()?;
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
        }
        Some(request)
    }
}

/// Whether it is https, the host, and the target that a client would send: an absolute URL loses
/// its fragment, a path stays as it stands.
fn split(url: &str) -> Option<(bool, Option<&str>, String)> {
    if url.starts_with('/') {
        return Some((false, None, url.to_owned()));
    }
    let (scheme, rest) = url.split_once("://")?;
    let https = scheme.eq_ignore_ascii_case("https");
    if !https && !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let slash = if target.starts_with('/') { "" } else { "/" };
    (!host.is_empty()).then(|| (https, Some(host), format!("{slash}{target}")))
}

#[cfg(test)]
mod tests {

    use super::*;

    const LIMITS: Limits = Limits {
        header_bytes: 4096,
        headers: 8,
        body: 0,
        connections: 1,
        connections_per_address: None,
        min_rate: None,
    };

    fn asked(url: &str, headers: &[&str]) -> Result<Asked, NoRequest> {
        let headers: Vec<String> = headers.iter().map(|header| (*header).to_owned()).collect();
        Asked::new("GET", url, &headers, None)
    }

    #[test]
    fn a_url_is_asked_for_as_clients_do() {
        for (url, headers, https, host, target) in [
            ("https://app.test/a?x=1#part", &[][..], true, "app.test", "/a?x=1"),
            ("HTTP://app.test:8080", &[], false, "app.test:8080", "/"),
            ("http://app.test?x=/", &[], false, "app.test", "/?x=/"),
            ("http://app.test/%61/../b", &[], false, "app.test", "/%61/../b"),
            ("http://127.0.0.1:8080/", &["host:  app.test "], false, "app.test", "/"),
            ("/a//b", &["Host: app.test"], false, "app.test", "/a//b"),
        ] {
            let asked = asked(url, headers).unwrap();
            let request = asked.read(&LIMITS).unwrap();
            assert_eq!((asked.https, request.headers()["host"].to_str().unwrap()), (https, host), "{url}");
            assert_eq!(request.uri().to_string(), target, "{url}");
        }
    }

    #[test]
    fn what_is_no_request_is_told() {
        for url in ["", "app.test/a", "ftp://app.test/", "http:///a", "*"] {
            assert_eq!(asked(url, &[]).unwrap_err(), NoRequest::Url(url.to_owned()));
        }
        assert_eq!(asked("/a", &[]).unwrap_err(), NoRequest::NoHost);
        assert_eq!(asked("/a", &["Host: a", "Cookie"]).unwrap_err(), NoRequest::Header(2));
        assert_eq!(asked("/a", &["Host: a\r\nX: y"]).unwrap_err(), NoRequest::LineBreak);
        assert!(Asked::new("GET", "/a", &[], Some("app.test")).is_ok());
    }

    #[test]
    fn what_the_connection_would_refuse_is_refused() {
        for (url, headers, code) in [
            ("/a#b", &["Host: a"][..], Code::BadRequest),
            ("/a b", &["Host: a"], Code::BadRequest),
            ("/a", &["Host: a", "Host: a"], Code::BadRequest),
            ("/a", &["Host: a", "X Y: z"], Code::BadRequest),
            ("/a", &["Host: a", "Content-Length: 1", "Transfer-Encoding: chunked"], Code::BadRequest),
            ("/a", &["Host: a", "A:", "A:", "A:", "A:", "A:", "A:", "A:", "A:"], Code::HeaderTooLarge),
        ] {
            let refused = asked(url, headers).unwrap().read(&LIMITS).unwrap_err();
            assert_eq!(refused.code, code, "{url} {headers:?}: {}", refused.reason);
        }
    }
}
