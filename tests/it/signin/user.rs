//! Consumer.

use serde_json::json;

use super::browser::Browser;
use super::{USERS, session, told};
use crate::world::World;

#[tokio::test]
async fn a_code_by_e_mail() {
    let world = World::with(USERS).await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/reports", "uma@example.com").await.status(200);
    assert_eq!(page.at, "/reports");
    assert_eq!(told(&world, "x-stytch-user-id"), world.emulator.user_id("uma@example.com"));
    let session = session(&world, &browser).await;
    assert_eq!(session["user_id"], json!(world.emulator.user_id("uma@example.com")));
    browser.visit("/_stytch/session").await.says("uma@example.com");
}

#[tokio::test]
async fn a_code_by_text_message() {
    let world = World::with(USERS).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/").await.says("Mobile number");
    let page = browser.send(&page, &[("action", "phone"), ("phone", "0123")]).await.says("check the number");
    let page = browser.send(&page, &[("action", "phone"), ("phone", "+44 7700 900-123")]).await;
    let code = browser.code("+447700900123");
    browser.send(&page, &[("action", "code"), ("code", &code)]).await.status(200);
    assert_eq!(session(&world, &browser).await["factors"], json!(["otp"]));
}

#[tokio::test]
async fn a_code_by_whatsapp() {
    let methods = "[stytch]\nvertical = \"consumer\"\n[signin]\nenabled = true\n\
                   methods = [\"sms_otp\", \"whatsapp_otp\"]\n";
    let world = World::with(methods).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/").await.says("Text me a code").says("Send it by WhatsApp");
    assert_eq!(page.text().matches("<form").count(), 1, "one field for both");
    let page = browser.send(&page, &[("action", "whatsapp"), ("phone", "+44 7700 900123")]).await;
    let sent = world.emulator.outbox("+447700900123").remove(0);
    assert_eq!(json!(sent)["channel"], "whatsapp");
    let page = browser.send(&page, &[("action", "code"), ("code", "000000")]).await.says("not right");
    browser.send(&page, &[("action", "code"), ("code", &sent.code.unwrap())]).await.status(200);
    assert_eq!(session(&world, &browser).await["factors"], json!(["otp"]));
    assert_eq!(world.audited("sign_in", 1).await[0]["detail"], "whatsapp_otp");

    // What is not offered is not taken.
    let world = World::with(USERS).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/").await;
    assert!(!page.text().contains("WhatsApp"));
    browser
        .send(&page, &[("action", "whatsapp"), ("phone", "+44 7700 900123")])
        .await
        .says("no longer valid");
    assert!(world.emulator.outbox("+447700900123").is_empty());
}

#[tokio::test]
async fn factors_of_one_user_add_up() {
    let world = World::with(USERS).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("/", "uma@example.com").await.status(200);
    let first = session(&world, &browser).await;
    // A second flow, begun before the first session was there, so that its page is shown.
    let mut other = Browser::new(&world);
    let page = other.visit("/").await;
    other.jar.extend(browser.jar.clone());
    let page = other.send(&page, &[("action", "email"), ("email", "uma@example.com")]).await;
    let code = other.code("uma@example.com");
    other.send(&page, &[("action", "code"), ("code", &code)]).await.status(200);
    assert_eq!(session(&world, &other).await["session_id"], first["session_id"], "the session grew");
}

#[tokio::test]
async fn users_have_no_organizations() {
    let world = World::with(USERS).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("/", "uma@example.com").await.status(200);
    browser.visit("/_stytch/organizations").await.status(404);
}
