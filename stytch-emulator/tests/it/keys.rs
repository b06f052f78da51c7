//! The key set, and tokens made to order.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use stytch_emulator::Key;

use crate::schema::decoded;
use crate::support::{Scene, text};

#[tokio::test]
async fn the_key_set_is_public_and_the_same_everywhere() {
    let scene = Scene::start().await;
    let project = scene.emulator.project_id();
    let mut seen = Vec::new();
    for path in [
        format!("/v1/b2b/sessions/jwks/{project}"),
        format!("/v1/sessions/jwks/{project}"),
        format!("/v1/public/{project}/.well-known/jwks.json"),
    ] {
        let answer = scene.send(scene.bare_request("GET", &path)).await;
        assert_eq!(answer.headers["cache-control"], "public, max-age=900");
        seen.push(answer.good()["keys"].clone());
        seen.push(scene.get(&path).await.good()["keys"].clone());
    }
    assert!(seen.iter().all(|keys| *keys == seen[0]));
    assert_eq!(seen[0].as_array().unwrap().len(), 2, "the key in use and the one before it");
    scene.get("/v1/b2b/sessions/jwks/project-test-other").await.refused(404, "project_not_found");
}

#[tokio::test]
async fn every_key_comes_with_a_certificate_of_itself() {
    let scene = Scene::start().await;
    for key in keys(&scene).await {
        let certificate = STANDARD.decode(text(&json!({ "x5c": key["x5c"][0] }), "x5c")).unwrap();
        let modulus = URL_SAFE_NO_PAD.decode(text(&key, "n")).unwrap();
        assert!(certificate.windows(modulus.len()).any(|window| window == modulus));
    }
}

#[tokio::test]
async fn sessions_are_signed_by_the_key_they_name() {
    let scene = Scene::start().await;
    let session = scene.emulator.session("uma@example.com").mint();
    assert!(is_signed_by_a_listed_key(&session.session_jwt, &keys(&scene).await));
}

#[tokio::test]
async fn a_rotation_keeps_the_old_key_unless_told_otherwise() {
    let scene = Scene::start().await;
    let before = scene.emulator.session("uma@example.com").mint();
    let kid = scene.emulator.rotate_keys(false);
    let after = scene.emulator.session("uma@example.com").mint();
    assert_eq!(decoded(&after.session_jwt).0["kid"], kid);
    let listed = keys(&scene).await;
    assert!(is_signed_by_a_listed_key(&before.session_jwt, &listed));
    assert!(is_signed_by_a_listed_key(&after.session_jwt, &listed));
    let answer = scene.control("POST", "/keys/rotate", json!({ "retire_now": true })).await.good();
    let listed = keys(&scene).await;
    assert_eq!(listed.iter().map(|key| &key["kid"]).collect::<Vec<_>>(), [&answer["kid"]]);
    let request = json!({ "session_jwt": after.session_jwt });
    let refused = scene.post("/v1/sessions/authenticate", request).await;
    refused.refused(400, "unable_to_parse_session_jwt");
}

#[tokio::test]
async fn tokens_say_exactly_what_they_are_told() {
    let scene = Scene::start().await;
    let claims = json!({ "sub": "anyone", "exp": 1, "odd": [null, true] });
    let listed = keys(&scene).await;
    for (key, good) in [(Key::Current, true), (Key::Retired, true), (Key::Foreign, false)] {
        let token = scene.emulator.token(claims.clone()).key(key).sign();
        let (header, said) = decoded(&token);
        assert_eq!(said, claims);
        assert_eq!((&header["alg"], &header["typ"]), (&json!("RS256"), &json!("JWT")));
        assert_eq!(is_signed_by_a_listed_key(&token, &listed), good);
    }
    let overrides = json!({ "alg": "none", "typ": null, "kid": listed[0]["kid"] });
    let token = scene.emulator.token(claims).header(overrides).key(Key::Foreign).sign();
    assert_eq!(decoded(&token).0, json!({ "alg": "none", "kid": listed[0]["kid"] }));
}

async fn keys(scene: &Scene) -> Vec<Value> {
    let path = format!("/v1/sessions/jwks/{}", scene.emulator.project_id());
    scene.get(&path).await.good()["keys"].as_array().unwrap().clone()
}

fn is_signed_by_a_listed_key(token: &str, listed: &[Value]) -> bool {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let kid = decoded(token).0["kid"].clone();
    listed.iter().filter(|key| key["kid"] == kid).any(|key| {
        let number = |name| URL_SAFE_NO_PAD.decode(text(key, name)).unwrap();
        let public = RsaPublicKeyComponents { n: number("n"), e: number("e") };
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        public.verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &signature).is_ok()
    })
}
