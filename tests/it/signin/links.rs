//! Magic links: sent, opened where they were asked for, and elsewhere.

use std::time::Duration;

use serde_json::json;

use super::browser::{Browser, Page, escaped};
use super::{MEMBERS_AWAY, USERS_AWAY, session, told};
use crate::world::World;

async fn ask(browser: &mut Browser<'_>, target: &str, email: &str) -> Page {
    let page = browser.visit(target).await.says("E-mail me a link");
    browser.send(&page, &[("action", "link"), ("email", email)]).await.status(200)
}

#[tokio::test]
async fn a_link_leads_back_to_where_one_was_going() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    ask(&mut browser, "/reports?a=b", "ben@acme.example")
        .await
        .says("Check your e-mail")
        .says("ben@acme.example");
    let link = browser.link("ben@acme.example");
    let page = browser.arrive(&link).await;
    assert_eq!(browser.follow(page).await.at, "/reports?a=b");
    assert_eq!(session(&world, &browser).await["factors"], json!(["magic_link"]));
    assert_eq!(browser.flows(), 0);
    browser.arrive(&link).await.status(400);
}

#[tokio::test]
async fn a_known_organization_is_gone_into_at_once() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    ask(&mut browser, "/_stytch/login?organization=globex&return_to=/x", "ana@acme.example").await;
    let link = browser.link("ana@acme.example");
    assert!(link.contains("stytch_token_type=multi_tenant_magic_links"), "{link}");
    let page = browser.arrive(&link).await;
    assert_eq!(browser.follow(page).await.at, "/x");
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("globex"));
}

#[tokio::test]
async fn a_member_s_second_factor_comes_after_the_link() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    ask(&mut browser, "/_stytch/login?organization=acme&return_to=/x", "cho@acme.example").await;
    let link = browser.link("cho@acme.example");
    let page = browser.arrive(&link).await;
    let page = browser.follow(page).await.says("One more step");
    let code = browser.code("+15005550123");
    assert_eq!(browser.send(&page, &[("action", "code"), ("code", &code)]).await.at, "/x");
}

#[tokio::test]
async fn a_user_s_link() {
    let world = World::with(USERS_AWAY).await;
    let mut browser = Browser::new(&world);
    for email in ["uma@example.com", "new@example.com"] {
        browser.jar.clear();
        ask(&mut browser, "/x", email).await;
        let link = browser.link(email);
        assert!(link.contains("stytch_token_type=magic_links"), "{link}");
        let page = browser.arrive(&link).await;
        assert_eq!(browser.follow(page).await.at, "/x");
        assert_eq!(told(&world, "x-stytch-user-id"), world.emulator.user_id(email));
    }
}

#[tokio::test]
async fn opened_elsewhere_it_says_where_it_belongs() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let waiting = ask(&mut browser, "/reports", "ben@acme.example").await;
    let link = browser.link("ben@acme.example");
    let mut phone = Browser::new(&world);
    let page = phone.arrive(&link).await.status(400).says("Open the link where you asked for it");
    page.says("href=\"/_stytch/login\"");
    assert!(!phone.has_session());
    assert!(world.emulator.requests("/v1/b2b/magic_links/discovery").is_empty(), "it was not used up");
    // The address of that page, taken to where it belongs.
    let url = format!(" https://app.test{link}\n");
    let page = browser.send(&waiting, &[("action", "paste"), ("link", &url)]).await.status(200);
    assert_eq!(page.at, "/reports");
    assert!(browser.has_session());
}

#[tokio::test]
async fn what_is_pasted_is_held_to_the_same() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut other = Browser::new(&world);
    ask(&mut other, "/", "gil@globex.example").await;
    let others = format!("https://app.test{}", other.link("gil@globex.example"));
    let mut browser = Browser::new(&world);
    let mut page = ask(&mut browser, "/", "ben@acme.example").await;
    let own = format!("https://app.test{}", browser.link("ben@acme.example"));
    let of_another_kind = own.replace("=discovery", "=sso");
    for (text, complaint) in [
        ("", "not the address of a page"),
        ("https://app.test/reports", "not the address of a page"),
        (&of_another_kind, "not the address of a page"),
        (&others, "belongs to another sign-in"),
    ] {
        page = browser.send(&page, &[("action", "paste"), ("link", text)]).await.status(200).says(complaint);
    }
    assert!(!browser.has_session());
    browser.send(&page, &[("action", "paste"), ("link", &own)]).await.status(200);
    assert!(browser.has_session());
}

#[tokio::test]
async fn an_invitation_leads_to_its_organization() {
    let world = World::with(MEMBERS_AWAY).await;
    let body = json!({
        "organization_id": world.emulator.organization_id("acme"),
        "email_address": "new@acme.example",
        "invite_redirect_url": "https://app.test/_stytch/callback",
    });
    world.ask_stytch("/v1/b2b/magic_links/email/invite", &body).await.expect(200);
    let mut browser = Browser::new(&world);
    let link = browser.link("new@acme.example");
    browser.arrive(&link).await.status(400).says("href=\"/_stytch/login?organization=acme\"");
    browser.sign_in("/_stytch/login?organization=acme", "new@acme.example").await.status(200);
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("acme"));
}

#[tokio::test]
async fn any_link_of_a_flow_leads_back_to_it() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = ask(&mut browser, "/x", "ben@acme.example").await;
    let first = browser.link("ben@acme.example");
    let page = browser.send(&page, &[("action", "resend")]).await.says("sent a moment ago");
    assert_eq!(world.emulator.outbox("ben@acme.example").len(), 1);
    browser.send(&page, &[("action", "restart")]).await.says("E-mail me a link");
    // That flow has ended, and a link of it belongs to no other.
    ask(&mut browser, "/x", "ben@acme.example").await;
    browser.arrive(&first).await.status(400).says("belongs to another sign-in").says("/_stytch/login?flow=");
    let link = browser.link("ben@acme.example");
    browser.arrive(&link).await.status(303);
}

#[tokio::test]
async fn a_link_that_is_too_old_is_told() {
    let world = World::with(&format!("{MEMBERS_AWAY}\n[session]\nleeway = \"60s\"\n")).await;
    let mut browser = Browser::new(&world);
    ask(&mut browser, "/x", "ben@acme.example").await;
    let link = browser.link("ben@acme.example");
    world.emulator.advance_clock(Duration::from_secs(11 * 60));
    browser.arrive(&link).await.status(400).says("no longer valid").says("/_stytch/login?flow=");
}

#[tokio::test]
async fn known_and_unknown_addresses_get_the_same_answer() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut shown = Vec::new();
    for email in ["ben@acme.example", "who@acme.example"] {
        for start in
            ["/_stytch/login", "/_stytch/login?organization=acme", "/_stytch/login?organization=none"]
        {
            let mut browser = Browser::new(&world);
            let text = ask(&mut browser, start, email).await.text().replace(email, "ADDRESS");
            let mut parts = text.split("value=\"");
            let before = parts.next().unwrap().to_owned();
            let rest = parts.map(|part| part.split_once('"').unwrap().1);
            shown.push(rest.fold(before, |text, part| text + part));
        }
    }
    assert!(shown[0].contains("is on its way"));
    assert!(shown.iter().all(|one| *one == shown[0]));
}

#[tokio::test]
async fn a_recipient_is_not_flooded() {
    let world = World::with(MEMBERS_AWAY).await;
    for attempt in 0..8 {
        let page = ask(&mut Browser::new(&world), "/", "ben@acme.example").await;
        page.says(if attempt < 6 { "Check your e-mail" } else { "Too many attempts" });
    }
    assert_eq!(world.emulator.outbox("ben@acme.example").len(), 6);
}

#[tokio::test]
async fn an_address_that_is_none_is_told() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    ask(&mut browser, "/", "ben").await.says("check the e-mail address");
    assert!(world.emulator.requests("/v1/b2b/magic_links").is_empty());
    let (action, body) = ("/_stytch/callback", format!("token={}", escaped("x")));
    browser.post(action, &body, Some("http://app.test")).await.status(405);
}
