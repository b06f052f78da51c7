//! `[signin]` as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Period;
use crate::config::{OauthProvider, SigninMethod};

/// Sign-in pages served by the gateway.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Signin {
    /// Whether they are served.
    pub(in crate::config) enabled: bool,
    /// The path that the gateway's own pages and endpoints are under. Never forwarded, enabled or not.
    pub(in crate::config) base_path: String,
    /// The ways to sign in.
    pub(in crate::config) methods: Vec<SigninMethod>,
    /// The OAuth providers offered, such as `"google"`, in this order. Only with `"oauth"` among `methods`.
    pub(in crate::config) oauth_providers: Vec<OauthProvider>,
    /// How long a new session lasts.
    pub(in crate::config) session_duration: Period,
    /// Custom claims that every session begun here gets, and their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(in crate::config) custom_claims: BTreeMap<String, serde_json::Value>,
    /// Whether whoever has proved an address may create an organization.
    pub(in crate::config) create_organizations: bool,
    /// How the pages look.
    pub(in crate::config) brand: Brand,
    /// Whether the pages ask Stytch what device somebody is at.
    pub(in crate::config) device: DeviceScript,
    /// A TOML file of texts in place of the built-in ones, a table for each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) texts: Option<String>,
    /// Further hosts that one may return to after signing in, such as `"reports.example.com"`.
    pub(in crate::config) redirects: Vec<String>,
    /// The key that seals the state of a sign-in under way, the same for all replicas. By default one is made at
    /// each start.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-secret" = true))]
    pub(in crate::config) state_key: Option<String>,
    /// A file that holds `state_key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) state_key_file: Option<String>,
}

impl Default for Signin {
    fn default() -> Self {
        Self {
            enabled: false,
            base_path: "/_stytch".to_owned(),
            methods: vec![SigninMethod::EmailOtp],
            oauth_providers: Vec::new(),
            session_duration: Period::minutes(8 * 60),
            custom_claims: BTreeMap::new(),
            create_organizations: false,
            brand: Brand::default(),
            device: DeviceScript::default(),
            texts: None,
            redirects: Vec::new(),
            state_key: None,
            state_key_file: None,
        }
    }
}

/// How the sign-in pages look.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Brand {
    /// The name shown. By default the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) name: Option<String>,
    /// An image file in the place of the name: SVG, PNG, JPEG or WebP, at most 256 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) logo: Option<String>,
    /// The colour of buttons and links, such as `#1a56db`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) accent: Option<String>,
}

/// Device fingerprinting on the sign-in pages.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct DeviceScript {
    /// Stytch's script, which tells devices apart: `https://elements.stytch.com/telemetry.js`. By default none runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) script: Option<String>,
    /// Where the script sends what it has found. Another address where the project has a domain of its own for it.
    pub(in crate::config) submit: String,
}

impl Default for DeviceScript {
    fn default() -> Self {
        Self { script: None, submit: "https://telemetry.stytch.com/submit".to_owned() }
    }
}
