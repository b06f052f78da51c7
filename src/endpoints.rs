//! The gateway's own endpoints: what stands at the reserved paths (DESIGN.md section 8).
//!
//! What holds: a reserved path is never forwarded, whether anything stands there or not; which
//! endpoint a request is for is found once, from the same normal path that routes are found by;
//! endpoints are logged and counted like any request, under a label of their own.

mod resource_metadata;

use crate::server::incoming::Incoming;
use http::{Request, Response};

use self::auth::Front;
use crate::access::rejection::{Code, Rejection};
use crate::config::Config;
use crate::passage::{Arrival, Asked};
use crate::reply::Reply;
use crate::signin::{self, Place};

mod auth;
mod device_script;
mod keys;
mod logo;
mod webhook;

/// What Envoy puts before the path of the request it asks about, under the base path.
const EXT_AUTHZ: &str = "/auth/ext_authz";

/// What a reserved path is for. Each has a file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// What OAuth clients are told of routes that admit Connected Apps.
    ResourceMetadata,
    /// Forward auth: whether a request that a proxy in front was sent may pass.
    Auth,
    /// The same for proxies that hand a redirect to the browser.
    AuthRedirect,
    /// The same for Envoy, which asks by the request line itself.
    ExtAuthz,
    /// The keys that sign assertions.
    Keys,
    /// Where Stytch tells of changes.
    Webhook,
    /// The image on the sign-in pages.
    Logo,
    /// The gateway's own script on them.
    DeviceScript,
    /// Nothing stands there: 404, and never an upstream's to answer.
    Nothing,
    /// A page for people, or what stands behind one.
    SignIn(Place),
}

/// A request for a reserved path.
#[derive(Debug)]
pub struct Visit {
    pub endpoint: Endpoint,
    /// See [`crate::access::RequestHead`].
    pub host: String,
    /// The whole path, in its normal spelling.
    pub path: String,
}

impl Visit {
    /// None where the path is not reserved. What the settings switch off is not there.
    #[must_use]
    pub fn of(host: &str, path: &str, config: &Config) -> Option<Self> {
        let about_routes = || config.announced.find(host, path).map(|_| Endpoint::ResourceMetadata);
        let endpoint = Endpoint::at(path, config).or_else(about_routes)?;
        Some(Self { endpoint, host: host.to_owned(), path: path.to_owned() })
    }
}

impl Endpoint {
    /// What they count under.
    pub const LABELS: [&'static str; 11] = [
        "/.well-known/oauth-protected-resource",
        "_auth",
        "_keys",
        "_webhook",
        "_login",
        "_callback",
        "_logout",
        "_session",
        "_organizations",
        "_logo",
        "_device",
    ];

    fn at(path: &str, config: &Config) -> Option<Self> {
        let below = below(&config.signin.base_path, path)?;
        let has_pages = config.signin.enabled;
        Some(match below {
            "/auth" if config.forward_auth => Self::Auth,
            "/auth/redirect" if config.forward_auth => Self::AuthRedirect,
            "/keys" if config.identity.assertion.is_some() => Self::Keys,
            "/webhook" if config.webhook.is_some() => Self::Webhook,
            "/login" if has_pages => Self::SignIn(Place::Login),
            "/callback" if config.signin.round_trips.is_some() => Self::SignIn(Place::Callback),
            "/logout" if has_pages => Self::SignIn(Place::Logout),
            "/session" if has_pages => Self::SignIn(Place::Session),
            "/organizations" if has_pages => Self::SignIn(Place::Organizations),
            "/logo" if has_pages && config.signin.brand.logo.is_some() => Self::Logo,
            "/device.js" if has_pages && config.signin.device.is_some() => Self::DeviceScript,
            _ if config.forward_auth && is_below(below, EXT_AUTHZ) => Self::ExtAuthz,
            _ => Self::Nothing,
        })
    }

    /// What logs and metrics call it in the place of a route; none for what is not there.
    #[must_use]
    pub const fn label(self) -> Option<&'static str> {
        match self {
            Self::ResourceMetadata => Some("/.well-known/oauth-protected-resource"),
            Self::Auth | Self::AuthRedirect | Self::ExtAuthz => Some("_auth"),
            Self::Keys => Some("_keys"),
            Self::Webhook => Some("_webhook"),
            Self::Logo => Some("_logo"),
            Self::DeviceScript => Some("_device"),
            Self::Nothing => None,
            Self::SignIn(Place::Login) => Some("_login"),
            Self::SignIn(Place::Callback) => Some("_callback"),
            Self::SignIn(Place::Logout) => Some("_logout"),
            Self::SignIn(Place::Session) => Some("_session"),
            Self::SignIn(Place::Organizations) => Some("_organizations"),
        }
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a path is one of the gateway's own, whatever stands there.
fn is_reserved(path: &str, config: &Config) -> bool {
    below(&config.signin.base_path, path).is_some()
}

/// What is left of a path under `signin.base_path`. Parameters are no part of the name for servers
/// that know of them.
fn below<'p>(base: &str, path: &'p str) -> Option<&'p str> {
    let ends = |rest: &&str| rest.is_empty() || rest.starts_with(['/', ';']) || rest.starts_with("%3B");
    path.strip_prefix(base).filter(ends)
}

/// Answers a request for a reserved path.
pub async fn serve(visit: Visit, arrival: Arrival, request: Request<Incoming>) -> Response<Reply> {
    let asked = Asked { method: request.method().as_str(), host: &visit.host, path: &visit.path };
    let begin = |arrival: Arrival| arrival.begin(&asked, Some(visit.endpoint));
    match visit.endpoint {
        Endpoint::ResourceMetadata => resource_metadata::answer(&visit, begin(arrival), &request),
        Endpoint::Auth => auth::serve(visit, Front::Plain, arrival, request).await,
        Endpoint::AuthRedirect => auth::serve(visit, Front::Redirecting, arrival, request).await,
        Endpoint::ExtAuthz => auth::serve(visit, Front::Envoy, arrival, request).await,
        Endpoint::Keys => keys::serve(begin(arrival), request.method(), request.headers()),
        Endpoint::Webhook => {
            let passage = begin(arrival);
            webhook::serve(passage, request).await
        }
        Endpoint::Logo => logo::serve(begin(arrival), &request),
        Endpoint::DeviceScript => device_script::serve(begin(arrival), &request),
        Endpoint::Nothing => {
            let rejection = Rejection::new(Code::NoRoute, "a reserved path");
            begin(arrival).refuse(&rejection, request.method(), request.headers())
        }
        Endpoint::SignIn(place) => {
            let passage = begin(arrival);
            signin::serve(place, &visit, passage, request).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_paths_are_known() {
        for (path, reserved) in [
            ("/_stytch", true),
            ("/_stytch/", true),
            ("/_stytch/login", true),
            ("/_stytch;x/login", true),
            ("/_stytch%3Bx", true),
            ("/_stytchy", false),
            ("/app/_stytch", false),
            ("/", false),
        ] {
            assert_eq!(below("/_stytch", path).is_some(), reserved, "{path}");
        }
    }
}
