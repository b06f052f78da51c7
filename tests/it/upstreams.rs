//! Upstreams that are slow, gone, several, or on a socket file; and the connections to them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};

use crate::echo::{Answer, Step};
use crate::pki::Pki;
use crate::world::{World, until};

mod answers;
mod broken;
pub(crate) mod http2;
mod instances;
mod kept;
mod requests;
mod room;
mod scripted;
mod tls;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn failed(world: &World, target: &str, status: u16, code: &str) {
    let response = world.get(target).expect(status).await;
    assert_eq!(response.code().as_deref(), Some(code));
    assert_eq!(response.all("cache-control"), ["no-store"]);
    let request_id = response.request_id().unwrap();
    let logged =
        || async { world.log(1).await.into_iter().find(|line| line["request_id"] == request_id.as_str()) };
    until("its line in the log", async || logged().await.is_some()).await;
    let line = logged().await.unwrap();
    assert_eq!((&line["decision"], &line["code"]), (&json!("failed"), &json!(code)));
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_unreachable() {
    let world = World::with(&format!("[upstreams.app]\nurl = \"http://{}\"", nobody())).await;
    failed(&world, "/public/x", 502, "upstream_unreachable").await;
    world.get("/x").refused(401, "unauthenticated").await;
}

/// Without room in its queue a listener leaves connections waiting.
#[tokio::test]
async fn an_upstream_that_does_not_accept_is_given_up() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _queued = std::net::TcpStream::connect(address).unwrap();
    let settings = format!("[upstreams.app]\nurl = \"http://{address}\"\ntimeouts.connect = \"300ms\"");
    let world = World::with(&settings).await;
    let began = Instant::now();
    failed(&world, "/public/x", 502, "upstream_unreachable").await;
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_in_time_is_given_up() {
    let settings = "[upstreams.app.timeouts]\nresponse = \"300ms\"\n\
        [[routes]]\npath = \"/public/*\"\nupstream = \"app\"\nauth = \"none\"\n\
        [[routes]]\npath = \"/public/patient\"\nupstream = \"app\"\nauth = \"none\"\ntimeouts.response = \"9s\"";
    let world = World::with(settings).await;
    world.upstream.on("/public/", |_| Answer::steps([Step::Hold]));
    world.upstream.on("/public/patient", |_| {
        Answer::steps([Step::Wait(Duration::from_millis(900)), Step::Send(OK.into())])
    });
    failed(&world, "/public/x", 504, "upstream_timeout").await;
    world.get("/public/patient").expect(200).await;
}

#[tokio::test]
async fn a_response_that_stops_halfway_is_cut_off() {
    let world = World::with("[upstreams.app.timeouts]\nidle = \"300ms\"").await;
    world.upstream.on("/public/", |_| {
        let begin = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin";
        Answer::steps([Step::Send(begin.to_vec()), Step::Hold])
    });
    let mut connection = world.connect().await;
    let response = world.get("/public/x").send_on(&mut connection).await;
    assert_eq!((response.status, response.text().as_str(), response.complete), (200, "begin", false));
    assert_eq!(connection.rest().await, b"");
}

#[tokio::test]
async fn what_is_not_http_is_said_to_be_so() {
    let world = World::start().await;
    for answer in ["SSH-2.0-OpenSSH_9.6\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"] {
        world.upstream.on("/public/", move |_| Answer::bytes(answer));
        failed(&world, "/public/x", 502, "upstream_protocol").await;
    }
    world.upstream.on("/public/", |_| Answer::steps([Step::Close]));
    failed(&world, "/public/x", 502, "upstream_protocol").await;
}

#[tokio::test]
async fn connections_are_used_again() {
    let world = World::start().await;
    for _ in 0..5 {
        world.get("/public/x").expect(200).await;
    }
    assert_eq!(world.upstream.traffic(), (1, 5));
    // A response whose end is the connection's end leaves nothing to use again.
    world.upstream.on("/public/closes", |_| {
        Answer::steps([Step::Send(b"HTTP/1.1 200 OK\r\n\r\nall".to_vec()), Step::Close])
    });
    assert_eq!(world.get("/public/closes").expect(200).await.text(), "all");
    world.get("/public/x").expect(200).await;
    assert_eq!(world.upstream.traffic(), (2, 7));
}

#[tokio::test]
async fn idle_connections_are_closed_in_time() {
    let world = World::with("[upstreams.app.timeouts]\nidle = \"200ms\"").await;
    world.get("/public/x").expect(200).await;
    until("a second connection", async || {
        tokio::time::sleep(Duration::from_millis(250)).await;
        world.get("/public/x").expect(200).await;
        world.upstream.traffic().0 > 1
    })
    .await;
}

/// On the second request of its first connection the upstream goes away without a word.
async fn with_a_dead_connection() -> World {
    let world = World::start().await;
    world.upstream.on("/public/second", |received| match received.connection {
        0 => Answer::steps([Step::Close]),
        _ => Answer::bytes(OK),
    });
    world.get("/public/first").expect(200).await;
    world
}

#[tokio::test]
async fn an_idempotent_request_is_sent_again_when_its_connection_was_dead() {
    for method in ["GET", "HEAD", "DELETE", "PUT"] {
        let world = with_a_dead_connection().await;
        world.request(method, "/public/second").host("app.test").send().await;
        // PUT and DELETE are not the public route's, and never get that far.
        let expected = if matches!(method, "GET" | "HEAD") { (2, 3) } else { (1, 1) };
        assert_eq!(world.upstream.traffic(), expected, "{method}");
    }
    let world = with_a_dead_connection().await;
    world.get("/public/second").expect(200).await;
    let ids: Vec<_> =
        world.upstream.requests()[1..].iter().map(|again| again.header("x-request-id")).collect();
    assert_eq!(ids[0], ids[1], "it is the same request");
}

#[tokio::test]
async fn what_may_not_be_repeated_is_not() {
    for body in ["", "body"] {
        let world = with_a_dead_connection().await;
        let response = world.post("/public/second").body(body).expect(502).await;
        assert_eq!(response.code().as_deref(), Some("upstream_unreachable"));
        assert_eq!(world.upstream.traffic(), (1, 2));
    }
    let world = with_a_dead_connection().await;
    world.get("/public/second").body("body").expect(502).await;
    assert_eq!(world.upstream.traffic(), (1, 2), "its body is gone");
}

/// A new connection that dies is no pooled one: the request may have been acted upon.
#[tokio::test]
async fn nothing_is_sent_more_than_twice() {
    let world = World::start().await;
    world.get("/public/first").expect(200).await;
    world.upstream.on("/public/second", |_| Answer::steps([Step::Close]));
    failed(&world, "/public/second", 502, "upstream_protocol").await;
    assert_eq!(world.upstream.traffic(), (2, 3));
}

#[tokio::test]
async fn several_instances_take_turns() {
    let world = World::with(
        "[upstreams.pair]\nurls = [\"$APP\", \"$OTHER\"]\n\
        [[routes]]\npath = \"/*\"\nupstream = \"pair\"\nauth = \"none\"",
    )
    .await;
    for _ in 0..6 {
        world.get("/x").expect(200).await;
    }
    assert_eq!(world.upstream_traffic(), [(1, 3), (1, 3)]);
}

#[tokio::test]
async fn an_upstream_may_listen_on_a_socket_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut request).await.unwrap();
        }
        stream.write_all(OK.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    let world = World::with(&format!("[upstreams.app]\nurl = \"unix:{}\"", path.display())).await;
    assert_eq!(world.get("/public/x").expect(200).await.text(), "ok");
    assert!(serving.await.unwrap().starts_with("GET /public/x HTTP/1.1\r\nhost: app.test\r\n"));
}

#[tokio::test]
async fn clients_may_come_by_a_socket_file() {
    let world = World::with("[server]\nlisten = [\"127.0.0.1:0\", \"unix:$DIR/gateway.sock\"]").await;
    let mut stream = UnixStream::connect(world.directory().join("gateway.sock")).await.unwrap();
    let request = "GET /public/x HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    world.get("/public/x").expect(200).await;
}

#[tokio::test]
async fn max_connections_bounds_what_an_upstream_gets() {
    let world = World::with("[upstreams.app]\nmax_connections = 1\ntimeouts.connect = \"200ms\"").await;
    world.upstream.on("/public/held", |_| Answer::steps([Step::Hold]));
    let mut holding = world.connect().await;
    holding.send(world.get("/public/held").bytes()).await;
    world.upstream.wait_for(1).await;
    failed(&world, "/public/x", 503, "overloaded").await;
    drop(holding);
    until("room for another", async || world.get("/public/x").send().await.status == 200).await;
}

/// A client that goes away takes its request with it.
#[tokio::test]
async fn nobody_waits_for_an_answer_nobody_wants() {
    let world = World::start().await;
    world.upstream.on("/public/held", |_| Answer::steps([Step::Hold]));
    let mut leaving = world.connect().await;
    leaving.send(world.get("/public/held").bytes()).await;
    world.upstream.wait_for(1).await;
    drop(leaving);
    let line = world.log(1).await.remove(0);
    assert_eq!(line["path"], "/public/held");
}

/// As with nginx: what cannot be told from a client that is gone counts as one.
#[tokio::test]
async fn nor_does_a_client_that_has_closed_its_half_mid_request() {
    let pki = Pki::new();
    let world = pki.world("").await;
    world.upstream.on("/public/held", |_| Answer::steps([Step::Hold]));
    let ask = world.get("/public/held").bytes();
    let mut plain = TcpStream::connect(world.address()).await.unwrap();
    let mut secured = pki.client(&["http/1.1"]).secure(world.tls_address(), "app.test").await.unwrap();
    plain.write_all(&ask).await.unwrap();
    secured.write_all(&ask).await.unwrap();
    world.upstream.wait_for(2).await;
    plain.shutdown().await.unwrap();
    secured.shutdown().await.unwrap();
    assert_eq!(plain.read(&mut [0]).await.unwrap(), 0);
    assert!(matches!(secured.read(&mut [0]).await, Ok(0) | Err(_)));
    assert!(world.log(2).await.iter().all(|line| line["status"] == 499));
}

#[tokio::test]
async fn each_upstream_is_counted() {
    let world = World::start().await;
    world.get("/public/x").expect(200).await;
    world.upstream.on("/public/odd", |_| Answer::bytes("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"));
    world.get("/public/odd").expect(500).await;
    for (labels, count) in [
        ("requests_total{upstream=\"app\",outcome=\"2xx\"}", 1.0),
        ("requests_total{upstream=\"app\",outcome=\"5xx\"}", 1.0),
        ("connections{upstream=\"app\",state=\"idle\"}", 1.0),
        ("retries_total{upstream=\"app\"}", 0.0),
    ] {
        assert_eq!(world.metric(&format!("stytch_gateway_upstream_{labels}")).await, count, "{labels}");
    }
    assert!(world.admin("/metrics").await.text().contains("stytch_gateway_upstream_retries_total{"));
}
