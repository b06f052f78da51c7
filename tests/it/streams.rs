//! Streams end with the session: WebSockets, events and uploads are judged again while they last
//! (DESIGN.md section 4). Rows H19 to H23 of the corpus.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stytch_emulator::{Fault, Session};

use crate::client::Connection;
use crate::echo::{Answer, Step};
use crate::world::{World, until};

const AUTHENTICATE: &str = "/v1/b2b/sessions/authenticate";
const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                      Transfer-Encoding: chunked\r\n\r\nb\r\ndata: one\n\n\r\n";

/// Stytch's word counts for a second, unless `settings` say otherwise.
async fn world(settings: &str) -> World {
    let staleness = "[session]\nmax_staleness = \"1s\"\n";
    let settings =
        if settings.contains("[session]") { settings.to_owned() } else { format!("{staleness}{settings}") };
    let world = World::with(&settings).await;
    world.upstream.on("/ws", |_| Answer::steps([Step::Send(GRANTED.into()), Step::Echo]));
    world.upstream.on("/events", |_| Answer::steps([Step::Send(EVENTS.into()), Step::Hold]));
    world
}

/// A WebSocket of this session, open.
async fn socket(world: &World, path: &str, session: &Session) -> Connection {
    let mut connection = world.connect().await;
    let ask = world.get(path).opaque(session).header("Connection", "Upgrade").header("Upgrade", "websocket");
    ask.send_on(&mut connection).await.expect(101);
    echoes(&mut connection).await;
    connection
}

/// Events of this session, of which the first has come.
async fn events(world: &World, session: &Session) -> Connection {
    let mut connection = world.connect().await;
    connection.send(world.get("/events").opaque(session).bytes()).await;
    connection.until(b"data: one\n\n\r\n").await;
    connection
}

async fn echoes(connection: &mut Connection) {
    let frame = b"\x81\x85\0\0\0\0hello";
    connection.send(frame).await;
    assert_eq!(connection.bytes(frame.len()).await, frame);
}

/// The frame that ends a WebSocket.
fn closed(status: u16, code: &str) -> Vec<u8> {
    let length = u8::try_from(2 + code.len()).unwrap();
    [&[0x88, length], &status.to_be_bytes()[..], code.as_bytes()].concat()
}

async fn ended(world: &World, reason: &str) -> f64 {
    world.metric(&format!("stytch_gateway_streams_ended_total{{reason=\"{reason}\"}}")).await
}

async fn line(world: &World, path: &str) -> Value {
    let mut found = None;
    until("the stream's line", async || {
        found = world.logged().into_iter().find(|line| line["path"] == path);
        found.is_some()
    })
    .await;
    found.unwrap()
}

#[tokio::test]
async fn h19_a_websocket_ends_with_its_session() {
    for refresh_ahead in [true, false] {
        let world =
            world(&format!("[session]\nmax_staleness = \"1s\"\nrefresh_ahead = {refresh_ahead}")).await;
        let session = world.session();
        let mut connection = socket(&world, "/ws", &session).await;
        let revoked = Instant::now();
        world.revoke(&session).await;
        assert_eq!(connection.rest().await, closed(1008, "invalid_credential"));
        assert!(revoked.elapsed() < Duration::from_secs(4), "{:?}", revoked.elapsed());
        let line = line(&world, "/ws").await;
        assert_eq!(
            (&line["status"], &line["decision"], &line["code"]),
            (&json!(101), &json!("failed"), &json!("invalid_credential"))
        );
        assert!(line["reason"].is_string() && line["member_id"].is_string(), "{line}");
        assert_eq!(ended(&world, "revoked").await, 1.0);
    }
}

#[tokio::test]
async fn h20_other_streams_end_with_their_session_and_do_not_look_whole() {
    let world = world("").await;
    let session = world.session();
    let mut events = events(&world, &session).await;
    let mut upload = world.connect().await;
    let head = world.post("/upload").opaque(&session).header("Transfer-Encoding", "chunked").bytes();
    upload.send([&head[..], b"3\r\nabc\r\n"].concat()).await;
    world.upstream.wait_for(2).await;
    world.revoke(&session).await;
    assert!(events.rest().await.is_empty(), "neither more events nor a last chunk");
    // Nothing was said of the upload yet, so that it can be said why.
    let response = upload.response().await.unwrap().expect(401);
    assert_eq!(response.code().as_deref(), Some("invalid_credential"));
    assert_eq!(response.header("connection"), Some("close"));
    assert!(!world.upstream.requests()[1].complete);
    let lines = [line(&world, "/events").await, line(&world, "/upload").await];
    assert_eq!([&lines[0]["status"], &lines[1]["status"]], [&json!(200), &json!(401)]);
    assert!(lines.iter().all(|line| line["code"] == "invalid_credential"), "{lines:?}");
    world.get("/events").opaque(&session).refused(401, "invalid_credential").await;
}

#[tokio::test]
async fn a_stream_goes_on_as_long_as_its_session() {
    let world = world("").await;
    let session = world.session();
    let mut connection = socket(&world, "/ws", &session).await;
    let asked = world.stytch_calls();
    until("three words", async || world.stytch_calls() >= asked + 3).await;
    echoes(&mut connection).await;
    assert_eq!(world.metric("stytch_gateway_upgraded_connections").await, 1.0);
}

#[tokio::test]
async fn what_many_streams_of_one_session_ask_is_one_question() {
    let world = world("[session]\nmax_staleness = \"3s\"").await;
    let session = world.session();
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(socket(&world, "/ws", &session).await);
    }
    let asked = world.stytch_calls();
    until("another word", async || world.stytch_calls() > asked).await;
    assert!(world.stytch_calls() <= asked + 2, "{}", world.stytch_calls() - asked);
    world.revoke(&session).await;
    for mut stream in streams {
        assert_eq!(stream.rest().await, closed(1008, "invalid_credential"));
    }
    assert_eq!(ended(&world, "revoked").await, 20.0);
    // The end of one session is no reason to be slow with others of its address.
    world.get("/").opaque(&world.session()).expect(200).await;
}

#[tokio::test]
async fn h21_a_stream_ends_with_the_membership() {
    let world = world("").await;
    let session = world.session();
    let mut connection = socket(&world, "/ws", &session).await;
    let member = world.emulator.member_id("acme", "cho@acme.example").unwrap();
    world.emulator.patch_member(&member, json!({ "status": "deleted" })).unwrap();
    assert_eq!(connection.rest().await, closed(1008, "invalid_credential"));
}

const EDITORS: &str = "[session]\nmax_staleness = \"1s\"\n\
    [[routes]]\npath = \"/*\"\nupstream = \"app\"\nallow.roles = [\"editor\"]";

#[tokio::test]
async fn h22_a_stream_ends_with_the_right() {
    // A role is taken away at Stytch; a rule changes here.
    for by_reload in [false, true] {
        let world = world(EDITORS).await;
        let session = world.session_of("ben@acme.example", "acme");
        let mut connection = socket(&world, "/ws", &session).await;
        if by_reload {
            world.reload(&EDITORS.replace("editor", "admin")).await.unwrap();
        } else {
            let member = world.emulator.member_id("acme", "ben@acme.example").unwrap();
            world.emulator.patch_member(&member, json!({ "roles": [] })).unwrap();
        }
        assert_eq!(connection.rest().await, closed(1008, "role_not_allowed"), "{by_reload}");
        assert_eq!(ended(&world, "forbidden").await, 1.0);
        assert_eq!(line(&world, "/ws").await["code"], "role_not_allowed");
    }
}

#[tokio::test]
async fn a_reload_that_takes_nothing_away_ends_no_stream() {
    let world = world(EDITORS).await;
    let session = world.session_of("ben@acme.example", "acme");
    let mut connection = socket(&world, "/ws", &session).await;
    for _ in 0..3 {
        world.reload(EDITORS).await.unwrap();
        echoes(&mut connection).await;
    }
    let asked = world.stytch_calls();
    until("another word", async || world.stytch_calls() >= asked + 2).await;
    echoes(&mut connection).await;
}

#[tokio::test]
async fn h18_a_machines_stream_ends_with_its_token() {
    let world =
        world("[session]\nleeway = \"0s\"\n[[routes]]\npath = \"/*\"\nupstream = \"app\"\nkinds = [\"m2m\"]")
            .await;
    let token = world.emulator.m2m_token("m2m-client-test-reports").mint();
    let mut claims = crate::access_tokens::claims(&token);
    claims["exp"] = json!(stytch_gateway::clock::unix_millis() / 1000 + 3);
    let token = world.emulator.token(claims).sign();
    let mut connection = world.connect().await;
    connection.send(world.get("/events").bearer(&token).bytes()).await;
    connection.until(b"data: one\n\n\r\n").await;
    assert!(connection.rest().await.is_empty());
    assert_eq!(ended(&world, "expired").await, 1.0);
}

#[tokio::test]
async fn in_an_outage_a_stream_is_held_to_what_a_request_is() {
    for (grace, goes_on) in [("0s", false), ("1h", true)] {
        let world = world(&format!("[session]\nmax_staleness = \"1s\"\noutage_grace = \"{grace}\"")).await;
        let session = world.session();
        let mut connection = socket(&world, "/ws", &session).await;
        world.emulator.fault(Fault { status: Some(503), ..Fault::on(AUTHENTICATE) });
        if goes_on {
            until("a word of grace", async || {
                world.get("/").opaque(&session).send().await.status == 200
                    && world.metric("stytch_gateway_outage_grace_total").await > 0.0
            })
            .await;
            echoes(&mut connection).await;
        } else {
            // Try again later: nobody said that the session is over.
            assert_eq!(connection.rest().await, closed(1013, "stytch_unavailable"));
            assert_eq!(ended(&world, "unchecked").await, 1.0);
        }
    }
}

#[tokio::test]
async fn a_frame_that_never_ends_is_cut_and_nothing_is_put_into_it() {
    let world = world("").await;
    let half = b"\x82\x7e\x03\xe8half a frame";
    world
        .upstream
        .on("/ws", move |_| Answer::steps([Step::Send([GRANTED.as_bytes(), half].concat()), Step::Hold]));
    let session = world.session();
    let mut connection = world.connect().await;
    let ask =
        world.get("/ws").opaque(&session).header("Connection", "Upgrade").header("Upgrade", "websocket");
    ask.send_on(&mut connection).await.expect(101);
    world.revoke(&session).await;
    assert_eq!(connection.rest().await, half);
}

#[tokio::test]
async fn a_stream_of_nobody_is_nobodys_to_end() {
    let world = world("").await;
    world.upstream.on("/public/events", |_| Answer::steps([Step::Send(EVENTS.into()), Step::Hold]));
    let session = world.session();
    let mut open = world.connect().await;
    open.send(world.get("/public/events").opaque(&session).bytes()).await;
    open.until(b"data: one\n\n\r\n").await;
    let mut closed = events(&world, &session).await;
    world.revoke(&session).await;
    assert!(closed.rest().await.is_empty());
    until("one connection", async || world.metric("stytch_gateway_connections").await == 1.0).await;
}

#[tokio::test]
async fn h23_a_websocket_in_which_nothing_moves_is_closed() {
    let world = world("[upstreams.app.timeouts]\nidle = \"1s\"").await;
    let mut connection = socket(&world, "/ws", &world.session()).await;
    assert_eq!(connection.rest().await, closed(1001, "upstream_timeout"));
    assert_eq!(ended(&world, "idle").await, 1.0);
}
