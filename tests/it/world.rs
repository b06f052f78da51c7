//! A whole world on the loopback interface: the emulator in Stytch's place, two upstreams, and the
//! gateway, started from settings files as `stytch-gateway run` starts it.
//!
//! When a world ends its gateway is stopped, what it said to Stytch is held against Stytch's schemas,
//! and everything it has logged is read: every refusal a test saw must be there with its code, and no
//! credential any test sent may be.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use stytch_emulator::{Emulator, Session};
use stytch_gateway::app::{App, Command};
use stytch_gateway::config::{self, ConfigError};
use tempfile::TempDir;

use crate::calls;
use crate::client::{Connection, PATIENCE, Request, Response};
use crate::echo::Echo;

/// What every world begins with. `$NAME`s are filled in; see [`Places::fill`].
const SETTINGS: &str = r#"
[stytch]
project_id = "$PROJECT"
secret = "$SECRET"
api_url = "$STYTCH"

[server]
listen = "127.0.0.1:0"
workers = 1
timeouts.drain = "2s"

[admin]
listen = "127.0.0.1:0"

[rate_limit]
failures = "off"

[telemetry]
access_log = "$DIR/access.log"
audit_log = "$DIR/audit.log"

[upstreams.app]
url = "$APP"

[upstreams.other]
url = "$OTHER"
"#;

/// The routes of ATTACKS.md section 0, as far as there are parts for them.
const ROUTES: &str = r#"
[[routes]]
host = "app.test"
path = "/public/*"
methods = ["GET", "HEAD", "POST"]
upstream = "app"
auth = "none"

[[routes]]
host = "app.test"
path = "/optional/*"
upstream = "app"
auth = "optional"

[[routes]]
host = "app.test"
path = "/*"
upstream = "app"

[[routes]]
host = "other.test"
path = "/*"
upstream = "other"
"#;

/// A scene about to be set.
pub(crate) struct Builder {
    layers: Vec<String>,
    seed: Option<String>,
    wait: bool,
    parking_after: Option<Duration>,
}

impl Builder {
    /// Settings over the usual ones, as another file given with `-c`. `[[routes]]` in one replace
    /// the usual routes. `$APP`, `$OTHER`, `$STYTCH`, `$PUBLIC_TOKEN` and `$DIR` may stand for what has no fixed
    /// place.
    pub(crate) fn with(mut self, toml: &str) -> Self {
        self.layers.push(toml.to_owned());
        self
    }

    /// Another world behind Stytch's API than the built-in one.
    pub(crate) fn seed(mut self, toml: &str) -> Self {
        self.seed = Some(toml.to_owned());
        self
    }

    /// Does not wait until the gateway is ready.
    pub(crate) const fn without_waiting(mut self) -> Self {
        self.wait = false;
        self
    }

    /// Parks connections that have been idle for so long, rather than for as long as the program does.
    pub(crate) const fn parking_after(mut self, idle: Duration) -> Self {
        self.parking_after = Some(idle);
        self
    }

    pub(crate) async fn start(self) -> World {
        let world = match &self.seed {
            Some(seed) => stytch_emulator::World::from_toml(seed).expect("a seed is well formed"),
            None => stytch_emulator::World::built_in(),
        };
        let emulator = Emulator::start(world).await.expect("an emulator starts");
        self.start_with(emulator).await
    }

    /// The same, with an emulator that has troubles already.
    pub(crate) async fn start_with(self, emulator: Emulator) -> World {
        let logged_from = lock(&LOGGED).len();
        let (upstream, other) = (Echo::start().await, Echo::start().await);
        let directory = tempfile::tempdir().expect("there is room for settings");
        let places = Places {
            project: emulator.project_id().to_owned(),
            secret: emulator.secret().to_owned(),
            public_token: emulator.public_token().to_owned(),
            stytch: emulator.url(),
            app: upstream.url(),
            other: other.url(),
            directory: directory.path().to_owned(),
        };
        let settings = places.write(&self.layers, 0);
        let loaded = config::load(&settings, std::iter::empty()).unwrap_or_else(|error| panic!("{error}"));
        let secrets = Mutex::new(vec![emulator.secret().to_owned()]);
        let mut app = App::bind(loaded).expect("ports are free");
        if let Some(idle) = self.parking_after {
            app = app.parking_after(idle);
        }
        let gateway = Gateway::start(app);
        let world = World {
            emulator,
            upstream,
            other,
            gateway,
            places,
            generation: Mutex::new(0),
            secrets,
            refusals: Mutex::default(),
            logged_from,
            _directory: directory,
        };
        if self.wait {
            world.until_ready().await;
        }
        world
    }
}

/// Everything the settings refer to.
struct Places {
    project: String,
    secret: String,
    public_token: String,
    stytch: String,
    app: String,
    other: String,
    directory: PathBuf,
}

impl Places {
    fn fill(&self, toml: &str) -> String {
        toml.replace("$PROJECT", &self.project)
            .replace("$SECRET", &self.secret)
            .replace("$PUBLIC_TOKEN", &self.public_token)
            .replace("$STYTCH", &self.stytch)
            .replace("$APP", &self.app)
            .replace("$OTHER", &self.other)
            .replace("$DIR", &self.directory.display().to_string())
    }

    /// Writes the settings files. Each generation has a host of its own, which asks for a session:
    /// from the outside it tells which generation is in force, and no upstream is asked.
    fn write(&self, layers: &[String], generation: usize) -> Vec<PathBuf> {
        let mut texts = vec![SETTINGS.to_owned()];
        texts.extend_from_slice(layers);
        let with_routes = texts.iter().rposition(|text| text.contains("[[routes]]"));
        if with_routes.is_none() {
            texts[0].push_str(ROUTES);
        }
        let probe = format!(
            "\n[[routes]]\nhost = \"generation-{generation}.test\"\npath = \"/*\"\nupstream = \"app\"\n"
        );
        texts[with_routes.unwrap_or(0)].push_str(&probe);
        let write = |(number, text): (usize, &String)| {
            let path = self.directory.join(format!("{number}.toml"));
            std::fs::write(&path, self.fill(text)).expect("settings can be written");
            path
        };
        texts.iter().enumerate().map(write).collect()
    }
}

/// A gateway on a thread of its own.
struct Gateway {
    address: Option<SocketAddr>,
    tls: Option<SocketAddr>,
    admin: SocketAddr,
    ext_authz: Option<SocketAddr>,
    commands: tokio::sync::mpsc::Sender<Command>,
    ended: mpsc::Receiver<()>,
}

impl Gateway {
    fn start(app: App) -> Self {
        let address = app.addresses().iter().find_map(|address| address.parse().ok());
        let tls = app.tls_addresses().iter().find_map(|address| address.parse().ok());
        let admin = app.admin_address();
        let ext_authz = app.ext_authz_address().and_then(|address| address.parse().ok());
        let (commands, orders) = tokio::sync::mpsc::channel(8);
        let (over, ended) = mpsc::channel();
        let serve = move || {
            app.serve(orders).expect("the gateway serves");
            let _nobody_waits = over.send(());
        };
        std::thread::Builder::new().name("gateway".to_owned()).spawn(serve).expect("a thread starts");
        Self { address, tls, admin, ext_authz, commands, ended }
    }

    fn stop(&self) -> Result<(), mpsc::RecvTimeoutError> {
        let _ended_already = self.commands.try_send(Command::Stop);
        self.ended.recv_timeout(PATIENCE)
    }
}

/// A refusal that the log must tell of.
struct Refusal {
    request: String,
    code: String,
    request_id: Option<String>,
}

/// See the module.
pub(crate) struct World {
    pub(crate) emulator: Emulator,
    /// Behind `app.test`.
    pub(crate) upstream: Echo,
    /// Behind `other.test`.
    pub(crate) other: Echo,
    gateway: Gateway,
    places: Places,
    generation: Mutex<usize>,
    secrets: Mutex<Vec<String>>,
    refusals: Mutex<Vec<Refusal>>,
    /// Where the program's own log stood when this world began.
    logged_from: usize,
    /// Holds settings and the access log; removed at the end.
    _directory: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    pub(crate) fn builder() -> Builder {
        Builder { layers: Vec::new(), seed: None, wait: true, parking_after: None }
    }

    /// One with these settings over the usual ones.
    pub(crate) async fn with(toml: &str) -> Self {
        Self::builder().with(toml).start().await
    }

    pub(crate) fn request(&self, method: &str, target: &str) -> Request<'_> {
        Request::new(self, method, target)
    }

    pub(crate) fn get(&self, target: &str) -> Request<'_> {
        self.request("GET", target)
    }

    pub(crate) fn post(&self, target: &str) -> Request<'_> {
        self.request("POST", target)
    }

    /// A member of `acme` without a role of her own, signed in.
    pub(crate) fn session(&self) -> Session {
        self.session_of("cho@acme.example", "acme")
    }

    pub(crate) fn session_of(&self, email: &str, organization: &str) -> Session {
        self.emulator.session(email).organization(organization).mint()
    }

    /// What a session's JWT says, to be changed and signed anew.
    pub(crate) fn claims(&self, session: &Session) -> Value {
        self.claims_of(&session.session_jwt)
    }

    /// The same of a JWT.
    pub(crate) fn claims_of(&self, jwt: &str) -> Value {
        let payload = jwt.split('.').nth(1).expect("a JWT has a payload");
        let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).expect("a payload is base64url");
        serde_json::from_slice(&payload).expect("a payload is JSON")
    }

    /// The session's JWT, said to have been given `age` seconds ago: with more than 300, expired.
    pub(crate) fn aged(&self, session: &Session, age: i64) -> String {
        let mut claims = self.claims(session);
        for name in ["iat", "nbf", "exp"] {
            let at = claims[name].as_i64().expect("a time is a number");
            claims[name] = json!(at - age);
        }
        self.emulator.token(claims).sign()
    }

    /// Ends a session at Stytch, without the gateway hearing of it.
    pub(crate) async fn revoke(&self, session: &Session) {
        let body = json!({ "session_token": session.session_token });
        self.ask_stytch("/v1/b2b/sessions/revoke", &body).await.expect(200);
    }

    /// The same for a session of a user.
    pub(crate) async fn revoke_user(&self, session: &Session) {
        let body = json!({ "session_token": session.session_token });
        self.ask_stytch("/v1/sessions/revoke", &body).await.expect(200);
    }

    pub(crate) async fn ask_stytch(&self, path: &str, body: &Value) -> Response {
        let credentials = format!("{}:{}", self.emulator.project_id(), self.emulator.secret());
        let (credentials, body) = (BASE64_STANDARD.encode(credentials), body.to_string());
        let mut connection = Connection::to(self.emulator.address()).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: stytch\r\nAuthorization: Basic {credentials}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.send(head).await;
        connection.response().await.expect("the emulator answers")
    }

    /// How often Stytch was asked about sessions.
    pub(crate) fn stytch_calls(&self) -> usize {
        self.emulator.requests("/v1/b2b/sessions/authenticate").len()
            + self.emulator.requests("/v1/sessions/authenticate").len()
    }

    /// A connection to the gateway.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::to(self.address()).await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.address.expect("one listener is TCP, in clear text")
    }

    /// Where https is spoken, in a world that has it.
    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.gateway.tls.expect("there is https")
    }

    /// Where Envoy is answered, in a world that has it enabled.
    pub(crate) fn ext_authz_address(&self) -> SocketAddr {
        self.gateway.ext_authz.expect("ext_authz is enabled")
    }

    pub(crate) const fn has_no_ext_authz(&self) -> bool {
        self.gateway.ext_authz.is_none()
    }

    /// Tells the gateway to stop, and does not wait until it has.
    pub(crate) fn stop(&self) {
        self.gateway.commands.try_send(Command::Stop).expect("the gateway runs");
    }

    /// Sends exactly these bytes, and reads one response and, where it says so, the end.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> Raw {
        let mut connection = self.connect().await;
        connection.send(bytes).await;
        let response = connection.response().await;
        let says_close =
            response.as_ref().and_then(|response| response.header("connection")) == Some("close");
        let closed = response.is_none() || says_close;
        let rest = if closed { connection.rest().await } else { Vec::new() };
        Raw { response, closed, rest }
    }

    /// The listener for health checks and metrics.
    pub(crate) async fn admin(&self, path: &str) -> Response {
        let mut connection = Connection::to(self.gateway.admin).await;
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n")).await;
        connection.response().await.expect("the admin listener answers")
    }

    /// The value of a series as the admin listener shows it: name and labels as they are written
    /// there. Zero when there is none.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = self.admin("/metrics").await.expect(200).text();
        let mut values = text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        values.next().map_or(0.0, |value| value.parse().expect("a value is a number"))
    }

    /// How often the key set was fetched.
    pub(crate) fn key_fetches(&self) -> usize {
        self.emulator.requests("/v1/b2b/sessions/jwks/").len()
    }

    pub(crate) async fn until_ready(&self) {
        let began = Instant::now();
        while self.admin("/readyz").await.status != 200 {
            assert!(began.elapsed() < PATIENCE, "not ready in time");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Loads other settings over the usual ones, and waits until they are in force.
    ///
    /// # Errors
    /// When they are invalid; then the old ones stay.
    pub(crate) async fn reload(&self, toml: &str) -> Result<(), ConfigError> {
        let generation = self.send_settings(toml).await?;
        let began = Instant::now();
        let host = format!("generation-{generation}.test");
        while self.get("/").host(&host).send().await.status == 404 {
            assert!(began.elapsed() < PATIENCE, "not in force in time");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// The same without waiting, for settings that are valid and cannot be taken over all the same.
    ///
    /// # Errors
    /// When they are invalid.
    pub(crate) async fn send_settings(&self, toml: &str) -> Result<usize, ConfigError> {
        let generation = {
            let mut generation = lock(&self.generation);
            *generation += 1;
            *generation
        };
        let layers = if toml.is_empty() { Vec::new() } else { vec![toml.to_owned()] };
        let loaded = config::load(&self.places.write(&layers, generation), std::iter::empty())?;
        let sent = self.gateway.commands.send(Command::Reload(Box::new(loaded))).await;
        assert!(sent.is_ok(), "the gateway runs");
        Ok(generation)
    }

    /// The access log once it has at least so many lines.
    pub(crate) async fn log(&self, lines: usize) -> Vec<Value> {
        eventually(&format!("{lines} lines in the access log"), || self.logged().len() >= lines).await;
        self.logged()
    }

    /// The access log as far as it is written.
    pub(crate) fn logged(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.places.directory.join("access.log")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().map(|line| serde_json::from_str(line).expect("a line is JSON"));
        let about_settings =
            |line: &Value| line["host"].as_str().is_some_and(|host| host.starts_with("generation-"));
        lines.filter(|line| !about_settings(line)).collect()
    }

    /// The lines of the audit log about this event, once there are at least so many.
    pub(crate) async fn audited(&self, event: &str, lines: usize) -> Vec<Value> {
        let found = || {
            let text = std::fs::read_to_string(self.places.directory.join("audit.log")).unwrap_or_default();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let lines =
                whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
            lines.filter(|line| line["event"] == event).collect::<Vec<_>>()
        };
        eventually(&format!("{lines} lines of {event} in the audit log"), || found().len() >= lines).await;
        found()
    }

    /// Where settings, access log and whatever a test adds are.
    pub(crate) fn directory(&self) -> &Path {
        &self.places.directory
    }

    /// Must never be found in a log.
    pub(crate) fn keep_secret(&self, secret: &str) {
        // Short values of made-up credentials could stand in a log for other reasons.
        if secret.len() >= 24 {
            lock(&self.secrets).push(secret.to_owned());
        }
    }

    /// Connections and requests that both upstreams have seen.
    pub(crate) fn upstream_traffic(&self) -> [(usize, usize); 2] {
        [self.upstream.traffic(), self.other.traffic()]
    }

    /// What every refusal has in common: no upstream was asked, nobody may store it, and the log
    /// has its code (which is looked for when the world ends).
    pub(crate) fn check_refusal(
        &self,
        request: &str,
        response: &Response,
        status: u16,
        code: &str,
        traffic_before: [(usize, usize); 2],
    ) {
        let text = response.text();
        assert_eq!(response.status, status, "{request}\n{:?}\n{text}", response.headers);
        assert_eq!(self.upstream_traffic(), traffic_before, "an upstream was asked: {request}");
        assert_eq!(response.all("cache-control"), ["no-store"], "{request}");
        let told = response.code();
        let is_page = response.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        let has_body = !request.starts_with("HEAD ");
        assert!(!has_body || is_page || told.as_deref() == Some(code), "{request}\n{told:?} is not {code}");
        let refusal =
            Refusal { request: request.to_owned(), code: code.to_owned(), request_id: response.request_id() };
        lock(&self.refusals).push(refusal);
    }

    /// Everything that is checked of what was logged.
    fn check_logs(&self) {
        let lines = self.logged();
        for refusal in &*lock(&self.refusals) {
            let told = lines.iter().any(|line| {
                let same = refusal.request_id.as_ref().is_none_or(|id| line["request_id"] == id.as_str());
                same && line["code"] == refusal.code.as_str() && line["reason"].is_string()
            });
            assert!(told, "no line tells of {} for {}", refusal.code, refusal.request);
        }
        let access_log = std::fs::read(self.places.directory.join("access.log")).unwrap_or_default();
        let audit_log = std::fs::read(self.places.directory.join("audit.log")).unwrap_or_default();
        assert!(memchr::memchr(b'@', &audit_log).is_none(), "an address stands in the audit log");
        // A copy: whatever is logged meanwhile waits for the lock.
        let own_log = lock(&LOGGED).get(self.logged_from..).unwrap_or_default().to_vec();
        for secret in &*lock(&self.secrets) {
            let logs =
                [(&access_log, "access log"), (&audit_log, "audit log"), (&own_log, "program's own log")];
            for (log, name) in logs {
                assert!(
                    memchr::memmem::find(log, secret.as_bytes()).is_none(),
                    "a credential stands in the {name}"
                );
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let stopped = self.gateway.stop();
        if std::thread::panicking() {
            return;
        }
        assert!(stopped.is_ok(), "the gateway did not stop in time");
        calls::check(&self.emulator);
        self.check_logs();
    }
}

/// What came back to exactly so many bytes.
#[derive(Debug)]
pub(crate) struct Raw {
    /// None when the connection was closed without one.
    pub(crate) response: Option<Response>,
    pub(crate) closed: bool,
    /// What came after the response.
    pub(crate) rest: Vec<u8>,
}

impl Raw {
    pub(crate) fn status(&self) -> Option<u16> {
        self.response.as_ref().map(|response| response.status)
    }
}

/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(3);

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// The same, for what has to be asked.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// The program's own log, of all worlds in this process, at its most talkative.
static LOGGED: LazyLock<Mutex<Vec<u8>>> = LazyLock::new(|| {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(|| OwnLog)
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("nobody else listens");
    Mutex::default()
});

struct OwnLog;

impl io::Write for OwnLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&LOGGED).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
