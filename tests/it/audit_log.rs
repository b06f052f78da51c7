//! The audit log: who signed in and out, who was turned back and why, and what changed.

use serde_json::Value;

use crate::signin::browser::Browser;
use crate::signin::{MEMBERS, USERS};
use crate::world::World;

/// A route that ben, an editor, may not use, and one that says so only.
const RULES: &str = r#"
[[routes]]
path = "/admin/*"
upstream = "app"
allow.roles = ["admin"]

[[routes]]
path = "/observed/*"
upstream = "app"
allow.roles = ["admin"]
enforce = "observe"
"#;

#[tokio::test]
async fn who_signed_in_and_out() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/reports").await;
    let page = browser.send(&page, &[("action", "email"), ("email", "ben@acme.example")]).await;
    let page = browser.send(&page, &[("action", "code"), ("code", "000000")]).await;
    let code = browser.code("ben@acme.example");
    browser.send(&page, &[("action", "code"), ("code", &code)]).await.status(200);
    let page = browser.visit("/_stytch/logout").await;
    browser.send(&page, &[]).await.status(200);

    let refused = world.audited("sign_in_refused", 1).await.remove(0);
    assert_eq!((&refused["detail"], &refused["member_id"]), (&"otp_code_not_found".into(), &Value::Null));
    let signed_in = world.audited("sign_in", 1).await.remove(0);
    let member = world.emulator.member_id("acme", "ben@acme.example");
    assert_eq!(signed_in["member_id"].as_str(), member.as_deref());
    assert_eq!(signed_in["organization_id"].as_str(), world.emulator.organization_id("acme").as_deref());
    let told = ["detail", "route", "host", "method", "path", "kind", "client"].map(|name| &signed_in[name]);
    assert_eq!(told, ["discovery", "_login", "app.test", "POST", "/_stytch/login", "session", "127.0.0.1"]);
    let signed_out = world.audited("sign_out", 1).await.remove(0);
    assert_eq!(signed_out["detail"], "revoked");
    assert_eq!(signed_out["session_id"], signed_in["session_id"]);
    assert!(signed_in["session_id"].as_str().unwrap().contains("session-test-"), "{signed_in}");
    // One request, one id: the line in the access log is found by it.
    let id = &signed_in["request_id"];
    assert!(world.log(1).await.iter().any(|line| line["request_id"] == *id && line["status"] == 303));
}

#[tokio::test]
async fn who_was_turned_back_and_why() {
    let world = World::with(RULES).await;
    let ben = world.session_of("ben@acme.example", "acme");
    world.get("/admin/x?secret=1").with(&ben).refused(403, "role_not_allowed").await;
    world.get("/observed/x").with(&ben).expect(200).await;
    world.get("/admin/x").token("no-token-of-anybody").refused(401, "invalid_credential").await;
    world.get("/admin/x").refused(401, "unauthenticated").await;

    let member = world.emulator.member_id("acme", "ben@acme.example");
    let refused = world.audited("refused", 2).await;
    assert_eq!(refused.len(), 2, "nobody came with nothing: {refused:?}");
    assert_eq!(refused[0]["code"], "role_not_allowed");
    assert_eq!(refused[0]["member_id"].as_str(), member.as_deref());
    assert_eq!((&refused[0]["route"], &refused[0]["path"]), (&"/admin/*".into(), &"/admin/x".into()));
    assert!(refused[0]["detail"].is_string());
    assert_eq!((&refused[1]["code"], &refused[1]["member_id"]), (&"invalid_credential".into(), &Value::Null));
    let observed = world.audited("observed", 1).await.remove(0);
    assert_eq!(
        (&observed["code"], observed["member_id"].as_str()),
        (&"role_not_allowed".into(), member.as_deref())
    );
    let line = world.log(4).await.into_iter().find(|line| line["code"] == "role_not_allowed").unwrap();
    assert_eq!(line["member_id"].as_str(), member.as_deref(), "the access log tells as well");
}

#[tokio::test]
async fn what_changed() {
    let world = World::start().await;
    let started = world.audited("config_applied", 1).await.remove(0);
    assert_eq!((&started["detail"], &started["access_before"]), (&"started".into(), &Value::Null));
    world.reload(RULES).await.unwrap();
    let changed = world.audited("config_applied", 2).await.remove(1);
    assert_eq!(changed["access_before"], started["access"]);
    assert_ne!(changed["access"], started["access"], "other rules, another hash");
    let nowhere = "[telemetry]\naudit_log = \"$DIR/no/such/folder/audit.log\"";
    world.send_settings(nowhere).await.unwrap();
    let rejected = world.audited("config_rejected", 1).await.remove(0);
    assert_eq!((&rejected["access"], &rejected["access_before"]), (&changed["access"], &changed["access"]));
}

#[tokio::test]
async fn too_many_attempts_and_codes_that_were_not_sent() {
    let world =
        World::builder().with(USERS).with("[rate_limit]\nsign_in = \"3/min\"\nburst = 3").start().await;
    let mut browser = Browser::new(&world);
    let mut page = browser.visit("/").await;
    for number in ["+1", "+44 7700 900123"] {
        page = browser.send(&page, &[("action", "phone"), ("phone", number)]).await;
    }
    page = browser.send(&page, &[("action", "code"), ("code", "1")]).await;
    browser.send(&page, &[("action", "code"), ("code", "1")]).await.status(429);
    let limited = world.audited("limited", 1).await.remove(0);
    assert_eq!((&limited["detail"], &limited["code"]), (&"address".into(), &Value::Null));
}
