//! The gateway's own endpoints: what stands at the reserved paths (DESIGN.md section 8).
//!
//! What holds: a reserved path is never forwarded, whether anything stands there or not; which
//! endpoint a request is for is found once, from the same normal path that routes are found by;
//! endpoints are logged and counted like any request, under a label of their own.

use http::{Request, Response};
use hyper::body::Incoming;

use crate::access::rejection::{Code, Rejection};
use crate::config::Config;
use crate::passage::{Arrival, Asked};
use crate::reply::Reply;
use crate::signin::{self, Place};

/// What a reserved path is for. Each has a file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
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
        let endpoint = Endpoint::at(path, config)?;
        Some(Self { endpoint, host: host.to_owned(), path: path.to_owned() })
    }
}

impl Endpoint {
    /// Those that count under a label.
    pub const LABELLED: [Self; 4] = [
        Self::SignIn(Place::Login),
        Self::SignIn(Place::Logout),
        Self::SignIn(Place::Session),
        Self::SignIn(Place::Organizations),
    ];

    fn at(path: &str, config: &Config) -> Option<Self> {
        let below = below(&config.signin.base_path, path)?;
        let enabled = config.signin.enabled;
        Some(match below {
            "/login" if enabled => Self::SignIn(Place::Login),
            "/logout" if enabled => Self::SignIn(Place::Logout),
            "/session" if enabled => Self::SignIn(Place::Session),
            "/organizations" if enabled => Self::SignIn(Place::Organizations),
            _ => Self::Nothing,
        })
    }

    /// What logs and metrics call it in the place of a route; none for what is not there.
    #[must_use]
    pub const fn label(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::SignIn(Place::Login) => Some("login"),
            Self::SignIn(Place::Logout) => Some("logout"),
            Self::SignIn(Place::Session) => Some("session"),
            Self::SignIn(Place::Organizations) => Some("organizations"),
        }
    }
}

/// What is left of a path under `signin.base_path`. Parameters are no part of the name for servers
/// that know of them.
fn below<'p>(base: &str, path: &'p str) -> Option<&'p str> {
    let ends = |rest: &&str| rest.is_empty() || rest.starts_with(['/', ';']) || rest.starts_with("%3B");
    path.strip_prefix(base).filter(ends)
}

/// Answers a request for a reserved path.
pub async fn serve(visit: Visit, arrival: Arrival, request: Request<Incoming>) -> Response<Reply> {
    let asked = Asked { method: request.method(), host: &visit.host, path: &visit.path };
    let passage = arrival.begin(&asked, Some(visit.endpoint));
    match visit.endpoint {
        Endpoint::Nothing => {
            let rejection = Rejection::new(Code::NoRoute, "a reserved path");
            passage.refuse(&rejection, request.method(), request.headers())
        }
        Endpoint::SignIn(place) => signin::serve(place, &visit, passage, request).await,
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
