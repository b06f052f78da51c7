//! HTTP/1.1 said by hand: every byte that goes out is the test's own, and every byte that comes
//! back is kept.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use stytch_emulator::Session;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::World;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Whatever bytes go over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to somewhere, and what was read from it and not yet looked at.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
    ended: bool,
}

impl Connection {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.set_nodelay(true).expect("a socket takes the option");
        Self::over(stream)
    }

    /// Over what is connected already.
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), read: Vec::new(), ended: false }
    }

    /// Errors are left for reading to find: a peer that closes early may still have answered.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await;
        let _closed = sent.expect("the peer takes what is sent");
    }

    /// The next response, after any interim ones. `None` when the connection ended before one began.
    pub(crate) async fn response(&mut self) -> Option<Response> {
        self.response_to("GET").await
    }

    /// The same, where the method decides whether a body follows.
    pub(crate) async fn response_to(&mut self, method: &str) -> Option<Response> {
        loop {
            let head = self.head().await?;
            let mut response = Response::parse(&head);
            if matches!(response.status, 100..=199) && response.status != 101 {
                continue;
            }
            if method != "HEAD" && !matches!(response.status, 101 | 204 | 304) {
                self.body_of(&mut response).await;
            }
            return Some(response);
        }
    }

    /// Whether the peer has closed, and what it said before it did. Waits for it to happen.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    /// At least `count` bytes, or what there was when the connection ended.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count && self.more().await {}
        self.read.drain(..count.min(self.read.len())).collect()
    }

    /// The head of a response whose body is still to come.
    pub(crate) async fn interim_head(&mut self) -> String {
        let head = self.head().await.expect("a response begins");
        String::from_utf8_lossy(&head).into_owned()
    }

    /// Reads up to and with these bytes.
    pub(crate) async fn until(&mut self, wanted: &[u8]) {
        while find(&self.read, wanted).is_none() {
            assert!(self.more().await, "the end came first: {:?}", String::from_utf8_lossy(&self.read));
        }
        let end = find(&self.read, wanted).map_or(0, |at| at + wanted.len());
        self.read.drain(..end);
    }

    async fn head(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                return Some(self.read.drain(..end + 4).collect());
            }
            if !self.more().await {
                assert!(self.read.is_empty(), "half a head: {:?}", String::from_utf8_lossy(&self.read));
                return None;
            }
        }
    }

    async fn body_of(&mut self, response: &mut Response) {
        if response.header("transfer-encoding").is_some() {
            return self.chunks(response).await;
        }
        let length = response.header("content-length").map(|length| length.parse::<usize>());
        let wanted = length.transpose().expect("a length is a number").unwrap_or(usize::MAX);
        response.body = self.bytes(wanted).await;
        response.complete = wanted == usize::MAX || response.body.len() == wanted;
    }

    async fn chunks(&mut self, response: &mut Response) {
        response.complete = false;
        loop {
            let Some(line) = self.line().await else { return };
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16);
            let size = size.expect("a chunk begins with its size");
            if size == 0 {
                break;
            }
            let data = self.bytes(size + 2).await;
            response.body.extend_from_slice(&data[..size.min(data.len())]);
            if data.len() < size + 2 {
                return;
            }
        }
        while let Some(line) = self.line().await {
            if line.is_empty() {
                response.complete = true;
                return;
            }
            response.trailers.push(line);
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.read, b"\r\n") {
                let line: Vec<u8> = self.read.drain(..end + 2).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// False at the end. A reset is an end.
    async fn more(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let reading = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read));
        let read = reading.await.expect("an answer, or the end of the connection");
        self.ended = !matches!(read, Ok(1..));
        !self.ended
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<String>,
    /// Whether the body ended where it said it would.
    pub(crate) complete: bool,
}

impl Response {
    fn parse(head: &[u8]) -> Self {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        Self {
            status: status.unwrap_or_else(|| panic!("no status line: {text}")),
            headers: headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(),
            body: Vec::new(),
            trailers: Vec::new(),
            complete: true,
        }
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).into_iter().next()
    }

    /// Every value of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The code of a refusal, in whichever form it came.
    pub(crate) fn code(&self) -> Option<String> {
        if let Some(code) = self.header("grpc-message") {
            return Some(code.to_owned());
        }
        let problem: Value = serde_json::from_slice(&self.body).ok()?;
        Some(problem.get("code")?.as_str()?.to_owned())
    }

    /// The request's id, where a refusal names it.
    pub(crate) fn request_id(&self) -> Option<String> {
        let problem: Value = serde_json::from_slice(&self.body).ok()?;
        Some(problem.get("request_id")?.as_str()?.to_owned())
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.text());
        self
    }
}

/// A request about to be sent to the gateway.
#[must_use = "nothing is asked before `send`"]
pub(crate) struct Request<'w> {
    world: &'w World,
    pub(crate) method: String,
    pub(crate) target: String,
    host: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl<'w> Request<'w> {
    pub(crate) fn new(world: &'w World, method: &str, target: &str) -> Self {
        Self {
            world,
            method: method.to_owned(),
            target: target.to_owned(),
            host: "app.test".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Adds a header, as often as it is called.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// A `Cookie` header of its own.
    pub(crate) fn cookie(self, name: &str, value: &str) -> Self {
        self.world.keep_secret(value);
        self.header("Cookie", format!("{name}={value}"))
    }

    /// The JWT cookie of a session.
    pub(crate) fn jwt(self, session: &Session) -> Self {
        self.token(&session.session_jwt)
    }

    /// A JWT in the JWT cookie.
    pub(crate) fn token(self, jwt: &str) -> Self {
        self.cookie("stytch_session_jwt", jwt)
    }

    /// The opaque cookie of a session.
    pub(crate) fn opaque(self, session: &Session) -> Self {
        self.cookie("stytch_session", &session.session_token)
    }

    /// Both cookies of a session, as Stytch's own libraries set them.
    pub(crate) fn with(self, session: &Session) -> Self {
        self.world.keep_secret(&session.session_token);
        self.world.keep_secret(&session.session_jwt);
        let (token, jwt) = (&session.session_token, &session.session_jwt);
        self.header("Cookie", format!("stytch_session={token}; stytch_session_jwt={jwt}"))
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.world.keep_secret(token);
        self.header("Authorization", format!("Bearer {token}"))
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        let length = self.body.len().to_string();
        self.header("Content-Length", length)
    }

    /// Exactly what goes out.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes =
            format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it on a connection of its own.
    pub(crate) async fn send(self) -> Response {
        let mut connection = self.world.connect().await;
        self.send_on(&mut connection).await
    }

    pub(crate) async fn send_on(self, connection: &mut Connection) -> Response {
        connection.send(self.bytes()).await;
        let what = format!("{} {}", self.method, self.target);
        connection.response_to(&self.method).await.unwrap_or_else(|| panic!("no answer to {what}"))
    }

    /// Sends it and expects a status.
    pub(crate) async fn expect(self, status: u16) -> Response {
        let what = format!("{} {} {:?}", self.method, self.target, self.shown());
        let response = self.send().await;
        assert_eq!(response.status, status, "{what}\n{:?}\n{}", response.headers, response.text());
        response
    }

    /// Sends it and expects to be turned back as every refusal must be: see [`World::check_refusal`].
    pub(crate) async fn refused(self, status: u16, code: &str) -> Response {
        let what = format!("{} {} {:?}", self.method, self.target, self.shown());
        let (world, before) = (self.world, self.world.upstream_traffic());
        let response = self.send().await;
        world.check_refusal(&what, &response, status, code, before);
        response
    }

    fn shown(&self) -> Vec<String> {
        let shown = |value: &[u8]| String::from_utf8_lossy(&value[..value.len().min(80)]).into_owned();
        self.headers.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect()
    }
}

pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
