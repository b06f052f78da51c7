//! Second factors that are set up in sign-in: an authenticator app, its recovery codes.

use std::time::Duration;

use serde_json::json;
use stytch_emulator::Fault;

use super::browser::{Browser, Page};
use super::{MEMBERS, session};
use crate::world::World;

/// `acme` asks everybody for a second factor. `MORE` is for its table.
const STRICT: &str = r#"
[[organizations]]
organization_slug = "acme"
organization_name = "Acme"
mfa_policy = "REQUIRED_FOR_ALL"
MORE
[[members]]
organization_id = "acme"
email_address = "ben@acme.example"
"#;
const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const CREATE: &str = "/v1/b2b/totp";

/// A gateway that takes a Stytch whose clock runs ahead, as it does where two codes are wanted.
async fn world(seed: &str) -> World {
    let settings = format!("{MEMBERS}\n[session]\nleeway = \"120s\"\n");
    World::builder().seed(seed).with(&settings).start().await
}

async fn strict(more: &str) -> World {
    world(&STRICT.replace("MORE", more)).await
}

/// How often an app was registered.
fn registered(world: &World) -> usize {
    world.emulator.requests(CREATE).into_iter().filter(|call| call.path == CREATE).count()
}

/// The key that a page shows, as a person types it.
fn key(page: &Page) -> String {
    let text = page.text();
    let shown = text.split("<p class=\"key\"").nth(1).expect("a key is shown");
    shown.split('>').nth(1).unwrap().split('<').next().unwrap().replace(' ', "")
}

fn codes(page: &Page) -> Vec<String> {
    let text = page.text();
    text.split("<li>").skip(1).map(|item| item.split('<').next().unwrap().to_owned()).collect()
}

/// From nobody to the page that shows an app its key.
async fn to_set_up(browser: &mut Browser<'_>) -> Page {
    let page = browser.sign_in("/reports", "ben@acme.example").await.says("asks for a second factor");
    assert!(!browser.has_session());
    browser.send(&page, &[("action", "new_app")]).await.status(200).says("Set up your authenticator app")
}

async fn to_codes(world: &World, browser: &mut Browser<'_>) -> (String, Page) {
    let page = to_set_up(browser).await;
    let secret = key(&page);
    let code = world.emulator.totp_code(&secret);
    let page = browser.send(&page, &[("action", "code"), ("code", &code)]).await;
    (secret, page.status(200).says("Keep your recovery codes"))
}

#[tokio::test]
async fn an_authenticator_app_is_set_up_and_its_codes_are_kept() {
    let world = strict("").await;
    let mut browser = Browser::new(&world);
    let page = to_set_up(&mut browser).await;
    let secret = key(&page);
    world.keep_secret(&secret);
    assert_eq!(page.response.all("cache-control"), ["no-store"]);
    let policy = page.response.header("content-security-policy").unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("img-src"), "{policy}");
    assert!(
        page.text().contains("<svg") && !page.text().contains("data:") && !page.text().contains("style=")
    );
    let uri = format!(
        "href=\"otpauth://totp/Example:ben%40acme.example%20%28Acme%29?secret={secret}&amp;issuer=Example\""
    );
    let page = page.says(&uri);
    let page = browser.send(&page, &[("action", "code"), ("code", "000000")]).await.says("not right");
    assert_eq!(key(&page), secret);
    let code = world.emulator.totp_code(&secret);
    let page = browser.send(&page, &[("action", "code"), ("code", &code)]).await;
    let page = page.status(200).says("Keep your recovery codes");
    assert_eq!(page.response.all("cache-control"), ["no-store"]);
    assert!(!page.text().contains(&secret), "the key is not needed any more");
    let codes = codes(&page);
    assert_eq!(codes.len(), 10);
    assert!(browser.has_session());
    let page = browser.send(&page, &[("action", "on")]).await.status(200);
    assert_eq!((page.at.as_str(), browser.flows()), ("/reports", 0), "codes have left the browser");
    assert_eq!(session(&world, &browser).await["factors"], json!(["email_otp", "totp"]));

    // It is asked for from then on: the code that was used does not count again, the next one does.
    let mut again = Browser::new(&world);
    let page = again.sign_in("/", "ben@acme.example").await.says("your authenticator app shows");
    let page = again.send(&page, &[("action", "code"), ("code", &code)]).await.says("was used already");
    assert!(!again.has_session());
    world.emulator.advance_clock(Duration::from_secs(30));
    let code = world.emulator.totp_code(&secret);
    again.send(&page, &[("action", "code"), ("code", &code)]).await.status(200);
    assert_eq!(session(&world, &again).await["factors"], json!(["email_otp", "totp"]));

    // And one of the codes that were shown stands in for it, once.
    let mut lost = Browser::new(&world);
    let page = lost.sign_in("/x", "ben@acme.example").await;
    let page = lost.send(&page, &[("action", "recovery")]).await;
    let page = lost.send(&page, &[("action", "code"), ("code", &codes[3])]).await;
    let page = page.says("Recovery codes left: 9");
    assert!(!page.text().contains("These are few"));
    assert_eq!(lost.send(&page, &[("action", "on")]).await.at, "/x");
    assert_eq!(session(&world, &lost).await["factors"], json!(["email_otp", "recovery_codes"]));
}

#[tokio::test]
async fn one_sign_in_registers_one_app() {
    let world = strict("").await;
    let mut browser = Browser::new(&world);
    let page = to_set_up(&mut browser).await;
    let secret = key(&page);
    for _ in 0..3 {
        assert_eq!(key(&browser.visit(&page.at).await.status(200)), secret, "reloading shows the same");
    }
    // Back to the choice, and to the app again.
    let page = browser.send(&page, &[("action", "choose")]).await.says("Add a mobile phone");
    let page = browser.send(&page, &[("action", "new_app")]).await;
    assert_eq!(key(&page), secret);
    // The form that was sent before is no more.
    browser.send(&page, &[("action", "choose")]).await.status(200);
    browser.send(&page, &[("action", "new_app")]).await.status(400);
    assert_eq!(registered(&world), 1);
}

#[tokio::test]
async fn recovery_codes_are_shown_until_they_are_kept_and_to_their_member_alone() {
    let world = strict("").await;
    let mut browser = Browser::new(&world);
    let (_, page) = to_codes(&world, &mut browser).await;
    let shown = codes(&page);
    assert_eq!(codes(&browser.visit(&page.at).await), shown, "a reload in time loses none");
    let mut without = Browser::new(&world);
    without.jar.clone_from(&browser.jar);
    without.jar.retain(|name, _| name.starts_with("stytch_gateway_flow_"));
    let text = without.visit(&page.at).await.status(400).text();
    assert!(shown.iter().all(|code| !text.contains(code)), "whoever has signed out sees none");
    browser.send(&page, &[("action", "on")]).await.status(200);
    browser.visit(&page.at).await.status(400).says("no longer valid");
}

#[tokio::test]
async fn an_organization_names_the_second_factors_it_takes() {
    let apps = strict("allowed_mfa_methods = [\"totp\"]").await;
    let mut browser = Browser::new(&apps);
    let page = browser.sign_in("/", "ben@acme.example").await.says("Set up an authenticator app");
    assert!(!page.text().contains("name=\"phone\""));
    let refused = browser.send_only(&page, &[("action", "phone"), ("phone", "+15005550123")]).await;
    refused.status(400);
    assert!(apps.emulator.requests("/v1/b2b/otps/sms").is_empty());

    let phones = strict("allowed_mfa_methods = [\"sms_otp\"]").await;
    let mut browser = Browser::new(&phones);
    let page = browser.sign_in("/", "ben@acme.example").await.says("name=\"phone\"");
    assert!(!page.text().contains("authenticator"));
    browser.send_only(&page, &[("action", "new_app")]).await.status(400);
    assert_eq!(registered(&phones), 0);

    let neither = strict("allowed_mfa_methods = []").await;
    let page = Browser::new(&neither).sign_in("/", "ben@acme.example").await;
    page.status(200).says("A second factor is missing").says("Acme asks for a second factor");
}

#[tokio::test]
async fn from_a_phone_to_an_app_on_the_way() {
    let world = strict("").await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/", "ben@acme.example").await;
    let page = browser.send(&page, &[("action", "phone"), ("phone", "+1 500 555 0123")]).await.says("••• 23");
    let page = browser.send(&page, &[("action", "choose")]).await.says("Set up an authenticator app");
    let page = browser.send(&page, &[("action", "new_app")]).await;
    let code = world.emulator.totp_code(&key(&page));
    let page = browser.send(&page, &[("action", "code"), ("code", &code)]).await;
    browser.send(&page, &[("action", "on")]).await.status(200);
    assert_eq!(session(&world, &browser).await["factors"], json!(["email_otp", "totp"]));
    let mut again = Browser::new(&world);
    again.sign_in("/", "ben@acme.example").await.says("your authenticator app shows");
}

#[tokio::test]
async fn an_outage_keeps_each_step() {
    let world = strict("").await;
    let mut browser = Browser::new(&world);
    let down = || world.emulator.fault(Fault { status: Some(503), ..Fault::on(CREATE) });
    let page = browser.sign_in("/reports", "ben@acme.example").await;
    down();
    let failed = browser.send(&page, &[("action", "new_app")]).await.status(503).says("cannot be reached");
    assert!(failed.response.header("retry-after").is_some());
    world.emulator.clear_faults();
    let page = browser.visit(&page.at).await;
    let page = browser.send(&page, &[("action", "new_app")]).await.status(200);
    let secret = key(&page);
    down();
    let code = world.emulator.totp_code(&secret);
    browser.send(&page, &[("action", "code"), ("code", &code)]).await.status(503);
    world.emulator.clear_faults();
    let page = browser.visit(&page.at).await;
    assert_eq!(key(&page), secret);
    let page = browser.send(&page, &[("action", "code"), ("code", &code)]).await;
    let page = page.says("Keep your recovery codes");
    assert_eq!(browser.send(&page, &[("action", "on")]).await.at, "/reports");
}

#[tokio::test]
async fn what_is_no_key_is_not_shown() {
    let world = strict("").await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/", "ben@acme.example").await;
    let body = json!({
        "secret": "\"><script>alert(1)</script>", "recovery_codes": ["abcd-efgh"], "status_code": 200,
    });
    world.emulator.fault(Fault { status: Some(200), body: Some(body), ..Fault::on(CREATE) });
    let page = browser.send(&page, &[("action", "new_app")]).await.status(503);
    assert!(!page.text().contains("script"));
}

/// Ben has an app and few recovery codes. `more` is for his table.
fn with_app(more: &str) -> String {
    let member = STRICT.replace("MORE", "");
    format!(
        "{member}mfa_enrolled = true\ntotp_secret = \"{SECRET}\"\n\
         recovery_codes = [\"aaaa-bbbb\", \"cccc-dddd\", \"eeee-ffff\"]\n{more}"
    )
}

#[tokio::test]
async fn when_few_recovery_codes_are_left_new_ones_are_made() {
    let world = world(&with_app("")).await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/x", "ben@acme.example").await;
    let page = browser.send(&page, &[("action", "recovery")]).await;
    let page = browser.send(&page, &[("action", "code"), ("code", "aaaa-bbbb")]).await;
    let page = page.says("Recovery codes left: 2").says("These are few");
    assert!(browser.has_session());
    // Not for whoever has the page and not the session.
    let mut without = Browser::new(&world);
    without.jar.clone_from(&browser.jar);
    without.jar.retain(|name, _| name.starts_with("stytch_gateway_flow_"));
    without.visit(&page.at).await.status(400);
    let down = Fault { status: Some(503), ..Fault::on("/v1/b2b/recovery_codes/rotate") };
    world.emulator.fault(down);
    browser.send(&page, &[("action", "new_codes")]).await.status(503);
    world.emulator.clear_faults();
    let page = browser.visit(&page.at).await.says("Recovery codes left: 2");
    let page = browser.send(&page, &[("action", "new_codes")]).await.says("Keep your recovery codes");
    let fresh = codes(&page);
    assert_eq!(fresh.len(), 10);
    assert_eq!(browser.send(&page, &[("action", "on")]).await.at, "/x");
    for (code, good) in [("cccc-dddd", false), (fresh[0].as_str(), true)] {
        let mut again = Browser::new(&world);
        let page = again.sign_in("/", "ben@acme.example").await;
        let page = again.send(&page, &[("action", "recovery")]).await;
        again.send(&page, &[("action", "code"), ("code", code)]).await.status(200);
        assert_eq!(again.has_session(), good, "{code}");
    }
}

#[tokio::test]
async fn whoever_has_both_switches_and_says_what_comes_first() {
    let both = with_app("mfa_phone_number = \"+15005550123\"\ndefault_mfa_method = \"sms_otp\"\n");
    let world = world(&both).await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/", "ben@acme.example").await.says("••• 23").says("Ask me for this first");
    let page = browser.send(&page, &[("action", "app")]).await.says("your authenticator app shows");
    let page = browser.send(&page, &[("action", "sms")]).await.says("••• 23");
    let page = browser.send(&page, &[("action", "app")]).await;
    let code = world.emulator.totp_code(SECRET);
    browser.send(&page, &[("action", "code"), ("code", &code), ("prefer", "yes")]).await.status(200);
    let mut again = Browser::new(&world);
    again.sign_in("/", "ben@acme.example").await.says("your authenticator app shows");
    // Without a word, what is first stays first.
    let mut texted = Browser::new(&world);
    let page = texted.sign_in("/", "ben@acme.example").await;
    let page = texted.send(&page, &[("action", "sms")]).await.says("••• 23");
    let code = texted.code("+15005550123");
    texted.send(&page, &[("action", "code"), ("code", &code)]).await.status(200);
    let mut last = Browser::new(&world);
    last.sign_in("/", "ben@acme.example").await.says("your authenticator app shows");
}
