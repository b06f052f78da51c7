//! The device that people sign in from: asked of Stytch, logged, and judged.

use serde_json::{Value, json};
use stytch_emulator::Fault;

use super::browser::{Browser, Page};
use super::{MEMBERS, MEMBERS_AWAY, USERS_AWAY, session};
use crate::calls::said;
use crate::world::World;

const CLAIM: &str = "stytch_gateway_device";
const SCRIPT: &str = "device.script = \"$STYTCH/emulator/telemetry.js\"\ndevice.submit = \"$STYTCH/emulator/telemetry\"\nenabled = true";
const RULES: &str = r#"
[[routes]]
path = "/*"
upstream = "app"
[[routes]]
path = "/known/*"
upstream = "app"
allow.device.known = true
[[routes]]
path = "/week/*"
upstream = "app"
allow.device.known_for = "7d"
[[routes]]
path = "/britain/*"
upstream = "app"
allow.device.countries = ["GB", "IE"]
[[routes]]
path = "/observed/*"
upstream = "app"
allow.device.known = true
enforce = "observe"
"#;

/// Settings of sign-in with the script, and routes that ask about devices.
fn asking(settings: &str) -> String {
    let token =
        if settings.contains("public_token") { "" } else { "\n[stytch]\npublic_token = \"$PUBLIC_TOKEN\"\n" };
    let settings = settings.replacen("enabled = true", SCRIPT, 1);
    format!("{settings}{token}{RULES}")
}

/// What the session says of its device.
fn claim(world: &World, browser: &Browser<'_>) -> Value {
    world.claims_of(&browser.jar["stytch_session_jwt"].0)[CLAIM].clone()
}

/// From nobody to a session by a code, in a browser whose script names a visitor.
async fn sign_in(browser: &mut Browser<'_>, world: &World, target: &str, email: &str, visitor: &str) -> Page {
    let page = browser.visit(target).await;
    let page = browser.send(&page, &[("action", "email"), ("email", email)]).await;
    let (code, id) = (browser.code(email), world.emulator.telemetry_id(visitor));
    browser.send(&page, &[("action", "code"), ("code", &code), ("telemetry_id", &id)]).await
}

#[tokio::test]
async fn a_device_becomes_known_by_signing_in_again() {
    let world = World::with(&asking(MEMBERS)).await;
    let mut browser = Browser::new(&world);
    let page = sign_in(&mut browser, &world, "/known/x", "ben@acme.example", "visitor-1").await;
    assert_eq!(page.at, "/known/x");
    let page =
        page.status(403).says("step_up_required").says("from a device and a place that it knows you by");
    assert_eq!(
        claim(&world, &browser),
        json!({ "visitor_id": "visitor-1", "is_new": true, "country": "GB" })
    );
    let first = world.audited("sign_in", 1).await.remove(0);
    let told =
        ["visitor_id", "device_is_new", "device_country", "device_city"].map(|name| first[name].clone());
    assert_eq!(told, [json!("visitor-1"), json!(true), json!("GB"), json!("London")]);
    let before = session(&world, &browser).await;

    let page = browser.visit(&page.link("Sign in again")).await.status(200).says("E-mail a code to");
    let page = browser.send(&page, &[("action", "email")]).await;
    let (code, id) = (browser.code("ben@acme.example"), world.emulator.telemetry_id("visitor-1"));
    let page = browser.send(&page, &[("action", "code"), ("code", &code), ("telemetry_id", &id)]).await;
    assert_eq!((page.at.as_str(), page.response.status), ("/known/x", 200));
    assert_eq!(claim(&world, &browser)["is_new"], false);
    assert_eq!(session(&world, &browser).await["session_id"], before["session_id"], "the session grew");
    let second = world.audited("sign_in", 2).await.remove(1);
    assert_eq!(second["device_is_new"], false);
    // Another gateway of the project, or this one after a restart, knows it by the token alone.
    let jwt = browser.jar["stytch_session_jwt"].0.clone();
    world.get("/known/x").header("Cookie", format!("stytch_session_jwt={jwt}")).expect(200).await;
}

#[tokio::test]
async fn a_sign_in_without_the_id_is_one_like_any_other_and_meets_no_rule() {
    let world = World::with(&asking(MEMBERS)).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("/x", "ben@acme.example").await.status(200);
    assert_eq!(claim(&world, &browser), Value::Null);
    for path in ["/known/x", "/week/x", "/britain/x"] {
        let answer = world.get(path).with(&world.session()).refused(403, "step_up_required").await;
        assert_eq!(answer.json()["required"], json!({ "device": true }), "{path}");
        browser.open(path).await.status(403).says("from a device and a place");
    }
    browser.open("/observed/x").await.status(200);
    assert!(said(&world, "/v1/b2b/").iter().all(|body| body["telemetry_id"].is_null()));
    let told = world.audited("sign_in", 1).await.remove(0);
    assert_eq!((&told["visitor_id"], &told["device_is_new"]), (&Value::Null, &Value::Null));
    // What is no id goes nowhere.
    for id in ["", "a b", "a\r\nb", "\"", &"x".repeat(129)] {
        let mut browser = Browser::new(&world);
        let page = browser.visit("/x").await;
        let page = browser.send(&page, &[("action", "email"), ("email", "ben@acme.example")]).await;
        let code = browser.code("ben@acme.example");
        browser.send(&page, &[("action", "code"), ("code", &code), ("telemetry_id", id)]).await.status(200);
    }
    assert!(said(&world, "/v1/b2b/").iter().all(|body| body["telemetry_id"].is_null()));
}

/// Whoever finds a session and proves something more does so from a device of their own.
#[tokio::test]
async fn a_session_says_what_its_last_sign_in_was_told() {
    let world = World::with(&asking(MEMBERS)).await;
    let known = json!({ CLAIM: { "visitor_id": "visitor-1", "is_new": false, "known_for": 864_000, "country": "GB" } });
    let minted = world.emulator.session("ben@acme.example").organization("acme").custom_claims(known).mint();
    let mut browser = Browser::new(&world);
    browser.holds(&minted);
    for path in ["/known/x", "/week/x", "/britain/x"] {
        browser.open(path).await.status(200);
    }
    let page = browser.visit("/_stytch/login?step_up=recent&return_to=/known/x").await;
    let page = browser.send(&page, &[("action", "email")]).await;
    let code = browser.code("ben@acme.example");
    browser.send(&page, &[("action", "code"), ("code", &code)]).await.status(403);
    assert_eq!(claim(&world, &browser), Value::Null);
}

#[tokio::test]
async fn between_two_factors_a_device_stays_as_new_as_it_was() {
    let world = World::with(&asking(MEMBERS)).await;
    for (turn, is_new) in [(1, true), (2, false)] {
        let mut browser = Browser::new(&world);
        let target = "/_stytch/login?organization=acme&return_to=/x";
        let page = sign_in(&mut browser, &world, target, "cho@acme.example", "visitor-1").await;
        let (code, id) = (browser.code("+15005550123"), world.emulator.telemetry_id("visitor-1"));
        browser.send(&page, &[("action", "code"), ("code", &code), ("telemetry_id", &id)]).await.status(200);
        assert_eq!(claim(&world, &browser)["is_new"], is_new, "sign-in {turn}");
    }
    let proofs = ["/v1/b2b/otps/email/authenticate", "/v1/b2b/otps/sms/authenticate"];
    for path in proofs {
        assert!(said(&world, path).iter().all(|body| body["telemetry_id"].is_string()), "{path}");
    }
    assert!(said(&world, "/v1/b2b/otps/email/discovery").iter().all(|body| body["telemetry_id"].is_null()));
}

#[tokio::test]
async fn what_leaves_the_gateway_takes_the_id_along() {
    let world = World::with(&asking(MEMBERS_AWAY)).await;
    let into = "/_stytch/login?organization=acme&return_to=/x";
    for (action, field, is_new) in
        [("oauth", ("provider", "google"), true), ("link", ("email", "ben@acme.example"), false)]
    {
        let mut browser = Browser::new(&world);
        let page = browser.visit(into).await;
        let id = world.emulator.telemetry_id("visitor-1");
        let fields = [("action", action), field, ("telemetry_id", id.as_str())];
        if action == "link" {
            browser.send(&page, &fields).await.status(200);
            let link = browser.link("ben@acme.example");
            let page = browser.arrive(&link).await;
            browser.follow(page).await.status(200);
        } else {
            browser.trip(&page, &fields, "ben@acme.example").await.status(200);
        }
        assert_eq!(claim(&world, &browser)["is_new"], is_new, "{action}");
    }
    for path in ["/v1/b2b/oauth/authenticate", "/v1/b2b/magic_links/authenticate"] {
        assert!(said(&world, path)[0]["telemetry_id"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn a_user_s_device() {
    let world = World::with(&asking(USERS_AWAY)).await;
    let mut browser = Browser::new(&world);
    sign_in(&mut browser, &world, "/x", "uma@example.com", "visitor-1").await.status(200);
    assert_eq!(claim(&world, &browser)["visitor_id"], "visitor-1");
    assert_eq!(world.audited("sign_in", 1).await[0]["visitor_id"], "visitor-1");
    for (action, field) in [("oauth", ("provider", "google")), ("link", ("email", "uma@example.com"))] {
        let mut browser = Browser::new(&world);
        let page = browser.visit("/x").await;
        let id = world.emulator.telemetry_id("visitor-1");
        let fields = [("action", action), field, ("telemetry_id", id.as_str())];
        if action == "link" {
            browser.send(&page, &fields).await.status(200);
            let link = browser.link("uma@example.com");
            let page = browser.arrive(&link).await;
            browser.follow(page).await.status(200);
        } else {
            browser.trip(&page, &fields, "uma@example.com").await.status(200);
        }
        assert_eq!(claim(&world, &browser)["is_new"], false, "{action}");
    }
}

#[tokio::test]
async fn how_long_a_device_is_known_and_where_it_is() {
    let world = World::with(&asking(MEMBERS)).await;
    let ben = world.emulator.member_id("acme", "ben@acme.example").unwrap();
    let ago = |days: i64| jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
    for (visitor, days, status) in [("visitor-old", 8, 200), ("visitor-young", 6, 403)] {
        world.emulator.remember_device(&ben, visitor, ago(days));
        let mut browser = Browser::new(&world);
        sign_in(&mut browser, &world, "/week/x", "ben@acme.example", visitor).await.status(status);
        browser.open("/known/x").await.status(200);
    }
    for (country, city, status) in [("IE", "Dublin", 200), ("FR", "Paris", 403)] {
        world.emulator.move_people(country, city);
        let mut browser = Browser::new(&world);
        sign_in(&mut browser, &world, "/britain/x", "ben@acme.example", "visitor-1").await.status(status);
    }
    let told = world.audited("sign_in", 4).await;
    assert_eq!((&told[3]["device_country"], &told[3]["device_city"]), (&json!("FR"), &json!("Paris")));
}

#[tokio::test]
async fn what_stytch_has_against_an_id_keeps_nobody_out() {
    let world = World::with(&asking(MEMBERS)).await;
    let exchange = "/v1/b2b/discovery/intermediate_sessions/exchange";
    let body = json!({ "status_code": 404, "request_id": "r", "error_type": "telemetry_id_not_found",
        "error_message": "", "error_url": "" });
    let refused = Fault { status: Some(404), body: Some(body), times: Some(1), ..Fault::on(exchange) };
    world.emulator.fault(refused);
    let mut browser = Browser::new(&world);
    sign_in(&mut browser, &world, "/x", "ben@acme.example", "visitor-1").await.status(200);
    let asked = said(&world, exchange);
    assert_eq!((asked[0]["telemetry_id"].is_string(), &asked[1]["telemetry_id"]), (true, &Value::Null));
    assert_eq!(claim(&world, &browser), Value::Null);

    // Nor does it when the session cannot be made to say anything.
    let down = Fault { status: Some(503), times: Some(1), ..Fault::on("/v1/b2b/sessions/authenticate") };
    world.emulator.fault(down);
    let mut browser = Browser::new(&world);
    sign_in(&mut browser, &world, "/x", "ben@acme.example", "visitor-1").await.status(200);
    assert_eq!(claim(&world, &browser), Value::Null);
    browser.open("/known/x").await.status(403);
    assert_eq!(world.audited("sign_in", 2).await[1]["visitor_id"], "visitor-1", "it is known all the same");
}

/// Its device is what the session in the other organization says, and not what the first one said.
#[tokio::test]
async fn a_switch_of_organizations_tells_of_the_device_anew() {
    let world = World::with(&asking(MEMBERS)).await;
    let mut browser = Browser::new(&world);
    let into = "/_stytch/login?organization=acme&return_to=/x";
    sign_in(&mut browser, &world, into, "ana@acme.example", "visitor-1").await.status(200);
    let globex = world.emulator.organization_id("globex").unwrap();
    let page = browser.visit("/_stytch/organizations").await;
    let id = world.emulator.telemetry_id("visitor-2");
    browser.send(&page, &[("organization", &globex), ("telemetry_id", &id)]).await.status(200);
    assert_eq!(claim(&world, &browser)["visitor_id"], "visitor-2");
}

/// A script of another origin runs where something is proved, and never beside a secret.
#[tokio::test]
async fn where_the_scripts_run() {
    let world = World::with(&asking(MEMBERS_AWAY)).await;
    let origin = world.emulator.url();
    let policy = |page: &Page| page.response.header("content-security-policy").unwrap().to_owned();
    let mut browser = Browser::new(&world);
    let page = browser.visit("/x").await.says("/_stytch/device.js").says("/emulator/telemetry.js");
    let text = page.text();
    let nonce = text.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(text.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    let expected = format!("script-src 'nonce-{nonce}'; connect-src {origin};");
    assert!(policy(&page).contains(&expected) && !policy(&page).contains("unsafe"), "{}", policy(&page));
    assert!(!policy(&browser.visit("/x").await).contains(nonce), "each page has its own");
    let none =
        |page: &Page| assert!(!page.text().contains("<script") && !policy(page).contains("script-src"));
    // Not where the address or the page holds something that signs people in.
    none(&browser.arrive("/_stytch/callback?stytch_token_type=oauth&token=abc").await);
    none(&browser.visit("/_stytch/logout").await);

    let script = world.get("/_stytch/device.js").host("app.test").expect(200).await;
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(script.header("cross-origin-resource-policy"), Some("same-origin"));
    assert!(script.text().contains("GetTelemetryID"));
    world.post("/_stytch/device.js").host("app.test").expect(405).await;
    // Without the setting there is neither.
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    none(&browser.visit("/_stytch/login").await);
    world.get("/_stytch/device.js").host("app.test").expect(404).await;
}

#[tokio::test]
async fn no_script_runs_beside_the_key_of_an_app_or_recovery_codes() {
    let seed = "[[organizations]]\norganization_slug = \"acme\"\norganization_name = \"Acme\"\n\
                mfa_policy = \"REQUIRED_FOR_ALL\"\n[[members]]\norganization_id = \"acme\"\n\
                email_address = \"ben@acme.example\"\n";
    let world = World::builder().seed(seed).with(&asking(MEMBERS)).start().await;
    let mut browser = Browser::new(&world);
    let page = sign_in(&mut browser, &world, "/x", "ben@acme.example", "visitor-1").await.says("<script");
    let page = browser.send(&page, &[("action", "new_app")]).await.says("class=\"qr\"");
    assert!(!page.text().contains("<script"), "{}", page.text());
    let text = page.text();
    let key = text.split("translate=\"no\">").nth(1).unwrap().split('<').next().unwrap().replace(' ', "");
    let code = world.emulator.totp_code(&key);
    let page = browser.send(&page, &[("action", "code"), ("code", &code)]).await.says("class=\"codes\"");
    assert!(!page.text().contains("<script"), "{}", page.text());
    // The id of the page before was good for the proof on this one.
    assert_eq!(claim(&world, &browser)["is_new"], true);
}
