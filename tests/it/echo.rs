//! An upstream that keeps every byte it was sent, and answers as it is told.
//!
//! It is no HTTP library's server, so nothing is repaired or tidied on the way in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Handle};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::client::find;
use crate::world::eventually;

/// All upstreams of all tests live on one thread, so that a test may block its own.
static RUNTIME: LazyLock<Handle> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("upstreams".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .expect("a thread starts");
    handle
});

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    /// Which of the upstream's connections it came on, counted from 0.
    pub(crate) connection: usize,
    /// From the request line to the empty line.
    pub(crate) head: Vec<u8>,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// The body as it was framed.
    pub(crate) framed: Vec<u8>,
    pub(crate) trailers: Vec<String>,
    /// Whether the body came to its end.
    pub(crate) complete: bool,
}

impl Received {
    fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.head).trim_end().split("\r\n").map(str::to_owned).collect()
    }

    pub(crate) fn request_line(&self) -> String {
        self.lines().remove(0)
    }

    pub(crate) fn target(&self) -> String {
        self.request_line().split(' ').nth(1).unwrap_or_default().to_owned()
    }

    pub(crate) fn path(&self) -> String {
        self.target().split('?').next().unwrap_or_default().to_owned()
    }

    /// Names as they were sent, and values.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let lines = self.lines().into_iter().skip(1);
        lines
            .filter_map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((name.to_owned(), value.trim().to_owned()))
            })
            .collect()
    }

    /// Every value of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let named = self.headers().into_iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value).collect()
    }

    /// The value of a header that came at most once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut values = self.all(name);
        assert!(values.len() < 2, "{name} came {} times", values.len());
        values.pop()
    }
}

/// One step of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// Sends back whatever comes, until the connection ends: for what follows a 101.
    Echo,
    /// Says nothing more, and keeps the connection.
    Hold,
    Close,
}

/// How a request is answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    steps: Vec<Step>,
    /// Whether it begins before the request's body was read.
    early: bool,
}

impl Answer {
    /// Exactly these bytes; the connection stays open.
    pub(crate) fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self::steps([Step::Send(bytes.as_ref().to_vec())])
    }

    pub(crate) fn steps(steps: impl Into<Vec<Step>>) -> Self {
        Self { steps: steps.into(), early: false }
    }

    /// Answers as soon as the head is there.
    pub(crate) const fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// What was received, whole.
    fn echo(received: &Received) -> Self {
        let body = [received.head.as_slice(), &received.framed].concat();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
        let head_only = received.head.starts_with(b"HEAD ");
        Self::bytes(if head_only { head.into_bytes() } else { [head.into_bytes(), body].concat() })
    }
}

type Handler = Box<dyn Fn(&Received) -> Answer + Send + Sync>;

#[derive(Default)]
struct State {
    connections: Mutex<usize>,
    received: Mutex<Vec<Received>>,
    handlers: Mutex<Vec<(String, Handler)>>,
}

/// A running upstream. It stops when dropped.
pub(crate) struct Echo {
    address: SocketAddr,
    state: Arc<State>,
    accepting: AbortHandle,
}

impl Echo {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        let bound = RUNTIME.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            let address = listener.local_addr().expect("a listener has an address");
            (address, tokio::spawn(accept(listener, serving)).abort_handle())
        });
        let (address, accepting) = bound.await.expect("an upstream starts");
        Self { address, state, accepting }
    }

    /// One that speaks TLS.
    pub(crate) async fn start_with(tls: Arc<ServerConfig>) -> Self {
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        let bound = RUNTIME.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            let address = listener.local_addr().expect("a listener has an address");
            let accepting = tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, state) = (TlsAcceptor::from(Arc::clone(&tls)), Arc::clone(&serving));
                    tokio::spawn(async move {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, &state).await;
                        }
                    });
                }
            });
            (address, accepting.abort_handle())
        });
        let (address, accepting) = bound.await.expect("an upstream starts");
        Self { address, state, accepting }
    }

    /// One on a socket file. It has no address.
    pub(crate) async fn start_at(path: PathBuf) -> Self {
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        let bound = RUNTIME.spawn(async move {
            let listener = UnixListener::bind(path).expect("a socket file can be made");
            let accepting = tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let state = Arc::clone(&serving);
                    tokio::spawn(async move { serve(stream, &state).await });
                }
            });
            accepting.abort_handle()
        });
        let accepting = bound.await.expect("an upstream starts");
        Self { address: SocketAddr::from(([0, 0, 0, 0], 0)), state, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How requests whose target begins so are answered; without one, by what was received.
    pub(crate) fn on(&self, prefix: &str, answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
        lock(&self.state.handlers).insert(0, (prefix.to_owned(), Box::new(answer)));
    }

    /// What has arrived, in the order of arrival.
    pub(crate) fn requests(&self) -> Vec<Received> {
        lock(&self.state.received).clone()
    }

    /// The newest request, which must be there.
    #[track_caller]
    pub(crate) fn last(&self) -> Received {
        self.requests().pop().expect("the upstream was asked")
    }

    /// Connections accepted and requests begun.
    pub(crate) fn traffic(&self) -> (usize, usize) {
        (*lock(&self.state.connections), lock(&self.state.received).len())
    }

    /// Waits until so many requests have begun.
    pub(crate) async fn wait_for(&self, requests: usize) {
        eventually(&format!("{requests} requests upstream"), || self.requests().len() >= requests).await;
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move { serve(stream, &state).await });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, state: &Arc<State>) {
    let number = {
        let mut connections = lock(&state.connections);
        *connections += 1;
        *connections - 1
    };
    Served { stream, number, read: Vec::new(), state: Arc::clone(state) }.run().await;
}

/// One connection being served.
struct Served<S> {
    stream: S,
    number: usize,
    read: Vec<u8>,
    state: Arc<State>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Served<S> {
    async fn run(mut self) {
        while self.exchange().await.is_some() {}
    }

    /// One request and its answer; `None` when the connection is over.
    async fn exchange(&mut self) -> Option<()> {
        let end = self.until(b"\r\n\r\n").await?;
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        let mut received = Received { connection: self.number, head, ..Received::default() };
        let index = {
            let mut all = lock(&self.state.received);
            all.push(received.clone());
            all.len() - 1
        };
        let early = self.answer(&received).filter(|answer| answer.early);
        let answer = match early {
            Some(answer) => answer,
            None => {
                let whole = self.body(&mut received).await;
                received.complete = whole.is_some();
                lock(&self.state.received)[index] = received.clone();
                whole?;
                self.answer(&received).unwrap_or_else(|| Answer::echo(&received))
            }
        };
        let is_early = answer.early;
        for step in answer.steps {
            self.step(step).await?;
        }
        if is_early {
            let whole = self.body(&mut received).await;
            received.complete = whole.is_some();
            lock(&self.state.received)[index] = received;
            whole?;
        }
        Some(())
    }

    fn answer(&self, received: &Received) -> Option<Answer> {
        let target = received.target();
        let handlers = lock(&self.state.handlers);
        let (_, handler) = handlers.iter().find(|(prefix, _)| target.starts_with(prefix))?;
        Some(handler(received))
    }

    async fn step(&mut self, step: Step) -> Option<()> {
        match step {
            Step::Send(bytes) => self.stream.write_all(&bytes).await.ok(),
            Step::Wait(time) => {
                tokio::time::sleep(time).await;
                Some(())
            }
            Step::Echo => loop {
                if self.read.is_empty() {
                    self.more().await?;
                }
                let bytes = std::mem::take(&mut self.read);
                self.stream.write_all(&bytes).await.ok()?;
            },
            Step::Hold => loop {
                self.more().await?;
            },
            Step::Close => None,
        }
    }

    async fn body(&mut self, received: &mut Received) -> Option<()> {
        if received.header("transfer-encoding").is_some() {
            return self.chunks(received).await;
        }
        let length = received.header("content-length").and_then(|length| length.parse().ok());
        let taken = self.take(length.unwrap_or(0)).await;
        received.body.extend_from_slice(&taken.0);
        received.framed.extend_from_slice(&taken.0);
        taken.1
    }

    async fn chunks(&mut self, received: &mut Received) -> Option<()> {
        loop {
            let line = self.line(received).await?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16).ok()?;
            if size == 0 {
                break;
            }
            let (data, whole) = self.take(size + 2).await;
            received.framed.extend_from_slice(&data);
            received.body.extend_from_slice(&data[..size.min(data.len())]);
            whole?;
        }
        loop {
            let line = self.line(received).await?;
            if line.is_empty() {
                return Some(());
            }
            received.trailers.push(line);
        }
    }

    async fn line(&mut self, received: &mut Received) -> Option<String> {
        let end = self.until(b"\r\n").await?;
        let line: Vec<u8> = self.read.drain(..end + 2).collect();
        received.framed.extend_from_slice(&line);
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }

    /// So many bytes, or as many as came.
    async fn take(&mut self, count: usize) -> (Vec<u8>, Option<()>) {
        let mut whole = Some(());
        while self.read.len() < count && whole.is_some() {
            whole = self.more().await;
        }
        (self.read.drain(..count.min(self.read.len())).collect(), whole)
    }

    async fn until(&mut self, mark: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = find(&self.read, mark) {
                return Some(at);
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.read).await {
            Ok(1..) => Some(()),
            _ => None,
        }
    }
}
