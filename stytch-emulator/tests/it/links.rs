//! Magic links.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, CHALLENGE, Scene, VERIFIER, text};

const ACME: &str = "https://app.example/callback?kept=1";

async fn send(scene: &Scene, more: Value) -> Answer {
    let mut body = json!({ "organization_id": "acme", "email_address": "ana@acme.example" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    scene.post("/v1/b2b/magic_links/email/login_or_signup", body).await
}

async fn follow(scene: &Scene, token: &str, verifier: Option<&str>) -> Answer {
    let body = json!({ "magic_links_token": token, "pkce_code_verifier": verifier });
    scene.post("/v1/b2b/magic_links/authenticate", body).await
}

#[tokio::test]
async fn a_link_signs_a_member_in_once() {
    let scene = Scene::start().await;
    let sent = send(&scene, json!({ "login_redirect_url": ACME })).await.good();
    assert_eq!(sent["member_created"], false);
    let (to, query) = scene.link("ana@acme.example");
    assert_eq!((to.as_str(), query["kept"].as_str()), ("https://app.example/callback", "1"));
    assert_eq!(query["stytch_token_type"], "multi_tenant_magic_links");
    assert_eq!((query["stytch_redirect_type"].as_str(), query["slug"].as_str()), ("login", "acme"));
    let body = follow(&scene, &query["token"], None).await.good();
    assert_eq!((&body["member_authenticated"], &body["reset_sessions"]), (&json!(true), &json!(false)));
    let factor = &body["member_session"]["authentication_factors"][0];
    assert_eq!((&factor["type"], &factor["delivery_method"]), (&json!("magic_link"), &json!("email")));
    assert_eq!(body["method_id"], factor["email_factor"]["email_id"]);
    follow(&scene, &query["token"], None).await.refused(401, "unable_to_auth_magic_link");
    follow(&scene, "CprTtwhnRNiMBiUS2jSLcWYrfuO2POeBNdo5HhW6qTM=", None)
        .await
        .refused(404, "magic_link_not_found");
}

#[tokio::test]
async fn a_link_lasts_an_hour_or_as_long_as_it_is_told() {
    let scene = Scene::start().await;
    for (minutes, asked) in [(60, json!({})), (5, json!({ "login_expiration_minutes": 5 }))] {
        for (early, refusal) in [(1, None), (0, Some("unable_to_auth_magic_link"))] {
            send(&scene, asked.clone()).await.good();
            let (to, query) = scene.link("ana@acme.example");
            assert_eq!(to, "http://localhost:3000/authenticate", "where new projects send people");
            scene.emulator.advance_clock(Duration::from_secs(minutes * 60 - early * 30));
            let answer = follow(&scene, &query["token"], None).await;
            match refusal {
                None => drop(answer.good()),
                Some(name) => answer.refused(401, name),
            }
        }
    }
    let asked = json!({ "login_expiration_minutes": 4 });
    send(&scene, asked).await.refused(400, "invalid_expiration");
}

#[tokio::test]
async fn a_challenge_asks_for_its_verifier() {
    let scene = Scene::start().await;
    send(&scene, json!({ "pkce_code_challenge": CHALLENGE })).await.good();
    let token = &scene.link("ana@acme.example").1["token"];
    follow(&scene, token, None).await.refused(400, "pkce_expected_code_verifier");
    follow(&scene, token, Some("x")).await.refused(400, "pkce_mismatch");
    follow(&scene, token, Some(VERIFIER)).await.good();
    send(&scene, json!({})).await.good();
    let token = &scene.link("ana@acme.example").1["token"];
    follow(&scene, token, Some(VERIFIER)).await.refused(400, "pkce_did_not_expect_code_verifier");
    send(&scene, json!({ "pkce_code_challenge": "short" })).await.refused(400, "invalid_pkce_code_challenge");
}

#[tokio::test]
async fn a_link_discovers_organizations() {
    let scene = Scene::start().await;
    let body = json!({ "email_address": "ana@acme.example", "discovery_redirect_url": ACME,
        "pkce_code_challenge": CHALLENGE });
    scene.post("/v1/b2b/magic_links/email/discovery/send", body).await.good();
    let (_, query) = scene.link("ana@acme.example");
    assert_eq!(query["stytch_token_type"], "discovery");
    follow(&scene, &query["token"], None).await.refused(404, "magic_link_not_found");
    let body = json!({ "discovery_magic_links_token": query["token"], "pkce_code_verifier": VERIFIER });
    let found = scene.post("/v1/b2b/magic_links/discovery/authenticate", body).await.good();
    assert_eq!(found["discovered_organizations"].as_array().unwrap().len(), 2);
    let body = json!({ "organization_id": "globex",
        "intermediate_session_token": found["intermediate_session_token"] });
    let body = scene.post("/v1/b2b/discovery/intermediate_sessions/exchange", body).await.good();
    assert_eq!(body["member_session"]["organization_slug"], "globex");
    assert_eq!(body["member_session"]["authentication_factors"][0]["type"], "magic_link");
}

#[tokio::test]
async fn an_invitation_makes_a_member() {
    let scene = Scene::start().await;
    let body = json!({ "organization_id": "acme", "email_address": "new@example.com", "name": "New",
        "roles": ["editor"] });
    let invited = scene.post("/v1/b2b/magic_links/email/invite", body).await.good();
    assert_eq!(invited["member"]["status"], "invited");
    let (_, query) = scene.link("new@example.com");
    assert_eq!(query["stytch_redirect_type"], "invite");
    let body = follow(&scene, &query["token"], None).await.good();
    assert_eq!((&body["member"]["status"], &body["member"]["name"]), (&json!("active"), &json!("New")));
    assert_eq!(body["member_session"]["roles"], json!(["stytch_member", "editor"]));
}

#[tokio::test]
async fn a_user_signs_in_and_up_by_link() {
    let scene = Scene::start().await;
    for (address, created, kind) in [("uma@example.com", false, "login"), ("new@example.com", true, "signup")]
    {
        let body = json!({ "email": address, "login_magic_link_url": "https://app.example/login",
            "signup_magic_link_url": "https://app.example/signup", "code_challenge": CHALLENGE });
        let sent = scene.post("/v1/magic_links/email/login_or_create", body).await.good();
        assert_eq!(sent["user_created"], created);
        let (to, query) = scene.link(address);
        assert_eq!(to, format!("https://app.example/{kind}"));
        assert_eq!(query["stytch_token_type"], "magic_links");
        let body =
            json!({ "token": query["token"], "code_verifier": VERIFIER, "session_duration_minutes": 30 });
        let body = scene.post("/v1/magic_links/authenticate", body).await.good();
        assert_eq!(body["method_id"], sent["email_id"]);
        assert_eq!(body["user"]["emails"][0]["verified"], true);
        assert_eq!(body["session"]["authentication_factors"][0]["type"], "magic_link");
    }
    scene.post("/v1/magic_links/email/send", json!({ "email": "uma@example.com" })).await.good();
    let body = json!({ "token": scene.link("uma@example.com").1["token"] });
    let body = scene.post("/v1/magic_links/authenticate", body).await.good();
    assert_eq!((text(&body, "session_token").as_str(), &body["session"]), ("", &Value::Null));
    let stranger = json!({ "email": "who@example.com" });
    scene.post("/v1/magic_links/email/send", stranger).await.refused(404, "email_not_found");
}

#[tokio::test]
async fn a_project_may_name_its_redirect_urls() {
    let scene = Scene::seeded(
        r#"
        redirect_urls = ["https://app.example/callback?kept=1"]
        [[organizations]]
        organization_slug = "acme"
        [[members]]
        organization_id = "acme"
        email_address = "ana@acme.example"
        "#,
    )
    .await;
    send(&scene, json!({ "login_redirect_url": ACME })).await.good();
    send(&scene, json!({})).await.good();
    assert_eq!(scene.link("ana@acme.example").0, "https://app.example/callback");
    let other = json!({ "login_redirect_url": "https://app.example/callback" });
    send(&scene, other).await.refused(400, "no_match_for_provided_magic_link_url");
}

#[tokio::test]
async fn the_sandbox_has_a_good_a_spent_and_an_unknown_link() {
    let scene = Scene::start().await;
    let spent = "3pzjQpgksDlGKWEwUq2Up--hCHC_0oamfLHyfspKDFU=";
    follow(&scene, spent, None).await.refused(401, "unable_to_auth_magic_link");
    let user = async |path: &str, token: &str| {
        scene.post(path, json!({ "token": token, "session_duration_minutes": 5 })).await
    };
    let links = "/v1/magic_links/authenticate";
    user(links, spent).await.refused(401, "unable_to_auth_magic_link");
    let unknown = user(links, "CprTtwhnRNiMBiUS2jSLcWYrfuO2POeBNdo5HhW6qTM=").await;
    unknown.refused(404, "magic_link_not_found");
    for _ in 0..2 {
        let body = user(links, "DOYoip3rvIMMW5lgItikFK-Ak1CfMsgjuiCyI7uuU94=").await.good();
        assert_eq!(body["user_id"], "user-test-e3795c81-f849-4167-bfda-e4a6e9c280fd");
    }
    let body = user("/v1/oauth/authenticate", "hdPVZHHX0UoRa7hJTuuPHi1vlddffSnoweRbVFf5-H8g").await.good();
    assert_eq!(body["user_id"], "user-test-e3795c81-f849-4167-bfda-e4a6e9c280fd");
}
