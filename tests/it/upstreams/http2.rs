//! Upstreams that speak HTTP/2, as servers of gRPC do.

use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::tls::{Authority, write};
use super::{failed, nobody};
use crate::echo::{Answer, Echo};
use crate::world::{World, eventually};

/// A request as it arrived.
pub(crate) struct Seen {
    connection: usize,
    pub(crate) head: http::request::Parts,
    pub(crate) body: Vec<u8>,
    trailers: HeaderMap,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    begun: AtomicUsize,
    broken: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
}

/// A server of HTTP/2 that sends back what it receives, piece by piece, with a status of gRPC after
/// it. What its target says changes that:
///
/// - `/refused`: the first of them is refused;
/// - `/last`: the connection ends after it;
/// - `/reset`: it is reset;
/// - `/held`: there is no answer until two such requests are there;
/// - `/many`: what it received comes back three times, once it is whole;
/// - `/half`: of the first piece only half comes back, and then nothing.
pub(crate) struct Http2 {
    address: SocketAddr,
    state: Arc<State>,
}

impl Http2 {
    pub(crate) async fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                match tls.clone().map(TlsAcceptor::from) {
                    None => drop(tokio::spawn(serve(stream, state))),
                    Some(tls) => drop(tokio::spawn(async move {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, state).await;
                        }
                    })),
                }
            }
        });
        Self { address, state }
    }

    fn connections(&self) -> usize {
        self.state.connections.load(Relaxed)
    }

    /// Requests whose end never came.
    pub(crate) fn broken(&self) -> usize {
        self.state.broken.load(Relaxed)
    }

    /// Requests that have come, whole or not.
    pub(crate) fn begun(&self) -> usize {
        self.state.begun.load(Relaxed)
    }

    pub(crate) fn with_last<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(self.state.seen.lock().unwrap().last().unwrap())
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, state: Arc<State>) {
    let number = state.connections.fetch_add(1, Relaxed);
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        if request.uri().path().ends_with("/last") {
            connection.graceful_shutdown();
        }
        tokio::spawn(answer(request, respond, number, Arc::clone(&state)));
    }
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: usize,
    state: Arc<State>,
) {
    let (head, mut incoming) = request.into_parts();
    let path = head.uri.path().to_owned();
    let before = state.begun.fetch_add(1, Relaxed);
    if path.ends_with("/refused") && before == 0 {
        return respond.send_reset(Reason::REFUSED_STREAM);
    }
    if path.ends_with("/reset") {
        return respond.send_reset(Reason::INTERNAL_ERROR);
    }
    while path.ends_with("/held") && state.begun.load(Relaxed) < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("trailer", "grpc-status")
        .header("before-bin", "AQ");
    let mut outgoing = respond.send_response(response.body(()).unwrap(), false).unwrap();
    let mut body = Vec::new();
    while let Some(data) = incoming.data().await {
        let Ok(data) = data else {
            state.broken.fetch_add(1, Relaxed);
            return;
        };
        incoming.flow_control().release_capacity(data.len()).unwrap();
        body.extend_from_slice(&data);
        if path.ends_with("/half") {
            outgoing.send_data(data.slice(..data.len() / 2), false).unwrap();
        } else if !path.ends_with("/many") {
            outgoing.send_data(data, false).unwrap();
        }
    }
    let Ok(trailers) = incoming.trailers().await else {
        state.broken.fetch_add(1, Relaxed);
        return;
    };
    if path.ends_with("/many") {
        for _ in 0..3 {
            outgoing.send_data(Bytes::copy_from_slice(&body), false).unwrap();
        }
    }
    state.seen.lock().unwrap().push(Seen { connection, head, body, trailers: trailers.unwrap_or_default() });
    let mut after = HeaderMap::new();
    after.insert("grpc-status", HeaderValue::from_static("0"));
    after.insert("after-bin", HeaderValue::from_static("AAE"));
    outgoing.send_trailers(after).unwrap();
}

pub(crate) fn cleartext(upstream: &Http2, more: &str) -> String {
    format!("[upstreams.app]\nurl = \"http://{}\"\nhttp2 = true\n{more}", upstream.address)
}

#[tokio::test]
async fn a_call_of_grpc_goes_through_with_its_trailers() {
    let upstream = Http2::start(None).await;
    let world = World::with(&cleartext(&upstream, "")).await;
    let mut client = world.connect().await;
    let head = "POST /public/Service/Method?a=b HTTP/1.1\r\nHost: app.test\r\n\
        Content-Type: application/grpc\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\
        Trailer: checksum\r\n\r\n";
    client.send(format!("{head}5\r\nhello\r\n0\r\nchecksum: 1\r\nX-Stytch-Member-Id: me\r\n\r\n")).await;
    let response = client.response().await.unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert!(response.trailers.contains(&"grpc-status: 0".to_owned()), "{:?}", response.trailers);
    upstream.with_last(|seen| {
        assert_eq!(seen.head.version, Version::HTTP_2);
        assert_eq!(seen.head.uri.to_string(), "http://app.test/public/Service/Method?a=b");
        assert_eq!(seen.header("te"), Some("trailers"));
        for absent in ["host", "connection", "transfer-encoding", "x-stytch-member-id"] {
            assert_eq!(seen.header(absent), None, "{absent}");
        }
        assert!(seen.header("x-request-id").is_some() && seen.header("x-forwarded-for").is_some());
        assert_eq!(seen.body, b"hello");
        let trailers: Vec<_> = seen.trailers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(trailers, ["checksum"]);
    });
}

#[tokio::test]
async fn streams_flow_both_ways_at_once() {
    let upstream = Http2::start(None).await;
    let world = World::with(&cleartext(&upstream, "")).await;
    let mut client = world.connect().await;
    client.send("POST /public/talk HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for word in ["one", "two", "six"] {
        client.send(format!("3\r\n{word}\r\n")).await;
        client.until(word.as_bytes()).await;
    }
    client.send("0\r\n\r\n").await;
    client.until(b"0\r\n").await;
    upstream.with_last(|seen| assert_eq!(seen.body, b"onetwosix"));
}

#[tokio::test]
async fn requests_share_a_connection() {
    let upstream = Http2::start(None).await;
    let world = World::with(&cleartext(&upstream, "host = \"upstream\"")).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = world.connect().await;
        client.send(world.get("/public/held").bytes()).await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.response().await.unwrap().status, 200);
    }
    world.get("/public/x").expect(200).await;
    assert_eq!(upstream.connections(), 1);
    upstream.with_last(|seen| {
        assert_eq!(seen.head.uri.authority().unwrap().as_str(), upstream.address.to_string());
    });
    let idle = "stytch_gateway_upstream_connections{upstream=\"app\",state=\"idle\"}";
    assert_eq!(world.metric(idle).await, 1.0);
}

/// `max_connections` counts requests, since they share one.
#[tokio::test]
async fn requests_are_capped() {
    let upstream = Http2::start(None).await;
    let more = "max_connections = 1\ntimeouts.connect = \"200ms\"";
    let world = World::with(&cleartext(&upstream, more)).await;
    let mut holding = world.connect().await;
    holding.send(world.get("/public/held").bytes()).await;
    eventually("it has begun", || upstream.state.begun.load(Relaxed) == 1).await;
    failed(&world, "/public/x", 503, "overloaded").await;
    upstream.state.begun.store(2, Relaxed);
    assert_eq!(holding.response().await.unwrap().status, 200);
    world.get("/public/x").expect(200).await;
}

#[tokio::test]
async fn what_was_certainly_not_processed_is_sent_again() {
    let upstream = Http2::start(None).await;
    let world = World::with(&cleartext(&upstream, "")).await;
    world.post("/public/refused").expect(200).await;
    assert_eq!(upstream.state.begun.load(Relaxed), 2, "though it is no GET");
    for _ in 0..3 {
        world.get("/public/last").expect(200).await;
    }
    assert_eq!(upstream.connections(), 3, "one after another said that it will end");
    upstream.with_last(|seen| assert_eq!(seen.connection, 2));
    failed(&world, "/public/reset", 502, "upstream_protocol").await;
    let with_body = Http2::start(None).await;
    world.reload(&cleartext(&with_body, "")).await.unwrap();
    let response = world.post("/public/refused").body("gone").send().await;
    assert_eq!(response.status, 502);
}

#[tokio::test]
async fn over_tls_it_is_agreed_on() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = write(directory.path(), "ca.pem", &authority.pem());
    let upstream = Http2::start(Some(authority.server("localhost", &["h2"], None))).await;
    let of = |port: u16, http2: bool| {
        format!("[upstreams.app]\nurl = \"https://localhost:{port}\"\nhttp2 = {http2}\ntls.ca = \"{ca}\"")
    };
    let world = World::with(&of(upstream.address.port(), true)).await;
    for _ in 0..3 {
        world.get("/public/x").expect(200).await;
    }
    upstream.with_last(|seen| assert_eq!(seen.head.uri.to_string(), "https://app.test/public/x"));
    assert_eq!(upstream.connections(), 1);
    // It speaks nothing else, so without http2 there is no handshake.
    world.reload(&of(upstream.address.port(), false)).await.unwrap();
    failed(&world, "/public/x", 502, "upstream_unreachable").await;

    let older = Echo::start_with(authority.server("localhost", &["http/1.1"], None)).await;
    world.reload(&of(older.address().port(), true)).await.unwrap();
    for _ in 0..3 {
        let text = world.get("/public/x").header("TE", "trailers").expect(200).await.text();
        assert!(text.starts_with("GET /public/x HTTP/1.1\r\nhost: app.test\r\n"), "{text}");
        assert_eq!(older.last().header("te"), None);
    }
    assert_eq!(older.traffic(), (1, 3));
}

/// Over https the older protocol is asked for; in clear text nothing else is spoken, and the
/// request goes through as one that asks for no switch.
#[tokio::test]
async fn a_switch_of_protocols_needs_the_older_one() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = write(directory.path(), "ca.pem", &authority.pem());
    let both = Echo::start_with(authority.server("localhost", &["http/1.1"], None)).await;
    both.on("/public/ws", |_| {
        Answer::bytes("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    });
    let url = format!("https://localhost:{}", both.address().port());
    let world =
        World::with(&format!("[upstreams.app]\nurl = \"{url}\"\nhttp2 = true\ntls.ca = \"{ca}\"")).await;
    let ask = || world.get("/public/ws").header("Connection", "upgrade").header("Upgrade", "websocket");
    let mut client = world.connect().await;
    client.send(ask().bytes()).await;
    assert!(client.interim_head().await.starts_with("HTTP/1.1 101"), "it switches");
    let upstream = Http2::start(None).await;
    world.reload(&cleartext(&upstream, "")).await.unwrap();
    ask().expect(200).await;
    upstream.with_last(|seen| assert_eq!(seen.header("upgrade"), None));
}

#[tokio::test]
async fn an_upstream_that_does_not_speak_it_is_not_http() {
    let world = World::start().await;
    let address = world.upstream.address();
    world.reload(&format!("[upstreams.app]\nurl = \"http://{address}\"\nhttp2 = true")).await.unwrap();
    let response = world.get("/public/x").expect(502).await;
    assert!(response.code().unwrap().starts_with("upstream_"));
    world.reload(&format!("[upstreams.app]\nurl = \"http://{}\"\nhttp2 = true", nobody())).await.unwrap();
    failed(&world, "/public/x", 502, "upstream_unreachable").await;
}
