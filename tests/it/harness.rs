//! The harness itself, so that a test that passes because nothing happened is noticed.

use std::time::Duration;

use serde_json::json;
use stytch_emulator::{Emulator, Fault};

use crate::echo::{Answer, Step};
use crate::world::World;

#[tokio::test]
async fn a_request_with_a_session_reaches_the_upstream_and_comes_back() {
    let world = World::start().await;
    let session = world.session();
    let response = world.get("/reports?x=1").with(&session).expect(200).await;
    let received = world.upstream.last();
    assert_eq!(received.request_line(), "GET /reports?x=1 HTTP/1.1");
    assert!(received.header("X-Stytch-Member-Id").is_some_and(|id| id.starts_with("member-")));
    assert!(response.text().starts_with("GET /reports?x=1 HTTP/1.1\r\n"));
    assert_eq!(response.header("cache-control"), Some("private"));
    world.get("/").host("other.test").jwt(&session).expect(200).await;
    world.get("/").opaque(&session).expect(200).await;
    world.get("/").bearer(&session.session_jwt).expect(200).await;
    assert_eq!(world.upstream_traffic(), [world.upstream.traffic(), world.other.traffic()]);
    assert_eq!(world.other.requests().len(), 1);
    let lines = world.log(4).await;
    assert_eq!((&lines[0]["decision"], &lines[0]["path"]), (&json!("allowed"), &json!("/reports")));
}

#[tokio::test]
async fn a_request_without_a_session_does_not() {
    let world = World::start().await;
    world.get("/reports").refused(401, "unauthenticated").await;
    let other_project = Emulator::start(stytch_emulator::World::built_in()).await.unwrap();
    let session = other_project.session("ana@acme.example").organization("acme").mint();
    world.get("/reports").with(&session).refused(401, "invalid_credential").await;
    let raw = world.raw("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!((raw.status(), raw.closed, raw.rest.len()), (Some(400), true, 0));
}

#[tokio::test]
async fn sessions_can_be_aged_and_revoked() {
    let world = World::start().await;
    let session = world.session();
    world.get("/").token(&world.aged(&session, 3600)).expect(200).await;
    assert_eq!(world.stytch_calls(), 1);
    world.revoke(&session).await;
    world.get("/").token(&world.aged(&session, 4000)).refused(401, "invalid_credential").await;
}

#[tokio::test]
async fn an_upstream_answers_as_it_is_told() {
    let world = World::with("[upstreams.app.timeouts]\nresponse = \"9s\"").await;
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n";
    let body = b"2\r\nok\r\n0\r\nSum: 1\r\n\r\n";
    world.upstream.on("/public/slow", |_| {
        let wait = Step::Wait(Duration::from_millis(10));
        Answer::steps([Step::Send(head.to_vec()), wait, Step::Send(body.to_vec())])
    });
    world.upstream.on("/public/closes", |_| Answer::steps([Step::Close]));
    world.upstream.on("/public/early", |_| {
        Answer::bytes("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").early()
    });
    let slow = world.get("/public/slow").header("TE", "trailers").expect(200).await;
    assert_eq!((slow.text().as_str(), slow.complete), ("ok", true));
    world.get("/public/closes").expect(502).await;
    world.post("/public/early").body("body").expect(403).await;
    world.upstream.wait_for(3).await;
    let posted = world.post("/public/x").body("body").expect(200).await;
    assert!(posted.text().ends_with("\r\n\r\nbody"));
    let received = world.upstream.last();
    assert_eq!((received.body.as_slice(), received.complete), (b"body".as_slice(), true));
}

#[tokio::test]
async fn other_settings_take_effect() {
    let world = World::start().await;
    world.get("/open").refused(401, "unauthenticated").await;
    let open = "[[routes]]\npath = \"/open\"\nupstream = \"other\"\nauth = \"none\"";
    world.reload(open).await.unwrap();
    world.get("/open").expect(200).await;
    assert_eq!(world.other.last().path(), "/open");
    assert!(world.reload("[server]\nnonsense = 1").await.is_err());
    world.get("/open").expect(200).await;
    world.reload("").await.unwrap();
    world.get("/open").refused(401, "unauthenticated").await;
    assert!(world.admin("/metrics").await.expect(200).text().contains("stytch_gateway_requests_total"));
}

#[tokio::test]
async fn a_gateway_that_is_not_ready_can_be_had() {
    let emulator = Emulator::start(stytch_emulator::World::built_in()).await.unwrap();
    emulator.fault(Fault { status: Some(500), ..Fault::on("/v1/b2b/sessions/jwks") });
    let world = World::builder().without_waiting().start_with(emulator).await;
    world.admin("/readyz").await.expect(503);
    world.get("/").jwt(&world.session()).refused(503, "keys_unavailable").await;
    world.emulator.clear_faults();
    world.until_ready().await;
    world.get("/").jwt(&world.session()).expect(200).await;
}

#[tokio::test]
async fn an_upgrade_is_a_tunnel_to_the_upstream() {
    let world = World::start().await;
    world.upstream.on("/ws", |_| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        Answer::steps([Step::Send(head.to_vec()), Step::Echo])
    });
    world.upstream.on("/hangs", |_| Answer::steps([Step::Hold]));
    let mut connection = world.connect().await;
    let session = world.session();
    let ask = world.get("/ws").with(&session).header("Connection", "Upgrade").header("Upgrade", "websocket");
    assert_eq!(ask.send_on(&mut connection).await.status, 101);
    connection.send("hello").await;
    assert_eq!(connection.bytes(5).await, b"hello");
    let mut waiting = world.connect().await;
    waiting.send(world.get("/hangs").with(&session).bytes()).await;
    world.upstream.wait_for(2).await;
    let connections: Vec<_> = world.upstream.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 1]);
}

#[tokio::test]
async fn a_world_can_have_other_settings_and_other_people() {
    let people = "[[users]]\nemails = [{ email = \"zoe@example.com\" }]\n";
    let settings = "[stytch]\nvertical = \"consumer\"\nkey_cache_file = \"$DIR/keys\"\n";
    let world = World::builder().seed(people).with(settings).start().await;
    let session = world.emulator.session("zoe@example.com").mint();
    world.get("/").with(&session).expect(200).await;
    assert!(world.directory().join("keys").exists());
    let status = world.admin("/status").await.expect(200).json();
    assert!(status.to_string().contains(&world.address().to_string()));
    assert_ne!(world.upstream.address(), world.other.address());
}

/// A client and an upstream that never come to an end do not keep the gateway from stopping.
#[tokio::test]
async fn draining_ends_by_itself() {
    let world = World::with("[server.timeouts]\ndrain = \"300ms\"").await;
    world.upstream.on("/public/hangs", |_| Answer::steps([Step::Hold]));
    let mut connection = world.connect().await;
    connection.send(world.get("/public/hangs").bytes()).await;
    world.upstream.wait_for(1).await;
    let began = std::time::Instant::now();
    drop(world);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(connection.rest().await, b"");
}
