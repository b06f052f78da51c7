//! Who may do what: policies, an organization's own roles, and checks of a session.

use serde_json::{Value, json};

use crate::support::{Answer, Scene, text};

#[tokio::test]
async fn each_vertical_has_its_policy() {
    let scene = Scene::start().await;
    let ids = |policy: &Value| -> Vec<String> {
        policy["policy"]["roles"].as_array().unwrap().iter().map(|role| text(role, "role_id")).collect()
    };
    let b2b = scene.get("/v1/b2b/rbac/policy").await.good();
    assert_eq!(ids(&b2b), ["stytch_member", "stytch_admin", "admin", "editor"]);
    let consumer = scene.get("/v1/rbac/policy").await.good();
    assert_eq!(ids(&consumer), ["stytch_user", "admin", "editor"]);
    let resources: Vec<_> = b2b["policy"]["resources"].as_array().unwrap().iter().collect();
    assert!(resources.iter().any(|one| one["resource_id"] == "documents"));
    assert!(resources.iter().any(|one| one["resource_id"] == "stytch.self"));
}

#[tokio::test]
async fn an_organizations_own_roles_count_in_it() {
    let scene = Scene::start().await;
    let roles = json!([{ "role_id": "clerk", "description": "", "permissions": [
        { "resource_id": "billing", "actions": ["read"] },
    ]}]);
    let policy = scene.get("/v1/b2b/rbac/organizations/acme").await.good();
    assert_eq!(policy["org_policy"]["roles"], json!([]));
    let body = json!({ "org_policy": { "roles": roles }, "organization_id": "globex" });
    scene.put("/v1/b2b/rbac/organizations/acme", body).await.good();
    assert_eq!(scene.get("/v1/b2b/rbac/organizations/acme").await.good()["org_policy"]["roles"], roles);
    let cho = scene.member_id("cho@acme.example");
    scene.emulator.patch_member(&cho, json!({ "roles": ["clerk"] })).unwrap();
    let session = scene.emulator.session("cho@acme.example").organization("acme").mint();
    let request = json!({ "session_token": session.session_token, "authorization_check": {
        "organization_id": "acme", "resource_id": "billing", "action": "read",
    }});
    let body = scene.post("/v1/b2b/sessions/authenticate", request).await.good();
    assert_eq!(body["verdict"]["granting_roles"], json!(["clerk"]));
}

async fn may(scene: &Scene, token: &str, organization: &str, resource: &str, action: &str) -> Answer {
    let check = json!({ "organization_id": organization, "resource_id": resource, "action": action });
    let request = json!({ "session_token": token, "authorization_check": check });
    scene.post("/v1/b2b/sessions/authenticate", request).await
}

#[tokio::test]
async fn a_check_names_every_role_that_grants_and_the_implicit_ones_count() {
    let scene = Scene::start().await;
    let token = scene.emulator.session("ben@acme.example").organization("acme").mint().session_token;
    let granting = async |resource, action| {
        may(&scene, &token, "acme", resource, action).await.good()["verdict"].clone()
    };
    let verdict = granting("documents", "read").await;
    assert_eq!(verdict, json!({ "authorized": true, "granting_roles": ["stytch_member", "editor"] }));
    assert_eq!(granting("stytch.self", "anything").await["granting_roles"], json!(["stytch_member"]));
    let by_id = may(&scene, &token, &scene.organization_id("acme"), "documents", "write").await.good();
    assert_eq!(by_id["verdict"]["granting_roles"], json!(["editor"]));
    assert_eq!(scene.authenticate(&token).await.good()["verdict"], Value::Null, "none was asked for");
}

#[tokio::test]
async fn a_failed_check_is_a_refusal_and_leaves_the_session_as_it_was() {
    let scene = Scene::start().await;
    let token = scene.emulator.session("ben@acme.example").organization("acme").mint().session_token;
    let before = scene.authenticate(&token).await.good()["member_session"]["last_accessed_at"].clone();
    scene.emulator.advance_clock(std::time::Duration::from_secs(60));
    for (resource, action) in [
        ("billing", "pay"),
        ("documents", "delete"),
        // A wildcard is something a policy says, not a request; resources have none.
        ("documents", "*"),
        ("*", "read"),
        ("nothing", "read"),
    ] {
        may(&scene, &token, "acme", resource, action).await.refused(403, "session_authorization_error");
    }
    for other in ["globex", "none", ""] {
        let answer = may(&scene, &token, other, "documents", "read").await;
        answer.refused(403, "session_authorization_tenancy_error");
    }
    let list =
        format!("/v1/b2b/sessions?organization_id=acme&member_id={}", scene.member_id("ben@acme.example"));
    let listed = scene.get(&list).await.good()["member_sessions"][0]["last_accessed_at"].clone();
    assert_eq!(listed, before);
}

#[tokio::test]
async fn consumers_have_their_own_roles_and_refusal() {
    let scene = Scene::start().await;
    let token = scene.emulator.session("uma@example.com").mint().session_token;
    let check = async |action: &str| {
        let check = json!({ "resource_id": "documents", "action": action });
        let request = json!({ "session_token": token, "authorization_check": check });
        scene.post("/v1/sessions/authenticate", request).await
    };
    assert_eq!(check("read").await.good()["verdict"]["granting_roles"], json!(["stytch_user"]));
    check("write").await.refused(403, "consumer_session_authorization_error");
}

#[tokio::test]
async fn a_test_sets_the_policy_and_an_organizations_roles() {
    let scene = Scene::start().await;
    let policy = json!({
        "roles": [
            { "role_id": "stytch_member", "description": "", "permissions": [] },
            { "role_id": "editor", "description": "", "permissions": [
                { "resource_id": "pages", "actions": ["read"] },
                { "resource_id": "pages", "actions": ["read", "turn"] },
            ]},
        ],
        "resources": [{ "resource_id": "books", "description": "", "actions": ["read"] }],
        "scopes": [{ "scope": "turn:pages", "description": "", "permissions": [] }],
    });
    scene.emulator.set_policy(policy.clone()).unwrap();
    let custom = json!([{ "role_id": "editor", "description": "", "permissions": [
        { "resource_id": "pages", "actions": ["turn", "tear"] },
    ]}]);
    scene.emulator.set_custom_roles("acme", custom.clone()).unwrap();
    let shown = scene.get("/v1/b2b/rbac/policy").await.good()["policy"].clone();
    assert_eq!((&shown["roles"][0], &shown["roles"][1]), (&policy["roles"][0], &policy["roles"][1]));
    assert_eq!(text(&shown["roles"][2], "role_id"), "stytch_admin", "reserved roles are always there");
    assert_eq!(shown["scopes"], policy["scopes"]);
    let pages = json!({ "resource_id": "pages", "description": "", "actions": ["read", "turn"] });
    assert_eq!((&shown["resources"][0], &shown["resources"][1]), (&policy["resources"][0], &pages));
    assert_eq!(scene.get("/v1/b2b/rbac/organizations/acme").await.good()["org_policy"]["roles"], custom);

    let token = scene.emulator.session("ben@acme.example").organization("acme").mint().session_token;
    for action in ["read", "turn", "tear"] {
        let body = may(&scene, &token, "acme", "pages", action).await.good();
        assert_eq!(body["verdict"]["granting_roles"], json!(["editor"]), "{action}");
    }
    may(&scene, &token, "acme", "documents", "read").await.refused(403, "session_authorization_error");

    assert!(scene.emulator.set_policy(json!({ "rules": [] })).is_err());
    let twice = json!({ "roles": [{ "role_id": "a" }, { "role_id": "a" }] });
    assert!(scene.emulator.set_policy(twice).unwrap_err().to_string().contains("twice"));
    assert!(scene.emulator.set_custom_roles("none", json!([])).is_err());
}
