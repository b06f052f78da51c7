//! The control API, over HTTP and through the library.

use std::time::Duration;

use serde_json::{Value, json};

use crate::schema::{check, check_session_jwt, decoded};
use crate::support::{Scene, text};

#[tokio::test]
async fn the_project_and_its_world_are_shown() {
    let scene = Scene::start().await;
    let project = scene.control("GET", "/project", Value::Null).await.good();
    assert_eq!(project["project_id"], scene.emulator.project_id());
    assert_eq!(project["secret"], scene.emulator.secret());
    assert_eq!(project["public_token"], scene.emulator.public_token());
    let world = scene.control("GET", "/world", Value::Null).await.good();
    assert_eq!(world, scene.emulator.world());
    for (kind, schema, count) in [
        ("organizations", "api_organization_v1_Organization", 2),
        ("members", "api_organization_v1_Member", 5),
        ("users", "api_user_v1_User", 2),
        ("m2m_clients", "api_m2m_v1_M2MClientWithClientSecret", 1),
        ("connected_apps", "api_connectedapps_v1_ConnectedApp", 0),
        ("roles", "api_b2b_rbac_v1_PolicyRole", 5),
    ] {
        let list = world[kind].as_array().unwrap();
        assert_eq!(list.len(), count, "{kind}");
        list.iter().for_each(|one| check(schema, one));
    }
    let reports = &world["m2m_clients"][0];
    assert_eq!(reports["client_id"], "m2m-client-test-reports");
    assert_eq!(reports["scopes"], json!(["read:reports", "write:reports"]));
    assert!(text(reports, "client_secret").ends_with(&text(reports, "client_secret_last_four")));
}

#[tokio::test]
async fn sessions_are_minted_over_http_too() {
    let scene = Scene::start().await;
    let order = json!({
        "email": "ana@acme.example", "organization": scene.organization_id("globex"), "minutes": 5,
        "custom_claims": { "plan": "pro" }, "factors": ["sso", "totp"],
    });
    let minted = scene.control("POST", "/sessions", order).await.good();
    check_session_jwt(&text(&minted, "session_jwt"));
    let body = scene.authenticate(&text(&minted, "session_token")).await.good();
    let session = &body["member_session"];
    assert_eq!(session["member_session_id"], minted["session_id"]);
    assert_eq!(session["organization_slug"], "globex");
    assert_eq!(session["custom_claims"]["plan"], "pro");
    let types: Vec<_> =
        session["authentication_factors"].as_array().unwrap().iter().map(|one| &one["type"]).collect();
    assert_eq!(types, ["sso", "totp"]);
    scene.emulator.advance_clock(Duration::from_secs(300));
    let gone = scene.authenticate(&text(&minted, "session_token")).await;
    gone.refused(404, "session_not_found");
}

#[tokio::test]
async fn every_type_of_factor_can_be_had() {
    let scene = Scene::start().await;
    let types = [
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
    let member = scene.emulator.session("cho@acme.example").organization("acme").factors(types).mint();
    let body = scene.authenticate(&member.session_token).await.good();
    assert_eq!(body["member_session"]["authentication_factors"].as_array().unwrap().len(), types.len());
    let user = scene.emulator.session("uma@example.com").factors(types).mint();
    let request = json!({ "session_token": user.session_token });
    scene.post("/v1/sessions/authenticate", request).await.good();
}

#[tokio::test]
async fn an_impersonated_session_says_so_in_its_factors() {
    let scene = Scene::start().await;
    let session = scene.emulator.session("ana@acme.example").organization("acme").impersonated().mint();
    let (_, claims) = decoded(&session.session_jwt);
    let factors = &claims["https://stytch.com/session"]["authentication_factors"];
    assert_eq!(factors.as_array().unwrap().len(), 1);
    assert_eq!(factors[0]["type"], "impersonated");
}

#[tokio::test]
async fn orders_that_make_no_sense_are_explained() {
    let scene = Scene::start().await;
    for (order, status, hint) in [
        (json!({ "email": "who@acme.example", "organization": "acme" }), 404, "who@acme.example"),
        (json!({ "email": "gil@globex.example", "organization": "acme" }), 404, "no member of acme"),
        (json!({ "email": "ana@acme.example", "organization": "none" }), 404, "none"),
        (json!({ "email": "ana@acme.example" }), 404, "no user"),
        (json!({ "email": "uma@example.com", "factors": ["smile"] }), 400, "smile"),
        (json!({ "email": "uma@example.com", "custom_claims": { "sub": 1 } }), 400, "custom_claims"),
        (json!({ "mail": "uma@example.com" }), 400, "mail"),
    ] {
        let answer = scene.control("POST", "/sessions", order.clone()).await;
        assert_eq!(answer.status, status, "{order}");
        assert!(text(&answer.body, "error").contains(hint), "{}", answer.body);
    }
    assert_eq!(scene.control("GET", "/nothing", Value::Null).await.status, 404);
    let unknown = scene.emulator.session("who@acme.example").try_mint();
    assert!(unknown.is_err());
}

#[tokio::test]
async fn tokens_are_signed_over_http_too() {
    let scene = Scene::start().await;
    let order = json!({ "claims": { "sub": "me" }, "header": { "kid": "odd" }, "key": "foreign" });
    let answer = scene.control("POST", "/tokens", order).await.good();
    let (header, claims) = decoded(&text(&answer, "token"));
    assert_eq!((&header["kid"], &claims["sub"]), (&json!("odd"), &json!("me")));
}

#[tokio::test]
async fn calls_are_remembered_and_forgotten() {
    let scene = Scene::start().await;
    scene.get("/v1/debug/whoami?x=1").await.good();
    scene.get("/v1/nothing").await.refused(404, "route_not_found");
    let seen = scene.control("GET", "/requests?path=/v1/debug", Value::Null).await.good();
    assert_eq!(seen.as_array().unwrap().len(), 1);
    assert_eq!((&seen[0]["method"], &seen[0]["path"]), (&json!("GET"), &json!("/v1/debug/whoami")));
    assert_eq!(seen[0]["status"], 200);
    assert!(text(&seen[0], "at").ends_with('Z'));
    let seen = scene.emulator.requests("");
    assert_eq!(seen.iter().map(|one| one.status).collect::<Vec<_>>(), [Some(200), Some(404)]);
    scene.control("DELETE", "/requests", Value::Null).await.good();
    assert!(scene.emulator.requests("").is_empty(), "control calls are not among them");
}

#[tokio::test]
async fn the_outbox_shows_the_newest_first() {
    let scene = Scene::start().await;
    for address in ["uma@example.com", "vic@example.com"] {
        scene.post("/v1/otps/email/send", json!({ "email": address })).await.good();
    }
    let all = scene.control("GET", "/outbox", Value::Null).await.good();
    assert_eq!(all[0]["to"], "vic@example.com");
    let one = scene.control("GET", "/outbox?to=uma@example.com", Value::Null).await.good();
    assert_eq!(one.as_array().unwrap().len(), 1);
    assert_eq!((&one[0]["channel"], &one[0]["kind"]), (&json!("email"), &json!("login")));
    assert_eq!(text(&one[0], "code"), scene.code("uma@example.com"));
}

#[tokio::test]
async fn the_clock_runs_ahead_for_everything() {
    let scene = Scene::start().await;
    let before = scene.emulator.session("uma@example.com").mint();
    let answer = scene.control("POST", "/clock", json!({ "advance_seconds": 86_400 })).await.good();
    assert!(text(&answer, "now").ends_with('Z'));
    let after = scene.emulator.session("uma@example.com").mint();
    let issued = |jwt: &str| decoded(jwt).1["iat"].as_i64().unwrap();
    assert!(issued(&after.session_jwt) - issued(&before.session_jwt) >= 86_400);
    let request = json!({ "session_token": before.session_token });
    scene.post("/v1/sessions/authenticate", request).await.refused(404, "session_not_found");
}

#[tokio::test]
async fn an_administrator_changes_members() {
    let scene = Scene::start().await;
    let session = scene.emulator.session("ben@acme.example").organization("acme").mint();
    let ben = scene.member_id("ben@acme.example");
    let patch = json!({ "roles": ["admin"], "name": "Benjamin", "email_address": "benjamin@acme.example" });
    let shown = scene.control("PATCH", &format!("/members/{ben}"), patch).await.good();
    assert_eq!(shown["name"], "Benjamin");
    let body = scene.authenticate(&session.session_token).await.good();
    assert_eq!(body["member_session"]["roles"], json!(["stytch_member", "admin"]));
    assert_eq!(body["member"]["email_address"], "benjamin@acme.example");
    scene.emulator.patch_member(&ben, json!({ "status": "deleted" })).unwrap();
    scene.authenticate(&session.session_token).await.refused(404, "session_not_found");
    let login = json!({ "organization_id": "acme", "email_address": "benjamin@acme.example" });
    let refused = scene.post("/v1/b2b/otps/email/login_or_signup", login).await;
    refused.refused(403, "email_jit_provisioning_not_allowed");
    for (id, patch) in [
        ("none", json!({})),
        (&ben, json!({ "roles": ["king"] })),
        (&ben, json!({ "rank": 1 })),
        (&ben, json!({ "email_address": "x" })),
    ] {
        assert!(scene.emulator.patch_member(id, patch).is_err());
    }
}

#[tokio::test]
async fn emulators_do_not_share_anything_and_free_their_port() {
    let (one, other) = (Scene::start().await, Scene::start().await);
    assert_ne!(one.emulator.project_id(), other.emulator.project_id());
    let session = one.emulator.session("ana@acme.example").organization("acme").mint();
    other.authenticate(&session.session_token).await.refused(404, "session_not_found");
    let address = one.emulator.address();
    drop(one);
    std::net::TcpListener::bind(address).unwrap();
}

#[tokio::test]
async fn people_see_the_outbox_as_a_page() {
    let scene = Scene::start().await;
    let empty = scene.visit("/emulator/", &[]).await;
    assert!(empty.body.as_str().unwrap().contains("Nothing was sent yet"));
    scene.post("/v1/otps/email/send", json!({ "email": "uma@example.com" })).await.good();
    let url = json!({ "email": "vic@example.com", "login_magic_link_url": "https://app.example/?a=1&b=2" });
    scene.post("/v1/magic_links/email/send", url).await.good();
    let page = scene.visit("/emulator", &[]).await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let html = page.body.as_str().unwrap();
    assert!(html.contains(&format!("<code>{}</code>", scene.code("uma@example.com"))), "{html}");
    assert!(
        html.contains("href=\"https://app.example/?a=1&amp;b=2&amp;stytch_redirect_type=login"),
        "{html}"
    );
}
