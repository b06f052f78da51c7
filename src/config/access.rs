//! Who may reach what: the table that `routes` shows, and a hash by which a change of it is seen.
//!
//! What holds: two configurations with one hash let the same callers reach the same places. The
//! hash does not depend on the order or the spelling of settings, and changes with everything that
//! lets someone in or keeps someone out; no secret goes into it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use http::Method;
use serde_json::{Value, json};

use super::summary::{outage, sources, staleness, trusted_proxies};
use super::{Auth, Config, CorsPreflight, Route, Session, Target, Upstream, UpstreamHost};
use crate::access::authz::rules::{Permission, PermissionCheck, Rule, Rules};
use crate::access::route::in_order;

/// Bytes of the digest that are shown, in hexadecimal.
const SHOWN: usize = 8;

/// The routes in the order in which they win, and what else decides who passes, as text.
#[must_use]
pub fn access(config: &Config) -> String {
    let heading = ["METHODS", "HOST", "PATH", "UPSTREAM", "ENFORCE", "WHO"].map(str::to_owned);
    let rows: Vec<_> = [heading].into_iter().chain(ordered(config).map(|route| row(config, route))).collect();
    let mut text = columns(&rows);
    let also = [
        "everything else: 404 no_route".to_owned(),
        format!("trusted proxies: {}", trusted_proxies(config)),
        format!("credentials are taken from: {}", sources(config)),
        staleness(config),
        outage(config),
        format!("access hash: {}", access_hash(config)),
    ];
    for line in also {
        // Writing to a String does not fail.
        let _infallible = write!(text, "\n{line}");
    }
    text
}

/// The beginning of a SHA-256 over everything that decides who may reach what, 16 hexadecimal
/// digits.
#[must_use]
pub fn access_hash(config: &Config) -> String {
    let text = canonical(config).to_string();
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref().iter().take(SHOWN).fold(String::new(), |mut hash, byte| {
        let _infallible = write!(hash, "{byte:02x}");
        hash
    })
}

fn ordered(config: &Config) -> impl Iterator<Item = &Route> {
    let matching = config.routes.iter().map(|route| (&route.host, &route.path, route.methods.as_deref()));
    let order = in_order(matching);
    order.into_iter().map(|position| &*config.routes[position])
}

fn row(config: &Config, route: &Route) -> [String; 6] {
    let methods = route.methods.as_deref().map_or_else(|| "any".to_owned(), joined);
    let host = route.host.to_string().replace('*', "any");
    let upstream =
        route.upstream.map_or_else(|| "none".to_owned(), |index| config.upstreams[index].name.clone());
    let enforce = if route.observe { "observe" } else { "on" };
    [methods, host, route.path.to_string(), upstream, enforce.to_owned(), who(route)]
}

/// Who may come, in words.
fn who(route: &Route) -> String {
    let mut who = match route.auth {
        Auth::None => "anyone".to_owned(),
        Auth::Optional => format!("anyone; with a credential: {}", asked(&route.rules)),
        Auth::Required => asked(&route.rules),
    };
    if route.cors_preflight == CorsPreflight::Forward && route.auth != Auth::None {
        who.push_str("; CORS preflights of anyone");
    }
    if route.encoded_slashes {
        who.push_str("; also paths with %2F");
    }
    who
}

/// What is asked of a credential, in the order of the settings.
fn asked(rules: &Rules) -> String {
    let rule = |rule: &Rule| {
        let (key, wanted) = rule.wanted();
        format!("{} {wanted}", key.trim_start_matches("allow."))
    };
    let (kinds, mut others): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| matches!(rule, Rule::Kinds(_)));
    let steps_up = others.split_off(others.len() - rules.step_up.len());
    let kinds = kinds.first().map_or_else(String::new, |kinds| kinds.wanted().1);
    let permission = rules
        .permission
        .iter()
        .map(|permission| format!("permission {} on {}", permission.action, permission.resource));
    let all = others.into_iter().map(rule).chain(permission).chain(steps_up.into_iter().map(rule));
    let asked = all.collect::<Vec<_>>().join("; ");
    if asked.is_empty() { format!("any {kinds}") } else { format!("{kinds}; {asked}") }
}

/// In columns as wide as they need to be.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _infallible = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn joined(methods: &[Method]) -> String {
    sorted(methods).into_iter().collect::<Vec<_>>().join(",")
}

fn sorted<T: ToString>(of: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    of.into_iter().map(|one| one.to_string()).collect()
}

/// Everything that decides, in one form. What is left out of the two patterns below decides
/// nothing; a new setting has to choose.
fn canonical(config: &Config) -> Value {
    let stytch = &config.stytch;
    let Session {
        cookie,
        jwt_cookie,
        header,
        bearer,
        websocket_query,
        max_staleness,
        refresh_ahead: _,
        outage_grace,
        negative_ttl: _,
        leeway,
        sliding,
        cookies: _,
        capacity: _,
    } = &config.session;
    json!({
        "stytch": {
            "project": stytch.project_id,
            "vertical": stytch.vertical,
            "api": stytch.api_url.to_string(),
            "issuers": sorted(&stytch.issuers),
        },
        "trusted_proxies": sorted(config.server.trusted_proxies.iter().map(ipnet::IpNet::trunc)),
        "own_site": config.server.public_url.as_ref().map(ToString::to_string),
        "credentials": {
            "cookies": [cookie, jwt_cookie],
            "header": header.as_ref().map(http::HeaderName::as_str),
            "bearer": bearer,
            "websocket_query": websocket_query,
        },
        "max_staleness": millis(*max_staleness),
        "outage_grace": millis(*outage_grace),
        "leeway": millis(*leeway),
        "claims": config.signin.enabled.then_some(&config.signin.custom_claims),
        "device": config.signin.device.is_some(),
        "prolonged": sliding.then_some(config.signin.session_minutes),
        "doors": { "forward_auth": config.forward_auth, "ext_authz": config.ext_authz.is_some() },
        "routes": ordered(config).map(|route| canonical_route(config, route)).collect::<Vec<_>>(),
    })
}

fn canonical_route(config: &Config, route: &Route) -> Value {
    let Route {
        name: _,
        host,
        path,
        methods,
        upstream,
        auth,
        rules,
        observe,
        headers: _,
        strip_prefix,
        timeouts: _,
        max_body: _,
        cors_preflight,
        encoded_slashes,
        sign_in: _,
    } = route;
    json!({
        "host": host.to_string(),
        "path": path.to_string(),
        "methods": methods.as_ref().map(sorted),
        "upstream": upstream.map(|index| canonical_upstream(&config.upstreams[index])),
        "strip_prefix": strip_prefix,
        "auth": auth,
        "rules": rules.iter().map(canonical_rule).collect::<Vec<_>>(),
        "permission": rules.permission.as_ref().map(canonical_permission),
        "observe": observe,
        "cors_preflight": cors_preflight,
        "encoded_slashes": encoded_slashes,
    })
}

fn canonical_rule(rule: &Rule) -> Value {
    match rule {
        Rule::Kinds(kinds) => json!({ "kinds": sorted(kinds.iter().map(|kind| kind.as_str())) }),
        Rule::Organizations(allowed) => json!({ "organizations": sorted(allowed) }),
        Rule::Roles(roles) => json!({ "roles": sorted(roles) }),
        Rule::Scopes(scopes) => json!({ "scopes": sorted(scopes) }),
        Rule::Claim(name, values) => json!({ "claim": name, "values": sorted(values) }),
        Rule::EmailDomains(domains) => json!({ "email_domains": sorted(domains) }),
        Rule::NotImpersonated => json!("not impersonated"),
        Rule::Factors(factors, _) => json!({ "factors": sorted(factors) }),
        Rule::Mfa(_) => json!("mfa"),
        Rule::MaxAuthAge(most, _) => json!({ "max_auth_age": millis(*most) }),
        Rule::KnownDevice(_) => json!("known device"),
        Rule::DeviceKnownFor(least, _) => json!({ "device_known_for": millis(*least) }),
        Rule::DeviceCountries(countries, _) => json!({ "device_countries": sorted(countries) }),
    }
}

fn canonical_permission(permission: &Permission) -> Value {
    let Permission { resource, action, check } = permission;
    let check = match check {
        PermissionCheck::Local => "local",
        PermissionCheck::Remote => "remote",
    };
    json!({ "resource": resource, "action": action, "check": check })
}

/// Not by its name, but by where its requests arrive.
fn canonical_upstream(upstream: &Upstream) -> Value {
    let target = |target: &Target| match target {
        Target::Tcp { host, port, tls: false } => format!("{host}:{port}"),
        Target::Tcp { host, port, tls: true } => format!("https://{host}:{port}"),
        Target::Unix(path) => format!("unix:{}", path.display()),
    };
    let host = match &upstream.host {
        UpstreamHost::Preserve => json!("preserve"),
        UpstreamHost::Target => json!("upstream"),
        UpstreamHost::Fixed(host) => json!({ "fixed": host.to_str().unwrap_or_default() }),
    };
    json!({ "targets": sorted(upstream.targets.iter().map(target)), "host": host })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
