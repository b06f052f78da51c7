//! Connections at the edge: whose they are according to a proxy, where they come from, and what
//! becomes of them when the gateway stops or another takes over.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use stytch_emulator::Fault;

use crate::client::Connection;
use crate::echo::{Answer, Step};
use crate::program::{Program, Site, program};
use crate::world::{World, until};

const GET: &str = "GET /open/x HTTP/1.1\r\nHost: app.test\r\n\r\n";
const BEHIND: &str = "[server]\nproxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\", \"192.0.2.0/24\"]";

async fn from(world: &World, header: &str) -> Connection {
    let mut connection = world.connect().await;
    connection.send(header).await;
    connection
}

#[tokio::test]
async fn a_connection_is_whose_its_proxy_says() {
    let world = World::with(BEHIND).await;
    for (header, claim, client, chain) in [
        ("PROXY TCP4 198.51.100.7 127.0.0.1 1 2\r\n", None, "198.51.100.7", "198.51.100.7"),
        // No proxy of ours: what it claims is dropped, as it would be without the header.
        ("PROXY TCP4 198.51.100.7 127.0.0.1 1 2\r\n", Some("203.0.113.9"), "198.51.100.7", "198.51.100.7"),
        // Another proxy of ours, behind the one that says so.
        (
            "PROXY TCP4 192.0.2.5 127.0.0.1 1 2\r\n",
            Some("203.0.113.9"),
            "203.0.113.9",
            "203.0.113.9, 192.0.2.5",
        ),
        ("PROXY TCP6 2001:db8::7 ::1 1 2\r\n", None, "2001:db8::7", "2001:db8::7"),
        // The proxy's own, such as a health check.
        ("PROXY UNKNOWN\r\n", None, "127.0.0.1", "127.0.0.1"),
    ] {
        let mut connection = from(&world, header).await;
        for _ in 0..2 {
            let mut ask = world.get("/public/a");
            if let Some(claim) = claim {
                ask = ask.header("X-Forwarded-For", claim);
            }
            ask.send_on(&mut connection).await.expect(200);
            let received = world.upstream.last();
            assert_eq!(received.header("x-forwarded-for").as_deref(), Some(chain), "{header}");
        }
        let logged = world.log(world.upstream.requests().len()).await;
        assert_eq!(logged.last().unwrap()["client"], client, "{header}");
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces_and_not_for_ever() {
    let world = World::with(&format!("{BEHIND}\ntimeouts.header = \"500ms\"")).await;
    let mut connection = world.connect().await;
    for byte in b"PROXY TCP4 198.51.100.7 127.0.0.1 1 2\r\n" {
        connection.send([*byte]).await;
    }
    world.get("/public/a").send_on(&mut connection).await.expect(200);
    let mut silent = world.connect().await;
    let mut half = from(&world, "PROXY TCP4 198.51").await;
    assert!(silent.rest().await.is_empty() && half.rest().await.is_empty());
}

#[tokio::test]
async fn connections_are_limited_by_the_address_that_the_proxy_says() {
    let world = World::with(&format!("{BEHIND}\nlimits.connections_per_address = 1")).await;
    let header = |client: &str| format!("PROXY TCP6 {client} ::1 1 2\r\n");
    let mut first = from(&world, &header("2001:db8::1")).await;
    world.get("/public/a").send_on(&mut first).await.expect(200);
    // An IPv6 client is its network.
    let mut same = from(&world, &header("2001:db8::2")).await;
    assert_eq!(same.response().await.unwrap().expect(503).code().as_deref(), Some("overloaded"));
    let mut other = from(&world, &header("2001:db8:1::1")).await;
    world.get("/public/a").send_on(&mut other).await.expect(200);
}

#[tokio::test]
async fn whoever_leaves_says_so_first() {
    let site = Site::new().await;
    let mut gateway = site.run("[server.timeouts]\ndrain = \"20s\"\nlame_duck = \"2s\"").await;
    let mut kept = gateway.connect().await;
    kept.send(GET).await;
    assert_eq!(kept.response().await.unwrap().expect(200).header("connection"), None);
    gateway.signal("TERM");
    gateway.until_logged("leaving").await;
    assert_eq!(gateway.admin("/readyz").await.expect(503).json()["pending"], json!(["draining"]));
    // Everybody is served, who was there and who comes, and asked to come back elsewhere.
    let mut new = gateway.connect().await;
    for connection in [&mut kept, &mut new] {
        connection.send(GET).await;
        assert_eq!(connection.response().await.unwrap().expect(200).header("connection"), Some("close"));
        assert!(connection.rest().await.is_empty());
    }
    // Who has begun to ask before the door closes is answered.
    let mut begun = gateway.connect().await;
    begun.send(&GET[..20]).await;
    gateway.until_logged("\"draining\"").await;
    let address = gateway.address;
    until("a closed door", async || std::net::TcpStream::connect(address).is_err()).await;
    begun.send(&GET[20..]).await;
    begun.response().await.unwrap().expect(200);
    let status = gateway.exit().await;
    assert_eq!(status.code(), Some(0));
    assert!(gateway.stderr().contains("drained"));
}

#[tokio::test]
async fn a_second_signal_ends_the_waiting() {
    let site = Site::new().await;
    let mut gateway = site.run("[server.timeouts]\ndrain = \"60s\"\nlame_duck = \"60s\"").await;
    gateway.signal("TERM");
    gateway.until_logged("leaving").await;
    let began = Instant::now();
    gateway.signal("TERM");
    gateway.exit().await;
    assert!(began.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn websockets_are_told_goodbye_before_a_drain_ends() {
    let world = World::start().await;
    world.upstream.on("/public/ws", |_| {
        let granted = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        Answer::steps([Step::Send(granted.into()), Step::Echo])
    });
    let mut connection = world.connect().await;
    let ask = world.get("/public/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
    ask.send_on(&mut connection).await.expect(101);
    world.stop();
    assert_eq!(connection.rest().await, b"\x88\x02\x03\xe9");
}

/// Clients that ask again and again, each on a connection that it keeps for as long as it may.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let clients = (0..4)
            .map(|_| {
                let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
                tokio::spawn(async move {
                    let mut failed = Vec::new();
                    let mut kept = None;
                    while !stop.load(Ordering::Relaxed) {
                        let mut connection = match kept.take() {
                            Some(connection) => connection,
                            None => Connection::to(address).await,
                        };
                        connection.send(GET).await;
                        match connection.response().await {
                            Some(response) if response.status == 200 && response.complete => {
                                answered.fetch_add(1, Ordering::Relaxed);
                                kept = (response.header("connection") != Some("close")).then_some(connection);
                            }
                            other => failed.push(format!("{other:?}")),
                        }
                    }
                    failed
                })
            })
            .collect();
        Self { stop, answered, clients }
    }

    /// Waits until some hundred more were answered.
    async fn goes_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        until("more answers", async || self.answered.load(Ordering::Relaxed) > before + 200).await;
    }

    /// What failed.
    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut failed = Vec::new();
        for client in self.clients {
            failed.extend(client.await.unwrap());
        }
        failed
    }
}

const SHARED: &str = "[server]\nreuse_port = true\n[server.timeouts]\ndrain = \"20s\"\nlame_duck = \"1s\"\n\
    [telemetry]\naccess_log = \"off\"";

#[tokio::test]
async fn one_gateway_takes_over_from_another_and_no_request_fails() {
    let site = Site::new().await;
    let first = site.write("first.toml", &site.settings(""));
    let shared = site.write("shared.toml", SHARED);
    let files = |more: &str| {
        let more = site.write("more.toml", more);
        let mut command = program(["run"]);
        for file in [&first, &shared, &more] {
            command.arg("-c").arg(file);
        }
        command
    };
    let mut old = Program::spawn(&mut files("")).await;
    let address = old.address;
    let load = Load::start(address);
    load.goes_on().await;
    for _ in 0..2 {
        let new = Program::spawn(&mut files(&format!("[server]\nlisten = \"{address}\""))).await;
        load.goes_on().await;
        old.signal("TERM");
        assert_eq!(old.exit().await.code(), Some(0));
        load.goes_on().await;
        old = new;
    }
    assert_eq!(load.end().await, Vec::<String>::new());
}

#[tokio::test]
async fn who_takes_over_takes_nothing_before_it_is_ready() {
    let site = Site::new().await;
    let first = site.write("first.toml", &site.settings(""));
    let shared = site.write("shared.toml", SHARED);
    let gateway = || {
        let mut command = program(["run", "-c"]);
        command.arg(&first).arg("-c").arg(&shared);
        command
    };
    let old = Program::spawn(&mut gateway()).await;
    let keys = "/v1/b2b/sessions/jwks/";
    site.emulator.fault(Fault { status: Some(503), ..Fault::on(keys) });
    let asked = site.emulator.requests(keys).len();
    let more = site.write("more.toml", &format!("[server]\nlisten = \"{}\"", old.address));
    let mut new = gateway().arg("-c").arg(&more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("it asks for keys", async || site.emulator.requests(keys).len() > asked).await;
    let jwt = site.emulator.session("ana@acme.example").organization("acme").mint().session_jwt;
    for _ in 0..40 {
        let get = format!("GET /x HTTP/1.1\r\nHost: app.test\r\nAuthorization: Bearer {jwt}\r\n\r\n");
        let mut connection = Connection::to(old.address).await;
        connection.send(get).await;
        connection.response().await.unwrap().expect(200);
    }
    new.kill().unwrap();
    new.wait().unwrap();
}

#[tokio::test]
async fn no_request_fails_while_settings_are_reloaded() {
    let site = Site::new().await;
    let gateway = site.run("[telemetry]\naccess_log = \"off\"").await;
    let load = Load::start(gateway.address);
    for number in 0..5 {
        let more =
            format!("[telemetry]\naccess_log = \"off\"\n[server.timeouts]\nidle = \"{}s\"", 60 + number);
        site.write("gateway.toml", &site.settings(&more));
        gateway.signal("HUP");
        until("a reload", async || {
            gateway.admin("/status").await.json()["config"]["generation"] == number + 2
        })
        .await;
        load.goes_on().await;
    }
    assert_eq!(load.end().await, Vec::<String>::new());
}

/// A gateway that is started with a listening socket, as systemd does it.
async fn activated(site: &Site, socket: &std::net::TcpListener, manager: &std::path::Path) -> Program {
    let address = socket.local_addr().unwrap();
    let first = site.write("first.toml", &site.settings("[telemetry]\naccess_log = \"off\""));
    let more = site.write("more.toml", &format!("[server]\nlisten = \"{address}\""));
    let mut command = Command::new("/bin/sh");
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" run -c \"$1\" -c \"$2\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_stytch-gateway")]).args([first, more]);
    command.env_clear().env("NOTIFY_SOCKET", manager);
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    Program::spawn(&mut command).await
}

#[tokio::test]
async fn a_socket_that_is_passed_on_outlives_the_gateway() {
    let site = Site::new().await;
    let path = site.path("manager");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let told = || {
        let mut message = [0; 256];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut gateway = activated(&site, &socket, &path).await;
    assert_eq!(gateway.address, address);
    gateway.get("/open/x").await.expect(200);
    assert_eq!(told().trim(), "READY=1");
    gateway.signal("HUP");
    assert!(told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(told().trim(), "READY=1");
    assert_eq!(gateway.stop().await.code(), Some(0));
    assert_eq!(told().trim(), "STOPPING=1");
    // Who comes in between waits for the next one.
    let mut waiting = Connection::to(address).await;
    waiting.send(GET).await;
    let _next = activated(&site, &socket, &path).await;
    waiting.response().await.unwrap().expect(200);
}
