//! https: which certificate is shown, what is asked of clients, and what changes while it runs
//! (DESIGN.md section 3; issue 5, "Downstream").

use std::time::Duration;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use crate::client::Connection;
use crate::echo::{Answer, Step};
use crate::pki::Pki;
use crate::world::{World, until};

const HTTP_1: &[&str] = &["http/1.1"];

#[tokio::test]
async fn requests_over_https_say_so() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let session = world.session();
    let mut connection = pki.client(HTTP_1).connect(&world, "app.test").await;
    for path in ["/one", "/two"] {
        world.get(path).jwt(&session).send_on(&mut connection).await.expect(200);
        let received = world.upstream.last();
        assert_eq!(received.all("x-forwarded-proto"), ["https"]);
        assert_eq!(received.all("forwarded"), ["for=127.0.0.1;host=app.test;proto=https"]);
        assert_eq!(received.all("x-stytch-member-id").len(), 1);
    }
    world.get("/none").send_on(&mut connection).await.expect(401);
    // In clear text beside it, nothing has changed.
    world.get("/public/x").header("X-Forwarded-Proto", "https").expect(200).await;
    assert_eq!(world.upstream.last().all("x-forwarded-proto"), ["http"]);
}

#[tokio::test]
async fn https_alone() {
    let pki = Pki::new();
    pki.issue("app", &["app.test"]);
    let world = World::with(&format!("{}\n[server]\nlisten = []", pki.settings(&["app"], ""))).await;
    assert!(pki.client(HTTP_1).is_served(&world, "app.test").await);
}

#[tokio::test]
async fn each_name_gets_its_certificate() {
    let pki = Pki::new();
    let world = pki.world("").await;
    for (name, file) in [
        ("app.test", "app.crt"),
        ("APP.test", "app.crt"),
        ("deep.app.test", "app.crt"),
        ("other.test", "other.crt"),
    ] {
        let stream = pki.client(HTTP_1).secure(world.tls_address(), name).await.unwrap();
        assert_eq!(stream.get_ref().1.peer_certificates().unwrap(), pki.certificates(file), "{name}");
    }
    // The first one, which this client does not take for that name.
    pki.client(HTTP_1).secure(world.tls_address(), "unknown.test").await.unwrap_err();
}

#[tokio::test]
async fn sessions_are_resumed_also_after_a_reload() {
    let pki = Pki::new();
    let world = pki.world("").await;
    for version in [&TLS12, &TLS13] {
        let client = pki.client_of_version(version);
        let resumed = async || {
            let stream = client.secure(world.tls_address(), "app.test").await.unwrap();
            let kind = stream.get_ref().1.handshake_kind();
            let mut connection = Connection::over(stream);
            world.get("/public/x").send_on(&mut connection).await.expect(200);
            kind == Some(HandshakeKind::Resumed)
        };
        until("a resumed session", resumed).await;
        world.reload(&pki.settings(&["app", "other"], "")).await.unwrap();
        assert!(resumed().await, "the keys of tickets stay");
    }
    assert!(world.metric("stytch_gateway_tls_handshakes_total{kind=\"resumed\"}").await >= 4.0);
    assert!(world.metric("stytch_gateway_tls_handshakes_total{kind=\"full\"}").await >= 2.0);
}

#[tokio::test]
async fn older_versions_can_be_refused() {
    let pki = Pki::new();
    let world = pki.world("min_version = \"1.3\"").await;
    pki.client_of_version(&TLS12).secure(world.tls_address(), "app.test").await.unwrap_err();
    pki.client_of_version(&TLS13).secure(world.tls_address(), "app.test").await.unwrap();
    let failed = "stytch_gateway_connections_refused_total{reason=\"tls_handshake\"}";
    until("the failure in the metrics", async || world.metric(failed).await == 1.0).await;
}

#[tokio::test]
async fn a_handshake_has_an_end() {
    let pki = Pki::new();
    let world = pki.world("\n[server.timeouts]\nheader = \"300ms\"").await;
    for beginning in [&b""[..], b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"] {
        let mut connection = Connection::to(world.tls_address()).await;
        connection.send(beginning).await;
        let said = connection.rest().await;
        assert!(!said.starts_with(b"HTTP"), "{said:?}");
    }
    until("the end of all", async || world.metric("stytch_gateway_connections").await == 0.0).await;
}

#[tokio::test]
async fn a_client_certificate_tells_who_calls_without_a_credential() {
    let pki = Pki::new();
    pki.issue_client("service", "reports, nightly", "spiffe://acme.test/reports");
    let headers = r#"client_ca = "$PKI/ca.pem"
[identity.headers]
X-Client = "{client_certificate.subject}"
X-Client-Uri = "{client_certificate.uris}"
X-Both = "{client_certificate.common_name|json} {session.id}""#;
    let world = pki.world(headers).await;
    let client = pki.client_with("service", HTTP_1);
    let mut connection = client.connect(&world, "app.test").await;
    let spoofed = world.get("/public/x").header("X-Client", "CN=admin").header("X_Client_Uri", "x");
    spoofed.send_on(&mut connection).await.expect(200);
    let received = world.upstream.last();
    assert_eq!(received.all("x-client"), ["CN=reports\\, nightly,O=Acme"]);
    assert_eq!(received.all("x-client-uri"), ["spiffe://acme.test/reports"]);
    assert!(received.all("x-both").is_empty() && received.all("x_client_uri").is_empty());
    let session = world.session();
    world.get("/x").jwt(&session).send_on(&mut connection).await.expect(200);
    let both = world.upstream.last().header("x-both").unwrap();
    assert!(both.starts_with("\"reports, nightly\" ") && both.len() > 25, "{both}");
    // Where no certificate can be shown, nobody passes for having shown one.
    world.get("/public/x").header("X-Client", "CN=admin").expect(200).await;
    assert!(world.upstream.last().all("x-client").is_empty());
}

#[tokio::test]
async fn without_http2_there_is_none() {
    let pki = Pki::new();
    let world = pki.world("\n[server]\nhttp2 = false").await;
    let stream = pki.client(&["h2", "http/1.1"]).secure(world.tls_address(), "app.test").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    pki.client(&["h2"]).secure(world.tls_address(), "app.test").await.unwrap_err();
}

#[tokio::test]
async fn a_new_certificate_is_shown_and_no_connection_is_lost() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let client = pki.client(HTTP_1);
    let mut old = client.connect(&world, "app.test").await;
    world.get("/public/x").send_on(&mut old).await.expect(200);
    pki.issue("app", &["app.test"]);
    world.reload(&pki.settings(&["app"], "")).await.unwrap();
    let stream = pki.client(HTTP_1).secure(world.tls_address(), "app.test").await.unwrap();
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap(), pki.certificates("app.crt"));
    world.get("/public/x").send_on(&mut old).await.expect(200);
    let file = pki.path("app.crt").display().to_string();
    let ends = format!("stytch_gateway_tls_certificate_expires_seconds{{certificate=\"{file}\"}}");
    assert!(world.metric(&ends).await > 1_700_000_000.0);
}

#[tokio::test]
async fn a_websocket_goes_over_tls() {
    let pki = Pki::new();
    let world = pki.world("").await;
    world.upstream.on("/public/ws", |_| {
        let granted = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        Answer::steps([Step::Send(granted.into()), Step::Echo])
    });
    let mut connection = pki.client(HTTP_1).connect(&world, "app.test").await;
    let ask = world.get("/public/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
    ask.send_on(&mut connection).await.expect(101);
    let bytes = vec![7; 100_000];
    connection.send(&bytes).await;
    assert_eq!(connection.bytes(bytes.len()).await, bytes);
}

#[tokio::test]
async fn a_full_gateway_does_not_shake_hands() {
    let pki = Pki::new();
    let world = pki.world("\n[server.limits]\nconnections = 1").await;
    let client = pki.client(HTTP_1);
    let first = client.connect(&world, "app.test").await;
    assert!(client.secure(world.tls_address(), "app.test").await.is_err());
    drop(first);
    let again = async || client.secure(world.tls_address(), "app.test").await.is_ok();
    until("room again", again).await;
}

#[tokio::test]
async fn a_drain_ends_idle_connections_and_handshakes() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let mut idle = pki.client(HTTP_1).connect(&world, "app.test").await;
    world.get("/public/x").send_on(&mut idle).await.expect(200);
    let mut begun = Connection::to(world.tls_address()).await;
    begun.send(b"\x16\x03\x01").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.stop();
    assert!(idle.rest().await.is_empty());
    begun.rest().await;
}
