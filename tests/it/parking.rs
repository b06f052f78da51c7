//! Connections that are idle wait without buffers and without a task (ARCHITECTURE.md, Memory), and
//! nobody can tell from the outside.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::client::Connection;
use crate::echo::{Answer, Step};
use crate::pki::Pki;
use crate::world::{World, until};

/// As soon as the sweep finds them idle.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Several sweeps.
const A_WHILE: Duration = Duration::from_millis(450);
const HTTP_1: &[&str] = &["http/1.1"];

async fn with(toml: &str) -> World {
    World::builder().with(toml).parking_after(AT_ONCE).start().await
}

async fn secure(pki: &Pki, more: &str) -> World {
    pki.issue("app", &["app.test"]);
    with(&pki.settings(&["app"], more)).await
}

async fn connect(world: &World, pki: &Pki, secured: bool) -> Connection {
    if secured { pki.client(HTTP_1).connect(world, "app.test").await } else { world.connect().await }
}

async fn count(world: &World, series: &str) -> f64 {
    world.metric(&format!("stytch_gateway_{series}")).await
}

/// Waits until so many are parked, and no others are open.
async fn parked(world: &World, connections: u32) {
    until(&format!("{connections} parked"), async || {
        let open = count(world, "connections").await;
        let parked = count(world, "parked_connections").await;
        (open, parked) == (connections.into(), connections.into())
    })
    .await;
}

async fn goes_on(world: &World, connection: &mut Connection) {
    world.get("/public/x").send_on(connection).await.expect(200);
}

#[tokio::test]
async fn a_parked_connection_is_served_again() {
    let world = with("").await;
    let session = world.session();
    let mut connection = world.connect().await;
    // Before its first request, too.
    parked(&world, 1).await;
    for path in ["/one", "/two", "/three"] {
        let response = world.get(path).jwt(&session).send_on(&mut connection).await.expect(200);
        assert!(response.text().starts_with(&format!("GET {path} ")));
        assert_eq!(world.upstream.last().header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
        parked(&world, 1).await;
    }
    world.get("/none").send_on(&mut connection).await.expect(401);
    drop(connection);
    parked(&world, 0).await;
}

#[tokio::test]
async fn after_a_second_without_being_told_so() {
    let world = World::start().await;
    let mut connection = world.connect().await;
    goes_on(&world, &mut connection).await;
    parked(&world, 1).await;
    goes_on(&world, &mut connection).await;
}

#[tokio::test]
async fn by_a_socket_file_too() {
    let world = with("[server]\nlisten = [\"127.0.0.1:0\", \"unix:$DIR/gateway.sock\"]").await;
    let stream = UnixStream::connect(world.directory().join("gateway.sock")).await.unwrap();
    let mut connection = Connection::over(stream);
    for _ in 0..3 {
        goes_on(&world, &mut connection).await;
        parked(&world, 1).await;
    }
    drop(connection);
    parked(&world, 0).await;
}

#[tokio::test]
async fn what_the_handshake_told_is_not_forgotten() {
    let pki = Pki::new();
    pki.issue_client("service", "reports", "spiffe://acme.test/reports");
    let headers =
        "client_ca = \"$PKI/ca.pem\"\n[identity.headers]\nx-client-uri = \"{client_certificate.uris}\"";
    let world = secure(&pki, headers).await;
    let session = world.session();
    let mut connection = pki.client_with("service", HTTP_1).connect(&world, "app.test").await;
    for _ in 0..3 {
        world.get("/one").jwt(&session).send_on(&mut connection).await.expect(200);
        let received = world.upstream.last();
        assert_eq!(received.all("x-forwarded-proto"), ["https"]);
        assert_eq!(received.all("x-client-uri"), ["spiffe://acme.test/reports"]);
        parked(&world, 1).await;
    }
    // The name that was asked for in the handshake still binds.
    world.get("/one").host("other.test").send_on(&mut connection).await.expect(421);
}

#[tokio::test]
async fn what_the_proxy_told_is_not_forgotten() {
    let world = with("[server]\nproxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]").await;
    let mut connection = world.connect().await;
    connection.send("PROXY TCP4 198.51.100.7 127.0.0.1 1 2\r\n").await;
    for _ in 0..3 {
        parked(&world, 1).await;
        goes_on(&world, &mut connection).await;
        assert_eq!(world.upstream.last().header("x-forwarded-for").as_deref(), Some("198.51.100.7"));
    }
}

#[tokio::test]
async fn a_head_in_pieces_is_waited_for() {
    let pki = Pki::new();
    let world = secure(&pki, "").await;
    for secured in [false, true] {
        let mut connection = connect(&world, &pki, secured).await;
        goes_on(&world, &mut connection).await;
        parked(&world, 1).await;
        let head = world.get("/public/pieces").bytes();
        for piece in [&head[..1], &head[1..20], &head[20..head.len() - 1]] {
            connection.send(piece).await;
            until("it is served", async || count(&world, "parked_connections").await == 0.0).await;
            tokio::time::sleep(A_WHILE).await;
            assert_eq!(count(&world, "parked_connections").await, 0.0, "parked in the middle of a head");
        }
        connection.send(&head[head.len() - 1..]).await;
        let response = connection.response().await.unwrap().expect(200);
        assert!(response.text().starts_with("GET /public/pieces "));
        parked(&world, 1).await;
    }
}

#[tokio::test]
async fn requests_in_a_row_are_all_answered() {
    let pki = Pki::new();
    let world = secure(&pki, "").await;
    for secured in [false, true] {
        let mut connection = connect(&world, &pki, secured).await;
        parked(&world, 1).await;
        let heads: Vec<u8> = (0..300).flat_map(|n| world.get(&format!("/public/{n}")).bytes()).collect();
        // The last one comes late.
        let (early, late) = heads.split_at(heads.len() - 10);
        connection.send(early).await;
        for n in 0..299 {
            let response = connection.response().await.unwrap().expect(200);
            assert!(response.text().starts_with(&format!("GET /public/{n} ")), "{n}");
        }
        tokio::time::sleep(A_WHILE).await;
        connection.send(late).await;
        let response = connection.response().await.unwrap().expect(200);
        assert!(response.text().starts_with("GET /public/299 "));
        parked(&world, 1).await;
    }
}

#[tokio::test]
async fn what_is_under_way_is_left_alone() {
    let world = with("").await;
    world.upstream.on("/public/slow", |_| {
        Answer::steps([
            Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n".to_vec()),
            Step::Wait(A_WHILE),
            Step::Send(b"half".to_vec()),
            Step::Wait(A_WHILE),
            Step::Send(b"half".to_vec()),
        ])
    });
    let mut connection = world.connect().await;
    assert_eq!(world.get("/public/slow").send_on(&mut connection).await.expect(200).body, b"halfhalf");
    let post = world.post("/public/a").body("body").bytes();
    connection.send(&post[..post.len() - 2]).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(count(&world, "parked_connections").await, 0.0);
    connection.send(&post[post.len() - 2..]).await;
    connection.response().await.unwrap().expect(200);
    assert_eq!(world.upstream.last().body, b"body");
}

/// The answer is over, and the request is not.
#[tokio::test]
async fn a_body_that_nobody_waited_for_is_no_request() {
    let world = with("").await;
    let early = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
    world
        .upstream
        .on("/public/early", move |_| Answer::steps([Step::Send(early.clone()), Step::Hold]).early());
    let smuggled = "GET /public/smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n";
    let mut connection = world.connect().await;
    let head = "POST /public/early HTTP/1.1\r\nHost: app.test\r\nContent-Length: ";
    connection.send(format!("{head}{}\r\n\r\n", smuggled.len())).await;
    connection.response().await.unwrap().expect(200);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(count(&world, "parked_connections").await, 0.0, "parked in the middle of a body");
    connection.send(smuggled).await;
    tokio::time::sleep(A_WHILE).await;
    assert!(!world.upstream.requests().iter().any(|received| received.target().contains("smuggled")));
}

#[tokio::test]
async fn another_protocol_is_left_alone() {
    let world = with("").await;
    world.upstream.on("/public/ws", |_| {
        let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
        Answer::steps([Step::Send(switched.into()), Step::Echo])
    });
    let mut connection = world.connect().await;
    parked(&world, 1).await;
    let ask = world.get("/public/ws").header("Connection", "Upgrade").header("Upgrade", "echo");
    ask.send_on(&mut connection).await.expect(101);
    for _ in 0..2 {
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(count(&world, "parked_connections").await, 0.0);
        connection.send("hello").await;
        assert_eq!(connection.bytes(5).await, b"hello");
    }
}

#[tokio::test]
async fn a_client_may_close_its_half() {
    let pki = Pki::new();
    let world = secure(&pki, "").await;
    let mut plain = TcpStream::connect(world.address()).await.unwrap();
    let mut secured = pki.client(HTTP_1).secure(world.tls_address(), "app.test").await.unwrap();
    parked(&world, 2).await;
    plain.shutdown().await.unwrap();
    secured.shutdown().await.unwrap();
    // Both are told that it was understood.
    assert_eq!(plain.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(secured.read(&mut [0]).await.unwrap(), 0);
    parked(&world, 0).await;
}

#[tokio::test]
async fn all_may_close_at_once() {
    let pki = Pki::new();
    let world = secure(&pki, "").await;
    for secured in [false, true] {
        let mut all = Vec::new();
        for _ in 0..100 {
            let mut connection = connect(&world, &pki, secured).await;
            goes_on(&world, &mut connection).await;
            all.push(connection);
        }
        parked(&world, 100).await;
        drop(all);
        parked(&world, 0).await;
    }
    assert_eq!(count(&world, "panics_total").await, 0.0);
    let mut connection = world.connect().await;
    goes_on(&world, &mut connection).await;
}

/// Everybody asks and rests in a rhythm of their own, and every answer is the one to the question.
#[tokio::test]
async fn parking_again_and_again_loses_nothing() {
    let pki = Pki::new();
    let world = secure(&pki, "").await;
    let mut clients = Vec::new();
    for client in 0..24_u64 {
        let mut connection = connect(&world, &pki, client % 3 == 0).await;
        let heads: Vec<_> = (0..12).map(|n| world.get(&format!("/public/{client}/{n}")).bytes()).collect();
        clients.push(tokio::spawn(async move {
            for (n, head) in heads.iter().enumerate() {
                let pause = (client * 37 + n as u64 * 53) % 260;
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let (first, second) = head.split_at((client as usize * 7 + n * 11) % head.len());
                connection.send(first).await;
                if n % 2 == 0 {
                    tokio::time::sleep(Duration::from_millis(pause / 2)).await;
                }
                connection.send(second).await;
                let response = connection.response().await.expect("it is left open").expect(200);
                assert!(response.text().starts_with(&format!("GET /public/{client}/{n} ")));
            }
        }));
    }
    let mut most = 0.0_f64;
    while clients.iter().any(|client| !client.is_finished()) {
        most = most.max(count(&world, "parked_connections").await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for client in clients {
        client.await.unwrap();
    }
    assert!(most > 0.0, "nobody was ever parked");
    assert_eq!(world.upstream.requests().len(), 24 * 12);
}

#[tokio::test]
async fn limits_count_those_who_are_parked() {
    for limit in ["connections = 2", "connections_per_address = 2"] {
        let world = with(&format!("[server.limits]\n{limit}")).await;
        let mut held = [world.connect().await, world.connect().await];
        for connection in &mut held {
            goes_on(&world, connection).await;
        }
        parked(&world, 2).await;
        let turned_away = world.raw(world.get("/public/x").bytes()).await;
        assert_eq!(turned_away.response.unwrap().expect(503).code().as_deref(), Some("overloaded"));
        drop(held);
        parked(&world, 0).await;
        let mut connection = world.connect().await;
        goes_on(&world, &mut connection).await;
    }
}

#[tokio::test]
async fn timeouts_end_those_who_are_parked() {
    let pki = Pki::new();
    let world = secure(&pki, "[server.timeouts]\nidle = \"2s\"\nheader = \"3s\"").await;
    let mut silent = world.connect().await;
    let mut idle = [world.connect().await, pki.client(HTTP_1).connect(&world, "app.test").await];
    for connection in &mut idle {
        goes_on(&world, connection).await;
    }
    parked(&world, 3).await;
    for connection in &mut idle {
        assert!(connection.rest().await.is_empty());
    }
    assert!(silent.rest().await.is_empty());
    parked(&world, 0).await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_counted_as_such() {
    let world = with("[server.timeouts]\nheader = \"1s\"").await;
    let mut silent = world.connect().await;
    parked(&world, 1).await;
    assert!(silent.rest().await.is_empty());
    assert_eq!(count(&world, "connections_refused_total{reason=\"header_timeout\"}").await, 1.0);
}

#[tokio::test]
async fn a_drain_ends_those_who_are_parked() {
    let pki = Pki::new();
    let world = secure(&pki, "").await;
    let (mut silent, mut idle) = (world.connect().await, world.connect().await);
    goes_on(&world, &mut idle).await;
    let mut secured = pki.client(HTTP_1).secure(world.tls_address(), "app.test").await.unwrap();
    secured.write_all(&world.get("/public/x").bytes()).await.unwrap();
    parked(&world, 3).await;
    world.stop();
    assert!(idle.rest().await.is_empty());
    let mut answered = Vec::new();
    // An end without a goodbye would be an error.
    secured.read_to_end(&mut answered).await.unwrap();
    assert!(answered.starts_with(b"HTTP/1.1 200 "));
    assert!(silent.rest().await.is_empty());
}

#[tokio::test]
async fn while_the_gateway_leaves_they_are_served_once_more() {
    let world = with("[server.timeouts]\nlame_duck = \"5s\"\ndrain = \"8s\"").await;
    let mut connection = world.connect().await;
    goes_on(&world, &mut connection).await;
    parked(&world, 1).await;
    world.stop();
    until("it leaves", async || world.admin("/readyz").await.status == 503).await;
    let response = world.get("/public/x").send_on(&mut connection).await.expect(200);
    assert_eq!(response.header("connection"), Some("close"));
    assert!(connection.rest().await.is_empty());
}

/// Limits are those that are in force when a head begins, on either side of a reload.
#[tokio::test]
async fn limits_may_change_meanwhile() {
    let world = with("[server.limits]\nheader_bytes = 40000").await;
    let mut connection = world.connect().await;
    goes_on(&world, &mut connection).await;
    parked(&world, 1).await;
    world.reload("[server.limits]\nheader_bytes = 60000").await.unwrap();
    let large = "x".repeat(50_000);
    world.get("/public/x").header("X-Large", &large).send_on(&mut connection).await.expect(200);
    parked(&world, 1).await;
    world.reload("[server.limits]\nheader_bytes = 8192").await.unwrap();
    let response = world.get("/public/x").header("X-Large", &large[..9000]).send_on(&mut connection).await;
    assert_eq!(response.status, 431);
}
