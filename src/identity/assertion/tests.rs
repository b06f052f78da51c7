//! What assertions say, for how long, and when they are signed anew.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use serde_json::value::RawValue;

use super::*;
use crate::identity::{Client, Organization, Profile, Session};

const NOW: i64 = 1_795_262_400_250;
const NEVER: i64 = i64::MAX;

fn signer(audiences: &[&str], of_route: &[usize]) -> Signer {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
    let key = BASE64_STANDARD.encode(key);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
    Signer {
        header: HEADER,
        keys: Arc::new(Keys::from_pem(pem.as_bytes()).unwrap()),
        issuer: "https://app.example.com".to_owned(),
        ttl: 60,
        audiences: audiences.iter().map(|&audience| audience.to_owned()).collect(),
        of_route: of_route.to_vec(),
        with_profile: false,
    }
}

fn member() -> Identity {
    Identity {
        kind: Kind::Session,
        subject: "member-1".to_owned(),
        organization: Some(Organization { id: "organization-1".to_owned(), slug: "acme".to_owned() }),
        session: Some(Session {
            id: "session-1".to_owned(),
            roles: vec!["admin".to_owned(), "ré\"d".to_owned()],
            factors: Vec::new(),
            object: RawValue::NULL.to_owned(),
            expires_at: None,
        }),
        client: None,
        claims: serde_json::Map::new(),
        profile: None,
    }
}

fn claims(token: &HeaderValue) -> Value {
    let payload = token.to_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn told(signer: &Signer, who: &Identity) -> Value {
    claims(&signer.assertion(0, who, NEVER, &Kept::default(), NOW).unwrap())
}

#[test]
fn it_says_what_the_headers_say() {
    let signer = signer(&["app"], &[0]);
    assert_eq!(
        told(&signer, &member()),
        json!({
            "iss": "https://app.example.com", "aud": "app", "sub": "member-1",
            "iat": 1_795_262_400, "exp": 1_795_262_460, "kind": "session", "session_id": "session-1",
            "organization_id": "organization-1", "organization_slug": "acme", "roles": ["admin", "ré\"d"],
        })
    );
    let machine = Identity {
        kind: Kind::M2m,
        subject: "m2m-client-1".to_owned(),
        organization: None,
        session: None,
        client: Some(Client { id: "m2m-client-1".to_owned(), scopes: vec!["a".to_owned(), "b".to_owned()] }),
        ..member()
    };
    assert_eq!(
        told(&signer, &machine),
        json!({
            "iss": "https://app.example.com", "aud": "app", "sub": "m2m-client-1",
            "iat": 1_795_262_400, "exp": 1_795_262_460, "kind": "m2m", "client_id": "m2m-client-1", "scope": "a b",
        })
    );
}

/// A profile that came along by chance would make claims come and go with the kind of credential.
#[test]
fn a_profile_is_told_where_every_session_has_one() {
    let person =
        json!({ "email_address": "ana@acme.example", "email_address_verified": true, "name": "Ana" });
    let with = |person: Value| {
        let profile = Profile { person, organization: Value::Null };
        Identity { profile: Some(Arc::new(profile)), ..member() }
    };
    let mut signer = signer(&["app"], &[0]);
    assert_eq!(told(&signer, &with(person.clone())).get("email"), None);
    signer.with_profile = true;
    let personal = |who: &Identity| {
        let claims = told(&signer, who);
        ["email", "email_verified", "name"].map(|name| claims.get(name).cloned().unwrap_or_default())
    };
    assert_eq!(personal(&with(person)), [json!("ana@acme.example"), json!(true), json!("Ana")]);
    let user = json!({ "emails": [{ "email": "uma@example.com", "verified": false }], "name": {} });
    assert_eq!(personal(&with(user)), [json!("uma@example.com"), json!(false), Value::Null]);
    assert_eq!(personal(&with(json!({}))), [Value::Null, Value::Null, Value::Null]);
    assert_eq!(personal(&member()), [Value::Null, Value::Null, Value::Null]);
}

#[test]
fn it_is_signed_anew_when_half_of_its_time_is_over() {
    let (signer, who, kept) = (signer(&["app"], &[0]), member(), Kept::default());
    let at = |now: i64| signer.assertion(0, &who, NEVER, &kept, now).unwrap();
    let first = at(NOW);
    assert_eq!(at(NOW + 29_749), first);
    let second = at(NOW + 29_750);
    assert_eq!(claims(&second)["exp"], 1_795_262_490);
    assert_eq!(at(NOW + 59_000), second);
    assert_eq!(kept.0.borrow().len(), 1, "the old one is let go of");
}

#[test]
fn each_audience_has_its_own() {
    let (signer, who, kept) = (signer(&["app", "reports"], &[0, 1, 0]), member(), Kept::default());
    let of = |route: usize| signer.assertion(route, &who, NEVER, &kept, NOW);
    let [app, reports, again] = [0, 1, 2].map(|route| of(route).unwrap());
    assert_eq!((&claims(&app)["aud"], &claims(&reports)["aud"]), (&json!("app"), &json!("reports")));
    assert_eq!(app, again);
    assert_eq!(of(3), None);
}

#[test]
fn it_ends_with_what_it_was_vouched_for_by() {
    let (signer, who) = (signer(&["app"], &[0]), member());
    for (ends, expires_at) in [
        (NOW + 20_000 - 250, 1_795_262_420),
        (NOW + 20_001, 1_795_262_421),
        (NOW + 500, 1_795_262_401),
        (NOW + 60_000, 1_795_262_460),
        (NEVER, 1_795_262_460),
    ] {
        let kept = Kept::default();
        let token = signer.assertion(0, &who, ends, &kept, NOW).unwrap();
        assert_eq!(claims(&token)["exp"], expires_at, "{ends}");
        let again_at = kept.0.borrow()[0].again_at;
        assert!(again_at <= expires_at * 1000, "never handed out after its end");
    }
}
