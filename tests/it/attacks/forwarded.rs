//! Class C: what only a proxy should say, said by anyone.

use serde_json::json;

use super::identity;
use crate::world::World;

/// Every test's own address is a trusted proxy's.
const TRUSTED: &str = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n";

#[tokio::test]
async fn c01_another_path_in_x_forwarded_uri() {
    for settings in ["", TRUSTED] {
        let world = World::with(settings).await;
        for name in ["X-Forwarded-Uri", "X-Forwarded-Url", "X-Forwarded-Path", "X_Forwarded_Uri"] {
            world.get("/admin").header(name, "/public/x").refused(401, "unauthenticated").await;
            world.get("/public/x").header(name, "/admin").expect(200).await;
            let headers = world.upstream.last().headers();
            assert!(!headers.iter().any(|(_, value)| value == "/admin"), "{name} {headers:?}");
        }
    }
}

/// Methods can be named in the same way.
#[tokio::test]
async fn c02_another_method_in_x_forwarded_method() {
    let world = World::start().await;
    for name in ["X-Forwarded-Method", "X-Original-Method"] {
        world.request("DELETE", "/public/x").header(name, "GET").refused(401, "unauthenticated").await;
        world.get("/public/x").header(name, "DELETE").expect(200).await;
        let headers = world.upstream.last().headers();
        assert!(!headers.iter().any(|(_, value)| value == "DELETE"), "{name} {headers:?}");
    }
}

#[tokio::test]
async fn c03_a_proxys_own_original_path() {
    for settings in ["", TRUSTED] {
        let world = World::with(settings).await;
        let names =
            ["X-Envoy-Original-Path", "X-Original-URL", "X-Rewrite-URL", "X-Original-Uri", "x_original_url"];
        for name in names {
            world.get("/admin").header(name, "/public/x").refused(401, "unauthenticated").await;
            world.get("/public/x").header(name, "/admin").expect(200).await;
            let headers = world.upstream.last().headers();
            assert!(!headers.iter().any(|(_, value)| value == "/admin"), "{name} {headers:?}");
        }
    }
}

#[tokio::test]
async fn c05_https_is_claimed() {
    let world = World::start().await;
    for name in
        ["X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "Front-End-Https", "X-Url-Scheme"]
    {
        world.get("/public/x").header(name, "https").expect(200).await;
        let received = world.upstream.last();
        assert_eq!(received.all("x-forwarded-proto"), ["http"]);
        assert!(received.header("forwarded").unwrap().ends_with(";proto=http"));
        assert!(!received.headers().iter().any(|(_, value)| value == "https"), "{name}");
    }
    let world = World::with(TRUSTED).await;
    world.get("/public/x").header("X-Forwarded-Proto", "https").expect(200).await;
    assert_eq!(world.upstream.last().all("x-forwarded-proto"), ["https"]);
}

/// Two claims of a proxy that differ are no claim.
#[tokio::test]
async fn c06_two_protocols() {
    let world = World::with(TRUSTED).await;
    let odd = [vec!["https", "http"], vec!["https,http"], vec!["httpsx"], vec!["\u{212a}"]];
    for values in odd {
        let request = values
            .iter()
            .fold(world.get("/public/x"), |request, value| request.header("X-Forwarded-Proto", value));
        request.expect(200).await;
        assert_eq!(world.upstream.last().all("x-forwarded-proto"), ["http"], "{values:?}");
    }
}

#[tokio::test]
async fn c07_a_private_peer_is_not_trusted() {
    let world = World::start().await;
    for (name, value) in [
        ("X-Forwarded-For", "10.9.9.9"),
        ("x_forwarded_for", "10.9.9.9"),
        ("X-Real-IP", "10.9.9.9"),
        ("True-Client-IP", "10.9.9.9"),
        ("CF-Connecting-IP", "10.9.9.9"),
        ("X-Client-IP", "10.9.9.9"),
        ("Client-IP", "10.9.9.9"),
        ("X-Cluster-Client-IP", "10.9.9.9"),
        ("X-Originating-IP", "10.9.9.9"),
        ("X-Forwarded-Client-Cert", "Subject=10.9.9.9"),
        ("X-SSL-Client-Verify", "10.9.9.9"),
    ] {
        world.get("/public/x").header(name, value).expect(200).await;
        let received = world.upstream.last();
        assert_eq!(received.all("x-forwarded-for"), ["127.0.0.1"]);
        assert!(!received.headers().iter().any(|(_, value)| value.contains("10.9.9.9")), "{name}");
    }
    assert!(world.log(11).await.iter().all(|line| line["client"] == "127.0.0.1"));
}

/// From a trusted proxy the list is read from the right: what stands left is the client's own word.
#[tokio::test]
async fn c08_what_stands_left_in_the_list() {
    let world = World::with(TRUSTED).await;
    for (list, client) in [
        ("10.1.1.1", "10.1.1.1"),
        ("127.0.0.1, 10.1.1.1", "10.1.1.1"),
        ("10.6.6.6, 10.1.1.1, 127.0.0.1", "10.1.1.1"),
        ("10.6.6.6,10.1.1.1:4711", "10.1.1.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
    ] {
        world.get("/public/x").header("X-Forwarded-For", list).expect(200).await;
        let line = world.log(world.upstream.requests().len()).await.pop().unwrap();
        assert_eq!(line["client"], client, "{list}");
    }
}

#[tokio::test]
async fn c09_a_malformed_list() {
    let world = World::with(TRUSTED).await;
    let malformed =
        [",,;[::", "", ",", "unknown", "_hidden", "10.1.1.1, x", "10.1.1.1;10.2.2.2", "0x7f.1", "1.2.3.4.5"];
    for list in malformed {
        world.get("/admin").header("X-Forwarded-For", list).refused(401, "unauthenticated").await;
        world.get("/public/x").header("X-Forwarded-For", list).expect(200).await;
        assert_eq!(world.upstream.last().all("x-forwarded-for"), ["127.0.0.1"], "{list}");
    }
    let raw = b"GET /admin HTTP/1.1\r\nHost: app.test\r\nX-Forwarded-For: \xff\xfe\r\n\r\n";
    assert_eq!(world.raw(raw).await.status(), Some(401));
    let lines = world.log(2 * malformed.len() + 1).await;
    assert!(lines.iter().all(|line| line["client"] == "127.0.0.1"));
}

#[tokio::test]
async fn c11_another_host_in_x_forwarded_host() {
    for settings in ["", TRUSTED] {
        let world = World::with(settings).await;
        let session = world.session();
        for name in
            ["X-Forwarded-Host", "X-Host", "X-Http-Host-Override", "X-Forwarded-Server", "X-Original-Host"]
        {
            world.get("/x").jwt(&session).header(name, "other.test").expect(200).await;
            let received = world.upstream.last();
            assert_eq!(received.header("host").as_deref(), Some("app.test"));
            if settings.is_empty() {
                let headers = received.headers();
                assert!(!headers.iter().any(|(_, value)| value.contains("other.test")), "{name} {headers:?}");
            }
        }
        assert_eq!(world.other.traffic(), (0, 0));
    }
}

/// The host of the request decides, whatever else is said, and about nobody else's route.
#[tokio::test]
async fn c12_a_public_host_is_claimed() {
    let world = World::with(&format!(
        "{TRUSTED}[[routes]]\nhost = \"open.test\"\npath = \"/*\"\nupstream = \"other\"\nauth = \"none\"\n\
         [[routes]]\nhost = \"app.test\"\npath = \"/*\"\nupstream = \"app\""
    ))
    .await;
    for name in ["X-Forwarded-Host", "Forwarded", "X-Host"] {
        world.get("/x").header(name, "open.test").refused(401, "unauthenticated").await;
    }
    world.get("/x").host("open.test").expect(200).await;
}

#[tokio::test]
async fn c13_forwarded() {
    let claim = "for=10.9.9.9;host=other.test;proto=https";
    for settings in ["", TRUSTED] {
        let world = World::with(settings).await;
        world.get("/public/x").header("Forwarded", claim).header("Forwarded", claim).expect(200).await;
        let received = world.upstream.last();
        assert_eq!(received.all("forwarded"), ["for=127.0.0.1;host=app.test;proto=http"]);
        assert_eq!(received.all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(world.log(1).await[0]["client"], json!("127.0.0.1"));
    }
}

/// Identity is nobody's to forward, not even a trusted proxy's.
#[tokio::test]
async fn c14_a_trusted_proxy_brings_identity() {
    let world = World::with(TRUSTED).await;
    world.get("/public/x").header("X-Stytch-Member-Id", "attacker").expect(200).await;
    assert_eq!(identity(&world.upstream.last()), []);
}

/// Ids that operators search by are not an attacker's to choose.
#[tokio::test]
async fn c16_a_request_id_is_claimed() {
    let world = World::start().await;
    for name in ["X-Request-Id", "x_request_id"] {
        world.get("/public/x").header(name, "chosen-by-attacker").expect(200).await;
        let received = world.upstream.last();
        assert_ne!(received.header("x-request-id").as_deref(), Some("chosen-by-attacker"));
        assert!(!received.headers().iter().any(|(_, value)| value == "chosen-by-attacker"), "{name}");
    }
}

/// A header of version 2, from 192.0.2.7, with this behind the addresses.
fn version_2(length: usize, extensions: &[u8]) -> Vec<u8> {
    let length = u16::try_from(length).unwrap().to_be_bytes();
    let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0, 80];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &length[..], &addresses, extensions].concat()
}

#[tokio::test]
async fn c15_the_proxy_protocol_is_for_trusted_proxies_and_whole() {
    let version_1 = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n".to_vec();
    let request = b"GET /public/a HTTP/1.1\r\nHost: app.test\r\n\r\n";
    for settings in ["", "[server]\nproxy_protocol = true\ntrusted_proxies = [\"192.0.2.1\"]"] {
        let world = World::with(settings).await;
        for header in [version_1.clone(), version_2(12, b"")] {
            let raw = world.raw([&header[..], request].concat()).await;
            assert_eq!((raw.status(), raw.closed), (Some(400), true));
        }
        assert!(world.upstream.requests().is_empty());
        world.get("/public/a").expect(200).await;
    }
    let world = World::with("[server]\nproxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]").await;
    let bad = [
        request.to_vec(),
        version_2(12 + 65_000, b"\x01\0\x02h2"),
        version_2(12 + 5, b"\x01\xff\xffh2"),
        version_2(8, b""),
        b"PROXY TCP4 127.0.0.1\r\n".to_vec(),
    ];
    for header in &bad {
        let raw = world.raw([&header[..], request].concat()).await;
        assert!(raw.response.is_none() && raw.closed, "{}", header.escape_ascii());
    }
    assert!(world.upstream.requests().is_empty());
    let refused = world.metric("stytch_gateway_connections_refused_total{reason=\"proxy_header\"}").await;
    assert_eq!(refused, bad.len() as f64);
}
