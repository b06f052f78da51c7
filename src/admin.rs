//! The operator's own listener: `/livez`, `/readyz`, `/metrics`, `/status`.
//!
//! It shares nothing with the data plane: no route, no credential, no worker. It only shows, so
//! GET and HEAD are all there is, and it shows no secret. A connection carries one request and
//! has a deadline, which with a limit on their number is all the protection it needs.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::metrics;

mod status;

pub use status::{Loaded, Status};

/// More than probes and scrapers need; whoever comes on top is cut off.
const CONNECTIONS: usize = 64;
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// For a whole connection, the scraper's reading of the answer included.
const DEADLINE: Duration = Duration::from_secs(15);
/// What answers get to end in at shutdown.
const DRAIN: Duration = Duration::from_secs(1);

/// The bound listener.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    local_addr: SocketAddr,
}

impl Admin {
    /// On a socket that is bound to this address.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn on(sockets: Vec<TcpListener>, local_addr: SocketAddr) -> io::Result<Self> {
        let listener = sockets.into_iter().next().ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { listener, local_addr })
    }

    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers until `shutdown` completes. To be run to its end on a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the runtime does not take the listener.
    pub async fn serve(self, status: Arc<Status>, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) if connections.len() < CONNECTIONS => {
                        connections.spawn(connection(stream, Arc::clone(&status)));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        // Out of descriptors, most likely: there may be one in a moment.
                        tracing::warn!(%error, "the admin listener could not accept");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        drop(listener);
        // What has not ended by then is cut off with the set.
        let _late =
            tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
        Ok(())
    }
}

async fn connection(stream: TcpStream, status: Arc<Status>) {
    let answered = service_fn(move |request: Request<_>| {
        let response = answer(request.method(), request.uri().path(), &status);
        async move { Ok::<_, Infallible>(response) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .keep_alive(false)
        .max_headers(64)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), answered);
    match tokio::time::timeout(DEADLINE, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection broke off"),
        Err(_) => tracing::debug!("an admin connection took too long"),
    }
}

/// A HEAD's body is left out by hyper.
fn answer(method: &Method, path: &str, status: &Status) -> Response<Full<Bytes>> {
    let answer: fn(&Status) -> Response<Full<Bytes>> = match path {
        "/livez" => |_| text(StatusCode::OK, "ok\n"),
        "/readyz" => readyz,
        "/metrics" => |status| respond(StatusCode::OK, metrics::CONTENT_TYPE, status.metrics().exposition()),
        "/status" => |status| json(StatusCode::OK, &status.to_json()),
        _ => return text(StatusCode::NOT_FOUND, "not found\n"),
    };
    if matches!(*method, Method::GET | Method::HEAD) {
        return answer(status);
    }
    let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    refusal
}

fn readyz(status: &Status) -> Response<Full<Bytes>> {
    let pending = status.readiness().pending();
    if pending.is_empty() {
        return json(StatusCode::OK, &serde_json::json!({ "ready": true }));
    }
    json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({ "ready": false, "pending": pending }))
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", text)
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    respond(status, "application/json", format!("{value}\n"))
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::config::Vertical;
    use crate::metrics::Metrics;
    use crate::readiness::Readiness;

    struct Running {
        address: SocketAddr,
        status: Arc<Status>,
        shutdown: oneshot::Sender<()>,
        serving: JoinHandle<io::Result<()>>,
    }

    impl Running {
        fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let address = listener.local_addr().unwrap();
            let admin = Admin::on(vec![listener], address).unwrap();
            let address = admin.local_addr();
            let status = Arc::new(Status::new(Metrics::new(1), Readiness::new()));
            let (shutdown, stopped) = oneshot::channel();
            let stopped = async { stopped.await.unwrap() };
            let serving = tokio::spawn(admin.serve(Arc::clone(&status), stopped));
            Self { address, status, shutdown, serving }
        }

        /// The head of the answer, in lower case, and its body.
        async fn ask(&self, request_line: &str) -> (String, String) {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let request = format!("{request_line} HTTP/1.1\r\nHost: admin\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head.to_lowercase(), body.to_owned())
        }

        async fn json(&self, path: &str) -> (String, Value) {
            let (head, body) = self.ask(&format!("GET {path}")).await;
            (head.lines().next().unwrap().to_owned(), serde_json::from_str(&body).unwrap())
        }
    }

    #[tokio::test]
    async fn alive_means_answering() {
        let admin = Running::start();
        let (head, body) = admin.ask("GET /livez").await;
        assert!(head.starts_with("http/1.1 200 ok\r\n"));
        assert!(head.contains("cache-control: no-store"));
        assert!(head.contains("connection: close"));
        assert!(!head.contains("server:"));
        assert_eq!(body, "ok\n");
        let (head, body) = admin.ask("HEAD /livez").await;
        assert!(head.contains("content-length: 3"));
        assert_eq!(body, "");
    }

    #[tokio::test]
    async fn not_ready_names_what_is_pending() {
        let admin = Running::start();
        let keys = admin.status.readiness().wait_for("keys");
        let (line, body) = admin.json("/readyz").await;
        assert_eq!(line, "http/1.1 503 service unavailable");
        assert_eq!(body, serde_json::json!({ "ready": false, "pending": ["keys"] }));
        keys.done();
        let (line, body) = admin.json("/readyz").await;
        assert_eq!(line, "http/1.1 200 ok");
        assert_eq!(body, serde_json::json!({ "ready": true }));
    }

    #[tokio::test]
    async fn metrics_are_served_as_what_they_are() {
        let admin = Running::start();
        let (head, body) = admin.ask("GET /metrics?name=x").await;
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
        assert!(body.starts_with("# HELP stytch_gateway_requests "));
        assert!(body.ends_with("# EOF\n"));
    }

    #[tokio::test]
    async fn status_tells_what_runs() {
        let admin = Running::start();
        admin.status.loaded(Loaded {
            project_id: "project-test-1".to_owned(),
            vertical: Vertical::B2b,
            listeners: vec!["127.0.0.1:8080".to_owned()],
            routes: 3,
            access: "0123456789abcdef".to_owned(),
        });
        let (_, status) = admin.json("/status").await;
        assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(status["ready"], true);
        assert_eq!(status["config"]["generation"], 1);
        assert_eq!(status["config"]["project_id"], "project-test-1");
        assert_eq!(status["config"]["vertical"], "b2b");
        assert_eq!(status["config"]["listeners"], serde_json::json!(["127.0.0.1:8080"]));
        assert_eq!(status["config"]["routes"], 3);
        assert_eq!(status["config"]["access"], "0123456789abcdef");
        assert_eq!(status["keys"], Value::Null);
        assert_eq!(status["sessions_cached"], 0);
    }

    #[tokio::test]
    async fn there_is_nothing_else_here() {
        let admin = Running::start();
        for path in ["/", "/livez/", "//metrics", "/debug/pprof", "/LIVEZ", "*"] {
            assert!(admin.ask(&format!("GET {path}")).await.0.starts_with("http/1.1 404 "), "{path}");
        }
        let (head, _) = admin.ask("DELETE /status").await;
        assert!(head.starts_with("http/1.1 405 ") && head.contains("allow: get, head"));
    }

    #[tokio::test]
    async fn connections_are_limited_and_make_room_again() {
        let admin = Running::start();
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            held.push(TcpStream::connect(admin.address).await.unwrap());
        }
        let mut one_more = TcpStream::connect(admin.address).await.unwrap();
        assert_eq!(one_more.read(&mut [0]).await.unwrap(), 0, "cut off at once");
        held.clear();
        // The listener notices the closed ones before it answers, sooner or later.
        for _ in 0..100 {
            let mut stream = TcpStream::connect(admin.address).await.unwrap();
            let sent = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: admin\r\n\r\n").await;
            if sent.is_ok() && stream.read(&mut [0]).await.is_ok_and(|read| read == 1) {
                return;
            }
        }
        panic!("no room was made");
    }

    #[tokio::test]
    async fn shutdown_ends_it() {
        let admin = Running::start();
        admin.shutdown.send(()).unwrap();
        admin.serving.await.unwrap().unwrap();
        TcpStream::connect(admin.address).await.unwrap_err();
    }
}
