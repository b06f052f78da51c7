//! What the gateway reads of Stytch's answers; everything else in them is passed over.
//!
//! Objects that only templates look into stay JSON values: a field Stytch adds tomorrow is then
//! usable without a release, and an unknown enum value breaks nothing (REFERENCE.md 13 shows an
//! SDK that such a value breaks).

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// REFERENCE.md section 3.
#[derive(Debug, Deserialize)]
pub struct Jwks {
    pub keys: Vec<Jwk>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct Jwk {
    pub kty: String,
    #[serde(default)]
    pub kid: String,
    #[serde(default, rename = "use")]
    pub usage: Option<String>,
    #[serde(default)]
    pub alg: Option<String>,
    #[serde(default)]
    pub n: String,
    #[serde(default)]
    pub e: String,
}

/// `sessions/authenticate` of either vertical (REFERENCE.md 2.3).
#[derive(Deserialize)]
pub struct Authenticated {
    /// `member_session` or `session`.
    #[serde(alias = "member_session")]
    pub session: Map<String, Value>,
    /// `member` or `user`.
    #[serde(alias = "user")]
    pub member: Value,
    /// Absent for Consumer.
    #[serde(default)]
    pub organization: Value,
    pub session_token: String,
    pub session_jwt: String,
    /// There when a check was asked for and passed.
    #[serde(default)]
    pub verdict: Option<Verdict>,
}

/// What a session is asked whether it may. `organization_id` is for B2B alone (REFERENCE.md 2.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct AuthorizationCheck {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<String>,
    pub resource_id: String,
    pub action: String,
}

/// REFERENCE.md 2.3.
#[derive(Debug, Deserialize)]
pub struct Verdict {
    pub authorized: bool,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub granting_roles: Vec<String>,
}

/// REFERENCE.md section 5. What must be there tells it from any other JSON object, which would be
/// a policy that permits nothing.
#[derive(Debug, Deserialize)]
pub struct ProjectPolicy {
    #[serde(rename = "request_id")]
    _request_id: String,
    #[serde(default)]
    pub policy: Option<Policy>,
}

/// What everybody may do; of resources, only what roles and scopes say of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub roles: Vec<Role>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub scopes: Vec<Scope>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub role_id: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub permissions: Vec<Permission>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    pub scope: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub permissions: Vec<Permission>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    pub resource_id: String,
    /// `*` stands for every action.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub actions: Vec<String>,
}

/// What one organization adds to the project's policy.
#[derive(Debug, Default, Deserialize)]
pub struct OrganizationPolicy {
    #[serde(rename = "request_id")]
    _request_id: String,
    #[serde(default)]
    pub org_policy: Option<OrganizationRoles>,
}

#[derive(Debug, Default, Deserialize)]
pub struct OrganizationRoles {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub roles: Vec<Role>,
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// REFERENCE.md section 1.
#[derive(Debug, Deserialize)]
pub struct Whoami {
    pub project_id: String,
}

/// `oauth2/introspect` (RFC 7662 section 2.2, REFERENCE.md 6.2). Of a token that is not active
/// nothing else is told.
#[derive(Debug, Deserialize)]
pub struct Introspected {
    pub active: bool,
    #[serde(default)]
    pub sub: String,
    #[serde(default)]
    pub client_id: String,
    #[serde(default)]
    pub scope: String,
    #[serde(default, rename = "https://stytch.com/organization")]
    pub organization: Value,
}

/// REFERENCE.md section 8; the OAuth endpoints have a name of their own for the type (6.1).
#[derive(Debug, Deserialize)]
pub struct ErrorBody {
    pub status_code: u16,
    #[serde(alias = "error")]
    pub error_type: String,
}

/// How a member's sign-in stands (REFERENCE.md 7.3). What a call leaves out, or sends as `null` or
/// an empty text, is `None`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct MemberLogin {
    pub member_id: String,
    pub organization: Named,
    #[serde(deserialize_with = "filled")]
    pub session_token: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub session_jwt: Option<String>,
    pub member_session: Option<SessionFacts>,
    #[serde(deserialize_with = "filled")]
    pub intermediate_session_token: Option<String>,
    pub mfa_required: Option<MfaRequired>,
    pub primary_required: Option<PrimaryRequired>,
    /// Whether the member's other sessions were ended.
    #[serde(alias = "reset_session")]
    pub reset_sessions: bool,
    /// Said where a recovery code was used up.
    pub recovery_codes_remaining: Option<u32>,
    #[serde(deserialize_with = "understood")]
    pub member_device: Option<DeviceInfo>,
}

/// An organization, as far as it is shown to people, and what second factors it takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Named {
    pub organization_id: String,
    pub organization_name: String,
    pub organization_slug: String,
    /// `RESTRICTED` to those below, or `ALL_ALLOWED`.
    pub mfa_methods: String,
    pub allowed_mfa_methods: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct SessionFacts {
    #[serde(alias = "member_session_id")]
    pub session_id: String,
    /// RFC 3339.
    pub expires_at: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct MfaRequired {
    /// None: the member has to enrol first.
    pub member_options: Option<MfaOptions>,
    /// `sms_otp` where a code is on its way already.
    pub secondary_auth_initiated: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct MfaOptions {
    #[serde(deserialize_with = "filled")]
    pub mfa_phone_number: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub totp_registration_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct PrimaryRequired {
    pub allowed_auth_methods: Vec<String>,
}

/// An authenticator app that is to show its first code (REFERENCE.md 7.2). `qr_code` is passed over:
/// the picture is drawn from the secret.
#[derive(Deserialize)]
pub struct NewTotp {
    pub secret: String,
    pub recovery_codes: Vec<String>,
    #[serde(default)]
    pub member: Addressed,
    #[serde(default)]
    pub organization: Named,
}

/// A member, as far as they know themselves by it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Addressed {
    pub email_address: String,
}

#[derive(Deserialize)]
pub struct RecoveryCodes {
    pub recovery_codes: Vec<String>,
}

/// What somebody who proved an address may choose among (REFERENCE.md 7.4).
#[derive(Deserialize)]
pub struct Discovered {
    /// Absent where a session asked.
    #[serde(default, deserialize_with = "filled")]
    pub intermediate_session_token: Option<String>,
    pub discovered_organizations: Vec<DiscoveredOrganization>,
}

#[derive(Deserialize)]
pub struct DiscoveredOrganization {
    #[serde(default)]
    pub organization: Option<Named>,
    #[serde(default)]
    pub membership: Option<Membership>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Membership {
    #[serde(rename = "type")]
    pub kind: String,
}

impl DiscoveredOrganization {
    /// Whether it is the one with this id or slug.
    #[must_use]
    pub fn is(&self, wanted: &str) -> bool {
        let named = self.organization.as_ref();
        named.is_some_and(|it| it.organization_id == wanted || it.organization_slug == wanted)
    }
}

/// Where a Consumer code was sent (REFERENCE.md 7.1).
#[derive(Deserialize)]
pub struct Sent {
    #[serde(alias = "email_id", alias = "phone_id")]
    pub method_id: String,
}

/// An organization that was looked up (REFERENCE.md 7.5).
#[derive(Deserialize)]
pub struct OrganizationFound {
    pub organization: WithConnections,
}

/// How an organization's members may come from its own identity provider.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct WithConnections {
    pub organization_id: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub sso_active_connections: Vec<Connection>,
    #[serde(deserialize_with = "filled")]
    pub sso_default_connection_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Connection {
    pub connection_id: String,
    pub display_name: String,
}

/// A Consumer user's sign-in (REFERENCE.md 7.1).
#[derive(Deserialize)]
pub struct UserLogin {
    pub user_id: String,
    #[serde(default, deserialize_with = "filled")]
    pub session_token: Option<String>,
    #[serde(default, deserialize_with = "filled")]
    pub session_jwt: Option<String>,
    #[serde(default)]
    pub session: Option<SessionFacts>,
    /// Whether the user's other sessions were ended.
    #[serde(default)]
    pub reset_sessions: bool,
    /// What OAuth calls it (REFERENCE.md 7.5).
    #[serde(default)]
    pub user_session: Option<SessionFacts>,
    #[serde(default, deserialize_with = "understood")]
    pub user_device: Option<DeviceInfo>,
}

/// The device that somebody signed in from, where a telemetry id was sent.
#[derive(Deserialize)]
pub struct DeviceInfo {
    pub visitor_id: String,
    #[serde(default)]
    pub visitor_id_details: Option<Sightings>,
    #[serde(default)]
    pub ip_geo_city: Option<String>,
    #[serde(default)]
    pub ip_geo_country: Option<String>,
}

/// What is known of earlier sign-ins of the same person.
#[derive(Deserialize)]
pub struct Sightings {
    pub is_new: bool,
    /// RFC 3339.
    #[serde(default)]
    pub first_seen_at: Option<String>,
}

/// An answer of which only that it came matters.
#[derive(Deserialize)]
pub struct Done {}

/// None for what is in no form that is known: nobody is kept out by what is said of a device.
fn understood<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DeviceInfo>, D::Error> {
    Ok(DeviceInfo::deserialize(Value::deserialize(deserializer)?).ok())
}

fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}
