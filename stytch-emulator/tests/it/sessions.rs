//! Sessions of both verticals: authenticate, list, revoke, exchange.

use std::time::Duration;

use serde_json::{Value, json};

use crate::schema::decoded;
use crate::support::{Scene, object, text};

const AUTHENTICATE: &str = "/v1/b2b/sessions/authenticate";
const SESSION: &str = "https://stytch.com/session";

#[tokio::test]
async fn a_token_stands_for_a_member_and_brings_both_credentials() {
    let scene = Scene::start().await;
    let session = scene.emulator.session("ana@acme.example").organization("acme").mint();
    assert_eq!(session.session_token.len(), 44);
    let body = scene.authenticate(&session.session_token).await.good();
    assert_eq!(body["session_token"], session.session_token);
    assert_eq!(body["member"]["email_address"], "ana@acme.example");
    assert_eq!(body["organization"]["organization_slug"], "acme");
    assert_eq!(body["member_session"]["roles"], json!(["stytch_member", "admin"]));
    assert_eq!(body["verdict"], Value::Null);
    let (_, claims) = decoded(&text(&body, "session_jwt"));
    assert_eq!(claims["iss"], format!("stytch.com/{}", scene.emulator.project_id()));
    assert_eq!(claims["aud"], json!([scene.emulator.project_id()]));
    assert_eq!(claims["https://stytch.com/organization"]["slug"], "acme");
    assert_eq!(claims[SESSION]["id"], session.session_id);
}

#[tokio::test]
async fn a_token_stands_for_a_user() {
    let scene = Scene::start().await;
    let session = scene.emulator.session("uma@example.com").mint();
    let request = json!({ "session_token": session.session_token });
    let body = scene.post("/v1/sessions/authenticate", request).await.good();
    assert_eq!(body["user"]["emails"][0]["email"], "uma@example.com");
    assert_eq!(body["session"]["roles"], json!(["stytch_user"]));
    assert_eq!(body["session"]["authentication_factors"][0]["type"], "otp");
    let (_, claims) = decoded(&text(&body, "session_jwt"));
    assert!(claims.get("https://stytch.com/organization").is_none());
}

#[tokio::test]
async fn the_verticals_do_not_know_each_other() {
    let scene = Scene::start().await;
    let member = scene.emulator.session("ana@acme.example").organization("acme").mint();
    let user = scene.emulator.session("uma@example.com").mint();
    let as_user = json!({ "session_token": member.session_token });
    scene.post("/v1/sessions/authenticate", as_user).await.refused(404, "session_not_found");
    scene.authenticate(&user.session_token).await.refused(404, "session_not_found");
    let by_jwt = json!({ "session_jwt": user.session_jwt });
    scene.post(AUTHENTICATE, by_jwt).await.refused(404, "session_not_found");
}

#[tokio::test]
async fn exactly_one_credential_is_wanted_and_null_is_none() {
    let scene = Scene::start().await;
    let session = scene.emulator.session("ben@acme.example").organization("acme").mint();
    let both = json!({ "session_token": session.session_token, "session_jwt": session.session_jwt });
    scene.post(AUTHENTICATE, both).await.refused(400, "too_many_session_arguments");
    scene.post(AUTHENTICATE, json!({})).await.refused(400, "no_session_arguments");
    let nulls = json!({
        "session_token": session.session_token, "session_jwt": null, "session_duration_minutes": null,
        "session_custom_claims": null, "authorization_check": null,
    });
    scene.post(AUTHENTICATE, nulls).await.good();
    scene.authenticate("short").await.refused(400, "invalid_session_token");
    scene.authenticate(&"x".repeat(44)).await.refused(404, "session_not_found");
}

#[tokio::test]
async fn an_expired_jwt_is_good_as_long_as_its_session() {
    let scene = Scene::start().await;
    let session = scene.emulator.session("ben@acme.example").organization("acme").minutes(30).mint();
    scene.emulator.advance_clock(Duration::from_secs(600));
    let request = json!({ "session_jwt": session.session_jwt });
    let body = scene.post(AUTHENTICATE, request.clone()).await.good();
    let (_, old) = decoded(&session.session_jwt);
    let (_, new) = decoded(&text(&body, "session_jwt"));
    assert!(new["iat"].as_i64().unwrap() >= old["iat"].as_i64().unwrap() + 600);
    assert_eq!(new[SESSION]["expires_at"], old[SESSION]["expires_at"], "it is not extended");
    assert_ne!(new[SESSION]["last_accessed_at"], old[SESSION]["last_accessed_at"]);
    scene.emulator.advance_clock(Duration::from_secs(1800));
    scene.post(AUTHENTICATE, request).await.refused(404, "session_not_found");
}

#[tokio::test]
async fn a_jwt_must_be_this_projects_own() {
    let scene = Scene::start().await;
    let session = scene.emulator.session("ben@acme.example").organization("acme").mint();
    let (_, claims) = decoded(&session.session_jwt);
    let altered = |name: &str, value: Value| {
        let mut claims = object(claims.clone());
        claims.insert(name.into(), value);
        Value::Object(claims)
    };
    let foreign = scene.emulator.token(claims.clone()).key(stytch_emulator::Key::Foreign).sign();
    for (jwt, name) in [
        (foreign, "unable_to_parse_session_jwt"),
        ("not.a.jwt".into(), "unable_to_parse_session_jwt"),
        (session.session_jwt[..session.session_jwt.len() - 8].into(), "unable_to_parse_session_jwt"),
        (scene.emulator.token(altered("iss", json!("stytch.com/other"))).sign(), "jwt_invalid_issuer"),
        (scene.emulator.token(altered("aud", json!(["other"]))).sign(), "jwt_invalid_audience"),
        (scene.emulator.token(altered(SESSION, json!({}))).sign(), "jwt_invalid_claims"),
    ] {
        scene.post(AUTHENTICATE, json!({ "session_jwt": jwt })).await.refused(400, name);
    }
    let unknown = scene.emulator.token(altered(SESSION, json!({ "id": "member-session-test-none" }))).sign();
    scene.post(AUTHENTICATE, json!({ "session_jwt": unknown })).await.refused(404, "session_not_found");
}

#[tokio::test]
async fn a_duration_moves_the_end_and_has_bounds() {
    let scene = Scene::start().await;
    let session = scene.emulator.session("ben@acme.example").organization("acme").minutes(10).mint();
    let lasting =
        |minutes| json!({ "session_token": session.session_token, "session_duration_minutes": minutes });
    for minutes in [4, 0, -5, 527_041] {
        scene.post(AUTHENTICATE, lasting(minutes)).await.refused(400, "invalid_session_duration_minutes");
    }
    scene.post(AUTHENTICATE, lasting(60)).await.good();
    scene.emulator.advance_clock(Duration::from_secs(30 * 60));
    scene.authenticate(&session.session_token).await.good();
}

#[tokio::test]
async fn custom_claims_are_patched_and_land_in_the_jwt() {
    let scene = Scene::start().await;
    let claims = json!({ "plan": "pro", "limits": { "seats": 3, "days": 9 } });
    let session =
        scene.emulator.session("ben@acme.example").organization("acme").custom_claims(claims).mint();
    let patched = |claims| json!({ "session_token": session.session_token, "session_custom_claims": claims });
    let patch = json!({ "plan": null, "limits": { "days": null }, "team": "blue" });
    let body = scene.post(AUTHENTICATE, patched(patch)).await.good();
    assert_eq!(body["member_session"]["custom_claims"], json!({ "limits": { "seats": 3 }, "team": "blue" }));
    let (_, claims) = decoded(&text(&body, "session_jwt"));
    assert_eq!(claims["team"], "blue");
    for (claims, name) in [
        (json!({ "big": "x".repeat(4096) }), "custom_claims_too_large"),
        (json!({ "sub": "me" }), "reserved_claims_in_custom_claims"),
        (json!({ "https://stytch.com/session": {} }), "stytch_claims_in_custom_claims"),
    ] {
        scene.post(AUTHENTICATE, patched(claims)).await.refused(400, name);
    }
}

#[tokio::test]
async fn an_authorization_check_names_the_granting_roles_or_is_refused() {
    let scene = Scene::start().await;
    let session = scene.emulator.session("ben@acme.example").organization("acme").mint();
    let check = |organization: &str, resource: &str, action: &str| {
        json!({ "session_token": session.session_token, "authorization_check": {
            "organization_id": organization, "resource_id": resource, "action": action,
        }})
    };
    let body = scene.post(AUTHENTICATE, check("acme", "documents", "read")).await.good();
    assert_eq!(body["verdict"]["authorized"], true);
    assert_eq!(body["verdict"]["granting_roles"], json!(["stytch_member", "editor"]));
    let body =
        scene.post(AUTHENTICATE, check(&scene.organization_id("acme"), "documents", "write")).await.good();
    assert_eq!(body["verdict"]["granting_roles"], json!(["editor"]));
    let refused = scene.post(AUTHENTICATE, check("acme", "billing", "read")).await;
    refused.refused(403, "session_authorization_error");
    let refused = scene.post(AUTHENTICATE, check("globex", "documents", "read")).await;
    refused.refused(403, "session_authorization_tenancy_error");
}

#[tokio::test]
async fn a_consumer_authorization_check_looks_at_the_users_roles() {
    let scene = Scene::start().await;
    let session = scene.emulator.session("uma@example.com").mint();
    let check = |action: &str| {
        json!({ "session_token": session.session_token, "authorization_check": {
            "resource_id": "documents", "action": action,
        }})
    };
    let body = scene.post("/v1/sessions/authenticate", check("read")).await.good();
    assert_eq!(body["verdict"]["granting_roles"], json!(["stytch_user"]));
    let refused = scene.post("/v1/sessions/authenticate", check("write")).await;
    refused.refused(403, "consumer_session_authorization_error");
}

#[tokio::test]
async fn members_sessions_are_listed_and_revoked() {
    let scene = Scene::start().await;
    let [first, second, third, fourth] =
        [(); 4].map(|()| scene.emulator.session("ben@acme.example").organization("acme").mint());
    let member_id = scene.member_id("ben@acme.example");
    let list = format!("/v1/b2b/sessions?organization_id=acme&member_id={member_id}&unknown=1");
    let count = async || scene.get(&list).await.good()["member_sessions"].as_array().unwrap().len();
    assert_eq!(count().await, 4);
    let revoke = async |request: Value| scene.post("/v1/b2b/sessions/revoke", request).await;
    revoke(json!({ "member_session_id": first.session_id })).await.good();
    revoke(json!({ "session_token": second.session_token })).await.good();
    revoke(json!({ "session_jwt": third.session_jwt })).await.good();
    assert_eq!(count().await, 1);
    scene.authenticate(&first.session_token).await.refused(404, "session_not_found");
    revoke(json!({ "member_session_id": first.session_id })).await.refused(404, "session_not_found");
    revoke(json!({ "member_id": member_id })).await.good();
    scene.authenticate(&fourth.session_token).await.refused(404, "session_not_found");
    revoke(json!({})).await.refused(400, "no_session_revoke_arguments");
    let twice = json!({ "member_id": member_id, "session_token": fourth.session_token });
    revoke(twice).await.refused(400, "too_many_session_revoke_arguments");
    let elsewhere = format!("/v1/b2b/sessions?organization_id=globex&member_id={member_id}");
    scene.get(&elsewhere).await.refused(404, "member_not_found");
}

#[tokio::test]
async fn users_sessions_are_listed_and_revoked() {
    let scene = Scene::start().await;
    let first = scene.emulator.session("vic@example.com").mint();
    let second = scene.emulator.session("vic@example.com").mint();
    let request = json!({ "session_token": first.session_token });
    let user_id =
        text(&scene.post("/v1/sessions/authenticate", request.clone()).await.good()["user"], "user_id");
    let listed = scene.get(&format!("/v1/sessions?user_id={user_id}")).await.good();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 2);
    scene.post("/v1/sessions/revoke", request.clone()).await.good();
    scene.post("/v1/sessions/authenticate", request).await.refused(404, "session_not_found");
    scene.post("/v1/sessions/revoke", json!({ "session_id": second.session_id })).await.good();
    scene.post("/v1/sessions/revoke", json!({})).await.refused(400, "no_session_revoke_arguments");
}

#[tokio::test]
async fn a_session_is_exchanged_for_one_in_another_organization() {
    let scene = Scene::start().await;
    let session =
        scene.emulator.session("ana@acme.example").organization("acme").factors(["password"]).mint();
    let request =
        |organization| json!({ "session_token": session.session_token, "organization_id": organization });
    let body = scene.post("/v1/b2b/sessions/exchange", request("globex")).await.good();
    assert_eq!(body["member_authenticated"], true);
    assert_eq!(body["member_session"]["organization_slug"], "globex");
    assert_eq!(body["member_session"]["roles"], json!(["stytch_member"]));
    let factor = &body["member_session"]["authentication_factors"][0];
    assert_eq!((&factor["type"], &factor["delivery_method"]), (&json!("password"), &json!("knowledge")));
    scene.authenticate(&text(&body, "session_token")).await.good();
    scene.authenticate(&session.session_token).await.good();
    let missing = scene.post("/v1/b2b/sessions/exchange", request("nowhere")).await;
    missing.refused(404, "organization_not_found");
    let ben = scene.emulator.session("ben@acme.example").organization("acme").mint();
    let request = json!({ "session_token": ben.session_token, "organization_id": "globex" });
    scene.post("/v1/b2b/sessions/exchange", request).await.refused(403, "email_jit_provisioning_not_allowed");
}

#[tokio::test]
async fn the_sandbox_token_is_always_good() {
    let scene = Scene::start().await;
    let request = json!({ "session_token": "WJtR5BCy38Szd5AfoDpf0iqFKEt4EE5JhjlWUY7l3FtY" });
    let body = scene.post("/v1/sessions/authenticate", request).await.good();
    assert_eq!(body["user"]["user_id"], "user-test-e3795c81-f849-4167-bfda-e4a6e9c280fd");
    assert_eq!(body["session"]["started_at"], "2021-08-28T00:41:58.935673Z");
    let request = json!({ "session_token": "59cnLELtq5cFVS6uYK9f-pAWzBkhqZl8AvLhbhOvKNWw" });
    scene.post("/v1/sessions/authenticate", request).await.refused(404, "session_not_found");
}
