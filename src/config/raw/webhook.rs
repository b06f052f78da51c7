//! `[webhook]` as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stytch's webhooks.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Webhook {
    /// Whether they are taken.
    pub(in crate::config) enabled: bool,
    /// The secret that signs them, as Stytch's dashboard shows it: `whsec_…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-secret" = true))]
    pub(in crate::config) secret: Option<String>,
    /// A file that holds `secret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) secret_file: Option<String>,
}
