//! Discovery: from an address to its organizations.

use serde_json::{Value, json};

use crate::support::{Scene, text};

const EXCHANGE: &str = "/v1/b2b/discovery/intermediate_sessions/exchange";
const CREATE: &str = "/v1/b2b/discovery/organizations/create";

#[tokio::test]
async fn an_address_leads_to_its_organizations_and_into_one() {
    let scene = Scene::start().await;
    let proved = discovered(&scene, "ana@acme.example").await;
    let found = proved["discovered_organizations"].as_array().unwrap();
    let slugs: Vec<_> = found.iter().map(|one| &one["organization"]["organization_slug"]).collect();
    assert_eq!(slugs, ["acme", "globex"]);
    assert!(found.iter().all(|one| one["membership"]["type"] == "active_member"));
    let token = &proved["intermediate_session_token"];
    let listed =
        scene.post("/v1/b2b/discovery/organizations", json!({ "intermediate_session_token": token }));
    assert_eq!(listed.await.good()["discovered_organizations"].as_array().unwrap().len(), 2);
    let request = json!({ "intermediate_session_token": token, "organization_id": "globex" });
    let body = scene.post(EXCHANGE, request.clone()).await.good();
    assert_eq!(body["member_session"]["organization_slug"], "globex");
    scene.authenticate(&text(&body, "session_token")).await.good();
    scene.post(EXCHANGE, request).await.refused(404, "intermediate_session_not_found");
}

#[tokio::test]
async fn a_session_discovers_too() {
    let scene = Scene::start().await;
    let session = scene.emulator.session("ana@acme.example").organization("acme").mint();
    let request = json!({ "session_token": session.session_token });
    let body = scene.post("/v1/b2b/discovery/organizations", request).await.good();
    assert_eq!(body["email_address"], "ana@acme.example");
    let refused = scene.post("/v1/b2b/discovery/organizations", json!({})).await;
    refused.refused(400, "no_session_arguments");
}

#[tokio::test]
async fn a_second_factor_is_still_owed_after_discovery() {
    let scene = Scene::start().await;
    let proved = discovered(&scene, "cho@acme.example").await;
    let acme = &proved["discovered_organizations"][0];
    assert_eq!(acme["member_authenticated"], false);
    let token = &proved["intermediate_session_token"];
    let request = json!({ "intermediate_session_token": token, "organization_id": "acme" });
    let body = scene.post(EXCHANGE, request).await.good();
    assert_eq!(body["member_authenticated"], false);
    assert_eq!(body["intermediate_session_token"], *token);
    let request = json!({
        "organization_id": "acme", "member_id": body["member_id"], "intermediate_session_token": token,
        "code": scene.code(&text(&body["member"], "mfa_phone_number")),
    });
    scene.post("/v1/b2b/otps/sms/authenticate", request).await.good();
}

#[tokio::test]
async fn domains_open_organizations_to_strangers() {
    let scene = Scene::seeded(
        r#"
        [[organizations]]
        organization_slug = "open"
        email_allowed_domains = ["open.example"]
        [[organizations]]
        organization_slug = "shut"
        "#,
    )
    .await;
    let proved = discovered(&scene, "new@open.example").await;
    let found = proved["discovered_organizations"].as_array().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["membership"]["type"], "eligible_to_join_by_email_domain");
    let into = |organization| {
        json!({
            "intermediate_session_token": proved["intermediate_session_token"], "organization_id": organization,
        })
    };
    scene.post(EXCHANGE, into("shut")).await.refused(403, "email_jit_provisioning_not_allowed");
    let body = scene.post(EXCHANGE, into("open")).await.good();
    assert_eq!(body["member"]["status"], "active");
}

#[tokio::test]
async fn a_new_organization_makes_its_creator_admin() {
    let scene = Scene::start().await;
    let proved = discovered(&scene, "zoe@initech.example").await;
    assert_eq!(proved["discovered_organizations"], json!([]));
    let named = |name: Value, slug: Value| {
        json!({
            "intermediate_session_token": proved["intermediate_session_token"],
            "organization_name": name, "organization_slug": slug,
        })
    };
    scene.post(CREATE, named(json!("A"), json!("acme"))).await.refused(400, "organization_slug_already_used");
    scene.post(CREATE, named(json!("A"), json!("a b"))).await.refused(400, "invalid_organization_slug");
    scene.post(CREATE, named(json!(" "), Value::Null)).await.refused(400, "invalid_organization_name");
    let body = scene.post(CREATE, named(json!("Initech & Sons"), Value::Null)).await.good();
    assert_eq!(body["organization"]["organization_slug"], "initech-sons");
    assert_eq!(body["member"]["is_admin"], true);
    assert_eq!(body["member_session"]["roles"], json!(["stytch_member", "stytch_admin"]));
}

#[tokio::test]
async fn a_new_organization_may_be_strict_from_the_start() {
    let scene = Scene::start().await;
    let proved = discovered(&scene, "zoe@initech.example").await;
    let body = json!({
        "intermediate_session_token": proved["intermediate_session_token"], "organization_name": "Initech",
        "auth_methods": "RESTRICTED", "allowed_auth_methods": ["email_otp"], "mfa_policy": "REQUIRED_FOR_ALL",
        "trusted_metadata": { "tier": "gold" },
    });
    let body = scene.post(CREATE, body).await.good();
    let organization = &body["organization"];
    assert_eq!(organization["allowed_auth_methods"], json!(["email_otp"]));
    assert_eq!(organization["trusted_metadata"], json!({ "tier": "gold" }));
    assert_eq!(body["primary_required"], Value::Null);
    assert_eq!(body["mfa_required"]["member_options"], Value::Null, "the creator has to enrol first");
}

async fn discovered(scene: &Scene, address: &str) -> Value {
    let mut request = json!({ "email_address": address });
    scene.post("/v1/b2b/otps/email/discovery/send", request.clone()).await.good();
    request["code"] = json!(scene.code(address));
    scene.post("/v1/b2b/otps/email/discovery/authenticate", request).await.good()
}
