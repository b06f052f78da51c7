//! Signing members in: e-mailed codes, texted second factors, and what organizations demand.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Scene, text};

const LOGIN: &str = "/v1/b2b/otps/email/login_or_signup";
const AUTHENTICATE: &str = "/v1/b2b/otps/email/authenticate";
const SMS_SEND: &str = "/v1/b2b/otps/sms/send";
const SMS_AUTHENTICATE: &str = "/v1/b2b/otps/sms/authenticate";

#[tokio::test]
async fn an_emailed_code_signs_a_member_in_for_an_hour() {
    let scene = Scene::start().await;
    let body = signed_in(&scene, "acme", "ben@acme.example").await;
    assert_eq!(body["member_authenticated"], true);
    assert_eq!(body["intermediate_session_token"], "");
    assert_eq!(body["member_session"]["authentication_factors"][0]["type"], "email_otp");
    let token = text(&body, "session_token");
    scene.emulator.advance_clock(Duration::from_secs(59 * 60));
    scene.authenticate(&token).await.good();
    scene.emulator.advance_clock(Duration::from_secs(60));
    scene.authenticate(&token).await.refused(404, "session_not_found");
}

#[tokio::test]
async fn a_code_is_good_once_for_its_time_and_until_the_next_one() {
    let scene = Scene::start().await;
    let login = json!({ "organization_id": "acme", "email_address": "ben@acme.example" });
    let with =
        |code: &str| json!({ "organization_id": "acme", "email_address": "ben@acme.example", "code": code });
    scene.post(AUTHENTICATE, with("123456")).await.refused(404, "otp_code_not_found");
    scene.post(AUTHENTICATE, with("12 45x")).await.refused(400, "invalid_code");
    scene.post(LOGIN, login.clone()).await.good();
    let code = scene.code("ben@acme.example");
    scene.post(AUTHENTICATE, with(&other_than(&code))).await.refused(404, "otp_code_not_found");
    let mut endless = with(&code);
    endless["session_duration_minutes"] = json!(1_000_000);
    scene.post(AUTHENTICATE, endless).await.refused(400, "invalid_session_duration_minutes");
    scene.post(AUTHENTICATE, with(&code)).await.good();
    scene.post(AUTHENTICATE, with(&code)).await.refused(401, "unable_to_auth_otp_code");
    scene.post(LOGIN, login.clone()).await.good();
    let code = scene.code("ben@acme.example");
    scene.emulator.advance_clock(Duration::from_secs(600));
    scene.post(AUTHENTICATE, with(&code)).await.refused(401, "unable_to_auth_otp_code");
    let mut short = login;
    short["login_expiration_minutes"] = json!(1);
    scene.post(LOGIN, short).await.refused(400, "invalid_expiration_otp");
}

#[tokio::test]
async fn only_people_of_an_allowed_domain_may_sign_themselves_up() {
    let scene = Scene::seeded(
        r#"
        [[organizations]]
        organization_slug = "open"
        email_allowed_domains = ["open.example"]
        "#,
    )
    .await;
    let login = |address: &str| json!({ "organization_id": "open", "email_address": address });
    let body = scene.post(LOGIN, login("new@open.example")).await.good();
    assert_eq!(body["member_created"], true);
    assert_eq!(body["member"]["status"], "pending");
    let body = signed_in(&scene, "open", "new@open.example").await;
    assert_eq!(body["member"]["status"], "active");
    scene.post(LOGIN, login("new@shut.example")).await.refused(403, "email_jit_provisioning_not_allowed");
    scene.post(LOGIN, login("nobody")).await.refused(400, "invalid_email");
}

#[tokio::test]
async fn a_second_factor_is_asked_for_and_ends_the_sign_in() {
    let scene = Scene::start().await;
    let first = signed_in(&scene, "acme", "cho@acme.example").await;
    assert_eq!(first["member_authenticated"], false);
    assert_eq!(first["session_token"], "");
    assert_eq!(first["member_session"], Value::Null);
    assert_eq!(first["mfa_required"]["secondary_auth_initiated"], "sms_otp");
    let number = text(&first["mfa_required"]["member_options"], "mfa_phone_number");
    let token = text(&first, "intermediate_session_token");
    let with = |code: &str| {
        json!({
            "organization_id": "acme", "member_id": first["member_id"], "code": code,
            "intermediate_session_token": token, "session_duration_minutes": 30,
        })
    };
    let code = scene.code(&number);
    scene.post(SMS_AUTHENTICATE, with(&other_than(&code))).await.refused(404, "otp_code_not_found");
    let body = scene.post(SMS_AUTHENTICATE, with(&code)).await.good();
    let factors = body["member_session"]["authentication_factors"].as_array().unwrap();
    assert_eq!(factors.iter().map(|one| &one["type"]).collect::<Vec<_>>(), ["email_otp", "otp"]);
    assert_eq!(factors[1]["phone_number_factor"]["phone_number"], number);
    scene.authenticate(&text(&body, "session_token")).await.good();
    scene.post(SMS_AUTHENTICATE, with(&code)).await.refused(404, "intermediate_session_not_found");
}

#[tokio::test]
async fn an_intermediate_session_lasts_ten_minutes() {
    let scene = Scene::start().await;
    let first = signed_in(&scene, "acme", "cho@acme.example").await;
    scene.emulator.advance_clock(Duration::from_secs(600));
    let request = json!({
        "organization_id": "acme", "member_id": first["member_id"],
        "intermediate_session_token": first["intermediate_session_token"],
    });
    scene.post(SMS_SEND, request).await.refused(404, "intermediate_session_not_found");
}

#[tokio::test]
async fn a_member_may_enrol_a_phone_and_is_asked_for_it_from_then_on() {
    let scene = Scene::start().await;
    let first = signed_in(&scene, "acme", "ben@acme.example").await;
    let session = text(&first, "session_token");
    let send = |number: Value| {
        json!({
            "organization_id": "acme", "member_id": first["member_id"], "session_token": session,
            "mfa_phone_number": number,
        })
    };
    scene.post(SMS_SEND, send(Value::Null)).await.refused(404, "member_phone_number_not_found");
    scene.post(SMS_SEND, send(json!("5550100"))).await.refused(400, "invalid_phone_number");
    scene.post(SMS_SEND, send(json!("+15005550100"))).await.good();
    let request = json!({
        "organization_id": "acme", "member_id": first["member_id"], "session_token": session,
        "code": scene.code("+15005550100"), "set_mfa_enrollment": "enroll", "set_default_mfa": true,
    });
    let body = scene.post(SMS_AUTHENTICATE, request).await.good();
    assert_eq!(body["session_token"], session, "the same session, one factor richer");
    assert_eq!(body["member_session"]["authentication_factors"].as_array().unwrap().len(), 2);
    assert_eq!(body["member"]["mfa_enrolled"], true);
    let again = signed_in(&scene, "acme", "ben@acme.example").await;
    assert_eq!(again["member_authenticated"], false);
}

#[tokio::test]
async fn a_second_factor_needs_a_first_one_of_the_same_member() {
    let scene = Scene::start().await;
    let cho = scene.member_id("cho@acme.example");
    let with = |session: Value| json!({ "organization_id": "acme", "member_id": cho, "code": "123456", "session_token": session });
    scene.post(SMS_AUTHENTICATE, with(Value::Null)).await.refused(400, "no_session_arguments");
    let ben = scene.emulator.session("ben@acme.example").organization("acme").mint();
    let refused = scene.post(SMS_AUTHENTICATE, with(json!(ben.session_token))).await;
    refused.refused(400, "member_session_member_id_mismatch");
}

#[tokio::test]
async fn an_organization_may_insist_on_other_methods_and_on_a_second_factor() {
    let scene = Scene::seeded(
        r#"
        [[organizations]]
        organization_slug = "strict"
        allowed_auth_methods = ["sso"]
        [[organizations]]
        organization_slug = "double"
        mfa_policy = "REQUIRED_FOR_ALL"
        [[members]]
        organization_id = "strict"
        email_address = "max@strict.example"
        [[members]]
        organization_id = "double"
        email_address = "max@double.example"
        "#,
    )
    .await;
    let body = signed_in(&scene, "strict", "max@strict.example").await;
    assert_eq!(body["primary_required"]["allowed_auth_methods"], json!(["sso"]));
    assert_eq!(body["mfa_required"], Value::Null);
    assert_eq!(text(&body, "intermediate_session_token").len(), 44);
    let body = signed_in(&scene, "double", "max@double.example").await;
    assert_eq!(body["mfa_required"]["member_options"], Value::Null, "they have to enrol first");
    assert_eq!(body["mfa_required"]["secondary_auth_initiated"], Value::Null);
}

/// What the API answers to a member who types the code they were sent.
async fn signed_in(scene: &Scene, organization: &str, address: &str) -> Value {
    let mut request = json!({ "organization_id": organization, "email_address": address });
    scene.post(LOGIN, request.clone()).await.good();
    request["code"] = json!(scene.code(address));
    scene.post(AUTHENTICATE, request).await.good()
}

fn other_than(code: &str) -> String {
    if code == "111111" { "222222".into() } else { "111111".into() }
}
