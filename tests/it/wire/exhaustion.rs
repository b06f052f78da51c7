//! Row N: what a client or a provider could use up.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::client::Connection;
use crate::echo::{Answer, Step};
use crate::world::World;

#[tokio::test]
async fn n01_heads_that_trickle() {
    let world = World::with("[server.timeouts]\nheader = \"1s\"\n").await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        slow.push(world.connect().await);
    }
    let began = Instant::now();
    for byte in "GET /public/a HTTP/1.1\r\nHos".bytes() {
        for connection in &mut slow {
            connection.send([byte]).await;
        }
        world.get("/public/other").expect(200).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    for mut connection in slow {
        assert!(connection.rest().await.is_empty(), "answered");
    }
    assert!(began.elapsed() < Duration::from_secs(6));
    let cut = world.metric("stytch_gateway_connections_refused_total{reason=\"header_timeout\"}").await;
    assert_eq!(cut, 200.0);
    assert!(world.upstream.requests().iter().all(|received| received.path() == "/public/other"));
}

#[tokio::test]
async fn n02_connections_that_say_nothing() {
    let world = World::with("[server.timeouts]\nheader = \"500ms\"\nidle = \"700ms\"\n").await;
    let began = Instant::now();
    let mut silent = world.connect().await;
    assert!(silent.rest().await.is_empty());
    let mut idle = world.connect().await;
    world.get("/public/a").send_on(&mut idle).await.expect(200);
    assert!(idle.rest().await.is_empty());
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn n03_a_client_that_does_not_read() {
    let world = World::with("[upstreams.app.timeouts]\nidle = \"1s\"\n").await;
    const SIZE: usize = 64 << 20;
    world.upstream.on("/public/large", |_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").into_bytes();
        Answer::steps([Step::Send(head), Step::Send(vec![b'x'; SIZE])])
    });
    let mut connection = TcpStream::connect(world.address()).await.unwrap();
    connection.write_all(&world.get("/public/large").bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.get("/public/other").expect(200).await;
    let mut read = Vec::new();
    let _reset =
        tokio::time::timeout(Duration::from_secs(5), connection.read_to_end(&mut read)).await.unwrap();
    assert!(read.len() < SIZE, "the connection outlived timeouts.idle");
}

#[tokio::test]
async fn n04_bodies_that_stop() {
    let world = World::with("[upstreams.app.timeouts]\nresponse = \"1s\"\n").await;
    let began = Instant::now();
    for framing in ["Content-Length: 100\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n5\r\nab"] {
        let mut connection = world.connect().await;
        connection.send(format!("POST /public/a HTTP/1.1\r\nHost: app.test\r\n{framing}")).await;
        let response = connection.response().await.unwrap().expect(408);
        assert_eq!(response.code().as_deref(), Some("request_timeout"));
        connection.rest().await;
    }
    let slow = world.metric("stytch_gateway_streams_ended_total{reason=\"slow\"}").await;
    assert_eq!(slow, 2.0);
    assert!(began.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn n07_bodies_over_the_limit() {
    let world = World::with("[server.limits]\nbody = \"64KiB\"\n").await;
    let before = world.upstream_traffic();
    let declared = "POST /public/a HTTP/1.1\r\nHost: app.test\r\nContent-Length: 65537\r\n\r\n";
    let raw = world.raw(declared).await;
    assert!(raw.closed && raw.rest.is_empty());
    world.check_refusal("declared", &raw.response.unwrap(), 413, "body_too_large", before);

    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let head = "POST /public/a HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let raw = world.raw(format!("{head}{}0\r\n\r\n", chunk.repeat(17))).await;
    assert_eq!((raw.status(), raw.closed), (Some(413), true));
    assert_eq!(raw.response.unwrap().code().as_deref(), Some("body_too_large"));

    let raw = world.raw(format!("{head}{}0\r\n\r\n", chunk.repeat(16))).await;
    assert_eq!(raw.status(), Some(200), "exactly the limit");
    world.post("/public/a").body(vec![0; 65536]).expect(200).await;
    let whole = world.upstream.requests().iter().filter(|received| received.complete).count();
    assert_eq!(whole, 2, "the upstream took what was over the limit for a whole request");
}

/// The gateway as a program of its own, with few descriptors.
#[tokio::test]
async fn n09_no_descriptors_left() {
    let world = World::start().await;
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let admin = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let settings = format!(
        "[stytch]\nproject_id = \"{}\"\nsecret = \"{}\"\napi_url = \"{}\"\n\
         [server]\nlisten = \"{port}\"\nworkers = 1\n[admin]\nlisten = \"{admin}\"\n[telemetry]\naccess_log = \"off\"\n\
         [upstreams.app]\nurl = \"{}\"\n[[routes]]\npath = \"/*\"\nupstream = \"app\"\nauth = \"none\"\n",
        world.emulator.project_id(),
        world.emulator.secret(),
        world.emulator.url(),
        world.upstream.url(),
    );
    let file = world.directory().join("few.toml");
    std::fs::write(&file, settings).unwrap();
    let mut program = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" run -c \"$1\""])
        .arg(env!("CARGO_BIN_EXE_stytch-gateway"))
        .arg(&file)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while TcpStream::connect(port).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    const GET: &str = "GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n";
    let mut held = Connection::to(port).await;
    held.send(GET).await;
    held.response().await.unwrap().expect(200);
    let mut many = Vec::new();
    for _ in 0..200 {
        many.push(TcpStream::connect(port).await.unwrap());
    }
    // Whoever comes on top is told, and who is there goes on.
    let mut late = Connection::to(port).await;
    late.send(GET).await;
    let told = late.response().await.map(|response| (response.status, response.code()));
    held.send(GET).await;
    let served = held.response().await.map(|response| response.status);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let busy = cpu_ticks(program.id());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = cpu_ticks(program.id()) - busy;
    drop(many);
    let mut connection = Connection::to(port).await;
    connection.send(GET).await;
    let response = connection.response().await;
    program.kill().unwrap();
    program.wait().unwrap();
    assert_eq!((told, served), (Some((503, Some("overloaded".to_owned()))), Some(200)));
    assert_eq!(response.map(|response| response.status), Some(200), "does not recover");
    assert!(spent < 30, "accepting spins: {spent} of 100 ticks");
}

/// Hundredths of a second that a process has computed for.
fn cpu_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let fields = stat.rsplit(')').next().expect("a name in brackets").split_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a count")).sum()
}

#[tokio::test]
async fn n15_a_length_without_a_body() {
    let world = World::with("[upstreams.app.timeouts]\nresponse = \"1s\"\n").await;
    let began = Instant::now();
    for (path, length, allowed) in [
        ("/public/a", 999_999_999_999_u64, &[413][..]),
        ("/public/a", 1000, &[400, 408, 504]),
        ("/private", 1000, &[401]),
        ("/private", 999_999_999_999, &[401]),
    ] {
        let mut connection = world.connect().await;
        connection
            .send(format!("GET {path} HTTP/1.1\r\nHost: app.test\r\nContent-Length: {length}\r\n\r\n"))
            .await;
        let status = connection.response().await.map_or(400, |response| response.status);
        assert!(allowed.contains(&status), "{path} {length}: {status}");
        connection.rest().await;
    }
    assert!(began.elapsed() < Duration::from_secs(12));
}

#[tokio::test]
async fn n17_a_gateway_that_is_its_own_upstream() {
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", relay.local_addr().unwrap());
    let world = World::with(&format!("[upstreams.app]\nurl = \"{url}\"\n")).await;
    let gateway = world.address();
    let relaying = tokio::spawn(async move {
        while let Ok((mut near, _)) = relay.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(gateway).await.unwrap();
                let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    let response = world.get("/public/a").send().await;
    assert_eq!((response.status, response.code().as_deref()), (508, Some("loop_detected")));
    let lines = world.log(2).await;
    assert_eq!(lines.iter().filter(|line| line["path"] == "/public/a").count(), 2, "one hop");
    relaying.abort();
}
