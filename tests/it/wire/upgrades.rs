//! Row H as far as it is HTTP/1.1's: tunnels that were asked for and granted, and no others.

use super::{goes_on, nothing_smuggled, refused, with};
use crate::echo::{Answer, Step};
use crate::world::World;

const GRANTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn ask(path: &str, protocol: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n")
}

async fn with_socket(early: &'static [u8]) -> World {
    let world = World::start().await;
    world.upstream.on("/public/ws", |_| Answer::steps([Step::Send([GRANTED, early].concat()), Step::Echo]));
    world
}

#[tokio::test]
async fn a_websocket_carries_bytes_both_ways() {
    let world = with_socket(b"early").await;
    let mut connection = world.connect().await;
    // What a client sends before the answer is neither lost nor taken for HTTP.
    connection.send(format!("{}\u{81}\0\r\n", ask("/public/ws", "websocket"))).await;
    let response = connection.response().await.unwrap().expect(101);
    assert_eq!(response.header("upgrade"), Some("websocket"));
    assert_eq!(response.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"));
    assert_eq!(
        connection.bytes(10).await,
        "early\u{81}\0\r".as_bytes().iter().chain(b"\n").copied().collect::<Vec<_>>()
    );
    for size in [1, 1000, 100_000] {
        let bytes = vec![0x0d; size];
        connection.send(&bytes).await;
        assert_eq!(connection.bytes(size).await, bytes);
    }
    let received = world.upstream.last();
    assert_eq!(received.header("upgrade").as_deref(), Some("websocket"));
}

#[tokio::test]
async fn a_websocket_behind_other_requests() {
    let world = with_socket(b"").await;
    let mut connection = world.connect().await;
    let before = String::from_utf8(world.get("/public/a").bytes()).unwrap();
    connection.send(format!("{before}{before}{}early\r\n", ask("/public/ws", "websocket"))).await;
    for status in [200, 200, 101] {
        connection.response().await.unwrap().expect(status);
    }
    assert_eq!(connection.bytes(7).await, b"early\r\n");
}

#[tokio::test]
async fn after_a_refused_upgrade_the_connection_goes_on() {
    let world = World::start().await;
    let mut connection = world.connect().await;
    for (path, status) in [("/private", 401), ("/public/plain", 200), ("/nowhere", 401)] {
        connection.send(ask(path, "websocket")).await;
        connection.response().await.unwrap().expect(status);
        goes_on(&world, &mut connection).await;
    }
    // Bytes that came with the wish are HTTP, or the end.
    connection.send(format!("{}\u{81}\0", ask("/private", "websocket"))).await;
    connection.response().await.unwrap().expect(401);
    connection.response().await.unwrap().expect(400);
    assert!(connection.rest().await.is_empty());
}

#[tokio::test]
async fn h11_http_2_in_clear_text_is_not_tunnelled() {
    let world = World::start().await;
    world.upstream.on("/public/h2c", |received| match received.header("upgrade") {
        Some(protocol) => Answer::bytes(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
        )),
        None => Answer::bytes("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    });
    for protocol in
        ["h2c", "H2C", "h2", "HTTP/2.0", "h2c, websocket", "websocket, h2c", "h2c\r\nUpgrade: websocket"]
    {
        let mut connection = world.connect().await;
        connection
            .send(format!(
                "GET /public/h2c HTTP/1.1\r\nHost: app.test\r\nUpgrade: {protocol}\r\n\
                 HTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n"
            ))
            .await;
        connection.response().await.unwrap().expect(200);
        let received = world.upstream.last();
        for name in ["upgrade", "http2-settings", "connection"] {
            assert_eq!(received.header(name), None, "{protocol}");
        }
        goes_on(&world, &mut connection).await;
    }
}

#[tokio::test]
async fn h12_an_upgrade_with_a_body_is_ignored() {
    let world = with_socket(b"").await;
    for protocol in ["h2c", "websocket"] {
        let mut connection = world.connect().await;
        let head = format!(
            "POST /public/a HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n"
        );
        connection.send(format!("{head}Content-Length: 2\r\n\r\nab")).await;
        connection.response().await.unwrap().expect(200);
        assert_eq!(world.upstream.last().body, b"ab");
        assert_eq!(world.upstream.last().header("upgrade"), None);
        goes_on(&world, &mut connection).await;
    }
    let old = "GET /public/a HTTP/1.0\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(world.raw(old).await.status(), Some(200));
    assert_eq!(world.upstream.last().header("upgrade"), None);
}

#[tokio::test]
async fn h15_an_upgrade_that_is_not_what_was_asked_for() {
    let world = World::start().await;
    world.upstream.on("/public/plain", |_| Answer::bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let mut connection = world.connect().await;
    connection.send(ask("/public/plain", "websocket")).await;
    assert_eq!(connection.response().await.unwrap().expect(200).text(), "ok");
    goes_on(&world, &mut connection).await;
    for head in [
        "Connection: Upgrade\r\nUpgrade: h2c",
        "Connection: Upgrade\r\nUpgrade: websocket2",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c",
        "Connection: Upgrade",
        "X: a",
    ] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{head}\r\n\r\nblind");
        world.upstream.on("/public/other", move |_| {
            Answer::steps([Step::Send(answer.clone().into_bytes()), Step::Echo])
        });
        let mut connection = world.connect().await;
        connection.send(ask("/public/other", "websocket")).await;
        let response = connection.response().await.unwrap().expect(502);
        assert_eq!(response.code().as_deref(), Some("upstream_protocol"), "{head}");
        goes_on(&world, &mut connection).await;
    }
}

#[tokio::test]
async fn h16_a_switch_nobody_asked_for() {
    let world = World::start().await;
    world.upstream.on("/public/switch", |_| Answer::steps([Step::Send(GRANTED.to_vec()), Step::Echo]));
    let mut connection = world.connect().await;
    for _ in 0..2 {
        let response = world.get("/public/switch").send_on(&mut connection).await;
        assert_eq!((response.status, response.code().as_deref()), (502, Some("upstream_protocol")));
        goes_on(&world, &mut connection).await;
    }
    refused(&world, with("Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: x\r\n", "")).await;
    nothing_smuggled(&world);
}
