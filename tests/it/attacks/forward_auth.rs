//! Rows of several classes, at the door that only answers: what it cannot take out it refuses.

use serde_json::json;

use crate::forward_auth::{ASKED, Front};
use crate::world::World;

#[tokio::test]
async fn a03_identity_that_nobody_here_can_strip() {
    let headers = "[identity.headers]\nREMOTE_USER = \"{session.session_id}\"\n";
    let world = World::builder().with(ASKED).with(headers).start().await;
    let session = world.session();
    for front in Front::ALL {
        for name in [
            "X-Stytch-Member-Id",
            "X_Stytch_Member_Id",
            "x-stytch_member.id",
            "X-Stytch-Future",
            "X-Stytch-Assertion",
            "Remote-User",
            "REMOTE_USER",
        ] {
            for target in ["/x", "/public/x", "/optional/x"] {
                let request = front.asks(&world, "GET", target).jwt(&session).header(name, "attacker");
                request.refused(403, "spoofed_identity").await;
            }
        }
    }
}

#[tokio::test]
async fn c20_both_dialects_at_once() {
    let world = World::with(ASKED).await;
    let session = world.session();
    for (name, value) in [("X-Forwarded-Uri", "/public/x"), ("X-Forwarded-Method", "GET")] {
        let request = Front::Nginx.asks(&world, "GET", "/x").jwt(&session);
        request.header(name, value).refused(403, "bad_request").await;
        let request = Front::Envoy.asks(&world, "GET", "/x").jwt(&session);
        request.header(name, value).refused(403, "bad_request").await;
    }
    for front in [Front::Traefik, Front::Envoy] {
        for (name, value) in [("X-Original-URL", "http://app.test/public/x"), ("X-Original-Method", "GET")] {
            let request = front.asks(&world, "GET", "/x").jwt(&session);
            request.header(name, value).refused(403, "bad_request").await;
        }
    }
    let names = [
        "X-Rewrite-URL",
        "X-Envoy-Original-Path",
        "X-Original-Uri",
        "x_original_url",
        "X-HTTP-Method-Override",
    ];
    for front in Front::ALL {
        for name in names {
            let request = front.asks(&world, "GET", "/public/x").header(name, "/admin");
            request.refused(403, "bad_request").await;
        }
    }
}

/// Addresses are believed as far as trusted proxies vouch for them, and decide nothing.
#[tokio::test]
async fn c22_addresses_that_are_claimed() {
    let world = World::with(ASKED).await;
    for (number, (claimed, client)) in [
        ("192.0.2.66, 203.0.113.9", "203.0.113.9"),
        ("192.0.2.66, 203.0.113.9, 127.0.0.1", "203.0.113.9"),
        (",,;[::", "127.0.0.1"),
    ]
    .into_iter()
    .enumerate()
    {
        let request = world
            .get("/_stytch/auth")
            .header("X-Original-Method", "GET")
            .header("X-Original-URL", "http://app.test/x")
            .header("X-Forwarded-For", claimed);
        request.refused(401, "unauthenticated").await;
        assert_eq!(world.log(number + 1).await[number]["client"], json!(client));
    }
}

#[tokio::test]
async fn d27_the_raw_target_is_passed_on() {
    let world = World::with(ASKED).await;
    let session = world.session();
    for target in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/.%2e/admin",
        "//admin",
        "/public//../admin",
        "/public%2f..%2fadmin",
        "/public%5c..%5cadmin",
        "/public/..;/admin",
        "/public/x%00",
        "/%zz",
    ] {
        for front in [Front::Nginx, Front::Traefik] {
            front.asks(&world, "GET", target).refused(403, "ambiguous_path").await;
            front.asks(&world, "GET", target).jwt(&session).refused(403, "ambiguous_path").await;
        }
        // Envoy's is a target of ours already.
        Front::Envoy.asks(&world, "GET", target).jwt(&session).refused(400, "ambiguous_path").await;
    }
    for target in ["/%61dmin", "/admin;x=1/panel", "/publicx", "/admin?x=/public/x"] {
        for front in Front::ALL {
            front.asks(&world, "GET", target).refused(401, "unauthenticated").await;
        }
    }
}

#[tokio::test]
async fn e11_health_checkers_are_nobody_special() {
    let world = World::with(ASKED).await;
    for agent in ["GoogleHC/1.0", "kube-probe/1.31", "ELB-HealthChecker/2.0"] {
        for front in Front::ALL {
            let request = front.asks(&world, "GET", "/admin").header("User-Agent", agent);
            request.refused(401, "unauthenticated").await;
        }
    }
}

#[tokio::test]
async fn l27_answers_in_the_front_proxys_cache() {
    let world = World::with(ASKED).await;
    let session = world.session();
    for front in Front::ALL {
        for request in [front.asks(&world, "GET", "/x").jwt(&session), front.asks(&world, "GET", "/public/x")]
        {
            assert_eq!(request.expect(200).await.all("cache-control"), ["no-store"]);
        }
        front.asks(&world, "GET", "/x").refused(401, "unauthenticated").await;
    }
}

#[tokio::test]
async fn p01_a_malformed_original_is_no_pass() {
    let world = World::with(ASKED).await;
    let session = world.session();
    let asks = |method: &str, url: &str| {
        let request = world.get("/_stytch/auth").jwt(&session);
        request.header("X-Original-Method", method).header("X-Original-URL", url)
    };
    for url in [
        "http://[::1",
        "http://[::1/public/x",
        "http://app.test/%zz",
        "/public/x",
        "",
        "http://",
        "http://app.test/public/x#",
        "http://app.test/public/x /y",
        "http://user@app.test/public/x",
        "http://app.test\\@evil.test/public/x",
        "ftp://app.test/public/x",
        "http://app.test/\u{ff0e}",
    ] {
        let response = asks("GET", url).expect(403).await;
        assert!(
            ["bad_request", "ambiguous_path"].contains(&response.header("x-stytch-code").unwrap()),
            "{url}"
        );
    }
    for method in ["", "get", "GET /public", "CONNECT", "TRACK"] {
        asks(method, "http://app.test/public/x").expect(403).await;
    }
    for path in ["/_stytch/auth", "/_stytch/auth/redirect"] {
        world.get(path).jwt(&session).refused(403, "bad_request").await;
    }
    let raw = world
        .raw(b"GET /_stytch/auth HTTP/1.1\r\nHost: a\r\nX-Original-Method: GET\r\nX-Original-URL: http://app.test/\xff\r\n\r\n")
        .await;
    assert_eq!(raw.status(), Some(403));
}
