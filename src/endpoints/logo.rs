//! `/logo`: the image on the sign-in pages.
//!
//! What holds: it is what its bytes are and nothing a browser guesses; a script in it is dead, also
//! for whoever opens it as a page of its own; a copy is kept under the address of its very bytes.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};

use crate::access::rejection::{Code, Rejection};
use crate::passage::Passage;
use crate::reply::Reply;

const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=86400");
/// Of another version than was asked for, as while replicas change over.
const NOT_CACHED: HeaderValue = HeaderValue::from_static("no-store");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");
const FIXED: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Answers whoever asks.
pub(super) fn serve<B>(mut passage: Passage, request: &Request<B>) -> Response<Reply> {
    let (method, headers) = (request.method(), request.headers());
    let Some(logo) = passage.site().config.signin.brand.logo.clone() else {
        return passage.refuse(&Rejection::new(Code::NoRoute, "there is no logo"), method, headers);
    };
    if ![Method::GET, Method::HEAD].contains(method) {
        let rejection = Rejection::new(Code::MethodNotAllowed, "a logo can only be read");
        let mut response = passage.refuse(&rejection, method, headers);
        response.headers_mut().insert(header::ALLOW, METHODS);
        return response;
    }
    passage.exchange.served();
    let asked = request.uri().query().and_then(|query| query.strip_prefix("v="));
    let mut response = Response::new(Bytes::clone(&logo.image));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(logo.media_type));
    let is_this = asked == Some(logo.version.as_str());
    headers.insert(header::CACHE_CONTROL, if is_this { CACHED } else { NOT_CACHED });
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    passage.own(response)
}
