//! A JWT of this project, verified here.
//!
//! What holds: RS256 and nothing else; every claim of REFERENCE.md 4.1, 6.1 and 6.2 is checked; the
//! kinds are told apart strictly by their claims, because they share key set, issuer and audience (4.3);
//! what can be refused without the signature is, since the signature is what costs. Nothing in
//! the header names a key but `kid`, and nothing is ever fetched because of a token's contents.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::claims::Claims;
use super::answer::{read_organization, read_session, scopes};
use super::keys::{KeySet, MAX_MODULUS};
use crate::identity::{Client, Identity, Kind};
use crate::stytch::Vertical;

/// Longest encoded header: `alg`, `kid` and `typ` need about 100 bytes.
const MAX_HEADER: usize = 512;
const MAX_KEY_ID: usize = 128;

const ORGANIZATION: &str = "https://stytch.com/organization";
const RESERVED: [&str; 7] = ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"];

/// What a token of this project must say.
#[derive(Debug, Clone)]
pub struct Expected {
    pub issuers: Vec<String>,
    pub audience: String,
    pub vertical: Vertical,
    /// Seconds of clock difference forgiven.
    pub leeway: i64,
}

/// A token whose signature and claims are good, though its time may be over.
#[derive(Debug)]
pub struct Verified {
    pub identity: Identity,
    /// Unix seconds: when Stytch gave its word.
    pub issued_at: i64,
    /// Unix seconds.
    pub expires_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Refused(&'static str),
    /// The key may be new: worth one fetch for each cooldown, by whoever fetches.
    #[error("the key id is not in the key set")]
    UnknownKey,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    b64: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    zip: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    enc: Option<serde::de::IgnoredAny>,
}

/// Verifies a token against the key set at `now` (unix seconds).
///
/// # Errors
/// [`Error::Refused`] with the reason for the log, or [`Error::UnknownKey`].
pub fn verify(token: &str, keys: &KeySet, expected: &Expected, now: i64) -> Result<Verified, Error> {
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Error::Refused("the JWT does not have three parts"));
    };
    let key_id = read_header(header)?;
    let claims = read_claims(payload)?;
    let verified = check(claims, expected, now)?;
    let key = keys.get(&key_id).ok_or(Error::UnknownKey)?;
    let message = &token.as_bytes()[..header.len() + 1 + payload.len()];
    // Decoded three bytes at a time.
    let mut bytes = [0; MAX_MODULUS.next_multiple_of(3)];
    let verifies = BASE64_URL_SAFE_NO_PAD
        .decode_slice(signature, &mut bytes)
        .is_ok_and(|length| key.verify_sig(message, &bytes[..length]).is_ok());
    if !verifies {
        return Err(Error::Refused("the signature does not verify"));
    }
    Ok(verified)
}

fn read_header(encoded: &str) -> Result<String, Error> {
    if encoded.len() > MAX_HEADER {
        return Err(Error::Refused("the JWT header is too long"));
    }
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| Error::Refused("the JWT header is not base64url"))?;
    let header: Header =
        serde_json::from_slice(&bytes).map_err(|_| Error::Refused("the JWT header is not as it must be"))?;
    if header.alg != "RS256" {
        return Err(Error::Refused("the algorithm is not RS256"));
    }
    if header.crit.is_some() || header.b64.is_some() || header.zip.is_some() || header.enc.is_some() {
        return Err(Error::Refused("the JWT header asks for an extension"));
    }
    if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err(Error::Refused("typ is not JWT"));
    }
    if header.kid.is_empty() || header.kid.len() > MAX_KEY_ID {
        return Err(Error::Refused("the key id is empty or too long"));
    }
    Ok(header.kid)
}

fn read_claims(encoded: &str) -> Result<Claims, Error> {
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| Error::Refused("the JWT payload is not base64url"))?;
    serde_json::from_slice(&bytes).map_err(|_| Error::Refused("the JWT payload is not a JSON object"))
}

/// Everything but the signature, and not whether `exp` has passed: an expired session JWT may be
/// exchanged for a fresh one (REFERENCE.md 2.2).
fn check(claims: Claims, expected: &Expected, now: i64) -> Result<Verified, Error> {
    let Claims { session, others: mut claims } = claims;
    let issuer = claims.get("iss").and_then(Value::as_str);
    if !issuer.is_some_and(|issuer| expected.issuers.iter().any(|known| known == issuer)) {
        return Err(Error::Refused("the issuer is another"));
    }
    let for_us = match claims.get("aud") {
        Some(Value::String(audience)) => *audience == expected.audience,
        Some(Value::Array(audiences)) => {
            audiences.iter().any(|audience| audience.as_str() == Some(&expected.audience))
        }
        _ => false,
    };
    if !for_us {
        return Err(Error::Refused("the audience is another"));
    }
    let time = |name| claims.get(name).and_then(Value::as_i64);
    let (Some(expires_at), Some(issued_at)) = (time("exp"), time("iat")) else {
        return Err(Error::Refused("exp or iat is missing or no integer"));
    };
    if issued_at > now + expected.leeway || expires_at < issued_at {
        return Err(Error::Refused("iat is in the future or after exp"));
    }
    match claims.get("nbf").map(Value::as_i64) {
        None => {}
        Some(Some(not_before)) if not_before <= now + expected.leeway => {}
        Some(_) => return Err(Error::Refused("nbf is in the future or no integer")),
    }
    let Some(Value::String(subject)) = claims.remove("sub") else {
        return Err(Error::Refused("sub is missing"));
    };
    let identity = classify(subject, session, claims, expected.vertical)?;
    Ok(Verified { identity, issued_at, expires_at })
}

/// REFERENCE.md 4.3: the kind follows from the claims alone, and what fits none is refused.
fn classify(
    subject: String,
    session: Option<Box<RawValue>>,
    mut claims: Map<String, Value>,
    vertical: Vertical,
) -> Result<Identity, Error> {
    let organization = claims.remove(ORGANIZATION);
    match session {
        Some(session) if session.get().starts_with('{') => {
            session_identity(subject, session, organization, claims, vertical)
        }
        Some(_) => Err(Error::Refused("the session claim is no object")),
        None => client_identity(subject, organization, claims, vertical),
    }
}

fn session_identity(
    subject: String,
    session: Box<RawValue>,
    organization: Option<Value>,
    claims: Map<String, Value>,
    vertical: Vertical,
) -> Result<Identity, Error> {
    let organization = match vertical {
        Vertical::B2b if subject.starts_with("member-") => Some(
            organization
                .as_ref()
                .and_then(read_organization)
                .ok_or(Error::Refused("a member's session names no organization"))?,
        ),
        Vertical::Consumer if subject.starts_with("user-") && organization.is_none() => None,
        _ => return Err(Error::Refused("the session is of the other vertical")),
    };
    let session = read_session(session).ok_or(Error::Refused("the session claim names no session"))?;
    Ok(Identity {
        kind: Kind::Session,
        subject,
        organization,
        session: Some(session),
        client: None,
        claims: custom(claims),
        profile: None,
    })
}

/// A machine acts for nobody but itself, so its token names no organization; a Connected App acts
/// for someone of the project's own vertical.
fn client_identity(
    subject: String,
    organization: Option<Value>,
    mut claims: Map<String, Value>,
    vertical: Vertical,
) -> Result<Identity, Error> {
    let Some(Value::String(scope)) = claims.remove("scope") else {
        return Err(Error::Refused("neither a session nor scopes"));
    };
    let (kind, id, organization) = match claims.remove("client_id") {
        None if subject.starts_with("m2m-client-") && organization.is_none() => {
            (Kind::M2m, subject.clone(), None)
        }
        Some(Value::String(id)) if is_app(&id) => {
            let (person, organization) = match vertical {
                Vertical::B2b => {
                    let organization = organization.as_ref().and_then(read_organization);
                    (subject.starts_with("member-") && organization.is_some(), organization)
                }
                Vertical::Consumer => (subject.starts_with("user-") && organization.is_none(), None),
            };
            if !person {
                return Err(Error::Refused("a Connected App's token for nobody of this vertical"));
            }
            (Kind::ConnectedApp, id, organization)
        }
        _ => return Err(Error::Refused("the token is of no kind that is known")),
    };
    let client = Some(Client { id, scopes: scopes(&scope) });
    Ok(Identity { kind, subject, organization, session: None, client, claims: custom(claims), profile: None })
}

/// REFERENCE.md section 10: a prefix and a UUID, and so nothing that a form would have to escape.
fn is_app(client_id: &str) -> bool {
    client_id.starts_with("connected-app-")
        && client_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn custom(mut claims: Map<String, Value>) -> Map<String, Value> {
    claims.retain(|name, _| !RESERVED.contains(&name.as_str()) && !name.starts_with("https://stytch.com/"));
    claims
}

/// What an unverified token says of its issuer: only to decide what to withhold.
#[must_use]
pub fn unverified_issuer(token: &str) -> Option<String> {
    let payload = token.split('.').nth(1)?;
    match read_claims(payload).ok()?.others.remove("iss")? {
        Value::String(issuer) => Some(issuer),
        _ => None,
    }
}

/// What a token says of itself, unverified: only to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Empty where it names none.
    pub key_id: String,
    /// Unix seconds.
    pub issued_at: Option<i64>,
    /// Unix seconds.
    pub expires_at: Option<i64>,
    /// Whether it speaks of a session.
    pub session: bool,
}

/// `None` for what is no JWT at all.
#[must_use]
pub fn unverified(token: &str) -> Option<Said> {
    let (header, rest) = token.split_once('.')?;
    let header = read_claims(header).ok()?.others;
    let claims = read_claims(rest.split('.').next()?).ok()?;
    let time = |name| claims.others.get(name).and_then(Value::as_i64);
    Some(Said {
        key_id: header.get("kid").and_then(Value::as_str).unwrap_or_default().to_owned(),
        issued_at: time("iat"),
        expires_at: time("exp"),
        session: claims.session.is_some(),
    })
}

mod claims;
#[cfg(test)]
mod tests;
