//! Sign-ins by way of a provider: OAuth and single sign-on.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, CHALLENGE, Scene, VERIFIER, text};

const BACK: &str = "https://app.example/callback";
const CONNECTION: &str = "saml-connection-test-acme";

/// Leaves for a provider as somebody, and comes back with a query.
async fn back(scene: &Scene, path: &str, more: &[(&str, &str)]) -> HashMap<String, String> {
    let (to, query) = leave(scene, path, more).await.redirected();
    assert_eq!(to, BACK);
    query
}

async fn leave(scene: &Scene, path: &str, more: &[(&str, &str)]) -> Answer {
    let back = if path.contains("discovery") { "discovery_redirect_url" } else { "login_redirect_url" };
    let query = [&[("public_token", scene.emulator.public_token()), (back, BACK)], more].concat();
    scene.visit(path, &query).await
}

async fn member_oauth(scene: &Scene, token: &str, more: Value) -> Answer {
    let mut body = json!({ "oauth_token": token });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    scene.post("/v1/b2b/oauth/authenticate", body).await
}

const GITHUB: &str = "/v1/b2b/public/oauth/github/start";
const ANA: (&str, &str) = ("as", "ana@acme.example");

#[tokio::test]
async fn a_member_comes_back_from_a_provider_once_within_ten_minutes() {
    let scene = Scene::start().await;
    let challenge = ("pkce_code_challenge", CHALLENGE);
    let query =
        back(&scene, GITHUB, &[ANA, ("slug", "acme"), challenge, ("custom_scopes", "repo gist")]).await;
    let landed = ["stytch_token_type", "stytch_redirect_type", "slug"].map(|name| query[name].as_str());
    assert_eq!(landed, ["oauth", "login", "acme"]);
    let token = &query["token"];
    member_oauth(&scene, token, json!({})).await.refused(400, "pkce_expected_code_verifier");
    let proof = json!({ "pkce_code_verifier": VERIFIER });
    let body = member_oauth(&scene, token, proof.clone()).await.good();
    assert_eq!((&body["provider_type"], &body["member_authenticated"]), (&json!("GitHub"), &json!(true)));
    assert_eq!(body["provider_values"]["scopes"], json!(["openid", "email", "profile", "repo", "gist"]));
    let factor = &body["member_session"]["authentication_factors"][0];
    assert_eq!((&factor["type"], &factor["delivery_method"]), (&json!("oauth"), &json!("oauth_github")));
    assert_eq!(factor["github_oauth_factor"]["provider_subject"], body["provider_subject"]);
    assert_eq!(body["member"]["oauth_registrations"][0]["provider_subject"], body["provider_subject"]);
    member_oauth(&scene, token, proof).await.refused(400, "oauth_token_not_found");

    let again = back(&scene, GITHUB, &[ANA, ("organization_id", "acme")]).await;
    let again = member_oauth(&scene, &again["token"], json!({})).await.good();
    assert_eq!(again["member"]["oauth_registrations"].as_array().unwrap().len(), 1, "the same registration");
    let late = back(&scene, GITHUB, &[ANA, ("slug", "acme")]).await;
    scene.emulator.advance_clock(Duration::from_secs(600));
    member_oauth(&scene, &late["token"], json!({})).await.refused(400, "oauth_token_not_found");
}

#[tokio::test]
async fn without_a_name_the_page_asks() {
    let scene = Scene::start().await;
    let page = leave(&scene, GITHUB, &[("slug", "acme"), ("pkce_code_challenge", CHALLENGE)]).await;
    assert_eq!(page.status, 200);
    let html = page.body.as_str().unwrap();
    for address in ["ana@acme.example", "ben@acme.example", "cho@acme.example"] {
        assert!(html.contains(&format!(">{address}</a>")), "{html}");
    }
    assert!(!html.contains("gil@globex.example"), "nobody of another organization");
    let link = html.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let (_, query) = scene.visit(&format!("{GITHUB}{link}"), &[]).await.redirected();
    let proof = json!({ "pkce_code_verifier": VERIFIER });
    let body = member_oauth(&scene, &query["token"], proof).await.good();
    assert_eq!(body["member"]["email_address"], "ana@acme.example");
    let script = leave(&scene, GITHUB, &[("slug", "acme"), ("x", "\"><script>")]).await;
    assert!(!script.body.as_str().unwrap().contains("<script"), "what comes in is text");
}

#[tokio::test]
async fn start_pages_refuse_what_they_cannot_do() {
    let scene = Scene::start().await;
    let google = "/v1/b2b/public/oauth/google/start";
    for (path, query, status, name) in [
        (google, vec![ANA], 400, "missing_oauth_organization_locator"),
        (
            google,
            vec![ANA, ("slug", "acme"), ("organization_id", "acme")],
            400,
            "too_many_oauth_organization_locators",
        ),
        (google, vec![ANA, ("slug", "none")], 404, "organization_not_found"),
        (google, vec![("as", "nobody"), ("slug", "acme")], 400, "invalid_email"),
        (
            google,
            vec![ANA, ("slug", "acme"), ("pkce_code_challenge", "x")],
            400,
            "invalid_pkce_code_challenge",
        ),
        ("/v1/b2b/public/oauth/apple/start", vec![ANA, ("slug", "acme")], 400, "invalid_oauth_provider"),
        ("/v1/public/oauth/hubspot/start", vec![ANA], 400, "invalid_oauth_provider"),
        ("/v1/public/sso/start", vec![ANA, ("connection_id", "x")], 404, "sso_connection_not_found"),
    ] {
        leave(&scene, path, &query).await.refused(status, name);
    }
    scene.visit(google, &[("slug", "acme")]).await.refused(400, "public_token_required");
    scene.visit(google, &[("public_token", "x")]).await.refused(404, "public_token_not_found");
}

#[tokio::test]
async fn a_provider_discovers_organizations() {
    let scene = Scene::start().await;
    let path = "/v1/b2b/public/oauth/google/discovery/start";
    let page = leave(&scene, path, &[]).await;
    assert_eq!(page.body.as_str().unwrap().matches("ana%40acme.example").count(), 1, "each address once");
    let query = back(&scene, path, &[ANA, ("pkce_code_challenge", CHALLENGE)]).await;
    assert_eq!(query["stytch_token_type"], "discovery_oauth");
    let body = json!({ "discovery_oauth_token": query["token"], "pkce_code_verifier": VERIFIER });
    let found = scene.post("/v1/b2b/oauth/discovery/authenticate", body).await.good();
    assert_eq!((&found["provider_type"], &found["full_name"]), (&json!("Google"), &json!("Ana")));
    assert_eq!(found["discovered_organizations"].as_array().unwrap().len(), 2);
    let body = json!({ "organization_id": "acme",
        "intermediate_session_token": found["intermediate_session_token"] });
    let body = scene.post("/v1/b2b/discovery/intermediate_sessions/exchange", body).await.good();
    let factor = &body["member_session"]["authentication_factors"][0];
    assert_eq!(factor["delivery_method"], "oauth_google");
    assert!(text(&factor["google_oauth_factor"], "email_id").starts_with("email-test-"));
    member_oauth(&scene, &query["token"], json!({})).await.refused(400, "oauth_token_not_found");
}

#[tokio::test]
async fn an_organization_that_wants_a_provider_gets_it_before_the_second_factor() {
    let scene = Scene::seeded(
        r#"
        [[organizations]]
        organization_slug = "acme"
        allowed_auth_methods = ["google_oauth"]
        mfa_policy = "REQUIRED_FOR_ALL"
        [[members]]
        organization_id = "acme"
        email_address = "ana@acme.example"
        mfa_phone_number = "+15005550177"
        "#,
    )
    .await;
    let address = "ana@acme.example";
    scene.post("/v1/b2b/otps/email/discovery/send", json!({ "email_address": address })).await.good();
    let body = json!({ "email_address": address, "code": scene.code(address) });
    let found = scene.post("/v1/b2b/otps/email/discovery/authenticate", body).await.good();
    let exchange = json!({ "organization_id": "acme",
        "intermediate_session_token": found["intermediate_session_token"] });
    let first = scene.post("/v1/b2b/discovery/intermediate_sessions/exchange", exchange).await.good();
    assert_eq!(first["primary_required"]["allowed_auth_methods"], json!(["google_oauth"]));
    let ist = text(&first, "intermediate_session_token");
    let second_step = json!({ "organization_id": "acme", "member_id": first["member_id"], "code": "123456",
        "intermediate_session_token": ist });
    let too_early = scene.post("/v1/b2b/otps/sms/authenticate", second_step).await;
    too_early.refused(400, "action_available_only_once_primary_authentication_is_met");
    let query = back(&scene, "/v1/b2b/public/oauth/google/start", &[ANA, ("slug", "acme")]).await;
    let carried = json!({ "intermediate_session_token": ist });
    let body = member_oauth(&scene, &query["token"], carried).await.good();
    assert_eq!((&body["member_authenticated"], &body["primary_required"]), (&json!(false), &Value::Null));
    assert_eq!(body["mfa_required"]["member_options"]["mfa_phone_number"], "+15005550177");
}

#[tokio::test]
async fn strangers_join_by_domain_or_not_at_all() {
    let scene = Scene::seeded(
        "[[organizations]]\norganization_slug = \"acme\"\nemail_allowed_domains = [\"acme.example\"]",
    )
    .await;
    let query = back(&scene, GITHUB, &[("as", "new@acme.example"), ("slug", "acme")]).await;
    assert_eq!(query["stytch_redirect_type"], "signup");
    let body = member_oauth(&scene, &query["token"], json!({})).await.good();
    assert_eq!(body["member"]["status"], "active");
    let query = back(&scene, GITHUB, &[("as", "new@other.example"), ("slug", "acme")]).await;
    let refused = member_oauth(&scene, &query["token"], json!({})).await;
    refused.refused(403, "email_jit_provisioning_not_allowed");
}

#[tokio::test]
async fn a_user_comes_back_from_a_provider_and_is_made_if_need_be() {
    let scene = Scene::start().await;
    for (address, kind) in [("uma@example.com", "login"), ("new@example.com", "signup")] {
        let path = "/v1/public/oauth/tiktok/start";
        let query = back(&scene, path, &[("as", address), ("code_challenge", CHALLENGE)]).await;
        assert_eq!(
            (query["stytch_token_type"].as_str(), query["stytch_redirect_type"].as_str()),
            ("oauth", kind)
        );
        let body =
            json!({ "token": query["token"], "code_verifier": VERIFIER, "session_duration_minutes": 30 });
        let body = scene.post("/v1/oauth/authenticate", body.clone()).await.good();
        assert!(body.get("session").is_none(), "it is called user_session here");
        let factor = &body["user_session"]["authentication_factors"][0];
        assert_eq!(factor["tik_tok_oauth_factor"]["provider_subject"], body["provider_subject"]);
        let provider = &body["user"]["providers"][0];
        assert_eq!(provider["provider_type"], "TikTok");
        assert_eq!(provider["oauth_user_registration_id"], body["oauth_user_registration_id"]);
        assert_eq!(body["user"]["emails"][0]["email"], address);
        assert!(!text(&body["provider_values"], "access_token").is_empty());
    }
    let unknown = json!({ "token": "59cnLELtq5cFVS6uYK9f-pAWzBkhqZl8AvLhbhOvKNWw" });
    scene.post("/v1/oauth/authenticate", unknown).await.refused(400, "oauth_token_not_found");
}

#[tokio::test]
async fn a_member_comes_back_from_their_organizations_provider() {
    let scene = Scene::start().await;
    let shown = scene.get("/v1/b2b/organizations/acme").await.good();
    assert_eq!(shown["organization"]["sso_active_connections"][0]["connection_id"], CONNECTION);
    let listed = scene.get("/v1/b2b/sso/acme").await.good();
    assert_eq!(listed["saml_connections"][0]["connection_id"], CONNECTION);
    let query =
        [("as", "ben@acme.example"), ("connection_id", CONNECTION), ("pkce_code_challenge", CHALLENGE)];
    let query = back(&scene, "/v1/public/sso/start", &query).await;
    assert_eq!(query["stytch_token_type"], "sso");
    let body = json!({ "sso_token": query["token"], "pkce_code_verifier": VERIFIER });
    let answer = scene.post("/v1/b2b/sso/authenticate", body.clone()).await.good();
    assert_eq!((&answer["member_authenticated"], &answer["reset_session"]), (&json!(true), &json!(false)));
    let factor = &answer["member_session"]["authentication_factors"][0];
    assert_eq!((&factor["type"], &factor["delivery_method"]), (&json!("sso"), &json!("sso_saml")));
    assert_eq!(factor["saml_sso_factor"]["provider_id"], CONNECTION);
    scene.post("/v1/b2b/sso/authenticate", body).await.refused(404, "sso_token_not_found");
}

#[tokio::test]
async fn a_connections_roles_count_only_in_sessions_that_came_by_it() {
    let scene = Scene::seeded(
        r#"
        [[organizations]]
        organization_slug = "acme"
        sso_active_connections = [
            { connection_id = "oidc-connection-test-1", display_name = "Okta", implicit_roles = ["auditor"] },
        ]
        [[roles]]
        role_id = "auditor"
        permissions = [{ resource_id = "books", actions = ["read"] }]
        "#,
    )
    .await;
    let query = [("as", "new@acme.example"), ("connection_id", "oidc-connection-test-1")];
    let query = back(&scene, "/v1/public/sso/start", &query).await;
    let body = json!({ "sso_token": query["token"] });
    let by_sso = scene.post("/v1/b2b/sso/authenticate", body).await.good();
    assert_eq!(by_sso["member_session"]["roles"], json!(["stytch_member", "auditor"]));
    let source = &by_sso["member"]["roles"][1]["sources"][0];
    assert_eq!(source["type"], "sso_connection");
    let otherwise = scene.emulator.session("new@acme.example").organization("acme").mint();
    let otherwise = scene.authenticate(&otherwise.session_token).await.good();
    assert_eq!(otherwise["member_session"]["roles"], json!(["stytch_member"]));
    assert_eq!(otherwise["member"]["roles"], by_sso["member"]["roles"], "the member has it all the same");
    let check = async |session: &Value| {
        let check = json!({ "organization_id": "acme", "resource_id": "books", "action": "read" });
        let body = json!({ "session_token": session["session_token"], "authorization_check": check });
        scene.post("/v1/b2b/sessions/authenticate", body).await
    };
    assert_eq!(check(&by_sso).await.good()["verdict"]["granting_roles"], json!(["auditor"]));
    check(&otherwise).await.refused(403, "session_authorization_error");
    let listed = scene.get("/v1/b2b/sso/acme").await.good();
    assert_eq!(listed["oidc_connections"][0]["display_name"], "Okta");
}
