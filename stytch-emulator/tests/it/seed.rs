//! Worlds written by hand.

use serde_json::json;
use stytch_emulator::World;

use crate::support::Scene;

/// The example that the documentation shows, so that it stays true.
const SEED: &str = include_str!("../../example-seed.toml");

#[tokio::test]
async fn a_seed_replaces_the_built_in_world() {
    let scene = Scene::seeded(SEED).await;
    assert_eq!(scene.emulator.project_id(), "project-test-11111111-1111-1111-1111-111111111111");
    assert_eq!(scene.emulator.secret(), "secret-test-fixed");
    let organization = scene.get("/v1/b2b/organizations/customer-7").await.good()["organization"].clone();
    assert_eq!(organization["trusted_metadata"], json!({ "tier": "gold" }));
    assert_eq!(organization["email_jit_provisioning"], "RESTRICTED");
    let member = scene.emulator.session("mel@initech.example").organization("initech").mint();
    let body = scene.authenticate(&member.session_token).await.good();
    assert_eq!(body["member_session"]["roles"], json!(["stytch_member", "stapler", "boss"]));
    assert_eq!(body["member"]["default_mfa_method"], "sms_otp");
    scene.emulator.session("kim@example.com").factors(["otp", "totp"]).mint();
    let policy = scene.get("/v1/b2b/rbac/policy").await.good();
    assert_eq!(policy["policy"]["scopes"][0]["scope"], "staple:desk");
    let world = scene.emulator.world();
    assert_eq!(world["connected_apps"][0]["client_type"], "first_party");
    assert_eq!(world["m2m_clients"][0]["client_id"], "m2m-client-test-printer");
}

#[test]
fn a_misspelt_field_is_named_with_its_line() {
    let error =
        World::from_toml("[[organizations]]\norganization_slug = \"a1\"\nname = \"A\"\n").unwrap_err();
    let said = error.to_string();
    assert!(said.contains("line 3") && said.contains("name"), "{said}");
}

#[test]
fn mistakes_of_meaning_come_all_at_once() {
    let seed = r#"
        [[organizations]]
        organization_slug = "a1"
        [[organizations]]
        organization_slug = "a1"
        [[organizations]]
        organization_slug = "white space"
        [[members]]
        organization_id = "nowhere"
        email_address = "one@a.example"
        [[members]]
        organization_id = "a1"
        email_address = "two"
        roles = ["king"]
        mfa_enrolled = true
        [[users]]
    "#;
    let said = World::from_toml(seed).unwrap_err().to_string();
    for hint in [
        "a1 is there twice",
        "white space",
        "no organization is called nowhere",
        "two: is no e-mail address",
        "no role is called king",
        "mfa_phone_number",
        "neither emails nor phone_numbers",
    ] {
        assert!(said.contains(hint), "{hint}: {said}");
    }
}
