//! Who the caller is, and the headers that carry it: stripped from every request, then inserted.
//!
//! What holds: whatever came in, only the gateway's own identity goes out (DESIGN.md section 5).

use std::sync::Arc;

use serde_json::{Map, Value};

pub mod owned;
pub mod template;

/// What a token is, told strictly by its claims (REFERENCE.md 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Session,
    M2m,
    ConnectedApp,
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
    /// As the session claim or the API's session object gave it, for templates.
    pub object: Value,
    /// Unix seconds.
    pub expires_at: Option<i64>,
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
