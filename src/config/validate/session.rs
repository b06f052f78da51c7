//! `[session]`: credentials, cookies and how long Stytch's word counts.

use std::time::Duration;

use http::HeaderName;

use super::headers::reserved;
use super::urls::is_host_name;
use super::{Findings, at_least_one, is_token};
use crate::config::problems::{KeyPath, Problems};
use crate::config::{Cookies, SameSite, Server, Session, raw};

/// How long Stytch makes a session JWT valid, whatever the session's own length.
const JWT_LIFETIME: Duration = Duration::from_secs(300);

pub(super) fn session(raw: &raw::Session, findings: &mut Findings) -> Option<Session> {
    let problems = &mut findings.problems;
    cookie_names(raw, problems);
    let header = raw.header.as_ref().map(|name| credential_header(name, problems));
    websocket_query(raw, problems);
    let leeway_key = KeyPath::of("session.leeway");
    if raw.leeway.0 >= JWT_LIFETIME {
        problems.add(&leeway_key, "must be shorter than 5m, the lifetime of a session JWT");
    }
    let cookies = cookies(&raw.cookies, problems);
    let capacity = at_least_one(raw.capacity, &KeyPath::of("session.capacity"), problems);
    notes(raw, &mut findings.notes);
    Some(Session {
        cookie: raw.cookie.clone(),
        jwt_cookie: raw.jwt_cookie.clone(),
        header: match header {
            Some(name) => Some(name?),
            None => None,
        },
        bearer: raw.bearer,
        websocket_query: raw.websocket_query.clone(),
        max_staleness: raw.max_staleness.0,
        refresh_ahead: raw.refresh_ahead,
        outage_grace: raw.outage_grace.0,
        negative_ttl: raw.negative_ttl.0,
        leeway: raw.leeway.0,
        sliding: raw.sliding,
        cookies,
        capacity,
    })
}

fn cookie_names(raw: &raw::Session, problems: &mut Problems) {
    let key = KeyPath::of("session");
    for (name, key) in [(&raw.cookie, key.key("cookie")), (&raw.jwt_cookie, key.key("jwt_cookie"))] {
        if !is_token(name) {
            let message =
                format!("{name:?} is not a cookie name; use letters, digits, hyphens and underscores");
            problems.add(&key, message);
            continue;
        }
        // Browsers drop cookies that break what such a name promises.
        let lower = name.to_ascii_lowercase();
        let host_only = lower.starts_with("__host-");
        if (host_only || lower.starts_with("__secure-")) && !raw.cookies.secure {
            problems.add(&key, format!("browsers drop {name:?} unless session.cookies.secure is true"));
        }
        if host_only && raw.cookies.domain.is_some() {
            problems.add(&key, format!("browsers drop {name:?} where session.cookies.domain is set"));
        }
    }
    if raw.cookie == raw.jwt_cookie {
        problems.add(
            &key.key("jwt_cookie"),
            "has the same name as session.cookie; the two hold different things",
        );
    }
}

fn credential_header(name: &str, problems: &mut Problems) -> Option<HeaderName> {
    let key = KeyPath::of("session.header");
    let Ok(header) = HeaderName::try_from(name) else {
        problems.add(&key, format!("{name:?} is not a header name"));
        return None;
    };
    if header == http::header::AUTHORIZATION {
        problems.add(&key, "Authorization is read already, by session.bearer; name another header or none");
    } else if let Some(why) = reserved(&header) {
        problems.add(&key, format!("{name:?} cannot carry a credential: {why}"));
    }
    Some(header)
}

fn websocket_query(raw: &raw::Session, problems: &mut Problems) {
    let Some(name) = &raw.websocket_query else { return };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let key = KeyPath::of("session.websocket_query");
    if name.is_empty() {
        problems.add(&key, "must name a query parameter; to look at none, leave the key out");
    } else if !name.chars().all(plain) {
        problems
            .add(&key, format!("{name:?} is not a plain parameter name; use letters, digits and - . _ ~"));
    }
}

fn cookies(raw: &raw::Cookies, problems: &mut Problems) -> Cookies {
    let key = KeyPath::of("session.cookies");
    if let Some(domain) = &raw.domain {
        let key = key.key("domain");
        if let Some(bare) = domain.strip_prefix('.') {
            problems
                .add(&key, format!("write {bare:?}, without the dot; subdomains are included all the same"));
        } else if !is_host_name(domain) || domain.parse::<std::net::IpAddr>().is_ok() {
            problems.add(&key, format!("{domain:?} is not a domain name"));
        }
    }
    if raw.same_site == SameSite::None && !raw.secure {
        problems.add(
            &key.key("same_site"),
            "browsers drop cookies with \"none\" unless session.cookies.secure is true",
        );
    }
    Cookies {
        domain: raw.domain.clone(),
        http_only: raw.http_only,
        secure: raw.secure,
        same_site: raw.same_site,
    }
}

fn notes(raw: &raw::Session, notes: &mut Vec<String>) {
    let staleness = raw.max_staleness;
    if staleness.0.is_zero() {
        notes.push(
            "session.max_staleness is 0s: every request with a credential waits for a call to Stytch"
                .to_owned(),
        );
    } else if staleness.0 > JWT_LIFETIME {
        notes.push(format!(
            "session.max_staleness is {staleness}, longer than the 5m a session JWT is valid: a revoked session may go on for {staleness}"
        ));
    }
}

/// Browsers take `Secure` cookies over plain http from the machine they run on alone.
pub(super) fn cookie_note(cookies: &raw::Cookies, server: Option<&Server>, notes: &mut Vec<String>) {
    let url = server.and_then(|server| server.public_url.as_ref());
    let plain = url.filter(|url| url.scheme_str() == Some("http"));
    let local = |host: &str| host == "localhost" || host.starts_with("127.") || host == "[::1]";
    if let Some(host) = plain.and_then(http::Uri::host)
        && cookies.secure
        && !local(host)
    {
        notes.push(format!(
            "server.public_url is http://{host}, where browsers drop the cookies the gateway writes: they are Secure"
        ));
    }
}
