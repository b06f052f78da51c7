//! Looking things up, and calls that make no sense.

use serde_json::json;

use crate::support::{Scene, text};

#[tokio::test]
async fn credentials_are_checked() {
    let scene = Scene::start().await;
    let body = scene.get("/v1/debug/whoami").await.good();
    assert_eq!(body["project_id"], scene.emulator.project_id());
    let bare = scene.send(scene.bare_request("GET", "/v1/debug/whoami")).await;
    bare.refused(401, "unauthorized_credentials");
    let wrong =
        scene.bare_request("GET", "/v1/debug/whoami").basic_auth(scene.emulator.project_id(), Some("x"));
    scene.send(wrong).await.refused(401, "unauthorized_credentials");
}

#[tokio::test]
async fn unknown_routes_and_methods_are_errors_like_any_other() {
    let scene = Scene::start().await;
    scene.get("/v1/b2b/nothing").await.refused(404, "route_not_found");
    scene.get("/").await.refused(404, "route_not_found");
    scene.post("/v1/debug/whoami", json!({})).await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_bad_requests() {
    let scene = Scene::start().await;
    for body in ["{", "[]", "\"text\"", r#"{"session_token": 5}"#] {
        let request = scene.request("POST", "/v1/b2b/sessions/authenticate").body(body);
        scene.send(request).await.refused(400, "bad_request");
    }
    scene.post("/v1/b2b/otps/email/authenticate", json!({})).await.refused(400, "bad_request");
    let huge = scene.request("POST", "/v1/b2b/sessions/authenticate").body("x".repeat(3 << 20));
    scene.send(huge).await.refused(400, "bad_request");
}

#[tokio::test]
async fn bodies_on_gets_bare_question_marks_and_charsets_are_borne() {
    let scene = Scene::start().await;
    scene.send(scene.request("GET", "/v1/b2b/rbac/policy?").body("null")).await.good();
    scene.send(scene.request("GET", "/v1/rbac/policy").body("{}")).await.good();
    let session = scene.emulator.session("ben@acme.example").organization("acme").mint();
    let request = scene
        .request("POST", "/v1/b2b/sessions/authenticate")
        .header("content-type", "application/json; charset=utf-8")
        .body(json!({ "session_token": session.session_token }).to_string());
    scene.send(request).await.good();
}

#[tokio::test]
async fn organizations_are_found_by_id_and_slug() {
    let scene = Scene::start().await;
    let by_slug = scene.get("/v1/b2b/organizations/acme").await.good();
    let id = text(&by_slug["organization"], "organization_id");
    let by_id = scene.get(&format!("/v1/b2b/organizations/{id}")).await.good();
    assert_eq!(by_slug["organization"], by_id["organization"]);
    scene.get("/v1/b2b/organizations/none").await.refused(404, "organization_not_found");
}

#[tokio::test]
async fn members_are_found_by_id_and_address_in_their_own_organization() {
    let scene = Scene::start().await;
    let ben = scene.member_id("ben@acme.example");
    let body = scene.get(&format!("/v1/b2b/organizations/acme/member?member_id={ben}")).await.good();
    assert_eq!(body["member"]["email_address"], "ben@acme.example");
    let body = scene.get("/v1/b2b/organizations/globex/member?email_address=ana%40acme.example").await.good();
    assert_eq!(body["organization"]["organization_slug"], "globex");
    let elsewhere = scene.get(&format!("/v1/b2b/organizations/globex/member?member_id={ben}")).await;
    elsewhere.refused(404, "member_not_found");
    scene.get("/v1/b2b/organizations/acme/member").await.refused(400, "invalid_member_get_fields");
}

#[tokio::test]
async fn users_are_found_by_id() {
    let scene = Scene::start().await;
    let world = scene.emulator.world();
    let uma = &world["users"][0];
    let id = scene.emulator.user_id("uma@example.com").unwrap();
    let body = scene.get(&format!("/v1/users/{id}")).await.good();
    assert_eq!(body["user_id"], uma["user_id"]);
    assert_eq!(body["emails"], uma["emails"]);
    scene.get("/v1/users/none").await.refused(404, "user_not_found");
}
