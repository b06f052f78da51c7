//! What routes that admit Connected Apps need: the addresses that OAuth clients are told.

use super::Findings;
use crate::config::problems::KeyPath;
use crate::config::{Route, raw};
use crate::identity::Kind;
use crate::protected_resource::admits;

pub(super) fn connected_apps(routes: &[Route], raw: &raw::Raw, findings: &mut Findings) {
    let mut admitting = routes.iter().filter(|route| admits(route, Kind::ConnectedApp));
    let Some(first) = admitting.next() else { return };
    let name = &first.name;
    let mut missing = |key: &str, why: &str| {
        let key = KeyPath::of(key);
        if !findings.problems.covers(&key) {
            findings.problems.missing(&key, format!("missing; route {name:?} admits Connected Apps, {why}"));
        }
    };
    if raw.stytch.domain.is_none() {
        missing("stytch.domain", "which are told that they get their tokens there");
    }
    if raw.server.public_url.is_none() {
        missing("server.public_url", "which are told that the route is there");
    }
    for route in [first].into_iter().chain(admitting).filter(|route| route.host.names().next().is_some()) {
        findings.notes.push(format!(
            "route {:?}: Connected Apps are told of server.public_url in its place, since its host has no one name; some OAuth clients insist on the address they asked",
            route.name
        ));
    }
}
