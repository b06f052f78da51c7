//! Requests and responses on their way through: bodies that stream, protocols that switch, and
//! everything of HTTP/1.1 that a proxy has to carry (DESIGN.md sections 5 and 7).

use serde_json::json;

use crate::client::{Connection, Response};
use crate::echo::{Answer, Step};
use crate::world::World;

/// Sends back what comes, as it comes.
fn echoes() -> Answer {
    Answer::steps([Step::Send(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), Step::Echo]).early()
}

async fn interim(connection: &mut Connection) -> String {
    String::from_utf8(connection.bytes(25).await).unwrap()
}

/// The upstream's answer to the first bytes is back before the client sends the next ones.
#[tokio::test]
async fn bodies_stream_both_ways() {
    let world = World::start().await;
    world.upstream.on("/public/", |_| echoes());
    for (framing, first, last) in [
        ("Content-Length: 8", "ping", "pong"),
        ("Transfer-Encoding: chunked", "4\r\nping\r\n", "4\r\npong\r\n0\r\n\r\n"),
    ] {
        let mut connection = world.connect().await;
        connection
            .send(format!("POST /public/x HTTP/1.1\r\nHost: app.test\r\n{framing}\r\n\r\n{first}"))
            .await;
        let head = connection.interim_head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        connection.until(b"ping").await;
        connection.send(last).await;
        connection.until(b"pong").await;
    }
}

#[tokio::test]
async fn large_bodies_arrive_whole() {
    let world = World::with("[server.limits]\nbody = \"64MiB\"").await;
    let body: Vec<u8> = (0..8 * 1024 * 1024_u32).map(|at| (at / 251) as u8).collect();
    world.upstream.on("/public/", |received| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", received.body.len());
        Answer::bytes([head.into_bytes(), received.body.clone()].concat())
    });
    let response = world.post("/public/x").body(&body).expect(200).await;
    assert!(response.body == body && response.complete);
    let chunked: Vec<u8> = body.chunks(100_000).fold(Vec::new(), |mut all, chunk| {
        all.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        all.extend_from_slice(chunk);
        all.extend_from_slice(b"\r\n");
        all
    });
    let mut connection = world.connect().await;
    let head = "POST /public/x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.send([head.as_bytes(), &chunked, b"0\r\n\r\n"].concat()).await;
    let response = connection.response().await.unwrap();
    assert!(response.body == body && response.complete);
    let line = world.log(2).await.pop().unwrap();
    let size = body.len();
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&json!(size), &json!(size)));
}

#[tokio::test]
async fn a_response_streams() {
    let world = World::start().await;
    world.upstream.on("/public/", |_| {
        let begin = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
            Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
        Answer::steps([Step::Send(begin.to_vec()), Step::Hold])
    });
    let mut connection = world.connect().await;
    connection.send(world.get("/public/events").bytes()).await;
    connection.until(b"data: 1\n\n").await;
    assert!(world.upstream.requests()[0].complete);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let world = World::start().await;
    world.upstream.on("/public/", |_| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n";
        Answer::bytes(format!("{head}2\r\nok\r\n0\r\nSum: 7\r\n\r\n"))
    });
    let mut connection = world.connect().await;
    let head = "POST /public/x HTTP/1.1\r\nHost: app.test\r\nTE: trailers\r\nTrailer: Sum\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    connection.send(format!("{head}2\r\nhi\r\n0\r\nSum: 9\r\nContent-Length: 4\r\n\r\n")).await;
    let response = connection.response().await.unwrap();
    assert_eq!((response.text().as_str(), response.complete), ("ok", true));
    let lower = |trailers: &[String]| trailers.iter().map(|line| line.to_lowercase()).collect::<Vec<_>>();
    assert_eq!(lower(&response.trailers), ["sum: 7"]);
    assert_eq!(lower(&world.upstream.last().trailers), ["sum: 9"]);
}

#[tokio::test]
async fn a_client_that_waits_to_continue_is_told_so() {
    let world = World::start().await;
    let session = world.session();
    let ask = |request: crate::client::Request<'_>| {
        request.header("Expect", "100-continue").header("Content-Length", "4").bytes()
    };
    let mut connection = world.connect().await;
    connection.send(ask(world.post("/x").jwt(&session))).await;
    assert_eq!(interim(&mut connection).await, "HTTP/1.1 100 Continue\r\n\r\n");
    connection.send("body").await;
    assert_eq!(connection.response().await.unwrap().status, 200);
    let received = world.upstream.last();
    assert_eq!((received.body.as_slice(), received.all("expect").len()), (b"body".as_slice(), 0));
    // Whoever is turned back need not send it.
    let mut connection = world.connect().await;
    connection.send(ask(world.post("/x"))).await;
    assert!(interim(&mut connection).await.starts_with("HTTP/1.1 401 "));
}

#[tokio::test]
async fn an_upstream_may_refuse_a_body_before_it_came() {
    let world = World::start().await;
    world.upstream.on("/public/", |_| {
        Answer::steps([
            Step::Send(
                b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno".to_vec(),
            ),
            Step::Close,
        ])
        .early()
    });
    let mut connection = world.connect().await;
    connection
        .send("POST /public/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1000000\r\n\r\nbegin")
        .await;
    let response = connection.response().await.unwrap();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
}

#[tokio::test]
async fn responses_without_a_body_have_none() {
    let world = World::start().await;
    for (status, framing) in
        [("204 No Content", ""), ("304 Not Modified", "Content-Length: 9\r\nETag: \"x\"\r\n")]
    {
        let answer = format!("HTTP/1.1 {status}\r\n{framing}\r\n");
        world.upstream.on("/public/", move |_| Answer::bytes(&answer));
        let mut connection = world.connect().await;
        let response = world.get("/public/x").send_on(&mut connection).await;
        assert_eq!(response.status.to_string(), status[..3]);
        assert!(response.header("transfer-encoding").is_none());
        // Whatever stood where a body would would be taken for the next response.
        assert_eq!(world.get("/public/x").send_on(&mut connection).await.status, response.status);
    }
    world.upstream.on("/public/", |_| Answer::bytes("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"));
    let mut connection = world.connect().await;
    for _ in 0..2 {
        let response = world.request("HEAD", "/public/x").send_on(&mut connection).await;
        assert_eq!((response.status, response.header("content-length")), (200, Some("1234")));
    }
    world.request("HEAD", "/reports").refused(401, "unauthenticated").await;
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_what_it_understands() {
    let world = World::with("[[routes]]\npath = \"/public/*\"\nupstream = \"app\"\nauth = \"none\"").await;
    world.upstream.on("/public/chunked", |_| {
        Answer::bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    });
    for host in ["Host: app.test\r\n", ""] {
        let mut connection = world.connect().await;
        connection.send(format!("GET /public/chunked HTTP/1.0\r\n{host}\r\n")).await;
        let response = connection.response().await.unwrap();
        assert_eq!((response.status, response.header("transfer-encoding")), (200, None));
        assert_eq!(response.text(), "ok");
        assert!(world.upstream.last().request_line().ends_with(" HTTP/1.1"));
        assert_eq!(connection.rest().await, b"");
    }
    let mut connection = world.connect().await;
    connection.send("GET /public/x HTTP/1.0\r\nConnection: keep-alive\r\nHost: app.test\r\n\r\n").await;
    assert_eq!(connection.response().await.unwrap().status, 200);
    connection.send("GET /public/y HTTP/1.0\r\nHost: app.test\r\n\r\n").await;
    assert_eq!(connection.response().await.unwrap().status, 200);
}

#[tokio::test]
async fn requests_may_be_pipelined() {
    let world = World::start().await;
    world.upstream.on("/public/", |received| {
        let body = received.target();
        Answer::bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    });
    let mut connection = world.connect().await;
    let targets = ["/public/1", "/public/2", "/reports", "/public/3"];
    let all: Vec<u8> = targets.iter().flat_map(|target| world.get(target).bytes()).collect();
    connection.send(all).await;
    for target in targets {
        let response = connection.response().await.unwrap();
        let expected = if target == "/reports" { 401 } else { 200 };
        assert_eq!(response.status, expected);
        assert!(expected == 401 || response.text() == target);
    }
}

fn switching(upgrade: &str) -> Vec<u8> {
    format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n")
        .into_bytes()
}

#[tokio::test]
async fn an_upgrade_is_carried_in_both_directions() {
    let world = World::start().await;
    world.upstream.on("/ws", |_| {
        let early = [switching("websocket"), b"early".to_vec()].concat();
        Answer::steps([Step::Send(early), Step::Echo])
    });
    let session = world.session();
    let mut connection = world.connect().await;
    let ask = world.get("/ws").with(&session).header("Connection", "keep-alive, Upgrade");
    let ask = ask.header("Upgrade", "websocket").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    // What follows the head is for the other protocol.
    connection.send([ask.bytes(), b"ahead".to_vec()].concat()).await;
    let response = connection.response().await.unwrap();
    assert_eq!((response.status, response.header("upgrade")), (101, Some("websocket")));
    assert_eq!(connection.bytes(10).await, b"earlyahead");
    let large = vec![7; 300_000];
    connection.send(&large).await;
    assert!(connection.bytes(large.len()).await == large);
    let received = world.upstream.last();
    assert_eq!(received.header("upgrade").as_deref(), Some("websocket"));
    assert_eq!(received.header("connection").map(|value| value.to_lowercase()).as_deref(), Some("upgrade"));
    assert!(received.header("x-stytch-member-id").is_some());
    assert_eq!(world.metric("stytch_gateway_upgraded_connections").await, 1.0);
    drop(connection);
    let line = world.log(1).await.remove(0);
    assert_eq!((&line["status"], &line["decision"]), (&json!(101), &json!("allowed")));
}

#[tokio::test]
async fn an_upgrade_that_is_declined_is_an_ordinary_request() {
    let world = World::start().await;
    let mut connection = world.connect().await;
    let ask = || world.get("/public/x").header("Connection", "Upgrade").header("Upgrade", "websocket");
    assert_eq!(ask().send_on(&mut connection).await.status, 200);
    assert_eq!(ask().send_on(&mut connection).await.status, 200);
    assert_eq!(world.get("/public/x").send_on(&mut connection).await.status, 200);
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_refused() {
    let world = World::start().await;
    world.upstream.on("/public/", |_| Answer::steps([Step::Send(switching("smuggle")), Step::Echo]));
    let failed = |response: Response| assert_eq!(response.code().as_deref(), Some("upstream_protocol"));
    failed(world.get("/public/x").expect(502).await);
    let ask = world.get("/public/x").header("Connection", "Upgrade").header("Upgrade", "websocket");
    failed(ask.expect(502).await);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_declared_or_not() {
    let routes = "[[routes]]\npath = \"/small/*\"\nupstream = \"app\"\nauth = \"none\"\nmax_body = \"10B\"\n\
        [[routes]]\npath = \"/any/*\"\nupstream = \"app\"\nauth = \"none\"\nmax_body = \"unlimited\"\n\
        [[routes]]\npath = \"/*\"\nupstream = \"app\"\nauth = \"none\"\n[server.limits]\nbody = \"20B\"";
    let world = World::with(routes).await;
    world.post("/small/x").body([0; 10]).expect(200).await;
    world.post("/small/x").body([0; 11]).refused(413, "body_too_large").await;
    world.post("/x").body([0; 21]).refused(413, "body_too_large").await;
    world.post("/any/x").body([0; 1000]).expect(200).await;
    let mut connection = world.connect().await;
    let head = "POST /small/x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.send(format!("{head}6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n")).await;
    let response = connection.response().await.unwrap();
    assert_eq!((response.status, response.code().as_deref()), (413, Some("body_too_large")));
    assert!(
        world
            .upstream
            .requests()
            .iter()
            .filter(|request| request.path() == "/small/x")
            .all(|request| { request.body.len() <= 10 })
    );
}

#[tokio::test]
async fn prefixes_are_stripped_and_hosts_chosen() {
    let settings = "[upstreams.fixed]\nurl = \"$APP\"\nhost = \"legacy.internal\"\n\
        [upstreams.own]\nurl = \"$APP\"\nhost = \"upstream\"\n\
        [[routes]]\npath = \"/app/*\"\nupstream = \"fixed\"\nauth = \"none\"\nstrip_prefix = \"/app\"\n\
        [[routes]]\npath = \"/own/*\"\nupstream = \"own\"\nauth = \"none\"\n\
        [[routes]]\npath = \"/*\"\nupstream = \"app\"\nauth = \"none\"\n";
    let world = World::with(settings).await;
    for (target, host, path) in [
        ("/app/a/b?x=1", "legacy.internal", "/a/b?x=1"),
        ("/app", "legacy.internal", "/"),
        ("/own/a", &*world.upstream.address().to_string(), "/own/a"),
        ("/a", "app.test", "/a"),
    ] {
        world.get(target).expect(200).await;
        let received = world.upstream.last();
        assert_eq!((received.header("host").as_deref(), &*received.target()), (Some(host), path));
        assert_eq!(received.header("x-forwarded-host").as_deref(), Some("app.test"));
    }
}

#[tokio::test]
async fn an_answer_to_somebody_is_private_unless_it_says_otherwise() {
    let world = World::start().await;
    let session = world.session();
    world.upstream.on("/cached", |_| {
        Answer::bytes("HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 0\r\n\r\n")
    });
    let cached = world.get("/cached").jwt(&session).expect(200).await;
    assert_eq!(cached.all("cache-control"), ["public, max-age=60"]);
    let silent = world.get("/x").jwt(&session).expect(200).await;
    assert_eq!(silent.all("cache-control"), ["private"]);
    assert!(world.get("/public/x").expect(200).await.all("cache-control").is_empty());
}

#[tokio::test]
async fn a_refusal_comes_in_the_form_its_caller_understands() {
    let world = World::start().await;
    let browser = world.get("/x").header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let page = browser.refused(401, "unauthenticated").await;
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    assert!(page.text().contains("unauthenticated") && page.header("www-authenticate") == Some("Bearer"));
    let problem = world.get("/x").refused(401, "unauthenticated").await;
    assert_eq!(problem.header("content-type"), Some("application/problem+json"));
    let told = problem.json();
    assert_eq!((&told["status"], &told["title"]), (&json!(401), &json!("Sign-in is required")));
    assert!(told["request_id"].as_str().is_some_and(|id| id.len() == 32));
    let call = world.post("/x").header("Content-Type", "application/grpc+proto").send().await.expect(200);
    assert_eq!(
        (call.header("grpc-status"), call.header("grpc-message")),
        (Some("16"), Some("unauthenticated"))
    );
}

#[tokio::test]
async fn other_requests_are_turned_back_each_with_its_code() {
    let world = World::start().await;
    world.get("/x").host("nobody.test").refused(404, "no_route").await;
    world.get("/_stytch/login").refused(404, "no_route").await;
    world.request("TRACE", "/public/x").refused(405, "method_not_allowed").await;
    world.get("/public/x").header("X-Large", "y".repeat(40_000)).refused(431, "header_too_large").await;
    world.get("/public/a%2Fb").refused(400, "ambiguous_path").await;
    let options = world.request("OPTIONS", "*").send().await.expect(204);
    assert!(options.header("allow").unwrap().contains("GET"));
    let kept =
        "[[routes]]\npath = \"/public/*\"\nupstream = \"app\"\nauth = \"none\"\nencoded_slashes = \"keep\"";
    world.reload(kept).await.unwrap();
    world.get("/public/a%2Fb").expect(200).await;
    assert_eq!(world.upstream.last().path(), "/public/a%2Fb");
}

#[tokio::test]
async fn a_request_that_comes_back_is_a_loop() {
    let world = World::start().await;
    let gateway = world.address();
    let settings = format!(
        "[upstreams.app]\nurl = \"http://{gateway}\"\n[[routes]]\npath = \"/*\"\nupstream = \"app\"\nauth = \"none\""
    );
    world.reload(&settings).await.unwrap();
    let response = world.get("/x").send().await.expect(508);
    assert_eq!(response.code().as_deref(), Some("loop_detected"));
}
