//! A request in the form that the protocol of its connection asks for.

use http::uri::{self, Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri, Version, header};

use super::body::Outgoing;
use crate::fields::Fields;

/// A request as it is to go to an upstream, whatever protocol that speaks.
pub struct Outbound<'r> {
    pub method: &'r Method,
    /// In origin form; none is `/`.
    pub target: Option<&'r PathAndQuery>,
    /// Without those of one hop. Where the body ends is not theirs to say.
    pub headers: Fields<'r>,
    pub body: Outgoing,
}

/// Gives a request the form of HTTP/2 (RFC 9113 section 8.3.1): its host becomes part of the target.
/// Takes the body, and leaves the rest.
pub(super) fn for_http2(
    outbound: &mut Outbound<'_>,
    is_secure: bool,
    fallback: &HeaderValue,
) -> Request<Outgoing> {
    let mut request = Request::new(std::mem::replace(&mut outbound.body, Outgoing::empty()));
    let mut headers = outbound.headers.to_map();
    let host = headers.remove(header::HOST);
    let authority = |value: &HeaderValue| Authority::try_from(value.as_bytes()).ok();
    let mut parts = uri::Parts::default();
    parts.scheme = Some(if is_secure { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = host.as_ref().and_then(authority).or_else(|| authority(fallback));
    parts.path_and_query = Some(outbound.target.cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    // It has all three parts, and what makes them up was parsed already.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.method_mut() = outbound.method.clone();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    request
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::fields::Headers as _;

    #[test]
    fn the_host_becomes_part_of_the_target() {
        let fallback = HeaderValue::from_static("app.internal:81");
        for (host, is_secure, expected) in [
            (Some("app.test"), true, "https://app.test/a?b=c"),
            (Some("app.test:8080"), false, "http://app.test:8080/a?b=c"),
            (Some(""), false, "http://app.internal:81/a?b=c"),
            (None, false, "http://app.internal:81/a?b=c"),
        ] {
            let mut headers = Fields::default();
            if let Some(host) = host {
                headers.add(Cow::Owned(header::HOST), Cow::Owned(HeaderValue::from_static(host)));
            }
            let target = PathAndQuery::from_static("/a?b=c");
            let mut outbound =
                Outbound { method: &Method::GET, target: Some(&target), headers, body: Outgoing::empty() };
            let request = for_http2(&mut outbound, is_secure, &fallback);
            assert_eq!(request.uri().to_string(), expected);
            assert!(request.headers().is_empty() && request.version() == Version::HTTP_2);
        }
    }
}
