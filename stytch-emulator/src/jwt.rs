//! JSON Web Tokens: encoding, and reading back what this project signed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::error::Refusal;
use crate::keys::{KeyRing, SigningKey};

/// Under this claim a token is a session.
pub(crate) const SESSION_CLAIM: &str = "https://stytch.com/session";

/// Under this one it names the organization of a B2B session.
pub(crate) const ORGANIZATION_CLAIM: &str = "https://stytch.com/organization";

pub(crate) fn issuer(project_id: &str) -> String {
    format!("stytch.com/{project_id}")
}

/// The header Stytch gives its tokens.
pub(crate) fn header(key: &SigningKey) -> Value {
    json!({ "alg": "RS256", "kid": key.kid, "typ": "JWT" })
}

pub(crate) fn sign(header: &Value, claims: &Value, key: &SigningKey) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = key.sign(message.as_bytes()).expect("an RSA key signs any message");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The claims of a session JWT of this project, however long ago it expired: Stytch looks at the
/// session then, not at the token's own end.
pub(crate) fn read_session(
    token: &str,
    keys: &KeyRing,
    project_id: &str,
) -> Result<Map<String, Value>, Refusal> {
    let claims = read(token, keys).ok_or(Refusal::UnableToParseSessionJwt)?;
    if claims.get("iss") != Some(&Value::from(issuer(project_id))) {
        return Err(Refusal::JwtInvalidIssuer);
    }
    let meant_for_us = match claims.get("aud") {
        Some(Value::Array(audience)) => audience.iter().any(|one| one == project_id),
        Some(audience) => audience == project_id,
        None => false,
    };
    if !meant_for_us {
        return Err(Refusal::JwtInvalidAudience);
    }
    if !claims.contains_key(SESSION_CLAIM) {
        return Err(Refusal::JwtInvalidClaims);
    }
    Ok(claims)
}

/// The claims of a token that a listed key signed, whatever kind it is and however old.
pub(crate) fn read(token: &str, keys: &KeyRing) -> Option<Map<String, Value>> {
    let (message, signature) = token.rsplit_once('.')?;
    let (header, claims) = message.split_once('.')?;
    let header: Value = decode(header)?;
    if header["alg"] != "RS256" {
        return None;
    }
    let key = keys.listed(header["kid"].as_str()?)?;
    key.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    match decode(claims)? {
        Value::Object(claims) => Some(claims),
        _ => None,
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn decode(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
