//! From what was written to what the program relies on; every mistake on the way is collected.
//!
//! Each section has its own file and its own function, which checks everything before it gives
//! up. The types and quantities are known to be right here; what they mean is not.

use std::path::PathBuf;
use std::sync::Arc;

use super::problems::{KeyPath, Problems};
use super::raw::Raw;
use super::units::Period;
use super::{Config, Duration, Signin};
use crate::protected_resource::Announced;

mod assertion;
mod connected_apps;
mod device;
mod headers;
mod logo;
mod round_trips;
mod route;
mod rules;
mod secret;
mod server;
mod session;
mod signin;
mod stytch;
mod telemetry;
mod tls;
mod upstream;
mod urls;
mod webhook;

/// What validation collects beside the values.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) problems: Problems,
    /// What is allowed, and worth knowing.
    pub(super) notes: Vec<String>,
    /// Secret files, whose change matters as much as that of the settings.
    pub(super) watched: Vec<PathBuf>,
}

/// Checks everything before reporting anything. None where there is a problem.
pub(super) fn config(raw: &Raw, findings: &mut Findings) -> Option<Config> {
    let stytch = stytch::stytch(&raw.stytch, findings);
    let server = server::server(&raw.server, findings);
    let admin = server::admin(&raw.admin, server.as_ref(), findings);
    server::forward_auth(&raw.forward_auth, server.as_ref(), findings);
    let ext_authz = server::ext_authz(&raw.ext_authz, server.as_ref(), admin.as_ref(), findings);
    let session = session::session(&raw.session, findings);
    let mut identity = headers::identity(&raw.identity, raw.stytch.vertical, findings);
    let upstreams = upstream::upstreams(raw, findings);
    let (routes, table) = route::routes(raw, findings);
    let webhook = webhook::webhook(&raw.webhook, findings);
    let rate_limit = telemetry::rate_limit(&raw.rate_limit, findings);
    let telemetry = telemetry::telemetry(&raw.telemetry, findings);
    connected_apps::connected_apps(&routes, raw, findings);
    let signin = signin::signin(raw, findings);
    round_trips::needs(raw, findings);
    session::cookie_note(&raw.session.cookies, server.as_ref(), &mut findings.notes);
    if let Some(identity) = &mut identity {
        identity.assertion = assertion::assertion(raw, server.as_ref(), identity, &routes, findings);
        if let Some(server) = &server {
            headers::certificates(server, identity, &routes, &mut findings.problems);
        }
        headers::notes(identity, &routes, raw.stytch.vertical, &mut findings.notes);
    }

    let (stytch, server) = (stytch?, server?);
    let round_trips = round_trips::round_trips(&raw.signin, &server, &stytch, &routes);
    let routes: Vec<_> = routes.into_iter().map(Arc::new).collect();
    let config = Config {
        announced: Announced::new(&routes, server.public_url.as_ref(), stytch.domain.as_deref()),
        stytch,
        server,
        admin: admin?,
        session: session?,
        identity: identity?,
        upstreams: upstreams.into_iter().map(Arc::new).collect(),
        routes,
        table,
        forward_auth: raw.forward_auth.enabled,
        webhook,
        ext_authz: ext_authz?,
        rate_limit: rate_limit?,
        telemetry: telemetry?,
        signin: Signin { round_trips, ..signin? },
        watched: Vec::new(),
    };
    findings.problems.is_empty().then_some(config)
}

/// A duration that must not be nothing.
fn positive(period: Period, key: &KeyPath, problems: &mut Problems) -> Duration {
    if period.0.is_zero() {
        problems.add(key, "must be longer than 0s");
    }
    period.0
}

/// A count that must not be nothing.
fn at_least_one(count: usize, key: &KeyPath, problems: &mut Problems) -> usize {
    if count == 0 {
        problems.add(key, "must be at least 1");
    }
    count
}

/// Whether `text` is a token as RFC 9110 has it, which is what cookie names and methods are.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}
