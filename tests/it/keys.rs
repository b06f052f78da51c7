//! Verification keys: fetched at start, in the background and when a key id is new, never by each
//! request (DESIGN.md section 4).

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;
use stytch_emulator::{Emulator, Fault, Key};
use stytch_gateway::access::authn::fetcher::{Fetcher, Handle, Outcome};
use stytch_gateway::access::authn::keys::KeySet;
use tokio::sync::mpsc;

use crate::gate::{bearing, gate, request, settings};
use crate::world::{World, until};

const JWKS: &str = "/v1/b2b/sessions/jwks/";

#[tokio::test]
async fn keys_are_not_fetched_by_requests() {
    let world = World::with("[session]\nmax_staleness = \"10s\"").await;
    for _ in 0..20 {
        world.get("/").jwt(&world.session()).expect(200).await;
    }
    assert_eq!(world.key_fetches(), 1);
    let called = "stytch_gateway_stytch_calls_total{endpoint=\"jwks\",outcome=\"ok\"}";
    assert_eq!(world.metric(called).await, 1.0);
}

#[tokio::test]
async fn a_rotation_works_at_once() {
    let world = World::start().await;
    let before = world.session();
    world.get("/").jwt(&before).expect(200).await;
    world.emulator.rotate_keys(false);
    let after = world.session();
    world.get("/").jwt(&after).expect(200).await;
    assert_eq!(world.key_fetches(), 2);
    world.get("/").jwt(&before).expect(200).await;
    assert_eq!((world.key_fetches(), world.stytch_calls()), (2, 0), "the old key is still in the set");
}

/// The schedule, or another request, may have brought the key between the look at the set and what the
/// fetcher says.
#[tokio::test(flavor = "local")]
async fn keys_that_came_meanwhile_count_whatever_came_of_the_fetch() {
    for outcome in [Outcome::Fetched, Outcome::Failed] {
        let world = World::with("").await;
        let (sender, mut asked) = mpsc::channel(1);
        let mut parts = None;
        let gate = gate(&settings(&world), |fetcher| {
            parts = Some(fetcher);
            Handle::new(sender)
        });
        let Fetcher { client, keys, .. } = parts.unwrap();
        let load = async || {
            let set = KeySet::new(client.jwks().await.unwrap(), keys.current().as_deref(), SystemTime::now());
            keys.replace(Arc::new(set.unwrap()));
        };
        load().await;
        world.emulator.rotate_keys(false);
        let headers = bearing(&world.session().session_jwt);
        let request = request(&headers);
        let meanwhile = async {
            let reply = asked.recv().await.unwrap();
            load().await;
            reply.send(outcome).unwrap();
        };
        let (decided, ()) = tokio::join!(gate.decide(&request), meanwhile);
        assert!(decided.is_ok(), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_retired_key_is_good_for_nothing_after_the_refresh() {
    let world = World::with("[stytch]\njwks_refresh = \"1s\"").await;
    let session = world.session();
    world.get("/").jwt(&session).expect(200).await;
    world.emulator.rotate_keys(true);
    until("the refresh", async || world.get("/").jwt(&session).send().await.status == 401).await;
    world.get("/").jwt(&session).refused(401, "invalid_credential").await;
    world.get("/").jwt(&world.session()).expect(200).await;
    assert_eq!(world.stytch_calls(), 0);
}

#[tokio::test]
async fn unknown_key_ids_cost_one_fetch_however_many_there_are() {
    let world = World::start().await;
    let session = world.session();
    let known = world.session();
    world.get("/").jwt(&known).expect(200).await;
    let claims = world.claims(&session);
    for number in 0..20 {
        let header = json!({ "kid": format!("made-up-{number}") });
        let token = world.emulator.token(claims.clone()).header(header.as_object().unwrap().clone()).sign();
        world.get("/").token(&token).refused(401, "invalid_credential").await;
    }
    let foreign = world.emulator.token(claims).key(Key::Foreign).sign();
    world.get("/").token(&foreign).refused(401, "invalid_credential").await;
    assert_eq!((world.key_fetches(), world.stytch_calls()), (2, 0));
    world.get("/").jwt(&known).expect(200).await;
    world.get("/").jwt(&session).expect(200).await;
}

/// The whole of an outage at the start: nothing passes that would have to be checked, nobody is
/// signed out, and the gateway recovers by itself.
#[tokio::test]
async fn the_start_succeeds_while_stytch_is_down() {
    let emulator = Emulator::start(stytch_emulator::World::built_in()).await.unwrap();
    emulator.fault(Fault { drop: true, ..Fault::on("/") });
    let world = World::builder().without_waiting().start_with(emulator).await;
    world.admin("/livez").await.expect(200);
    let waits_for_keys = async || {
        let ready = world.admin("/readyz").await.expect(503);
        ready.json() == json!({ "ready": false, "pending": ["keys"] })
    };
    until("nothing but keys to be missing", waits_for_keys).await;
    let session = world.session();
    let refused = world.get("/").jwt(&session).refused(503, "keys_unavailable").await;
    assert_eq!((refused.header("retry-after"), refused.header("set-cookie")), (Some("1"), None));
    world.get("/public/x").expect(200).await;
    world.emulator.clear_faults();
    world.until_ready().await;
    world.get("/").jwt(&session).expect(200).await;
    assert_eq!(world.stytch_calls(), 0);
}

/// Keys that cannot be had are an outage, not a refusal: also for whoever comes again while the
/// next fetch is held back.
#[tokio::test]
async fn a_fetch_that_fails_leaves_the_keys_in_place_and_nobody_signed_out() {
    for fault in [
        Fault { status: Some(500), ..Fault::on(JWKS) },
        Fault { body: Some(json!({ "keys": [] })), ..Fault::on(JWKS) },
        Fault { body: Some(json!("<html>")), ..Fault::on(JWKS) },
    ] {
        let world = World::start().await;
        let known = world.session();
        world.emulator.rotate_keys(false);
        let unknown = world.session();
        world.emulator.fault(fault);
        for _ in 0..3 {
            let refused = world.get("/").jwt(&unknown).refused(503, "keys_unavailable").await;
            assert_eq!((refused.header("retry-after"), refused.header("set-cookie")), (Some("1"), None));
        }
        world.get("/").jwt(&known).expect(200).await;
        world.admin("/readyz").await.expect(200);
        assert_eq!(world.key_fetches(), 2);
        assert_eq!(world.metric("stytch_gateway_keys_fetch_total{outcome=\"failed\"}").await, 1.0);
        assert!(world.metric("stytch_gateway_keys_age_seconds").await > 0.0);
    }
}

/// `key_cache_file`: a start during an outage can verify what the last good keys signed.
#[tokio::test]
async fn the_last_good_keys_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.json");
    let settings = format!("[stytch]\nkey_cache_file = \"{}\"", file.display());
    let seed = "project_id = \"project-test-of-two-lives\"\n\
        [[organizations]]\norganization_slug = \"acme\"\n\
        [[members]]\norganization_id = \"acme\"\nemail_address = \"zoe@acme.example\"\n";
    let (session, other) = {
        let world = World::builder().seed(seed).with(&settings).start().await;
        let session = world.session_of("zoe@acme.example", "acme");
        world.get("/").jwt(&session).expect(200).await;
        (session, world.emulator.token(world.claims(&world.session_of("zoe@acme.example", "acme"))).sign())
    };
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(!kept.contains("\"d\"") && !kept.contains(&session.session_token), "{kept}");

    let emulator = Emulator::start(stytch_emulator::World::from_toml(seed).unwrap()).await.unwrap();
    emulator.fault(Fault { drop: true, ..Fault::on("/") });
    let world = World::builder().with(&settings).start_with(emulator).await;
    world.get("/").jwt(&session).expect(200).await;
    world.get("/").token(&other).expect(200).await;
    // Back again, Stytch has other keys: the file's are forgotten.
    world.emulator.clear_faults();
    world.get("/").jwt(&world.session_of("zoe@acme.example", "acme")).expect(200).await;
    world.get("/").jwt(&session).refused(401, "invalid_credential").await;
}

#[tokio::test]
async fn keys_of_another_project_are_not_taken_from_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.json");
    std::fs::write(&file, json!({ "project_id": "project-test-other", "keys": [] }).to_string()).unwrap();
    let emulator = Emulator::start(stytch_emulator::World::built_in()).await.unwrap();
    emulator.fault(Fault { drop: true, ..Fault::on("/") });
    let settings = format!("[stytch]\nkey_cache_file = \"{}\"", file.display());
    let world = World::builder().with(&settings).without_waiting().start_with(emulator).await;
    world.get("/").jwt(&world.session()).refused(503, "keys_unavailable").await;
    world.emulator.clear_faults();
    world.until_ready().await;
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept["project_id"], world.emulator.project_id());
}
