//! What a person may write: every key, its type and its default.
//!
//! The doc comments are the descriptions that editors show, so they speak to operators. The
//! JSON Schema derived from these types is also what [`shape`](super::shape) checks every layer
//! against, by three marks on a key: `x-later` (not available in this version, or which values are not), `x-secret` (its
//! value never appears in a message) and `x-unit` (a quantity of [`units`](super::units)).
//! Types that hold a secret are without `Debug`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{CountLimit, OneOrMany, Period, RateLimit, Size, SizeLimit};
use super::{Auth, CorsPreflight, LogFormat, OnUnauthenticated, SameSite, Vertical};

mod assertion;
mod later;
mod route;
mod rules;
mod server;
mod signin;
mod tls;
mod upstream;
mod webhook;

pub(super) use assertion::{Assertion, Audience};
pub(super) use later::Cache;
pub(super) use route::{EncodedSlashes, Route};
pub(super) use rules::{Allow, DeviceRules, Enforce, Kind, PermissionCheck};
pub(super) use server::{Admin, ExtAuthz, ForwardAuth, Limits, Server, ServerTimeouts};
pub(super) use signin::{Brand, Signin};
pub(super) use tls::{ServerTls, TlsVersion};
pub(super) use upstream::{Health, Outlier, Upstream, UpstreamTls};
pub(super) use webhook::Webhook;

/// Settings of stytch-gateway.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    /// The Stytch project that vouches for sessions.
    pub(super) stytch: Stytch,
    /// Where clients connect, and how much of the gateway each may take.
    pub(super) server: Server,
    /// The listener for health checks and metrics.
    pub(super) admin: Admin,
    /// Where credentials are found, and how long Stytch's word about them counts.
    pub(super) session: Session,
    /// The headers that tell upstreams who is calling.
    pub(super) identity: Identity,
    /// The services behind the gateway, by name.
    pub(super) upstreams: BTreeMap<String, Upstream>,
    /// Which requests go where, and who may send them. The most specific route wins, whatever the order.
    pub(super) routes: Vec<Route>,
    /// Decisions for nginx `auth_request`, Traefik, Caddy, HAProxy and Envoy's `ext_authz` over HTTP.
    pub(super) forward_auth: ForwardAuth,
    /// Decisions for Envoy's `ext_authz` filter, over gRPC.
    pub(super) ext_authz: ExtAuthz,
    /// How often one client may fail.
    pub(super) rate_limit: RateLimits,
    /// Logs and traces.
    pub(super) telemetry: Telemetry,
    /// Sign-in pages served by the gateway.
    pub(super) signin: Signin,
    /// Stytch's webhooks, to learn of changes at once.
    pub(super) webhook: Webhook,
    /// Shares verified sessions and sign-outs between replicas.
    #[schemars(extend("x-later" = true))]
    pub(super) cache: Cache,
}

impl Raw {
    /// Whether proxies that forward by themselves ask, so that there may be nothing to forward to.
    pub(super) const fn is_asked(&self) -> bool {
        self.forward_auth.enabled || self.ext_authz.enabled
    }
}

/// How to reach Stytch and what to expect of its tokens.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Stytch {
    /// The project, as Stytch's dashboard shows it. `STYTCH_PROJECT_ID` fills it in where no layer gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "project-test-00000000-0000-0000-0000-000000000000")]
    pub(super) project_id: Option<String>,
    /// The project's secret. `STYTCH_SECRET` fills it in where no layer gives it or `secret_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-secret" = true))]
    pub(super) secret: Option<String>,
    /// A file that holds the project's secret; a line break at its end is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret_file: Option<String>,
    /// Which of Stytch's products the project uses.
    pub(super) vertical: Vertical,
    /// Where Stytch's API is. By default `https://test.stytch.com` or `https://api.stytch.com`, as the project id says.
    /// Must be https unless it is on the loopback interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) api_url: Option<String>,
    /// Further values of the `iss` claim to accept.
    pub(super) issuers: Vec<String>,
    /// The project's public token, for OAuth and SSO sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) public_token: Option<String>,
    /// How long one call to Stytch may take.
    pub(super) timeout: Period,
    /// How often the signing keys are fetched again, in the background.
    pub(super) jwks_refresh: Period,
    /// How often the RBAC policy is fetched again, in the background. Only where a route is judged by it.
    pub(super) policy_refresh: Period,
    /// The project's own domain, where Connected Apps get their tokens, such as `login.example.com`. Routes that admit
    /// Connected Apps need it, and tokens may name it as their issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "login.example.com")]
    pub(super) domain: Option<String>,
    /// A file that keeps the last good keys and RBAC policy across restarts. By default none is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_cache_file: Option<String>,
}

impl Default for Stytch {
    fn default() -> Self {
        Self {
            project_id: None,
            secret: None,
            secret_file: None,
            vertical: Vertical::B2b,
            api_url: None,
            issuers: Vec::new(),
            public_token: None,
            timeout: Period::seconds(3),
            jwks_refresh: Period::minutes(15),
            policy_refresh: Period::minutes(5),
            domain: None,
            key_cache_file: None,
        }
    }
}

/// Where credentials are found, and how long Stytch's word about them counts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Session {
    /// The cookie that holds the opaque session token.
    pub(super) cookie: String,
    /// The cookie that holds the session JWT.
    pub(super) jwt_cookie: String,
    /// A header that may carry a session token or JWT. By default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) header: Option<String>,
    /// Whether `Authorization: Bearer` is looked at.
    pub(super) bearer: bool,
    /// The query parameter that may carry a session JWT on a WebSocket handshake; removed before forwarding. By default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) websocket_query: Option<String>,
    /// When a request passes, Stytch's last word about its session is at most this old. `0s` asks Stytch about every request.
    pub(super) max_staleness: Period,
    /// Whether active sessions are checked again in the background, before the last word about them gets too old.
    pub(super) refresh_ahead: bool,
    /// For how much longer a session may go on while Stytch cannot be reached.
    pub(super) outage_grace: Period,
    /// How long a refused credential stays refused without asking again.
    pub(super) negative_ttl: Period,
    /// How far Stytch's clock and this machine's may differ.
    pub(super) leeway: Period,
    /// Whether activity prolongs a session, by `signin.session_duration` from then on.
    pub(super) sliding: bool,
    /// How session cookies are written back.
    pub(super) cookies: Cookies,
    /// How many verified sessions are remembered.
    pub(super) capacity: usize,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            cookie: "stytch_session".to_owned(),
            jwt_cookie: "stytch_session_jwt".to_owned(),
            header: None,
            bearer: true,
            websocket_query: None,
            max_staleness: Period::minutes(5),
            refresh_ahead: true,
            outage_grace: Period::seconds(0),
            negative_ttl: Period::seconds(10),
            leeway: Period::seconds(5),
            sliding: false,
            cookies: Cookies::default(),
            capacity: 100_000,
        }
    }
}

/// How session cookies are written back.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Cookies {
    /// The cookies' `Domain`. By default none: they belong to the host that set them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) domain: Option<String>,
    /// Whether scripts are kept from reading them.
    pub(super) http_only: bool,
    /// Whether browsers send them over https alone.
    pub(super) secure: bool,
    /// On which requests from other sites browsers send them.
    pub(super) same_site: SameSite,
}

impl Default for Cookies {
    fn default() -> Self {
        Self { domain: None, http_only: true, secure: true, same_site: SameSite::Lax }
    }
}

/// The headers that tell upstreams who is calling.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Identity {
    /// Header names and the templates of their values, such as `REMOTE_USER = "{member.email_address}"`. They come on
    /// top of the default headers; the name of a default header replaces it.
    pub(super) headers: BTreeMap<String, String>,
    /// Whether the default headers are sent (`X-Stytch-Member-Id` and its like).
    pub(super) default_headers: bool,
    /// How long a member's or user's profile is remembered, where a header needs it.
    pub(super) profile_ttl: Period,
    /// A signed token beside the headers, which upstreams can verify themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) assertion: Option<Assertion>,
    /// Whether upstreams are handed the session cookies and bearer credentials as well.
    pub(super) forward_credentials: bool,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            headers: BTreeMap::new(),
            default_headers: true,
            profile_ttl: Period::minutes(5),
            assertion: None,
            forward_credentials: false,
        }
    }
}

/// How often one client may fail.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RateLimits {
    /// Attempts to sign in, for each client address; `"off"` lifts the limit.
    pub(super) sign_in: RateLimit,
    /// Refused credentials, for each client address; `"off"` lifts the limit.
    pub(super) failures: RateLimit,
    /// Requests of one identity.
    #[schemars(extend("x-later" = true))]
    pub(super) identity: RateLimit,
    /// How many may come at once. By default as many as the rate counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) burst: Option<u32>,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            sign_in: RateLimit::per_minute(20),
            failures: RateLimit::per_minute(120),
            identity: RateLimit(None),
            burst: None,
        }
    }
}

/// Logs and traces.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Telemetry {
    /// The form of the program's own log.
    pub(super) log: LogFormat,
    /// The least severe messages in that log.
    pub(super) level: Level,
    /// Where the access log goes: `"stdout"`, `"off"` or the path of a file.
    pub(super) access_log: String,
    /// Where the audit log goes: `"stdout"`, `"off"` or the path of a file.
    pub(super) audit_log: String,
    /// Where traces are sent (OTLP). By default nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-later" = true))]
    pub(super) otlp_endpoint: Option<String>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            log: LogFormat::Json,
            level: Level::Info,
            access_log: "stdout".to_owned(),
            audit_log: "off".to_owned(),
            otlp_endpoint: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
