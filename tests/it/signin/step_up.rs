//! Pages that ask for more than a session has, and how it gets that.

use std::time::Duration;

use serde_json::json;
use stytch_emulator::Fault;

use super::browser::{Browser, Page};
use super::{MEMBERS, MEMBERS_AWAY, USERS, session, told, with_app};
use crate::world::World;

/// Routes that ask for more, under settings for sign-in.
fn asking(settings: &str, more: &str) -> String {
    let route =
        |path: &str, rule: &str| format!("[[routes]]\npath = \"{path}\"\nupstream = \"app\"\n{rule}\n");
    [
        settings.to_owned(),
        more.to_owned(),
        route("/*", ""),
        route("/mfa", "allow.mfa = true"),
        route("/totp", "allow.factors = [\"totp\"]"),
        route("/code", "allow.factors = [\"otp\"]"),
        route("/sso", "allow.factors = [\"sso\", \"email_otp\"]"),
        route("/recent", "allow.max_auth_age = \"10m\""),
        route("/api", "allow.mfa = true\non_unauthenticated = \"401\""),
    ]
    .concat()
}

/// Refused at a page, and where its link leads.
async fn refused(browser: &mut Browser<'_>, path: &str, why: &str) -> Page {
    let page = browser.open(path).await.status(403).says(why).says("step_up_required");
    let challenge = page.response.header("www-authenticate").unwrap();
    assert!(challenge.contains("insufficient_user_authentication"), "{challenge}");
    let link = page.link("Sign in again");
    assert!(link.starts_with("/_stytch/login?return_to="), "{link}");
    browser.open(&link).await.status(200).says(why)
}

/// Tries a code on the page that asks for one.
async fn enter(browser: &mut Browser<'_>, page: &Page, to: &str) -> Page {
    let code = browser.code(to);
    browser.send(page, &[("action", "code"), ("code", &code)]).await
}

/// A member of the built-in world with these factors, in a browser.
fn signed_in<'w>(world: &'w World, email: &str, factors: &[&str]) -> Browser<'w> {
    let minted = world.emulator.session(email).organization("acme").factors(factors.iter().copied()).mint();
    let mut browser = Browser::new(world);
    browser.holds(&minted);
    browser
}

#[tokio::test]
async fn a_text_message_is_the_second_factor_that_was_missing() {
    let world = World::with(&asking(MEMBERS, "")).await;
    let mut browser = signed_in(&world, "cho@acme.example", &["email_otp"]);
    let before = session(&world, &browser).await;
    let page = refused(&mut browser, "/mfa", "This page asks for a second factor").await;
    assert!(page.text().contains("•••\u{a0}23") && !page.text().contains("E-mail a code"), "{}", page.text());
    assert!(world.emulator.outbox("+15005550123").is_empty(), "a GET sends nothing");
    let page = browser.send(&page, &[("action", "sms")]).await.status(200).says("•••\u{a0}23");
    let page = browser.send(&page, &[("action", "code"), ("code", "000000")]).await.says("not right");
    let page = enter(&mut browser, &page, "+15005550123").await.status(200);
    assert_eq!(page.at, "/mfa");
    let after = session(&world, &browser).await;
    assert_eq!(after["factors"], json!(["email_otp", "otp"]));
    assert_eq!(after["session_id"], before["session_id"], "the session grew");
    assert_eq!(browser.flows(), 0);
    // What is there already is asked for no more.
    assert_eq!(browser.visit("/_stytch/login?step_up=mfa&return_to=%2Fmfa").await.at, "/mfa");
}

#[tokio::test]
async fn an_authenticator_app_is_the_factor_that_was_missing() {
    let world = World::with(&asking(MEMBERS, "[session]\nleeway = \"4m\"\n")).await;
    let (secret, codes) = with_app(&world, "ben@acme.example").await;
    for path in ["/totp", "/mfa"] {
        let mut browser = signed_in(&world, "ben@acme.example", &["email_otp"]);
        let page = refused(&mut browser, path, "This page asks for").await;
        let page = browser.send(&page, &[("action", "app")]).await.says("authenticator app shows");
        let code = world.emulator.totp_code(&secret);
        let page = browser.send(&page, &[("action", "code"), ("code", &code)]).await.status(200);
        assert_eq!(page.at, path);
        assert_eq!(session(&world, &browser).await["factors"], json!(["email_otp", "totp"]));
        world.emulator.advance_clock(Duration::from_secs(30));
    }
    // A recovery code is a second factor, too.
    let mut browser = signed_in(&world, "ben@acme.example", &["email_otp"]);
    let page = refused(&mut browser, "/mfa", "This page asks for").await;
    let page = browser.send(&page, &[("action", "app")]).await;
    let page = browser.send(&page, &[("action", "recovery")]).await;
    let page = browser.send(&page, &[("action", "code"), ("code", &codes[0])]).await.status(200);
    let page = browser.send(&page.says("Recovery codes left: 9"), &[("action", "on")]).await;
    assert_eq!(page.at, "/mfa");
}

#[tokio::test]
async fn a_sign_in_that_is_too_old_is_done_again() {
    let world = World::with(&asking(MEMBERS, "")).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("/recent", "ben@acme.example").await.status(200);
    let before = session(&world, &browser).await;
    // The gateway's clock is the machine's: what grows old is a session that says so.
    age(&world, &mut browser, 3600).await;
    let page = refused(&mut browser, "/recent", "asks you to sign in again").await;
    assert!(page.text().contains("E-mail a code to ben@acme.example"), "{}", page.text());
    let page = browser.send(&page, &[("action", "email")]).await.says("ben@acme.example");
    let page = enter(&mut browser, &page, "ben@acme.example").await.status(200);
    assert_eq!(page.at, "/recent");
    assert_eq!(session(&world, &browser).await["session_id"], before["session_id"]);
    assert_eq!(told(&world, "x-stytch-session-id").as_deref(), before["session_id"].as_str());
}

/// Makes the session's JWT say that its factors are that old, in seconds.
async fn age(world: &World, browser: &mut Browser<'_>, seconds: i64) {
    let jwt = browser.jar["stytch_session_jwt"].0.clone();
    let mut claims = world.claims_of(&jwt);
    let at = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
    for factor in claims["https://stytch.com/session"]["authentication_factors"].as_array_mut().unwrap() {
        factor["last_authenticated_at"] = json!(at.to_string());
    }
    let jwt = world.emulator.token(claims).sign();
    world.keep_secret(&jwt);
    browser.jar.insert("stytch_session_jwt".to_owned(), (jwt, "/".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_met_here_is_said() {
    let world = World::with(&asking(MEMBERS, "")).await;
    let mut browser = signed_in(&world, "ben@acme.example", &["email_otp"]);
    for (path, needed) in [("/mfa", "mfa"), ("/totp", "totp"), ("/sso", "sso,email_otp")] {
        let link = browser.open(path).await.status(403).link("Sign in again");
        let page = browser.open(&link).await.status(403).says("This cannot be done here").says(needed);
        assert!(!page.text().contains("<form"), "{}", page.text());
    }
    assert_eq!(browser.flows(), 0);
    assert!(browser.has_session(), "and nobody is signed out");
}

/// Also what leaves the gateway and comes back.
#[tokio::test]
async fn single_sign_on_is_the_factor_that_was_missing() {
    let world = World::with(&asking(MEMBERS_AWAY, "")).await;
    let mut browser = signed_in(&world, "ben@acme.example", &["email_otp"]);
    let before = session(&world, &browser).await;
    let page = refused(&mut browser, "/sso", "one more proof that it is you").await;
    assert!(!page.text().contains("E-mail a code"), "that is there already: {}", page.text());
    let page = browser.send(&page, &[("action", "other")]).await.says("Continue with single sign-on");
    assert!(!page.text().contains("Continue with Google"), "{}", page.text());
    let page = browser.trip(&page, &[("action", "sso")], "ben@acme.example").await.status(200);
    assert_eq!(page.at, "/sso");
    let after = session(&world, &browser).await;
    assert_eq!(after["factors"], json!(["email_otp", "sso"]));
    assert_eq!(after["session_id"], before["session_id"]);
    // An organization without it does not offer it.
    let mut gil = Browser::new(&world);
    let minted = world.emulator.session("gil@globex.example").organization("globex").factors(["email_otp"]);
    gil.holds(&minted.mint());
    let link = gil.open("/sso").await.status(403).link("Sign in again");
    gil.open(&link).await.status(403).says("This cannot be done here");
}

/// Nobody who finds a session lying about can make it pass by adding a phone.
#[tokio::test]
async fn nothing_is_added_to_an_account_on_this_way() {
    let world = World::with(&asking(MEMBERS, "")).await;
    let mut browser = signed_in(&world, "cho@acme.example", &["email_otp"]);
    let page = refused(&mut browser, "/mfa", "second factor").await;
    for fields in [
        &[("action", "phone"), ("phone", "+447700900123")][..],
        &[("action", "email"), ("email", "ben@acme.example")],
        &[("action", "app")],
    ] {
        browser.send(&page, fields).await.status(400);
        let link = browser.open("/mfa").await.link("Sign in again");
        let page = browser.open(&link).await;
        let page = browser.send(&page, &[("action", "sms"), ("phone", "+447700900123")]).await;
        page.says("•••\u{a0}23");
    }
    assert!(world.emulator.outbox("+447700900123").is_empty());
    assert!(world.emulator.outbox("ben@acme.example").is_empty());
}

/// A step of one person's is nobody else's.
#[tokio::test]
async fn a_step_belongs_to_the_session_it_began_with() {
    let world = World::with(&asking(MEMBERS, "")).await;
    let mut browser = signed_in(&world, "cho@acme.example", &["email_otp"]);
    let page = refused(&mut browser, "/mfa", "second factor").await;
    let page = browser.send(&page, &[("action", "sms")]).await;
    let ben = signed_in(&world, "ben@acme.example", &["email_otp"]);
    browser.jar.extend(ben.jar.clone());
    enter(&mut browser, &page, "+15005550123").await.status(400).says("no longer valid");
    browser.open("/mfa").await.status(403);
}

#[tokio::test]
async fn a_session_that_is_over_meanwhile_is_over_here() {
    let world = World::with(&asking(MEMBERS, "")).await;
    let mut browser = Browser::new(&world);
    let minted =
        world.emulator.session("cho@acme.example").organization("acme").factors(["email_otp"]).mint();
    browser.holds(&minted);
    let page = refused(&mut browser, "/mfa", "second factor").await;
    world.revoke(&minted).await;
    let page = browser.send(&page, &[("action", "sms")]).await.says("has ended meanwhile");
    assert!(!browser.has_session());
    assert_eq!(page.link("Start again"), "/_stytch/login?return_to=%2Fmfa");
    // The same where it is over before anything is chosen.
    let minted =
        world.emulator.session("cho@acme.example").organization("acme").factors(["email_otp"]).mint();
    browser.holds(&minted);
    let link = browser.open("/mfa").await.link("Sign in again");
    world.revoke(&minted).await;
    browser.visit(&link).await.says("E-mail address");
    assert!(!browser.has_session());
}

#[tokio::test]
async fn an_outage_is_no_end() {
    let world = World::with(&asking(MEMBERS, "")).await;
    let mut browser = signed_in(&world, "cho@acme.example", &["email_otp"]);
    let link = browser.open("/mfa").await.link("Sign in again");
    world.emulator.fault(Fault { status: Some(503), ..Fault::on("/v1/b2b/sessions/authenticate") });
    let page = browser.open(&link).await.status(503).says("cannot be reached");
    assert_eq!(page.link("Try again"), link);
    world.emulator.clear_faults();
    browser.open(&link).await.status(200).says("second factor");
    assert!(browser.has_session());
}

#[tokio::test]
async fn whatever_a_link_asks_for_it_opens_nothing() {
    let world = World::with(&asking(MEMBERS, "")).await;
    let mut browser = signed_in(&world, "cho@acme.example", &["email_otp"]);
    for hostile in ["", "1", "%3Cscript%3E", "MFA", "topt", "mfa,totp", "//evil.test", "%00", "a,a,a,a"] {
        let page =
            browser.open(&format!("/_stytch/login?step_up={hostile}&return_to=%2Fx")).await.status(303);
        assert_eq!(page.response.header("location"), Some("/x"), "{hostile}");
        browser.jar.remove("stytch_gateway_returned");
    }
    let page = browser.open("/_stytch/login?step_up=mfa&return_to=//evil.test").await.status(200);
    let page = browser.send(&page, &[("action", "sms")]).await;
    assert_eq!(enter(&mut browser, &page, "+15005550123").await.at, "/");
    // Without a session it is a sign-in like any other.
    let mut nobody = Browser::new(&world);
    nobody.open("/_stytch/login?step_up=mfa").await.status(200).says("E-mail address");
}

#[tokio::test]
async fn scripts_and_routes_that_say_so_get_no_link() {
    let world = World::with(&asking(MEMBERS, "")).await;
    let mut browser = signed_in(&world, "cho@acme.example", &["email_otp"]);
    let page = browser.open("/api").await.status(403);
    assert!(!page.text().contains("/_stytch/login"));
    let jwt = browser.jar["stytch_session_jwt"].0.clone();
    let refused = world.get("/mfa").token(&jwt).refused(403, "step_up_required").await;
    assert_eq!(refused.json()["required"], json!({ "mfa": true }));
    assert_eq!(refused.header("location"), None);
}

#[tokio::test]
async fn pages_say_it_in_the_reader_s_language() {
    let world = World::with(&asking(MEMBERS, "")).await;
    for (language, text) in [("de", "zweiten Faktor"), ("fr", "second facteur"), ("es", "segundo factor")] {
        let mut browser = signed_in(&world, "cho@acme.example", &["email_otp"]).speaking(language);
        let page = browser.open("/mfa").await.status(403).says(text);
        let shown = page.text();
        let (_, href) = shown.split_once("href=\"/_stytch/login").unwrap();
        let link = format!("/_stytch/login{}", href.split('"').next().unwrap().replace("&amp;", "&"));
        browser.open(&link).await.status(200).says(text);
    }
}

/// A user with an address and a phone.
const BOTH: &str = r#"
[[users]]
emails = [{ email = "uma@example.com" }]
phone_numbers = [{ phone_number = "+447700900123" }]
"#;

#[tokio::test]
async fn codes_to_a_users_address_and_phone_add_up() {
    let settings = asking(USERS, "");
    let world = World::builder().seed(BOTH).with(&settings).start().await;
    let mut browser = Browser::new(&world);
    browser.sign_in("/recent", "uma@example.com").await.status(200);
    let before = session(&world, &browser).await;
    age(&world, &mut browser, 3600).await;
    let page = refused(&mut browser, "/recent", "asks you to sign in again").await;
    let page = page.says("E-mail a code to uma@example.com").says("•••\u{a0}23");
    let page = browser.send(&page, &[("action", "sms")]).await;
    let page = enter(&mut browser, &page, "+447700900123").await.status(200);
    assert_eq!(page.at, "/recent");
    let after = session(&world, &browser).await;
    assert_eq!(after["factors"], json!(["otp", "otp"]), "one by e-mail, one by text message");
    assert_eq!((&after["session_id"], &after["user_id"]), (&before["session_id"], &before["user_id"]));
    // Both are of one type, and so no two factors.
    let link = browser.open("/mfa").await.status(403).link("Sign in again");
    browser.open(&link).await.status(403).says("This cannot be done here");
}

#[tokio::test]
async fn a_code_is_what_another_way_to_sign_in_lacked() {
    let world = World::with(&asking(USERS, "")).await;
    for (path, factors) in [("/code", json!(["oauth", "otp"])), ("/mfa", json!(["oauth", "otp"]))] {
        let mut browser = Browser::new(&world);
        browser.holds(&world.emulator.session("uma@example.com").factors(["oauth"]).mint());
        let page = refused(&mut browser, path, "This page asks for").await;
        let page = browser.send(&page, &[("action", "email")]).await;
        assert_eq!(enter(&mut browser, &page, "uma@example.com").await.status(200).at, path);
        assert_eq!(session(&world, &browser).await["factors"], factors);
    }
}
