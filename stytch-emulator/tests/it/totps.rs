//! Authenticator apps and recovery codes.

use std::time::Duration;

use serde_json::{Value, json};
use stytch_emulator::World;

use crate::support::{Answer, Scene, text};

const SECRET: &str = "JBSWY3DPEHPK3PXP";

/// Ana has an app, and Ben none; the organization asks everybody for a second factor.
async fn strict() -> Scene {
    Scene::seeded(&format!(
        r#"
        [[organizations]]
        organization_slug = "acme"
        mfa_policy = "REQUIRED_FOR_ALL"
        [[members]]
        organization_id = "acme"
        email_address = "ana@acme.example"
        mfa_enrolled = true
        default_mfa_method = "totp"
        totp_secret = "{SECRET}"
        recovery_codes = ["one-two", "three-four"]
        [[members]]
        organization_id = "acme"
        email_address = "ben@acme.example"
        "#
    ))
    .await
}

/// The first step: what the organization answers an e-mailed code with.
async fn first_step(scene: &Scene, address: &str) -> Value {
    let who = json!({ "organization_id": "acme", "email_address": address });
    scene.post("/v1/b2b/otps/email/login_or_signup", who.clone()).await.good();
    let mut proof = who;
    proof["code"] = scene.code(address).into();
    scene.post("/v1/b2b/otps/email/authenticate", proof).await.good()
}

async fn second_step(scene: &Scene, path: &str, first: &Value, more: Value) -> Answer {
    let mut body = json!({ "organization_id": "acme", "member_id": first["member_id"],
        "intermediate_session_token": first["intermediate_session_token"] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    scene.post(path, body).await
}

const TOTP: &str = "/v1/b2b/totp/authenticate";
const RECOVER: &str = "/v1/b2b/recovery_codes/recover";

#[tokio::test]
async fn an_app_is_the_second_factor() {
    let scene = strict().await;
    let first = first_step(&scene, "ana@acme.example").await;
    let options = &first["mfa_required"]["member_options"];
    assert!(text(options, "totp_registration_id").starts_with("totp-test-"));
    assert_eq!(options["mfa_phone_number"], "");
    assert_eq!(first["mfa_required"]["secondary_auth_initiated"], Value::Null);
    second_step(&scene, TOTP, &first, json!({ "code": "abc" })).await.refused(400, "invalid_totp_code");
    let code = scene.emulator.totp_code(SECRET);
    let wrong = format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000);
    second_step(&scene, TOTP, &first, json!({ "code": wrong }))
        .await
        .refused(401, "unable_to_authenticate_totp");
    let body = second_step(&scene, TOTP, &first, json!({ "code": code })).await.good();
    let factors = body["member_session"]["authentication_factors"].as_array().unwrap();
    assert_eq!((&factors[0]["type"], &factors[1]["type"]), (&json!("email_otp"), &json!("totp")));
    assert_eq!(factors[1]["authenticator_app_factor"]["totp_id"], options["totp_registration_id"]);
    second_step(&scene, TOTP, &first, json!({ "code": code }))
        .await
        .refused(404, "intermediate_session_not_found");
}

#[tokio::test]
async fn a_code_is_good_once_and_a_step_either_way() {
    let scene = strict().await;
    let first = first_step(&scene, "ana@acme.example").await;
    let code = scene.emulator.totp_code(SECRET);
    scene.emulator.advance_clock(Duration::from_secs(30));
    second_step(&scene, TOTP, &first, json!({ "code": code })).await.good();
    let first = first_step(&scene, "ana@acme.example").await;
    let again = second_step(&scene, TOTP, &first, json!({ "code": code })).await;
    again.refused(400, "totp_code_already_authenticated");
    let code = scene.emulator.totp_code(SECRET);
    scene.emulator.advance_clock(Duration::from_secs(90));
    let late = second_step(&scene, TOTP, &first, json!({ "code": code })).await;
    late.refused(401, "unable_to_authenticate_totp");
}

#[tokio::test]
async fn recovery_codes_stand_in_once_each() {
    let scene = strict().await;
    let first = first_step(&scene, "ana@acme.example").await;
    let wrong = second_step(&scene, RECOVER, &first, json!({ "recovery_code": "x" })).await;
    wrong.refused(401, "unable_to_authenticate_recovery_code");
    let code = json!({ "recovery_code": "one-two" });
    let body = second_step(&scene, RECOVER, &first, code.clone()).await.good();
    assert_eq!(body["recovery_codes_remaining"], 1);
    assert_eq!(body["member_session"]["authentication_factors"][1]["type"], "recovery_codes");
    let first = first_step(&scene, "ana@acme.example").await;
    second_step(&scene, RECOVER, &first, code).await.refused(401, "unable_to_authenticate_recovery_code");
    let path = format!("/v1/b2b/recovery_codes/acme/{}", text(&first, "member_id"));
    assert_eq!(scene.get(&path).await.good()["recovery_codes"], json!(["three-four"]));
    let who = json!({ "organization_id": "acme", "member_id": first["member_id"] });
    let rotated = scene.post("/v1/b2b/recovery_codes/rotate", who).await.good();
    assert_eq!(rotated["recovery_codes"].as_array().unwrap().len(), 10);
    let ben = format!("/v1/b2b/recovery_codes/acme/{}", scene.member_id("ben@acme.example"));
    scene.get(&ben).await.refused(404, "recovery_codes_not_found");
}

#[tokio::test]
async fn a_member_registers_an_app_with_what_the_first_step_gave() {
    let scene = strict().await;
    let first = first_step(&scene, "ben@acme.example").await;
    assert_eq!(first["mfa_required"]["member_options"], Value::Null, "nothing is there to be asked for");
    second_step(&scene, TOTP, &first, json!({ "code": "123456" })).await.refused(404, "totp_not_found");
    let made = second_step(&scene, "/v1/b2b/totp", &first, json!({})).await.good();
    assert!(text(&made, "qr_code").starts_with("data:image/svg+xml;base64,"));
    assert_eq!(made["member"]["totp_registration_id"], "", "it counts from its first code on");
    let more = json!({ "code": scene.emulator.totp_code(&text(&made, "secret")),
        "set_mfa_enrollment": "enroll", "set_default_mfa": true });
    let body = second_step(&scene, TOTP, &first, more).await.good();
    let member = &body["member"];
    assert_eq!(member["totp_registration_id"], made["totp_registration_id"]);
    assert_eq!((&member["default_mfa_method"], &member["mfa_enrolled"]), (&json!("totp"), &json!(true)));
    let first = first_step(&scene, "ben@acme.example").await;
    second_step(&scene, "/v1/b2b/totp", &first, json!({})).await.refused(400, "active_totp_exists");
    let code = json!({ "recovery_code": made["recovery_codes"][0] });
    assert_eq!(second_step(&scene, RECOVER, &first, code).await.good()["recovery_codes_remaining"], 9);
}

#[tokio::test]
async fn whoever_has_a_second_factor_uses_it_before_adding_another() {
    let scene = Scene::start().await;
    let create = async |address: &str, session: Option<String>| {
        let body = json!({ "organization_id": "acme", "member_id": scene.member_id(address),
            "session_token": session });
        scene.post("/v1/b2b/totp", body).await
    };
    create("ben@acme.example", None).await.good();
    let session = |address: &str, factors: &[&str]| {
        let order = scene.emulator.session(address).organization("acme").factors(factors.to_vec());
        Some(order.mint().session_token)
    };
    create("ben@acme.example", session("ben@acme.example", &["sso"])).await.good();
    let another = create("ben@acme.example", session("ana@acme.example", &["sso"])).await;
    another.refused(400, "member_session_member_id_mismatch");
    let cho = "cho@acme.example";
    create(cho, None).await.refused(400, "no_session_arguments");
    create(cho, session(cho, &["sso"])).await.refused(403, "insufficient_factors");
    create(cho, session(cho, &["sso", "otp"])).await.good();
}

#[tokio::test]
async fn what_one_member_has_proved_is_worth_nothing_to_another() {
    let scene = strict().await;
    let mut first = first_step(&scene, "ben@acme.example").await;
    first["member_id"] = scene.member_id("ana@acme.example").into();
    for (path, proof) in [
        ("/v1/b2b/totp", json!({})),
        (TOTP, json!({ "code": scene.emulator.totp_code(SECRET) })),
        (RECOVER, json!({ "recovery_code": "one-two" })),
    ] {
        let answer = second_step(&scene, path, &first, proof).await;
        answer.refused(400, "invalid_intermediate_session_token_for_organization");
    }
    let ana = format!("/v1/b2b/recovery_codes/acme/{}", text(&first, "member_id"));
    assert_eq!(
        scene.get(&ana).await.good()["recovery_codes"].as_array().unwrap().len(),
        2,
        "none is used up"
    );
}

#[tokio::test]
async fn a_registration_does_not_wait_for_ever() {
    let scene = strict().await;
    let first = first_step(&scene, "ben@acme.example").await;
    let made = second_step(&scene, "/v1/b2b/totp", &first, json!({ "expiration_minutes": 5 })).await.good();
    scene.emulator.advance_clock(Duration::from_secs(300));
    let code = scene.emulator.totp_code(&text(&made, "secret"));
    second_step(&scene, TOTP, &first, json!({ "code": code })).await.refused(400, "expired_totp");
}

#[tokio::test]
async fn a_user_adds_an_app_to_a_session() {
    let scene = Scene::start().await;
    let user_id = scene.emulator.user_id("uma@example.com").unwrap();
    let none = json!({ "user_id": user_id, "totp_code": "123456" });
    scene.post("/v1/totps/authenticate", none).await.refused(404, "totp_not_found");
    let made = scene.post("/v1/totps", json!({ "user_id": user_id })).await.good();
    assert_eq!(made["user"]["totps"], json!([{ "totp_id": made["totp_id"], "verified": false }]));
    let session = scene.emulator.session("uma@example.com").mint();
    let code = scene.emulator.totp_code(&text(&made, "secret"));
    let body = json!({ "user_id": user_id, "totp_code": code, "session_token": session.session_token });
    let body = scene.post("/v1/totps/authenticate", body).await.good();
    assert_eq!(body["totp_id"], made["totp_id"]);
    assert_eq!(body["session"]["authentication_factors"][1]["type"], "totp");
    let recover = json!({ "user_id": user_id, "recovery_code": made["recovery_codes"][9],
        "session_duration_minutes": 5 });
    let body = scene.post("/v1/totps/recover", recover.clone()).await.good();
    assert_eq!(body["session"]["authentication_factors"][0]["type"], "recovery_codes");
    scene.post("/v1/totps/recover", recover).await.refused(401, "unable_to_authenticate_recovery_code");
    scene.post("/v1/totps", json!({ "user_id": user_id })).await.refused(400, "active_totp_exists");
}

#[test]
fn seeds_that_cannot_be_are_explained() {
    let member = |more: &str| {
        let seed = format!(
            "[[organizations]]\norganization_slug = \"acme\"\n[[members]]\norganization_id = \"acme\"\n\
             email_address = \"ana@acme.example\"\n{more}"
        );
        World::from_toml(&seed).unwrap_err().to_string()
    };
    assert!(member("totp_secret = \"0\"").contains("base32"));
    assert!(member("default_mfa_method = \"totp\"").contains("not there"));
    assert!(member("mfa_enrolled = true").contains("totp_secret"));
}

#[tokio::test]
async fn an_organization_takes_the_second_factors_that_it_names() {
    let scene = Scene::seeded(
        r#"
        [[organizations]]
        organization_slug = "acme"
        mfa_policy = "REQUIRED_FOR_ALL"
        allowed_mfa_methods = ["totp"]
        [[members]]
        organization_id = "acme"
        email_address = "ben@acme.example"
        "#,
    )
    .await;
    let first = first_step(&scene, "ben@acme.example").await;
    let organization = &first["organization"];
    assert_eq!(organization["mfa_methods"], "RESTRICTED");
    assert_eq!(organization["allowed_mfa_methods"], json!(["totp"]));
    let phone = json!({ "mfa_phone_number": "+15005550123" });
    let refused = second_step(&scene, "/v1/b2b/otps/sms/send", &first, phone).await;
    refused.refused(403, "operation_restricted_by_organization_mfa_methods");
    second_step(&scene, "/v1/b2b/totp", &first, json!({})).await.good();
}
