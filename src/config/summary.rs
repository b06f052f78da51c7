//! What is open: the summary that is logged at start and shown by `check`.
//!
//! A line for each thing that lets someone in or lets something go on, so that nobody has to
//! infer it from what a file leaves unsaid.

use super::access::access_hash;
use super::units::Period;
use super::{
    Assertion, Auth, Config, CorsPreflight, DeviceScript, Listen, MaxBody, Route, SameSite, TlsVersion,
};

/// One line for each thing an operator should know to be so.
#[must_use]
pub fn summary(config: &Config) -> Vec<String> {
    let mut lines = vec![
        format!("listening: {}", listeners(config)),
        admin(config),
        project(config),
        format!("routes without authentication: {}", named(config, |route| route.auth == Auth::None)),
        format!(
            "routes with optional authentication: {}",
            named(config, |route| route.auth == Auth::Optional)
        ),
        format!("trusted proxies: {}", trusted_proxies(config)),
        format!("credentials are taken from: {}", sources(config)),
        staleness(config),
        outage(config),
        format!("access hash: {}", access_hash(config)),
    ];
    lines.extend(tls(config));
    lines.extend(assertions(config));
    lines.extend(
        config
            .webhook
            .as_ref()
            .map(|_| format!("events of Stytch's are taken at {}/webhook", config.signin.base_path)),
    );
    lines.extend(ext_authz(config));
    lines.extend(openings(config));
    lines
}

fn assertions(config: &Config) -> Option<String> {
    let Assertion { header, keys, issuer, ttl, .. } = config.identity.assertion.as_ref()?;
    let (signing, ttl) = (keys.ids().first()?, Period(*ttl));
    Some(format!(
        "assertions: {header}, issued by {issuer}, signed by key {signing}, valid for {ttl}; keys at {}/keys",
        config.signin.base_path
    ))
}

fn listeners(config: &Config) -> String {
    let named = |scheme: &str, listen: &Listen| match listen {
        Listen::Tcp(address) => format!("{scheme}://{address}"),
        Listen::Unix(path) if scheme == "http" => format!("unix:{}", path.display()),
        Listen::Unix(path) => format!("unix:{} (TLS)", path.display()),
    };
    let plain = config.server.listen.iter().map(|listen| named("http", listen));
    let tls = config.server.tls.iter().flat_map(|tls| &tls.listen).map(|listen| named("https", listen));
    plain.chain(tls).collect::<Vec<_>>().join(", ")
}

fn tls(config: &Config) -> Option<String> {
    let tls = config.server.tls.as_ref()?;
    let oldest = match tls.min_version {
        TlsVersion::Tls12 => "1.2",
        TlsVersion::Tls13 => "1.3",
    };
    let names: Vec<&str> =
        tls.certificates.iter().flat_map(|certificate| &certificate.names).map(String::as_str).collect();
    let protocols = if config.server.http2 { "HTTP/2 and HTTP/1.1" } else { "HTTP/1.1" };
    let clients = match &tls.client_ca {
        Some(_) => "only with a client certificate that client_ca vouches for",
        None => "without client certificates",
    };
    Some(format!("https: {protocols} over TLS {oldest} or later, for {}, {clients}", names.join(", ")))
}

fn admin(config: &Config) -> String {
    let address = config.admin.listen;
    let reach = if address.ip().is_loopback() { "this machine alone" } else { "anyone who can reach it" };
    format!("admin: http://{address}, open to {reach}")
}

fn ext_authz(config: &Config) -> Option<String> {
    let listen = &config.ext_authz.as_ref()?.listen;
    let reach = match listen {
        Listen::Tcp(address) if address.ip().is_loopback() => "this machine alone",
        Listen::Tcp(_) => "anyone who can reach it, in clear text",
        Listen::Unix(_) => "anyone who can open it",
    };
    let listen = match listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    };
    Some(format!("ext_authz: gRPC at {listen}, believes {reach} about requests"))
}

fn project(config: &Config) -> String {
    let stytch = &config.stytch;
    let kind = if stytch.project_id.starts_with("project-live-") { "live" } else { "test" };
    let origin = stytch.api_url.to_string();
    let origin = origin.trim_end_matches('/');
    format!("stytch: {kind} project {} ({}) at {origin}", stytch.project_id, stytch.vertical.as_str())
}

fn named(config: &Config, wanted: impl Fn(&Route) -> bool) -> String {
    let names: Vec<&str> =
        config.routes.iter().filter(|route| wanted(route)).map(|route| route.name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

pub(super) fn trusted_proxies(config: &Config) -> String {
    let networks = &config.server.trusted_proxies;
    if networks.is_empty() {
        return "none; forwarding headers are dropped".to_owned();
    }
    let names: Vec<String> = networks.iter().map(ToString::to_string).collect();
    let everyone = networks.iter().any(|network| network.prefix_len() == 0);
    let warning = if everyone { " (everyone: any client can claim any address)" } else { "" };
    format!("{}{warning}", names.join(", "))
}

pub(super) fn sources(config: &Config) -> String {
    let session = &config.session;
    let mut sources = Vec::new();
    if session.bearer {
        sources.push("Authorization: Bearer".to_owned());
    }
    if let Some(header) = &session.header {
        sources.push(format!("header {header}"));
    }
    sources.push(format!("cookies {} and {}", session.jwt_cookie, session.cookie));
    if let Some(parameter) = &session.websocket_query {
        sources.push(format!("query parameter {parameter} of WebSocket handshakes"));
    }
    sources.join(", ")
}

pub(super) fn staleness(config: &Config) -> String {
    let age = Period(config.session.max_staleness);
    if age.0.is_zero() {
        return "max_staleness: 0s; Stytch is asked about every request".to_owned();
    }
    format!("max_staleness: {age}; a revoked session may go on for that long")
}

pub(super) fn outage(config: &Config) -> String {
    let grace = Period(config.session.outage_grace);
    if grace.0.is_zero() {
        return "when Stytch cannot be reached: known sessions go on until max_staleness, then 503"
            .to_owned();
    }
    format!("when Stytch cannot be reached: known sessions go on for {grace} beyond max_staleness, then 503")
}

fn sign_in(config: &Config) -> String {
    let signin = &config.signin;
    let hosts: Vec<String> = signin
        .redirects
        .iter()
        .map(|host| host.port.map_or_else(|| host.host.to_string(), |port| format!("{}:{port}", host.host)))
        .collect();
    let elsewhere =
        if hosts.is_empty() { String::new() } else { format!(", and back to {}", hosts.join(", ")) };
    format!("people sign in at {}/login, on every host{elsewhere}", signin.base_path)
}

/// Choices that open something which is closed by default.
fn openings(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |so: bool, line: String| {
        if so {
            lines.push(line);
        }
    };
    say(
        config.forward_auth,
        format!(
            "forward_auth: trusted proxies are told at {}/auth what may pass; what they forward is theirs to clean",
            config.signin.base_path
        ),
    );
    let asked = named(config, |route| route.upstream.is_none());
    say(asked != "none", format!("routes without an upstream, which are only asked about: {asked}"));
    let cookies = &config.session.cookies;
    say(!cookies.secure, "session cookies are also sent over plain http (secure = false)".to_owned());
    say(!cookies.http_only, "session cookies can be read by scripts (http_only = false)".to_owned());
    say(
        cookies.same_site == SameSite::None,
        "session cookies are sent on requests from other sites (same_site = \"none\")".to_owned(),
    );
    say(
        config.stytch.api_url.scheme_str() == Some("http"),
        "Stytch's API is reached over plain http, on this machine".to_owned(),
    );
    say(
        config.identity.forward_credentials,
        "upstreams are handed session cookies and bearer credentials (forward_credentials)".to_owned(),
    );
    say(
        config.rate_limit.failures.is_none(),
        "refused credentials are not limited (failures = \"off\")".to_owned(),
    );
    say(config.signin.enabled, sign_in(config));
    if let Some(device) = config.signin.device.as_ref().filter(|_| config.signin.enabled) {
        let DeviceScript { script, submit, .. } = device;
        say(
            true,
            format!(
                "a script of another origin runs on the sign-in pages: {script}, which sends to {submit}"
            ),
        );
    }
    if let Some(trips) = &config.signin.round_trips {
        let urls: Vec<&str> = trips.callbacks.iter().map(|callback| callback.url.as_str()).collect();
        say(
            true,
            format!(
                "redirect URLs to register at Stytch, for login, signup and discovery: {}",
                urls.join(", ")
            ),
        );
    }
    say(
        config.signin.enabled && config.rate_limit.sign_in.is_none(),
        "attempts to sign in are not limited (sign_in = \"off\")".to_owned(),
    );
    let unlimited = named(config, |route| route.max_body == MaxBody::Unlimited);
    say(unlimited != "none", format!("routes with bodies of any size: {unlimited}"));
    let observed = named(config, |route| route.observe);
    say(
        observed != "none",
        format!("routes that let pass what they would refuse (enforce = \"observe\"): {observed}"),
    );
    let preflights = named(config, |route| route.cors_preflight == CorsPreflight::Forward);
    say(preflights != "none", format!("routes that let CORS preflights pass: {preflights}"));
    let slashes = named(config, |route| route.encoded_slashes);
    say(slashes != "none", format!("routes that keep %2F in paths: {slashes}"));
    lines
}
