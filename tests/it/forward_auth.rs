//! The door for proxies that forward by themselves, spoken to as each of them does.

use serde_json::{Value, json};
use stytch_emulator::Fault;

use crate::client::{Request, Response};
use crate::world::World;

/// Every test's own address is a trusted proxy's.
pub(crate) const ASKED: &str =
    "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[forward_auth]\nenabled = true\n";

/// How a proxy says what it was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Front {
    Nginx,
    /// As Caddy and our script for HAProxy do, too.
    Traefik,
    Envoy,
}

impl Front {
    pub(crate) const ALL: [Self; 3] = [Self::Nginx, Self::Traefik, Self::Envoy];

    /// Asks whether a request to `app.test` may pass. `target` is its path with its query.
    pub(crate) fn asks<'w>(self, world: &'w World, method: &str, target: &str) -> Request<'w> {
        match self {
            Self::Nginx => world
                .get("/_stytch/auth")
                .host("gateway")
                .header("X-Original-Method", method)
                .header("X-Original-URL", format!("http://app.test{target}"))
                .header("X-Forwarded-For", "192.0.2.7"),
            // In the order and with the headers of Traefik's own code.
            Self::Traefik => world
                .get("/_stytch/auth/redirect")
                .host("gateway:8080")
                .header("User-Agent", "curl/8.5.0")
                .header("X-Forwarded-For", "192.0.2.7")
                .header("X-Forwarded-Host", "app.test")
                .header("X-Forwarded-Method", method)
                .header("X-Forwarded-Port", "80")
                .header("X-Forwarded-Proto", "http")
                .header("X-Forwarded-Server", "traefik-1")
                .header("X-Forwarded-Uri", target)
                .header("X-Real-Ip", "192.0.2.7")
                .header("Accept-Encoding", "gzip"),
            Self::Envoy => world
                .request(method, &format!("/_stytch/auth/ext_authz{target}"))
                .header("X-Forwarded-For", "192.0.2.7")
                .header("X-Envoy-Internal", "true")
                .header("Content-Length", "0"),
        }
    }
}

fn identity(response: &Response) -> Vec<(&str, &str)> {
    let headers = response.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    headers.filter(|(name, _)| name.starts_with("x-stytch-")).collect()
}

#[tokio::test]
async fn every_dialect_gets_what_the_proxy_door_forwards() {
    let world = World::with(ASKED).await;
    let session = world.session();
    world.get("/reports").jwt(&session).expect(200).await;
    let mut forwarded = world.upstream.last().headers();
    forwarded.retain(|(name, _)| name.starts_with("x-stytch-"));
    forwarded.sort();
    for front in Front::ALL {
        let response = front.asks(&world, "GET", "/reports?month=5").jwt(&session).expect(200).await;
        let mut told: Vec<_> = identity(&response)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        told.sort();
        assert_eq!(told, forwarded, "{front:?}");
        assert!(response.header("x-request-id").is_some() && response.header("traceparent").is_some());
        assert!(response.body.is_empty());
        front.asks(&world, "GET", "/reports").bearer(&session.session_jwt).expect(200).await;
        let anonymous = front.asks(&world, "GET", "/optional/x").expect(200).await;
        let public = front.asks(&world, "GET", "/public/x").jwt(&session).expect(200).await;
        assert!(identity(&anonymous).is_empty() && identity(&public).is_empty(), "{front:?}");
    }
    assert_eq!(world.upstream_traffic(), [(1, 1), (0, 0)], "nothing is forwarded at this door");
}

#[tokio::test]
async fn the_original_method_and_host_decide() {
    let world = World::with(ASKED).await;
    for front in Front::ALL {
        front.asks(&world, "POST", "/public/x").expect(200).await;
        front.asks(&world, "DELETE", "/public/x").refused(401, "unauthenticated").await;
        front.asks(&world, "TRACE", "/public/x").send().await;
    }
    let other = |url: &str| {
        let request = world.request("POST", "/_stytch/auth").header("X-Original-Method", "GET");
        request.header("X-Original-URL", url)
    };
    other("https://APP.test:443/public/x").expect(200).await;
    other("https://other.test/public/x").refused(401, "unauthenticated").await;
    other("https://nowhere.test/").refused(403, "no_route").await;
}

/// nginx takes whatever is none of these for a failure of its own.
#[tokio::test]
async fn refusals_are_401_403_or_503_whatever_their_status_elsewhere() {
    let world = World::builder().with(ASKED).with("[rate_limit]\nfailures = \"2/min\"\n").start().await;
    for front in Front::ALL {
        front.asks(&world, "GET", "/x").refused(401, "unauthenticated").await;
        if !matches!(front, Front::Envoy) {
            // Envoy's is the target of its own request, and refused as any such target is.
            front.asks(&world, "GET", "/public/../x").refused(403, "ambiguous_path").await;
            front.asks(&world, "TRACE", "/x").refused(403, "method_not_allowed").await;
        }
    }
    let front = Front::Nginx;
    let response = front.asks(&world, "GET", "/x").refused(401, "unauthenticated").await;
    assert_eq!(response.header("www-authenticate"), Some("Bearer"));
    assert_eq!(response.header("x-stytch-code"), Some("unauthenticated"));
    let response = front.asks(&world, "GET", "/x").token("a.b.c").refused(401, "invalid_credential").await;
    assert_eq!(response.all("set-cookie").len(), 2, "both cookies are cleared");
    let session = world.session();
    world.emulator.fault(Fault { status: Some(503), ..Fault::on("/v1/b2b/sessions/authenticate") });
    let response = front.asks(&world, "GET", "/x").opaque(&session).refused(503, "stytch_unavailable").await;
    assert!(response.header("retry-after").is_some() && response.header("set-cookie").is_none());
    front.asks(&world, "GET", "/x").token("d.e.f").refused(401, "invalid_credential").await;
    let response = front.asks(&world, "GET", "/x").token("g.h.i").refused(503, "rate_limited").await;
    assert!(response.header("retry-after").is_some());
    assert_eq!(response.json()["status"], 503);
    let response = front
        .asks(&world, "POST", "/x")
        .header("Content-Type", "application/grpc")
        .refused(401, "unauthenticated")
        .await;
    assert_eq!(response.header("grpc-status"), None, "a gRPC refusal is a 200, which would be a pass");
    let page =
        front.asks(&world, "GET", "/x").header("Accept", "text/html").refused(401, "unauthenticated").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
}

#[tokio::test]
async fn whoever_is_not_trusted_is_not_told() {
    let settings = "[server]\ntrusted_proxies = [\"192.0.2.1\"]\n[forward_auth]\nenabled = true\n";
    let world = World::with(settings).await;
    let session = world.session();
    for front in Front::ALL {
        front.asks(&world, "GET", "/public/x").refused(403, "untrusted_caller").await;
        front.asks(&world, "GET", "/x").jwt(&session).refused(403, "untrusted_caller").await;
    }
}

#[tokio::test]
async fn it_is_not_there_unless_it_is_switched_on() {
    let world = World::with("[server]\ntrusted_proxies = [\"127.0.0.1\"]\n").await;
    for front in Front::ALL {
        front.asks(&world, "GET", "/public/x").refused(404, "no_route").await;
    }
    world.reload(ASKED).await.unwrap();
    for front in Front::ALL {
        front.asks(&world, "GET", "/public/x").expect(200).await;
    }
    for path in
        ["/_stytch/auth/", "/_stytch/auth;x", "/_stytch/authx", "/_stytch/auth/ext_authzx", "/_stytch"]
    {
        world.get(path).refused(404, "no_route").await;
    }
    world.get("/_stytch/auth/ext_authz").refused(404, "no_route").await;
}

/// A front that asks about them would forward them to its application.
#[tokio::test]
async fn reserved_paths_are_nobody_elses() {
    let world = World::with(ASKED).await;
    let session = world.session();
    for front in Front::ALL {
        for path in ["/_stytch", "/_stytch/login", "/_stytch/auth", "/%5fstytch/auth"] {
            front.asks(&world, "GET", path).jwt(&session).refused(403, "no_route").await;
        }
    }
}

#[tokio::test]
async fn a_browser_at_another_site_is_told_by_the_original_host() {
    let world = World::with(ASKED).await;
    let session = world.session();
    for front in Front::ALL {
        let posts = |origin: &str| front.asks(&world, "POST", "/x").jwt(&session).header("Origin", origin);
        posts("http://app.test").expect(200).await;
        posts("http://evil.test").refused(403, "cross_site_request").await;
        posts("http://gateway").refused(403, "cross_site_request").await;
        // Traefik leaves `Upgrade` out of what it asks.
        let dials = |origin: &str| {
            let request = front.asks(&world, "GET", "/ws").jwt(&session).header("Origin", origin);
            request
                .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
                .header("Sec-WebSocket-Version", "13")
        };
        dials("http://app.test").expect(200).await;
        dials("http://evil.test").refused(403, "cross_site_request").await;
        dials("http://evil.test").header("Upgrade", "websocket").refused(403, "cross_site_request").await;
    }
}

#[tokio::test]
async fn a_session_may_come_in_a_websockets_query() {
    let world = World::builder().with(ASKED).with("[session]\nwebsocket_query = \"token\"\n").start().await;
    let session = world.session();
    world.keep_secret(&session.session_jwt);
    let target = format!("/ws?token={}", session.session_jwt);
    for front in Front::ALL {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        front.asks(&world, "GET", &target).header("Sec-WebSocket-Key", key).expect(200).await;
        front.asks(&world, "GET", &target).refused(401, "unauthenticated").await;
    }
}

/// A page that fetches hundreds of things at once costs Stytch one question.
#[tokio::test]
async fn a_burst_is_answered_without_asking_stytch() {
    let world = World::with(ASKED).await;
    let session = world.session();
    let mut connection = world.connect().await;
    for number in 0..400 {
        let front = Front::ALL[number % Front::ALL.len()];
        let target = format!("/thing/{number}");
        let response = front.asks(&world, "GET", &target).opaque(&session).send_on(&mut connection).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
    assert_eq!(world.stytch_calls(), 1);
    let verified = "stytch_gateway_decision_duration_seconds_count{source=\"cache\"}";
    assert!(world.metric(verified).await >= 399.0);
}

#[tokio::test]
async fn fresh_cookies_come_with_the_answer() {
    let world = World::with(ASKED).await;
    let session = world.session();
    let expired = world.aged(&session, 400);
    let cookies = format!("stytch_session={}; stytch_session_jwt={expired}", session.session_token);
    world.keep_secret(&expired);
    let response = Front::Nginx.asks(&world, "GET", "/x").header("Cookie", cookies).expect(200).await;
    let set = response.all("set-cookie");
    assert_eq!(set.len(), 2, "{set:?}");
    assert!(set[0].starts_with("stytch_session=") && set[1].starts_with("stytch_session_jwt="));
    assert!(set.iter().all(|cookie| cookie.contains("; HttpOnly") && cookie.ends_with(" GMT")));
    assert_eq!(response.all("cache-control"), ["no-store"]);
}

#[tokio::test]
async fn the_log_tells_of_the_original_request() {
    let world = World::with(ASKED).await;
    let session = world.session();
    for front in Front::ALL {
        front.asks(&world, "POST", "/reports?secret=1").jwt(&session).expect(200).await;
    }
    world.get("/_stytch/auth").refused(403, "bad_request").await;
    let lines = world.log(4).await;
    for line in &lines[..3] {
        let told = ["method", "host", "path", "route", "decision", "client", "upstream_ms"]
            .map(|field| &line[field]);
        let expected =
            [json!("POST"), json!("app.test"), json!("/reports"), json!("app.test /*"), json!("allowed")];
        assert_eq!(told[..5], expected.each_ref()[..], "{line}");
        assert_eq!(told[5..], [&json!("192.0.2.7"), &Value::Null], "{line}");
    }
    assert_eq!((&lines[3]["path"], &lines[3]["route"]), (&json!("/_stytch/auth"), &json!("_auth")));
    let series = "stytch_gateway_requests_total{route=\"_auth\",decision=\"refused\",code=\"bad_request\"}";
    assert_eq!(world.metric(series).await, 1.0);
}

/// The answer does not wait for a body, which nobody should send.
#[tokio::test]
async fn a_body_is_not_read() {
    let world = World::with(ASKED).await;
    let mut connection = world.connect().await;
    let head = "POST /_stytch/auth HTTP/1.1\r\nHost: gateway\r\nX-Original-Method: POST\r\n\
                X-Original-URL: http://app.test/public/x\r\nContent-Length: 1000000\r\n\r\n";
    connection.send(head).await;
    assert_eq!(connection.response().await.unwrap().status, 200);
}

/// A gateway that is only asked needs no upstream, and has none to forward to.
#[tokio::test]
async fn a_route_without_an_upstream_is_only_asked_about() {
    let routes = "[[routes]]\npath = \"/open/*\"\nauth = \"none\"\n[[routes]]\npath = \"/*\"\n";
    let world = World::with(&format!("{ASKED}{routes}")).await;
    let session = world.session();
    for front in Front::ALL {
        front.asks(&world, "GET", "/x").jwt(&session).expect(200).await;
        front.asks(&world, "GET", "/open/x").expect(200).await;
    }
    world.get("/x").refused(401, "unauthenticated").await;
    world.get("/x").jwt(&session).refused(404, "no_route").await;
    world.get("/open/x").refused(404, "no_route").await;
}
