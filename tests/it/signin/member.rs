//! B2B.

use serde_json::json;

use super::browser::Browser;
use super::{MEMBERS, session, told, with_app};
use crate::world::World;

#[tokio::test]
async fn a_member_of_one_organization_goes_through_to_the_application() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    let first = browser.open("/reports?year=2026&q=a%20b").await.status(303);
    let login = "/_stytch/login?return_to=%2Freports%3Fyear%3D2026%26q%3Da%2520b";
    assert_eq!(first.response.header("location"), Some(login));
    let page = browser.follow(first).await.status(200).says("Sign in to Example");
    let page = browser.send(&page, &[("action", "email"), ("email", " ben@acme.example ")]).await;
    let page = page.status(200).says("ben@acme.example").says("autocomplete=\"one-time-code\"");
    let code = browser.code("ben@acme.example");
    let pasted = format!(" {} {}\t", &code[..3], &code[3..]);
    let page = browser.send(&page, &[("action", "code"), ("code", &pasted)]).await.status(200);
    assert_eq!(page.at, "/reports?year=2026&q=a%20b");
    let member = world.emulator.member_id("acme", "ben@acme.example");
    assert_eq!(told(&world, "x-stytch-member-id"), member);
    assert_eq!(told(&world, "x-stytch-roles").as_deref(), Some("stytch_member,editor"));
    assert_eq!(told(&world, "cookie"), None, "neither session nor state reaches an upstream");
    assert!(browser.has_session());
    assert_eq!(browser.flows(), 0, "the flow has ended");
    let session = session(&world, &browser).await;
    assert_eq!(session["organization_slug"], "acme");
    assert_eq!(session["factors"], json!(["email_otp"]));
}

#[tokio::test]
async fn somebody_in_two_organizations_chooses() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/", "ana@acme.example").await;
    let page = page.status(200).says("Choose an organization").says("Acme").says("Globex");
    assert!(!browser.has_session());
    let globex = page.button("Globex");
    assert_eq!(Some(&globex), world.emulator.organization_id("globex").as_ref());
    browser.send(&page, &[("organization", &globex)]).await.status(200);
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("globex"));

    // And switches, without signing in again.
    let page = browser.visit("/_stytch/organizations?return_to=%2Fother").await.says("Acme");
    let acme = page.button("Acme");
    let page = browser.send(&page, &[("organization", &acme)]).await.status(200);
    assert_eq!(page.at, "/other");
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("acme"));
    assert_eq!(told(&world, "x-stytch-roles").as_deref(), Some("stytch_member,admin"));
}

#[tokio::test]
async fn an_organization_that_is_not_open_is_not_entered() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/", "ana@acme.example").await;
    let page = browser.send(&page, &[("organization", "organization-test-nobodys")]).await;
    let page = page.status(200).says("does not let you in this way").says("Globex");
    let acme = page.button("Acme");
    browser.send(&page, &[("organization", &acme)]).await.status(200);
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("acme"));

    let mut gil = Browser::new(&world);
    gil.sign_in("/", "gil@globex.example").await.status(200);
    let page = gil.visit("/_stytch/organizations").await;
    let page = gil.send(&page, &[("organization", &acme)]).await;
    page.status(200).says("does not let you in this way");
    assert_eq!(session(&world, &gil).await["organization_slug"], "globex");
}

#[tokio::test]
async fn a_known_organization_is_gone_into_at_once() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("/_stytch/login?organization=globex&return_to=/x", "ana@acme.example").await.status(200);
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("globex"));
    // Whoever is there already is sent on; for another organization there is a page.
    assert_eq!(browser.visit("/_stytch/login?organization=globex&return_to=/y").await.at, "/y");
    browser.visit("/_stytch/login?organization=acme&return_to=/y").await.says("E-mail address");
}

#[tokio::test]
async fn an_address_without_an_organization_is_told_so() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("/", "nobody@nowhere.example").await.status(200).says("No organization");
    assert!(!browser.has_session());
}

#[tokio::test]
async fn a_text_message_as_second_factor() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/reports", "cho@acme.example").await;
    let page = page.status(200).says("One more step").says("•••\u{a0}23");
    assert!(!page.text().contains("5005550"), "the number is covered");
    assert!(!browser.has_session());
    let page = browser.send(&page, &[("action", "sms")]).await.says("sent a moment ago");
    let page = browser.send(&page, &[("action", "code"), ("code", "000000")]).await.says("not right");
    let page = browser.send(&page, &[("action", "code"), ("code", "abc")]).await.says("whole code");
    let code = browser.code("+15005550123");
    let page = browser.send(&page, &[("action", "code"), ("code", &code)]).await.status(200);
    assert_eq!(page.at, "/reports");
    assert_eq!(session(&world, &browser).await["factors"], json!(["email_otp", "otp"]));
}

/// With a Stytch whose clock may run ahead, as it does where two codes of an app are wanted.
async fn ahead() -> World {
    World::with(&format!("{MEMBERS}\n[session]\nleeway = \"60s\"\n")).await
}

#[tokio::test]
async fn an_authenticator_app_as_second_factor() {
    let world = ahead().await;
    let (secret, _) = with_app(&world, "ben@acme.example").await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/", "ben@acme.example").await.says("authenticator app shows");
    let code = world.emulator.totp_code(&secret);
    browser.send(&page, &[("action", "code"), ("code", &code)]).await.status(200);
    assert_eq!(session(&world, &browser).await["factors"], json!(["email_otp", "totp"]));
}

#[tokio::test]
async fn a_recovery_code_in_its_place() {
    let world = ahead().await;
    let (_, codes) = with_app(&world, "ben@acme.example").await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/", "ben@acme.example").await;
    let page = browser.send(&page, &[("action", "recovery")]).await.says("recovery codes");
    browser.send(&page, &[("action", "code"), ("code", &codes[0])]).await.status(200);
    assert_eq!(session(&world, &browser).await["factors"], json!(["email_otp", "recovery_codes"]));
    let mut again = Browser::new(&world);
    let page = again.sign_in("/", "ben@acme.example").await;
    let page = again.send(&page, &[("action", "recovery")]).await;
    again.send(&page, &[("action", "code"), ("code", &codes[0])]).await.says("not right");
    assert!(!again.has_session());
}

#[tokio::test]
async fn wrong_codes_end_a_flow() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/").await;
    let mut page = browser.send(&page, &[("action", "email"), ("email", "ben@acme.example")]).await;
    for _ in 0..4 {
        page = browser.send(&page, &[("action", "code"), ("code", "000000")]).await.says("not right");
    }
    browser.send(&page, &[("action", "code"), ("code", "000000")]).await.says("too many wrong codes");
}

#[tokio::test]
async fn known_and_unknown_addresses_get_the_same_answer() {
    let world = World::with(MEMBERS).await;
    let mut shown = Vec::new();
    for email in ["ben@acme.example", "who@acme.example"] {
        for start in
            ["/_stytch/login", "/_stytch/login?organization=acme", "/_stytch/login?organization=none"]
        {
            let mut browser = Browser::new(&world);
            let page = browser.visit(start).await;
            let page = browser.send(&page, &[("action", "email"), ("email", email)]).await.status(200);
            let asked = page.text().replace(email, "ADDRESS");
            let page = browser.send(&page, &[("action", "code"), ("code", "000000")]).await.status(200);
            let refused = page.text().replace(email, "ADDRESS");
            shown.push((without_tokens(&asked), without_tokens(&refused)));
        }
    }
    assert!(shown[0].1.contains("not right"));
    assert!(shown.iter().all(|one| *one == shown[0]));
    assert!(
        world.emulator.outbox("who@acme.example").len() < world.emulator.outbox("ben@acme.example").len()
    );
}

fn without_tokens(page: &str) -> String {
    let mut parts = page.split("value=\"");
    let mut text = parts.next().unwrap().to_owned();
    parts.for_each(|part| text.push_str(part.split_once('"').unwrap().1));
    text
}

#[tokio::test]
async fn signing_out_ends_the_session_everywhere() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("/", "ben@acme.example").await.status(200);
    let old = browser.jar.clone();
    let page = browser.visit("/_stytch/session").await.says("ben@acme.example").says("Acme");
    assert_eq!(page.form(&[]).0, "/_stytch/logout");
    browser.send(&page, &[]).await.status(200).says("You are signed out");
    assert!(!browser.has_session());
    browser.open("/").await.status(303);
    // The JWT is good for minutes yet, and its session is over on this replica at once.
    browser.jar = old;
    browser.jar.remove("stytch_session");
    browser.open("/").await.status(303);
    assert!(!browser.has_session(), "the refused cookie is cleared");
    let page = browser.visit("/_stytch/logout?return_to=/after").await.says("Do you want to sign out?");
    assert_eq!(browser.send_only(&page, &[]).await.status(303).response.header("location"), Some("/after"));
}

#[tokio::test]
async fn an_outage_loses_no_step() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/reports").await;
    world
        .emulator
        .fault(stytch_emulator::Fault { status: Some(503), ..stytch_emulator::Fault::on("/v1/b2b/otps") });
    let down = browser.send_only(&page, &[("action", "email"), ("email", "ben@acme.example")]).await;
    let down = down.status(503).says("cannot be reached");
    assert!(down.response.header("retry-after").is_some());
    world.emulator.clear_faults();
    let flow =
        browser.jar.keys().find_map(|name| name.strip_prefix("stytch_gateway_flow_")).unwrap().to_owned();
    let page = browser.visit(&format!("/_stytch/login?flow={flow}")).await.says("E-mail address");
    let page = browser.send(&page, &[("action", "email"), ("email", "ben@acme.example")]).await;
    let code = browser.code("ben@acme.example");
    assert_eq!(browser.send(&page, &[("action", "code"), ("code", &code)]).await.at, "/reports");
}

#[tokio::test]
async fn pages_speak_the_browser_s_language_and_the_operator_s() {
    let world = World::with(MEMBERS).await;
    for (language, text) in
        [("de-CH", "Bei Example anmelden"), ("fr", "Se connecter"), ("es", "Iniciar"), ("it", "Sign in to")]
    {
        let page = Browser::new(&world).speaking(language).visit("/").await.says(text);
        assert_eq!(page.response.header("vary"), Some("Accept-Language, Cookie"));
    }
    std::fs::write(world.directory().join("texts.toml"), "[en]\nsign_in_to = \"Welcome to <{product}>\"\n")
        .unwrap();
    let custom = MEMBERS.replace("[rate_limit]", "texts = \"$DIR/texts.toml\"\n[rate_limit]");
    world.reload(&custom).await.unwrap();
    Browser::new(&world).visit("/").await.says("Welcome to &lt;Example&gt;");
}

/// An organization that asks everybody for a second factor.
const STRICT: &str = r#"
[[organizations]]
organization_slug = "acme"
mfa_policy = "REQUIRED_FOR_ALL"
[[members]]
organization_id = "acme"
email_address = "ben@acme.example"
"#;

#[tokio::test]
async fn whoever_has_no_second_factor_adds_a_phone() {
    let world = World::builder().seed(STRICT).with(MEMBERS).start().await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/reports", "ben@acme.example").await.says("Add a mobile phone");
    let page = browser.send(&page, &[("action", "phone"), ("phone", "12")]).await.says("check the number");
    let page = browser.send(&page, &[("action", "phone"), ("phone", "+44 7700 900123")]).await;
    let page = page.says("•••\u{a0}23");
    let code = browser.code("+447700900123");
    let page = browser.send(&page, &[("action", "code"), ("code", &code)]).await.status(200);
    assert_eq!(page.at, "/reports");
    assert_eq!(session(&world, &browser).await["factors"], json!(["email_otp", "otp"]));
    // From then on it is asked for.
    let mut again = Browser::new(&world);
    again.sign_in("/", "ben@acme.example").await.says("•••\u{a0}23");
}
