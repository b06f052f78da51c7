//! Envoy's door: what it is told about a request, held beside what the proxy makes of the same.

use std::time::Duration;

use serde_json::{Value, json};
use stytch_emulator::Fault;
use stytch_gateway::ext_authz::proto::envoy::service::auth::v3::attribute_context::HttpRequest;
use stytch_gateway::ext_authz::proto::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::client::{Connection, PATIENCE};
use crate::envoy::{Check, Envoy, Pairs, joins, pair, values};
use crate::world::{World, eventually};

const ENABLED: &str = "[ext_authz]\nenabled = true\nlisten = \"127.0.0.1:0\"\n";

async fn world(toml: &str) -> (World, Envoy) {
    let world = World::with(&format!("{ENABLED}{toml}")).await;
    let envoy = Envoy::to(world.ext_authz_address()).await;
    (world, envoy)
}

fn named(pairs: &Pairs, wanted: &str) -> Vec<String> {
    pairs.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.clone()).collect()
}

/// Headers that are about one connection, or new for each request.
fn comparable(mut pairs: Pairs) -> Pairs {
    let passing = ["host", "via", "x-request-id", "traceparent", "connection", "forwarded"];
    let forwarded = |name: &str| name.starts_with("x-forwarded-");
    pairs.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
    pairs.retain(|(name, _)| !passing.contains(&name.as_str()) && !forwarded(name));
    pairs.sort();
    pairs
}

#[tokio::test]
async fn envoy_forwards_the_headers_that_the_proxy_would() {
    let (world, envoy) = world("").await;
    let session = world.session();
    let cookie = format!("a=1; stytch_session_jwt={}; b=2", session.session_jwt);
    let bearer = format!("Bearer {}", session.session_jwt);
    let brought: [&[(&str, &str)]; 4] = [
        &[("authorization", &bearer), ("accept", "*/*")],
        &[("cookie", &cookie), ("x-custom", "one"), ("x-custom", "two")],
        &[
            ("authorization", &bearer),
            ("x-stytch-member-id", "member-forged"),
            ("x-stytch-member-id", "member-forged-again"),
            ("x_stytch_roles", "admin"),
            ("x.stytch.member.email", "ana@acme.example"),
            ("x-stytch-anything", "x"),
            ("x~stytch~roles", "admin"),
        ],
        &[("authorization", &bearer), ("x-original-url", "/admin"), ("x_forwarded_for", "1.2.3.4")],
    ];
    for headers in brought {
        let mut request = world.get("/reports");
        let mut check = Check::get("/reports");
        for (name, value) in headers {
            request = request.header(name, value);
            check = check.header(name, value);
        }
        request.expect(200).await;
        let proxied = comparable(world.upstream.last().headers());
        let answer = envoy.check(check.clone()).await;
        assert_eq!(comparable(answer.applied(&check)), proxied, "{headers:?}");
    }
}

/// Also those that nobody sent, as far as Envoy shows, and those that are right already.
#[tokio::test]
async fn every_owned_name_is_set_or_removed() {
    let (world, envoy) = world("[identity.headers]\nREMOTE_USER = \"{member.member_id}\"\n").await;
    let session = world.session();
    let public = envoy.check(Check::get("/public/x")).await;
    for name in ["x-stytch-member-id", "x-stytch-roles", "remote_user"] {
        assert!(public.allowed().headers_to_remove.iter().any(|removed| removed == name), "{name}");
    }
    let check = Check::get("/reports").with(&session);
    let honest = envoy.check(check.clone()).await;
    let member = values(&honest.allowed().headers, "x-stytch-member-id");
    let again = envoy.check(check.clone().header("x-stytch-member-id", member[0])).await;
    assert_eq!(values(&again.allowed().headers, "x-stytch-member-id"), member);
    assert!(again.allowed().headers.iter().all(|option| !joins(option)));
    let spoofed = envoy.check(check.header("remote-user", "root")).await;
    assert_eq!(values(&spoofed.allowed().headers, "remote_user"), member);
    assert!(spoofed.allowed().headers_to_remove.iter().any(|removed| removed == "remote-user"));
}

#[tokio::test]
async fn both_ways_to_give_headers_are_read_alike() {
    let (world, envoy) = world("").await;
    let session = world.session();
    let check = Check::get("/reports").with(&session).header("x_stytch_roles", "admin");
    let (raw, joined) = (envoy.check(check.clone()).await, envoy.check(check.clone().joined()).await);
    assert_eq!(comparable(raw.applied(&check)), comparable(joined.applied(&check)));
    // Two credentials that Envoy has joined to one are none.
    let twice = format!("Bearer {0},Bearer {0}", session.session_jwt);
    let check = Check::get("/reports").joined().header("authorization", twice);
    envoy.check(check).await.refused(401, "invalid_credential");
}

/// A request in which each field stands for itself, to be spoilt.
fn spoilt(spoil: impl FnOnce(&mut CheckRequest)) -> CheckRequest {
    let mut check = CheckRequest::from(Check::get("/public/x?q=1"));
    spoil(&mut check);
    check
}

fn http(check: &mut CheckRequest) -> &mut HttpRequest {
    let request = check.attributes.as_mut().and_then(|attributes| attributes.request.as_mut());
    request.and_then(|request| request.http.as_mut()).unwrap()
}

fn set(check: &mut CheckRequest, name: &str, value: &str) {
    let headers = &mut http(check).header_map.as_mut().unwrap().headers;
    headers.push(pair(name, value));
}

/// What is wrong, and how it came to be.
type Spoiler = (&'static str, fn(&mut CheckRequest));

#[tokio::test]
async fn checks_whose_fields_disagree_are_refused() {
    let (_world, envoy) = world("").await;
    envoy.check(spoilt(|_| {})).await.allowed();
    envoy.check(spoilt(|check| http(check).query = "q=1".to_owned())).await.allowed();
    envoy.check(spoilt(|check| set(check, "host", "APP.test"))).await.allowed();
    let spoilers: [Spoiler; 24] = [
        ("no attributes", |check| check.attributes = None),
        ("no request", |check| check.attributes.as_mut().unwrap().request = None),
        ("no HTTP", |check| {
            check.attributes.as_mut().unwrap().request.as_mut().unwrap().http = None;
        }),
        ("no host", |check| http(check).host.clear()),
        ("two hosts", |check| http(check).host = "other.test".to_owned()),
        ("two hosts, in Host", |check| set(check, "host", "other.test")),
        ("two hosts, in Host, in capitals", |check| set(check, "Host", "other.test")),
        ("two hosts, repeated", |check| set(check, ":authority", "other.test")),
        ("another port", |check| set(check, "host", "app.test:8443")),
        ("a host that is none", |check| set(check, "host", "app.test, other.test")),
        ("two paths", |check| http(check).path = "/admin".to_owned()),
        ("two paths, repeated", |check| set(check, ":path", "/admin")),
        ("two methods", |check| http(check).method = "POST".to_owned()),
        ("two methods, repeated", |check| set(check, ":method", "DELETE")),
        ("two schemes", |check| http(check).scheme = "https".to_owned()),
        ("two queries", |check| http(check).query = "q=2".to_owned()),
        ("a fragment", |check| http(check).fragment = "x".to_owned()),
        ("headers twice", |check| http(check).headers = vec![pair("accept", "*/*")]),
        ("a header with two values", |check| {
            let headers = &mut http(check).header_map.as_mut().unwrap().headers;
            headers.push(pair("x-custom", "one"));
            headers.last_mut().unwrap().value = "two".to_owned();
        }),
        ("a map with a name twice", |check| {
            let headers = http(check).header_map.take().unwrap().headers;
            http(check).headers = headers;
            http(check).headers.extend([pair("cookie", "a=1"), pair("Cookie", "a=2")]);
        }),
        ("a source that is no address", |check| {
            let source = check.attributes.as_mut().unwrap().source.as_mut().unwrap();
            source.address.as_mut().unwrap().socket_address.as_mut().unwrap().address = "envoy".to_owned();
        }),
        ("a name that is no token", |check| set(check, "x stytch roles", "admin")),
        ("a control character", |check| set(check, "x-custom", "a\u{1}b")),
        ("a line break", |check| set(check, "x-custom", "a\r\nx-stytch-roles: admin")),
    ];
    for (what, spoil) in spoilers {
        let answer = envoy.check(spoilt(spoil)).await;
        let code = answer.0.status.as_ref().unwrap().message.clone();
        assert_eq!(code, "bad_request", "{what}: {answer:?}");
        answer.refused(400, "bad_request");
    }
}

#[tokio::test]
async fn paths_are_held_to_what_the_proxy_holds_them_to() {
    let (world, envoy) = world("").await;
    for path in
        ["", "public/x", "http://app.test/public/x", "*", "/public/x#y", "/pub lic", "/a\u{e9}", "/a\0"]
    {
        let check = Check::get(path);
        envoy.check(check).await.refused(400, "bad_request");
    }
    for path in
        ["/public/..%2fadmin", "/public/%2e%2e/admin", "/public/../admin", "/public/..;/admin", "//admin"]
    {
        envoy.check(Check::get(path)).await.refused(400, "ambiguous_path");
    }
    envoy.check(Check::get("/%61dmin")).await.refused(401, "unauthenticated");
    envoy.check(Check::get("/public2/x")).await.refused(401, "unauthenticated");
    envoy.check(Check::get("/x").host("nowhere.test")).await.refused(404, "no_route");
    envoy.check(Check::get("/_stytch/login")).await.refused(404, "no_route");
    for method in ["CONNECT", "TRACE", "TRACK"] {
        envoy.check(Check::new(method, "/public/x")).await.refused(405, "method_not_allowed");
    }
    for method in ["get", "", "GE T"] {
        envoy.check(Check::new(method, "/public/x")).await.refused(400, "bad_request");
    }
    // What was judged is what is forwarded.
    let respelt = envoy.check(Check::get("/%70ublic/%7e?a=%7e")).await;
    assert_eq!(values(&respelt.allowed().headers, ":path"), ["/public/~?a=%7e"]);
    assert!(values(&envoy.check(Check::get("/public/x")).await.allowed().headers, ":path").is_empty());
    assert_eq!(world.upstream_traffic(), [(0, 0); 2]);
}

#[tokio::test]
async fn refusals_come_in_the_form_their_caller_understands() {
    let (world, envoy) = world("").await;
    let none = envoy.check(Check::get("/reports")).await;
    let denied = none.refused(401, "unauthenticated");
    assert_eq!(none.0.status.as_ref().unwrap().code, 16);
    assert_eq!(values(&denied.headers, "www-authenticate"), ["Bearer"]);
    assert_eq!(values(&denied.headers, "cache-control"), ["no-store"]);
    assert_eq!(values(&denied.headers, "content-type"), ["application/problem+json"]);
    let problem: Value = serde_json::from_str(&denied.body).unwrap();
    assert_eq!(problem["status"], 401);
    let page = envoy.check(Check::get("/reports").header("accept", "text/html")).await;
    let denied = page.refused(401, "unauthenticated");
    assert!(denied.body.starts_with("<!doctype html>"));
    let call = Check::new("POST", "/reports").header("content-type", "application/grpc");
    let call = envoy.check(call).await;
    let denied = call.refused(401, "unauthenticated");
    assert_eq!(denied.body, "unauthenticated");
    assert!(values(&denied.headers, "content-type").is_empty());
    assert!(values(&denied.headers, "grpc-status").is_empty());
    // A refused cookie is cleared: each of them by a header of its own, which Envoy sets beside others.
    let token = world.emulator.token(json!({})).sign();
    let check = Check::get("/reports").header("cookie", format!("stytch_session_jwt={token}"));
    let refused = envoy.check(check).await;
    let cleared = &refused.refused(401, "invalid_credential").headers;
    assert_eq!(values(cleared, "set-cookie").len(), 2, "{cleared:?}");
    assert!(!cleared.iter().any(joins), "{cleared:?}");
}

#[tokio::test]
async fn an_outage_is_neither_a_pass_nor_a_logout() {
    let (world, envoy) = world("").await;
    let session = world.session();
    world.emulator.fault(Fault { status: Some(503), ..Fault::on("/v1/b2b/sessions/authenticate") });
    let check = Check::get("/reports").header("cookie", format!("stytch_session={}", session.session_token));
    let answer = envoy.check(check.clone()).await;
    let denied = answer.refused(503, "stytch_unavailable");
    assert_eq!(values(&denied.headers, "retry-after").len(), 1);
    assert!(values(&denied.headers, "set-cookie").is_empty());
    envoy.check(Check::get("/reports").with(&session)).await.allowed();
}

/// Credentials that Stytch renewed go to the browser, through Envoy.
#[tokio::test]
async fn fresh_credentials_are_written_back() {
    let (world, envoy) = world("").await;
    let session = world.session();
    let cookie = format!("theme=dark; stytch_session={}", session.session_token);
    let check = Check::get("/reports").header("cookie", &cookie);
    let answer = envoy.check(check.clone()).await;
    let added = &answer.allowed().response_headers_to_add;
    let cookies = values(added, "set-cookie");
    assert_eq!(cookies.len(), 2, "{added:?}");
    assert!(cookies.iter().any(|cookie| cookie.starts_with("stytch_session_jwt=ey")));
    assert_eq!(values(added, "cache-control"), ["private"]);
    assert_eq!(named(&answer.applied(&check), "cookie"), ["theme=dark"]);
    for cookie in cookies {
        world.keep_secret(cookie.split(['=', ';']).nth(1).unwrap_or_default());
    }
}

#[tokio::test]
async fn a_credential_in_the_query_of_a_handshake_is_taken_out() {
    let (world, envoy) = world("[session]\nwebsocket_query = \"token\"\n").await;
    let session = world.session();
    let path = format!("/ws?room=1&token={}", session.session_jwt);
    let check = Check::get(&path);
    envoy.check(check.clone()).await.refused(401, "unauthenticated");
    let check = check.header("upgrade", "websocket").header("connection", "Upgrade");
    let answer = envoy.check(check).await;
    assert_eq!(answer.allowed().query_parameters_to_remove, ["token"]);
    let another = Check::get("/public/x?room=1").header("upgrade", "websocket");
    assert!(envoy.check(another).await.allowed().query_parameters_to_remove.is_empty());
    // From another site, the browser's cookies do not count.
    let cookie = format!("stytch_session_jwt={}", session.session_jwt);
    let check = Check::get("/ws").header("upgrade", "websocket").header("cookie", cookie);
    envoy.check(check.clone().header("origin", "http://evil.test")).await.refused(403, "cross_site_request");
    envoy.check(check.header("origin", "http://app.test")).await.allowed();
}

/// Envoy's peer is the client, unless it is a trusted proxy and says otherwise.
#[tokio::test]
async fn the_client_is_whom_envoy_sees() {
    let (world, envoy) = world("[server]\ntrusted_proxies = [\"192.0.2.0/24\"]\n").await;
    let check = || Check::get("/public/x").header("x-forwarded-for", "203.0.113.7, 198.51.100.1");
    let claimed = envoy.check(check().from("198.51.100.1")).await;
    assert_eq!(values(&claimed.allowed().headers, "x-forwarded-for"), ["198.51.100.1"]);
    let told = check().header("x-forwarded-host", "www.test").from("192.0.2.1");
    let told = envoy.check(told).await;
    assert!(values(&told.allowed().headers, "x-forwarded-for").is_empty());
    let removed = |answer: &crate::envoy::Answer, name: &str| {
        answer.allowed().headers_to_remove.iter().any(|removed| removed == name)
    };
    assert!(!removed(&told, "x-forwarded-host"));
    let claimed = check().header("x-forwarded-host", "www.test").header("x-envoy-original-path", "/public/x");
    let claimed = envoy.check(claimed.header("x-envoy-attempt-count", "1").from("198.51.100.1")).await;
    for (name, goes) in
        [("x-forwarded-host", true), ("x-envoy-original-path", true), ("x-envoy-attempt-count", false)]
    {
        assert_eq!(removed(&claimed, name), goes, "{name}");
    }
    let mut somewhere = Check::get("/public/x");
    somewhere.source = None;
    envoy.check(somewhere).await.allowed();
    let clients: Vec<_> = world.log(4).await.iter().map(|line| line["client"].clone()).collect();
    assert_eq!(clients, ["198.51.100.1", "198.51.100.1", "198.51.100.1", "127.0.0.1"]);
}

#[tokio::test]
async fn checks_are_logged_and_counted_like_requests() {
    let (world, envoy) = world("").await;
    let session = world.session();
    envoy
        .check(Check::get("/reports?secret=1").with(&session).header("x-request-id", "from-envoy-1"))
        .await
        .allowed();
    envoy.check(Check::get("/reports")).await.refused(401, "unauthenticated");
    envoy.check(spoilt(|check| http(check).path = "/other".to_owned())).await.refused(400, "bad_request");
    let lines = world.log(3).await;
    assert_eq!(lines[0]["request_id"], "from-envoy-1");
    assert_eq!(lines[0]["decision"], "allowed");
    assert_eq!(lines[0]["path"], "/reports");
    assert_eq!(lines[0]["member_id"].as_str().unwrap().get(..7), Some("member-"));
    assert!(lines[0].get("upstream_ms").is_none_or(Value::is_null), "{}", lines[0]);
    assert_eq!(lines[1]["code"], "unauthenticated");
    assert_eq!((&lines[2]["path"], &lines[2]["client"]), (&json!(""), &json!("127.0.0.1")));
    assert_eq!((&lines[2]["code"], &lines[2]["status"]), (&json!("bad_request"), &json!(400)));
    let series = "stytch_gateway_requests_total{route=\"app.test /*\",decision=\"allowed\",code=\"ok\"}";
    assert!(world.metric(series).await >= 1.0);
}

#[tokio::test]
async fn a_reload_is_in_force_for_the_next_check() {
    let (world, envoy) = world("").await;
    envoy.check(Check::get("/new").host("new.test")).await.refused(404, "no_route");
    let routes = "[[routes]]\nhost = \"new.test\"\npath = \"/*\"\nupstream = \"app\"\nauth = \"none\"\n";
    world.reload(&format!("{ENABLED}{routes}")).await.unwrap();
    // Each worker takes the configuration over in its own time.
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = envoy.check(Check::get("/new").host("new.test")).await;
        if answer.0.status.as_ref().unwrap().code == 0 {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "not in force in time");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

async fn health(envoy: &Envoy, service: &str) -> Result<i32, tonic::Status> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer: HealthCheckResponse = envoy.call("/grpc.health.v1.Health/Check", request).await?;
    Ok(answer.status)
}

#[tokio::test]
async fn health_says_what_readiness_does() {
    let emulator = stytch_emulator::Emulator::start(stytch_emulator::World::built_in()).await.unwrap();
    emulator.fault(Fault { status: Some(500), ..Fault::on("/v1/b2b/sessions/jwks") });
    let world = World::builder().with(ENABLED).without_waiting().start_with(emulator).await;
    let envoy = Envoy::to(world.ext_authz_address()).await;
    for service in ["", "envoy.service.auth.v3.Authorization"] {
        assert_eq!(health(&envoy, service).await.unwrap(), 2, "not serving");
    }
    assert_eq!(health(&envoy, "other").await.unwrap_err().code(), tonic::Code::NotFound);
    let session = world.session();
    envoy.check(Check::get("/reports").with(&session)).await.refused(503, "keys_unavailable");
    world.emulator.clear_faults();
    world.until_ready().await;
    assert_eq!(health(&envoy, "").await.unwrap(), 1, "serving");
}

#[tokio::test]
async fn what_is_not_a_check_is_an_error_of_the_call() {
    let (world, envoy) = world("").await;
    let unknown =
        envoy.call::<_, CheckResponse>("/envoy.service.auth.v2.Authorization/Check", CheckRequest::default());
    assert_eq!(unknown.await.unwrap_err().code(), tonic::Code::Unimplemented);
    // A text that is not UTF-8, which no text of protocol buffers may be.
    let not_a_check: Result<CheckResponse, _> =
        envoy.call("/envoy.service.auth.v3.Authorization/Check", pair("\u{e9}", b"x")).await;
    assert!(not_a_check.is_err());
    let large = Check::get("/public/x").header("x-large", vec![b'x'; 64 * 1024]);
    envoy.check(large).await.refused(431, "header_too_large");
    let many = (0..200).fold(Check::get("/public/x"), |check, at| check.header(&format!("x-{at}"), "x"));
    envoy.check(many).await.refused(431, "header_too_large");
    let huge = Check::get("/public/x").header("x-huge", vec![b'x'; 1024 * 1024]);
    assert_eq!(envoy.ask(huge).await.unwrap_err().code(), tonic::Code::ResourceExhausted);
    envoy.check(Check::get("/public/x")).await.allowed();
    // HTTP/1.1 gets no answer that could be taken for one.
    let mut connection = Connection::to(world.ext_authz_address()).await;
    connection.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    let said = connection.rest().await;
    assert!(!String::from_utf8_lossy(&said).contains("200"));
}

/// Until nobody answers any more, checks that came are answered.
#[tokio::test]
async fn draining_ends_connections_after_their_checks() {
    let (world, envoy) = world("").await;
    let session = world.session();
    world.emulator.fault(Fault { latency_ms: 300, ..Fault::on("/v1/b2b/sessions/authenticate") });
    let check = Check::get("/reports").header("cookie", format!("stytch_session={}", session.session_token));
    let under_way = tokio::spawn({
        let envoy = envoy.clone();
        async move { envoy.check(check).await.0 }
    });
    eventually("a question to Stytch", || world.stytch_calls() > 0).await;
    world.stop();
    let answer = under_way.await.unwrap();
    assert_eq!(answer.status.unwrap().code, 0);
    let refused = envoy.ask(Check::get("/public/x")).await;
    assert!(refused.is_err(), "{refused:?}");
    world.keep_secret(&session.session_token);
}

/// Without the section nothing listens, and no thread is there to.
#[tokio::test]
async fn it_is_off_by_default() {
    let world = World::start().await;
    assert!(world.has_no_ext_authz());
}
