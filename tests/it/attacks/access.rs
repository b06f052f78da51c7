//! Class E: whoever is let by without a session, by query, method or anything but the route.

use stytch_gateway::config;

use crate::world::World;

#[tokio::test]
async fn e01_the_public_path_stands_in_the_query() {
    let world = World::start().await;
    for target in
        ["/admin?x=/public/y", "/admin?/public/x", "/?/../public/x", "/admin?a=1&path=/public/", "/admin?"]
    {
        world.get(target).refused(401, "unauthenticated").await;
    }
}

#[tokio::test]
async fn e03_the_public_path_stands_further_down() {
    let world = World::start().await;
    for target in ["/admin/public/x", "/admin/public", "/x/public/", "/admin?x=/public", "/apublic/x"] {
        world.get(target).refused(401, "unauthenticated").await;
    }
}

/// A public path does not make its parent or its neighbours public, nor another host's.
#[tokio::test]
async fn e04_beside_the_public_path() {
    let world = World::start().await;
    for target in ["/", "/publi", "/public2/x"] {
        world.get(target).refused(401, "unauthenticated").await;
    }
    world.get("/public/x").host("other.test").refused(401, "unauthenticated").await;
    world.get("/public/x").host("nowhere.test").refused(404, "no_route").await;
    world.get("/public/x").host("app.test.evil.test").refused(404, "no_route").await;
}

#[tokio::test]
async fn e05_methods_are_case_sensitive() {
    let world = World::start().await;
    for method in ["get", "Get", "post", "gET", "pUT", "GET\u{a0}", "G@T", "", "GET/"] {
        let raw = world.raw(format!("{method} /admin HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        assert_eq!((raw.status(), raw.closed), (Some(400), true), "{method:?}");
    }
    assert_eq!(world.upstream_traffic(), [(0, 0); 2]);
}

/// A method that the public route does not name falls to the route that asks for a session.
#[tokio::test]
async fn e06_a_method_the_route_does_not_name() {
    let world = World::start().await;
    for method in ["DELETE", "PUT", "PATCH", "OPTIONS", "PROPFIND", "GETX", "X-GET", "PURGE"] {
        world.request(method, "/public/x").refused(401, "unauthenticated").await;
    }
}

#[tokio::test]
async fn e07_connect_and_trace() {
    let world = World::start().await;
    let session = world.session();
    for method in ["TRACE", "TRACK"] {
        world.request(method, "/").refused(405, "method_not_allowed").await;
        world.request(method, "/public/x").with(&session).refused(405, "method_not_allowed").await;
    }
    for target in ["app.test:443", "/", "other.test:80"] {
        let response = world.request("CONNECT", target).with(&session).send().await;
        assert!([400, 405].contains(&response.status), "{target} {}", response.status);
    }
    assert_eq!(world.upstream_traffic(), [(0, 0); 2]);
}

#[tokio::test]
async fn e09_head_follows_get() {
    let world = World::start().await;
    world.request("HEAD", "/admin").refused(401, "unauthenticated").await;
    world.request("HEAD", "/public/x").expect(200).await;
    assert_eq!(world.upstream.last().request_line(), "HEAD /public/x HTTP/1.1");
}

/// A preflight is one with all its marks, and even then carries no identity and passes only where
/// it was asked for.
#[tokio::test]
async fn e10_a_preflight_that_is_none() {
    let world = World::with(
        "[[routes]]\npath = \"/api/*\"\nupstream = \"app\"\ncors_preflight = \"forward\"\n\
         [[routes]]\npath = \"/*\"\nupstream = \"app\"",
    )
    .await;
    let session = world.session();
    let preflight = |method: &str, target: &str| {
        let request = world.request(method, target).header("Origin", "https://app.test");
        request.header("Access-Control-Request-Method", "DELETE")
    };
    world.request("OPTIONS", "/api/x").refused(401, "unauthenticated").await;
    world
        .request("OPTIONS", "/api/x")
        .header("Origin", "https://a.test")
        .refused(401, "unauthenticated")
        .await;
    let half = world.request("OPTIONS", "/api/x").header("Access-Control-Request-Method", "GET");
    half.refused(401, "unauthenticated").await;
    preflight("GET", "/api/x").refused(401, "unauthenticated").await;
    preflight("OPTIONS", "/x").refused(401, "unauthenticated").await;
    preflight("OPTIONS", "/api/x").jwt(&session).header("X-Stytch-Roles", "admin").expect(200).await;
    assert_eq!(super::identity(&world.upstream.last()), []);
}

#[tokio::test]
async fn e11_a_health_checkers_user_agent() {
    let world = World::start().await;
    for agent in
        ["GoogleHC/1.0", "kube-probe/1.31", "ELB-HealthChecker/2.0", "Envoy/HC", "Consul Health Check"]
    {
        world.get("/admin").header("User-Agent", agent).refused(401, "unauthenticated").await;
        world.get("/healthz").header("User-Agent", agent).refused(401, "unauthenticated").await;
    }
}

/// Nor does any other header that a client chooses.
#[tokio::test]
async fn e12_headers_that_mean_something_elsewhere() {
    let world = World::start().await;
    for (name, value) in [
        ("X-Original-URL", "/public/x"),
        ("X-HTTP-Method-Override", "OPTIONS"),
        ("X-Requested-With", "XMLHttpRequest"),
        ("X-Internal", "true"),
        ("X-Health-Check", "1"),
        ("Referer", "https://app.test/public/x"),
        ("Origin", "https://app.test"),
        ("X-Auth-Request-User", "ana"),
        ("Upgrade-Insecure-Requests", "1"),
        ("Expect", "100-continue"),
        ("Range", "bytes=0-1"),
        ("Max-Forwards", "0"),
        ("Authorization", "Basic YWRtaW46YWRtaW4="),
    ] {
        world.get("/admin").header(name, value).refused(401, "unauthenticated").await;
    }
}

/// A key that means nothing where it stands is a mistake, never silence.
#[tokio::test]
async fn e13_an_unknown_or_misplaced_key() {
    let world = World::start().await;
    let directory = tempfile::tempdir().unwrap();
    let base = "[stytch]\nproject_id = \"project-test-1\"\nsecret = \"s\"\napi_url = \"http://127.0.0.1:1\"\n\
                [upstreams.app]\nurl = \"http://127.0.0.1:1\"\n";
    for route in [
        "allowd_roles = [\"admin\"]",
        "Auth = \"required\"",
        "auth = \"Required\"",
        "auth = \"\"",
        "auth = true",
        "auth = [\"none\"]",
        "roles = [\"admin\"]",
        "allow = { role = [\"admin\"] }",
        "allow = {}",
        "kinds = []",
        "methods = []",
        "methods = [\"get\"]",
        "enforce = \"off\"",
        "skip_auth = true",
        "auth = \"required\"\nauth = \"none\"",
    ] {
        let file = directory.path().join("gateway.toml");
        let text = format!("{base}[[routes]]\npath = \"/*\"\nupstream = \"app\"\n{route}\n");
        std::fs::write(&file, text).unwrap();
        let refused = config::load(&[file], std::iter::empty()).map(|loaded| loaded.config.routes.len());
        assert!(refused.is_err(), "{route}");
        let routes = format!("[[routes]]\npath = \"/*\"\nupstream = \"app\"\n{route}\n");
        assert!(world.reload(&routes).await.is_err(), "{route}");
    }
    world.get("/admin").refused(401, "unauthenticated").await;
}

/// Two routes that could tie are a mistake, whatever their order.
#[tokio::test]
async fn e14_two_routes_for_one_path() {
    let world = World::start().await;
    let route = |path: &str, auth: &str| {
        format!("[[routes]]\npath = \"{path}\"\nupstream = \"app\"\nauth = \"{auth}\"\n")
    };
    for (one, other) in [("/a", "/a"), ("/a/*", "/a/*"), ("/{x}/b", "/{y}/b"), ("/%61", "/a")] {
        for [first, second] in [["none", "required"], ["required", "none"]] {
            let routes = route(one, first) + &route(other, second);
            assert!(world.reload(&routes).await.is_err(), "{one} {other}");
        }
    }
    let routes = route("/a/*", "none") + &route("/*", "required") + &route("/a/b", "required");
    world.reload(&routes).await.unwrap();
    world.get("/a/b").refused(401, "unauthenticated").await;
    world.get("/a/c").expect(200).await;
}

/// Cookies travel wherever a browser is sent: what may change something comes from our own pages.
#[tokio::test]
async fn e16_requests_from_another_site() {
    let world = World::start().await;
    let session = world.session();
    for origin in
        ["https://evil.test", "null", "https://app.test.evil.test", "https://evil.test/app.test", "app.test"]
    {
        let forged = world.post("/x").with(&session).header("Origin", origin).body("");
        forged.refused(403, "cross_site_request").await;
    }
    let site = world.post("/x").with(&session).header("Sec-Fetch-Site", "cross-site").body("");
    site.refused(403, "cross_site_request").await;
    let socket = world.get("/ws").with(&session).header("Origin", "https://evil.test");
    let socket = socket.header("Connection", "Upgrade").header("Upgrade", "websocket");
    socket.refused(403, "cross_site_request").await;
    world
        .post("/x")
        .bearer(&session.session_jwt)
        .header("Origin", "https://evil.test")
        .body("")
        .expect(200)
        .await;
    world.post("/x").with(&session).header("Origin", "http://app.test").body("").expect(200).await;
}
