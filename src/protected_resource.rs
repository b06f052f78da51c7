//! What OAuth clients are told of the routes that admit Connected Apps, so that they find Stytch by
//! themselves: protected resource metadata (RFC 9728) and `WWW-Authenticate` (RFC 6750, RFC 9728
//! section 5.1).
//!
//! What holds: every word of it comes from the configuration, whatever a request says of its host;
//! documents are written once for each configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Uri};
use serde_json::json;

use crate::access::authz::rules::Rule;
use crate::access::rejection::{Code, Rejection};
use crate::access::route::HostPattern;
use crate::config::{Auth, Route};
use crate::identity::Kind;

/// Where the documents are, followed by the path of what they are about (RFC 9728 section 3.1).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Everything that is announced under one configuration.
#[derive(Debug, Clone, Default)]
pub struct Announced {
    origins: Vec<Origin>,
    /// By route.
    challenges: Vec<Challenge>,
}

/// One address under which routes admit Connected Apps.
#[derive(Debug, Clone)]
struct Origin {
    /// Without a slash at its end.
    url: String,
    /// The hosts that are known under it.
    hosts: Vec<HostPattern>,
    /// The origin itself, with an empty path, and what is under it.
    resources: Vec<Resource>,
}

#[derive(Debug, Clone)]
struct Resource {
    /// As routes are written, without a slash at its end.
    path: String,
    scopes: BTreeSet<String>,
    document: Bytes,
}

/// What a 401 or 403 of one route says besides `Bearer`.
#[derive(Debug, Clone, Default)]
struct Challenge {
    takes_access_tokens: bool,
    /// Where the document is.
    metadata: Option<String>,
    /// With spaces between them.
    scopes: Option<String>,
}

/// What there is at a path under `/.well-known`.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    Document(&'a Bytes),
    /// The path is the gateway's, and there is nothing at it.
    Nothing,
}

impl Announced {
    /// Of these routes, behind `public_url`, with the project's `domain` to send clients to.
    #[must_use]
    pub fn new(routes: &[Arc<Route>], public_url: Option<&Uri>, domain: Option<&str>) -> Self {
        let mut announced = Self::default();
        let public_url = public_url.map(|url| url.to_string().to_ascii_lowercase());
        let public_url = public_url.and_then(|url| url.parse::<Uri>().ok());
        let addresses = (public_url.as_ref(), domain);
        for route in routes {
            let mut challenge = Challenge {
                takes_access_tokens: [Kind::M2m, Kind::ConnectedApp].iter().any(|kind| admits(route, *kind)),
                metadata: None,
                scopes: Some(scopes(route).collect::<Vec<_>>().join(" ")).filter(|scope| !scope.is_empty()),
            };
            if let (true, (Some(public), Some(_))) = (admits(route, Kind::ConnectedApp), addresses) {
                challenge.metadata = Some(announced.announce(route, public));
            }
            announced.challenges.push(challenge);
        }
        for origin in &mut announced.origins {
            for resource in &mut origin.resources {
                resource.document = document(&origin.url, resource, addresses.1.unwrap_or_default());
            }
        }
        announced
    }

    /// Takes a route in, and says where the document about it is.
    fn announce(&mut self, route: &Route, public: &Uri) -> String {
        let url = origin(route, public);
        let position = self.origins.iter().position(|origin| origin.url == url).unwrap_or_else(|| {
            let whole = Resource { path: String::new(), scopes: BTreeSet::new(), document: Bytes::new() };
            self.origins.push(Origin { url: url.clone(), hosts: Vec::new(), resources: vec![whole] });
            self.origins.len() - 1
        });
        let origin = &mut self.origins[position];
        let own: Option<HostPattern> = public.host().and_then(|host| host.parse().ok());
        let own = own.filter(|_| url == trimmed(public));
        origin.hosts.extend(own.into_iter().chain([route.host.clone()]));
        let path = route.path.literal_prefix();
        if !origin.resources.iter().any(|resource| resource.path == path) {
            let scopes = BTreeSet::new();
            origin.resources.push(Resource { path: path.clone(), scopes, document: Bytes::new() });
        }
        for resource in &mut origin.resources {
            if resource.path.is_empty() || resource.path == path {
                resource.scopes.extend(scopes(route).map(str::to_owned));
            }
        }
        format!("{url}{WELL_KNOWN}{path}")
    }

    /// What the gateway itself has at a path, for a host as it was matched. `None` where it has
    /// nothing to say, and the path is like any other.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<Found<'_>> {
        let rest = path.strip_prefix(WELL_KNOWN)?;
        if !rest.is_empty() && !rest.starts_with(['/', ';']) && !rest.starts_with("%3B") {
            return None;
        }
        let wanted = rest.strip_suffix('/').unwrap_or(rest);
        let mut known: Vec<_> = self.origins.iter().filter(|origin| origin.knows(host)).collect();
        if known.is_empty() {
            return None;
        }
        // As routes are found: where the host is named before where any host is taken.
        known.sort_by_key(|origin| !origin.names(host));
        let mut resources = known.into_iter().flat_map(|origin| &origin.resources);
        let resource = resources.find(|resource| resource.path == wanted);
        Some(resource.map_or(Found::Nothing, |resource| Found::Document(&resource.document)))
    }

    /// What a refusal is accompanied by, where it is more than `Bearer`.
    #[must_use]
    pub fn challenge(&self, rejection: &Rejection) -> Option<HeaderValue> {
        let challenge = self.challenges.get(rejection.route?)?;
        let is_401 = rejection.code.status() == StatusCode::UNAUTHORIZED;
        let error = if rejection.code == Code::ScopeMissing {
            Some("insufficient_scope")
        } else if !is_401 || !challenge.takes_access_tokens {
            return None;
        } else if rejection.code == Code::Unauthenticated {
            None
        } else {
            Some("invalid_token")
        };
        let parameters = [
            ("error", error),
            ("scope", challenge.scopes.as_deref()),
            ("resource_metadata", challenge.metadata.as_deref()),
        ];
        let given = parameters.iter().filter_map(|(name, value)| Some(format!("{name}=\"{}\"", (*value)?)));
        let given: Vec<_> = given.collect();
        HeaderValue::try_from(format!("Bearer {}", given.join(", "))).ok().filter(|_| !given.is_empty())
    }
}

impl Origin {
    fn knows(&self, host: &str) -> bool {
        self.hosts.iter().any(|pattern| pattern.matches(host))
    }

    fn names(&self, host: &str) -> bool {
        self.hosts.iter().any(|pattern| pattern.exact() == Some(host))
    }
}

/// Whether a route asks who comes, and lets this kind in.
pub(crate) fn admits(route: &Route, wanted: Kind) -> bool {
    let names = |rule: &Rule| matches!(rule, Rule::Kinds(kinds) if kinds.contains(&wanted));
    route.auth != Auth::None && route.rules.iter().any(names)
}

fn scopes(route: &Route) -> impl Iterator<Item = &str> {
    let named = route
        .rules
        .iter()
        .filter_map(|rule| if let Rule::Scopes(scopes) = rule { Some(scopes) } else { None });
    named.flatten().map(String::as_str)
}

/// The origin that a route is reached at: that of `server.public_url`, at the route's own host where
/// it names one.
fn origin(route: &Route, public: &Uri) -> String {
    let own = route.host.exact().filter(|host| public.host() != Some(host));
    let Some(own) = own else { return trimmed(public) };
    let scheme = public.scheme_str().unwrap_or("https");
    let port = public.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{own}{port}")
}

fn trimmed(url: &Uri) -> String {
    url.to_string().trim_end_matches('/').to_owned()
}

/// RFC 9728 section 2.
fn document(origin: &str, resource: &Resource, domain: &str) -> Bytes {
    let mut document = json!({
        "resource": format!("{origin}{}", resource.path),
        "authorization_servers": [domain],
        "bearer_methods_supported": ["header"],
    });
    if !resource.scopes.is_empty() {
        document["scopes_supported"] = json!(resource.scopes);
    }
    Bytes::from(document.to_string())
}

#[cfg(test)]
mod tests;
