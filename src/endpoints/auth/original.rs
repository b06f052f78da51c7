//! The request that a proxy in front asks about, rebuilt from what the proxy says of it.
//!
//! What holds: it is said in one way, completely, or the request is refused; what is said is read
//! by the same functions that read a request of our own, and as strictly.

use std::borrow::Cow;

use http::uri::{Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header, request};

use crate::access::rejection::{Code, Rejection};
use crate::client;
use crate::proxy::{may_be_forwarded, target};
use crate::server::framing::Framing;

const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
/// Where ingress-nginx keeps the list that it was sent.
const ORIGINAL_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-original-forwarded-for");
const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// How a proxy says what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// nginx: `X-Original-Method` and `X-Original-URL`.
    Original,
    /// Traefik and Caddy: `X-Forwarded-{Method,Proto,Host,Uri}`.
    Forwarded,
    /// Envoy's `ext_authz` over HTTP: the request line itself, with a prefix before the path.
    Prefixed,
}

/// What a client asked of the proxy that asks us.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Original {
    pub(super) method: Method,
    /// Whether the client spoke TLS. None where the proxy says so in `X-Forwarded-Proto` alone.
    pub(super) https: Option<bool>,
    /// As the client named it, with a port where it named one.
    pub(super) authority: HeaderValue,
    /// See [`crate::access::RequestHead`].
    pub(super) host: String,
    pub(super) path: String,
    pub(super) encoded_slash: bool,
    pub(super) query: Option<String>,
}

impl Original {
    /// `below` is what follows the prefix in a request of Envoy's, from its first slash.
    ///
    /// # Errors
    /// `bad_request`, `ambiguous_path` or `method_not_allowed`.
    pub(super) fn read(asking: &request::Parts, below: Option<&str>) -> Result<Self, Rejection> {
        let headers = &asking.headers;
        let dialect = Dialect::of(headers, below)?;
        if headers.keys().any(|name| client::names_another_target(name) && !dialect.uses(name)) {
            return no("a header names another target and cannot be taken out");
        }
        match (dialect, below) {
            (Dialect::Original, _) => {
                let method = single(headers, &ORIGINAL_METHOD)?;
                let url = single(headers, &ORIGINAL_URL)?;
                let uri = read_line(method, url)?;
                let Some(authority) = uri.authority() else {
                    return no("X-Original-URL is not absolute");
                };
                let authority = HeaderValue::try_from(authority.as_str());
                let authority = authority.or(no("X-Original-URL names no host"))?;
                let https = uri.scheme() == Some(&Scheme::HTTPS);
                Self::judged(method, Some(https), authority, uri)
            }
            (Dialect::Forwarded, _) => {
                let proto = single(headers, &FORWARDED_PROTO)?;
                if !["http", "https", "ws", "wss"].contains(&proto) {
                    return no("X-Forwarded-Proto is no scheme of the web");
                }
                let method = single(headers, &FORWARDED_METHOD)?;
                let host = single(headers, &FORWARDED_HOST)?;
                let uri = single(headers, &FORWARDED_URI)?;
                if !uri.starts_with('/') {
                    return no("X-Forwarded-Uri does not begin with a slash");
                }
                let host = HeaderValue::try_from(host).or(no("X-Forwarded-Host is no host"))?;
                let https = ["https", "wss"].contains(&proto);
                Self::judged(method, Some(https), host, read_line(method, uri)?)
            }
            (Dialect::Prefixed, Some(below)) => {
                let query = asking.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
                let uri = read_line(asking.method.as_str(), &format!("{below}{query}"))?;
                let host = headers.get(header::HOST).cloned();
                let host = host.unwrap_or(HeaderValue::from_static(""));
                Self::judged(asking.method.as_str(), None, host, uri)
            }
            (Dialect::Prefixed, None) => no("no original request is named"),
        }
    }

    /// Path and query, as they are judged.
    pub(super) fn target(&self) -> Cow<'_, str> {
        let with = |query| Cow::Owned(format!("{}?{query}", self.path));
        self.query.as_deref().map_or(Cow::Borrowed(&*self.path), with)
    }

    /// Reads it as the proxy door reads a request of its own.
    fn judged(
        method: &str,
        https: Option<bool>,
        authority: HeaderValue,
        uri: Uri,
    ) -> Result<Self, Rejection> {
        let method = Method::from_bytes(method.as_bytes()).or(no("the original method is none"))?;
        may_be_forwarded(&method)?;
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request.headers_mut().insert(header::HOST, authority);
        let (parts, ()) = request.into_parts();
        let target = target::read(&parts.method, &parts.uri, &parts.headers)?;
        let (host, path) = (target.host.into_owned(), target.path.into_owned());
        let (encoded_slash, query) = (target.encoded_slash, target.query.map(str::to_owned));
        let authority = parts.headers.get(header::HOST).cloned();
        Ok(Self {
            method: parts.method,
            https,
            authority: authority.unwrap_or(HeaderValue::from_static("")),
            host,
            path,
            encoded_slash,
            query,
        })
    }

    /// Makes the headers of the proxy's question those that the client sent, as far as a decision
    /// looks at them.
    pub(super) fn restore(&self, headers: &mut HeaderMap) {
        headers.insert(header::HOST, self.authority.clone());
        // `Upgrade` concerns one hop, so most proxies leave it out of their question. What every
        // browser sends with a WebSocket handshake, and no page can, goes further.
        if headers.contains_key(header::SEC_WEBSOCKET_KEY) {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
    }
}

impl Dialect {
    /// A client can send the headers of the dialect that its proxy does not speak: so what names
    /// a request in two ways names none.
    fn of(headers: &HeaderMap, below: Option<&str>) -> Result<Self, Rejection> {
        let any = |names: [HeaderName; 2]| names.iter().any(|name| headers.contains_key(name));
        let original = any([ORIGINAL_METHOD, ORIGINAL_URL]);
        let forwarded = any([FORWARDED_METHOD, FORWARDED_URI]);
        match (below, original, forwarded) {
            (None, true, false) => Ok(Self::Original),
            (None, false, true) => Ok(Self::Forwarded),
            (Some(_), false, false) => Ok(Self::Prefixed),
            (None, false, false) => no("no original request is named"),
            _ => no("the original request is named in two ways"),
        }
    }

    fn uses(self, name: &HeaderName) -> bool {
        match self {
            // What proxies further out say of the client is not believed here, and names no target.
            _ if [header::FORWARDED, ORIGINAL_FORWARDED_FOR].contains(name) => true,
            Self::Original => [ORIGINAL_METHOD, ORIGINAL_URL].contains(name),
            Self::Forwarded => [FORWARDED_METHOD, FORWARDED_URI].contains(name),
            Self::Prefixed => false,
        }
    }
}

/// A request line that was told, as strictly as one that was sent.
fn read_line(method: &str, target: &str) -> Result<Uri, Rejection> {
    Framing::judge_told(method, target)
        .map_err(|_| Rejection::new(Code::BadRequest, "the original request line is malformed"))?;
    Uri::try_from(target).or(no("the original target is no URI"))
}

/// The value of a field that must stand once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, Rejection> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        (None, _) => no("the original request is not named completely"),
        _ => no("a part of the original request is named twice, or not in ASCII"),
    }
}

const fn no<T>(reason: &'static str) -> Result<T, Rejection> {
    Err(Rejection::new(Code::BadRequest, reason))
}

#[cfg(test)]
mod tests;
