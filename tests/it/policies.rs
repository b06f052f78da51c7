//! One policy, one answer: whatever roles and scopes a project defines, the gateway's own judgement
//! is that of Stytch, asked with the session, and that of the official SDKs.
//!
//! What was generated is left in the build's own folder for `tests/sdk`, where the Python SDK judges
//! the same.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use stytch_gateway::access::authz::policy::{Policy, Roles, Wanted};
use stytch_gateway::config::Secret;
use stytch_gateway::stytch::{Client, Vertical};

use crate::world::World;

const CASES: u32 = 150;
const ROLES: [&str; 5] = ["stytch_member", "admin", "editor", "viewer", "läser, zweiter"];
const RESOURCES: [&str; 3] = ["documents", "billing", "stytch.member"];
const ACTIONS: [&str; 4] = ["read", "write", "delete", "*"];
const SCOPES: [&str; 4] = ["openid", "read:documents", "write:documents", "full_access"];

#[derive(Debug, Clone)]
struct Case {
    project: Value,
    own: Value,
    scopes: Value,
    held: Vec<&'static str>,
    token: Vec<&'static str>,
    resource: &'static str,
    action: &'static str,
}

fn permissions() -> impl Strategy<Value = Value> {
    let one = (select(&RESOURCES[..]), subsequence(&ACTIONS[..], 1..=2))
        .prop_map(|(resource, actions)| json!({ "resource_id": resource, "actions": actions }));
    prop::collection::vec(one, 0..4).prop_map(Value::from)
}

/// Some of these names, each with permissions of its own.
fn named(names: &'static [&'static str], key: &'static str) -> impl Strategy<Value = Value> {
    let each = move |names: Vec<&'static str>| {
        let count = names.len();
        (Just(names), prop::collection::vec(permissions(), count))
    };
    subsequence(names, 0..=names.len()).prop_shuffle().prop_flat_map(each).prop_map(
        move |(names, permissions)| {
            let entry =
                |(name, permissions)| json!({ key: name, "description": "", "permissions": permissions });
            names.into_iter().zip(permissions).map(entry).collect()
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let policy = (named(&ROLES, "role_id"), named(&ROLES[1..], "role_id"), named(&SCOPES, "scope"));
    let asked = (
        subsequence(&ROLES[1..], 0..ROLES.len()),
        subsequence(&SCOPES[..], 0..=SCOPES.len()),
        select(vec!["documents", "billing", "stytch.member", "unheard-of", "*"]),
        select(vec!["read", "write", "delete", "audit", "*"]),
    );
    (policy, asked).prop_map(|((project, own, scopes), (held, token, resource, action))| Case {
        project,
        own,
        scopes,
        held,
        token,
        resource,
        action,
    })
}

/// The gateway's own judgement, from what its client fetched.
struct Here {
    roles: Vec<String>,
    /// Without the organization's own.
    by_project: bool,
    scopes: bool,
}

async fn judge_here(client: &Client, organization: &str, held: &[String], case: &Case) -> Here {
    let policy = client.policy().await.expect("a policy").policy.expect("a policy");
    let own = client.organization_policy(organization).await.expect("roles").org_policy.expect("roles");
    let (policy, own) = (Policy::new(policy), Roles::new(&own.roles));
    let wanted = Wanted { resource: case.resource, action: case.action };
    let token: Vec<String> = case.token.iter().map(ToString::to_string).collect();
    let roles = policy.granting(&own, held, wanted).into_iter().map(str::to_owned).collect();
    let by_project = !policy.granting(&Roles::default(), held, wanted).is_empty();
    Here { roles, by_project, scopes: policy.permits_scopes(&token, wanted) }
}

/// Sets the case up, judges it on both sides, and tells of it for a third.
async fn judge(world: &World, client: &Client, case: &Case) -> Result<Value, TestCaseError> {
    let emulator = &world.emulator;
    let all: Vec<Value> = ROLES.iter().map(|id| json!({ "role_id": id, "permissions": [] })).collect();
    let session = world.session_of("ben@acme.example", "acme");
    let member = world.claims(&session)["sub"].as_str().expect("a member").to_owned();
    // A role that is held may be gone from the policy.
    emulator.set_policy(json!({ "roles": all })).expect("a policy");
    emulator.patch_member(&member, json!({ "roles": case.held })).expect("known roles");
    emulator.set_policy(json!({ "roles": case.project, "scopes": case.scopes })).expect("a policy");
    emulator.set_custom_roles("acme", case.own.clone()).expect("roles");

    let session = world.session_of("ben@acme.example", "acme");
    let claims = world.claims(&session);
    let held: Vec<String> =
        serde_json::from_value(claims["https://stytch.com/session"]["roles"].clone()).expect("roles");
    let organization =
        claims["https://stytch.com/organization"]["organization_id"].as_str().expect("an organization");
    let here = judge_here(client, organization, &held, case).await;

    let check =
        json!({ "organization_id": organization, "resource_id": case.resource, "action": case.action });
    let asked = json!({ "session_token": session.session_token, "authorization_check": check });
    let answer = world.ask_stytch("/v1/b2b/sessions/authenticate", &asked).await;
    match answer.status {
        200 => prop_assert_eq!(&answer.json()["verdict"]["granting_roles"], &json!(here.roles)),
        403 => prop_assert!(here.roles.is_empty(), "{:?}", here.roles),
        other => prop_assert!(false, "{}: {}", other, answer.text()),
    }
    Ok(json!({
        "policy": { "roles": case.project, "scopes": case.scopes, "resources": [] },
        "org_policy": { "roles": case.own },
        "session_roles": held,
        "token_scopes": case.token,
        "check": check,
        "permitted": !here.roles.is_empty(),
        "permitted_by_project": here.by_project,
        "permitted_by_scopes": here.scopes,
    }))
}

#[test]
fn one_policy_has_one_answer() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let world = runtime.block_on(World::start());
    let url = world.emulator.url().parse().expect("a URL");
    let secret = Secret::new(world.emulator.secret().to_owned());
    let timeout = std::time::Duration::from_secs(10);
    let client = Client::new(&url, world.emulator.project_id(), &secret, Vertical::B2b, timeout);
    let client = client.unwrap_or_else(|error| panic!("{error}"));
    let judged = std::cell::RefCell::new(Vec::new());
    let settings = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(settings).run(&case(), |case| {
        let told = runtime.block_on(judge(&world, &client, &case))?;
        judged.borrow_mut().push(told);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let judged = judged.into_inner();
    for key in ["permitted", "permitted_by_project", "permitted_by_scopes"] {
        let yes = judged.iter().filter(|case| case[key] == true).count();
        assert!((10..judged.len() - 10).contains(&yes), "{key}: {yes} of {}", judged.len());
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(folder.join("policies.json"), Value::from(judged).to_string()).expect("a place for it");
    drop(world);
    drop(runtime);
}
