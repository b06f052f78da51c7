//! Webhook deliveries.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stytch_emulator::Webhook;

use crate::schema::check;
use crate::support::{Scene, text};

fn header<'a>(webhook: &'a Webhook, name: &str) -> &'a str {
    &webhook.headers.iter().find(|(known, _)| *known == name).unwrap().1
}

fn body(webhook: &Webhook) -> Value {
    let body = serde_json::from_str(&webhook.body).unwrap();
    check("WebhookEvent", &body);
    body
}

/// As docs.svix.com/receiving/verifying-payloads/how-manual has it.
fn is_signed_with(webhook: &Webhook, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let (id, at) = (header(webhook, "svix-id"), header(webhook, "svix-timestamp"));
    let signature = header(webhook, "svix-signature").strip_prefix("v1,").unwrap();
    let signed = format!("{id}.{at}.{}", webhook.body);
    hmac::verify(&key, signed.as_bytes(), &STANDARD.decode(signature).unwrap()).is_ok()
}

#[tokio::test]
async fn an_event_shows_what_its_object_is_like_now() {
    let scene = Scene::start().await;
    let (ben, uma) =
        (scene.member_id("ben@acme.example"), scene.emulator.user_id("uma@example.com").unwrap());
    let webhook = scene.emulator.webhook("scim.member.update", &ben).sign();
    assert!(is_signed_with(&webhook, &scene.emulator.webhook_secret()));
    let event = body(&webhook);
    assert_eq!(event["project_id"], scene.emulator.project_id());
    assert_eq!((&event["source"], &event["action"]), (&json!("SCIM"), &json!("UPDATE")));
    assert_eq!((&event["object_type"], &event["id"]), (&json!("member"), &json!(ben)));
    check("api_organization_v1_Member", &event["member"]);
    let event =
        body(&scene.emulator.webhook("direct.organization.create", scene.organization_id("acme")).sign());
    check("api_organization_v1_Organization", &event["organization"]);
    let event = body(&scene.emulator.webhook("dashboard.user.update", uma).sign());
    check("api_user_v1_User", &event["user"]);
    assert_eq!(text(&event, "vertical"), "CONSUMER");
}

#[tokio::test]
async fn a_deletion_names_the_id_alone() {
    let scene = Scene::start().await;
    let event = body(&scene.emulator.webhook("direct.member.delete", "member-test-gone").sign());
    assert_eq!((&event["id"], event.get("member")), (&json!("member-test-gone"), None));
    assert!(!event.to_string().contains("organization"));
}

#[tokio::test]
async fn a_test_may_make_it_old_forged_or_the_same_again() {
    let scene = Scene::start().await;
    let order = || scene.emulator.webhook("direct.member.delete", "x").delivery("msg_1");
    let old = order().at("2026-01-01T00:00:00Z".parse().unwrap()).sign();
    assert_eq!((header(&old, "svix-id"), header(&old, "svix-timestamp")), ("msg_1", "1767225600"));
    let forged = order().secret("whsec_AAAA").sign();
    assert!(is_signed_with(&forged, "whsec_AAAA"));
    assert!(!is_signed_with(&forged, &scene.emulator.webhook_secret()));
}

#[tokio::test]
#[should_panic(expected = "direct.member.update")]
async fn sessions_have_no_events() {
    let scene = Scene::start().await;
    scene.emulator.webhook("direct.session.delete", "x").sign();
}
