//! Class H: HTTP/2's own ways to exhaust or to smuggle, and upgrades. With B09, D05, F11 and G33,
//! which only HTTP/2 can spell.

use bytes::Bytes;

use crate::echo::{Answer, Step};
use crate::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frames, GOAWAY, H2, HEADERS, PING,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, asking, block, frame, get,
};
use crate::pki::Pki;
use crate::world::{World, until};

const PROTOCOL_ERROR: u8 = 1;

async fn flooded(world: &World) -> f64 {
    world.metric("stytch_gateway_connections_refused_total{reason=\"http2_flood\"}").await
}

/// One request whose block is this, on a connection of its own: refused, and nothing of it arrives.
async fn turned_back(pki: &Pki, world: &World, what: &str, block: &[u8]) {
    let before = world.upstream_traffic();
    let mut frames = Frames::connect(pki, world).await;
    frames.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block)).await;
    let (kind, _, _, payload) = frames.wait_for(&[HEADERS, RST_STREAM, GOAWAY]).await.expect("an answer");
    match kind {
        // 400 is the 12th entry of HPACK's static table.
        HEADERS => assert_eq!(payload[0], 0x8c, "{what}: {payload:?}"),
        RST_STREAM => assert_eq!(payload[3], PROTOCOL_ERROR, "{what}"),
        _ => assert_eq!(payload[7], PROTOCOL_ERROR, "{what}"),
    }
    assert_eq!(world.upstream_traffic(), before, "{what}");
}

#[tokio::test]
async fn b09_headers_of_one_connection() {
    let pki = Pki::new();
    let world = pki.world("").await;
    for (name, value) in [
        ("connection", "close"),
        ("connection", "x-stytch-member-id"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("keep-alive", "1"),
        ("proxy-connection", "keep-alive"),
    ] {
        let block = asking("GET", "/public/x", &[(name, value.as_bytes())]);
        turned_back(&pki, &world, name, &block).await;
    }
}

#[tokio::test]
async fn d05_a_path_without_its_slash() {
    let pki = Pki::new();
    let world = pki.world("").await;
    for path in ["public/x", "admin/x", "", "?x", "*", "//app.test/x", "http://app.test/public/x"] {
        turned_back(&pki, &world, path, &asking("GET", path, &[])).await;
    }
}

/// One host is named, or the request is nobody's: also where both are ours.
#[tokio::test]
async fn f11_an_authority_and_another_host() {
    let pki = Pki::new();
    let world = pki.world("").await;
    for host in ["other.test", "app.test:1", "", "app.test,app.test", "deep.app.test"] {
        turned_back(&pki, &world, host, &asking("GET", "/public/x", &[("host", host.as_bytes())])).await;
    }
    let twice = [("host", &b"app.test"[..]), ("host", b"other.test")];
    turned_back(&pki, &world, "one of two", &asking("GET", "/public/x", &twice)).await;
    let client = H2::connect(&pki, &world).await;
    for host in ["app.test", "APP.test"] {
        let request = get("/public/x").header("host", host).body(Bytes::new()).unwrap();
        client.send(request).await.unwrap().expect(200);
        assert_eq!(world.upstream.last().all("host"), ["app.test"], "{host}");
    }
}

#[tokio::test]
async fn g33_the_body_of_a_connect() {
    let pki = Pki::new();
    let world = pki.world("\n[server]\nworkers = 1").await;
    let client = H2::connect(&pki, &world).await;
    client.get("/public/before").await.unwrap().expect(200);
    let idle = world.upstream_traffic();
    let body = Bytes::from_static(b"GET /public/smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n");
    for _ in 0..10 {
        let connect = http::Request::connect("app.test:443").version(http::Version::HTTP_2);
        let answer = client.send(connect.body(body.clone()).unwrap()).await.unwrap();
        world.check_refusal("CONNECT", &answer, 405, "method_not_allowed", idle);
    }
    // What the pool holds is as it was: each answer is that of its own request.
    for number in 0..10 {
        let path = format!("/public/{number}");
        let text = client.get(&path).await.unwrap().expect(200).text();
        assert!(text.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{text}");
    }
    assert!(world.upstream.requests().iter().all(|received| received.path() != "/public/smuggled"));
}

#[tokio::test]
async fn h01_rapid_reset() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let mut frames = Frames::connect(&pki, &world).await;
    let block = asking("GET", "/public/x", &[]);
    for batch in 0..100 {
        let mut bytes = Vec::new();
        for number in 0..100 {
            let stream = 2 * (100 * batch + number) + 1;
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
            bytes.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        }
        frames.send(bytes).await;
    }
    assert_eq!(frames.end().await, Some(ENHANCE_YOUR_CALM));
    assert!(world.upstream.requests().len() < 500, "{}", world.upstream.requests().len());
}

/// With the pace of a client that waits until each request has been begun.
#[tokio::test]
async fn h02_rapid_reset_of_requests_under_way() {
    let pki = Pki::new();
    let world = pki.world("").await;
    world.upstream.on("/public/never", |_| Answer::steps([Step::Hold]));
    let websocket = block(&[(":protocol", b"websocket")]);
    for (round, asking) in [
        (1.0, asking("GET", "/public/never", &[])),
        (2.0, [asking("CONNECT", "/public/never", &[]), websocket].concat()),
    ] {
        let mut frames = Frames::connect(&pki, &world).await;
        let mut reset = 0;
        for number in 0..5000 {
            let stream = 2 * number + 1;
            frames.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &asking)).await;
            frames.send(frame(PING, 0, 0, &[1; 8])).await;
            match frames.wait_for(&[PING, GOAWAY]).await {
                Some((PING, ..)) => frames.send(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])).await,
                _ => break,
            }
            reset += 1;
        }
        assert!((150..4000).contains(&reset), "{reset}");
        until("the end in the metrics", async || flooded(&world).await == round).await;
    }
}

#[tokio::test]
async fn h03_continuation_flood() {
    let pki = Pki::new();
    let world = pki.world("").await;
    for size in [0, 1, 1000, 16_000] {
        let mut frames = Frames::connect(&pki, &world).await;
        frames.send(frame(HEADERS, 0, 1, &asking("GET", "/public/x", &[]))).await;
        // A field that would go on for ever.
        let fields = block(&[("x", &[b'x'; 100])]).repeat(200);
        let piece = frame(CONTINUATION, 0, 1, &fields[..size.min(fields.len())]);
        for _ in 0..3000 {
            frames.send(&piece).await;
        }
        assert_ne!(frames.end().await, Some(0), "{size}");
    }
    assert!(world.upstream.requests().is_empty());
}

#[tokio::test]
async fn h04_a_header_list_that_unfolds() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let mut frames = Frames::connect(&pki, &world).await;
    // One entry in the dynamic table, named ten thousand times with a byte each.
    let mut bomb = asking("GET", "/public/x", &[]);
    bomb.extend([0x40, 1, b'x', 100]);
    bomb.extend([b'x'; 100]);
    bomb.extend([0xbe; 10_000]);
    frames.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb)).await;
    frames.wait_for(&[HEADERS, RST_STREAM, GOAWAY]).await.expect("a refusal");
    assert!(world.upstream.requests().is_empty());
}

#[tokio::test]
async fn h05_ping_settings_and_other_floods() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let floods = [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(2, 0, 1, &[0, 0, 0, 0, 1]),
        frame(42, 0, 0, &[]),
    ];
    for (number, flood) in (1..).zip(&floods) {
        let mut frames = Frames::connect(&pki, &world).await;
        for _ in 0..100 {
            frames.send(flood.repeat(100)).await;
        }
        assert_eq!(frames.end().await, Some(ENHANCE_YOUR_CALM), "{flood:?}");
        assert_eq!(flooded(&world).await, f64::from(number));
    }
    let mut frames = Frames::connect(&pki, &world).await;
    frames.send(frame(HEADERS, END_HEADERS, 1, &asking("POST", "/public/x", &[]))).await;
    for _ in 0..100 {
        frames.send(frame(DATA, 0, 1, &[]).repeat(100)).await;
    }
    assert_eq!(frames.end().await, Some(ENHANCE_YOUR_CALM), "empty DATA");
}

/// MadeYouReset (CVE-2025-8671): the client has the gateway reset its streams.
#[tokio::test]
async fn h06_resets_that_the_client_provokes() {
    let pki = Pki::new();
    let world = pki.world("").await;
    world.upstream.on("/public/never", |_| Answer::steps([Step::Hold]));
    let mut frames = Frames::connect(&pki, &world).await;
    let block = asking("POST", "/public/never", &[]);
    for number in 0..2000 {
        let stream = 2 * number + 1;
        let request = frame(HEADERS, END_HEADERS, stream, &block);
        frames.send([request, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()).await;
    }
    assert!(frames.end().await.is_some_and(|reason| reason > 0));
    assert!(world.upstream.requests().len() < 500, "{}", world.upstream.requests().len());
}

#[tokio::test]
async fn h07_a_length_that_is_not_that_of_the_body() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let five = asking("POST", "/public/x", &[("content-length", b"5")]);
    turned_back(&pki, &world, "headers alone", &five).await;
    for value in ["+5", "5,5", "0x5", "", "99999999999999999999"] {
        let block = asking("POST", "/public/x", &[("content-length", value.as_bytes())]);
        turned_back(&pki, &world, value, &block).await;
    }
    let twice = asking("POST", "/public/x", &[("content-length", b"0"), ("content-length", b"0")]);
    turned_back(&pki, &world, "twice", &twice).await;
    for body in [&b"four"[..], b"sixsix"] {
        let mut frames = Frames::connect(&pki, &world).await;
        frames.send(frame(HEADERS, END_HEADERS, 1, &five)).await;
        frames.send(frame(DATA, END_STREAM, 1, body)).await;
        let (kind, .., payload) = frames.wait_for(&[HEADERS, RST_STREAM]).await.unwrap();
        assert!(kind == RST_STREAM && payload[3] == PROTOCOL_ERROR, "{body:?}: {kind} {payload:?}");
    }
    assert!(world.upstream.requests().iter().all(|received| !received.complete), "nothing whole arrived");
}

#[tokio::test]
async fn h09_names_and_values_that_split() {
    let pki = Pki::new();
    let world = pki.world("").await;
    for path in
        ["/public/x\r\ny", "/public/x HTTP/1.1\r\nX: y", "/public/x y", "/public/\u{7f}", "/public/\0"]
    {
        turned_back(&pki, &world, path, &asking("GET", path, &[])).await;
    }
    for (name, value) in [
        ("x", &b"a\nb"[..]),
        ("x", b"a\r\nhost: other.test"),
        ("x", b"\0"),
        ("x", b" a"),
        ("x", b"a\t"),
        ("X", b"a"),
        ("x y", b"a"),
        ("x:", b"a"),
        ("x\r\ny", b"a"),
        ("", b"a"),
        (":path", b"/private"),
        (":odd", b"a"),
        ("host", b"other.test"),
        ("host", b"app.test\r\nx: y"),
    ] {
        let block = asking("GET", "/public/x", &[(name, value)]);
        turned_back(&pki, &world, &format!("{name:?}: {value:?}"), &block).await;
    }
    for authority in ["", "app.test other.test", "me@app.test", "app.test\r\n", "app.test,other.test"] {
        let block = block(&[
            (":method", b"GET"),
            (":scheme", b"https"),
            (":authority", authority.as_bytes()),
            (":path", b"/public/x"),
        ]);
        turned_back(&pki, &world, authority, &block).await;
    }
    turned_back(&pki, &world, "a method", &asking("G ET", "/public/x", &[])).await;
}

#[tokio::test]
async fn h11_an_upgrade_to_h2c() {
    let world = World::start().await;
    world.upstream.on("/public/h2c", |_| {
        Answer::bytes("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    });
    for (path, status) in [("/public/x", 200), ("/public/h2c", 502)] {
        let ask =
            world.get(path).header("Upgrade", "h2c").header("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA");
        ask.header("Connection", "Upgrade, HTTP2-Settings").expect(status).await;
        let received = world.upstream.last();
        assert!(
            received.header("upgrade").is_none() && received.header("http2-settings").is_none(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn h13_connect_and_what_extends_it() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let mut frames = Frames::connect(&pki, &world).await;
    let connect = block(&[(":method", b"CONNECT"), (":authority", b"app.test")]);
    frames.send(frame(HEADERS, END_HEADERS, 1, &connect)).await;
    frames.send(frame(DATA, 0, 1, b"GET /private HTTP/1.1\r\n\r\n")).await;
    let (kind, .., payload) = frames.wait_for(&[HEADERS, RST_STREAM]).await.unwrap();
    assert!(kind == RST_STREAM || !(0x88..=0x8a).contains(&payload[0]), "no 2xx: {payload:?}");
    for (stream, protocol) in [(3, &b"websocket"[..]), (5, b"connect-udp")] {
        let extended = asking("CONNECT", "/ws", &[]);
        let extended = [extended, block(&[(":protocol", protocol)])].concat();
        frames.send(frame(HEADERS, END_HEADERS, stream, &extended)).await;
        frames.send(frame(DATA, 0, stream, b"GET /private HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        let (kind, .., payload) = frames.wait_for(&[HEADERS, RST_STREAM]).await.unwrap();
        assert!(kind == RST_STREAM || !(0x88..=0x8a).contains(&payload[0]), "no 2xx: {payload:?}");
    }
    // `:protocol` belongs to CONNECT, and to a target with all its parts.
    for (stream, block) in [
        (7, [asking("GET", "/public/ws", &[]), block(&[(":protocol", b"websocket")])].concat()),
        (9, block(&[(":method", b"CONNECT"), (":protocol", b"websocket"), (":authority", b"app.test")])),
    ] {
        frames.send(frame(HEADERS, END_HEADERS, stream, &block)).await;
        let (kind, .., payload) = frames.wait_for(&[HEADERS, RST_STREAM, GOAWAY]).await.unwrap();
        assert!(kind != HEADERS || !(0x88..=0x8a).contains(&payload[0]), "{stream}: {payload:?}");
    }
    assert_eq!(world.upstream_traffic(), [(0, 0), (0, 0)]);
}

#[tokio::test]
async fn h17_a_websocket_from_another_site() {
    let world = World::start().await;
    let session = world.session();
    let ask = world.get("/ws").jwt(&session).header("Upgrade", "websocket").header("Connection", "Upgrade");
    ask.header("Origin", "https://evil.test").refused(403, "cross_site_request").await;
}

#[tokio::test]
async fn h25_a_preflight_of_grpc_web() {
    let world = World::start().await;
    world.request("OPTIONS", "/x").header("X-Grpc-Web", "1").refused(401, "unauthenticated").await;
}

#[tokio::test]
async fn h27_another_host_on_the_same_connection() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let mut frames = Frames::connect(&pki, &world).await;
    for (stream, authority) in [(1, &b"other.test"[..]), (3, b"deep.app.test"), (5, b"127.0.0.1")] {
        let block = block(&[
            (":method", b"GET"),
            (":scheme", b"https"),
            (":authority", authority),
            (":path", b"/public/x"),
        ]);
        frames.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)).await;
        let (_, _, answered, payload) = frames.wait_for(&[HEADERS]).await.unwrap();
        let text = String::from_utf8_lossy(&payload).into_owned();
        assert!(answered == stream && !text.contains('\u{88}'), "{text:?}");
    }
    let line = world.log(3).await;
    assert!(
        line.iter().all(|line| line["status"] == 421 && line["code"] == "misdirected_request"),
        "{line:?}"
    );
    assert_eq!(world.upstream_traffic(), [(0, 0), (0, 0)]);
}
