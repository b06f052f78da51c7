//! Single sign-on: by an organization's own identity provider.

use serde_json::json;

use super::browser::Browser;
use super::{MEMBERS_AWAY, session, told};
use crate::world::World;

#[tokio::test]
async fn an_organization_that_is_named_leads_to_its_provider() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/reports").await.says("Continue with single sign-on").says("Your organization");
    let fields = [("action", "sso"), ("organization", " acme ")];
    let start = browser.leave(&page, &fields).await;
    assert!(start.starts_with("/v1/public/sso/start?"), "{start}");
    assert!(
        start.contains("connection_id=saml-connection-test-acme") && start.contains("pkce_code_challenge=")
    );
    let back = browser.be(&start, "ben@acme.example").await;
    let page = browser.arrive(&back).await;
    assert_eq!(browser.follow(page).await.at, "/reports");
    assert_eq!(told(&world, "x-stytch-member-id"), world.emulator.member_id("acme", "ben@acme.example"));
    assert_eq!(session(&world, &browser).await["factors"], json!(["sso"]));
}

#[tokio::test]
async fn a_known_organization_or_connection_needs_no_name() {
    let world = World::with(MEMBERS_AWAY).await;
    for query in ["organization=acme", "connection_id=saml-connection-test-acme"] {
        let mut browser = Browser::new(&world);
        let page = browser.visit(&format!("/_stytch/login?{query}&return_to=/x")).await;
        assert!(!page.text().contains("Your organization"), "{query}");
        assert_eq!(browser.trip(&page, &[("action", "sso")], "ben@acme.example").await.at, "/x", "{query}");
    }
}

#[tokio::test]
async fn where_there_is_none_is_told_the_same() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let mut page = browser.visit("/").await;
    for organization in ["globex", "nobody", "../acme", "a", ""] {
        let fields = [("action", "sso"), ("organization", organization)];
        page = browser.send(&page, &fields).await.status(200).says("There is no single sign-on");
    }
}

const SEVERAL: &str = r#"
[[organizations]]
organization_slug = "acme"
sso_active_connections = [
    { connection_id = "saml-connection-test-1", display_name = "Head office" },
    { connection_id = "oidc-connection-test-2", display_name = "Branches" },
]
[[members]]
organization_id = "acme"
email_address = "ben@acme.example"
"#;

#[tokio::test]
async fn of_several_connections_the_usual_one_or_a_choice() {
    let world = World::builder().seed(SEVERAL).with(MEMBERS_AWAY).start().await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/_stytch/login?organization=acme&return_to=/x").await;
    let page = browser.send(&page, &[("action", "sso")]).await.says("Where do you want to sign in?");
    let branches = page.button("Branches");
    browser.send_only(&page, &[("connection", "saml-connection-test-nobodys")]).await.status(400);
    let mut again = Browser::new(&world);
    let page = again.visit("/_stytch/login?organization=acme&return_to=/x").await;
    let page = again.send(&page, &[("action", "sso")]).await;
    let start = again.leave(&page, &[("connection", &branches)]).await;
    assert!(start.contains("connection_id=oidc-connection-test-2"), "{start}");
    let back = again.be(&start, "ben@acme.example").await;
    let page = again.arrive(&back).await;
    assert_eq!(again.follow(page).await.at, "/x");

    let usual = SEVERAL
        .replace("\n[[members]]", "\nsso_default_connection_id = \"oidc-connection-test-2\"\n[[members]]");
    let world = World::builder().seed(&usual).with(MEMBERS_AWAY).start().await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/_stytch/login?organization=acme&return_to=/x").await;
    let start = browser.leave(&page, &[("action", "sso")]).await;
    assert!(start.contains("connection_id=oidc-connection-test-2"), "{start}");
}

#[tokio::test]
async fn an_outage_loses_no_step() {
    let world = World::with(MEMBERS_AWAY).await;
    let mut browser = Browser::new(&world);
    let page = browser.visit("/_stytch/login?organization=acme&return_to=/x").await;
    world.emulator.fault(stytch_emulator::Fault {
        status: Some(503),
        ..stytch_emulator::Fault::on("/v1/b2b/organizations")
    });
    browser.send_only(&page, &[("action", "sso")]).await.status(503).says("cannot be reached");
    world.emulator.clear_faults();
    let flow = browser.jar.keys().find_map(|name| name.strip_prefix("stytch_gateway_flow_")).unwrap();
    let page = browser.visit(&format!("/_stytch/login?flow={}", flow.to_owned())).await;
    assert_eq!(browser.trip(&page, &[("action", "sso")], "ben@acme.example").await.at, "/x");
}
