//! HTTP/2 on https: the same requests, decided and forwarded as those of HTTP/1.1 (issue 5,
//! "Downstream").

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use tokio::task::JoinHandle;

use crate::client::{Connection, PATIENCE, Response};
use crate::echo::{Answer, Step};
use crate::pki::{Pki, Secure};
use crate::world::{World, until};

mod grpc;
mod websocket;

/// A client that speaks HTTP/2 as it should.
pub(crate) struct H2 {
    sender: SendRequest<Bytes>,
    /// Ends with the connection.
    pub(crate) driver: JoinHandle<Result<(), h2::Error>>,
}

impl H2 {
    pub(crate) async fn connect(pki: &Pki, world: &World) -> Self {
        Self::over(pki.client(&["h2"]).secure(world.tls_address(), "app.test").await.unwrap()).await
    }

    async fn over(stream: Secure) -> Self {
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        Self { sender, driver: tokio::spawn(connection) }
    }

    /// Sends a request with a body and reads the whole answer.
    pub(crate) async fn send(&self, request: http::Request<Bytes>) -> Result<Response, h2::Error> {
        tokio::time::timeout(PATIENCE, self.exchange(request)).await.expect("an answer in time")
    }

    async fn exchange(&self, request: http::Request<Bytes>) -> Result<Response, h2::Error> {
        let (parts, body) = request.into_parts();
        let mut sender = self.sender.clone().ready().await?;
        let (answer, mut upload) =
            sender.send_request(http::Request::from_parts(parts, ()), body.is_empty())?;
        if !body.is_empty() {
            upload.send_data(body, true)?;
        }
        read(answer.await?).await
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Response, h2::Error> {
        self.send(get(path).body(Bytes::new()).unwrap()).await
    }
}

pub(crate) fn get(path: &str) -> http::request::Builder {
    http::Request::get(format!("https://app.test{path}")).version(http::Version::HTTP_2)
}

fn post(path: &str) -> http::request::Builder {
    get(path).method("POST")
}

async fn read(answer: http::Response<RecvStream>) -> Result<Response, h2::Error> {
    let (parts, mut stream) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?.unwrap_or_default();
    let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    Ok(Response {
        status: parts.status.as_u16(),
        headers: parts.headers.iter().map(text).collect(),
        body,
        trailers: trailers.iter().map(text).map(|(name, value)| format!("{name}: {value}")).collect(),
        complete: true,
    })
}

#[tokio::test]
async fn a_request_is_the_one_it_would_be_in_http_1() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let session = world.session();
    world.keep_secret(&session.session_jwt);
    let client = H2::connect(&pki, &world).await;
    let request = get("/a%7eb?x=1")
        .header("cookie", "theme=dark")
        .header("cookie", format!("stytch_session_jwt={}", session.session_jwt))
        .header("cookie", "last=1")
        .header("te", "trailers")
        .header("x-stytch-member-id", "somebody-else");
    let answer = client.send(request.body(Bytes::new()).unwrap()).await.unwrap().expect(200);
    assert!(answer.header("connection").is_none() && answer.header("date").is_some());
    let received = world.upstream.last();
    assert_eq!(received.request_line(), "GET /a~b?x=1 HTTP/1.1");
    assert_eq!(received.all("host"), ["app.test"]);
    assert_eq!(received.all("cookie"), ["theme=dark; last=1"]);
    assert_eq!(received.all("x-forwarded-proto"), ["https"]);
    assert_eq!(received.all("x-stytch-member-id"), [world.claims(&session)["sub"].as_str().unwrap()]);
    assert!(received.header("te").is_none());
    assert!(
        received.header("via").unwrap().starts_with("2.0 stytch-gateway"),
        "{:?}",
        received.header("via")
    );
    let line = &world.log(1).await[0];
    assert_eq!(
        (&line["host"], &line["path"], &line["status"]),
        (&"app.test".into(), &"/a~b".into(), &200.into())
    );
}

#[tokio::test]
async fn what_is_refused_is_told_as_ever() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let client = H2::connect(&pki, &world).await;
    let before = world.upstream_traffic();
    for (request, status, code) in [
        (get("/x"), 401, "unauthenticated"),
        (get("/x").header("cookie", "stytch_session_jwt=x"), 401, "invalid_credential"),
        (get("/public/%2e%2e%2f"), 400, "ambiguous_path"),
        (get("/public/x").header("host", "other.test"), 400, "bad_request"),
        (get("/public/x").header("a", " b"), 400, "bad_request"),
        (get("/public/x").method("TRACE"), 405, "method_not_allowed"),
        (http::Request::get("https://other.test/"), 421, "misdirected_request"),
        (http::Request::get("http://app.test/public/x"), 421, "misdirected_request"),
    ] {
        let request = request.body(Bytes::new()).unwrap();
        let what = format!("{request:?}");
        let answer = client.send(request).await.unwrap();
        world.check_refusal(&what, &answer, status, code, before);
        assert!(answer.header("connection").is_none(), "{what}");
    }
    // A connection outlives the requests that were refused on it.
    client.get("/public/x").await.unwrap().expect(200);
}

#[tokio::test]
async fn bodies_and_trailers_go_both_ways() {
    let pki = Pki::new();
    let world = pki.world("").await;
    world.upstream.on("/public/trailers", |_| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        Answer::bytes(format!("{head}4\r\nbody\r\n0\r\nChecksum: 7\r\nX-Stytch-Assertion: forged\r\n\r\n"))
    });
    let client = H2::connect(&pki, &world).await;
    let body = Bytes::from(vec![b'x'; 900_000]);
    for length in [Some(body.len()), None] {
        let mut request = post("/public/x");
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let answer = client.send(request.body(body.clone()).unwrap()).await.unwrap().expect(200);
        let received = world.upstream.last();
        assert_eq!(received.body, body);
        assert_eq!(received.header("transfer-encoding").is_some(), length.is_none());
        assert!(answer.body.len() > body.len(), "what was received comes back");
    }
    let answer = client.get("/public/trailers").await.unwrap().expect(200);
    assert_eq!((answer.text().as_str(), answer.trailers), ("body", vec!["checksum: 7".to_owned()]));
    let head = get("/public/x").method("HEAD").body(Bytes::new()).unwrap();
    let answer = client.send(head).await.unwrap().expect(200);
    assert!(answer.body.is_empty() && answer.header("content-length").is_some());
    let head = get("/private").method("HEAD").body(Bytes::new()).unwrap();
    let answer = client.send(head).await.unwrap().expect(401);
    assert!(answer.body.is_empty() && answer.header("content-length").is_some());
    let large = post("/public/x").header("content-length", 20 << 20).body(body).unwrap();
    let answer = client.send(large).await;
    assert!(answer.is_err() || answer.unwrap().status == 413);
    client.get("/public/x").await.unwrap().expect(200);
}

#[tokio::test]
async fn many_streams_share_a_connection() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let client = H2::connect(&pki, &world).await;
    // By then it knows how many it may open.
    client.get("/public/first").await.unwrap().expect(200);
    let paths: Vec<_> = (0..300).map(|number| format!("/public/{number}")).collect();
    let answers = join_all(paths.iter().map(|path| client.get(path))).await;
    for (answer, path) in answers.into_iter().zip(&paths) {
        let text = answer.unwrap().expect(200).text();
        assert!(text.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{text}");
    }
    assert_eq!(world.metric("stytch_gateway_connections").await, 1.0);
}

/// A stream that takes too long ends, and the others go on.
#[tokio::test]
async fn a_slow_upstream_ends_its_stream_alone() {
    let pki = Pki::new();
    let world = pki
        .world("\n[upstreams.app]\nurl = \"$APP\"\ntimeouts.response = \"300ms\"\ntimeouts.idle = \"300ms\"")
        .await;
    world.upstream.on("/public/never", |_| Answer::steps([Step::Hold]));
    world.upstream.on("/public/half", |_| {
        Answer::steps([Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec()), Step::Hold])
    });
    let client = H2::connect(&pki, &world).await;
    assert_eq!(client.get("/public/never").await.unwrap().expect(504).code().unwrap(), "upstream_timeout");
    client.get("/public/half").await.map(|answer| answer.text()).unwrap_err();
    client.get("/public/x").await.unwrap().expect(200);
}

/// A client that does not read ends its stream, and keeps the others.
#[tokio::test]
async fn a_stalled_reader_loses_its_stream() {
    let pki = Pki::new();
    let world = pki.world("\n[upstreams.app]\nurl = \"$APP\"\ntimeouts.idle = \"400ms\"").await;
    world.upstream.on("/public/large", |_| {
        let body = vec![b'x'; 2 << 20];
        Answer::bytes(
            [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes(), body]
                .concat(),
        )
    });
    let client = H2::connect(&pki, &world).await;
    let mut sender = client.sender.clone().ready().await.unwrap();
    let (answer, _) = sender.send_request(get("/public/large").body(()).unwrap(), true).unwrap();
    let mut stalled = answer.await.unwrap().into_body();
    let ended = async {
        // Held, so that the window stays shut.
        while let Some(data) = stalled.data().await {
            if let Err(error) = data {
                return Some(error);
            }
        }
        None
    };
    let error = tokio::time::timeout(PATIENCE, ended).await.expect("an end").expect("a reset");
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    // Its share of the connection's window comes back.
    drop(stalled);
    client.get("/public/x").await.unwrap().expect(200);
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go_away() {
    let pki = Pki::new();
    let world = pki.world("\n[server.timeouts]\nidle = \"300ms\"").await;
    let client = H2::connect(&pki, &world).await;
    client.get("/public/x").await.unwrap().expect(200);
    let ended = tokio::time::timeout(PATIENCE, client.driver).await.expect("an end").unwrap();
    assert!(ended.is_ok(), "{ended:?}");
}

#[tokio::test]
async fn a_drain_lets_streams_end() {
    let pki = Pki::new();
    let world = pki.world("").await;
    world.upstream.on("/public/slow", |_| {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow".to_vec();
        Answer::steps([Step::Wait(Duration::from_millis(300)), Step::Send(answer)])
    });
    let client = H2::connect(&pki, &world).await;
    let (answer, ()) = futures_util::future::join(client.get("/public/slow"), async {
        world.upstream.wait_for(1).await;
        world.stop();
    })
    .await;
    assert_eq!(answer.unwrap().expect(200).text(), "slow");
    let ended = tokio::time::timeout(PATIENCE, client.driver).await.expect("an end").unwrap();
    assert!(ended.is_ok(), "{ended:?}");
}

/// hyper has no interim answers over HTTP/2, so a client that waits for one goes on by itself.
#[tokio::test]
async fn an_expectation_is_kept_without_being_confirmed() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let client = H2::connect(&pki, &world).await;
    let request = || post("/public/x").header("expect", "100-continue");
    client.send(request().body(Bytes::from_static(b"body")).unwrap()).await.unwrap().expect(200);
    let received = world.upstream.last();
    assert_eq!((received.body.as_slice(), received.header("expect")), (&b"body"[..], None));
    // Who would be refused is told so before anything is sent.
    let mut sender = client.sender.clone().ready().await.unwrap();
    let ask = post("/private").header("expect", "100-continue").body(()).unwrap();
    let (answer, _upload) = sender.send_request(ask, false).unwrap();
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect("an answer").unwrap();
    assert_eq!(answer.status(), 401);
}

/// Events do not look whole when their session ends; an upload is told why.
#[tokio::test]
async fn h20_streams_end_with_their_session_and_no_other() {
    let pki = Pki::new();
    let world = pki.world("\n[session]\nmax_staleness = \"1s\"").await;
    world.upstream.on("/events", |_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        Answer::steps([Step::Send(format!("{head}b\r\ndata: one\n\n\r\n").into_bytes()), Step::Hold])
    });
    let client = H2::connect(&pki, &world).await;
    let (session, other) = (world.session(), world.session());
    let of = |request: http::request::Builder, session: &stytch_emulator::Session| {
        let cookie = format!("stytch_session={}", session.session_token);
        request.header("cookie", cookie).body(()).unwrap()
    };
    let mut streams = Vec::new();
    for session in [&session, &other] {
        let mut sender = client.sender.clone().ready().await.unwrap();
        let (answer, _) = sender.send_request(of(get("/events"), session), true).unwrap();
        let mut events = answer.await.unwrap().into_body();
        assert_eq!(events.data().await.unwrap().unwrap(), "data: one\n\n");
        streams.push(events);
    }
    let mut sender = client.sender.clone().ready().await.unwrap();
    let (answer, mut upload) = sender.send_request(of(post("/upload"), &session), false).unwrap();
    upload.send_data(Bytes::from_static(b"some"), false).unwrap();
    world.upstream.wait_for(3).await;
    world.revoke(&session).await;
    let end = tokio::time::timeout(PATIENCE, streams[0].data()).await.expect("an end").unwrap();
    assert_eq!(end.unwrap_err().reason(), Some(Reason::CANCEL));
    let answer = read(tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap()).await.unwrap();
    assert_eq!(answer.expect(401).code().as_deref(), Some("invalid_credential"));
    let ended = "stytch_gateway_streams_ended_total{reason=\"revoked\"}";
    assert_eq!(world.metric(ended).await, 2.0);
    assert!(!world.upstream.requests()[2].complete);
    assert!(!streams[1].is_end_stream(), "the other session goes on");
}

/// The client's leaving ends what was asked on its behalf.
#[tokio::test]
async fn a_reset_ends_the_request_upstream() {
    let pki = Pki::new();
    let world = pki.world("").await;
    world.upstream.on("/public/never", |_| Answer::steps([Step::Hold]));
    let client = H2::connect(&pki, &world).await;
    let mut sender = client.sender.clone().ready().await.unwrap();
    let (answer, mut stream) = sender.send_request(get("/public/never").body(()).unwrap(), true).unwrap();
    world.upstream.wait_for(1).await;
    stream.send_reset(Reason::CANCEL);
    drop(answer);
    let line = &world.log(1).await[0];
    assert_eq!(line["status"], 499);
    let cancelled = "stytch_gateway_upstream_requests_total{upstream=\"app\",outcome=\"cancelled\"}";
    until("the end upstream", async || world.metric(cancelled).await == 1.0).await;
    client.get("/public/x").await.unwrap().expect(200);
}

/// Nobody speaks HTTP/2 without having agreed on it.
#[tokio::test]
async fn there_is_no_prior_knowledge() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    let plain = world.connect().await;
    let secure = pki.client(&["http/1.1"]).connect(&world, "app.test").await;
    let unagreed = pki.client(&[]).connect(&world, "app.test").await;
    for mut connection in [plain, secure, unagreed] {
        connection.send(preface).await;
        connection.response().await.unwrap().expect(400);
    }
}

/// Frames by hand.
pub(crate) struct Frames {
    connection: Connection,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const ENHANCE_YOUR_CALM: u8 = 11;

/// Kind, flags, stream and payload.
pub(crate) type Frame = (u8, u8, u32, Vec<u8>);

impl Frames {
    pub(crate) async fn connect(pki: &Pki, world: &World) -> Self {
        let mut connection = pki.client(&["h2"]).connect(world, "app.test").await;
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        connection.send(frame(SETTINGS, 0, 0, &[])).await;
        Self { connection }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.connection.send(bytes).await;
    }

    /// None at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let head = self.connection.bytes(9).await;
        let [a, b, c, kind, flags, s, t, u, v] = head[..] else { return None };
        let payload = self.connection.bytes(u32::from_be_bytes([0, a, b, c]) as usize).await;
        Some((kind, flags, u32::from_be_bytes([s, t, u, v]), payload))
    }

    /// The first frame of these kinds.
    pub(crate) async fn wait_for(&mut self, kinds: &[u8]) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if kinds.contains(&frame.0) {
                return Some(frame);
            }
        }
    }

    /// What the connection ended with: the reason of its GOAWAY, if it told one.
    pub(crate) async fn end(&mut self) -> Option<u8> {
        let mut reason = None;
        while let Some((kind, _, _, payload)) = self.next().await {
            if kind == GOAWAY {
                reason = payload.get(7).copied();
            }
        }
        reason
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Header fields as HPACK has them at their plainest.
pub(crate) fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        for text in [name.as_bytes(), value] {
            assert!(text.len() < 127, "one byte tells the length");
        }
        block.push(0);
        block.push(u8::try_from(name.len()).unwrap());
        block.extend_from_slice(name.as_bytes());
        block.push(u8::try_from(value.len()).unwrap());
        block.extend_from_slice(value);
    }
    block
}

/// The block of a request with further fields.
pub(crate) fn asking(method: &str, path: &str, more: &[(&str, &[u8])]) -> Vec<u8> {
    let pseudo: [(&str, &[u8]); 4] = [
        (":method", method.as_bytes()),
        (":scheme", b"https"),
        (":authority", b"app.test"),
        (":path", path.as_bytes()),
    ];
    block(&[&pseudo, more].concat())
}
