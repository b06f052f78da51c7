//! `[upstreams.NAME]` as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Period;
use super::later::{Health, Outlier, UpstreamTls};

/// A service behind the gateway.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Upstream {
    /// Where it is: `http://host:port` or `unix:/path`. Give this or `urls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) url: Option<String>,
    /// Where its instances are, each as in `url`. Give this or `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) urls: Option<Vec<String>>,
    /// Which instance is next.
    #[schemars(extend("x-later" = true))]
    pub(in crate::config) balance: Balance,
    /// Checks that take an instance out of service while it fails them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-later" = true))]
    pub(in crate::config) health: Option<Health>,
    /// How long it may take.
    pub(in crate::config) timeouts: UpstreamTimeouts,
    /// How often a request that is safe to repeat is tried again on another instance.
    #[schemars(extend("x-later" = true))]
    pub(in crate::config) retries: u32,
    /// Connections to each of its instances at one time, shared out evenly among the workers. By default as many as there are requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) max_connections: Option<usize>,
    /// The `Host` it is sent: `"preserve"` (what the client sent), `"upstream"` (that of its URL), or a name.
    pub(in crate::config) host: String,
    /// Whether to speak HTTP/2 to it.
    #[schemars(extend("x-later" = true))]
    pub(in crate::config) http2: bool,
    /// How to reach it over https.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-later" = true))]
    pub(in crate::config) tls: Option<UpstreamTls>,
    /// Takes an instance out of service for a while after failures in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-later" = true))]
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum Balance {
    RoundRobin,
    LeastRequests,
}

/// How long an upstream may take.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct UpstreamTimeouts {
    /// To accept a connection.
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
