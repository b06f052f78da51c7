//! Who the caller is, and the headers that carry it: stripped from every request, then inserted.
//!
//! What holds: whatever came in, only the gateway's own identity goes out (DESIGN.md section 5).

use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

pub mod assertion;
pub mod device;
pub mod owned;
pub mod template;

/// Types of factor (REFERENCE.md 2.3).
pub const FACTORS: [&str; 14] = [
    "magic_link",
    "otp",
    "oauth",
    "webauthn",
    "totp",
    "crypto",
    "password",
    "signature_challenge",
    "sso",
    "imported",
    "recovery_codes",
    "email_otp",
    "impersonated",
    "trusted_auth_token",
];

/// What a token is, told strictly by its claims (REFERENCE.md 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Session,
    M2m,
    ConnectedApp,
}

impl Kind {
    /// As it is written in configurations and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::M2m => "m2m",
            Self::ConnectedApp => "connected_app",
        }
    }
}

/// Whose a request is, according to Stytch.
#[derive(Debug, Clone)]
pub struct Identity {
    pub kind: Kind,
    /// `member-…`, `user-…` or `m2m-client-…`.
    pub subject: String,
    pub organization: Option<Organization>,
    pub session: Option<Session>,
    pub client: Option<Client>,
    /// The custom claims alone: registered and `https://stytch.com/` names are left out.
    pub claims: Map<String, Value>,
    pub profile: Option<Arc<Profile>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    pub id: String,
    pub slug: String,
}

#[derive(Debug, Clone)]
pub struct Session {
    pub id: String,
    /// The session's roles, not the member's (REFERENCE.md 2.3).
    pub roles: Vec<String>,
    /// In no particular order.
    pub factors: Vec<Factor>,
    /// The session claim, or the API's session object, as it came: read only for templates that ask
    /// for it, since a tree of it takes several times the room.
    pub object: Box<RawValue>,
    /// Unix seconds.
    pub expires_at: Option<i64>,
}

/// One way in which the session was authenticated (REFERENCE.md 2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factor {
    /// Such as `email_otp`.
    pub kind: String,
    /// Unix milliseconds.
    pub last_authenticated_at: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub id: String,
    pub scopes: Vec<String>,
}

/// What only an API answer tells: the member (or user) and organization objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The B2B member or the Consumer user, as the API gave it.
    pub person: Value,
    /// Null for Consumer.
    pub organization: Value,
}

impl Session {
    #[must_use]
    pub fn has_factor(&self, kind: &str) -> bool {
        self.factors.iter().any(|factor| factor.kind == kind)
    }

    /// Whether it has factors of at least two types.
    #[must_use]
    pub fn is_multi_factor(&self) -> bool {
        self.factors.first().is_some_and(|first| self.factors.iter().any(|other| other.kind != first.kind))
    }

    /// When a factor was last used, in unix milliseconds; none where no factor says.
    #[must_use]
    pub fn newest_factor(&self) -> Option<i64> {
        self.factors.iter().filter_map(|factor| factor.last_authenticated_at).max()
    }
}

impl Identity {
    /// The domain of the person's e-mail address, where Stytch says that the address is verified.
    /// Of several addresses (a Consumer user may have them) the first that is verified counts.
    #[must_use]
    pub fn verified_domain(&self) -> Option<&str> {
        let person = &self.profile.as_ref()?.person;
        let is_verified = |object: &Value, key: &str| object.get(key).and_then(Value::as_bool) == Some(true);
        let address = match person.get("emails").and_then(Value::as_array) {
            Some(emails) => emails.iter().find(|email| is_verified(email, "verified"))?.get("email")?,
            None => Some(person)
                .filter(|member| is_verified(member, "email_address_verified"))?
                .get("email_address")?,
        };
        let (_, domain) = address.as_str()?.rsplit_once('@')?;
        Some(domain).filter(|domain| !domain.is_empty())
    }
}
