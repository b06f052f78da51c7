//! `kinds`, `allow` and `enforce` of a route as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Period;

/// Which kind of token a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum Kind {
    Session,
    M2m,
    ConnectedApp,
}

/// What becomes of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum Enforce {
    On,
    Observe,
}

/// Who may come: every rule given here must hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Allow {
    /// Ids or slugs of organizations, or a `{name}` that the route captures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) organizations: Option<Vec<String>>,
    /// Roles of which the session must have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) roles: Option<Vec<String>>,
    /// What Stytch's RBAC policy must permit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) permission: Option<Permission>,
    /// Scopes that the token must have, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) scopes: Option<Vec<String>>,
    /// Custom claims and the value, or list of values, of which one must be equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) claims: Option<BTreeMap<String, serde_json::Value>>,
    /// Domains of which the verified e-mail address must have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) email_domains: Option<Vec<String>>,
    /// Types of authentication factor that the session must have, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) factors: Option<Vec<String>>,
    /// Whether the session must have factors of at least two types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) mfa: Option<bool>,
    /// How long ago a factor may have been used last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) max_auth_age: Option<Period>,
    /// `false` refuses sessions of an impersonator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) impersonated: Option<bool>,
    /// What the device must be from which the session was signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) device: Option<DeviceRules>,
}

/// What the device must be from which the session was signed in.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct DeviceRules {
    /// Whether it must be one that the person had signed in from before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) known: Option<bool>,
    /// How long before the sign-in it must have been seen first with this person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) known_for: Option<Period>,
    /// Countries, such as `"DE"`, of which the address at the sign-in must have been in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) countries: Option<Vec<String>>,
}

/// What Stytch's RBAC policy must permit.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Permission {
    /// The resource's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) resource: Option<String>,
    /// The action on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) action: Option<String>,
    /// Who judges: this gateway with a copy of the policy, or Stytch. By default `"local"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) check: Option<PermissionCheck>,
}

/// Who judges a permission.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum PermissionCheck {
    Local,
    Remote,
}
