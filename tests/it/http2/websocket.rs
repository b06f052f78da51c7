//! WebSockets over HTTP/2 (RFC 8441): asked for, judged, carried and ended as those of HTTP/1.1.

use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use stytch_emulator::Session;

use super::{H2, get, read};
use crate::client::{PATIENCE, Response};
use crate::echo::{Answer, Received, Step};
use crate::pki::Pki;
use crate::upstreams::http2::{Http2, cleartext};
use crate::world::{World, until};

const STALENESS: &str = "\n[session]\nmax_staleness = \"1s\"\n";
const FRAME: &[u8] = b"\x81\x85\0\0\0\0hello";

/// What a server of WebSockets says to a handshake (RFC 6455 section 4.2.2).
fn accept(received: &Received) -> String {
    let key = received.header("sec-websocket-key").unwrap_or_default();
    let digest =
        digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    let chosen = "Sec-WebSocket-Protocol: chat\r\nX-Stytch-Assertion: forged\r\n";
    format!("{head}{chosen}Sec-WebSocket-Accept: {}\r\n\r\n", BASE64_STANDARD.encode(digest))
}

async fn world(pki: &Pki, more: &str) -> World {
    let world = pki.world(more).await;
    for path in ["/ws", "/public/ws"] {
        world
            .upstream
            .on(path, |received| Answer::steps([Step::Send(accept(received).into_bytes()), Step::Echo]));
    }
    world
}

/// A client that knows that extended CONNECT is spoken here.
async fn client(pki: &Pki, world: &World) -> H2 {
    let client = H2::connect(pki, world).await;
    until("the settings", async || client.sender.is_extended_connect_protocol_enabled()).await;
    client
}

fn ask(path: &str, protocol: &'static str) -> http::request::Builder {
    get(path)
        .method("CONNECT")
        .extension(Protocol::from_static(protocol))
        .header("sec-websocket-version", "13")
}

fn with(request: http::request::Builder, session: &Session) -> http::request::Builder {
    request.header("cookie", format!("stytch_session={}", session.session_token))
}

struct Socket {
    up: SendStream<Bytes>,
    down: RecvStream,
    head: http::response::Parts,
}

impl Socket {
    async fn open(client: &H2, request: http::request::Builder) -> Self {
        let mut sender = client.sender.clone().ready().await.unwrap();
        let (answer, up) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("an answer").unwrap();
        let (head, down) = answer.into_parts();
        assert_eq!(head.status, 200);
        Self { up, down, head }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.up.send_data(Bytes::copy_from_slice(bytes), false).unwrap();
    }

    /// So many bytes.
    async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let data = tokio::time::timeout(PATIENCE, self.down.data()).await.expect("bytes");
            let data = data.expect("bytes before the end").unwrap();
            self.down.flow_control().release_capacity(data.len()).unwrap();
            bytes.extend_from_slice(&data);
        }
        bytes
    }

    async fn echoes(&mut self) {
        self.send(FRAME);
        assert_eq!(self.bytes(FRAME.len()).await, FRAME);
    }

    /// What comes up to the end, which is none of an error.
    async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(data) = tokio::time::timeout(PATIENCE, self.down.data()).await.expect("an end") {
            bytes.extend_from_slice(&data.unwrap());
        }
        bytes
    }
}

/// The answer to what is not to open.
async fn refused(client: &H2, request: http::request::Builder) -> Response {
    let mut sender = client.sender.clone().ready().await.unwrap();
    let (answer, _up) = sender.send_request(request.body(()).unwrap(), false).unwrap();
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect("an answer").unwrap();
    assert!(!answer.status().is_success(), "it is open");
    read(answer).await.unwrap()
}

fn closed(status: u16, code: &str) -> Vec<u8> {
    let length = u8::try_from(2 + code.len()).unwrap();
    [&[0x88, length], &status.to_be_bytes()[..], code.as_bytes()].concat()
}

async fn ended(world: &World, reason: &str) -> f64 {
    world.metric(&format!("stytch_gateway_streams_ended_total{{reason=\"{reason}\"}}")).await
}

async fn open(world: &World) -> f64 {
    world.metric("stytch_gateway_upgraded_connections").await
}

#[tokio::test]
async fn it_carries_bytes_both_ways() {
    let pki = Pki::new();
    let world = world(&pki, "").await;
    let session = world.session();
    let client = client(&pki, &world).await;
    let request = with(ask("/ws?a=b", "websocket"), &session)
        .header("sec-websocket-protocol", "chat")
        .header("sec-websocket-key", "theirs")
        .header("origin", "https://app.test")
        .header("x-stytch-member-id", "somebody-else");
    let mut socket = Socket::open(&client, request).await;
    assert_eq!(socket.head.headers["sec-websocket-protocol"], "chat");
    for absent in ["connection", "upgrade", "sec-websocket-accept", "x-stytch-assertion", "content-length"] {
        assert!(!socket.head.headers.contains_key(absent), "{absent}");
    }
    let received = world.upstream.last();
    assert_eq!(received.request_line(), "GET /ws?a=b HTTP/1.1");
    for (name, value) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("host", "app.test"),
    ] {
        assert_eq!(received.all(name), [value], "{name}");
    }
    assert_eq!(BASE64_STANDARD.decode(received.header("sec-websocket-key").unwrap()).unwrap().len(), 16);
    assert!(received.header("via").unwrap().starts_with("2.0 ") && received.header("cookie").is_none());
    assert_eq!(received.all("x-stytch-member-id"), [world.claims(&session)["sub"].as_str().unwrap()]);
    socket.echoes().await;
    let large = vec![7; 300_000];
    let mut sent = 0;
    let mut back = Vec::new();
    while back.len() < large.len() {
        let piece = &large[sent..large.len().min(sent + 10_000)];
        socket.send(piece);
        sent += piece.len();
        back.extend(socket.bytes(piece.len()).await);
    }
    assert_eq!(back, large);
    // Other requests go on beside it.
    client.get("/public/x").await.unwrap().expect(200);
    assert_eq!(open(&world).await, 1.0);
    // The end of one direction is one upstream, which ends the other.
    socket.up.send_data(Bytes::new(), true).unwrap();
    assert!(socket.rest().await.is_empty());
    until("the end", async || open(&world).await == 0.0).await;
    let line = world.log(2).await.into_iter().find(|line| line["path"] == "/ws").unwrap();
    assert_eq!(
        (&line["status"], &line["method"], &line["decision"]),
        (&101.into(), &"GET".into(), &"allowed".into())
    );
    assert_eq!(line["bytes_out"], 300_000 + FRAME.len());
}

/// RFC 9113 lets a client send before it knows: H13.
#[tokio::test]
async fn h13_what_comes_before_the_answer_waits_for_it() {
    let pki = Pki::new();
    let world = world(&pki, "").await;
    let client = client(&pki, &world).await;
    let mut sender = client.sender.clone().ready().await.unwrap();
    let (answer, mut up) =
        sender.send_request(ask("/public/ws", "websocket").body(()).unwrap(), false).unwrap();
    up.send_data(Bytes::from_static(FRAME), false).unwrap();
    let (head, down) = tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap().into_parts();
    let mut socket = Socket { up, down, head };
    assert_eq!(socket.bytes(FRAME.len()).await, FRAME);
    assert!(!world.upstream.last().head.windows(5).any(|bytes| bytes == b"hello"));
    // Before a refusal it goes nowhere.
    let before = world.upstream_traffic();
    let mut sender = client.sender.clone().ready().await.unwrap();
    let (answer, mut up) = sender.send_request(ask("/ws", "websocket").body(()).unwrap(), false).unwrap();
    up.send_data(Bytes::from_static(b"GET /private HTTP/1.1\r\nHost: app.test\r\n\r\n"), false).unwrap();
    let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 401);
    client.get("/private").await.unwrap().expect(401);
    assert_eq!(world.upstream_traffic(), before);
}

#[tokio::test]
async fn what_is_refused_is_told_as_ever() {
    let pki = Pki::new();
    let world = world(&pki, "").await;
    let session = world.session();
    let client = client(&pki, &world).await;
    let before = world.upstream_traffic();
    let evil = "https://evil.test";
    let own = || with(ask("/ws", "websocket"), &session);
    for (what, request, status, code) in [
        ("nobody", ask("/ws", "websocket"), 401, "unauthenticated"),
        ("another site", own().header("origin", evil), 403, "cross_site_request"),
        ("another site", own().header("sec-fetch-site", "cross-site"), 403, "cross_site_request"),
        ("no path for two", ask("/public/%2e%2e%2f", "websocket"), 400, "ambiguous_path"),
        ("two hosts", ask("/public/ws", "websocket").header("host", "other.test"), 400, "bad_request"),
        ("a space", ask("/public/ws", "websocket").header("a", " b"), 400, "bad_request"),
        ("a path of ours", ask("/_stytch/keys", "websocket"), 405, "method_not_allowed"),
        ("another protocol", ask("/public/ws", "connect-udp"), 405, "method_not_allowed"),
        ("another protocol", ask("/public/ws", "h2c"), 405, "method_not_allowed"),
        ("two protocols", ask("/public/ws", "websocket, h2c"), 405, "method_not_allowed"),
    ] {
        let answer = refused(&client, request).await;
        world.check_refusal(what, &answer, status, code, before);
    }
    let plain = http::Request::builder().method("CONNECT").uri("app.test");
    let answer = refused(&client, plain).await;
    world.check_refusal("plain", &answer, 405, "method_not_allowed", before);
    client.get("/public/x").await.unwrap().expect(200);
}

/// H15: only an answer to our handshake opens it.
#[tokio::test]
async fn h15_an_upstream_that_does_not_open_it() {
    let pki = Pki::new();
    let world = world(&pki, "").await;
    let client = client(&pki, &world).await;
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    for (head, status) in [
        (format!("{switch}\r\nblind"), 502),
        (format!("{switch}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nblind"), 502),
        (switch.replace("Upgrade: websocket", "Upgrade: h2c") + "\r\nblind", 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), 502),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), 502),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned(), 403),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_owned(), 302),
    ] {
        world.upstream.on("/public/other", move |_| Answer::bytes(&head));
        let answer = refused(&client, ask("/public/other", "websocket")).await.expect(status);
        match status {
            502 => assert_eq!(answer.code().as_deref(), Some("upstream_protocol")),
            403 => assert_eq!(answer.text(), "no"),
            _ => assert_eq!(answer.header("location"), Some("/")),
        }
    }
    let upstream = Http2::start(None).await;
    let settings = format!("{}\n{}", pki.settings(&["app", "other"], ""), cleartext(&upstream, ""));
    world.reload(&settings).await.unwrap();
    let answer = refused(&client, ask("/public/ws", "websocket")).await.expect(502);
    assert_eq!(answer.code().as_deref(), Some("upstream_protocol"));
    assert_eq!(upstream.begun(), 0);
}

#[tokio::test]
async fn h19_it_ends_with_its_session() {
    let pki = Pki::new();
    let world = world(&pki, STALENESS).await;
    let (session, other) = (world.session(), world.session());
    let client = client(&pki, &world).await;
    let mut sockets = Vec::new();
    for session in [&session, &session, &other] {
        let mut socket = Socket::open(&client, with(ask("/ws", "websocket"), session)).await;
        socket.echoes().await;
        sockets.push(socket);
    }
    world.revoke(&session).await;
    for socket in &mut sockets[..2] {
        assert_eq!(socket.rest().await, closed(1008, "invalid_credential"));
    }
    assert_eq!(ended(&world, "revoked").await, 2.0);
    until("two ends", async || open(&world).await == 1.0).await;
    sockets[2].echoes().await;
}

#[tokio::test]
async fn h23_it_ends_when_nothing_moves_and_when_the_gateway_stops() {
    let pki = Pki::new();
    let idle = world(&pki, "\n[upstreams.app]\nurl = \"$APP\"\ntimeouts.idle = \"1s\"").await;
    let connected = client(&pki, &idle).await;
    let mut socket = Socket::open(&connected, ask("/public/ws", "websocket")).await;
    assert_eq!(socket.rest().await, closed(1001, "upstream_timeout"));
    assert_eq!(ended(&idle, "idle").await, 1.0);
    let draining = world(&pki, "\n[server.timeouts]\ndrain = \"3s\"").await;
    let connected = client(&pki, &draining).await;
    let mut socket = Socket::open(&connected, ask("/public/ws", "websocket")).await;
    draining.stop();
    assert_eq!(socket.rest().await, closed(1001, ""));
}

/// A page that cannot set headers, as over HTTP/1.1.
#[tokio::test]
async fn its_credential_may_come_in_the_query() {
    let pki = Pki::new();
    let world = world(&pki, "\n[session]\nwebsocket_query = \"token\"").await;
    let session = world.session();
    let client = client(&pki, &world).await;
    let path = format!("/ws?a=b&token={}", session.session_jwt);
    Socket::open(&client, ask(&path, "websocket")).await.echoes().await;
    assert_eq!(world.upstream.last().target(), "/ws?a=b");
    client.get(&path).await.unwrap().expect(401);
}

/// Each is one of the streams that a connection may have.
#[tokio::test]
async fn there_are_as_many_as_streams() {
    let pki = Pki::new();
    let world = world(&pki, "").await;
    let client = client(&pki, &world).await;
    let mut sockets = Vec::new();
    for _ in 0..100 {
        sockets.push(Socket::open(&client, ask("/public/ws", "websocket")).await);
    }
    let next = tokio::time::timeout(Duration::from_millis(300), client.get("/public/x")).await;
    assert!(next.is_err(), "there was room for one more");
    assert_eq!(open(&world).await, 100.0);
    sockets.pop();
    client.get("/public/x").await.unwrap().expect(200);
}

/// Each end's leaving is the other's end.
#[tokio::test]
async fn it_ends_with_either_end() {
    let pki = Pki::new();
    let world = world(&pki, "").await;
    let client = client(&pki, &world).await;
    let mut socket = Socket::open(&client, ask("/public/ws", "websocket")).await;
    socket.echoes().await;
    socket.up.send_reset(h2::Reason::CANCEL);
    until("the end", async || open(&world).await == 0.0).await;
    world.upstream.on("/public/ws", |received| {
        Answer::steps([Step::Send([accept(received).as_bytes(), b"\x81\x02hi"].concat()), Step::Close])
    });
    let mut socket = Socket::open(&client, ask("/public/ws", "websocket")).await;
    assert_eq!(socket.rest().await, b"\x81\x02hi");
    // As ends of TCP: what the other side still says has somewhere to go.
    assert_eq!(open(&world).await, 1.0);
    socket.up.send_data(Bytes::new(), true).unwrap();
    until("the end", async || open(&world).await == 0.0).await;
    client.get("/public/x").await.unwrap().expect(200);
}
