//! Tokens of machines and of Connected Apps: whose they are, where they may come from, and how old
//! Stytch's word about them may get (DESIGN.md sections 4 and 6).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use serde_json::{Value, json};
use stytch_emulator::Fault;

use crate::client::Response;
use crate::world::{World, eventually};

const INTROSPECT: &str = "/v1/public/";
const MACHINE: &str = "m2m-client-test-reports";

/// A place for each kind, and one for all.
pub(crate) const ROUTES: &str = r#"
[stytch]
domain = "$STYTCH"

[server]
public_url = "https://app.test"

[[routes]]
host = "app.test"
path = "/*"
upstream = "app"

[[routes]]
host = "app.test"
path = "/machines/*"
upstream = "app"
kinds = ["m2m"]

[[routes]]
host = "app.test"
path = "/mcp/*"
upstream = "app"
kinds = ["connected_app"]

[[routes]]
host = "app.test"
path = "/scoped/*"
upstream = "app"
kinds = ["m2m", "connected_app"]
allow.scopes = ["read:reports"]

[[routes]]
host = "app.test"
path = "/any/*"
upstream = "app"
kinds = ["session", "m2m", "connected_app"]
"#;

async fn world() -> World {
    World::with(ROUTES).await
}

async fn world_with(settings: &str) -> World {
    World::builder().with(ROUTES).with(settings).start().await
}

fn app_token(world: &World) -> String {
    let token = world.emulator.connected_app_token("ana@acme.example").organization("acme");
    token.scopes(["openid", "read:reports"]).mint()
}

pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).and_then(|payload| BASE64_URL_SAFE_NO_PAD.decode(payload).ok());
    serde_json::from_slice(&payload.expect("a payload is base64url")).expect("a payload is JSON")
}

/// The same token, said to have been given `age` seconds ago, and to be good for as long as it was.
fn aged(world: &World, token: &str, age: i64) -> String {
    let mut claims = claims(token);
    for name in ["iat", "nbf"] {
        claims[name] = json!(claims[name].as_i64().unwrap() - age);
    }
    world.emulator.token(claims).sign()
}

/// The same token, over since a minute.
fn expired(world: &World, token: &str) -> String {
    let mut claims = claims(token);
    let now = claims["iat"].as_i64().unwrap();
    claims["iat"] = json!(now - 3660);
    claims["nbf"] = json!(now - 3660);
    claims["exp"] = json!(now - 60);
    world.emulator.token(claims).sign()
}

/// Ends a token at Stytch, without the gateway hearing of it.
async fn revoke(world: &World, token: &str) {
    let body = json!({ "token": token, "client_id": claims(token)["client_id"] });
    world.ask_stytch("/v1/oauth2/revoke", &body).await.expect(200);
}

fn introspections(world: &World) -> usize {
    let calls = world.emulator.requests(INTROSPECT);
    calls.iter().filter(|call| call.path.ends_with("/oauth2/introspect")).count()
}

/// What the upstream was told, in order of the names.
fn told(world: &World) -> Vec<(String, String)> {
    let mut headers = world.upstream.last().headers();
    headers.retain(|(name, _)| name.starts_with("x-stytch-"));
    headers.sort();
    headers
}

fn invalid_token(response: &Response) -> bool {
    response.header("www-authenticate").is_some_and(|told| told.contains("error=\"invalid_token\""))
}

#[tokio::test]
async fn a_machines_token_is_verified_here() {
    let world = world().await;
    let token = world.emulator.m2m_token(MACHINE).mint();
    for _ in 0..2 {
        world.get("/machines/x").bearer(&token).expect(200).await;
    }
    let expected = [("x-stytch-client-id", MACHINE), ("x-stytch-scopes", "read:reports,write:reports")];
    assert_eq!(told(&world), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    // Nothing but its end ends it.
    world.get("/machines/x").bearer(&aged(&world, &token, 3500)).expect(200).await;
    let over = expired(&world, &token);
    assert!(invalid_token(&world.get("/machines/x").bearer(&over).refused(401, "invalid_credential").await));
    assert_eq!((world.stytch_calls(), introspections(&world)), (0, 0));
    let lines = world.log(4).await;
    assert_eq!(lines[0]["kind"], "m2m");
    assert_eq!(lines[0]["client_id"], MACHINE);
    assert_eq!(lines[0]["member_id"], Value::Null);
}

#[tokio::test]
async fn an_apps_token_says_for_whom_it_acts() {
    let world = world().await;
    let token = app_token(&world);
    for _ in 0..2 {
        world.get("/mcp/x").bearer(&token).expect(200).await;
    }
    let member = world.emulator.member_id("acme", "ana@acme.example").unwrap();
    let organization = world.emulator.organization_id("acme").unwrap();
    let client = claims(&token)["client_id"].as_str().unwrap().to_owned();
    let expected = [
        ("x-stytch-client-id", client.as_str()),
        ("x-stytch-member-id", &member),
        ("x-stytch-organization-id", &organization),
        ("x-stytch-organization-slug", "acme"),
        ("x-stytch-scopes", "openid,read:reports"),
    ];
    assert_eq!(told(&world), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!((world.stytch_calls(), introspections(&world)), (0, 0));
    let lines = world.log(2).await;
    assert_eq!(lines[1]["kind"], "connected_app");
    assert_eq!(lines[1]["client_id"], client.as_str());
    assert_eq!(lines[1]["member_id"], member.as_str());
}

#[tokio::test]
async fn apps_act_for_users_alike() {
    let world = world_with("[stytch]\nvertical = \"consumer\"").await;
    let token = world.emulator.connected_app_token("uma@example.com").mint();
    world.get("/mcp/x").bearer(&token).expect(200).await;
    world.get("/mcp/x").bearer(&aged(&world, &token, 400)).expect(200).await;
    let user = world.emulator.user_id("uma@example.com").unwrap();
    assert_eq!(world.upstream.last().header("x-stytch-user-id"), Some(user));
    assert_eq!(introspections(&world), 1);
}

#[tokio::test]
async fn each_issuer_of_the_project_is_accepted() {
    let world = world_with("[stytch]\ndomain = \"login.example.com\"").await;
    let from = |issuer: &str| {
        let token = world.emulator.connected_app_token("ana@acme.example").organization("acme");
        token.issuer(issuer).mint()
    };
    let of_project = format!("stytch.com/{}", world.emulator.project_id());
    for issuer in [of_project.as_str(), "https://login.example.com"] {
        world.get("/mcp/x").bearer(&from(issuer)).expect(200).await;
    }
    for issuer in [
        "login.example.com",
        "http://login.example.com",
        "https://login.example.com/",
        "https://evil.example",
    ] {
        world.get("/mcp/x").bearer(&from(issuer)).refused(401, "invalid_credential").await;
    }
}

#[tokio::test]
async fn an_old_word_about_an_app_is_renewed_by_asking_once() {
    let world = world().await;
    let old = aged(&world, &app_token(&world), 400);
    world.emulator.fault(Fault { latency_ms: 100, times: Some(1), ..Fault::on(INTROSPECT) });
    let copies = join_all((0..20).map(|_| world.get("/mcp/x").bearer(&old).send())).await;
    assert!(copies.iter().all(|response| response.status == 200));
    world.get("/mcp/x").bearer(&old).expect(200).await;
    assert_eq!((world.stytch_calls(), introspections(&world)), (0, 1));
    let lines = world.log(21).await;
    assert_eq!(lines[0]["verification"], "stytch");
    assert_eq!(lines[20]["verification"], "cache");
    assert_eq!(
        world
            .metric("stytch_gateway_stytch_calls_total{endpoint=\"oauth2_introspect\",outcome=\"ok\"}")
            .await,
        1.0
    );
}

#[tokio::test]
async fn a_revoked_app_is_out_within_max_staleness() {
    let world = world_with("[session]\nnegative_ttl = \"0s\"").await;
    let (token, other) = (app_token(&world), app_token(&world));
    world.get("/mcp/x").bearer(&token).expect(200).await;
    revoke(&world, &token).await;
    // Stytch's word as of a moment ago still counts; as of six minutes ago it does not.
    world.get("/mcp/x").bearer(&token).expect(200).await;
    let old = aged(&world, &token, 360);
    for _ in 0..2 {
        let refused = world.get("/mcp/x").bearer(&old).refused(401, "invalid_credential").await;
        assert!(invalid_token(&refused));
    }
    world.get("/mcp/x").bearer(&aged(&world, &other, 360)).expect(200).await;
}

/// What the background learns of a token counts for all workers, and is not forgotten while the
/// token's own word is still young.
#[tokio::test]
async fn what_is_learned_ahead_counts_at_once() {
    let world = world_with("[session]\nnegative_ttl = \"0s\"\n[server]\nworkers = 2").await;
    let token = app_token(&world);
    revoke(&world, &token).await;
    let young_enough = aged(&world, &token, 290);
    world.get("/mcp/x").bearer(&young_enough).expect(200).await;
    eventually("the token is asked about", || introspections(&world) == 1).await;
    let refused = "stytch_gateway_stytch_calls_total{endpoint=\"oauth2_introspect\",outcome=\"refused\"}";
    crate::world::until("the answer is there", async || world.metric(refused).await > 0.0).await;
    for _ in 0..8 {
        world.get("/mcp/x").bearer(&young_enough).refused(401, "invalid_credential").await;
    }
}

#[tokio::test]
async fn an_app_that_cannot_be_asked_about_is_not_refused() {
    let world = world().await;
    let old = aged(&world, &app_token(&world), 400);
    let broken = [
        Fault { status: Some(502), ..Fault::on(INTROSPECT) },
        Fault { drop: true, ..Fault::on(INTROSPECT) },
        Fault { body: Some(json!("not JSON")), ..Fault::on(INTROSPECT) },
        Fault { body: Some(json!({ "status_code": 200 })), ..Fault::on(INTROSPECT) },
        Fault { status: Some(401), body: Some(json!({ "active": false })), ..Fault::on(INTROSPECT) },
        Fault { body: Some(json!({ "active": true, "sub": "member-test-other" })), ..Fault::on(INTROSPECT) },
    ];
    for fault in broken {
        world.emulator.clear_faults();
        world.emulator.fault(fault);
        let refused = world.get("/mcp/x").bearer(&old).refused(503, "stytch_unavailable").await;
        assert!(refused.header("retry-after").is_some());
        assert_eq!(refused.header("www-authenticate"), None);
    }
    world.emulator.clear_faults();
    world.get("/mcp/x").bearer(&old).expect(200).await;
}

#[tokio::test]
async fn grace_is_for_apps_as_it_is_for_sessions() {
    let world = world_with("[session]\noutage_grace = \"10m\"").await;
    let token = app_token(&world);
    world.emulator.fault(Fault { status: Some(502), ..Fault::on(INTROSPECT) });
    world.get("/mcp/x").bearer(&aged(&world, &token, 400)).expect(200).await;
    assert_eq!(world.log(1).await[0]["verification"], "stale");
    world.get("/mcp/x").bearer(&aged(&world, &token, 1000)).refused(503, "stytch_unavailable").await;
    world.get("/mcp/x").bearer(&expired(&world, &token)).refused(401, "invalid_credential").await;
}

/// An answer can take scopes away, and give none.
#[tokio::test]
async fn scopes_are_those_that_token_and_answer_name() {
    let world = world().await;
    let token = app_token(&world);
    let old = aged(&world, &token, 400);
    let claims = claims(&token);
    let answer = |scope: &str| json!({ "active": true, "sub": claims["sub"], "client_id": claims["client_id"], "scope": scope });
    world.emulator.fault(Fault {
        body: Some(answer("openid write:reports")),
        times: Some(1),
        ..Fault::on(INTROSPECT)
    });
    world.get("/scoped/x").bearer(&old).refused(403, "scope_missing").await;
    world.get("/mcp/x").bearer(&old).expect(200).await;
    assert_eq!(world.upstream.last().header("x-stytch-scopes").as_deref(), Some("openid"));
}

#[tokio::test]
async fn an_expired_app_costs_nothing() {
    let world = world().await;
    let over = expired(&world, &app_token(&world));
    for _ in 0..3 {
        assert!(invalid_token(&world.get("/mcp/x").bearer(&over).refused(401, "invalid_credential").await));
    }
    // Nor does a session beside it let it in: whoever sends a token means to use it.
    let session = world.session_of("ana@acme.example", "acme");
    world.get("/any/x").bearer(&over).with(&session).refused(401, "invalid_credential").await;
    assert_eq!((world.stytch_calls(), introspections(&world)), (0, 0));
}

/// Stytch tells what becomes of an app's token to nobody without the app's own secret.
#[tokio::test]
async fn an_app_with_a_secret_comes_back_with_a_younger_token() {
    let seed = r#"
        [[organizations]]
        organization_slug = "acme"
        [[members]]
        organization_id = "acme"
        email_address = "ana@acme.example"
        [[connected_apps]]
        client_id = "connected-app-test-confidential"
        client_name = "Confidential"
        client_type = "first_party"
        client_secret = "s3cret"
        redirect_urls = ["https://assistant.example/callback"]
    "#;
    let world = World::builder().with(ROUTES).seed(seed).start().await;
    let token = app_token(&world);
    world.get("/mcp/x").bearer(&token).expect(200).await;
    let refused =
        world.get("/mcp/x").bearer(&aged(&world, &token, 400)).refused(401, "invalid_credential").await;
    assert!(invalid_token(&refused));
    world.get("/mcp/x").bearer(&app_token(&world)).expect(200).await;
}

#[tokio::test]
async fn access_tokens_come_in_headers_alone() {
    let world = world_with("[session]\nheader = \"X-Token\"\nwebsocket_query = \"token\"").await;
    for token in [app_token(&world), world.emulator.m2m_token(MACHINE).mint()] {
        for _ in 0..2 {
            world.get("/any/x").token(&token).refused(401, "invalid_credential").await;
            world.get("/any/x").cookie("stytch_session", &token).refused(401, "invalid_credential").await;
            let handshake = world.get(&format!("/any/x?token={token}")).header("Upgrade", "websocket");
            let handshake = handshake.header("Connection", "Upgrade").header("Sec-WebSocket-Version", "13");
            handshake.refused(401, "invalid_credential").await;
            // Known by now, which changes nothing above.
            world.get("/any/x").bearer(&token).expect(200).await;
            world.get("/any/x").header("X-Token", &token).expect(200).await;
            world.get("/any/x").bearer(&token).token(&token).refused(401, "invalid_credential").await;
        }
    }
    assert_eq!((world.stytch_calls(), introspections(&world)), (0, 0));
}

#[tokio::test]
async fn two_kinds_in_one_request_are_two_identities() {
    let world = world_with("[session]\nheader = \"X-Token\"").await;
    let session = world.session_of("ana@acme.example", "acme");
    let (app, machine) = (app_token(&world), world.emulator.m2m_token(MACHINE).mint());
    for token in [&app, &machine] {
        world.get("/any/x").bearer(token).with(&session).refused(401, "ambiguous_credential").await;
    }
    world.get("/any/x").bearer(&app).header("X-Token", &machine).refused(401, "ambiguous_credential").await;
    let fewer = world.emulator.connected_app_token("ana@acme.example").organization("acme").mint();
    world.get("/any/x").bearer(&app).header("X-Token", &fewer).refused(401, "ambiguous_credential").await;
    world.get("/any/x").bearer(&app).header("X-Token", &app).expect(200).await;
}

/// A header that needs a profile is not a reason to refuse who has none.
#[tokio::test]
async fn headers_that_need_a_profile_are_left_out() {
    let world = world_with("[identity.headers]\nX-Email = \"{member.email_address}\"").await;
    for token in [app_token(&world), world.emulator.m2m_token(MACHINE).mint()] {
        for _ in 0..2 {
            world.get("/any/x").bearer(&token).header("X-Email", "ceo@corp.example").expect(200).await;
            assert_eq!(world.upstream.last().header("x-email"), None);
        }
    }
    assert_eq!((world.stytch_calls(), introspections(&world)), (0, 0));
    let session = world.session_of("ana@acme.example", "acme");
    world.get("/any/x").with(&session).expect(200).await;
    assert_eq!(world.upstream.last().header("x-email").as_deref(), Some("ana@acme.example"));
}

#[tokio::test]
async fn refusals_tell_a_client_where_to_go() {
    let world = world().await;
    let told = async |target: &str, token: Option<&str>, status: u16, code: &str| {
        let request = world.get(target);
        let request = if let Some(token) = token { request.bearer(token) } else { request };
        let refused = request.refused(status, code).await;
        refused.header("www-authenticate").map(str::to_owned)
    };
    let metadata = "resource_metadata=\"https://app.test/.well-known/oauth-protected-resource";
    let anonymous = told("/mcp/x", None, 401, "unauthenticated").await;
    assert_eq!(anonymous, Some(format!("Bearer {metadata}/mcp\"")));
    let junk = told("/mcp/x", Some("junk"), 401, "invalid_credential").await;
    assert_eq!(junk, Some(format!("Bearer error=\"invalid_token\", {metadata}/mcp\"")));
    let unscoped = world.emulator.connected_app_token("ana@acme.example").organization("acme").mint();
    let missing = told("/scoped/x", Some(&unscoped), 403, "scope_missing").await;
    let expected =
        format!("Bearer error=\"insufficient_scope\", scope=\"read:reports\", {metadata}/scoped\"");
    assert_eq!(missing, Some(expected));
    assert_eq!(told("/x", None, 401, "unauthenticated").await.as_deref(), Some("Bearer"));
    assert_eq!(told("/x", Some("junk"), 401, "invalid_credential").await.as_deref(), Some("Bearer"));
}

#[tokio::test]
async fn the_metadata_is_for_everyone_to_read() {
    let world = world().await;
    let before = world.upstream_traffic();
    let path = "/.well-known/oauth-protected-resource";
    let document = world.get(&format!("{path}/mcp")).expect(200).await;
    assert_eq!(document.header("content-type"), Some("application/json"));
    assert_eq!(document.header("access-control-allow-origin"), Some("*"));
    assert_eq!(document.header("cache-control"), Some("no-store"));
    let expected = json!({
        "resource": "https://app.test/mcp",
        "authorization_servers": [world.emulator.url()],
        "bearer_methods_supported": ["header"],
    });
    assert_eq!(document.json(), expected);
    let whole = world.get(path).expect(200).await.json();
    assert_eq!(
        (&whole["resource"], &whole["scopes_supported"]),
        (&json!("https://app.test"), &json!(["read:reports"]))
    );
    assert_eq!(world.request("HEAD", path).expect(200).await.text(), "");
    let preflight = world.request("OPTIONS", path).header("Origin", "https://inspector.example");
    let preflight = preflight.header("Access-Control-Request-Method", "GET");
    let preflight =
        preflight.header("Access-Control-Request-Headers", "mcp-protocol-version").expect(204).await;
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("*"));
    let posted = world.post(path).refused(405, "method_not_allowed").await;
    assert_eq!(posted.header("allow"), Some("GET, HEAD, OPTIONS"));
    let nothing = world.get(&format!("{path}/reports")).refused(404, "no_route").await;
    assert_eq!(nothing.header("access-control-allow-origin"), Some("*"));
    assert_eq!(world.upstream_traffic(), before);
    let line = &world.log(1).await[0];
    assert_eq!(
        (&line["decision"], &line["code"], &line["status"]),
        (&json!("public"), &json!("ok"), &json!(200))
    );
}

/// Where no route admits Connected Apps, the path is the application's.
#[tokio::test]
async fn other_hosts_keep_their_own_metadata() {
    let world = world_with(
        "[[routes]]\nhost = \"other.test\"\npath = \"/*\"\nupstream = \"other\"\nauth = \"none\"\n\
         [[routes]]\nhost = \"app.test\"\npath = \"/*\"\nupstream = \"app\"\nkinds = [\"connected_app\"]",
    )
    .await;
    world.get("/.well-known/oauth-protected-resource").host("other.test").expect(200).await;
    assert_eq!(world.other.last().path(), "/.well-known/oauth-protected-resource");
    let own = world.get("/.well-known/oauth-protected-resource").expect(200).await;
    assert_eq!(own.json()["resource"], "https://app.test");
}
