//! `[identity.assertion]` as written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Period;

/// A signed token beside the identity headers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Assertion {
    /// The header that carries it.
    pub(in crate::config) header: String,
    /// The private keys, a PEM file of EC keys on the curve P-256. The first signs, and all are published, so that keys can be rolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) key_file: Option<String>,
    /// Its `aud` claim: one for all routes, or a table from the names of routes to theirs. By default the name of the route's upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) audience: Option<Audience>,
    /// How long it is valid.
    pub(in crate::config) ttl: Period,
}

impl Default for Assertion {
    fn default() -> Self {
        Self {
            header: "X-Stytch-Assertion".to_owned(),
            key_file: None,
            audience: None,
            ttl: Period::seconds(60),
        }
    }
}

/// One audience for all routes, or one for each of some.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum Audience {
    Everywhere(String),
    ByRoute(BTreeMap<String, String>),
}

impl JsonSchema for Audience {
    fn schema_name() -> Cow<'static, str> {
        "Audience".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = json!({ "type": "string" });
        schemars::json_schema!({ "type": ["string", "object"], "additionalProperties": text })
    }
}
