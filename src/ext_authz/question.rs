//! The request that a check is about, as the proxy would have read it from the wire.
//!
//! What holds: a check says most things twice (its fields, pseudo-headers among the headers, `Host`),
//! and one whose fields say different things is refused, because what is judged and what Envoy
//! forwards would be two requests. Bytes are held to what the proxy takes.

use std::net::IpAddr;
use std::str;

use http::header::{Entry, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use super::proto::envoy::config::core::v3::HeaderValue as Pair;
use super::proto::envoy::service::auth::v3::CheckRequest;
use super::proto::envoy::service::auth::v3::attribute_context::HttpRequest;
use crate::access::host;
use crate::access::rejection::{Code, Rejection};
use crate::config::Limits;
use crate::proxy;
use crate::server::framing::Framing;

/// What a check asks about.
#[derive(Default)]
pub(super) struct Question {
    /// With `Host`, and a target in origin form.
    pub(super) head: Request<()>,
    pub(super) https: bool,
}

const fn no<T>(reason: &'static str) -> Result<T, Rejection> {
    Err(Rejection::new(Code::BadRequest, reason))
}

/// Envoy's peer; None where that has no address (a socket file, a listener inside Envoy).
///
/// # Errors
/// `bad_request` when it has something else in the place of one.
pub(super) fn source(request: &CheckRequest) -> Result<Option<IpAddr>, Rejection> {
    let source = request.attributes.as_ref().and_then(|attributes| attributes.source.as_ref());
    let address = source.and_then(|source| source.address.as_ref());
    let Some(socket) = address.and_then(|address| address.socket_address.as_ref()) else {
        return Ok(None);
    };
    socket.address.parse().map(Some).or(no("the source of the check is no IP address"))
}

/// Reads a check.
///
/// # Errors
/// `bad_request` when it lacks something, disagrees with itself or holds what no request may;
/// `method_not_allowed`; `header_too_large`.
pub(super) fn read(request: CheckRequest, limits: &Limits) -> Result<Question, Rejection> {
    let Some(attributes) = request.attributes else { return no("the check has no attributes") };
    let Some(http) = attributes.request.and_then(|request| request.http) else {
        return no("the check is about no HTTP request");
    };
    let method = method(&http.method)?;
    proxy::may_be_forwarded(&method)?;
    let uri = target(&http, &method)?;
    let mut head = Request::new(());
    *head.headers_mut() = headers(&http, limits)?;
    *head.method_mut() = method;
    *head.uri_mut() = uri;
    Ok(Question { head, https: http.scheme.eq_ignore_ascii_case("https") })
}

fn method(text: &str) -> Result<Method, Rejection> {
    Method::from_bytes(text.as_bytes()).or(no("the method of the check is no token"))
}

/// Envoy leaves `query` and `fragment` empty; the path holds the query.
fn target(http: &HttpRequest, method: &Method) -> Result<Uri, Rejection> {
    if !http.fragment.is_empty() || http.path.contains('#') {
        return no("the check names a fragment");
    }
    let asterisk = http.path == "*" && *method == Method::OPTIONS;
    if !http.path.starts_with('/') && !asterisk {
        return no("the path of the check does not begin with a slash");
    }
    if Framing::judge_told(method.as_str(), &http.path).is_err() {
        return no("the method or path of the check is malformed");
    }
    let query = http.path.split_once('?').map_or("", |(_, query)| query);
    if !http.query.is_empty() && http.query != query {
        return no("the check names two queries");
    }
    Uri::try_from(&http.path).or(no("the path of the check cannot be read"))
}

fn headers(http: &HttpRequest, limits: &Limits) -> Result<HeaderMap, Rejection> {
    let (pairs, joined) = match &http.header_map {
        Some(_) if !http.headers.is_empty() => return no("the check gives its headers twice"),
        Some(raw) => (&raw.headers, false),
        None => (&http.headers, true),
    };
    let Ok(named) = host::parse(http.host.as_bytes()) else { return no("the check names no host") };
    let size = |pair: &Pair| pair.key.len() + pair.value.len() + pair.raw_value.len() + ": \r\n".len();
    if pairs.len() > limits.headers || pairs.iter().map(size).sum::<usize>() > limits.header_bytes {
        return Err(Rejection::new(Code::HeaderTooLarge, "the headers of the check are over the limit"));
    }
    let mut headers = HeaderMap::with_capacity(pairs.len() + 1);
    headers.insert(HOST, HeaderValue::from_str(&http.host).or(no("the check names no host"))?);
    for pair in pairs {
        let value = value(pair)?;
        if pair.key.starts_with(':') {
            agrees(&pair.key, value, http)?;
            continue;
        }
        let Ok(name) = HeaderName::from_bytes(pair.key.as_bytes()) else {
            return no("the name of a header in the check is no token");
        };
        if name == HOST {
            if host::parse(value.as_bytes()).ok().as_ref() != Some(&named) {
                return no("the check and its Host name different hosts");
            }
            continue;
        }
        let Ok(value) = HeaderValue::from_str(value) else {
            return no("a byte in a header of the check is not allowed there");
        };
        match headers.entry(name) {
            Entry::Occupied(_) if joined => return no("a header stands twice in a map of the check"),
            Entry::Occupied(mut known) => known.append(value),
            Entry::Vacant(new) => {
                new.insert(value);
            }
        }
    }
    Ok(headers)
}

/// The value of a header. One that is not UTF-8 is refused: what Envoy shows of it by other ways, it
/// has made up (CVE-2024-23324).
fn value(pair: &Pair) -> Result<&str, Rejection> {
    if pair.raw_value.is_empty() {
        return Ok(&pair.value);
    }
    if !pair.value.is_empty() {
        return no("a header of the check has two values");
    }
    str::from_utf8(&pair.raw_value).or(no("a header of the check is not UTF-8"))
}

/// Whether a pseudo-header says what the field beside it does.
fn agrees(name: &str, value: &str, http: &HttpRequest) -> Result<(), Rejection> {
    match name {
        ":method" if value != http.method => no("the check names two methods"),
        ":path" if value != http.path => no("the check names two paths"),
        ":authority" if host::parse(value.as_bytes()).ok() != host::parse(http.host.as_bytes()).ok() => {
            no("the check names two hosts")
        }
        ":scheme" if !http.scheme.is_empty() && !value.eq_ignore_ascii_case(&http.scheme) => {
            no("the check names two schemes")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::proto::envoy::config::core::v3::HeaderMap as Raw;
    use super::super::proto::envoy::service::auth::v3::AttributeContext;
    use super::super::proto::envoy::service::auth::v3::attribute_context::Request as Asked;
    use super::*;
    use crate::proxy::target;

    const LIMITS: Limits = Limits {
        header_bytes: 4096,
        headers: 8,
        body: 0,
        connections: 1,
        connections_per_address: None,
        min_rate: None,
    };

    fn name() -> impl Strategy<Value = String> {
        let known = ["host", ":path", ":authority", ":method", "cookie", "x-stytch-roles", "a"];
        prop_oneof![prop::sample::select(known.to_vec()).prop_map(str::to_owned), ".{0,4}"]
    }

    fn pair() -> impl Strategy<Value = Pair> {
        let value =
            prop_oneof![Just("app.test".to_owned()), Just("/a".to_owned()), ".{0,4}".prop_map(String::from)];
        let raw = prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 0..4)];
        (name(), value, raw).prop_map(|(key, value, raw)| Pair { key, value, raw_value: raw.into() })
    }

    proptest! {
        /// Whatever comes, it is refused or one plain request that says nothing twice.
        #[test]
        fn any_check_is_refused_or_one_request(
            method in "GET|POST|get|.{0,3}",
            path in "/a|/%61\\?q|.{0,6}",
            host in "app.test|APP.test|.{0,4}",
            pairs in prop::collection::vec(pair(), 0..6),
            raw: bool,
        ) {
            let mut http = HttpRequest { method, path, host, ..HttpRequest::default() };
            if raw {
                http.header_map = Some(Raw { headers: pairs });
            } else {
                http.headers = pairs;
            }
            let (method, path, host) = (http.method.clone(), http.path.clone(), http.host.clone());
            let request = Some(Asked { http: Some(http) });
            let check = CheckRequest { attributes: Some(AttributeContext { source: None, request }) };
            if let Ok(question) = read(check, &LIMITS) {
                let head = &question.head;
                prop_assert_eq!(head.method().as_str(), method);
                prop_assert_eq!(head.uri().to_string(), path);
                prop_assert_eq!(head.headers().get_all(HOST).iter().collect::<Vec<_>>(), [host.as_str()]);
                prop_assert!(head.headers().values().all(|value| str::from_utf8(value.as_bytes()).is_ok()));
                let _judged_or_refused = target::read(head.method(), head.uri(), head.headers());
            }
        }
    }
}
