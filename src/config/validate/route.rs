//! `[[routes]]`: which requests go where.

use http::Method;

use super::headers::templates;
use super::{Findings, is_token, positive, rules};
use crate::access::route::{HostPattern, PathPattern, Table, capture_names};
use crate::config::problems::{KeyPath, Problems, nearest};
use crate::config::raw::EncodedSlashes;
use crate::config::{Auth, MaxBody, OnUnauthenticated, Route, UpstreamTimeouts, raw};

pub(super) fn routes(raw: &raw::Raw, findings: &mut Findings) -> (Vec<Route>, Table) {
    let key = KeyPath::of("routes");
    if raw.routes.is_empty() {
        let message = "missing; add a [[routes]] table with path = \"/*\" and the name of an upstream";
        findings.problems.missing(&key, message);
    }
    let mut used = vec![false; raw.upstreams.len()];
    let mut routes: Vec<(usize, Route)> = Vec::new();
    for (index, route) in raw.routes.iter().enumerate() {
        let reader = Reader { all: raw, raw: route, key: key.index(index) };
        if let Some(position) = reader.upstream_position() {
            used[position] = true;
        }
        routes.extend(reader.route(findings).map(|route| (index, route)));
    }
    let table = table(&routes, &mut findings.problems);
    for (name, _) in raw.upstreams.keys().zip(used).filter(|(_, used)| !used) {
        findings.notes.push(format!("upstreams.{name}: no route uses it"));
    }
    (routes.into_iter().map(|(_, route)| route).collect(), table)
}

/// Two routes that could both be meant are a mistake; `routes` come with their places in the file.
fn table(routes: &[(usize, Route)], problems: &mut Problems) -> Table {
    let table =
        Table::build(routes.iter().map(|(_, route)| (&route.host, &route.path, route.methods.as_deref())));
    let ties = match table {
        Ok(table) => return table,
        Err(ties) => ties,
    };
    for tie in ties {
        if let (Some((first, _)), Some((second, route))) = (routes.get(tie.first), routes.get(tie.second)) {
            let name = &route.name;
            let message = format!(
                "{name:?} matches the same requests as routes[{first}], and neither is more specific"
            );
            problems.add(&KeyPath::of("routes").index(*second), message);
        }
    }
    Table::default()
}

/// One route, in the light of the whole.
struct Reader<'a> {
    all: &'a raw::Raw,
    raw: &'a raw::Route,
    key: KeyPath,
}

impl Reader<'_> {
    fn route(&self, findings: &mut Findings) -> Option<Route> {
        let host = self.host(&mut findings.problems);
        let path = self.path(&mut findings.problems);
        let captured = match (&host, &path) {
            (Some(host), Some(path)) => findings.problems.keep(&self.key, capture_names(host, path)),
            _ => None,
        };
        let rules = rules::Reader {
            route: self.raw,
            key: &self.key,
            vertical: self.all.stytch.vertical,
            captured: captured.unwrap_or_default(),
        }
        .rules(findings);
        let problems = &mut findings.problems;
        let methods = self.methods(problems);
        let upstream = self.upstream(problems);
        let headers = templates(&self.raw.headers, &self.key.key("headers"), problems);
        let strip_prefix = self.strip_prefix(problems);
        let timeouts = self.timeouts(problems);
        let sign_in = self.sign_in(problems);
        self.check_reserved(problems);
        Some(Route {
            name: self.name(),
            host: host?,
            path: path?,
            methods: methods?,
            upstream: upstream?,
            auth: self.raw.auth,
            rules,
            observe: self.raw.enforce == raw::Enforce::Observe,
            headers,
            strip_prefix,
            timeouts,
            max_body: match self.raw.max_body.map(|limit| limit.0) {
                Some(Some(bytes)) => MaxBody::Bytes(bytes),
                Some(None) => MaxBody::Unlimited,
                None => MaxBody::Bytes(self.all.server.limits.body.0),
            },
            cors_preflight: self.raw.cors_preflight,
            encoded_slashes: self.raw.encoded_slashes == EncodedSlashes::Keep,
            sign_in,
        })
    }

    /// Whether a browser without a session is sent to the sign-in page.
    fn sign_in(&self, problems: &mut Problems) -> bool {
        let helps = self.raw.auth != Auth::None && self.raw.kinds.contains(&raw::Kind::Session);
        let enabled = self.all.signin.enabled;
        if self.raw.on_unauthenticated == OnUnauthenticated::SignIn {
            let key = self.key.key("on_unauthenticated");
            if !enabled {
                problems
                    .add(&key, "there are no sign-in pages; set signin.enabled = true, or leave the key out");
            } else if !helps {
                problems.add(&key, "the route takes no sessions, so signing in would not help");
            }
        }
        enabled && helps && self.raw.on_unauthenticated != OnUnauthenticated::Unauthorized
    }

    /// A path that can never be asked for.
    fn check_reserved(&self, problems: &mut Problems) {
        let base = self.all.signin.base_path.trim_end_matches('/');
        let Some(path) = self.raw.path.as_deref() else { return };
        let below = path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if below && !base.is_empty() {
            let message =
                format!("{path:?} is the gateway's own ({base} is signin.base_path) and never forwarded");
            problems.add(&self.key.key("path"), message);
        }
    }

    /// What logs call it: host and path as written, and the methods where some are named.
    fn name(&self) -> String {
        let host = self.raw.host.as_ref().map(|host| format!("{host} ")).unwrap_or_default();
        let path = self.raw.path.as_deref().unwrap_or_default();
        let methods = self.raw.methods.as_ref().map(|methods| format!(" [{}]", methods.join(",")));
        format!("{host}{path}{}", methods.unwrap_or_default())
    }

    fn host(&self, problems: &mut Problems) -> Option<HostPattern> {
        match &self.raw.host {
            Some(text) => problems.keep(&self.key.key("host"), text.parse()),
            None => Some(HostPattern::default()),
        }
    }

    fn path(&self, problems: &mut Problems) -> Option<PathPattern> {
        let key = self.key.key("path");
        match &self.raw.path {
            Some(text) => problems.keep(&key, text.parse()),
            None => {
                problems.missing(&key, "missing; write the path it is for, such as \"/*\" for every path");
                None
            }
        }
    }

    fn methods(&self, problems: &mut Problems) -> Option<Option<Vec<Method>>> {
        let key = self.key.key("methods");
        let Some(texts) = &self.raw.methods else { return Some(None) };
        if texts.is_empty() {
            problems.add(&key, "an empty list matches no request; to match every method, leave the key out");
            return None;
        }
        let mut methods = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let key = key.index(index);
            let upper = text.to_ascii_uppercase();
            match Method::from_bytes(text.as_bytes()) {
                Ok(Method::CONNECT | Method::TRACE) => {
                    problems.add(&key, format!("{text} is always refused, so no route can be for it"));
                }
                _ if !is_token(text) => problems.add(&key, format!("{text:?} is not a method")),
                _ if *text != upper => {
                    problems.add(&key, format!("methods are written in capitals, did you mean {upper:?}?"));
                }
                Ok(method) if methods.contains(&method) => {
                    problems.add(&key, format!("{text} is listed twice"))
                }
                Ok(method) => methods.push(method),
                Err(_) => problems.add(&key, format!("{text:?} is not a method")),
            }
        }
        Some(Some(methods))
    }

    fn upstream_position(&self) -> Option<usize> {
        let name = self.raw.upstream.as_ref()?;
        self.all.upstreams.keys().position(|known| known == name)
    }

    /// The inner None: the gateway is only asked about this route.
    fn upstream(&self, problems: &mut Problems) -> Option<Option<usize>> {
        let key = self.key.key("upstream");
        let Some(name) = &self.raw.upstream else {
            if self.all.is_asked() {
                return Some(None);
            }
            problems.missing(
                &key,
                "missing; name the upstream that requests go to (only with forward_auth or ext_authz can there be none)",
            );
            return None;
        };
        let position = self.upstream_position();
        if position.is_none() {
            let names: Vec<&str> = self.all.upstreams.keys().map(String::as_str).collect();
            let hint = match (nearest(name, names.iter().copied()), names.as_slice()) {
                (Some(near), _) => format!(", did you mean \"{near}\"?"),
                (None, []) => String::new(),
                (None, names) => format!("; there is {}", names.join(", ")),
            };
            problems.add(&key, format!("no upstream is called {name:?}{hint}"));
        }
        position.map(Some)
    }

    fn strip_prefix(&self, problems: &mut Problems) -> Option<String> {
        let prefix = self.raw.strip_prefix.as_deref()?;
        let key = self.key.key("strip_prefix");
        let bare = prefix.trim_end_matches('/');
        if !prefix.starts_with('/') || bare.is_empty() {
            problems.add(
                &key,
                format!("{prefix:?} strips nothing; write the beginning of the path, such as \"/app\""),
            );
            return None;
        }
        let path = self.raw.path.as_deref()?;
        let mut segments = path.split('/');
        let literal = bare.split('/').all(|segment| {
            !segment.contains(['{', '*']) && segments.next().is_some_and(|expected| expected == segment)
        });
        if !literal {
            problems.add(&key, format!("{prefix:?} is not how every path of {path:?} begins"));
        }
        Some(bare.to_owned())
    }

    fn timeouts(&self, problems: &mut Problems) -> Option<UpstreamTimeouts> {
        let own = self.raw.timeouts.as_ref()?;
        let position = self.upstream_position()?;
        let upstream = &self.all.upstreams.values().nth(position)?.timeouts;
        let key = self.key.key("timeouts");
        Some(UpstreamTimeouts {
            connect: positive(own.connect.unwrap_or(upstream.connect), &key.key("connect"), problems),
            response: positive(own.response.unwrap_or(upstream.response), &key.key("response"), problems),
            idle: positive(own.idle.unwrap_or(upstream.idle), &key.key("idle"), problems),
        })
    }
}
