//! Row F: host, authority and the forms of a target. Whatever is judged is what is forwarded.

use super::{SMUGGLED, refused};
use crate::world::World;

fn with_host(host: &str) -> String {
    format!("GET /public/a HTTP/1.1\r\nHost: {host}\r\n\r\n{SMUGGLED}")
}

fn with_target(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n{SMUGGLED}")
}

async fn hosts_are_refused(hosts: &[&str]) {
    let world = World::start().await;
    for host in hosts {
        refused(&world, with_host(host)).await;
    }
}

async fn targets_are_refused(targets: &[&str]) {
    let world = World::start().await;
    for target in targets {
        refused(&world, with_target(target)).await;
    }
}

#[tokio::test]
async fn f01_a_rootless_absolute_target() {
    targets_are_refused(&["http:http://internal/admin"]).await;
}

#[tokio::test]
async fn f02_other_targets_in_none_of_the_four_forms() {
    targets_are_refused(
        &[
            "http:/app.test/",
            "http:app.test",
            "http//app.test/",
            "ftp://app.test/",
            "file:///etc/passwd",
            "//app.test@other.test:80x",
            "app.test/public/a",
            "app.test:80",
            "public/a",
            "?a",
            "*",
            "",
            "http://",
            "http:///public/a",
            "http://?a",
            "/public/a#b",
            "#",
            "/public/a b",
            "/public/a\tb",
            "/public/a\0",
            "/public/\u{e9}",
        ]
        .iter()
        .filter(|target| !target.starts_with("//"))
        .copied()
        .collect::<Vec<_>>(),
    )
    .await;
}

#[tokio::test]
async fn f03_an_absolute_target_is_its_path() {
    let world = World::start().await;
    for target in
        ["http://app.test/public/a?b=c", "HTTP://APP.TEST/public/a?b=c", "https://app.test./public/a?b=c"]
    {
        let raw = world.raw(format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        assert_eq!(raw.status(), Some(200), "{target}");
        assert_eq!(world.upstream.last().request_line(), "GET /public/a?b=c HTTP/1.1");
        assert_eq!(world.upstream.last().header("host").as_deref(), Some("app.test"));
    }
    let before = world.upstream_traffic();
    for target in ["http://app.test/admin", "http://app.test", "http://app.test?/public/a"] {
        let raw = world.raw(format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        world.check_refusal(target, &raw.response.unwrap(), 401, "unauthenticated", before);
    }
}

#[tokio::test]
async fn f04_an_absolute_target_is_normalised_like_any() {
    let world = World::start().await;
    let before = world.upstream_traffic();
    for path in
        ["/public/../admin", "//public/a", "/public/%2e%2e/admin", "/public%2f..%2fadmin", "/public/\\..\\a"]
    {
        let raw = world.raw(format!("GET http://app.test{path} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        let response = raw.response.unwrap();
        if response.code().as_deref() != Some("bad_request") {
            world.check_refusal(path, &response, 400, "ambiguous_path", before);
        }
        assert_eq!(response.status, 400);
    }
    assert_eq!(world.upstream_traffic(), before);
}

#[tokio::test]
async fn f05_a_user_in_front_of_the_host() {
    targets_are_refused(&["http://app.test@other.test/", "http://a:b@app.test/public/a"]).await;
    hosts_are_refused(&["app.test@other.test", "a:b@app.test"]).await;
}

#[tokio::test]
async fn f06_a_host_that_ends_early_or_late() {
    hosts_are_refused(&[
        "app.test/public",
        "app.test?",
        "app.test#",
        "app.test\\",
        "app.test%00",
        "app%2etest",
        "app.test other.test",
        "app.test;",
        "app.test:",
        "app.test:0x50",
        "app.test:80:80",
        "app.test:65536",
        "app.test:080",
        ":80",
        "-:x",
        "app..test",
        ".app.test",
        "app.test..",
        "'app.test'",
        "<app.test>",
        "*",
    ])
    .await;
}

#[tokio::test]
async fn f07_a_trailing_dot() {
    let world = World::start().await;
    world.get("/public/a").host("app.test.").expect(200).await;
    world.get("/admin").host("app.test.").refused(401, "unauthenticated").await;
}

#[tokio::test]
async fn f08_case_and_port_do_not_change_the_host() {
    let world = World::start().await;
    for host in ["APP.test", "app.test:8080", "App.Test.:1"] {
        world.get("/public/a").host(host).expect(200).await;
        world.get("/admin").host(host).refused(401, "unauthenticated").await;
    }
}

#[tokio::test]
async fn f09_more_than_one_host() {
    hosts_are_refused(&[
        "app.test\r\nHost: app.test",
        "app.test\r\nHost: other.test",
        "app.test\r\nhost:",
        "app.test,other.test",
        "app.test, app.test",
    ])
    .await;
}

#[tokio::test]
async fn f10_no_host() {
    let world = World::start().await;
    refused(&world, format!("GET /public/a HTTP/1.1\r\n\r\n{SMUGGLED}")).await;
    refused(&world, format!("GET http://app.test/public/a HTTP/1.1\r\n\r\n{SMUGGLED}")).await;
    refused(&world, with_host("")).await;
    refused(&world, with_host(" \t ")).await;
    // HTTP/1.0 has none, and then no route is for it.
    let raw = world.raw("GET /public/a HTTP/1.0\r\n\r\n").await;
    assert_eq!(raw.status(), Some(404));
}

#[tokio::test]
async fn f12_a_target_and_a_host_that_disagree() {
    targets_are_refused(&[
        "http://other.test/public/a",
        "http://app.test:80/public/a",
        "http://127.0.0.1/public/a",
    ])
    .await;
}

#[tokio::test]
async fn f13_other_alphabets() {
    hosts_are_refused(&["\u{430}pp.test", "app\u{3002}test", "app.te\u{df}t", "\u{ff41}pp.test"]).await;
    let world = World::start().await;
    for host in ["xn--pp-6kc.test", "xn--app-.test"] {
        world.get("/public/a").host(host).refused(404, "no_route").await;
    }
}

#[tokio::test]
async fn f14_bytes_that_are_no_text() {
    let world = World::start().await;
    refused(&world, b"GET /public/a HTTP/1.1\r\nHost: app.\xfftest\r\n\r\n").await;
    refused(&world, b"GET /public/a HTTP/1.1\r\nHost: app.test\0\r\n\r\n").await;
    refused(&world, b"GET /public/\xff HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    refused(&world, b"GET http://app.t\xe9st/ HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
}

#[tokio::test]
async fn f17_addresses() {
    let routes = "[[routes]]\nhost = \"[::1]\"\npath = \"/*\"\nupstream = \"app\"\nauth = \"none\"\n";
    let world = World::with(routes).await;
    for host in ["[::1]", "[0:0:0:0:0:0:0:1]:80"] {
        world.get("/public/a").host(host).expect(200).await;
    }
    for host in ["[::1", "::1", "[::1]x", "[::1]:", "[::1%25lo]", "[1.2.3.4]", "[]", "[", "]"] {
        refused(&world, with_host(host)).await;
    }
}

#[tokio::test]
async fn f18_addresses_in_the_target() {
    targets_are_refused(&[
        "http://[::1/",
        "http://[::1]x/",
        "http://::1/",
        "http://[1:2:3:4:5:6:7:8:9]/",
        "http://[::1%25lo]/",
        "http://[]/",
    ])
    .await;
}

#[tokio::test]
async fn options_of_everything_is_answered_here() {
    let world = World::start().await;
    let before = world.upstream_traffic();
    let raw = world.raw("OPTIONS * HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    assert_eq!(raw.status(), Some(204));
    assert!(raw.response.unwrap().header("allow").is_some());
    assert_eq!(world.upstream_traffic(), before);
    for line in ["GET *", "POST *", "OPTIONS **", "OPTIONS *a", "OPTIONS */"] {
        refused(&world, format!("{line} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
    }
}
