//! Protected resource metadata (RFC 9728), for OAuth clients that look for where to get a token.
//!
//! What holds: what is answered was written from the configuration; scripts of any site may read it,
//! since it is public and the same for everyone.

use crate::server::incoming::Incoming;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use super::Visit;
use crate::access::rejection::{Code, Rejection};
use crate::passage::Passage;
use crate::protected_resource::Found;
use crate::reply::Reply;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
/// Seconds for which a browser need not ask again whether it may ask.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("3600");

pub(super) fn answer(visit: &Visit, mut passage: Passage, request: &Request<Incoming>) -> Response<Reply> {
    let site = passage.site().clone();
    let rejection = match (site.config.announced.find(&visit.host, &visit.path), request.method()) {
        (Some(Found::Document(document)), &Method::GET | &Method::HEAD) => {
            passage.exchange.served();
            return passage.own(shown(document));
        }
        (Some(Found::Document(_)), &Method::OPTIONS) => {
            passage.exchange.served();
            return passage.own(options());
        }
        (Some(Found::Document(_)), _) => {
            Rejection::new(Code::MethodNotAllowed, "a document that is only read")
        }
        (Some(Found::Nothing) | None, _) => {
            Rejection::new(Code::NoRoute, "no route admits Connected Apps there")
        }
    };
    let mut response = passage.refuse(&rejection, request.method(), request.headers());
    share(response.headers_mut());
    if rejection.code == Code::MethodNotAllowed {
        response.headers_mut().insert(header::ALLOW, METHODS);
    }
    response
}

fn shown(document: &Bytes) -> Response<Bytes> {
    let mut response = Response::new(Bytes::clone(document));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    share(headers);
    response
}

/// The answer to a preflight (Fetch standard), and to whoever else asks for the methods.
fn options() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    share(headers);
    response
}

fn share(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}
