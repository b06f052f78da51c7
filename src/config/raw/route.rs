//! `[[routes]]` as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{Allow, Enforce, Kind};
use super::{Auth, CorsPreflight, OnUnauthenticated, Period, SizeLimit};

/// Which requests go where, and who may send them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Route {
    /// The host it is for: a name, or one with labels such as `{org}.app.example.com`. By default every host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) host: Option<String>,
    /// The path it is for: `/reports`, `/reports/*` (and all below), `/teams/{team}/reports`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) path: Option<String>,
    /// The methods it is for. By default every method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) methods: Option<Vec<String>>,
    /// The name of the upstream that requests go to. May be left out where a proxy in front asks (`forward_auth`,
    /// `ext_authz`) and forwards by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) upstream: Option<String>,
    /// Whether a session is required, optional (told to the upstream where there is one), or not looked for.
    pub(in crate::config) auth: Auth,
    /// Which kinds of credential may come.
    pub(in crate::config) kinds: Vec<Kind>,
    /// Who may come: every rule given here must hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) allow: Option<Allow>,
    /// Identity headers of this route, on top of those of `[identity]`.
    pub(in crate::config) headers: BTreeMap<String, String>,
    /// The beginning of the path that the upstream does not see, such as `/app`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) strip_prefix: Option<String>,
    /// Timeouts of this route, before those of its upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) timeouts: Option<RouteTimeouts>,
    /// The largest request body, or `"unlimited"`. By default `server.limits.body`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) max_body: Option<SizeLimit>,
    /// Whether CORS preflights are judged like any request or pass without identity.
    pub(in crate::config) cors_preflight: CorsPreflight,
    /// What becomes of a path with `%2F` in it: refused, or kept as it is.
    pub(in crate::config) encoded_slashes: EncodedSlashes,
    /// Whether refusals are carried out, or only counted and logged.
    pub(in crate::config) enforce: Enforce,
    /// What a browser without a session gets: `"sign_in"` sends it to the sign-in page, `"auto"` does so where there
    /// is one and a session would help. Everyone else gets 401.
    pub(in crate::config) on_unauthenticated: OnUnauthenticated,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            host: None,
            path: None,
            methods: None,
            upstream: None,
            auth: Auth::Required,
            kinds: vec![Kind::Session],
            allow: None,
            headers: BTreeMap::new(),
            strip_prefix: None,
            timeouts: None,
            max_body: None,
            cors_preflight: CorsPreflight::Deny,
            encoded_slashes: EncodedSlashes::Refuse,
            enforce: Enforce::On,
            on_unauthenticated: OnUnauthenticated::Auto,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum EncodedSlashes {
    Refuse,
    Keep,
}

/// Timeouts of one route; what is absent is the upstream's.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RouteTimeouts {
    /// To accept a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) connect: Option<Period>,
    /// From the request to the head of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) response: Option<Period>,
    /// Between two pieces of a body, in either direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) idle: Option<Period>,
}
