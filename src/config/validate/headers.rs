//! `[identity]` and the headers of routes: which names may carry identity, and with what in them.

use std::collections::BTreeMap;

use http::HeaderName;

use super::Findings;
use crate::config::problems::{KeyPath, Problems};
use crate::config::units::Period;
use crate::config::{Identity, Route, Server, Vertical, raw};
use crate::identity::owned;
use crate::identity::template::{self, Template};

/// Names with a meaning that identity must not change, and what that meaning is.
const RESERVED: [(&str, &[&str]); 5] = [
    (
        "it frames the message",
        &[
            "content-length",
            "transfer-encoding",
            "content-encoding",
            "content-type",
            "expect",
            "te",
            "trailer",
        ],
    ),
    (
        "it belongs to one connection",
        &[
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-authenticate",
            "proxy-authorization",
            "upgrade",
            "http2-settings",
        ],
    ),
    ("it says where the request goes", &["host"]),
    ("browsers and servers have a use of their own for it", &["cookie", "set-cookie", "origin"]),
    (
        "the gateway sets it on every request",
        &[
            "x-request-id",
            "traceparent",
            "tracestate",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-server",
            "x-real-ip",
            "forwarded",
            "via",
        ],
    ),
];

/// Why `name` cannot carry identity or a credential; none where it can.
pub(super) fn reserved(name: &HeaderName) -> Option<&'static str> {
    let folded = fold(name);
    if folded.starts_with("sec-") {
        return Some("only browsers may set names that begin with Sec-");
    }
    RESERVED.iter().find(|(_, names)| names.contains(&folded.as_str())).map(|(why, _)| *why)
}

/// The spelling that all aliases of a name share.
pub(super) fn fold(name: &HeaderName) -> String {
    name.as_str().bytes().map(|byte| char::from(owned::fold(byte))).collect()
}

pub(super) fn identity(raw: &raw::Identity, vertical: Vertical, findings: &mut Findings) -> Option<Identity> {
    let own = templates(&raw.headers, &KeyPath::of("identity.headers"), &mut findings.problems);
    let defaults = if raw.default_headers { template::defaults(vertical) } else { Vec::new() };
    let mut headers: Vec<(HeaderName, Template)> = defaults
        .into_iter()
        .filter(|(default, _)| !own.iter().any(|(name, _)| fold(name) == fold(default)))
        .collect();
    headers.extend(own);
    Some(Identity {
        headers,
        profile_ttl: raw.profile_ttl.0,
        forward_credentials: raw.forward_credentials,
        assertion: None,
    })
}

/// The headers of a table, parsed; wrong ones are problems and left out.
pub(super) fn templates(
    raw: &BTreeMap<String, String>,
    key: &KeyPath,
    problems: &mut Problems,
) -> Vec<(HeaderName, Template)> {
    let mut headers: Vec<(HeaderName, Template)> = Vec::new();
    let mut spellings: BTreeMap<String, &str> = BTreeMap::new();
    for (name, text) in raw {
        let key = key.key(name);
        let template = problems.keep(&key, text.parse::<Template>());
        let Ok(header) = HeaderName::try_from(name.as_str()) else {
            problems.add(&key, format!("{name:?} is not a header name"));
            continue;
        };
        if let Some(why) = reserved(&header) {
            problems.add(&key, format!("{name:?} cannot carry identity: {why}"));
        }
        if let Some(other) = spellings.insert(fold(&header), name) {
            problems.add(&key, format!("the same header as {other:?} beside it; keep one of the two"));
        }
        headers.extend(template.map(|template| (header, template)));
    }
    headers
}

/// A header that tells of client certificates where none are asked for would never be sent, and
/// whoever relies on it would not know why.
pub(super) fn certificates(server: &Server, identity: &Identity, routes: &[Route], problems: &mut Problems) {
    if server.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()) {
        return;
    }
    let message = "tells of client certificates, which are asked for only with server.tls.client_ca";
    let telling = |headers: &[(HeaderName, Template)]| -> Vec<String> {
        let telling = headers.iter().filter(|(_, template)| template.needs_certificate());
        telling.map(|(name, _)| name.to_string()).collect()
    };
    for name in telling(&identity.headers) {
        problems.add(&KeyPath::of("identity.headers"), format!("{name} {message}"));
    }
    for (index, route) in routes.iter().enumerate() {
        for name in telling(&route.headers) {
            problems.add(&KeyPath::of("routes").index(index).key("headers"), format!("{name} {message}"));
        }
    }
}

/// Says which templates cost a call to Stytch, and which can never say anything.
pub(super) fn notes(identity: &Identity, routes: &[Route], vertical: Vertical, notes: &mut Vec<String>) {
    let ttl = Period(identity.profile_ttl);
    let everywhere = identity.headers.iter().map(|header| ("identity.headers".to_owned(), header));
    let by_route = routes.iter().flat_map(|route| {
        route.headers.iter().map(move |header| (format!("route {:?}", route.name), header))
    });
    for (place, (name, template)) in everywhere.chain(by_route) {
        if let Some(root) = foreign_root(template, vertical) {
            let vertical = vertical.as_str();
            notes.push(format!(
                "{place}: {name} names {root}, which a {vertical} project has none of; it is never sent"
            ));
        } else if template.needs_profile() {
            notes.push(format!(
                "{place}: {name} needs the profile, which is one call to Stytch for each session every {ttl}"
            ));
        }
    }
}

/// What a template names that identities of the other vertical alone have.
fn foreign_root(template: &Template, vertical: Vertical) -> Option<&'static str> {
    let foreign: &[&str] = match vertical {
        Vertical::B2b => &["user"],
        Vertical::Consumer => &["member", "organization"],
    };
    let text = template.to_string().replace("{{", "");
    foreign.iter().find(|root| text.contains(&format!("{{{root}."))).copied()
}
