//! Organizations that are joined, and organizations that are created.

use stytch_emulator::Fault;

use super::browser::Browser;
use super::{MEMBERS, told};
use crate::world::World;

const CREATE: &str = "/v1/b2b/discovery/organizations/create";

/// What is there besides: an organization that is open to a domain, one that has invited somebody,
/// one that somebody has begun to join.
const SEED: &str = r#"
[[organizations]]
organization_slug = "acme"
organization_name = "Acme"
[[organizations]]
organization_slug = "open"
organization_name = "Open & Sons"
email_allowed_domains = ["open.example"]
[[organizations]]
organization_slug = "strict"
organization_name = "Strict"
mfa_policy = "REQUIRED_FOR_ALL"
[[organizations]]
organization_slug = "federal"
organization_name = "Federal"
allowed_auth_methods = ["sso"]
[[members]]
organization_id = "acme"
email_address = "ana@open.example"
status = "invited"
[[members]]
organization_id = "strict"
email_address = "ana@open.example"
status = "pending"
[[members]]
organization_id = "federal"
email_address = "ana@open.example"
[[members]]
organization_id = "acme"
email_address = "ben@acme.example"
"#;

async fn world() -> World {
    let settings = MEMBERS.replace("enabled = true", "enabled = true\ncreate_organizations = true");
    World::builder().seed(SEED).with(&settings).start().await
}

#[tokio::test]
async fn somebody_without_an_organization_creates_one() {
    let world = world().await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/reports", "zoe@initech.example").await;
    let page = page.status(200).says("belongs to no organization here").says("Name of the organization");
    assert!(!browser.has_session());
    let asks = |name, slug| [("action", "create"), ("name", name), ("slug", slug)];
    let page = browser.send(&page, &asks("  ", "")).await.says("another name");
    let page = browser.send(&page, &asks("Initech & Sons", "a b")).await.says("check the short name");
    assert!(world.emulator.requests(CREATE).is_empty(), "what is no good is not sent");
    let page = page.says("value=\"Initech &amp; Sons\"").says("value=\"a b\"");
    let page = browser.send(&page, &asks("Initech & Sons", "acme")).await.says("has this short name already");
    assert!(!browser.has_session());
    let page = browser.send(&page, &asks(" Initech & Sons ", "")).await.status(200);
    assert_eq!(page.at, "/reports");
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("initech-sons"));
    assert_eq!(told(&world, "x-stytch-roles").as_deref(), Some("stytch_member,stytch_admin"));
    assert_eq!(browser.flows(), 0);
    // From then on it is gone into at once.
    Browser::new(&world).sign_in("/", "zoe@initech.example").await.status(200);
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("initech-sons"));
}

#[tokio::test]
async fn a_short_name_may_be_given() {
    let world = world().await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/", "zoe@initech.example").await;
    let fields = [("action", "create"), ("name", "Initech"), ("slug", "in.it")];
    browser.send(&page, &fields).await.status(200);
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("in.it"));
}

#[tokio::test]
async fn whoever_has_a_choice_may_create_another() {
    let world = world().await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/", "ana@open.example").await.says("Create an organization");
    let page = browser.send(&page, &[("action", "create")]).await.says("its first member");
    let page = browser.send(&page, &[("action", "choose")]).await.says("Choose an organization");
    let page = browser.send(&page, &[("action", "create")]).await;
    let fields = [("action", "create"), ("name", "Another"), ("slug", "")];
    browser.send(&page, &fields).await.status(200);
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("another"));
}

#[tokio::test]
async fn whoever_is_signed_in_proves_the_address_again() {
    let world = world().await;
    let mut browser = Browser::new(&world);
    browser.sign_in("/", "ben@acme.example").await.status(200);
    let page = browser.visit("/_stytch/organizations?return_to=%2Fx").await;
    let page = page.says("href=\"/_stytch/login?return_to=%2Fx&amp;create\">Create an organization");
    drop(page);
    let page = browser.sign_in("/_stytch/login?return_to=%2Fx&create", "ben@acme.example").await;
    let page = page.says("Name of the organization");
    let page = browser.send(&page, &[("action", "create"), ("name", "Ben's"), ("slug", "")]).await;
    assert_eq!(page.status(200).at, "/x");
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("ben-s"));
}

#[tokio::test]
async fn an_outage_keeps_what_was_written() {
    let world = world().await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/", "zoe@initech.example").await;
    world.emulator.fault(Fault { status: Some(503), ..Fault::on(CREATE) });
    let fields = [("action", "create"), ("name", "Initech"), ("slug", "")];
    browser.send(&page, &fields).await.status(503).says("cannot be reached");
    world.emulator.clear_faults();
    let page = browser.visit(&page.at).await.says("Name of the organization");
    browser.send(&page, &fields).await.status(200);
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("initech"));
}

#[tokio::test]
async fn nobody_creates_one_unless_it_is_switched_on() {
    let world = World::builder().seed(SEED).with(MEMBERS).start().await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/", "zoe@initech.example").await.says("ask an administrator to invite you");
    assert!(!page.text().contains("Create"));
    let mut ana = Browser::new(&world);
    let page = ana.sign_in("/_stytch/login?create", "ana@open.example").await;
    assert!(!page.text().contains("Create an organization"));
    ana.send_only(&page, &[("action", "create"), ("name", "Mine")]).await.status(400);
    assert!(world.emulator.requests(CREATE).is_empty());
}

#[tokio::test]
async fn who_may_join_is_told_so_and_asked() {
    let world = World::builder().seed(SEED).with(MEMBERS).start().await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/", "ana@open.example").await.says("Join Acme").says("You are invited.");
    let page = page.says("Join Strict").says("not finished joining").says(">Federal<");
    let page = page.says("Join Open &amp; Sons").says("address of your domain");
    let open = page.button("Join Open &amp; Sons");
    browser.send(&page, &[("organization", &open)]).await.status(200);
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("open"));

    // One that may be joined is not joined unasked, though it is the only one.
    let mut new = Browser::new(&world);
    let page = new.sign_in("/", "new@open.example").await.says("Join Open &amp; Sons");
    assert!(!new.has_session() && world.emulator.member_id("open", "new@open.example").is_none());
    new.send(&page, &[("organization", &open)]).await.status(200);
    assert!(world.emulator.member_id("open", "new@open.example").is_some());
}

#[tokio::test]
async fn what_an_organization_asks_for_comes_after_the_choice() {
    let world = World::builder().seed(SEED).with(MEMBERS).start().await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/", "ana@open.example").await;
    let federal = page.button("Federal");
    browser.send(&page, &[("organization", &federal)]).await.says("Another way to sign in").says("Federal");
    assert!(!browser.has_session());
    let mut again = Browser::new(&world);
    let page = again.sign_in("/", "ana@open.example").await;
    let strict = page.button("Join Strict");
    let page = again.send(&page, &[("organization", &strict)]).await.says("asks for a second factor");
    let page = again.send(&page, &[("action", "phone"), ("phone", "+15005550123")]).await;
    let code = again.code("+15005550123");
    again.send(&page, &[("action", "code"), ("code", &code)]).await.status(200);
    assert_eq!(told(&world, "x-stytch-organization-slug").as_deref(), Some("strict"));
}
