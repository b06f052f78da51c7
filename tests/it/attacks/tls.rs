//! Class M: TLS, client certificates, and what a reload may do to either. With F15.

use std::net::SocketAddr;

use rcgen::date_time_ymd;
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::client::Connection;
use crate::pki::Pki;
use crate::world::{World, until};

const HTTP_1: &[&str] = &["http/1.1"];

/// A way to the gateway on which the first TLS record arrives as many, of so many bytes each.
async fn in_fragments(to: SocketAddr, size: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut gateway = TcpStream::connect(to).await.unwrap();
        gateway.set_nodelay(true).unwrap();
        let mut head = [0; 5];
        client.read_exact(&mut head).await.unwrap();
        let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        client.read_exact(&mut hello).await.unwrap();
        for piece in hello.chunks(size) {
            let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
            gateway.write_all(&[&head[..3], &length, piece].concat()).await.unwrap();
        }
        let _ = copy_bidirectional(&mut client, &mut gateway).await;
    });
    address
}

/// Also where one certificate is for both names, and whatever is asked for.
#[tokio::test]
async fn f15_a_host_beside_the_name_of_the_handshake() {
    let pki = Pki::new();
    pki.issue("both", &["app.test", "other.test"]);
    let world = World::with(&pki.settings(&["both"], "")).await;
    for (name, host) in [("app.test", "other.test"), ("other.test", "app.test")] {
        let mut connection = pki.client(HTTP_1).connect(&world, name).await;
        for path in ["/public/x", "/private", "/_stytch/auth"] {
            let before = world.upstream_traffic();
            let response = world.get(path).host(host).send_on(&mut connection).await;
            world.check_refusal(host, &response, 421, "misdirected_request", before);
        }
        let session = world.session();
        world.get("/x").host(name).jwt(&session).send_on(&mut connection).await.expect(200);
    }
}

#[tokio::test]
async fn m01_a_hello_in_fragments() {
    let pki = Pki::new();
    pki.issue_client("service", "service", "spiffe://acme.test/service");
    let world = pki.world("client_ca = \"$PKI/ca.pem\"").await;
    for size in [1, 3, 64] {
        for (client, served) in [(pki.client(HTTP_1), false), (pki.client_with("service", HTTP_1), true)] {
            let through = in_fragments(world.tls_address(), size).await;
            let answered = match client.secure(through, "app.test").await {
                Ok(stream) => {
                    let mut connection = Connection::over(stream);
                    connection.send(world.get("/public/x").bytes()).await;
                    connection.response().await.is_some()
                }
                Err(_) => false,
            };
            assert_eq!(answered, served, "fragments of {size}");
        }
    }
}

/// Names that have no certificate, and clients that ask for none, meet the same terms.
#[tokio::test]
async fn m02_another_name_or_none() {
    let pki = Pki::new();
    pki.issue("ip", &["127.0.0.1", "unknown.test"]);
    let settings = pki.settings(&["ip"], "client_ca = \"$PKI/ca.pem\"");
    let world = World::with(&settings).await;
    for name in ["127.0.0.1", "unknown.test"] {
        assert!(!pki.client(HTTP_1).is_served(&world, name).await, "{name}");
    }
}

#[tokio::test]
async fn m03_one_name_in_the_handshake_and_another_in_the_request() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let mut connection = pki.client(HTTP_1).connect(&world, "app.test").await;
    for host in ["other.test", "deep.app.test", "app.test.other.test", "127.0.0.1"] {
        let before = world.upstream_traffic();
        let response = world.get("/public/x").host(host).send_on(&mut connection).await;
        world.check_refusal(host, &response, 421, "misdirected_request", before);
    }
    // The gateway's own pages are no exception.
    world.get("/_stytch/login").host("other.test").send_on(&mut connection).await.expect(421);
    for host in ["app.test", "APP.test", "app.test.", "app.test:8443"] {
        world.get("/public/x").host(host).send_on(&mut connection).await.expect(200);
    }
}

/// What a trusted proxy calls us says nothing of what its client asked for.
#[tokio::test]
async fn m04_a_trusted_proxy_names_us_as_it_likes() {
    let pki = Pki::new();
    let world = pki.world("\n[server]\ntrusted_proxies = [\"127.0.0.1\"]").await;
    let mut connection = pki.client(HTTP_1).connect(&world, "other.test").await;
    world.get("/public/x").send_on(&mut connection).await.expect(200);
}

#[tokio::test]
async fn m05_a_session_outlives_its_authority() {
    let (pki, other) = (Pki::new(), Pki::new());
    pki.issue_client("service", "service", "spiffe://acme.test/service");
    let world = pki.world("client_ca = \"$PKI/ca.pem\"").await;
    let client = pki.client_with("service", HTTP_1);
    let resumed = async || {
        let stream = client.secure(world.tls_address(), "app.test").await.ok()?;
        let kind = stream.get_ref().1.handshake_kind();
        let mut connection = Connection::over(stream);
        connection.send(world.get("/public/x").bytes()).await;
        connection.response().await.map(|_| kind == Some(HandshakeKind::Resumed))
    };
    until("a resumed session", async || resumed().await == Some(true)).await;
    std::fs::copy(other.path("ca.pem"), pki.path("other.pem")).unwrap();
    let replaced = pki.settings(&["app", "other"], "client_ca = \"$PKI/other.pem\"");
    world.reload(&replaced).await.unwrap();
    for _ in 0..3 {
        assert_eq!(resumed().await, None, "its authority is none any more");
    }
    let both = [pki.path("ca.pem"), pki.path("other.pem")].map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::write(pki.path("both.pem"), both.concat()).unwrap();
    world.reload(&pki.settings(&["app", "other"], "client_ca = \"$PKI/both.pem\"")).await.unwrap();
    assert_eq!(resumed().await, Some(false), "who vouches has changed: a full handshake");
}

#[tokio::test]
async fn m07_claims_about_a_certificate() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let names = [
        "X-Forwarded-Client-Cert",
        "X-SSL-Client-Verify",
        "X-SSL-Client-S-DN",
        "SSL-Client-Cert",
        "X-Client-Cert",
        "Client-Cert",
        "X_Forwarded_Client_Cert",
        "X-Amzn-Mtls-Clientcert-Subject",
    ];
    let mut connection = pki.client(HTTP_1).connect(&world, "app.test").await;
    let mut request = world.get("/public/x");
    for name in names {
        request = request.header(name, "SUCCESS");
    }
    request.send_on(&mut connection).await.expect(200);
    let received = world.upstream.last();
    for name in names {
        assert!(received.header(name).is_none(), "{name}");
    }
}

#[tokio::test]
async fn m09_certificates_replaced_badly() {
    let pki = Pki::new();
    let world = pki.world("").await;
    let settings = pki.settings(&["app", "other"], "");
    let client = pki.client(HTTP_1);
    let mut open = client.connect(&world, "app.test").await;
    let shown = pki.certificates("app.crt");
    // Halfway: the certificate is new, and the key is not.
    pki.issue("new", &["app.test"]);
    std::fs::copy(pki.path("new.crt"), pki.path("app.crt")).unwrap();
    let error = world.send_settings(&settings).await.unwrap_err().to_string();
    assert!(
        error.contains("server.tls.cert") && error.contains("the key is not that of the certificate"),
        "{error}"
    );
    std::fs::remove_file(pki.path("app.crt")).unwrap();
    let error = world.send_settings(&settings).await.unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    std::fs::write(pki.path("app.crt"), b"-----BEGIN CERTIFICATE-----\n").unwrap();
    assert!(world.send_settings(&settings).await.is_err());
    // Whole, and expired.
    pki.issue_with("app", &["app.test"], |params| {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    });
    world.send_settings(&settings).await.unwrap();
    let rejected = "stytch_gateway_config_reloads_total{outcome=\"rejected\"}";
    until("a rejection", async || world.metric(rejected).await == 1.0).await;
    let stream = client.secure(world.tls_address(), "app.test").await.unwrap();
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap(), shown, "the old pair stays");
    world.get("/public/x").send_on(&mut open).await.expect(200);
}

#[tokio::test]
async fn m11_options_that_do_not_exist() {
    let pki = Pki::new();
    let world = pki.world("").await;
    for (line, told) in [
        ("min_version = \"1.4\"", "min_version"),
        ("min_version = \"\"", "min_version"),
        ("client_auth = \"none\"", "client_auth"),
        ("client_ca = \"\"", "client_ca"),
        ("client_ca = \"$PKI/app.crt\"", "client_ca"),
        ("client_ca = \"$PKI/nothing.pem\"", "client_ca"),
        ("ca = \"$PKI/ca.pem\"", "ca"),
    ] {
        let error = world.send_settings(&pki.settings(&["app"], line)).await.unwrap_err().to_string();
        assert!(error.contains(&format!("server.tls.{told}")), "{line}: {error}");
    }
}
