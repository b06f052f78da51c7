//! The gateway's own endpoints: what stands at the reserved paths (DESIGN.md section 8).
//!
//! What holds: a reserved path is never forwarded, whether anything stands there or not; which
//! endpoint a request is for is found once, from the same normal path that routes are found by;
//! endpoints are logged and counted like any request, under a label of their own.

mod resource_metadata;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::access::rejection::{Code, Rejection};
use crate::config::Config;
use crate::passage::{Arrival, Asked};
use crate::reply::Reply;

mod auth;
mod keys;
mod webhook;

/// Where the gateway's own pages and endpoints live.
pub(crate) const BASE: &str = "/_stytch";
/// What Envoy puts before the path of the request it asks about.
const EXT_AUTHZ: &str = "/_stytch/auth/ext_authz";

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
    /// Nothing stands there: 404, and never an upstream's to answer.
    Nothing,
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
    pub const LABELS: [&'static str; 4] =
        ["/.well-known/oauth-protected-resource", "_auth", "_keys", "_webhook"];

    fn at(path: &str, config: &Config) -> Option<Self> {
        if !is_reserved(path) {
            return None;
        }
        Some(match &path[BASE.len()..] {
            "/auth" if config.forward_auth => Self::Auth,
            "/auth/redirect" if config.forward_auth => Self::AuthRedirect,
            "/keys" if config.identity.assertion.is_some() => Self::Keys,
            "/webhook" if config.webhook.is_some() => Self::Webhook,
            _ if config.forward_auth && is_below(path, EXT_AUTHZ) => Self::ExtAuthz,
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
            Self::Nothing => None,
        }
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

/// Parameters are no part of the name for servers that know of them.
fn is_reserved(path: &str) -> bool {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(['/', ';']) || rest.starts_with("%3B");
    path.strip_prefix(BASE).is_some_and(ends)
}

/// Answers a request for a reserved path.
pub async fn serve(visit: Visit, arrival: Arrival, request: Request<Incoming>) -> Response<Reply> {
    let asked = Asked { method: request.method(), host: &visit.host, path: &visit.path };
    let begin = |arrival: Arrival| arrival.begin(&asked, Some(visit.endpoint));
    match visit.endpoint {
        Endpoint::ResourceMetadata => resource_metadata::answer(&visit, begin(arrival), &request),
        // Until there are sign-in pages, there is nowhere to redirect to.
        Endpoint::Auth | Endpoint::AuthRedirect => auth::serve(visit, None, arrival, request).await,
        Endpoint::ExtAuthz => auth::serve(visit, Some(EXT_AUTHZ), arrival, request).await,
        Endpoint::Keys => keys::serve(begin(arrival), request.method(), request.headers()),
        Endpoint::Webhook => {
            let passage = begin(arrival);
            webhook::serve(passage, request).await
        }
        Endpoint::Nothing => {
            let rejection = Rejection::new(Code::NoRoute, "a reserved path");
            begin(arrival).refuse(&rejection, request.method(), request.headers())
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
            assert_eq!(is_reserved(path), reserved, "{path}");
        }
    }
}
