//! `/device.js`: the gateway's own script on the sign-in pages, there where `signin.device` is.
//!
//! What holds: it is the same for everybody, and runs on pages of this very origin alone.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};

use crate::access::rejection::{Code, Rejection};
use crate::passage::Passage;
use crate::reply::Reply;

const SCRIPT: &str = include_str!("device.js");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");
const FIXED: [(HeaderName, &str); 4] = [
    (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
    (header::CACHE_CONTROL, "public, max-age=3600"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Answers whoever asks.
pub(super) fn serve<B>(mut passage: Passage, request: &Request<B>) -> Response<Reply> {
    let (method, headers) = (request.method(), request.headers());
    if ![Method::GET, Method::HEAD].contains(method) {
        let rejection = Rejection::new(Code::MethodNotAllowed, "a script can only be read");
        let mut response = passage.refuse(&rejection, method, headers);
        response.headers_mut().insert(header::ALLOW, METHODS);
        return response;
    }
    passage.exchange.served();
    let mut response = Response::new(Bytes::from_static(SCRIPT.as_bytes()));
    for (name, value) in FIXED {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    passage.own(response)
}
