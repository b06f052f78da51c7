//! Kinds of token, each dressed up as another (class I), and what a hostile request could put into
//! what OAuth clients are told (K29).
//!
//! All kinds share key set, issuer and audience; Stytch's own SDK takes one for another
//! (REFERENCE.md 4.3).

use serde_json::{Map, Value, json};

use crate::access_tokens::ROUTES;
use crate::world::World;

const SESSION: &str = "https://stytch.com/session";
const ORGANIZATION: &str = "https://stytch.com/organization";
const METADATA: &str = "/.well-known/oauth-protected-resource";

/// One place for each kind, and the places for the others.
const PLACES: [(&str, &str); 3] = [("session", "/x"), ("m2m", "/machines/x"), ("connected_app", "/mcp/x")];

fn changed(claims: &Value, changes: Value) -> Value {
    let (Value::Object(mut claims), Value::Object(changes)) = (claims.clone(), changes) else {
        panic!("claims are objects")
    };
    for (name, value) in changes {
        match value {
            Value::Null => drop(claims.remove(&name)),
            value => drop(claims.insert(name, value)),
        }
    }
    Value::Object(claims)
}

/// The claims of an honest token of each kind, in the order of [`PLACES`].
fn honest(world: &World) -> [Value; 3] {
    let session = world.claims(&world.session());
    let machine = json!({ "sub": "m2m-client-test-reports", "scope": "read:reports", SESSION: null, ORGANIZATION: null });
    let app = json!({ "client_id": "connected-app-test-1", "scope": "read:reports", SESSION: null });
    let (machine, app) = (changed(&session, machine), changed(&session, app));
    [session, machine, app]
}

/// A token is what its claims make it, and is let in nowhere else.
#[tokio::test]
async fn i20_each_kind_in_the_place_of_another() {
    let world = World::with(ROUTES).await;
    let [session, machine, app] = honest(&world);
    let dressed_up = json!({ "scope": "read:reports", "client_id": "connected-app-test-1", "azp": "m2m-client-test-reports" });
    for (kind, claims) in [
        ("session", session.clone()),
        ("session", changed(&session, dressed_up)),
        ("session", changed(&session, json!({ "scope": "read:reports", "token_use": "access" }))),
        ("m2m", machine.clone()),
        ("m2m", changed(&machine, json!({ "roles": ["admin"], "session": { "id": "x" } }))),
        ("connected_app", app.clone()),
        ("connected_app", changed(&app, json!({ "grant_type": "client_credentials", "session_id": "x" }))),
    ] {
        let token = world.emulator.token(claims.clone()).sign();
        for (place, path) in PLACES {
            if place == kind {
                world.get(path).bearer(&token).expect(200).await;
            } else {
                let refused = world.get(path).bearer(&token).refused(403, "kind_not_allowed").await;
                assert_eq!(refused.header("www-authenticate"), None, "{claims} at {path}");
            }
        }
        // Scopes are a token's. A session that has a claim of that name has none.
        let scoped = world.get("/scoped/x").bearer(&token);
        if kind == "session" {
            scoped.refused(403, "kind_not_allowed").await;
        } else {
            scoped.expect(200).await;
        }
    }
    assert_eq!(world.stytch_calls(), 0);
}

/// What has marks of two kinds, or of none, is neither.
#[tokio::test]
async fn i22_between_two_kinds() {
    let world = World::with(ROUTES).await;
    let [session, machine, app] = honest(&world);
    let (of_session, of_organization) = (session[SESSION].clone(), session[ORGANIZATION].clone());
    let mut answers = Vec::<Map<String, Value>>::new();
    for claims in [
        changed(&machine, json!({ SESSION: of_session })),
        changed(&machine, json!({ SESSION: {} })),
        changed(&machine, json!({ ORGANIZATION: of_organization })),
        changed(&machine, json!({ "client_id": "connected-app-test-1" })),
        changed(&machine, json!({ "scope": null })),
        changed(&machine, json!({ "scope": ["read:reports"] })),
        changed(&machine, json!({ "sub": "M2M-client-test-reports" })),
        changed(&machine, json!({ "sub": session["sub"] })),
        changed(&app, json!({ "sub": "m2m-client-test-reports" })),
        changed(&app, json!({ "sub": "user-test-1", ORGANIZATION: null })),
        changed(&app, json!({ "sub": "connected-app-test-1" })),
        changed(&app, json!({ "client_id": "m2m-client-test-reports" })),
        changed(&app, json!({ "client_id": ["connected-app-test-1"] })),
        changed(&app, json!({ "client_id": "connected-app-test-1 x" })),
        changed(&app, json!({ "client_id": null })),
        changed(&app, json!({ "scope": null })),
        changed(&app, json!({ ORGANIZATION: null })),
        changed(&app, json!({ ORGANIZATION: { "slug": "acme" } })),
        changed(&app, json!({ SESSION: "x" })),
        changed(&app, json!({ SESSION: { "id": "" } })),
        changed(&session, json!({ "sub": "m2m-client-test-reports", "scope": "read:reports" })),
        changed(&session, json!({ "sub": "connected-app-test-1", "client_id": "connected-app-test-1" })),
    ] {
        let token = world.emulator.token(claims.clone()).sign();
        let mut places: Vec<_> = PLACES.iter().map(|(_, path)| *path).collect();
        places.extend(["/scoped/x", "/any/x"]);
        for path in places {
            let refused = world.get(path).bearer(&token).refused(401, "invalid_credential").await;
            let Value::Object(mut answer) = refused.json() else { panic!("an object: {claims}") };
            answer.remove("request_id");
            answers.push(answer);
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "every reason looks alike");
    assert_eq!(world.stytch_calls(), 0);
}

/// Nothing that a request says comes back in what clients are told.
#[tokio::test]
async fn k29_metadata_for_a_hostile_host() {
    let world = World::with(ROUTES).await;
    for path in [METADATA.to_owned(), format!("{METADATA}/mcp")] {
        for host in ["evil", "evil.test", "app.test.evil.test", "evil.app.test", "[::1]"] {
            world.get(&path).host(host).refused(404, "no_route").await;
        }
        let honest = world.get(&path).expect(200).await.text();
        for (name, value) in [
            ("X-Forwarded-Host", "evil.test"),
            ("X-Forwarded-Proto", "http"),
            ("Forwarded", "host=evil.test;proto=http"),
            ("X-Original-URL", "/evil"),
            ("Origin", "https://evil.test"),
        ] {
            assert_eq!(world.get(&path).header(name, value).expect(200).await.text(), honest, "{name}");
        }
        assert_eq!(world.get(&format!("{path}?resource=https://evil.test")).expect(200).await.text(), honest);
        assert_eq!(world.get(&path).host("app.test:9999").expect(200).await.text(), honest);
    }
    world.get(&format!("{METADATA}/evil")).refused(404, "no_route").await;
    world.get(&format!("{METADATA}/..%2fevil")).refused(400, "ambiguous_path").await;
    let refused = world.get("/mcp/x").host("app.test:9999").header("X-Forwarded-Host", "evil.test");
    let refused = refused.refused(401, "unauthenticated").await;
    let told = refused.header("www-authenticate").unwrap_or_default();
    assert_eq!(told, format!("Bearer resource_metadata=\"https://app.test{METADATA}/mcp\""));
}
