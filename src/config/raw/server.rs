//! `[server]` and `[admin]` as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tls::ServerTls;
use super::{CountLimit, OneOrMany, Period, Size};

/// Where clients connect, and how much of the gateway each may take.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Server {
    /// An address with a port, or `unix:/path`; or a list of them. Empty for https alone.
    pub(in crate::config) listen: OneOrMany,
    /// The gateway's own address as browsers see it, such as `https://app.example.com`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) public_url: Option<String>,
    /// Threads that serve requests. By default one for each processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) workers: Option<usize>,
    /// A listener for https beside the plain one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) tls: Option<ServerTls>,
    /// Whether clients may speak HTTP/2. On https listeners alone: nobody speaks it in clear text.
    pub(in crate::config) http2: bool,
    /// Whether connections from trusted proxies begin with a PROXY protocol header; from anyone else none may.
    pub(in crate::config) proxy_protocol: bool,
    /// Whether another gateway may listen at the same addresses, to take over from this one.
    pub(in crate::config) reuse_port: bool,
    /// Addresses or networks whose forwarding headers are believed; from anyone else they are dropped.
    pub(in crate::config) trusted_proxies: Vec<String>,
    /// What one client may take.
    pub(in crate::config) limits: Limits,
    /// How long clients may take.
    pub(in crate::config) timeouts: ServerTimeouts,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: OneOrMany::One("0.0.0.0:8080".to_owned()),
            public_url: None,
            workers: None,
            tls: None,
            http2: true,
            proxy_protocol: false,
            reuse_port: false,
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
            timeouts: ServerTimeouts::default(),
        }
    }
}

/// What one client may take.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Limits {
    /// Bytes of a request's head, its first line included.
    pub(in crate::config) header_bytes: Size,
    /// Headers of a request.
    pub(in crate::config) headers: usize,
    /// Bytes of a request's body. A route's `max_body` goes before it.
    pub(in crate::config) body: Size,
    /// Connections at one time.
    pub(in crate::config) connections: usize,
    /// Connections of one client address at one time, or `"off"`.
    pub(in crate::config) connections_per_address: CountLimit,
    /// Bytes a second that must come or go while a client is waited for, or `"off"`.
    pub(in crate::config) min_rate: CountLimit,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: Size::kibibytes(32),
            headers: 100,
            body: Size::mebibytes(10),
            connections: 10_000,
            connections_per_address: CountLimit(None),
            min_rate: CountLimit(Some(240)),
        }
    }
}

/// How long clients may take.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ServerTimeouts {
    /// For a whole request head, counted from its first byte.
    pub(in crate::config) header: Period,
    /// Between two requests on one connection.
    pub(in crate::config) idle: Period,
    /// For the requests that are under way when the gateway is told to stop.
    pub(in crate::config) drain: Period,
    /// The beginning of that, in which it says that it is not ready and serves everybody still.
    pub(in crate::config) lame_duck: Period,
}

impl Default for ServerTimeouts {
    fn default() -> Self {
        Self {
            header: Period::seconds(10),
            idle: Period::seconds(75),
            drain: Period::seconds(25),
            lame_duck: Period::seconds(0),
        }
    }
}

/// The listener for health checks and metrics.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Admin {
    /// An address with a port. Serves `/livez`, `/readyz`, `/metrics` and `/status`, to anyone who can reach it.
    pub(in crate::config) listen: String,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9090".to_owned() }
    }
}

/// Decisions for proxies in front that ask by HTTP.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ForwardAuth {
    /// Whether they are given, at `/_stytch/auth`, to `server.trusted_proxies` alone.
    pub(in crate::config) enabled: bool,
}

/// Decisions for Envoy's `ext_authz` filter, over gRPC.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ExtAuthz {
    /// Whether they are given.
    pub(in crate::config) enabled: bool,
    /// An address with a port, or `unix:/path`. Answers anyone who can reach it, so only Envoy should.
    pub(in crate::config) listen: String,
}

impl Default for ExtAuthz {
    fn default() -> Self {
        Self { enabled: false, listen: "127.0.0.1:9191".to_owned() }
    }
}
