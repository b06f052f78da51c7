//! What Stytch's RBAC permits: judged here by a copy of the policy, or by Stytch (DESIGN.md
//! section 6).

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use stytch_emulator::{Fault, Session};

use crate::echo::Received;
use crate::world::{World, eventually, until};

const AUTHENTICATE: &str = "/v1/b2b/sessions/authenticate";
const PROJECT: &str = "/v1/b2b/rbac/policy";
const ORGANIZATIONS: &str = "/v1/b2b/rbac/organizations/";

/// Routes that ask for an action on `documents`, by its name, judged here under `/local` and by
/// Stytch under `/remote`; and one that asks for a session alone.
fn routes(settings: &str) -> String {
    let mut toml = settings.to_owned();
    for check in ["local", "remote"] {
        for action in ["read", "write", "delete", "audit"] {
            toml.push_str(&format!(
                "[[routes]]\npath = \"/{check}/{action}\"\nupstream = \"app\"\n\
                 allow.permission = {{ resource = \"documents\", action = \"{action}\", check = \"{check}\" }}\n"
            ));
        }
    }
    toml + "[[routes]]\npath = \"/*\"\nupstream = \"app\"\n"
}

async fn world(settings: &str) -> World {
    World::with(&routes(settings)).await
}

fn granting(received: &Received) -> Vec<String> {
    let headers = received.headers().into_iter();
    headers.filter(|(name, _)| name == "x-stytch-granting-roles").map(|(_, value)| value).collect()
}

fn role(id: &str, actions: &[&str]) -> Value {
    let permissions = json!([{ "resource_id": "documents", "actions": actions }]);
    json!({ "role_id": id, "description": "", "permissions": permissions })
}

fn unavailable() -> Fault {
    Fault { status: Some(503), ..Fault::on("/v1/b2b/rbac/") }
}

/// A session of ben's in `acme`, where he has this role on top of that of an editor.
fn with_role(world: &World, role: &str) -> Session {
    let session = world.session_of("ben@acme.example", "acme");
    let id = world.claims(&session)["sub"].as_str().unwrap().to_owned();
    world.emulator.patch_member(&id, json!({ "roles": ["editor", role] })).unwrap();
    world.session_of("ben@acme.example", "acme")
}

#[tokio::test]
async fn what_roles_permit_passes_whoever_judges() {
    let world = world("").await;
    let (ana, ben) =
        (world.session_of("ana@acme.example", "acme"), world.session_of("ben@acme.example", "acme"));
    for check in ["local", "remote"] {
        for (session, action, roles) in [
            (&ana, "read", "stytch_member,admin"),
            (&ana, "delete", "admin"),
            (&ben, "read", "stytch_member,editor"),
            (&ben, "write", "editor"),
        ] {
            for _ in 0..2 {
                world.get(&format!("/{check}/{action}")).with(session).expect(200).await;
                assert_eq!(granting(&world.upstream.last()), [roles], "{check} {action}");
            }
        }
        for _ in 0..2 {
            world.get(&format!("/{check}/delete")).with(&ben).refused(403, "permission_denied").await;
        }
        // What was refused is a session all the same.
        let response = world.get("/").with(&ben).expect(200).await;
        assert_eq!(
            response.all("set-cookie").iter().filter(|cookie| cookie.contains("Max-Age=0")).count(),
            0
        );
        world.get(&format!("/{check}/read")).refused(401, "unauthenticated").await;
    }
    world.get("/").with(&ana).expect(200).await;
    assert!(granting(&world.upstream.last()).is_empty(), "no permission was asked for");
    assert_eq!(world.emulator.requests(PROJECT).len(), 1);
    assert_eq!(world.emulator.requests(ORGANIZATIONS).len(), 1);
}

#[tokio::test]
async fn what_is_refused_here_is_not_asked_of_stytch() {
    let world = world("").await;
    let session = world.session_of("ben@acme.example", "acme");
    world.get("/local/delete").jwt(&session).refused(403, "permission_denied").await;
    world.get("/remote/read").token("e30.e30.e30").refused(401, "invalid_credential").await;
    assert_eq!(world.stytch_calls(), 0);
}

#[tokio::test]
async fn only_the_gateway_names_granting_roles() {
    let world = world("").await;
    let session = world.session_of("ben@acme.example", "acme");
    for path in ["/local/write", "/remote/write"] {
        let request = world.get(path).with(&session).header("X-Stytch-Granting-Roles", "admin");
        request.header("x_stytch_granting_roles", "admin").expect(200).await;
        assert_eq!(granting(&world.upstream.last()), ["editor"]);
    }
    world.get("/").with(&session).header("X-Stytch-Granting-Roles", "admin").expect(200).await;
    assert!(granting(&world.upstream.last()).is_empty());
}

#[tokio::test]
async fn users_have_roles_too() {
    let world = world("[stytch]\nvertical = \"consumer\"\n").await;
    let policy = json!({ "roles": [role("stytch_user", &["read"]), role("editor", &["read", "write"])] });
    world.emulator.set_policy(policy).unwrap();
    world.reload(&routes("[stytch]\nvertical = \"consumer\"\npolicy_refresh = \"4m\"\n")).await.unwrap();
    let session = world.emulator.session("uma@example.com").mint();
    until("the policy is there", async || world.get("/local/read").with(&session).send().await.status == 200)
        .await;
    for check in ["local", "remote"] {
        world.get(&format!("/{check}/read")).with(&session).expect(200).await;
        assert_eq!(granting(&world.upstream.last()), ["stytch_user"]);
        world.get(&format!("/{check}/write")).with(&session).refused(403, "permission_denied").await;
    }
    assert_eq!(world.emulator.requests(ORGANIZATIONS).len(), 0, "users have no organization");
}

#[tokio::test]
async fn a_permission_that_is_withdrawn_is_gone_with_the_next_policy() {
    let world = world("[stytch]\npolicy_refresh = \"1s\"\n").await;
    let session = world.session_of("ben@acme.example", "acme");
    world.get("/local/write").with(&session).expect(200).await;
    world.emulator.set_policy(json!({ "roles": [role("editor", &["read"])] })).unwrap();
    until("the editor may no longer write", async || {
        world.get("/local/write").with(&session).send().await.status == 403
    })
    .await;
    world.get("/local/read").with(&session).expect(200).await;
    assert!(world.metric("stytch_gateway_policy_age_seconds").await < 2.0);
}

#[tokio::test]
async fn an_outage_keeps_the_last_policy() {
    let world = world("[stytch]\npolicy_refresh = \"200ms\"\n").await;
    world.emulator.set_custom_roles("acme", json!([role("auditor", &["audit"])])).unwrap();
    let session = with_role(&world, "auditor");
    world.get("/local/audit").with(&session).expect(200).await;
    world.emulator.fault(unavailable());
    let calls = world.emulator.requests(PROJECT).len();
    eventually("two attempts", || world.emulator.requests(PROJECT).len() >= calls + 2).await;
    for _ in 0..3 {
        world.get("/local/audit").with(&session).expect(200).await;
        world.get("/local/write").with(&session).expect(200).await;
    }
    world.emulator.set_custom_roles("acme", json!([])).unwrap();
    world.emulator.clear_faults();
    until("the organization's role is gone", async || {
        world.get("/local/audit").with(&session).send().await.status == 403
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_was_never_had_lets_nobody_pass_and_refuses_nobody() {
    let world = World::builder().with(&routes("")).without_waiting();
    let emulator = stytch_emulator::Emulator::start(stytch_emulator::World::built_in()).await.unwrap();
    emulator.fault(Fault { status: Some(503), ..Fault::on(PROJECT) });
    let world = world.start_with(emulator).await;
    let session = world.session_of("ana@acme.example", "acme");
    until("keys are there", async || world.get("/").with(&session).send().await.status == 200).await;
    let refused = world.get("/local/read").with(&session).refused(503, "stytch_unavailable").await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.all("set-cookie").is_empty());
    let pending = world.admin("/readyz").await.expect(503).text();
    assert!(pending.contains("policy"), "{pending}");
    world.get("/remote/read").with(&session).expect(200).await;
    world.emulator.clear_faults();
    world.until_ready().await;
    world.get("/local/read").with(&session).expect(200).await;
}

#[tokio::test]
async fn an_organizations_own_role_grants_in_that_organization_alone() {
    let world = world("").await;
    world.emulator.set_custom_roles("acme", json!([role("auditor", &["audit"])])).unwrap();
    let auditor = with_role(&world, "auditor");
    // In the other organization somebody's session names a role of the same name.
    let mut claims = world.claims(&world.session_of("gil@globex.example", "globex"));
    claims["https://stytch.com/session"]["roles"] = json!(["stytch_member", "auditor"]);
    let stranger = world.emulator.token(claims).sign();
    for _ in 0..2 {
        world.get("/local/audit").with(&auditor).expect(200).await;
        assert_eq!(granting(&world.upstream.last()), ["auditor"]);
        world.get("/local/audit").token(&stranger).refused(403, "permission_denied").await;
    }
    assert_eq!(world.emulator.requests(ORGANIZATIONS).len(), 2, "each was asked about once");
}

#[tokio::test]
async fn an_organizations_roles_that_were_never_had_let_nobody_pass() {
    let world = world("").await;
    world.emulator.fault(Fault { status: Some(500), ..Fault::on(ORGANIZATIONS) });
    world.emulator.set_custom_roles("acme", json!([role("auditor", &["audit"])])).unwrap();
    let session = with_role(&world, "auditor");
    let refusals =
        (0..8).map(|_| world.get("/local/audit").with(&session).refused(503, "stytch_unavailable"));
    join_all(refusals).await;
    assert_eq!(world.emulator.requests(ORGANIZATIONS).len(), 1, "what failed is not asked again at once");
    world.emulator.clear_faults();
    until("it is asked again", async || world.get("/local/audit").with(&session).send().await.status == 200)
        .await;
}

/// What the organization's own roles could only add to.
#[tokio::test]
async fn what_the_project_grants_waits_for_no_organization() {
    let world = world("[stytch]\ntimeout = \"60s\"\n").await;
    world.emulator.fault(Fault { latency_ms: 120_000, times: Some(1), ..Fault::on(ORGANIZATIONS) });
    world.emulator.set_custom_roles("acme", json!([role("auditor", &["audit", "write"])])).unwrap();
    let session = with_role(&world, "auditor");
    for _ in 0..3 {
        world.get("/local/write").with(&session).expect(200).await;
        assert_eq!(granting(&world.upstream.last()), ["editor"]);
    }
    until("it is asked for all the same, once", async || world.emulator.requests(ORGANIZATIONS).len() == 1)
        .await;
    world.emulator.fault(Fault { status: Some(500), ..Fault::on(ORGANIZATIONS) });
    let stranger = world.session_of("gil@globex.example", "globex");
    world.get("/local/read").with(&stranger).expect(200).await;
    world.get("/local/audit").with(&stranger).refused(503, "stytch_unavailable").await;
}

/// And names the organization's own roles as soon as they are there.
#[tokio::test]
async fn roles_that_were_fetched_meanwhile_are_named() {
    let world = world("").await;
    world.emulator.set_custom_roles("acme", json!([role("auditor", &["write"])])).unwrap();
    let session = with_role(&world, "auditor");
    until("both are named", async || {
        world.get("/local/write").with(&session).expect(200).await;
        granting(&world.upstream.last()) == ["editor,auditor"]
    })
    .await;
}

#[tokio::test]
async fn a_project_without_such_roles_has_none() {
    for fault in [
        Fault { status: Some(404), ..Fault::on(ORGANIZATIONS) },
        Fault { status: Some(404), body: Some(json!("not here")), ..Fault::on(ORGANIZATIONS) },
        Fault { status: Some(403), ..Fault::on(ORGANIZATIONS) },
    ] {
        let world = world("").await;
        world.emulator.fault(fault);
        let session = world.session_of("ben@acme.example", "acme");
        world.get("/local/write").with(&session).expect(200).await;
        world.get("/local/audit").with(&session).refused(403, "permission_denied").await;
    }
}

#[tokio::test]
async fn first_requests_of_an_organization_wait_for_one_call() {
    let world = world("").await;
    world.emulator.fault(Fault { latency_ms: 300, ..Fault::on(ORGANIZATIONS) });
    world.emulator.set_custom_roles("acme", json!([role("auditor", &["audit"])])).unwrap();
    let session = with_role(&world, "auditor");
    join_all((0..10).map(|_| world.get("/local/audit").with(&session).expect(200))).await;
    assert_eq!(world.emulator.requests(ORGANIZATIONS).len(), 1);
}

#[tokio::test]
async fn nobody_waits_for_a_policy_to_be_refreshed() {
    let world = world("[stytch]\npolicy_refresh = \"300ms\"\ntimeout = \"60s\"\n").await;
    let session = world.session_of("ben@acme.example", "acme");
    world.get("/local/write").with(&session).expect(200).await;
    world.emulator.fault(Fault { latency_ms: 120_000, ..Fault::on("/v1/b2b/rbac/") });
    let calls = || world.emulator.requests("/v1/b2b/rbac/").len();
    let before = calls();
    until("both are asked about again", async || {
        world.get("/local/write").with(&session).expect(200).await;
        calls() >= before + 2
    })
    .await;
    world.get("/local/write").with(&session).expect(200).await;
}

#[tokio::test]
async fn a_start_during_an_outage_has_the_last_policy() {
    let settings = "[stytch]\nkey_cache_file = \"$DIR/last-good.json\"\n";
    let first = world(settings).await;
    first.emulator.set_custom_roles("acme", json!([role("auditor", &["audit"])])).unwrap();
    let session = with_role(&first, "auditor");
    first.get("/local/audit").with(&session).expect(200).await;
    let file = first.directory().join("last-good.json");
    eventually("the file has it all", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains("auditor"))
    })
    .await;
    first.emulator.fault(Fault { status: Some(503), ..Fault::on("/v1/") });
    // Without a route that is judged by it, what was fetched is let go of.
    first.reload("").await.unwrap();
    first.reload(&routes(settings)).await.unwrap();
    first.get("/local/audit").with(&session).expect(200).await;
    assert_eq!(granting(&first.upstream.last()), ["auditor"]);
    first.get("/local/read").with(&session).expect(200).await;
}

#[tokio::test]
async fn policies_are_fetched_only_where_a_route_is_judged_by_them() {
    let world = World::start().await;
    world.get("/").with(&world.session()).expect(200).await;
    assert_eq!(world.emulator.requests("/v1/b2b/rbac/").len(), 0);
    assert_eq!(world.metric("stytch_gateway_policy_age_seconds").await, 0.0);
    assert!(world.admin("/status").await.json()["policy"].is_null());
    world.reload(&routes("")).await.unwrap();
    eventually("the policy is fetched", || world.emulator.requests(PROJECT).len() == 1).await;
    until("it is told of", async || world.admin("/status").await.json()["policy"].is_object()).await;
}

#[tokio::test]
async fn remote_is_one_call_as_old_as_the_word_about_the_session() {
    let world = world("[session]\nmax_staleness = \"1s\"\nrefresh_ahead = false\n").await;
    let session = world.session_of("ben@acme.example", "acme");
    let asked = |count: usize| world.emulator.requests(AUTHENTICATE).len() == count;
    let answers = (0..10).map(|_| world.get("/remote/write").jwt(&session).expect(200));
    join_all(answers).await;
    assert!(asked(1), "the JWT was verified here, and one question put");
    world.get("/remote/read").jwt(&session).expect(200).await;
    assert!(asked(2), "another action is another question");
    let id = world.claims(&session)["sub"].as_str().unwrap().to_owned();
    world.emulator.patch_member(&id, json!({ "roles": [] })).unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.get("/remote/write").jwt(&session).refused(403, "permission_denied").await;
    world.get("/").jwt(&session).expect(200).await;
}

#[tokio::test]
async fn a_session_that_is_over_is_no_denial() {
    let world = world("").await;
    let (first, second) = (world.session(), world.session_of("ben@acme.example", "acme"));
    world.revoke(&first).await;
    let refused = world.get("/remote/read").with(&first).refused(401, "invalid_credential").await;
    assert!(!refused.all("set-cookie").is_empty(), "the cookies are cleared");
    world.get("/").with(&first).refused(401, "invalid_credential").await;
    world.get("/remote/write").with(&second).expect(200).await;
}

#[tokio::test]
async fn an_outage_of_the_check_is_no_denial() {
    let world = world("[session]\nmax_staleness = \"1s\"\nrefresh_ahead = false\n").await;
    let session = world.session_of("ben@acme.example", "acme");
    for status in [500, 429] {
        world.emulator.clear_faults();
        world.emulator.fault(Fault { status: Some(status), times: Some(1), ..Fault::on(AUTHENTICATE) });
        let refused = world.get("/remote/write").jwt(&session).refused(503, "stytch_unavailable").await;
        assert!(refused.header("retry-after").is_some() && refused.all("set-cookie").is_empty());
        world.get("/local/write").jwt(&session).expect(200).await;
    }
    // An answer that is not to what was asked is no pass.
    let body =
        world.ask_stytch(AUTHENTICATE, &json!({ "session_token": session.session_token })).await.json();
    world.emulator.fault(Fault { body: Some(body), ..Fault::on(AUTHENTICATE) });
    until("Stytch is asked again", async || {
        let asked = world.emulator.requests(AUTHENTICATE).len();
        world.get("/remote/write").jwt(&session).refused(503, "stytch_unavailable").await;
        world.emulator.requests(AUTHENTICATE).len() > asked
    })
    .await;
}

#[tokio::test]
async fn a_grace_is_for_what_stytch_has_permitted() {
    let settings = "[session]\nmax_staleness = \"1s\"\noutage_grace = \"1m\"\nrefresh_ahead = false\n";
    let world = world(settings).await;
    let session = world.session_of("ben@acme.example", "acme");
    world.get("/remote/write").jwt(&session).expect(200).await;
    world.get("/remote/delete").jwt(&session).refused(403, "permission_denied").await;
    world.emulator.fault(Fault { status: Some(503), ..Fault::on(AUTHENTICATE) });
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.get("/remote/write").jwt(&session).expect(200).await;
    assert_eq!(granting(&world.upstream.last()), ["editor"]);
    world.get("/remote/delete").jwt(&session).refused(503, "stytch_unavailable").await;
    world.get("/remote/read").jwt(&session).refused(503, "stytch_unavailable").await;
}

#[tokio::test]
async fn verdicts_are_renewed_before_they_are_too_old() {
    let world = world("[session]\nmax_staleness = \"2s\"\n").await;
    let session = world.session_of("ben@acme.example", "acme");
    world.get("/remote/write").opaque(&session).expect(200).await;
    let asked = world.emulator.requests(AUTHENTICATE).len();
    until("it is asked again ahead of time", async || {
        world.get("/remote/write").opaque(&session).expect(200).await;
        world.emulator.requests(AUTHENTICATE).len() > asked
    })
    .await;
}

#[tokio::test]
async fn tokens_are_judged_by_their_scopes() {
    let settings = "[stytch]\npolicy_refresh = \"200ms\"\ndomain = \"$STYTCH\"\n\
                    [server]\npublic_url = \"https://app.test\"\n";
    let kinds = "kinds = [\"session\", \"m2m\", \"connected_app\"]\nallow.permission";
    let world = World::with(&routes(settings).replace("allow.permission", kinds)).await;
    let permissions = json!([{ "resource_id": "documents", "actions": ["read"] }]);
    let scope = json!({ "scope": "read:documents", "description": "", "permissions": permissions });
    world.emulator.set_policy(json!({ "roles": [role("admin", &["*"])], "scopes": [scope] })).unwrap();
    let app = |scopes: &[&str]| {
        let token = world.emulator.connected_app_token("ana@acme.example").organization("acme");
        token.scopes(scopes.iter().copied()).mint()
    };
    let reader = app(&["openid", "read:documents"]);
    until("the policy is there", async || {
        world.get("/local/read").bearer(&reader).send().await.status == 200
    })
    .await;
    let machine = world.emulator.m2m_token("m2m-client-test-reports").scopes(["read:documents"]).mint();
    for check in ["local", "remote"] {
        let path = |action: &str| format!("/{check}/{action}");
        world.get(&path("read")).bearer(&reader).expect(200).await;
        assert!(granting(&world.upstream.last()).is_empty(), "no role grants it");
        world.get(&path("write")).bearer(&reader).refused(403, "permission_denied").await;
        world.get(&path("read")).bearer(&app(&["openid"])).refused(403, "permission_denied").await;
        world.get(&path("read")).bearer(&machine).refused(403, "permission_denied").await;
    }
}
