//! What makes a token one of ours.

use std::sync::LazyLock;
use std::time::SystemTime;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use serde_json::json;

use super::*;
use crate::stytch::types::{Jwk, Jwks};

const PROJECT: &str = "project-test-1";
const NOW: i64 = 1_800_000_000;

static KEY: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
static FOREIGN: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

fn keys() -> KeySet {
    // A PKCS #1 sequence: nine bytes, the modulus of 2048 bits, the exponent.
    let n = BASE64_URL_SAFE_NO_PAD.encode(&KEY.public_key().as_ref()[9..9 + 256]);
    let jwk = Jwk { kty: "RSA".into(), kid: "key-1".into(), usage: None, alg: None, n, e: "AQAB".into() };
    KeySet::new(Jwks { keys: vec![jwk] }, None, SystemTime::UNIX_EPOCH).unwrap()
}

fn expected(vertical: Vertical) -> Expected {
    let issuers = vec![format!("stytch.com/{PROJECT}"), "https://login.example.com".to_owned()];
    Expected { issuers, audience: PROJECT.into(), vertical, leeway: 5 }
}

fn part(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed(message: &str, key: &RsaKeyPair, encoding: &'static dyn RsaEncoding) -> String {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn token_with(header: &Value, claims: &Value) -> String {
    signed(&format!("{}.{}", part(header), part(claims)), &KEY, &RSA_PKCS1_SHA256)
}

fn token(claims: &Value) -> String {
    token_with(&header(), claims)
}

fn header() -> Value {
    json!({ "alg": "RS256", "kid": "key-1", "typ": "JWT" })
}

/// Registered claims that are good, with others.
fn with(claims: Value) -> Value {
    let mut all = json!({
        "iss": format!("stytch.com/{PROJECT}"), "aud": [PROJECT],
        "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 290,
    });
    let Value::Object(claims) = claims else { panic!("claims are an object") };
    all.as_object_mut().unwrap().extend(claims);
    all
}

fn member() -> Value {
    with(json!({
        "sub": "member-test-1",
        "https://stytch.com/session": { "id": "member-session-test-1", "roles": ["editor"], "expires_at": "2030-01-01T00:00:00Z" },
        "https://stytch.com/organization": { "organization_id": "organization-test-1", "slug": "acme" },
        "plan": "pro",
    }))
}

/// The same with changes; `null` takes a claim out.
fn changed(mut claims: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    let object = claims.as_object_mut().unwrap();
    for (name, value) in changes {
        match value {
            Value::Null => drop(object.remove(&name)),
            value => drop(object.insert(name, value)),
        }
    }
    claims
}

fn verified(token: &str) -> Result<Verified, Error> {
    verify(token, &keys(), &expected(Vertical::B2b), NOW)
}

#[track_caller]
fn refused(token: &str, what: &str) {
    assert!(matches!(verified(token), Err(Error::Refused(_))), "passed: {what}");
}

#[test]
fn a_members_session_is_read() {
    let verified = verified(&token(&member())).unwrap();
    assert_eq!((verified.issued_at, verified.expires_at), (NOW - 10, NOW + 290));
    let identity = verified.identity;
    assert_eq!((identity.kind, identity.subject.as_str()), (Kind::Session, "member-test-1"));
    assert_eq!(identity.organization.unwrap().slug, "acme");
    let session = identity.session.unwrap();
    assert_eq!((session.id.as_str(), session.roles), ("member-session-test-1", vec!["editor".to_owned()]));
    assert_eq!(identity.claims, *json!({ "plan": "pro" }).as_object().unwrap());
}

#[test]
fn kinds_are_told_by_their_claims_alone() {
    let session = json!({ "id": "s" });
    let organization = json!({ "organization_id": "o", "slug": "acme" });
    let app = json!({ "sub": "member-1", "client_id": "connected-app-1", "scope": "a b",
        "https://stytch.com/organization": organization });
    let cases = [
        (
            json!({ "sub": "member-1", "https://stytch.com/session": session, "https://stytch.com/organization": organization, "scope": "admin" }),
            Some(Kind::Session),
        ),
        (json!({ "sub": "m2m-client-1", "scope": "a b" }), Some(Kind::M2m)),
        (json!({ "sub": "m2m-client-1", "scope": "" }), Some(Kind::M2m)),
        (app.clone(), Some(Kind::ConnectedApp)),
        (json!({ "sub": "member-1", "https://stytch.com/session": session }), None),
        (json!({ "sub": "user-1", "https://stytch.com/session": session }), None),
        (
            json!({ "sub": "user-1", "https://stytch.com/session": session, "https://stytch.com/organization": organization }),
            None,
        ),
        (json!({ "sub": "m2m-client-1", "https://stytch.com/session": session, "scope": "a" }), None),
        (json!({ "sub": "member-1", "https://stytch.com/session": "s", "scope": "a" }), None),
        (
            json!({ "sub": "member-1", "https://stytch.com/session": {}, "https://stytch.com/organization": organization }),
            None,
        ),
        (
            json!({ "sub": "member-1", "https://stytch.com/session": { "id": "" }, "https://stytch.com/organization": organization }),
            None,
        ),
        (
            json!({ "sub": "member-1", "https://stytch.com/session": session, "https://stytch.com/organization": { "organization_id": "" } }),
            None,
        ),
        (
            json!({ "sub": "member-1", "https://stytch.com/session": { "id": "s", "expires_at": "soon" }, "https://stytch.com/organization": organization }),
            None,
        ),
        (json!({ "sub": "member-1", "scope": "a", "https://stytch.com/organization": organization }), None),
        (json!({ "sub": "m2m-client-1" }), None),
        (json!({ "sub": "m2m-client-1", "scope": ["a"] }), None),
        (json!({ "sub": "m2m-client-1", "scope": "a", "client_id": "m2m-client-1" }), None),
        (json!({ "sub": "m2m-client-1", "scope": "a", "client_id": "connected-app-1" }), None),
        (
            json!({ "sub": "m2m-client-1", "scope": "a", "https://stytch.com/organization": organization }),
            None,
        ),
        (changed(app.clone(), json!({ "scope": null })), None),
        (changed(app.clone(), json!({ "scope": ["a"] })), None),
        (changed(app.clone(), json!({ "client_id": "connected-app-1&token=x" })), None),
        (changed(app.clone(), json!({ "https://stytch.com/session": null, "sub": "m2m-client-1" })), None),
        (changed(app.clone(), json!({ "client_id": "other" })), None),
        (changed(app.clone(), json!({ "sub": "user-1" })), None),
        (changed(app.clone(), json!({ "https://stytch.com/organization": null })), None),
        (changed(app, json!({ "client_id": 1 })), None),
        (json!({ "sub": ["member-1"] }), None),
        (json!({}), None),
    ];
    for (claims, kind) in cases {
        let told = verified(&token(&with(claims.clone()))).map(|verified| verified.identity.kind);
        assert_eq!(told.ok(), kind, "{claims}");
    }
}

#[test]
fn verticals_do_not_mix() {
    let consumer = |claims: Value| verify(&token(&with(claims)), &keys(), &expected(Vertical::Consumer), NOW);
    let session = json!({ "id": "session-1" });
    let user = json!({ "sub": "user-1", "https://stytch.com/session": session });
    assert!(consumer(user.clone()).unwrap().identity.organization.is_none());
    assert!(consumer(changed(user.clone(), json!({ "sub": "member-1" }))).is_err());
    let app = json!({ "sub": "user-1", "client_id": "connected-app-1", "scope": "a" });
    assert_eq!(consumer(app.clone()).unwrap().identity.kind, Kind::ConnectedApp);
    for change in [
        json!({ "sub": "member-1" }),
        json!({ "https://stytch.com/organization": { "organization_id": "o" } }),
    ] {
        assert!(consumer(changed(app.clone(), change.clone())).is_err(), "{change}");
    }
    assert!(
        consumer(changed(user, json!({ "https://stytch.com/organization": { "organization_id": "o" } })))
            .is_err()
    );
}

#[test]
fn registered_claims_must_be_good() {
    for change in [
        json!({ "iss": null }),
        json!({ "iss": "stytch.com/project-test-2" }),
        json!({ "iss": "stytch.com/project-test-1/" }),
        json!({ "iss": "STYTCH.com/project-test-1" }),
        json!({ "iss": ["stytch.com/project-test-1"] }),
        json!({ "aud": null }),
        json!({ "aud": [] }),
        json!({ "aud": "project-test-2" }),
        json!({ "aud": ["project-test-2", "project-test-11"] }),
        json!({ "aud": { "project-test-1": true } }),
        json!({ "aud": [["project-test-1"]] }),
        json!({ "exp": null }),
        json!({ "exp": "1800000290" }),
        json!({ "exp": 1_800_000_290.5 }),
        json!({ "exp": 1e300 }),
        json!({ "exp": u64::MAX }),
        json!({ "exp": NOW - 11 }),
        json!({ "iat": null }),
        json!({ "iat": NOW + 6 }),
        json!({ "iat": true }),
        json!({ "nbf": NOW + 6 }),
        json!({ "nbf": "now" }),
        json!({ "nbf": 1.5 }),
    ] {
        refused(&token(&changed(member(), change.clone())), &change.to_string());
    }
    for change in [
        json!({ "iss": "https://login.example.com" }),
        json!({ "aud": PROJECT }),
        json!({ "aud": ["other", PROJECT] }),
        json!({ "iat": NOW + 5 }),
        json!({ "nbf": NOW + 5 }),
        json!({ "nbf": null }),
    ] {
        assert!(verified(&token(&changed(member(), change.clone()))).is_ok(), "{change}");
    }
}

#[test]
fn an_expired_session_is_told_from_a_forged_one() {
    let old = changed(member(), json!({ "iat": NOW - 3600, "nbf": NOW - 3600, "exp": NOW - 3300 }));
    assert_eq!(verified(&token(&old)).unwrap().expires_at, NOW - 3300);
    let forged = signed(&format!("{}.{}", part(&header()), part(&old)), &FOREIGN, &RSA_PKCS1_SHA256);
    refused(&forged, "an expired token with a bad signature");
}

#[test]
fn headers_ask_for_nothing_but_a_known_key() {
    for change in [
        json!({ "alg": null }),
        json!({ "alg": "none" }),
        json!({ "alg": "None" }),
        json!({ "alg": "rs256" }),
        json!({ "alg": "RS384" }),
        json!({ "alg": "PS256" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "ES256" }),
        json!({ "alg": ["RS256"] }),
        json!({ "kid": null }),
        json!({ "kid": "" }),
        json!({ "kid": 1 }),
        json!({ "kid": "k".repeat(MAX_KEY_ID + 1) }),
        json!({ "typ": "at+jwt" }),
        json!({ "typ": "" }),
        json!({ "typ": 1 }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "crit": [] }),
        json!({ "b64": true }),
        json!({ "zip": "DEF" }),
        json!({ "enc": "A256GCM" }),
        json!({ "x": "x".repeat(MAX_HEADER) }),
    ] {
        refused(&token_with(&changed(header(), change.clone()), &member()), &change.to_string());
    }
    for change in [
        json!({ "typ": null }),
        json!({ "typ": "jwt" }),
        json!({ "jku": "https://evil.example/jwks" }),
        json!({ "jwk": { "kty": "RSA" }, "x5u": "https://evil.example", "x5c": ["AA=="] }),
    ] {
        assert!(verified(&token_with(&changed(header(), change.clone()), &member())).is_ok(), "{change}");
    }
    let twice = r#"{"alg":"RS256","alg":"RS256","kid":"key-1"}"#;
    let message = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(twice), part(&member()));
    refused(&signed(&message, &KEY, &RSA_PKCS1_SHA256), "alg given twice");
}

#[test]
fn an_unknown_key_is_told_apart_once_the_claims_are_good() {
    for kid in ["key-2", "KEY-1", "../key-1", "key-1\0"] {
        let header = changed(header(), json!({ "kid": kid }));
        assert_eq!(verified(&token_with(&header, &member())).unwrap_err(), Error::UnknownKey, "{kid}");
        refused(
            &token_with(&header, &changed(member(), json!({ "iss": "other" }))),
            "an unknown key and another issuer",
        );
    }
}

#[test]
fn only_the_keys_own_signature_over_these_bytes_counts() {
    let message = format!("{}.{}", part(&header()), part(&member()));
    refused(&signed(&message, &FOREIGN, &RSA_PKCS1_SHA256), "another key");
    refused(&signed(&message, &KEY, &RSA_PKCS1_SHA384), "another hash");
    refused(&signed(&message, &KEY, &RSA_PSS_SHA256), "another padding");
    let good = token(&member());
    let (_, signature) = good.rsplit_once('.').unwrap();
    let other = part(&changed(member(), json!({ "sub": "member-test-2" })));
    refused(&format!("{}.{other}.{signature}", part(&header())), "other claims");
    for broken in [
        format!("{message}."),
        format!("{message}.AA"),
        message,
        format!("{good}."),
        format!("{good}.x"),
        format!(".{good}"),
        format!("{good}="),
        format!("{good}A"),
        format!(" {good}"),
        format!("{good}\n"),
        good[..good.len() - 1].to_owned(),
        good.replacen('.', "=.", 1),
        good.replace('.', ".."),
        String::new(),
        "..".to_owned(),
        "\u{e9}.\u{e9}.\u{e9}".to_owned(),
    ] {
        refused(&broken, &broken);
    }
    // Base64 has several spellings of the same bytes; one of them is a token.
    let last = good.chars().next_back().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let other = alphabet.chars().nth((alphabet.find(last).unwrap() & !15) | 1).filter(|other| *other != last);
    if let Some(other) = other {
        refused(&format!("{}{other}", &good[..good.len() - 1]), "a second spelling of the signature");
    }
}

#[test]
fn payloads_that_are_no_objects_are_refused() {
    for payload in ["[]", "null", "1", "\"\"", "{", "{}{}", "", "\u{feff}{}"] {
        let message = format!("{}.{}", part(&header()), BASE64_URL_SAFE_NO_PAD.encode(payload));
        refused(&signed(&message, &KEY, &RSA_PKCS1_SHA256), payload);
    }
    let nested = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let message =
        format!("{}.{}", part(&header()), BASE64_URL_SAFE_NO_PAD.encode(format!("{{\"a\":{nested}}}")));
    refused(&signed(&message, &KEY, &RSA_PKCS1_SHA256), "deep nesting");
}

#[test]
fn the_unverified_issuer_is_only_that() {
    assert_eq!(unverified_issuer(&token(&member())).as_deref(), Some("stytch.com/project-test-1"));
    for token in ["", "a", "a.b", "a.b.c", "..", "e30.e30.e30"] {
        assert_eq!(unverified_issuer(token), None, "{token}");
    }
}

#[test]
fn a_session_that_cannot_be_read_is_none() {
    let with_factors = |factors: Value| {
        let session = json!({ "id": "member-session-test-1", "authentication_factors": factors });
        token(&changed(member(), json!({ "https://stytch.com/session": session })))
    };
    let read = verified(&with_factors(json!([{ "type": "otp" }, { "type": 5 }, {}]))).unwrap();
    assert_eq!(read.identity.session.unwrap().factors.len(), 1, "those without a type prove nothing");
    assert!(verified(&with_factors(Value::Null)).unwrap().identity.session.unwrap().factors.is_empty());
    for factors in [json!("otp"), json!({ "type": "otp" }), json!(["otp"])] {
        refused(&with_factors(factors.clone()), &format!("factors {factors}"));
    }
    let claims = member().to_string().replacen("\"roles\":", "\"id\":\"another\",\"roles\":", 1);
    let message = format!("{}.{}", part(&header()), BASE64_URL_SAFE_NO_PAD.encode(claims));
    refused(&signed(&message, &KEY, &RSA_PKCS1_SHA256), "an id that stands twice");
}
