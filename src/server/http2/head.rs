//! A request of HTTP/2 as one of HTTP/1.1, which is what is judged and forwarded.
//!
//! What holds: a head passes only if, written down in HTTP/1.1, it is one that the framing takes, so
//! that no name or value can become a line of its own on the way (ATTACKS.md H09); `:authority` and
//! `Host` name one host; the target is in origin form.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use hyper::ext::Protocol;

use crate::access::host;
use crate::access::rejection::{Code, Rejection};
use crate::config::Limits;
use crate::proxy::tunnel::Handshake;
use crate::server::framing::{Framing, Malformed};

const fn no<T>(reason: &'static str) -> Result<T, Rejection> {
    Err(Rejection::new(Code::BadRequest, reason))
}

/// Turns a head into what the same request would be in HTTP/1.1.
///
/// # Errors
/// `bad_request`, `header_too_large`, or `misdirected_request` for another scheme than the
/// connection's.
pub(super) fn translate(parts: &mut Parts, limits: &Limits) -> Result<(), Rejection> {
    let opens_websocket = parts.method == Method::CONNECT;
    if opens_websocket && !asks_for_websocket(parts) {
        // Is refused for what it is, and may have no path.
        return Ok(());
    }
    if opens_websocket {
        parts.method = Method::GET;
    }
    if parts.uri.scheme_str().is_some_and(|scheme| !scheme.eq_ignore_ascii_case("https")) {
        return Err(Rejection::new(Code::MisdirectedRequest, "the scheme is not that of the connection"));
    }
    name_host(&parts.uri, &mut parts.headers)?;
    join_cookies(&mut parts.headers);
    let Some(target) = parts.uri.path_and_query().cloned() else { return no("the request has no path") };
    if parts.headers.keys().any(is_of_a_connection) {
        return no("a header that concerns one connection of HTTP/1.1");
    }
    Framing::new(limits.header_bytes, limits.headers)
        .judge_head(&parts.method, &target, &parts.headers)
        .map_err(Malformed::rejection)?;
    parts.uri = Uri::from(target);
    if opens_websocket {
        Handshake::begin(parts)?;
    }
    // What was nothing but a fragment is empty by now, and reads as a slash only until here.
    if parts.uri.path().is_empty() { no("the request has no path") } else { Ok(()) }
}

/// Whether a CONNECT is one for a WebSocket (RFC 8441 section 5), and for nothing else.
fn asks_for_websocket(parts: &Parts) -> bool {
    parts.extensions.get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// RFC 9113 section 8.2.2. h2 refuses them as well.
fn is_of_a_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "transfer-encoding" | "upgrade" | "keep-alive" | "proxy-connection"
    )
}

/// RFC 9113 section 8.3.1.
fn name_host(uri: &Uri, headers: &mut HeaderMap) -> Result<(), Rejection> {
    let Some(authority) = uri.authority() else { return Ok(()) };
    let named = host::parse(authority.as_str().as_bytes())?;
    let mut others = headers.get_all(header::HOST).iter();
    if !others.all(|other| host::parse(other.as_bytes()).is_ok_and(|other| other == named)) {
        return no(":authority and Host name different hosts");
    }
    let Ok(value) = HeaderValue::from_str(authority.as_str()) else { return no("the authority is no host") };
    headers.insert(header::HOST, value);
    Ok(())
}

/// RFC 9113 section 8.2.3: a client may send each cookie in a field of its own.
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(mut joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        joined.set_sensitive(true);
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http::uri::PathAndQuery;
    use proptest::prelude::*;

    use super::*;
    use crate::server::framing::Stop;

    const LIMITS: Limits = Limits {
        header_bytes: 512,
        headers: 8,
        body: 0,
        connections: 1,
        connections_per_address: None,
        min_rate: None,
    };

    fn translated(uri: &str, headers: &[(&str, &str)]) -> Result<Parts, Rejection> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        translate(&mut parts, &LIMITS).map(|()| parts)
    }

    #[test]
    fn one_host_is_named() {
        for (uri, host, expected) in [
            ("https://app.test/a?b", None, Some("app.test")),
            ("https://app.test/a?b", Some("APP.test"), Some("app.test")),
            ("https://app.test/a?b", Some("other.test"), None),
            ("https://app.test/a?b", Some("app.test:1"), None),
            ("https://me@app.test/a?b", None, None),
            ("/a?b", Some("app.test"), Some("app.test")),
            ("/a?b", None, None),
        ] {
            let host: Vec<_> = host.map(|host| ("host", host)).into_iter().collect();
            let parts = translated(uri, &host);
            let named = parts.as_ref().ok().map(|parts| parts.headers["host"].to_str().unwrap());
            assert_eq!(named, expected, "{uri} {host:?}");
            assert!(parts.is_err() || parts.unwrap().uri == "/a?b");
        }
        let other = translated("http://app.test/", &[]).map(|_| ()).unwrap_err();
        assert_eq!(other.code, Code::MisdirectedRequest);
    }

    #[test]
    fn what_is_no_head_of_http_1_is_refused() {
        for (headers, code) in [
            (&[("a", " b")][..], Code::BadRequest),
            (&[("a", "b\t")], Code::BadRequest),
            (&[("content-length", "1"), ("content-length", "1")], Code::BadRequest),
            (&[("content-length", "+1")], Code::BadRequest),
            (&[("transfer-encoding", "gzip")], Code::BadRequest),
            (&[("transfer-encoding", "chunked")], Code::BadRequest),
            (&[("upgrade", "websocket"), ("connection", "upgrade")], Code::BadRequest),
            (
                &[
                    ("a", "1"),
                    ("b", "1"),
                    ("c", "1"),
                    ("d", "1"),
                    ("e", "1"),
                    ("f", "1"),
                    ("g", "1"),
                    ("h", "1"),
                ],
                Code::HeaderTooLarge,
            ),
        ] {
            let refused = translated("https://app.test/", headers).map(|_| ());
            let refused = refused.expect_err(&format!("{headers:?}"));
            assert_eq!(refused.code, code, "{headers:?}");
        }
    }

    #[test]
    fn cookies_are_one_field() {
        let parts = translated("https://app.test/", &[("cookie", "a=1"), ("cookie", "b=2")]).unwrap();
        assert_eq!(parts.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }

    proptest! {
        #[test]
        fn whatever_passes_is_one_head(path in "[ -~]{0,12}", name in "[a-z-]{1,6}", value in prop::collection::vec(any::<u8>(), 0..12)) {
            let (Ok(target), Ok(value)) = (PathAndQuery::try_from(path.as_str()), HeaderValue::from_bytes(&value)) else { return Ok(()) };
            let mut request = Request::new(());
            *request.uri_mut() = Uri::builder().scheme("https").authority("app.test").path_and_query(target).build().unwrap();
            request.headers_mut().append(HeaderName::try_from(name).unwrap(), value);
            let mut parts = request.into_parts().0;
            if translate(&mut parts, &LIMITS).is_ok() {
                prop_assert!(parts.uri.path().starts_with('/'));
                let mut text = format!("{} {} HTTP/1.1\r\n", parts.method, parts.uri).into_bytes();
                for (name, value) in &parts.headers {
                    text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
                }
                text.extend(b"\r\n");
                let mut framing = Framing::new(LIMITS.header_bytes, LIMITS.headers);
                prop_assert_eq!(framing.judge(&text).stop, Stop::None, "{}", text.escape_ascii());
                prop_assert_eq!(framing.messages(), 1);
            }
        }
    }
}
