//! Identity as a signed token, which an upstream can verify without believing whoever connects.
//!
//! What holds: only a proved identity is signed for; a token is for one audience, says nothing that
//! the identity headers do not, and outlives neither its session nor its own short time; what is
//! handed out again has at least half of that time left, or as much as the session has.

use std::cell::RefCell;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::Value;

pub use self::keys::{Keys, KeysError};
use super::{Identity, Kind};
use crate::clock;
use crate::config::Config;

mod keys;

/// The usual header.
pub const HEADER: HeaderName = HeaderName::from_static("x-stytch-assertion");

/// The `iss` of a gateway that was not told its own address: what a client writes into `Host` must
/// not become part of what is signed.
pub const ISSUER: &str = "stytch-gateway";

/// Signs for one configuration.
pub struct Signer {
    pub header: HeaderName,
    keys: Arc<Keys>,
    issuer: String,
    /// Seconds.
    ttl: i64,
    audiences: Vec<String>,
    /// Position in `audiences`, for each route.
    of_route: Vec<usize>,
    /// Whether every session comes with its profile. Without that, some claims would come and go
    /// with the kind of credential.
    with_profile: bool,
}

/// What was signed about one credential, one token for each audience.
#[derive(Default)]
pub struct Kept(RefCell<Vec<Signed>>);

struct Signed {
    audience: usize,
    value: HeaderValue,
    /// Unix milliseconds: from here on it is signed anew.
    again_at: i64,
}

/// Registered names are those of RFC 7519, RFC 8693, RFC 9068 and OpenID Connect.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: i64,
    exp: i64,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization_slug: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(flatten)]
    person: Person<'a>,
}

/// What only a profile tells.
#[derive(Default, Serialize)]
struct Person<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl Signer {
    /// None where the settings ask for no assertion.
    #[must_use]
    pub fn new(config: &Config) -> Option<Self> {
        let settings = config.identity.assertion.as_ref()?;
        let mut audiences: Vec<String> = Vec::new();
        let mut of_route = Vec::new();
        for audience in &settings.audiences {
            let known = audiences.iter().position(|known| known == audience);
            of_route.push(known.unwrap_or(audiences.len()));
            if known.is_none() {
                audiences.push(audience.clone());
            }
        }
        Some(Self {
            header: settings.header.clone(),
            keys: Arc::clone(&settings.keys),
            issuer: settings.issuer.clone(),
            ttl: clock::span(settings.ttl) / 1000,
            audiences,
            of_route,
            with_profile: config.needs_profile(),
        })
    }

    /// The token that tells the upstream of `route` about this identity at `now`. `ends` is when the
    /// credential does; both are unix milliseconds. None where signing fails, which leaves nothing
    /// for an upstream to believe.
    #[must_use]
    pub fn assertion(
        &self,
        route: usize,
        who: &Identity,
        ends: i64,
        kept: &Kept,
        now: i64,
    ) -> Option<HeaderValue> {
        let audience = *self.of_route.get(route)?;
        let mut kept = kept.0.borrow_mut();
        let known = kept.iter_mut().find(|signed| signed.audience == audience);
        if let Some(signed) = &known
            && now < signed.again_at
        {
            return Some(signed.value.clone());
        }
        let (value, again_at) = self.sign(audience, who, ends, now)?;
        let signed = Signed { audience, value: value.clone(), again_at };
        match known {
            Some(known) => *known = signed,
            None => kept.push(signed),
        }
        Some(value)
    }

    /// A token, and until when it may be handed out.
    fn sign(&self, audience: usize, who: &Identity, ends: i64, now: i64) -> Option<(HeaderValue, i64)> {
        let issued_at = now.div_euclid(1000);
        let last_second = ends / 1000 + i64::from(ends % 1000 > 0);
        let expires_at = (issued_at + self.ttl).min(last_second);
        let claims = self.claims(audience, who, issued_at, expires_at);
        let claims = serde_json::to_vec(&claims).ok()?;
        let key = self.keys.signing();
        let mut token = key.header().to_owned();
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let Some(signature) = key.sign(token.as_bytes()) else {
            tracing::error!("an assertion could not be signed");
            return None;
        };
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        let half = issued_at * 1000 + self.ttl * 500;
        Some((HeaderValue::try_from(token).ok()?, half.min(expires_at * 1000)))
    }

    fn claims<'a>(&'a self, audience: usize, who: &'a Identity, iat: i64, exp: i64) -> Claims<'a> {
        let session = who.session.as_ref();
        let organization = who.organization.as_ref();
        let client = who.client.as_ref();
        Claims {
            iss: &self.issuer,
            aud: &self.audiences[audience],
            sub: &who.subject,
            iat,
            exp,
            kind: kind(who.kind),
            session_id: session.map(|session| session.id.as_str()),
            organization_id: organization.map(|organization| organization.id.as_str()),
            organization_slug: organization
                .map(|organization| organization.slug.as_str())
                .filter(|slug| !slug.is_empty()),
            roles: session.map(|session| session.roles.as_slice()),
            client_id: client.map(|client| client.id.as_str()),
            scope: client.map(|client| client.scopes.join(" ")),
            person: self.person(who),
        }
    }

    fn person<'a>(&self, who: &'a Identity) -> Person<'a> {
        let Some(profile) = who.profile.as_deref().filter(|_| self.with_profile) else {
            return Person::default();
        };
        let person = &profile.person;
        let text = |value: &'a Value| value.as_str().filter(|text| !text.is_empty());
        // A member has one address, a Consumer user a list of them.
        let (email, verified) = match person.get("emails").and_then(|emails| emails.get(0)) {
            Some(first) => (&first["email"], &first["verified"]),
            None => (&person["email_address"], &person["email_address_verified"]),
        };
        let email = text(email);
        Person {
            email,
            email_verified: email.map(|_| verified.as_bool().unwrap_or(false)),
            name: text(&person["name"]),
        }
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Session => "session",
        Kind::M2m => "m2m",
        Kind::ConnectedApp => "connected_app",
    }
}

#[cfg(test)]
mod tests;
