//! gRPC and gRPC-Web: calls of all kinds, how they are refused, and how they end with their session.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use h2::{RecvStream, SendStream};
use stytch_emulator::{Fault, Session};

use super::{H2, get, post, read};
use crate::client::{PATIENCE, Response};
use crate::echo::{Answer, Step};
use crate::pki::Pki;
use crate::upstreams::http2::{Http2, cleartext};
use crate::world::{World, until};

const STALENESS: &str = "\n[session]\nmax_staleness = \"1s\"\n";

/// A gateway before a server of gRPC.
async fn world(pki: &Pki, more: &str) -> (World, Http2) {
    let upstream = Http2::start(None).await;
    let world = pki.world(&format!("\n{}\n{more}", cleartext(&upstream, ""))).await;
    (world, upstream)
}

fn message(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[0], &length[..], text.as_bytes()].concat()
}

fn call(path: &str, session: &Session) -> http::request::Builder {
    post(path)
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .header("grpc-timeout", "9S")
        .header("given-bin", "AAEC")
        .header("cookie", format!("stytch_session={}", session.session_token))
}

/// A call under way.
struct Call {
    upload: SendStream<Bytes>,
    answer: RecvStream,
}

impl Call {
    /// Whose first message has come back.
    async fn begin(client: &H2, path: &str, session: &Session) -> Self {
        let mut sender = client.sender.clone().ready().await.unwrap();
        let (answer, mut upload) = sender.send_request(call(path, session).body(()).unwrap(), false).unwrap();
        upload.send_data(message("hello").into(), false).unwrap();
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("an answer").unwrap();
        assert_eq!(answer.status(), 200);
        let mut call = Self { upload, answer: answer.into_body() };
        let expected = if path.ends_with("/half") { 5 } else { 10 };
        assert_eq!(call.next().await.len(), expected);
        call
    }

    async fn next(&mut self) -> Bytes {
        let data = tokio::time::timeout(PATIENCE, self.answer.data()).await.expect("a message");
        let data = data.expect("a message before the end").unwrap();
        self.answer.flow_control().release_capacity(data.len()).unwrap();
        data
    }

    /// What is left of the answer, and its status and message. Its client says nothing more.
    async fn end(&mut self) -> (Vec<u8>, String, String) {
        let mut body = Vec::new();
        while let Some(data) = tokio::time::timeout(PATIENCE, self.answer.data()).await.expect("an end") {
            body.extend_from_slice(&data.expect("no reset"));
        }
        let trailers = self.answer.trailers().await.unwrap().expect("trailers");
        let text = |name| trailers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (body, text("grpc-status").unwrap(), text("grpc-message").unwrap_or_default())
    }
}

fn trailer<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let prefix = format!("{name}: ");
    response.trailers.iter().find_map(|trailer| trailer.strip_prefix(&prefix))
}

/// The status of a call that was refused, and its message.
fn told(response: &Response) -> Option<(&str, &str)> {
    Some((response.header("grpc-status")?, response.header("grpc-message")?))
}

async fn ended(world: &World, reason: &str) -> f64 {
    world.metric(&format!("stytch_gateway_streams_ended_total{{reason=\"{reason}\"}}")).await
}

fn cut(status: &str, message: &str) -> (Vec<u8>, String, String) {
    (Vec::new(), status.to_owned(), message.to_owned())
}

#[tokio::test]
async fn calls_of_all_four_kinds_go_through() {
    let pki = Pki::new();
    let (world, upstream) = world(&pki, "").await;
    let session = world.session();
    let client = H2::connect(&pki, &world).await;
    // One message each way, and one for which many come.
    for (path, times) in [("/Service/One", 1), ("/Service/many", 3)] {
        let request = call(path, &session).body(message("hello").into()).unwrap();
        let answer = client.send(request).await.unwrap().expect(200);
        assert_eq!(answer.body, message("hello").repeat(times));
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
        assert_eq!(answer.header("before-bin"), Some("AQ"));
        assert_eq!(
            (trailer(&answer, "grpc-status"), trailer(&answer, "after-bin")),
            (Some("0"), Some("AAE"))
        );
        upstream.with_last(|seen| {
            assert_eq!(seen.head.uri.path(), path);
            for (name, value) in [
                ("te", "trailers"),
                ("grpc-timeout", "9S"),
                ("given-bin", "AAEC"),
                ("content-type", "application/grpc+proto"),
            ] {
                assert_eq!(seen.header(name), Some(value), "{name}");
            }
            assert!(seen.header("via").unwrap().starts_with("2.0 "), "{:?}", seen.header("via"));
            assert!(seen.header("x-stytch-member-id").is_some() && seen.header("cookie").is_none());
        });
    }
    // Many messages for one at the end, and one for each while they come.
    let mut call = Call::begin(&client, "/Service/Each", &session).await;
    for word in ["one", "two"] {
        call.upload.send_data(message(word).into(), false).unwrap();
        assert_eq!(call.next().await, message(word));
    }
    call.upload.send_data(message("last").into(), true).unwrap();
    assert_eq!(call.end().await, (message("last"), "0".to_owned(), String::new()));
    upstream.with_last(|seen| assert_eq!(seen.body, ["hello", "one", "two", "last"].map(message).concat()));
}

#[tokio::test]
async fn h19_a_call_ends_with_its_session_and_says_so() {
    let pki = Pki::new();
    let (world, upstream) = world(&pki, STALENESS).await;
    let session = world.session();
    let client = H2::connect(&pki, &world).await;
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(Call::begin(&client, "/Service/Each", &session).await);
    }
    world.revoke(&session).await;
    for call in &mut calls {
        assert_eq!(call.end().await, cut("16", "invalid_credential"));
    }
    // Though the client has not ended its part: what it still has to say reaches nobody.
    until("the end upstream", async || upstream.broken() == 3).await;
    assert_eq!(ended(&world, "revoked").await, 3.0);
    let line = &world.log(3).await[0];
    assert_eq!((&line["status"], &line["code"]), (&200.into(), &"invalid_credential".into()));
    let request = call("/Service/Each", &session).body(message("hello").into()).unwrap();
    let refused = client.send(request).await.unwrap().expect(200);
    assert_eq!(told(&refused), Some(("16", "invalid_credential")));
    assert_eq!(refused.header("content-type"), Some("application/grpc"));
}

#[tokio::test]
async fn h21_a_call_ends_with_the_right_or_when_nobody_can_say() {
    let rule = "\n[[routes]]\npath = \"/*\"\nupstream = \"app\"\nallow.roles = [\"editor\"]";
    let pki = Pki::new();
    let (world, _upstream) = world(&pki, &format!("{STALENESS}{rule}")).await;
    let client = H2::connect(&pki, &world).await;
    let session = world.session_of("ben@acme.example", "acme");
    let mut call = Call::begin(&client, "/Service/Each", &session).await;
    world.emulator.fault(Fault { status: Some(503), ..Fault::on("/v1/b2b/sessions/authenticate") });
    assert_eq!(call.end().await, cut("14", "stytch_unavailable"));
    world.emulator.clear_faults();
    until("sessions can be checked", async || {
        let cookie = format!("stytch_session={}", session.session_token);
        let request = get("/x").header("cookie", cookie).body(Bytes::new()).unwrap();
        client.send(request).await.unwrap().status == 200
    })
    .await;
    let mut call = Call::begin(&client, "/Service/Each", &session).await;
    let member = world.emulator.member_id("acme", "ben@acme.example").unwrap();
    world.emulator.patch_member(&member, serde_json::json!({ "roles": [] })).unwrap();
    assert_eq!(call.end().await, cut("7", "role_not_allowed"));
    assert_eq!([ended(&world, "unchecked").await, ended(&world, "forbidden").await], [1.0, 1.0]);
}

#[tokio::test]
async fn h23_a_call_in_which_nothing_moves_ends() {
    let pki = Pki::new();
    let upstream = Http2::start(None).await;
    let world = pki.world(&format!("\n{}", cleartext(&upstream, "timeouts.idle = \"1s\""))).await;
    let client = H2::connect(&pki, &world).await;
    let mut call = Call::begin(&client, "/Service/Each", &world.session()).await;
    assert_eq!(call.end().await, cut("4", "upstream_timeout"));
    assert_eq!(ended(&world, "idle").await, 1.0);
    until("the end upstream", async || upstream.broken() == 1).await;
}

/// Nothing is put into a message, and a call that has no room for a status breaks off.
#[tokio::test]
async fn a_message_that_never_ends_is_no_place_for_a_status() {
    let pki = Pki::new();
    let (world, _upstream) = world(&pki, STALENESS).await;
    let session = world.session();
    let client = H2::connect(&pki, &world).await;
    let mut call = Call::begin(&client, "/Service/half", &session).await;
    world.revoke(&session).await;
    let end = tokio::time::timeout(PATIENCE, call.answer.data()).await.expect("an end");
    assert_eq!(end.unwrap().unwrap_err().reason(), Some(h2::Reason::CANCEL));
}

#[tokio::test]
async fn a_call_that_was_not_answered_yet_is_told_at_once() {
    let pki = Pki::new();
    let (world, upstream) = world(&pki, STALENESS).await;
    let session = world.session();
    let client = H2::connect(&pki, &world).await;
    let mut sender = client.sender.clone().ready().await.unwrap();
    let (answer, mut upload) = sender.send_request(call("/held", &session).body(()).unwrap(), false).unwrap();
    upload.send_data(message("hello").into(), false).unwrap();
    until("it has begun", async || upstream.begun() == 1).await;
    world.revoke(&session).await;
    let answer = read(tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap()).await.unwrap();
    assert_eq!((answer.status, told(&answer)), (200, Some(("16", "invalid_credential"))));
}

/// An answer that is over ends what was still being sent.
#[tokio::test]
async fn an_upload_ends_with_its_answer() {
    let pki = Pki::new();
    let world = pki.world("").await;
    world.upstream.on("/public/early", |_| {
        Answer::steps([Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()), Step::Hold])
            .early()
    });
    let client = H2::connect(&pki, &world).await;
    let mut sender = client.sender.clone().ready().await.unwrap();
    let (answer, mut upload) = sender.send_request(post("/public/early").body(()).unwrap(), false).unwrap();
    upload.send_data(Bytes::from_static(b"some"), false).unwrap();
    let answer = read(tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap()).await.unwrap();
    assert_eq!(answer.expect(200).text(), "ok");
    let reset = std::future::poll_fn(|cx| upload.poll_reset(cx));
    let reset = tokio::time::timeout(PATIENCE, reset).await.expect("a reset");
    assert_eq!(reset.unwrap(), h2::Reason::NO_ERROR);
    client.get("/public/x").await.unwrap().expect(200);
}

#[tokio::test]
async fn what_fails_behind_the_gateway_has_a_status_too() {
    let pki = Pki::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = pki.world(&format!("\n[upstreams.app]\nurl = \"http://{nobody}\"\nhttp2 = true")).await;
    let client = H2::connect(&pki, &world).await;
    for (path, content_type, status, code) in [
        ("/public/x", "application/grpc", "14", "upstream_unreachable"),
        ("/public/x", "application/grpc-web+proto", "14", "upstream_unreachable"),
        ("/public/x", "application/grpc-web-text", "14", "upstream_unreachable"),
        ("/private", "application/grpc-web-text", "16", "unauthenticated"),
        ("/private", "application/grpc-web", "16", "unauthenticated"),
    ] {
        let request = post(path).header("content-type", content_type).body(message("hello").into()).unwrap();
        let answer = client.send(request).await.unwrap().expect(200);
        assert_eq!(told(&answer), Some((status, code)));
        assert!(content_type.starts_with(answer.header("content-type").unwrap()), "{content_type}");
        assert!(answer.body.is_empty() && answer.header("cache-control") == Some("no-store"));
    }
    let held = Http2::start(None).await;
    let settings = cleartext(&held, "timeouts.response = \"300ms\"");
    world.reload(&format!("{}\n{settings}", pki.settings(&["app", "other"], ""))).await.unwrap();
    let request = post("/public/held").header("content-type", "application/grpc");
    let answer = client.send(request.body(message("hello").into()).unwrap()).await.unwrap().expect(200);
    assert_eq!(told(&answer), Some(("4", "upstream_timeout")));
}

/// The last message of an answer of gRPC-Web.
fn trailers(code: u8, message: &str) -> Vec<u8> {
    let text = format!("grpc-status:{code}\r\ngrpc-message:{message}\r\n");
    [&[0x80, 0, 0, 0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// What browsers speak passes as it is, and ends in its own form.
#[tokio::test]
async fn h20_a_call_of_grpc_web_ends_with_its_session_and_says_so() {
    let world = World::with(STALENESS).await;
    for in_text in [false, true] {
        let written = move |bytes: Vec<u8>| match in_text {
            true => BASE64_STANDARD.encode(bytes).into_bytes(),
            false => bytes,
        };
        let kind = if in_text { "application/grpc-web-text+proto" } else { "application/grpc-web+proto" };
        let hello = written(message("hello"));
        let answer = [
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n")
                .as_bytes(),
            format!("{:x}\r\n", hello.len()).as_bytes(),
            &hello,
            b"\r\n",
        ]
        .concat();
        world.upstream.on("/events", move |_| Answer::steps([Step::Send(answer.clone()), Step::Hold]));
        let session = world.session();
        let mut connection = world.connect().await;
        let sent = written(message("ask"));
        let ask = || world.post("/events").opaque(&session).header("Content-Type", kind).body(&sent);
        connection.send(ask().header("X-Grpc-Web", "1").bytes()).await;
        connection.until(&hello).await;
        let received = world.upstream.last();
        assert_eq!((&received.body, received.header("content-type").as_deref()), (&sent, Some(kind)));
        assert_eq!(received.header("x-grpc-web").as_deref(), Some("1"));
        world.revoke(&session).await;
        connection.until(&written(trailers(16, "invalid_credential"))).await;
        connection.until(b"\r\n0\r\n\r\n").await;
        // It was told in the answer's own terms, so that the connection goes on.
        let refused = ask().send_on(&mut connection).await.expect(200);
        assert_eq!(told(&refused), Some(("16", "invalid_credential")));
    }
    assert_eq!(ended(&world, "revoked").await, 2.0);
}
