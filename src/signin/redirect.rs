//! Where a browser without a session is sent: to the sign-in page, and from there back.
//!
//! For the proxy's own refusals, and for doors that answer in another server's place.

use http::{HeaderMap, HeaderValue, Method, Uri};

use super::target::MAX_LENGTH;
use crate::access::rejection::{Code, Rejection};
use crate::config::Config;
use crate::reply;

/// The `Location` for a request that was refused on a route, if signing in is the answer to it: a
/// top-level navigation without a session, or with a refused one, where the route wants it so.
/// The page is on the same host, so the place to come back to is a path.
#[must_use]
pub fn after(
    rejection: &Rejection,
    config: &Config,
    method: &Method,
    headers: &HeaderMap,
    target: &Uri,
) -> Option<HeaderValue> {
    let route = config.routes.get(rejection.route?)?;
    let helps = matches!(rejection.code, Code::Unauthenticated | Code::InvalidCredential);
    if !helps || !route.sign_in || !reply::is_navigation(method, headers) {
        return None;
    }
    to_login(config, target.path_and_query().map_or("/", |target| target.as_str()))
}

/// The sign-in page of the host a browser is at, with `return_to` (a path there, or a whole URL) to
/// come back to. What is too long to come back to is left out.
#[must_use]
pub fn to_login(config: &Config, return_to: &str) -> Option<HeaderValue> {
    if !config.signin.enabled {
        return None;
    }
    HeaderValue::try_from(login_path(&config.signin.base_path, return_to)).ok()
}

pub(super) fn login_path(base: &str, return_to: &str) -> String {
    if return_to.is_empty() || return_to == "/" || return_to.len() > MAX_LENGTH {
        return format!("{base}/login");
    }
    let encoded: String = form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
    format!("{base}/login?return_to={encoded}")
}
