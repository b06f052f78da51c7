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

/// The same as a whole URL, for a door that answers in another server's place: what is relative
/// there, that server would read as its own. `authority` and `path` (with its query) are those that
/// the browser asked for. Where `server.public_url` is another host, people sign in there, and
/// come back if `signin.redirects` names the one they came from.
#[must_use]
pub fn to_login_elsewhere(config: &Config, https: bool, authority: &str, path: &str) -> Option<HeaderValue> {
    if !config.signin.enabled {
        return None;
    }
    let base = &config.signin.base_path;
    let asked = format!("{}://{authority}", if https { "https" } else { "http" });
    let public =
        config.server.public_url.as_ref().map(|url| url.to_string().trim_end_matches('/').to_owned());
    let url = match public {
        Some(public) if public != asked => {
            format!("{public}{}", login_path(base, &format!("{asked}{path}")))
        }
        _ => format!("{asked}{}", login_path(base, path)),
    };
    HeaderValue::try_from(url).ok()
}

pub(super) fn login_path(base: &str, return_to: &str) -> String {
    if return_to.is_empty() || return_to == "/" || return_to.len() > MAX_LENGTH {
        return format!("{base}/login");
    }
    let encoded: String = form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
    format!("{base}/login?return_to={encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gateway.toml");
        let text = format!(
            "[stytch]\nproject_id = \"project-test-1\"\nsecret = \"secret-test-1\"\n\
             [upstreams.app]\nurl = \"http://127.0.0.1:1\"\n\
             [[routes]]\npath = \"/*\"\nupstream = \"app\"\n{more}"
        );
        std::fs::write(&path, text).unwrap();
        crate::config::load(&[path], std::iter::empty()).unwrap().config
    }

    #[test]
    fn to_the_page_and_back() {
        let config = config("[signin]\nenabled = true\nbase_path = \"/own\"\n");
        let at = |path: &str| to_login(&config, path).unwrap();
        assert_eq!(at("/a?b=c&d"), "/own/login?return_to=%2Fa%3Fb%3Dc%26d");
        assert_eq!(at("/"), "/own/login");
        assert_eq!(at(&format!("/{}", "a".repeat(MAX_LENGTH))), "/own/login", "too long to come back to");
    }

    #[test]
    fn for_another_server_it_is_a_whole_url() {
        let here = config("[signin]\nenabled = true\n");
        let url = to_login_elsewhere(&here, true, "app.test", "/a").unwrap();
        assert_eq!(url, "https://app.test/_stytch/login?return_to=%2Fa");
        let public = config("[server]\npublic_url = \"https://login.test\"\n[signin]\nenabled = true\n");
        let url = to_login_elsewhere(&public, true, "app.test:8443", "/a").unwrap();
        assert_eq!(url, "https://login.test/_stytch/login?return_to=https%3A%2F%2Fapp.test%3A8443%2Fa");
        let url = to_login_elsewhere(&public, true, "login.test", "/a").unwrap();
        assert_eq!(url, "https://login.test/_stytch/login?return_to=%2Fa");
    }

    #[test]
    fn nowhere_without_pages() {
        let config = config("");
        assert_eq!(to_login(&config, "/a"), None);
        assert_eq!(to_login_elsewhere(&config, true, "app.test", "/a"), None);
    }
}
