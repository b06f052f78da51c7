//! `[upstreams.NAME]`: where the services are.

use http::HeaderValue;
use http::uri::Authority;

use super::urls::{self, Origin, quoted};
use super::{Findings, at_least_one, positive};
use crate::config::problems::{KeyPath, Problems};
use crate::config::{Health, Outlier, Target, Upstream, UpstreamHost, UpstreamTimeouts, raw};

mod tls;

/// More tries are no help, and a mistake.
const MOST_RETRIES: u32 = 10;

pub(super) fn upstreams(all: &raw::Raw, findings: &mut Findings) -> Vec<Upstream> {
    let raw = &all.upstreams;
    let key = KeyPath::of("upstreams");
    if raw.is_empty() && !all.is_asked() {
        let message = "missing; name a service to forward to, such as [upstreams.app] with url = \"http://127.0.0.1:3000\"";
        findings.problems.missing(&key, message);
    }
    raw.iter().filter_map(|(name, upstream)| one(name, upstream, &key.key(name), findings)).collect()
}

fn one(name: &str, raw: &raw::Upstream, key: &KeyPath, findings: &mut Findings) -> Option<Upstream> {
    let problems = &mut findings.problems;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        problems.add(key, "a name is made of letters, digits, hyphens, underscores and dots");
    }
    let targets = targets(raw, key, problems);
    let host = host(raw, targets.as_deref(), &key.key("host"), problems);
    let timeouts = &raw.timeouts;
    let timeouts_key = key.key("timeouts");
    let timeouts = UpstreamTimeouts {
        connect: positive(timeouts.connect, &timeouts_key.key("connect"), problems),
        response: positive(timeouts.response, &timeouts_key.key("response"), problems),
        idle: positive(timeouts.idle, &timeouts_key.key("idle"), problems),
    };
    let connections_key = key.key("max_connections");
    let max_connections = raw.max_connections.map(|count| at_least_one(count, &connections_key, problems));
    if raw.retries > MOST_RETRIES {
        problems.add(&key.key("retries"), format!("at most {MOST_RETRIES}"));
    }
    let health = raw.health.as_ref().map(|raw| health(raw, &key.key("health"), problems));
    let outlier = raw.outlier.as_ref().map(|raw| outlier(raw, &key.key("outlier"), problems));
    let tls = tls::tls(raw, targets.as_deref(), &key.key("tls"), findings);
    Some(Upstream {
        name: name.to_owned(),
        targets: targets?,
        balance: raw.balance,
        timeouts,
        retries: raw.retries,
        max_connections,
        host: host?,
        http2: raw.http2,
        tls: tls?,
        health: health.map_or(Some(None), |health| health.map(Some))?,
        outlier,
    })
}

fn health(raw: &raw::Health, key: &KeyPath, problems: &mut Problems) -> Option<Health> {
    let interval = positive(raw.interval, &key.key("interval"), problems);
    let timeout = positive(raw.timeout, &key.key("timeout"), problems);
    let path_key = key.key("path");
    let Some(text) = &raw.path else {
        problems.missing(&path_key, "missing; write what to ask for, such as \"/healthz\"");
        return None;
    };
    let path = text.parse().ok().filter(|_| text.starts_with('/'));
    if path.is_none() {
        problems.add(&path_key, format!("{text:?} is not a path; write one such as \"/healthz\""));
    }
    Some(Health { path: path?, interval, timeout })
}

fn outlier(raw: &raw::Outlier, key: &KeyPath, problems: &mut Problems) -> Outlier {
    let failures = at_least_one(raw.failures, &key.key("failures"), problems);
    let eject = positive(raw.eject, &key.key("eject"), problems);
    Outlier { failures: u32::try_from(failures).unwrap_or(u32::MAX), eject }
}

fn targets(raw: &raw::Upstream, key: &KeyPath, problems: &mut Problems) -> Option<Vec<Target>> {
    let urls_key = key.key("urls");
    let (texts, keys) = match (&raw.url, &raw.urls) {
        (Some(_), Some(_)) => {
            problems.add(&urls_key, "given together with url; keep one of the two");
            return None;
        }
        (None, None) => {
            if !problems.covers(&urls_key) {
                problems.missing(
                    &key.key("url"),
                    "missing; write where the service is, such as \"http://127.0.0.1:3000\"",
                );
            }
            return None;
        }
        (Some(url), None) => (std::slice::from_ref(url), vec![key.key("url")]),
        (None, Some(urls)) => (urls.as_slice(), (0..urls.len()).map(|index| urls_key.index(index)).collect()),
    };
    if texts.is_empty() {
        problems.add(&urls_key, "an empty list leaves nowhere to forward to");
        return None;
    }
    let mut targets = Vec::new();
    for (text, key) in texts.iter().zip(keys) {
        let Some(target) = problems.keep(&key, target(text)) else { continue };
        if targets.contains(&target) {
            problems.add(&key, format!("{} is listed twice", quoted(text)));
        }
        targets.push(target);
    }
    Some(targets)
}

fn target(text: &str) -> Result<Target, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return urls::unix_path(path).map(Target::Unix);
    }
    let origin = Origin::parse(text)?;
    let (port, tls) = match origin.scheme.as_str() {
        "http" => (80, false),
        "https" => (443, true),
        scheme => {
            return Err(format!(
                "{scheme}:// is not known here; use http://host:port, https://host:port or unix:/path"
            ));
        }
    };
    Ok(Target::Tcp { host: origin.host().to_owned(), port: origin.authority.port_u16().unwrap_or(port), tls })
}

fn host(
    raw: &raw::Upstream,
    targets: Option<&[Target]>,
    key: &KeyPath,
    problems: &mut Problems,
) -> Option<UpstreamHost> {
    match raw.host.as_str() {
        "preserve" => Some(UpstreamHost::Preserve),
        "upstream" => {
            let has_socket =
                targets.is_some_and(|targets| targets.iter().any(|t| matches!(t, Target::Unix(_))));
            if has_socket {
                problems.add(key, "a unix socket has no host to send; write \"preserve\" or a name");
            }
            Some(UpstreamHost::Target)
        }
        name => {
            let sound = name.parse::<Authority>().is_ok_and(|authority| {
                !name.contains('@')
                    && !authority.host().is_empty()
                    && (authority.port().is_none() || authority.port_u16().is_some())
            });
            let value = HeaderValue::from_str(name).ok().filter(|_| sound);
            if value.is_none() {
                problems.add(
                    key,
                    format!("{} is not a host; write \"preserve\", \"upstream\" or a name", quoted(name)),
                );
            }
            value.map(UpstreamHost::Fixed)
        }
    }
}
