//! Sections and tables whose part of the program is still to come.
//!
//! They are here so that their keys are checked for spelling and shown in the schema. Anything
//! set in them, other than to its default, is refused as "not available yet".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Shares verified sessions and sign-outs between replicas.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Cache {
    /// `redis://…`, also for Valkey. By default everything stays in the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-secret" = true))]
    pub(in crate::config) url: Option<String>,
    /// A file that holds `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) url_file: Option<String>,
}
