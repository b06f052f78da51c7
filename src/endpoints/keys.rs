//! `/keys`: the public halves of the keys that sign assertions, for whoever verifies them.
//!
//! What holds: nobody has to prove anything to read them, and nothing private is among them.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};

use crate::access::rejection::{Code, Rejection};
use crate::passage::Passage;
use crate::reply::Reply;

/// How long a copy may be kept: what a new key has to stand in the file for before it may sign.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=300");
/// RFC 7517 section 8.5.1.
const JWK_SET: HeaderValue = HeaderValue::from_static("application/jwk-set+json");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// Answers whoever asks.
pub(super) fn serve(mut passage: Passage, method: &Method, headers: &http::HeaderMap) -> Response<Reply> {
    let keys = passage.site().config.identity.assertion.as_ref().map(|assertion| assertion.keys.published());
    let Some(keys) = keys.map(|keys| Bytes::copy_from_slice(keys.as_bytes())) else {
        return passage.refuse(&Rejection::new(Code::NoRoute, "assertions are off"), method, headers);
    };
    if ![Method::GET, Method::HEAD].contains(method) {
        let rejection = Rejection::new(Code::MethodNotAllowed, "keys can only be read");
        let mut response = passage.refuse(&rejection, method, headers);
        response.headers_mut().insert(header::ALLOW, METHODS);
        return response;
    }
    passage.exchange.served();
    let mut response = Response::new(keys);
    response.headers_mut().insert(header::CONTENT_TYPE, JWK_SET);
    response.headers_mut().insert(header::CACHE_CONTROL, CACHED);
    passage.own(response)
}
