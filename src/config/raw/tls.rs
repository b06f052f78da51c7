//! `[server.tls]` as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OneOrMany;

/// A listener for https beside the plain one.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ServerTls {
    /// An address with a port, or `unix:/path`; or a list of them.
    pub(in crate::config) listen: Option<OneOrMany>,
    /// The certificate chain, a PEM file.
    pub(in crate::config) cert: Option<String>,
    /// Its private key, a PEM file.
    pub(in crate::config) key: Option<String>,
    /// Further certificates, chosen by the name that the client asks for.
    pub(in crate::config) certificates: Vec<Certificate>,
    /// The authorities that client certificates must come from, a PEM file. By default none are asked for.
    pub(in crate::config) client_ca: Option<String>,
    /// The oldest version of TLS to accept.
    pub(in crate::config) min_version: TlsVersion,
}

/// A certificate and its key.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Certificate {
    /// The certificate chain, a PEM file.
    pub(in crate::config) cert: Option<String>,
    /// Its private key, a PEM file.
    pub(in crate::config) key: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(in crate::config) enum TlsVersion {
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}
