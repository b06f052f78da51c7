//! Redirects, sign-in, CSRF and logout (ATTACKS.md section 11).

use stytch_gateway::config::Secret;
use stytch_gateway::signin::state::{Sealer, Start, State, Step};

use crate::signin::browser::{Browser, Page, escaped};
use crate::signin::{MEMBERS, MEMBERS_AWAY, USERS};
use crate::world::World;

/// Signs in with each of these as `return_to`, and looks where that leads.
async fn all_lead_to_the_root(targets: &[&str]) {
    let world = World::with(MEMBERS).await;
    // Whoever is signed in already is sent on at once: the same reading of the same parameter.
    let mut browser = Browser::new(&world);
    browser.sign_in("/", "ben@acme.example").await.status(200);
    for target in targets {
        browser.jar.remove("stytch_gateway_returned");
        let page = browser.open(&format!("/_stytch/login?return_to={}", escaped(target))).await.status(303);
        assert_eq!(page.response.header("location"), Some("/"), "{target:?}");
    }
    // And through a sign-in to its end.
    let mut fresh = Browser::new(&world);
    let page = fresh.open(&format!("/_stytch/login?return_to={}", escaped(targets[0]))).await;
    assert_eq!(to_the_end(&mut fresh, &page).await.response.header("location"), Some("/"));
}

async fn to_the_end(browser: &mut Browser<'_>, page: &Page) -> Page {
    let page = browser.send(page, &[("action", "email"), ("email", "ben@acme.example")]).await;
    let code = browser.code("ben@acme.example");
    browser.send_only(&page, &[("action", "code"), ("code", &code)]).await
}

#[tokio::test]
async fn k01_a_target_without_a_scheme_is_no_other_host() {
    all_lead_to_the_root(&["//evil.test", "///evil.test", "////evil.test/%2e%2e%2f", "/.//evil.test"]).await;
}

#[tokio::test]
async fn k02_a_backslash_is_no_slash() {
    all_lead_to_the_root(&["/\\evil.test", "\\\\evil.test", "/%5cevil.test", "https:\\\\evil.test"]).await;
}

#[tokio::test]
async fn k03_what_browsers_drop_is_not_dropped_here() {
    let targets =
        ["/%09/evil.test", "/%0a/evil.test", "/\r\n/evil.test", "/\u{b}/evil.test", "/\t/evil.test"];
    all_lead_to_the_root(&targets).await;
}

#[tokio::test]
async fn k04_no_other_scheme_is_a_place_to_go_to() {
    all_lead_to_the_root(&["javascript:alert(1)", "javascript://app.test/%0aalert(1)", "data:text/html,x"])
        .await;
}

#[tokio::test]
async fn k05_a_user_before_the_host_is_refused() {
    let targets = ["https://app.test@evil.test", "https://app.test%40evil.test", "https:evil.test"];
    all_lead_to_the_root(&targets).await;
}

#[tokio::test]
async fn k07_unicode_names_no_host() {
    let targets =
        ["https://app\u{3002}test", "https://app.test\u{2100}evil", "https://evil.test\u{ff0f}app.test"];
    all_lead_to_the_root(&targets).await;
}

#[tokio::test]
async fn k08_a_longer_name_is_another_host() {
    all_lead_to_the_root(&[
        "https://app.test.evil.test",
        "https://evilapp.test",
        "https://evil.test/app.test",
    ])
    .await;
}

#[tokio::test]
async fn k09_another_port_is_another_place() {
    all_lead_to_the_root(&["https://app.test:8443", "http://app.test:8080/"]).await;
    let allowed = MEMBERS.replace("enabled = true", "enabled = true\nredirects = [\"other.test\"]");
    let world = World::with(&allowed).await;
    for (target, expected) in [
        ("https://other.test/x", "https://other.test/x"),
        ("https://other.test:443/x", "https://other.test:443/x"),
        ("https://other.test:8443/x", "/"),
        ("http://other.test/x", "/"),
        ("https://sub.other.test/x", "/"),
    ] {
        let mut browser = Browser::new(&world);
        let page = browser.open(&format!("/_stytch/login?return_to={}", escaped(target))).await;
        assert_eq!(to_the_end(&mut browser, &page).await.response.header("location"), Some(expected));
    }
}

#[tokio::test]
async fn k11_of_two_targets_the_first_counts_and_is_looked_at() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("/", "ben@acme.example").await.status(200);
    for (query, expected) in [
        ("return_to=/a&return_to=//evil.test", "/a"),
        ("return_to=//evil.test&return_to=/a", "/"),
        ("return_to[]=//evil.test", "/"),
    ] {
        browser.jar.remove("stytch_gateway_returned");
        let page = browser.open(&format!("/_stytch/login?{query}")).await.status(303);
        assert_eq!(page.response.header("location"), Some(expected), "{query}");
    }
}

#[tokio::test]
async fn k13_signing_out_leads_nowhere_else_either() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    for target in ["https://evil.test", "//evil.test", "/\\evil.test"] {
        let page = browser.visit(&format!("/_stytch/logout?return_to={}", escaped(target))).await;
        assert!(!page.text().contains("evil.test"), "{target}");
        let body = format!("return_to={}", escaped(target));
        let page = browser.post("/_stytch/logout", &body, Some("http://app.test")).await.status(200);
        assert_eq!(page.response.header("location"), None);
    }
}

#[tokio::test]
async fn k16_another_browser_cannot_go_on() {
    let world = World::with(MEMBERS).await;
    let (mut one, mut other) = (Browser::new(&world), Browser::new(&world));
    let page = one.visit("/").await;
    let page = one.send(&page, &[("action", "email"), ("email", "ben@acme.example")]).await;
    let code = one.code("ben@acme.example");
    let fields = [("action", "code"), ("code", code.as_str())];
    other.send_only(&page, &fields).await.status(400).says("no longer valid").says("/_stytch/login");
    assert!(!other.has_session());
    one.send(&page, &fields).await.status(200);
    assert!(one.has_session());
}

/// What an attacker has: a token of their own, for which their browser knows the verifier.
async fn token_of_another(world: &World, fields: &[(&str, &str)]) -> String {
    let mut attacker = Browser::new(world);
    let page = attacker.visit("/").await;
    let start = attacker.leave(&page, fields).await;
    attacker.be(&start, "gil@globex.example").await
}

const BY_GOOGLE: [(&str, &str); 2] = [("action", "oauth"), ("provider", "google")];

#[tokio::test]
async fn k15_what_another_has_begun_signs_nobody_in() {
    let world = World::with(MEMBERS_AWAY).await;
    let planted = token_of_another(&world, &BY_GOOGLE).await;
    let mut browser = Browser::new(&world);
    let refused = browser.arrive(&planted).await.status(400).says("no longer valid");
    assert!(refused.text().contains("href=\"/_stytch/login\""), "with a fresh sign-in link");
    assert!(!browser.has_session());
    // A page of the sign-in is open, and nobody has left by it.
    browser.visit("/").await;
    browser.arrive(&planted).await.status(400);
    assert!(world.emulator.requests("/v1/b2b/oauth/discovery").is_empty(), "and Stytch is not asked");
}

#[tokio::test]
async fn k15_nor_when_this_browser_has_begun_as_well() {
    let world = World::with(MEMBERS_AWAY).await;
    let planted = token_of_another(&world, &BY_GOOGLE).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/reports").await;
    let start = browser.leave(&page, &BY_GOOGLE).await;
    // Stytch holds the verifier against the challenge, and does not take it.
    browser.arrive(&planted).await.status(400).says("You are not signed in yet");
    assert!(!browser.has_session());
    let back = browser.be(&start, "ben@acme.example").await;
    let page = browser.arrive(&back).await.status(303);
    assert_eq!(page.response.header("location"), Some("/reports"), "one's own trip goes on");
}

#[tokio::test]
async fn k15_a_token_of_another_kind_is_not_looked_at() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/reports").await;
    let start = browser.leave(&page, &BY_GOOGLE).await;
    let back = browser.be(&start, "ben@acme.example").await;
    let token = back.split("token=").last().unwrap();
    for kind in
        ["oauth", "sso", "magic_links", "multi_tenant_magic_links", "discovery", "Discovery_OAuth", "x"]
    {
        let page = browser.arrive(&format!("/_stytch/callback?stytch_token_type={kind}&token={token}")).await;
        page.status(400);
    }
    for kind in ["impersonation", "multi_tenant_impersonation", "reset_password", "multi_tenant_passwords"] {
        let page = browser.arrive(&format!("/_stytch/callback?stytch_token_type={kind}&token={token}")).await;
        page.status(400).says("does not sign you in");
    }
    let asked = world.emulator.requests("/v1/b2b/").iter().filter(|request| request.method == "POST").count();
    assert_eq!(asked, 0, "Stytch was asked nothing");
    browser.arrive(&back).await.status(303);
}

#[tokio::test]
async fn k16_the_way_back_works_once() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/reports").await;
    let start = browser.leave(&page, &BY_GOOGLE).await;
    let before = browser.jar.clone();
    let back = browser.be(&start, "ben@acme.example").await;
    browser.arrive(&back).await.status(303);
    let calls = world.emulator.requests("/v1/b2b/oauth/discovery/authenticate").len();
    // The token again; and with it the state, cookie and all, for another token.
    browser.arrive(&back).await.status(400);
    browser.jar = before;
    let other = browser.be(&start, "ana@acme.example").await;
    for target in [&back, &other] {
        browser.arrive(target).await.status(400).says("/_stytch/login?return_to=%2Freports");
    }
    assert_eq!(world.emulator.requests("/v1/b2b/oauth/discovery/authenticate").len(), calls);
    assert!(!browser.has_session());
}

#[tokio::test]
async fn k16_what_only_looks_uses_nothing_up() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/reports").await;
    browser.send(&page, &[("action", "link"), ("email", "ben@acme.example")]).await;
    let link = browser.link("ben@acme.example");
    // A scanner opens what is in a mail; something in between asks for the head alone.
    Browser::new(&world).arrive(&link).await.status(400);
    let cookies = browser.jar.iter().map(|(name, (value, _))| format!("{name}={value}")).collect::<Vec<_>>();
    world.request("HEAD", &link).header("Cookie", cookies.join("; ")).expect(400).await;
    let post = world.post(&link).header("Cookie", cookies.join("; ")).header("Origin", "http://app.test");
    post.refused(405, "method_not_allowed").await;
    assert!(world.emulator.requests("/v1/b2b/magic_links/discovery/authenticate").is_empty());
    assert_eq!(browser.arrive(&link).await.status(303).response.header("location"), Some("/reports"));
}

#[tokio::test]
async fn k16_a_hostile_host_is_in_no_link() {
    let world = World::with(MEMBERS_AWAY).await;
    for host in ["evil.test", "app.test.evil.test", "app.test:8443"] {
        let mut browser = Browser::new(&world).at(host);
        let page = browser.visit("/_stytch/login").await;
        browser.send_only(&page, &[("action", "link"), ("email", "ben@acme.example")]).await;
    }
    for message in world.emulator.outbox("ben@acme.example") {
        assert!(message.url.unwrap().starts_with("https://app.test/_stytch/callback?"));
    }
    let hostile = world.get("/_stytch/login").header("X-Forwarded-Host", "evil.test").expect(200).await;
    assert!(!hostile.text().contains("evil.test"));
}

#[tokio::test]
async fn k17_each_tab_works_and_nothing_works_twice() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    let (one, two) = (browser.visit("/one").await, browser.visit("/two").await);
    assert_eq!(browser.flows(), 2);
    let one = browser.send(&one, &[("action", "email"), ("email", "ben@acme.example")]).await;
    let code = browser.code("ben@acme.example");
    let two = browser.send(&two, &[("action", "email"), ("email", "gil@globex.example")]).await;
    let before = browser.jar.clone();
    let fields = [("action", "code"), ("code", code.as_str())];
    assert_eq!(browser.send_only(&one, &fields).await.response.header("location"), Some("/one"));
    let code = browser.code("gil@globex.example");
    let last = browser.send_only(&two, &[("action", "code"), ("code", &code)]).await;
    assert_eq!(last.response.header("location"), Some("/two"));
    // The same state once more, cookie and all.
    browser.jar = before;
    let again = browser.send_only(&one, &fields).await.status(400).says("no longer valid");
    assert!(again.text().contains("/_stytch/login?return_to=%2Fone"), "with a way to begin again");
    assert!(!browser.has_session());
}

#[tokio::test]
async fn k17_what_is_older_than_ten_minutes_begins_again() {
    let key = "0123456789abcdef0123456789abcdef";
    let world =
        World::with(&MEMBERS.replace("enabled = true", &format!("enabled = true\nstate_key = \"{key}\"")))
            .await;
    let sealer = Sealer::new(Some(&Secret::new(key))).unwrap();
    let name = "stytch_gateway_flow_AAAAAAAAAAAA";
    for (minutes, status) in [(9, 303), (11, 400)] {
        let mut state = State::new("/reports".to_owned(), Step::Start(Start::default()));
        state.made_at -= minutes * 60_000;
        let sealed = sealer.seal(&state, "app.test", name).unwrap();
        let mut browser = Browser::new(&world);
        browser.jar.insert(name.to_owned(), (sealed, "/_stytch".to_owned()));
        let fields = "action=email&email=ben%40acme.example&return_to=%2Freports";
        let body = format!("flow=AAAAAAAAAAAA&token={}&{fields}", state.token);
        let page = browser.post("/_stytch/login", &body, Some("http://app.test")).await.status(status);
        if status == 400 {
            page.says("older than ten minutes").says("/_stytch/login?return_to=%2Freports");
        }
    }
}

#[tokio::test]
async fn k18_there_are_never_more_than_a_few_state_cookies() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    let mut pages = Vec::new();
    for tab in 0..7 {
        pages.push(browser.visit(&format!("/{tab}")).await);
        assert!(browser.flows() <= 4);
    }
    browser.jar.insert("stytch_gateway_flow_AAAAAAAAAAAA".to_owned(), ("x".to_owned(), "/".to_owned()));
    let fields = [("action", "email"), ("email", "ben@acme.example")];
    browser.send_only(&pages[0], &fields).await.status(400);
    browser.visit("/again").await;
    assert!(!browser.jar.contains_key("stytch_gateway_flow_AAAAAAAAAAAA"), "what is no state is cleared");
    browser.send(&pages[6], &fields).await.says("Enter your code");
}

#[tokio::test]
async fn k19_whoever_signs_in_gets_a_session_of_their_own() {
    let world = World::with(USERS).await;
    let planted = world.emulator.session("vic@example.com").mint();
    world.revoke_user(&planted).await;
    let mut browser = Browser::new(&world);
    for (name, value) in
        [("stytch_session", &planted.session_token), ("stytch_session_jwt", &planted.session_jwt)]
    {
        browser.jar.insert(name.to_owned(), (value.clone(), "/".to_owned()));
    }
    browser.jar.remove("stytch_session_jwt");
    let page = browser.visit("/").await.status(200);
    assert!(!browser.jar.contains_key("stytch_session"), "cleared before the page is shown");
    let page = browser.send(&page, &[("action", "email"), ("email", "uma@example.com")]).await;
    let code = browser.code("uma@example.com");
    browser.send(&page, &[("action", "code"), ("code", &code)]).await.status(200);
    assert_ne!(browser.jar["stytch_session"].0, planted.session_token);
    assert_eq!(world.upstream.last().header("x-stytch-user-id"), world.emulator.user_id("uma@example.com"));
}

#[tokio::test]
async fn k20_a_living_session_of_another_does_not_become_theirs() {
    let world = World::with(USERS).await;
    let planted = world.emulator.session("vic@example.com").mint();
    let mut browser = Browser::new(&world);
    let page = browser.visit("/").await;
    browser.jar.insert("stytch_session".to_owned(), (planted.session_token.clone(), "/".to_owned()));
    let page = browser.send(&page, &[("action", "email"), ("email", "uma@example.com")]).await;
    let code = browser.code("uma@example.com");
    browser.send(&page, &[("action", "code"), ("code", &code)]).await.status(200);
    assert_ne!(browser.jar["stytch_session"].0, planted.session_token);
}

#[tokio::test]
async fn k21_no_other_site_signs_anybody_out() {
    let world = World::with(MEMBERS).await;
    let session = world.session_of("ben@acme.example", "acme");
    world.get("/_stytch/logout").with(&session).header("Sec-Fetch-Site", "cross-site").expect(200).await;
    let post = || world.post("/_stytch/logout").with(&session);
    post().header("Origin", "http://evil.test").refused(403, "cross_site_request").await;
    post().header("Origin", "null").refused(403, "cross_site_request").await;
    post().header("Sec-Fetch-Site", "cross-site").refused(403, "cross_site_request").await;
    post().header("Sec-Fetch-Site", "same-site").refused(403, "cross_site_request").await;
    world.get("/").with(&session).expect(200).await;
    post().header("Origin", "http://app.test").header("Sec-Fetch-Site", "same-origin").expect(200).await;
    world.get("/").with(&session).refused(401, "invalid_credential").await;
}

#[tokio::test]
async fn k23_only_a_navigation_is_sent_to_sign_in() {
    let world = World::with(MEMBERS).await;
    let html = "text/html,application/xhtml+xml,*/*;q=0.8";
    for (name, value) in [
        ("Accept", "*/*"),
        ("Accept", "application/json"),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Dest", "image"),
        ("X-Requested-With", "XMLHttpRequest"),
    ] {
        let mut request = world.get("/").header(name, value);
        if name != "Accept" {
            request = request.header("Accept", html);
        }
        let answer = request.refused(401, "unauthenticated").await;
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{name}: {value}");
        assert_eq!(answer.header("location"), None);
    }
    world.post("/").header("Accept", html).refused(401, "unauthenticated").await;
    for method in ["GET", "HEAD"] {
        let answer = world.request(method, "/a").header("Accept", html).expect(303).await;
        assert_eq!(answer.header("location"), Some("/_stytch/login?return_to=%2Fa"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn k25_a_circle_is_broken() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("/", "ben@acme.example").await.status(200);
    // A page that sends everybody back to sign in.
    let mut seen = 0;
    let last = loop {
        let page = browser.open("/_stytch/login?return_to=/circle").await;
        if page.response.status != 303 {
            break page;
        }
        seen += 1;
        assert!(seen < 4, "round and round");
    };
    last.status(508).says("goes round in circles");
    browser.open("/_stytch/login?return_to=/circle").await.status(303);
}

#[tokio::test]
async fn k26_cookies_that_do_not_come_back_are_told_of() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    for round in 0..3 {
        let page = browser.visit("/").await.status(200);
        let text = page.text();
        assert_eq!(text.contains("did not send the session back"), round > 0, "{text}");
        to_the_end(&mut browser, &page).await.status(303);
        browser.jar.remove("stytch_session");
        browser.jar.remove("stytch_session_jwt");
    }
    browser.visit("/").await.status(508).says("stytch_session_jwt").says("app.test");
}

#[tokio::test]
async fn k27_no_page_of_ours_is_framed() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    for place in ["/_stytch/login", "/_stytch/logout", "/_stytch/login?flow=AAAAAAAAAAAA"] {
        let page = browser.visit(place).await;
        let policy = page.response.header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe-"), "{policy}");
        assert_eq!(page.response.header("x-frame-options"), Some("DENY"));
        assert_eq!(page.response.all("cache-control"), ["no-store"]);
        assert!(!page.text().contains("<script"));
    }
    browser.sign_in("/", "ben@acme.example").await.status(200);
    assert_eq!(world.upstream.traffic().0, 1);
    let passed_on = browser.visit("/").await;
    assert_eq!(passed_on.response.header("x-frame-options"), None, "the application's pages are its own");
}
