//! A request in the form that the protocol of its connection asks for.

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Uri, Version, header};

use super::body::Outgoing;

/// Gives a request the form of HTTP/2 (RFC 9113 section 8.3.1): its host becomes part of the target.
pub(super) fn for_http2(request: &mut Request<Outgoing>, is_secure: bool, fallback: &HeaderValue) {
    let headers = request.headers_mut();
    headers.remove(header::TRANSFER_ENCODING);
    let host = headers.remove(header::HOST);
    let authority = |value: &HeaderValue| Authority::try_from(value.as_bytes()).ok();
    let authority = host.as_ref().and_then(authority).or_else(|| authority(fallback));
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if is_secure { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = authority;
    // It has all three parts, and what makes them up was parsed already.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_2;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_becomes_part_of_the_target() {
        let fallback = HeaderValue::from_static("app.internal:81");
        for (host, is_secure, expected) in [
            (Some("app.test"), true, "https://app.test/a?b=c"),
            (Some("app.test:8080"), false, "http://app.test:8080/a?b=c"),
            (Some(""), false, "http://app.internal:81/a?b=c"),
            (None, false, "http://app.internal:81/a?b=c"),
        ] {
            let mut request = Request::new(Outgoing::empty());
            *request.uri_mut() = "/a?b=c".parse().unwrap();
            request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            if let Some(host) = host {
                request.headers_mut().insert(header::HOST, HeaderValue::from_static(host));
            }
            for_http2(&mut request, is_secure, &fallback);
            assert_eq!(request.uri().to_string(), expected);
            assert!(request.headers().is_empty() && request.version() == Version::HTTP_2);
        }
    }
}
