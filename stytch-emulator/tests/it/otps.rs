//! Passcodes for Consumer users.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Scene, text};

const AUTHENTICATE: &str = "/v1/otps/authenticate";

#[tokio::test]
async fn a_known_user_signs_in_by_email() {
    let scene = Scene::start().await;
    let sent =
        scene.post("/v1/otps/email/login_or_create", json!({ "email": "uma@example.com" })).await.good();
    assert_eq!(sent["user_created"], false);
    let request = json!({
        "method_id": sent["email_id"], "code": scene.code("uma@example.com"), "session_duration_minutes": 60,
        "session_custom_claims": { "plan": "free" },
    });
    let body = scene.post(AUTHENTICATE, request).await.good();
    assert_eq!(body["session"]["authentication_factors"][0]["delivery_method"], "email");
    assert_eq!(body["session"]["custom_claims"]["plan"], "free");
    let request = json!({ "session_token": body["session_token"] });
    scene.post("/v1/sessions/authenticate", request).await.good();
}

#[tokio::test]
async fn no_session_comes_of_it_unless_its_length_is_given() {
    let scene = Scene::start().await;
    let sent =
        scene.post("/v1/otps/email/login_or_create", json!({ "email": "uma@example.com" })).await.good();
    let request = json!({ "method_id": sent["email_id"], "code": scene.code("uma@example.com") });
    let body = scene.post(AUTHENTICATE, request).await.good();
    assert_eq!(body["session"], Value::Null);
    assert_eq!((&body["session_token"], &body["session_jwt"]), (&json!(""), &json!("")));
}

#[tokio::test]
async fn strangers_are_created_by_email_and_by_phone() {
    let scene = Scene::start().await;
    let request = json!({ "email": "new@example.com", "create_user_as_pending": true });
    let sent = scene.post("/v1/otps/email/login_or_create", request).await.good();
    assert_eq!(sent["user_created"], true);
    let user = scene.get(&format!("/v1/users/{}", text(&sent, "user_id"))).await.good();
    assert_eq!((&user["status"], &user["emails"][0]["verified"]), (&json!("pending"), &json!(false)));
    let request = json!({ "method_id": sent["email_id"], "code": scene.code("new@example.com") });
    let body = scene.post(AUTHENTICATE, request).await.good();
    assert_eq!(body["user"]["status"], "active");
    assert_eq!(body["user"]["emails"][0]["verified"], true);
    for (channel, number) in [("sms", "+15005550101"), ("whatsapp", "+15005550102")] {
        let path = format!("/v1/otps/{channel}/login_or_create");
        let sent = scene.post(&path, json!({ "phone_number": number })).await.good();
        assert_eq!(sent["user_created"], true);
        let request = json!({ "method_id": sent["phone_id"], "code": scene.code(number), "session_duration_minutes": 5 });
        let body = scene.post(AUTHENTICATE, request).await.good();
        let factor = &body["session"]["authentication_factors"][0];
        assert_eq!(factor["delivery_method"], channel);
        assert_eq!(factor["phone_number_factor"]["phone_number"], number);
    }
}

#[tokio::test]
async fn send_wants_somebody_who_exists() {
    let scene = Scene::start().await;
    let to = json!({ "email": "nobody@example.com" });
    scene.post("/v1/otps/email/send", to).await.refused(404, "email_not_found");
    let to = json!({ "phone_number": "+15005550103" });
    scene.post("/v1/otps/sms/send", to.clone()).await.refused(404, "phone_number_not_found");
    scene.post("/v1/otps/whatsapp/send", to).await.refused(404, "phone_number_not_found");
    let sent = scene.post("/v1/otps/email/send", json!({ "email": "uma@example.com" })).await.good();
    let attach = json!({ "phone_number": "+15005550103", "user_id": sent["user_id"] });
    scene.post("/v1/otps/sms/send", attach).await.good();
    scene.post("/v1/otps/whatsapp/send", json!({ "phone_number": "+15005550103" })).await.good();
}

#[tokio::test]
async fn a_second_method_joins_the_session() {
    let scene = Scene::start().await;
    let session = scene.emulator.session("uma@example.com").mint();
    let request = json!({ "session_token": session.session_token });
    let user = scene.post("/v1/sessions/authenticate", request).await.good()["user"].clone();
    let attach = json!({ "phone_number": "+15005550104", "user_id": user["user_id"] });
    let sent = scene.post("/v1/otps/sms/send", attach).await.good();
    let request = json!({
        "method_id": sent["phone_id"], "code": scene.code("+15005550104"), "session_token": session.session_token,
    });
    let body = scene.post(AUTHENTICATE, request).await.good();
    assert_eq!(body["session"]["session_id"], session.session_id);
    assert_eq!(body["session"]["authentication_factors"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn wrong_late_and_malformed_codes_are_told_apart() {
    let scene = Scene::start().await;
    let sent =
        scene.post("/v1/otps/email/login_or_create", json!({ "email": "uma@example.com" })).await.good();
    let with = |code: &str| json!({ "method_id": sent["email_id"], "code": code });
    scene.post(AUTHENTICATE, with("abc")).await.refused(400, "invalid_code");
    let strange = json!({ "method_id": "what", "code": "123456" });
    scene.post(AUTHENTICATE, strange).await.refused(400, "invalid_method_id");
    let code = scene.code("uma@example.com");
    let wrong = if code == "111111" { "222222" } else { "111111" };
    scene.post(AUTHENTICATE, with(wrong)).await.refused(404, "otp_code_not_found");
    scene.emulator.advance_clock(Duration::from_secs(120));
    scene.post(AUTHENTICATE, with(&code)).await.refused(401, "unable_to_auth_otp_code");
    let long = json!({ "email": "uma@example.com", "expiration_minutes": 11 });
    scene.post("/v1/otps/email/login_or_create", long).await.refused(400, "invalid_expiration_otp");
    scene.post("/v1/otps/email/login_or_create", json!({ "email": "x" })).await.refused(400, "invalid_email");
}

#[tokio::test]
async fn the_sandbox_address_is_sent_nothing_and_has_one_code() {
    let scene = Scene::start().await;
    let to = json!({ "email": "sandbox@stytch.com" });
    let sent = scene.post("/v1/otps/email/login_or_create", to).await.good();
    assert!(scene.emulator.outbox("sandbox@stytch.com").is_empty());
    scene.post(AUTHENTICATE, json!({ "method_id": sent["email_id"], "code": "000000" })).await.good();
}
