//! Forward auth: tells a proxy in front whether a request of its client may pass, and as whom.
//!
//! nginx asks by `auth_request`, Traefik by `forwardAuth`, Caddy by `forward_auth`, HAProxy by a
//! script, Envoy by `ext_authz` over HTTP. The answer is 200 with the headers to copy, 401, 403 or
//! 503, whatever else is wrong (DESIGN.md section 8); or, where the proxy hands it on, the redirect
//! that sends a browser to sign in.
//!
//! What holds: only a trusted proxy is answered; what decides is the original request, read as one
//! of our own would be and judged by the same gate; the proxy cannot be relied on to take out what
//! could pass for our word, so a request that carries it is refused. The body is never read.

use crate::server::incoming::Incoming;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header, request};

use self::original::Original;
use super::{EXT_AUTHZ, Visit};
use crate::access::path;
use crate::access::rejection::{Code, Rejection};
use crate::access::{Grant, RequestHead};
use crate::passage::{Arrival, Asked, Passage};
use crate::proxy::cookies;
use crate::refusal::Came;
use crate::reply::{self, Form, Reply};
use crate::signin::redirect::{Origin, Whither};

mod original;

/// Tells a refusal's code to proxies that drop the answer's body, as nginx does.
const CODE: HeaderName = HeaderName::from_static("x-stytch-code");

/// Which proxies ask, and so what they can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// Those that take a redirect for an error, as nginx does: it is told in a header of the refusal.
    Plain,
    /// Those that hand on whatever they are answered.
    Redirecting,
    /// Envoy, which does too, and asks by the request line itself, with a prefix before the path.
    Envoy,
}

pub(super) async fn serve(
    visit: Visit,
    front: Front,
    arrival: Arrival,
    request: Request<Incoming>,
) -> Response<Reply> {
    let (mut asking, _unread) = request.into_parts();
    let original = original(&visit, front, &arrival, &asking);
    let own = || Asked { method: asking.method.as_str(), host: &visit.host, path: &visit.path };
    let asked = original.as_ref().map_or_else(
        |_| own(),
        |original| Asked { method: original.method.as_str(), host: &original.host, path: &original.path },
    );
    let passage = arrival.begin(&asked, Some(visit.endpoint));
    match original {
        Err(rejection) => {
            let whither = Whither { path: "/", origin: None };
            let came = Came { method: &asking.method, headers: &asking.headers, whither };
            refuse(passage, &rejection, &came, front)
        }
        Ok(original) => match judge(&original, &mut asking.headers, &passage).await {
            Ok(grant) => allow(passage, &grant),
            Err(rejection) => {
                let path = original.target();
                let https = original.https.unwrap_or(passage.arrival().client.https);
                let authority = original.authority.to_str().unwrap_or_default();
                let origin = Some(Origin { https, authority });
                let whither = Whither { path: &path, origin };
                let came = Came { method: &original.method, headers: &asking.headers, whither };
                refuse(passage, &rejection, &came, front)
            }
        },
    }
}

/// What is asked about, if whoever asks may.
fn original(
    visit: &Visit,
    front: Front,
    arrival: &Arrival,
    asking: &request::Parts,
) -> Result<Original, Rejection> {
    if !arrival.forwarding.is_trusted() {
        return Err(Rejection::new(Code::UntrustedCaller, "not one of server.trusted_proxies"));
    }
    let prefix = format!("{}{EXT_AUTHZ}", arrival.site.config.signin.base_path);
    let below = match front {
        Front::Envoy => Some(path::cut_prefix(&visit.path, &prefix)?),
        Front::Plain | Front::Redirecting => None,
    };
    Original::read(asking, below)
}

async fn judge(original: &Original, headers: &mut HeaderMap, passage: &Passage) -> Result<Grant, Rejection> {
    if passage.site().owned.first_alias(headers).is_some() {
        return Err(Rejection::new(Code::SpoofedIdentity, "a header that only the gateway may set"));
    }
    if super::is_reserved(&original.path, &passage.site().config) {
        return Err(Rejection::new(Code::NoRoute, "a reserved path, which is not the application's"));
    }
    original.restore(headers);
    let head = RequestHead {
        method: &original.method,
        host: &original.host,
        path: &original.path,
        encoded_slash: original.encoded_slash,
        query: original.query.as_deref(),
        headers,
        client: passage.arrival().client.address,
        received_at: passage.arrival().received_at,
    };
    passage.site().gate.decide(&head).await
}

/// 200, with the headers that the proxy has to put in the place of its client's.
fn allow(mut passage: Passage, grant: &Grant) -> Response<Reply> {
    passage.exchange.granted(grant);
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    let site = passage.site();
    site.vouch(grant, headers);
    passage.arrival().ids.set(headers);
    headers.insert(header::CACHE_CONTROL, reply::NO_STORE);
    if let Some(fresh) = grant.proved().and_then(|proved| proved.take_fresh()) {
        cookies::write_back(&site.config.session, &fresh, headers);
    }
    passage.own(response)
}

/// 401, 403 or 503, or the redirect to sign in. Never in the form of gRPC, whose refusals are a 200.
fn refuse(mut passage: Passage, rejection: &Rejection, came: &Came<'_>, front: Front) -> Response<Reply> {
    passage.exchange.refused(rejection);
    let code = rejection.code;
    let turned = passage.turned_back(rejection, came);
    let to_sign_in = turned.to_sign_in().filter(|_| front != Front::Plain);
    let mut response = to_sign_in.unwrap_or_else(|| {
        let form = if reply::is_navigation(came.method, came.headers) { Form::Page } else { Form::Problem };
        turned.refusal(code.verdict(), form)
    });
    let headers = response.headers_mut();
    headers.insert(CODE, HeaderValue::from_static(code.as_str()));
    if let Some(location) = turned.location().filter(|_| front == Front::Plain) {
        headers.insert(header::LOCATION, location);
    }
    passage.own(response)
}
