//! What an operator sees and does while the gateway runs: reloads under load, health, metrics,
//! limits (DESIGN.md sections 3 and 10; issue 2, "Operation").

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::client::Connection;
use crate::echo::{Answer, Step};
use crate::world::{World, until};

#[tokio::test]
async fn no_request_and_no_connection_is_lost_in_reloads() {
    let world = World::with("[server]\nworkers = 2").await;
    let session = world.session();
    let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let client = async || {
        let mut connection = world.connect().await;
        while !done.load(Ordering::Relaxed) {
            let response = world.get("/x").jwt(&session).send_on(&mut connection).await;
            assert_eq!((response.status, response.header("connection")), (200, None));
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    let reloads = async {
        for round in 0..12 {
            let before = served.load(Ordering::Relaxed);
            let settings = ["", "[session]\nmax_staleness = \"1m\"", "[stytch]\ntimeout = \"1s\""][round % 3];
            world.reload(settings).await.unwrap();
            until("requests under it", async || served.load(Ordering::Relaxed) > before + 20).await;
        }
        done.store(true, Ordering::Relaxed);
    };
    futures_util::future::join(join_all((0..4).map(|_| client())), reloads).await;
    let (connections, _) = world.upstream.traffic();
    assert!(
        connections < 200,
        "each reload begins with new connections upstream, and only then: {connections}"
    );
}

/// A request keeps the settings it began with to its end.
#[tokio::test]
async fn a_request_under_way_ends_as_it_began() {
    let world = World::start().await;
    world.upstream.on("/public/", |_| {
        let begin = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nping".to_vec();
        Answer::steps([Step::Send(begin), Step::Echo]).early()
    });
    let mut connection = world.connect().await;
    connection.send("POST /public/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\n").await;
    connection.until(b"ping").await;
    world.reload("[[routes]]\npath = \"/nothing\"\nupstream = \"other\"").await.unwrap();
    connection.send("pong").await;
    connection.until(b"pong").await;
    world.get("/public/x").refused(404, "no_route").await;
}

#[tokio::test]
async fn what_needs_a_restart_does_not_keep_the_rest_from_taking_effect() {
    let world = World::start().await;
    let settings = "[server]\nworkers = 3\nlisten = \"127.0.0.1:1\"\n\
        [[routes]]\npath = \"/new\"\nupstream = \"app\"\nauth = \"none\"";
    world.reload(settings).await.unwrap();
    world.get("/new").expect(200).await;
}

#[tokio::test]
async fn sessions_known_before_a_reload_are_not_asked_about_again() {
    let world = World::start().await;
    let session = world.session();
    world.get("/").opaque(&session).expect(200).await;
    world.reload("[server.limits]\nbody = \"1KiB\"").await.unwrap();
    world.get("/").opaque(&session).expect(200).await;
    assert_eq!((world.stytch_calls(), world.key_fetches()), (1, 1));
}

#[tokio::test]
async fn other_keys_of_a_session_take_effect_at_once() {
    let world = World::start().await;
    let session = world.session();
    world.get("/").token(&world.aged(&session, 60)).expect(200).await;
    world.reload("[session]\nmax_staleness = \"10s\"\n[rate_limit]\nfailures = \"2/h\"").await.unwrap();
    world.get("/").token(&world.aged(&session, 60)).expect(200).await;
    assert_eq!(world.stytch_calls(), 1);
    for (status, code) in [(401, "invalid_credential"), (401, "invalid_credential"), (429, "rate_limited")] {
        world.get("/").bearer("junk").refused(status, code).await;
    }
}

#[tokio::test]
async fn the_admin_listener_shows_and_changes_nothing() {
    let world = World::start().await;
    assert_eq!(world.admin("/livez").await.expect(200).text(), "ok\n");
    assert_eq!(world.admin("/readyz").await.expect(200).json(), json!({ "ready": true }));
    let status = world.admin("/status").await.expect(200).json();
    assert_eq!(status["config"]["project_id"], world.emulator.project_id());
    assert_eq!(status["config"]["generation"], 1);
    assert!(status["keys"]["count"].as_u64().unwrap() > 0);
    assert!(!status.to_string().contains(world.emulator.secret()));
    world.admin("/").await.expect(404);
    // And none of it stands on the listener that clients reach.
    for path in ["/livez", "/readyz", "/metrics", "/status"] {
        world.get(path).refused(401, "unauthenticated").await;
    }
}

/// The series of DESIGN.md section 10.
#[tokio::test]
async fn every_series_is_there_and_every_label_is_bounded() {
    let world = World::start().await;
    let session = world.session();
    world.get("/reports/secret-path-1").jwt(&session).expect(200).await;
    world.get("/reports/secret-path-2").jwt(&session).expect(200).await;
    world.get("/reports/secret-path-3").opaque(&session).expect(200).await;
    world.get("/public/x").expect(200).await;
    world.get("/x").host("nobody.test").refused(404, "no_route").await;
    world.get("/x").refused(401, "unauthenticated").await;
    world.request("MADEUP", "/x").refused(401, "unauthenticated").await;
    world.raw("GET / HTTP/1.1\n\n").await;
    let counted = "stytch_gateway_requests_total{route=\"app.test /*\",decision=\"allowed\",code=\"ok\"}";
    until("all to be counted", async || world.metric(counted).await == 3.0).await;
    let exposed = world.admin("/metrics").await.expect(200);
    assert!(exposed.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = exposed.text();
    for series in [
        "requests_total{route=",
        "request_duration_seconds_bucket{le=",
        "decision_duration_seconds_bucket{",
        "decision_duration_seconds_count{source=\"cache\"} 1",
        "decision_duration_seconds_count{source=\"local\"} 1",
        "decision_duration_seconds_count{source=\"stytch\"} 1",
        "stytch_calls_total{endpoint=\"sessions_authenticate\",outcome=\"ok\"} 1",
        "stytch_calls_total{endpoint=\"jwks\",outcome=\"ok\"} 1",
        "stytch_call_duration_seconds_count 2",
        "sessions_cached ",
        "keys_age_seconds ",
        "upstream_requests_total{upstream=\"app\",outcome=\"2xx\"} 4",
        "upstream_connections{upstream=\"app\",",
        "upstream_endpoint_up{upstream=\"app\",address=\"127.0.0.1:",
        "upstream_ejections_total{upstream=\"app\"} 0",
        "upstream_waiting{upstream=\"app\"} 0",
        "connections ",
        "connections_refused_total{reason=\"malformed_head\"} 1",
        "config_reloads_total{outcome=\"applied\"} 0",
    ] {
        assert!(text.contains(&format!("stytch_gateway_{series}")), "{series} is missing\n{text}");
    }
    let mut labels = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, rest) = line.split_once('{').unwrap_or_default();
        let pairs = rest.split_once('}').map_or("", |(pairs, _)| pairs);
        for (name, value) in pairs.split("\",").filter_map(|pair| pair.split_once("=\"")) {
            labels.insert((name.to_owned(), value.trim_end_matches('"').to_owned()));
        }
    }
    let names: BTreeSet<_> = labels.iter().map(|(name, _)| name.as_str()).collect();
    let known = [
        "address", "code", "decision", "endpoint", "hash", "kind", "le", "outcome", "reason", "route",
        "source", "state", "upstream", "version",
    ];
    assert!(names.is_subset(&known.into()), "{names:?}");
    let telling = |value: &str| {
        ["secret-path", "member-", "organization-", "session-", "nobody.test", "MADEUP", "127.0.0.1"]
            .iter()
            .any(|part| value.contains(part))
    };
    // An upstream's, which the settings name.
    let (addresses, labels): (BTreeSet<_>, BTreeSet<_>) =
        labels.into_iter().partition(|(name, _)| name == "address");
    let own = [world.upstream.address(), world.other.address()].map(|address| address.to_string());
    assert!(addresses.iter().all(|(_, value)| own.contains(value)), "{addresses:?}");
    assert!(labels.iter().all(|(_, value)| !telling(value)), "{labels:?}");
}

#[tokio::test]
async fn the_size_of_the_memory_is_told() {
    let world = World::start().await;
    for _ in 0..3 {
        world.get("/").jwt(&world.session()).expect(200).await;
    }
    until("three sessions", async || world.metric("stytch_gateway_sessions_cached").await == 3.0).await;
    assert_eq!(world.admin("/status").await.json()["sessions_cached"], 3);
}

async fn is_served(connection: &mut Connection, world: &World) -> u16 {
    connection.send(world.get("/public/x").bytes()).await;
    connection.response().await.map_or(0, |response| response.status)
}

#[tokio::test]
async fn connections_are_limited() {
    for setting in ["connections = 2", "connections_per_address = 2"] {
        let world = World::with(&format!("[server.limits]\n{setting}")).await;
        let mut held = [world.connect().await, world.connect().await];
        for connection in &mut held {
            assert_eq!(is_served(connection, &world).await, 200, "{setting}");
        }
        let turned_away = world.raw(world.get("/public/x").bytes()).await;
        assert_eq!((turned_away.status(), turned_away.closed), (Some(503), true), "{setting}");
        assert_eq!(turned_away.response.unwrap().code().as_deref(), Some("overloaded"));
        drop(held);
        until("room for another", async || {
            let mut connection = world.connect().await;
            is_served(&mut connection, &world).await == 200
        })
        .await;
    }
}

#[tokio::test]
async fn requests_without_a_route_are_logged_too() {
    let world = World::start().await;
    world.get("/x?token=abc").host("nobody.test").refused(404, "no_route").await;
    world.raw("BROKEN\r\n\r\n").await;
    let lines = world.log(2).await;
    assert_eq!((&lines[0]["route"], &lines[0]["path"]), (&Value::Null, &json!("/x")));
    assert_eq!((&lines[1]["code"], &lines[1]["status"]), (&json!("bad_request"), &json!(400)));
    assert!(lines.iter().all(|line| line["reason"].is_string()));
}
