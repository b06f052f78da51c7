//! `[server]` and `[admin]`: listeners, limits and timeouts.

use std::net::{IpAddr, SocketAddr};
use std::thread::available_parallelism;

use ipnet::IpNet;

use super::urls::{self, Origin, quoted};
use super::{Findings, at_least_one, positive, tls};
use crate::config::problems::{KeyPath, Problems};
use crate::config::units::OneOrMany;
use crate::config::{Admin, ExtAuthz, Limits, Listen, Server, ServerTimeouts, raw};

/// A smaller request head would not hold what browsers send.
const SMALLEST_HEAD: u64 = 1 << 10;
/// Nobody needs more, and the table that holds them has an end.
const MOST_HEADERS: usize = 1000;

pub(super) fn server(raw: &raw::Server, findings: &mut Findings) -> Option<Server> {
    let listen_key = KeyPath::of("server.listen");
    let listen = listeners(&listen_key, &raw.listen, &[], &mut findings.problems);
    if raw.tls.is_none() && listen.as_ref().is_some_and(Vec::is_empty) {
        let message = "an empty list leaves nothing to listen on, unless there is a [server.tls]";
        findings.problems.add(&listen_key, message);
    }
    let plain = listen.as_deref().unwrap_or_default();
    let tls = raw.tls.as_ref().map(|raw| tls::tls(raw, plain, findings));
    let problems = &mut findings.problems;
    let public_url_key = KeyPath::of("server.public_url");
    let public_url = raw.public_url.as_ref().map(|text| {
        let origin = problems.keep(&public_url_key, Origin::parse(text))?;
        if !["http", "https"].contains(&origin.scheme.as_str()) {
            problems.add(&public_url_key, "must begin with http:// or https://");
        }
        origin.uri().ok()
    });
    let workers = match raw.workers {
        Some(workers) => at_least_one(workers, &KeyPath::of("server.workers"), problems),
        None => available_parallelism().map_or(1, usize::from),
    };
    let trusted_proxies = trusted_proxies(raw, problems);
    if raw.proxy_protocol && raw.trusted_proxies.is_empty() {
        let message = "is for trusted proxies alone; name them in server.trusted_proxies";
        problems.add(&KeyPath::of("server.proxy_protocol"), message);
    }
    Some(Server {
        listen: listen?,
        tls: match tls {
            Some(tls) => Some(tls?),
            None => None,
        },
        http2: raw.http2,
        public_url: match public_url {
            Some(url) => Some(url?),
            None => None,
        },
        workers,
        trusted_proxies,
        proxy_protocol: raw.proxy_protocol,
        reuse_port: raw.reuse_port,
        limits: limits(&raw.limits, problems),
        timeouts: timeouts(&raw.timeouts, problems),
    })
}

fn timeouts(raw: &raw::ServerTimeouts, problems: &mut Problems) -> ServerTimeouts {
    if raw.lame_duck.0 > raw.drain.0 {
        let message = "is a part of server.timeouts.drain, and longer than it";
        problems.add(&KeyPath::of("server.timeouts.lame_duck"), message);
    }
    ServerTimeouts {
        header: positive(raw.header, &KeyPath::of("server.timeouts.header"), problems),
        idle: positive(raw.idle, &KeyPath::of("server.timeouts.idle"), problems),
        drain: raw.drain.0,
        lame_duck: raw.lame_duck.0,
    }
}

/// The addresses of a list, none of which `others` have already.
pub(super) fn listeners(
    key: &KeyPath,
    texts: &OneOrMany,
    others: &[Listen],
    problems: &mut Problems,
) -> Option<Vec<Listen>> {
    let mut known: Vec<Listen> = Vec::new();
    for (index, text) in texts.as_slice().iter().enumerate() {
        let key = if texts.is_one() { key.clone() } else { key.index(index) };
        let Some(listen) = problems.keep(&key, urls::listen(text)) else { continue };
        if known.contains(&listen) && !matches!(&listen, Listen::Tcp(address) if address.port() == 0) {
            problems.add(&key, format!("{text:?} is listed twice"));
        } else if others.iter().any(|other| overlap(other, &listen)) {
            problems.add(&key, format!("{text:?} is already taken by server.listen"));
        } else if known.iter().any(|other| overlap(other, &listen)) {
            problems
                .add(&key, format!("{text:?} is the same port as another listener that takes every address"));
        }
        known.push(listen);
    }
    Some(known)
}

/// The setting whose listener takes an address already.
fn taken_by(server: &Server, listen: &Listen) -> Option<&'static str> {
    let among = |known: &[Listen]| known.iter().any(|other| overlap(other, listen));
    if among(&server.listen) {
        return Some("server.listen");
    }
    among(server.tls_listen()).then_some("server.tls.listen")
}

/// Whether both would take the same port of the same address.
fn overlap(one: &Listen, other: &Listen) -> bool {
    match (one, other) {
        (Listen::Tcp(one), Listen::Tcp(other)) => {
            let same_family = one.is_ipv4() == other.is_ipv4();
            let any = one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() != 0 && one.port() == other.port() && (one == other || (any && same_family))
        }
        (Listen::Unix(one), Listen::Unix(other)) => one == other,
        _ => false,
    }
}

fn trusted_proxies(raw: &raw::Server, problems: &mut Problems) -> Vec<IpNet> {
    let key = KeyPath::of("server.trusted_proxies");
    let network = |(index, text): (usize, &String)| {
        let parsed =
            text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
                format!("{} is not an address or a network; write one such as \"10.0.0.0/8\"", quoted(text))
            });
        problems.keep(&key.index(index), parsed)
    };
    raw.trusted_proxies.iter().enumerate().filter_map(network).collect()
}

fn limits(raw: &raw::Limits, problems: &mut Problems) -> Limits {
    let key = KeyPath::of("server.limits");
    let head_key = key.key("header_bytes");
    if raw.header_bytes.0 < SMALLEST_HEAD {
        problems.add(&head_key, "must be at least 1KiB");
    }
    if raw.header_bytes.0 > 1 << 20 {
        problems.add(&head_key, "must be at most 1MiB");
    }
    let headers_key = key.key("headers");
    if raw.headers > MOST_HEADERS {
        problems.add(&headers_key, "must be at most 1000");
    }
    Limits {
        header_bytes: usize::try_from(raw.header_bytes.0).unwrap_or(usize::MAX),
        headers: at_least_one(raw.headers, &headers_key, problems),
        body: raw.body.0,
        connections: at_least_one(raw.connections, &key.key("connections"), problems),
        connections_per_address: raw.connections_per_address.0.map(|count| count as usize),
        min_rate: raw.min_rate.0.map(u64::from),
    }
}

pub(super) fn admin(raw: &raw::Admin, server: Option<&Server>, findings: &mut Findings) -> Option<Admin> {
    let key = KeyPath::of("admin.listen");
    let listen: SocketAddr = findings.problems.keep(&key, urls::socket_address(&raw.listen))?;
    if let Some(setting) = server.and_then(|server| taken_by(server, &Listen::Tcp(listen))) {
        findings.problems.add(&key, format!("{:?} is already taken by {setting}", raw.listen));
    }
    Some(Admin { listen })
}

/// Whoever asks must be trusted, so with nobody to trust there is nobody to ask.
pub(super) fn forward_auth(raw: &raw::ForwardAuth, server: Option<&Server>, findings: &mut Findings) {
    if raw.enabled && server.is_some_and(|server| server.trusted_proxies.is_empty()) {
        let message = "answers trusted proxies alone; name the proxy that asks in server.trusted_proxies";
        findings.problems.add(&KeyPath::of("forward_auth.enabled"), message);
    }
}

/// The inner None: not enabled. What is written there is checked all the same.
pub(super) fn ext_authz(
    raw: &raw::ExtAuthz,
    server: Option<&Server>,
    admin: Option<&Admin>,
    findings: &mut Findings,
) -> Option<Option<ExtAuthz>> {
    let key = KeyPath::of("ext_authz.listen");
    let listen = findings.problems.keep(&key, urls::listen(&raw.listen))?;
    if !raw.enabled {
        return Some(None);
    }
    if let Some(setting) = server.and_then(|server| taken_by(server, &listen)) {
        findings.problems.add(&key, format!("{:?} is already taken by {setting}", raw.listen));
    }
    if admin.is_some_and(|admin| overlap(&Listen::Tcp(admin.listen), &listen)) {
        findings.problems.add(&key, format!("{:?} is already taken by admin.listen", raw.listen));
    }
    Some(Some(ExtAuthz { listen }))
}
