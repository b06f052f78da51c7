//! OAuth: to a provider and back, through `/callback`.

use serde_json::json;
use stytch_emulator::Fault;

use super::browser::{Browser, Page};
use super::{MEMBERS_AWAY, USERS_AWAY, session, told};
use crate::world::World;

const GOOGLE: [(&str, &str); 2] = [("action", "oauth"), ("provider", "google")];

async fn first(browser: &mut Browser<'_>, target: &str) -> Page {
    browser.visit(target).await.status(200).says("Continue with Google").says("Continue with GitHub")
}

#[tokio::test]
async fn a_member_of_one_organization_comes_back_signed_in() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = first(&mut browser, "/reports?year=2026").await;
    let page = browser.trip(&page, &GOOGLE, "ben@acme.example").await.status(200);
    assert_eq!(page.at, "/reports?year=2026");
    assert_eq!(told(&world, "x-stytch-member-id"), world.emulator.member_id("acme", "ben@acme.example"));
    assert_eq!(told(&world, "cookie"), None);
    assert_eq!(browser.flows(), 0);
    assert_eq!(session(&world, &browser).await["factors"], json!(["oauth"]));
}

#[tokio::test]
async fn what_goes_along_names_nobody_and_hides_the_verifier() {
    let seed = "redirect_urls = [\"https://app.test/_stytch/callback\"]\n\
                [[organizations]]\norganization_slug = \"acme\"\n\
                [[members]]\norganization_id = \"acme\"\nemail_address = \"ben@acme.example\"\n";
    let world = World::builder().seed(seed).with(MEMBERS_AWAY).start().await;
    let mut browser = Browser::new(&world);
    let page = first(&mut browser, "/reports").await;
    let start = browser.leave(&page, &GOOGLE).await;
    let (path, query) = start.split_once('?').unwrap();
    assert_eq!(path, "/v1/b2b/public/oauth/google/discovery/start");
    let mut names: Vec<&str> = query.split('&').map(|pair| pair.split('=').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["discovery_redirect_url", "pkce_code_challenge", "public_token"]);
    assert!(query.contains("discovery_redirect_url=https%3A%2F%2Fapp.test%2F_stytch%2Fcallback&"), "{query}");
    let back = browser.be(&start, "ben@acme.example").await;
    let page = browser.arrive(&back).await;
    assert_eq!(browser.follow(page).await.at, "/reports");
}

#[tokio::test]
async fn somebody_in_two_organizations_chooses() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = first(&mut browser, "/x").await;
    let page = browser.trip(&page, &GOOGLE, "ana@acme.example").await.says("Choose an organization");
    let globex = page.button("Globex");
    assert_eq!(browser.send(&page, &[("organization", &globex)]).await.at, "/x");
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("globex"));
}

#[tokio::test]
async fn a_known_organization_is_gone_into_by_slug_or_id() {
    let world = World::with(MEMBERS_AWAY).await;
    let id = world.emulator.organization_id("globex").unwrap();
    for organization in ["globex", &id] {
        let mut browser = Browser::new(&world);
        let page =
            first(&mut browser, &format!("/_stytch/login?organization={organization}&return_to=/x")).await;
        let start = browser.leave(&page, &GOOGLE).await;
        assert!(start.starts_with("/v1/b2b/public/oauth/google/start?"), "{start}");
        let back = browser.be(&start, "ana@acme.example").await;
        let page = browser.arrive(&back).await;
        assert_eq!(browser.follow(page).await.at, "/x");
        assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("globex"));
    }
}

#[tokio::test]
async fn a_second_factor_is_asked_for_afterwards() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = first(&mut browser, "/x").await;
    let page = browser.trip(&page, &GOOGLE, "cho@acme.example").await.says("One more step");
    let code = browser.code("+15005550123");
    assert_eq!(browser.send(&page, &[("action", "code"), ("code", &code)]).await.at, "/x");
    assert_eq!(session(&world, &browser).await["factors"], json!(["oauth", "otp"]));
}

#[tokio::test]
async fn nobody_who_has_no_organization_gets_in() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = first(&mut browser, "/").await;
    browser.trip(&page, &GOOGLE, "nobody@nowhere.example").await.says("No organization");
    let page = first(&mut browser, "/_stytch/login?organization=acme").await;
    let page = browser.trip(&page, &GOOGLE, "nobody@nowhere.example").await.says("cannot sign in this way");
    page.says("Continue with Google");
    assert!(!browser.has_session());
}

/// An organization that takes one proof alone.
fn asking_for(method: &str) -> String {
    format!(
        "[[organizations]]\norganization_slug = \"acme\"\norganization_name = \"Acme\"\n\
         allowed_auth_methods = [\"{method}\"]\n\
         sso_active_connections = [{{ connection_id = \"saml-connection-test-1\", display_name = \"Acme\" }}]\n\
         [[members]]\norganization_id = \"acme\"\nemail_address = \"ben@acme.example\"\n"
    )
}

#[tokio::test]
async fn an_organization_that_asks_for_another_proof_is_led_to_it() {
    for (method, button, fields) in [
        ("google_oauth", "Continue with Google", GOOGLE.as_slice()),
        ("sso", "Continue with single sign-on", &[("action", "sso")]),
    ] {
        let world = World::builder().seed(&asking_for(method)).with(MEMBERS_AWAY).start().await;
        let mut browser = Browser::new(&world);
        let page = browser.sign_in("/x", "ben@acme.example").await.says("one of these ways").says(button);
        for other in ["Continue with GitHub", "E-mail me a code", "E-mail me a link"] {
            assert!(!page.text().contains(other), "{method}: {other}");
        }
        assert!(!browser.has_session());
        // What is not offered is not there either.
        browser.send_only(&page, &[("action", "oauth"), ("provider", "github")]).await.status(400);
        let mut browser = Browser::new(&world);
        let page = browser.sign_in("/x", "ben@acme.example").await;
        assert_eq!(browser.trip(&page, fields, "ben@acme.example").await.at, "/x");
        let factors = session(&world, &browser).await["factors"].clone();
        assert_eq!(factors.as_array().unwrap().len(), 2, "both proofs count: {factors}");
    }
    let world = World::builder().seed(&asking_for("microsoft_oauth")).with(MEMBERS_AWAY).start().await;
    Browser::new(&world).sign_in("/x", "ben@acme.example").await.says("not offered here");
}

#[tokio::test]
async fn users_come_back_too_and_their_factors_add_up() {
    let world = World::with(USERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/x").await.says("Continue with TikTok");
    let start = browser.leave(&page, &[("action", "oauth"), ("provider", "tiktok")]).await;
    assert!(start.starts_with("/v1/public/oauth/tiktok/start?"), "{start}");
    assert!(start.contains("&code_challenge=") && !start.contains("pkce"), "{start}");
    let back = browser.be(&start, "uma@example.com").await;
    let page = browser.arrive(&back).await;
    assert_eq!(browser.follow(page).await.at, "/x");
    assert_eq!(told(&world, "x-stytch-user-id"), world.emulator.user_id("uma@example.com"));
    let first = session(&world, &browser).await;
    assert_eq!(first["factors"], json!(["oauth"]));
    let mut other = Browser::new(&world);
    let page = other.visit("/y").await;
    other.jar.extend(browser.jar.clone());
    other.trip(&page, &GOOGLE, "uma@example.com").await.status(200);
    let second = session(&world, &other).await;
    assert_eq!(second["session_id"], first["session_id"], "the session grew");
    assert_eq!(second["factors"], json!(["oauth", "oauth"]));
}

#[tokio::test]
async fn a_member_s_session_grows_in_its_own_organization() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = first(&mut browser, "/_stytch/login?organization=acme").await;
    let mut signed_in = Browser::new(&world);
    signed_in.sign_in("/", "ben@acme.example").await.status(200);
    browser.jar.extend(signed_in.jar.clone());
    browser.trip(&page, &GOOGLE, "ben@acme.example").await.status(200);
    assert_eq!(session(&world, &browser).await["factors"], json!(["email_otp", "oauth"]));
}

#[tokio::test]
async fn coming_back_with_nothing_is_no_end() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = first(&mut browser, "/x").await;
    browser.leave(&page, &GOOGLE).await;
    for query in [
        "",
        "?error=access_denied",
        "?stytch_token_type=discovery_oauth",
        "?stytch_token_type=discovery_oauth&token=",
    ] {
        let page = browser.arrive(&format!("/_stytch/callback{query}")).await.status(400);
        let page = page.says("You are not signed in yet").says("/_stytch/login?flow=");
        assert_eq!(page.response.header("referrer-policy"), Some("no-referrer"));
    }
    assert!(world.emulator.requests("/v1/b2b/oauth").is_empty(), "Stytch was asked nothing");
    // The same sign-in goes on.
    let flow = browser.jar.keys().find_map(|name| name.strip_prefix("stytch_gateway_flow_")).unwrap();
    let page = browser.visit(&format!("/_stytch/login?flow={}", flow.to_owned())).await;
    assert_eq!(browser.trip(&page, &GOOGLE, "ben@acme.example").await.at, "/x");
}

#[tokio::test]
async fn an_outage_on_the_way_back_costs_nothing() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = first(&mut browser, "/x").await;
    let start = browser.leave(&page, &GOOGLE).await;
    let back = browser.be(&start, "ben@acme.example").await;
    world.emulator.fault(Fault { status: Some(503), ..Fault::on("/v1/b2b/oauth/discovery") });
    for _ in 0..2 {
        let down = browser.arrive(&back).await.status(503).says("cannot be reached").says("Try again");
        assert!(down.response.header("retry-after").is_some());
        assert!(down.text().contains(&back.replace('&', "&amp;")), "with a link to do so");
    }
    world.emulator.clear_faults();
    let page = browser.arrive(&back).await;
    assert_eq!(browser.follow(page).await.at, "/x");
}

#[tokio::test]
async fn the_older_of_two_tabs_is_told_and_the_newer_goes_on() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let one = first(&mut browser, "/one").await;
    let one = browser.leave(&one, &GOOGLE).await;
    let two = first(&mut browser, "/two").await;
    let two = browser.leave(&two, &GOOGLE).await;
    let (one, two) = (browser.be(&one, "ben@acme.example").await, browser.be(&two, "ben@acme.example").await);
    browser.arrive(&one).await.status(400).says("begun in another tab").says("/_stytch/login?flow=");
    assert!(!browser.has_session());
    assert_eq!(browser.arrive(&two).await.status(303).response.header("location"), Some("/two"));
    // Once the newer has ended, the older is the newest.
    assert_eq!(browser.arrive(&one).await.status(303).response.header("location"), Some("/one"));
}

#[tokio::test]
async fn tabs_that_went_different_ways_do_not_meet() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let one = first(&mut browser, "/one").await;
    let one = browser.leave(&one, &GOOGLE).await;
    let two = first(&mut browser, "/_stytch/login?organization=acme&return_to=/two").await;
    let two = browser.leave(&two, &GOOGLE).await;
    let (one, two) = (browser.be(&one, "ben@acme.example").await, browser.be(&two, "ben@acme.example").await);
    assert_eq!(browser.arrive(&one).await.status(303).response.header("location"), Some("/one"));
    assert_eq!(browser.arrive(&two).await.status(303).response.header("location"), Some("/two"));
}

/// An answer of Stytch's with what a provider hands out, of which nothing may be seen again.
#[tokio::test]
async fn what_providers_hand_out_is_not_kept() {
    let world = World::with(USERS_AWAY).await;
    let given = world.emulator.session("uma@example.com").mint();
    let secret = "ya29.a0-what-google-hands-out-is-nobody-s-business";
    world.keep_secret(secret);
    let answer = json!({
        "status_code": 200,
        "request_id": "request-id-test-1",
        "user_id": world.emulator.user_id("uma@example.com"),
        "session_token": given.session_token,
        "session_jwt": given.session_jwt,
        "user_session": { "session_id": "session-test-1" },
        "provider_values": { "access_token": secret, "refresh_token": secret, "id_token": secret, "scopes": [] },
    });
    world.emulator.fault(Fault { body: Some(answer), ..Fault::on("/v1/oauth/authenticate") });
    let mut browser = Browser::new(&world);
    let page = browser.visit("/x").await;
    let start = browser.leave(&page, &GOOGLE).await;
    let back = browser.be(&start, "uma@example.com").await;
    let page = browser.arrive(&back).await.status(303);
    assert!(page.response.all("set-cookie").iter().all(|cookie| !cookie.contains(secret)));
    assert_eq!(browser.follow(page).await.at, "/x");
    let values: Vec<String> = world.upstream.last().headers().into_iter().map(|(_, value)| value).collect();
    assert!(values.iter().all(|value| !value.contains(secret)));
}

#[tokio::test]
async fn the_way_back_is_one_that_the_settings_name() {
    let world = World::with(MEMBERS_AWAY).await;
    // A host that a route names has an address of its own.
    let mut browser = Browser::new(&world).at("other.test");
    let page = browser.visit("/_stytch/login").await.says("Continue with Google");
    let start = browser.leave(&page, &GOOGLE).await;
    assert!(start.contains("=https%3A%2F%2Fother.test%2F_stytch%2Fcallback"), "{start}");
    // One that nobody has named has none, and only what needs none is there.
    let mut browser = Browser::new(&world).at("evil.test");
    let page = browser.visit("/_stytch/login").await.says("E-mail me a code");
    for text in ["Continue with", "E-mail me a link"] {
        assert!(!page.text().contains(text), "{text}");
    }
    browser.send_only(&page, &GOOGLE).await.status(400);
    let away = MEMBERS_AWAY.replace("[\"email_otp\", \"magic_link\", \"oauth\", \"sso\"]", "[\"oauth\"]");
    world.reload(&away).await.unwrap();
    let page = Browser::new(&world).at("evil.test").open("/_stytch/login?return_to=/a").await.status(303);
    let login = "https://app.test/_stytch/login?return_to=http%3A%2F%2Fevil.test%2Fa";
    assert_eq!(page.response.header("location"), Some(login));
    Browser::new(&world).open("/_stytch/login?return_to=http%3A%2F%2Fevil.test%2Fa").await.status(200);
}

#[tokio::test]
async fn strict_cookies_are_there_for_the_last_step() {
    let world = World::with(&format!("{MEMBERS_AWAY}\n[session.cookies]\nsame_site = \"strict\"\n")).await;
    let mut browser = Browser::new(&world);
    let page = first(&mut browser, "/x").await;
    let page = browser.trip(&page, &GOOGLE, "ben@acme.example").await.status(200);
    assert_eq!(page.response.header("refresh"), Some("0; url=/x"));
    page.says("You are signed in").says("href=\"/x\"");
    assert!(browser.has_session());
}

#[tokio::test]
async fn forms_may_lead_to_where_a_trip_begins() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = first(&mut browser, "/").await;
    let policy = page.response.header("content-security-policy").unwrap();
    assert!(policy.contains(&format!("form-action 'self' https: {};", world.emulator.url())), "{policy}");
    let page = browser.visit("/_stytch/logout").await;
    let policy = page.response.header("content-security-policy").unwrap();
    assert!(policy.contains("form-action 'self' https:;"), "{policy}");
}
