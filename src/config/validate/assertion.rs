//! `[identity.assertion]`: what is signed, by which keys, and for whom.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::headers::{fold, reserved};
use super::{Findings, secret};
use crate::config::problems::{KeyPath, did_you_mean};
use crate::config::raw::Audience;
use crate::config::units::Period;
use crate::config::{Assertion, Identity, Route, Server, raw};
use crate::identity::assertion::{ISSUER, Keys};

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);
/// Longer than this is worth a remark: an assertion is not taken back.
const LONG: Duration = Duration::from_secs(300);

/// None where there is none, or a problem.
pub(super) fn assertion(
    all: &raw::Raw,
    server: Option<&Server>,
    identity: &Identity,
    routes: &[Route],
    findings: &mut Findings,
) -> Option<Assertion> {
    let raw = all.identity.assertion.as_ref()?;
    let header = header(raw, identity, routes, findings);
    let keys = keys(raw, findings);
    let audiences = audiences(raw, all, routes, findings);
    let ttl = raw.ttl.0;
    if !(SHORTEST..=LONGEST).contains(&ttl) {
        findings.problems.add(&key("ttl"), "must be between 1s and 1h");
    } else if ttl > LONG {
        findings.notes.push(format!(
            "identity.assertion.ttl is {}: an upstream may believe an assertion for that long after its session was revoked",
            Period(ttl)
        ));
    }
    let public_url = server.and_then(|server| server.public_url.as_ref());
    let issuer =
        public_url.map_or_else(|| ISSUER.to_owned(), |url| url.to_string().trim_end_matches('/').to_owned());
    Some(Assertion { header: header?, keys: keys?, issuer, audiences: audiences?, ttl })
}

fn key(name: &str) -> KeyPath {
    KeyPath::of("identity.assertion").key(name)
}

fn header(
    raw: &raw::Assertion,
    identity: &Identity,
    routes: &[Route],
    findings: &mut Findings,
) -> Option<HeaderName> {
    let key = key("header");
    let name = &raw.header;
    let Ok(header) = HeaderName::try_from(name) else {
        findings.problems.add(&key, format!("{name:?} is not a header name"));
        return None;
    };
    if let Some(why) = reserved(&header) {
        findings.problems.add(&key, format!("{name:?} cannot carry identity: {why}"));
    }
    let in_routes = routes.iter().flat_map(|route| &route.headers);
    let mut others = identity.headers.iter().chain(in_routes);
    if others.any(|(other, _)| fold(other) == fold(&header)) {
        findings.problems.add(&key, format!("{name:?} is an identity header already; name another"));
    }
    Some(header)
}

fn keys(raw: &raw::Assertion, findings: &mut Findings) -> Option<Arc<Keys>> {
    let key = key("key_file");
    let Some(path) = &raw.key_file else {
        findings.problems.missing(&key, "missing; name the PEM file of the key that signs assertions");
        return None;
    };
    let pem = secret::file(path, findings);
    let pem = findings.problems.keep(&key, pem)?;
    let is_for_all = std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0);
    if is_for_all {
        findings.notes.push(format!(
            "identity.assertion.key_file: every user of this machine can read {path}, and sign as this gateway"
        ));
    }
    let keys = Keys::from_pem(&pem).map_err(|error| format!("{path}: {error}"));
    findings.problems.keep(&key, keys).map(Arc::new)
}

/// The audience of each route. What one upstream is given is worth nothing at another, unless the
/// settings say so.
fn audiences(
    raw: &raw::Assertion,
    all: &raw::Raw,
    routes: &[Route],
    findings: &mut Findings,
) -> Option<Vec<String>> {
    let none = BTreeMap::new();
    let (everywhere, by_route) = match &raw.audience {
        None => (None, &none),
        Some(Audience::Everywhere(audience)) => (Some(audience), &none),
        Some(Audience::ByRoute(by_route)) => (None, by_route),
    };
    let key = key("audience");
    let mut sound = true;
    let keys = by_route.keys().map(|name| key.key(name));
    for (audience, key) in
        everywhere.into_iter().map(|audience| (audience, key.clone())).chain(by_route.values().zip(keys))
    {
        if audience.is_empty() || audience.chars().any(char::is_control) {
            findings.problems.add(&key, "an audience is a text such as \"https://app.example.com\"");
            sound = false;
        }
    }
    for name in by_route.keys().filter(|name| !routes.iter().any(|route| route.name == **name)) {
        let near = did_you_mean(name, routes.iter().map(|route| route.name.as_str()));
        findings.problems.add(&key.key(name), format!("no route is called {name:?}{near}"));
        sound = false;
    }
    let upstreams: Vec<&String> = all.upstreams.keys().collect();
    // A route without an upstream is only asked about; its name tells it from the others.
    let of_route = |route: &Route| {
        let upstream = route.upstream.and_then(|index| upstreams.get(index).copied());
        by_route.get(&route.name).or(everywhere).or(upstream).unwrap_or(&route.name).clone()
    };
    sound.then(|| routes.iter().map(of_route).collect())
}
