//! The configuration the rest of the program may rely on.
//!
//! What a person may write is `raw`; what comes out of its validation is here, holding parsed
//! values only, so that nothing is checked a second time. Every mistake is reported at once.
//! Nothing outside this module reads a settings file or the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Uri};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::authz::rules::Rules;
use crate::access::route::{HostPattern, PathPattern, Table};
use crate::identity::assertion;
use crate::identity::template::Template;
use crate::protected_resource::Announced;
use crate::server::tls::certificate::{Authorities, Certificate};
use crate::upstream::tls::Tls;

mod access;
mod environment;
mod layer;
mod load;
mod print;
mod problems;
mod raw;
mod round_trips;
mod schema;
pub mod secret;
mod shape;
mod signin;
mod summary;
mod units;
mod validate;

pub use access::{access, access_hash};
pub use environment::variables;
pub use load::{ConfigError, Loaded, admin_address, load};
pub use print::print;
pub use round_trips::{Callback, OauthProvider, RoundTrips};
pub use schema::schema;
pub use secret::Secret;
pub use signin::{Brand, DeviceScript, Logo, Signin, SigninMethod};
pub use summary::summary;

pub use crate::stytch::Vertical;

/// Everything an operator decided, parsed and checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub stytch: Stytch,
    pub server: Server,
    pub admin: Admin,
    pub session: Session,
    pub identity: Identity,
    /// In the order of their names; routes refer to them by index.
    pub upstreams: Vec<Arc<Upstream>>,
    /// In the order of the file; the route table sorts them by specificity.
    pub routes: Vec<Arc<Route>>,
    /// Finds the route of a request; it holds none that tie.
    pub table: Table,
    /// What OAuth clients are told of these routes.
    pub announced: Announced,
    /// Whether trusted proxies are told what may pass (`forward_auth.enabled`).
    pub forward_auth: bool,
    /// None: no events are taken.
    pub webhook: Option<Webhook>,
    /// None: no decisions for Envoy.
    pub ext_authz: Option<ExtAuthz>,
    pub rate_limit: RateLimit,
    pub telemetry: Telemetry,
    pub signin: Signin,
    /// Every file whose change may change this configuration: settings and secrets.
    pub watched: Vec<PathBuf>,
}

impl Config {
    /// Whether a session's profile must be known before a request of it can pass.
    #[must_use]
    pub fn needs_profile(&self) -> bool {
        let in_routes = self.routes.iter().flat_map(|route| &route.headers);
        self.identity.headers.iter().chain(in_routes).any(|(_, template)| template.needs_profile())
            || self.routes.iter().any(|route| route.rules.needs_profile())
    }
}

/// How to reach Stytch and what to expect of its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stytch {
    pub project_id: String,
    pub secret: Secret,
    pub vertical: Vertical,
    /// Without a trailing slash.
    pub api_url: Uri,
    /// Every `iss` accepted: `stytch.com/<project_id>`, the API's own URL when it is a custom
    /// domain, the project's domain, and the configured extra ones (REFERENCE.md 4.1, 6.2).
    pub issuers: Vec<String>,
    pub public_token: Option<String>,
    pub timeout: Duration,
    pub jwks_refresh: Duration,
    pub policy_refresh: Duration,
    /// The project's own domain as an origin, without a trailing slash: the authorization server of
    /// Connected Apps.
    pub domain: Option<String>,
    pub key_cache_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug, Clone)]
pub struct Server {
    /// In clear text. Empty only where there is https.
    pub listen: Vec<Listen>,
    /// None: no https.
    pub tls: Option<ServerTls>,
    /// Whether clients on https listeners may choose HTTP/2.
    pub http2: bool,
    pub public_url: Option<Uri>,
    /// Threads that serve requests, each with a socket and pools of its own.
    pub workers: usize,
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections from trusted proxies say first whose they are.
    pub proxy_protocol: bool,
    /// Whether other processes may listen at the same addresses.
    pub reuse_port: bool,
    pub limits: Limits,
    pub timeouts: ServerTimeouts,
}

impl Server {
    /// Where https is listened for.
    #[must_use]
    pub fn tls_listen(&self) -> &[Listen] {
        self.tls.as_ref().map_or(&[], |tls| &tls.listen)
    }
}

/// https listeners.
#[derive(Debug, Clone)]
pub struct ServerTls {
    pub listen: Vec<Listen>,
    /// At least one, which is shown to clients that ask for no name, or an unknown one.
    pub certificates: Vec<Certificate>,
    /// Who vouches for clients. None: clients need no certificate.
    pub client_ca: Option<Authorities>,
    /// The oldest that is spoken.
    pub min_version: TlsVersion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a request head, its request line included.
    pub header_bytes: usize,
    pub headers: usize,
    /// Bytes of a request body, declared or chunked.
    pub body: u64,
    pub connections: usize,
    pub connections_per_address: Option<usize>,
    /// Bytes a second, of a client that is waited for.
    pub min_rate: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct ServerTimeouts {
    /// From the first byte of a head (or from accept) to its last.
    pub header: Duration,
    pub idle: Duration,
    pub drain: Duration,
    /// How much of `drain` everybody is still served.
    pub lame_duck: Duration,
}

#[derive(Debug, Clone)]
pub struct Admin {
    pub listen: SocketAddr,
}

/// The door for Envoy's `ext_authz` filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtAuthz {
    pub listen: Listen,
}

/// Where credentials are found and how long Stytch's word about them counts.
#[derive(Debug, Clone)]
pub struct Session {
    /// Cookie with the opaque token.
    pub cookie: String,
    pub jwt_cookie: String,
    pub header: Option<HeaderName>,
    pub bearer: bool,
    pub websocket_query: Option<String>,
    pub max_staleness: Duration,
    pub refresh_ahead: bool,
    pub outage_grace: Duration,
    pub negative_ttl: Duration,
    pub leeway: Duration,
    /// Whether activity prolongs a session, by [`Signin::session_minutes`].
    pub sliding: bool,
    pub cookies: Cookies,
    /// Verified sessions remembered, in all workers together.
    pub capacity: usize,
}

#[derive(Debug, Clone)]
pub struct Cookies {
    pub domain: Option<String>,
    pub http_only: bool,
    pub secure: bool,
    pub same_site: SameSite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum SameSite {
    Lax,
    Strict,
    None,
}

#[derive(Debug, Clone)]
pub struct Identity {
    /// Header to template: the defaults (unless switched off) with the configured ones over them.
    pub headers: Vec<(HeaderName, Template)>,
    pub profile_ttl: Duration,
    pub forward_credentials: bool,
    /// None: identity is told in headers alone.
    pub assertion: Option<Assertion>,
}

/// What is signed for upstreams, and for whom.
#[derive(Debug, Clone)]
pub struct Assertion {
    pub header: HeaderName,
    pub keys: Arc<assertion::Keys>,
    pub issuer: String,
    /// The audience of each route, by its index.
    pub audiences: Vec<String>,
    /// At least a second.
    pub ttl: Duration,
}

#[derive(Debug, Clone)]
pub struct Upstream {
    pub name: String,
    pub targets: Vec<Target>,
    pub balance: Balance,
    pub timeouts: UpstreamTimeouts,
    /// Times that a request may be sent again.
    pub retries: u32,
    /// Of all instances and workers together.
    pub max_connections: Option<usize>,
    pub host: UpstreamHost,
    pub http2: bool,
    /// How its https targets are reached. None without any.
    pub tls: Option<Tls>,
    pub health: Option<Health>,
    pub outlier: Option<Outlier>,
}

/// One place of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `host` may be a name, which may have several addresses.
    Tcp {
        host: String,
        port: u16,
        tls: bool,
    },
    Unix(PathBuf),
}

/// Which instance of an upstream is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Balance {
    RoundRobin,
    LeastRequests,
}

/// How an instance is asked whether it is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub path: PathAndQuery,
    pub interval: Duration,
    /// Of one check, the connection included.
    pub timeout: Duration,
}

/// When an instance is left alone for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlier {
    /// In a row.
    pub failures: u32,
    pub eject: Duration,
}

#[derive(Debug, Clone)]
pub struct UpstreamTimeouts {
    pub connect: Duration,
    /// From the request to the head of the response.
    pub response: Duration,
    /// Between two pieces of a body, in either direction.
    pub idle: Duration,
}

/// The `Host` an upstream is given.
#[derive(Debug, Clone)]
pub enum UpstreamHost {
    Preserve,
    /// The host and port of the target's URL.
    Target,
    Fixed(HeaderValue),
}

#[derive(Debug, Clone)]
pub struct Route {
    /// What logs and metrics call it: `host path` as written, methods in brackets where named.
    pub name: String,
    pub host: HostPattern,
    pub path: PathPattern,
    /// None: every method.
    pub methods: Option<Vec<Method>>,
    /// Index into [`Config::upstreams`]. None where the gateway only answers whether a request may
    /// pass, and forwards none.
    pub upstream: Option<usize>,
    pub auth: Auth,
    /// What is asked of whoever comes.
    pub rules: Rules,
    /// Refusals of access are counted and logged, and not carried out.
    pub observe: bool,
    /// This route's own identity headers, over those of [`Identity::headers`].
    pub headers: Vec<(HeaderName, Template)>,
    pub strip_prefix: Option<String>,
    pub timeouts: Option<UpstreamTimeouts>,
    pub max_body: MaxBody,
    pub cors_preflight: CorsPreflight,
    /// Whether `%2F` may stand in the path (`encoded_slashes = "keep"`).
    pub encoded_slashes: bool,
    /// Whether a browser without a session is sent to the sign-in page.
    pub sign_in: bool,
}

/// What a browser without a session gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum OnUnauthenticated {
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "sign_in")]
    SignIn,
    #[serde(rename = "401")]
    Unauthorized,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Auth {
    Required,
    Optional,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxBody {
    Bytes(u64),
    Unlimited,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum CorsPreflight {
    /// Preflights are judged like any request.
    Deny,
    /// True preflights pass without identity.
    Forward,
}

/// Stytch's events.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Signs them.
    pub key: hmac::Key,
}

/// A number of events in a window of time, as in `"120/min"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

#[derive(Debug, Clone)]
pub struct RateLimit {
    /// Refused credentials, for each client address. None: no limit.
    pub failures: Option<Rate>,
    /// Attempts to sign in, for each client address. None: no limit.
    pub sign_in: Option<Rate>,
    /// Events allowed at once; by default as many as the rate counts.
    pub burst: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum LogFormat {
    Json,
    Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    Stdout,
    Off,
    File(PathBuf),
}

#[derive(Debug, Clone)]
pub struct Telemetry {
    pub log: LogFormat,
    pub level: tracing::Level,
    pub access_log: LogTarget,
    pub audit_log: LogTarget,
}

#[cfg(test)]
mod tests;
