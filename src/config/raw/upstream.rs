//! `[upstreams.NAME]` as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Period;
use crate::config::Balance;

/// A service behind the gateway.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Upstream {
    /// Where it is: `http://host:port`, `https://host:port` or `unix:/path`. Give this or `urls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) url: Option<String>,
    /// Where its instances are, each as in `url`. Give this or `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) urls: Option<Vec<String>>,
    /// Which instance is next: each in its turn, or of two chosen at random the one with fewer requests under way.
    pub(in crate::config) balance: Balance,
    /// Checks that take an instance out of service while it fails them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) health: Option<Health>,
    /// How long it may take.
    pub(in crate::config) timeouts: UpstreamTimeouts,
    /// How often a request that is safe to repeat is sent again, to another instance where there is one, when no byte of an answer came.
    pub(in crate::config) retries: u32,
    /// Connections to it at one time, of all instances and workers together; where HTTP/2 is spoken, requests. By default as many as there are requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) max_connections: Option<usize>,
    /// The `Host` it is sent: `"preserve"` (what the client sent), `"upstream"` (that of its URL), or a name.
    pub(in crate::config) host: String,
    /// Whether to speak HTTP/2 to it: over https where it agrees, over http and sockets always.
    pub(in crate::config) http2: bool,
    /// How to reach it over https.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) tls: Option<UpstreamTls>,
    /// Takes an instance out of service for a while after failures in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) outlier: Option<Outlier>,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            url: None,
            urls: None,
            balance: Balance::RoundRobin,
            health: None,
            timeouts: UpstreamTimeouts::default(),
            retries: 0,
            max_connections: None,
            host: "preserve".to_owned(),
            http2: false,
            tls: None,
            outlier: None,
        }
    }
}

/// Checks that take an instance out of service while it fails them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Health {
    /// The path asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) path: Option<String>,
    /// How often.
    pub(in crate::config) interval: Period,
    /// How long a check may take, the connection included.
    pub(in crate::config) timeout: Period,
}

impl Default for Health {
    fn default() -> Self {
        Self { path: None, interval: Period::seconds(5), timeout: Period::seconds(1) }
    }
}

/// How to reach an upstream over https.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct UpstreamTls {
    /// The authorities to trust, a PEM file. By default the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) ca: Option<String>,
    /// The certificate to present, with its chain, a PEM file. By default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) cert: Option<String>,
    /// Its private key, a PEM file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) key: Option<String>,
    /// The name its certificate must have. By default that of its URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) server_name: Option<String>,
}

/// When an instance is taken out of service after failures in a row.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Outlier {
    /// How many failures.
    pub(in crate::config) failures: usize,
    /// For how long it is left alone.
    pub(in crate::config) eject: Period,
}

impl Default for Outlier {
    fn default() -> Self {
        Self { failures: 5, eject: Period::seconds(30) }
    }
}

/// How long an upstream may take.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct UpstreamTimeouts {
    /// To accept a connection; and for a request to wait for one where `max_connections` are in use.
    pub(in crate::config) connect: Period,
    /// From the request to the head of the response.
    pub(in crate::config) response: Period,
    /// Between two pieces of a body, in either direction.
    pub(in crate::config) idle: Period,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self { connect: Period::seconds(2), response: Period::seconds(60), idle: Period::seconds(60) }
    }
}
