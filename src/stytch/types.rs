//! What the gateway reads of Stytch's answers; everything else in them is passed over.
//!
//! Objects that only templates look into stay JSON values: a field Stytch adds tomorrow is then
//! usable without a release, and an unknown enum value breaks nothing (REFERENCE.md 13 shows an
//! SDK that such a value breaks).

use serde::Deserialize;
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
