//! What keeps a sign-in from being anybody else's.

use super::MEMBERS;
use super::browser::Browser;
use crate::world::World;

#[tokio::test]
async fn nothing_is_there_unless_it_is_switched_on() {
    let world = World::start().await;
    for place in ["login", "logout", "session", "organizations"] {
        let page = Browser::new(&world).open(&format!("/_stytch/{place}")).await;
        page.status(404);
    }
    Browser::new(&world).open("/").await.status(401);
}

#[tokio::test]
async fn a_route_decides_who_is_sent_to_sign_in() {
    let routes = format!(
        "{MEMBERS}
[[routes]]
path = \"/api/*\"
upstream = \"app\"
on_unauthenticated = \"401\"
[[routes]]
path = \"/machines/*\"
upstream = \"app\"
kinds = [\"m2m\"]
[[routes]]
path = \"/*\"
upstream = \"app\"
on_unauthenticated = \"sign_in\"
"
    );
    let world = World::with(&routes).await;
    let mut browser = Browser::new(&world);
    browser.open("/api/x").await.status(401);
    browser.open("/machines/x").await.status(401);
    browser.open("/x").await.status(303);
    world.get("/x").refused(401, "unauthenticated").await;
}

#[tokio::test]
async fn the_log_says_why_a_browser_was_sent_to_sign_in() {
    let world = World::with(MEMBERS).await;
    Browser::new(&world).open("/").await.status(303);
    Browser::new(&world).open("/_stytch/login").await.status(200);
    let lines = world.log(2).await;
    assert_eq!((&lines[0]["code"], &lines[0]["status"]), (&"unauthenticated".into(), &303.into()));
    assert_eq!((&lines[1]["route"], &lines[1]["status"]), (&"_login".into(), &200.into()));
}

#[tokio::test]
async fn a_form_must_be_of_this_site_and_of_its_page() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/").await;
    let (action, body) = page.form(&[("action", "email"), ("email", "ben@acme.example")]);
    for origin in ["http://evil.test", "null", "http://app.test.evil.test", "http://sub.app.test"] {
        browser.post(&action, &body, Some(origin)).await.status(403);
    }
    let neighbour = world.post(&action).header("Sec-Fetch-Site", "same-site").body(&body);
    neighbour.refused(403, "cross_site_request").await;
    let (_, wrong) = page.form(&[("action", "email"), ("email", "ben@acme.example"), ("token", "x")]);
    browser.post(&action, &wrong, Some("http://app.test")).await.status(400).says("no longer valid");
    assert!(world.emulator.requests("/v1/b2b/otps").is_empty(), "Stytch was asked nothing");
    browser.post(&action, &body, Some("http://app.test")).await.status(303);
}

#[tokio::test]
async fn a_form_is_a_small_form() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    let body = format!("email={}", "a".repeat(20_000));
    browser.post("/_stytch/login", &body, None).await.status(413);
    let json = world.post("/_stytch/login").header("Content-Type", "application/json").body("{}");
    json.refused(400, "bad_request").await;
    let put = world.request("PUT", "/_stytch/login").send().await.expect(405);
    assert_eq!(put.header("allow"), Some("GET, HEAD, POST"));
}

#[tokio::test]
async fn an_address_that_tries_too_often_has_to_wait() {
    let world = World::with(&MEMBERS.replace("\"off\"", "\"3/h\"")).await;
    let mut browser = Browser::new(&world);
    let mut page = browser.visit("/").await;
    for _ in 0..3 {
        page = browser.send(&page, &[("action", "email"), ("email", "not an address")]).await.status(200);
    }
    let limited = browser.send(&page, &[("action", "email"), ("email", "ben@acme.example")]).await;
    let limited = limited.status(429).says("Too many attempts");
    assert!(limited.response.header("retry-after").is_some());
    assert!(world.emulator.outbox("ben@acme.example").is_empty());
}

#[tokio::test]
async fn a_recipient_is_not_flooded() {
    let world = World::with(MEMBERS).await;
    for attempt in 0..8 {
        let mut browser = Browser::new(&world);
        let page = browser.visit("/").await;
        let page = browser.send(&page, &[("action", "email"), ("email", "Ben@acme.example")]).await;
        page.says(if attempt < 6 { "Enter your code" } else { "Too many attempts" });
    }
    assert_eq!(world.emulator.outbox("ben@acme.example").len(), 6);
}

#[tokio::test]
async fn another_code_takes_its_time() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/").await;
    let page = browser.send(&page, &[("action", "email"), ("email", "ben@acme.example")]).await;
    browser.send(&page, &[("action", "resend")]).await.says("sent a moment ago");
    assert_eq!(world.emulator.outbox("ben@acme.example").len(), 1);
}

#[tokio::test]
async fn replicas_share_a_key_and_nothing_else_opens_a_state() {
    let keyed =
        MEMBERS.replace("enabled = true", "enabled = true\nstate_key = \"0123456789abcdef0123456789abcdef\"");
    let (one, other, stranger) =
        (World::with(&keyed).await, World::with(&keyed).await, World::with(MEMBERS).await);
    let mut browser = Browser::new(&one);
    let page = browser.visit("/").await;
    let mut elsewhere = Browser::new(&other);
    elsewhere.jar.clone_from(&browser.jar);
    elsewhere
        .send(&page, &[("action", "email"), ("email", "ben@acme.example")])
        .await
        .says("Enter your code");
    let mut lost = Browser::new(&stranger);
    lost.jar.clone_from(&browser.jar);
    lost.send(&page, &[("action", "email"), ("email", "ben@acme.example")]).await.status(400);
}

#[tokio::test]
async fn nothing_that_a_person_typed_is_logged() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    world.keep_secret("somebody.with.a.long.name@acme.example");
    let page = browser.visit("/").await;
    let fields = [("action", "email"), ("email", "somebody.with.a.long.name@acme.example")];
    let page = browser.send(&page, &fields).await;
    browser.send(&page, &[("action", "code"), ("code", "000000")]).await.says("not right");
}

#[tokio::test]
async fn junk_never_reaches_stytch_by_way_of_signing_out() {
    let world = World::with(MEMBERS).await;
    let junk = "A".repeat(44);
    let post = world.post("/_stytch/logout").cookie("stytch_session", &junk);
    let answer = post.header("Origin", "http://app.test").expect(200).await;
    assert!(world.emulator.requests("/v1/b2b/sessions/revoke").is_empty());
    assert!(answer.all("set-cookie").iter().any(|cookie| cookie.starts_with("stytch_session=;")));
}

#[tokio::test]
async fn who_am_i_says_why_it_is_nobody() {
    let world = World::with(MEMBERS).await;
    world.get("/_stytch/session").refused(401, "unauthenticated").await;
    let junk = "A".repeat(44);
    let answer = world.get("/_stytch/session").cookie("stytch_session", &junk);
    let answer = answer.refused(401, "invalid_credential").await;
    assert!(answer.all("set-cookie").iter().any(|cookie| cookie.starts_with("stytch_session=;")));
    let page = Browser::new(&world).open("/_stytch/session").await.status(303);
    assert_eq!(page.response.header("location"), Some("/_stytch/login?return_to=%2F_stytch%2Fsession"));
}

#[tokio::test]
async fn a_dead_session_that_comes_along_costs_no_code() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/_stytch/login?organization=acme").await;
    let page = browser.send(&page, &[("action", "email"), ("email", "ben@acme.example")]).await;
    let old = world.session_of("ben@acme.example", "acme");
    world.revoke(&old).await;
    // The JWT still counts here; Stytch knows better.
    browser.jar.insert("stytch_session_jwt".to_owned(), (old.session_jwt.clone(), "/".to_owned()));
    let code = browser.code("ben@acme.example");
    browser.send(&page, &[("action", "code"), ("code", &code)]).await.status(200);
    assert_ne!(browser.jar["stytch_session_jwt"].0, old.session_jwt);
    assert!(browser.has_session());
}
