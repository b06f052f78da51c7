//! Several instances of an upstream: which is asked, which is left alone, and what is asked again.

use std::time::Instant;

use super::{OK, failed, nobody};
use crate::echo::{Answer, Echo, Received, Step};
use crate::world::{World, until};

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

/// A world whose one public route goes to both upstreams, with these settings.
async fn pair(settings: &str) -> World {
    with_urls("urls = [\"$APP\", \"$OTHER\"]", settings).await
}

async fn with_urls(urls: &str, settings: &str) -> World {
    World::with(&format!(
        "[upstreams.pair]\n{urls}\n{settings}\n\
         [[routes]]\npath = \"/*\"\nupstream = \"pair\"\nauth = \"none\""
    ))
    .await
}

/// Requests with this path that an upstream has seen.
fn seen(upstream: &Echo, path: &str) -> usize {
    upstream.requests().iter().filter(|request| request.path() == path).count()
}

fn is_check(received: &Received) -> bool {
    received.path() == "/healthz"
}

async fn endpoint_up(world: &World, of: &Echo) -> f64 {
    let series =
        format!("stytch_gateway_upstream_endpoint_up{{upstream=\"pair\",address=\"{}\"}}", of.address());
    world.metric(&series).await
}

#[tokio::test]
async fn the_less_busy_instance_is_asked() {
    let world = pair("balance = \"least_requests\"").await;
    for upstream in [&world.upstream, &world.other] {
        upstream.on("/held", |_| Answer::steps([Step::Hold]));
    }
    let mut holding = world.connect().await;
    holding.send(world.get("/held").bytes()).await;
    until("a request that lasts", async || seen(&world.upstream, "/held") + seen(&world.other, "/held") == 1)
        .await;
    for _ in 0..10 {
        world.get("/x").expect(200).await;
    }
    let (busy, idle) = match seen(&world.upstream, "/held") {
        1 => (&world.upstream, &world.other),
        _ => (&world.other, &world.upstream),
    };
    assert_eq!((seen(busy, "/x"), seen(idle, "/x")), (0, 10));
}

/// Nobody listens at the first, and whoever comes is served all the same, body and all.
#[tokio::test]
async fn a_connection_refused_is_tried_at_the_next_instance() {
    let world = with_urls(&format!("urls = [\"http://{}\", \"$APP\"]", nobody()), "").await;
    for number in 0..6 {
        let body = format!("body {number}");
        world.post("/x").body(&body).expect(200).await;
        assert_eq!(world.upstream.last().body, body.as_bytes());
    }
    assert_eq!(world.upstream.traffic().1, 6);
    assert_eq!(world.metric("stytch_gateway_upstream_retries_total{upstream=\"pair\"}").await, 0.0);
}

/// `localhost` has two addresses where there is IPv6, and one of them is no use here.
#[tokio::test]
async fn a_name_is_looked_up() {
    let world = World::start().await;
    let port = world.upstream.address().port();
    world.reload(&format!("[upstreams.app]\nurl = \"http://localhost:{port}\"")).await.unwrap();
    for _ in 0..4 {
        world.get("/public/x").expect(200).await;
    }
}

#[tokio::test]
async fn a_name_without_an_address_is_unreachable() {
    let world =
        World::with("[upstreams.app]\nurl = \"http://nowhere.invalid\"\ntimeouts.connect = \"200ms\"").await;
    failed(&world, "/public/x", 502, "upstream_unreachable").await;
}

#[tokio::test]
async fn an_instance_that_fails_its_checks_is_not_asked() {
    let world = World::start().await;
    for upstream in [&world.upstream, &world.other] {
        upstream.on("/healthz", |_| Answer::bytes(OK));
    }
    world.upstream.on("/healthz", |_| Answer::bytes(UNAVAILABLE));
    let settings = "[upstreams.pair]\nurls = [\"$APP\", \"$OTHER\"]\n\
        health = { path = \"/healthz\", interval = \"50ms\", timeout = \"5s\" }\n\
        [[routes]]\npath = \"/*\"\nupstream = \"pair\"\nauth = \"none\"";
    world.reload(settings).await.unwrap();
    until("a verdict", async || endpoint_up(&world, &world.upstream).await == 0.0).await;
    for _ in 0..6 {
        world.get("/x").expect(200).await;
    }
    assert_eq!((seen(&world.upstream, "/x"), seen(&world.other, "/x")), (0, 6));
    let check = world.other.requests().into_iter().find(is_check).unwrap();
    assert_eq!(check.header("host").unwrap(), world.other.address().to_string());

    world.other.on("/healthz", |_| Answer::bytes(UNAVAILABLE));
    until("nobody is left", async || world.get("/x").send().await.status == 503).await;
    failed(&world, "/x", 503, "no_healthy_upstream").await;

    world.upstream.on("/healthz", |_| Answer::bytes("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"));
    until("one is back", async || world.get("/x").send().await.status == 200).await;
    assert!(endpoint_up(&world, &world.upstream).await > 0.0);
    assert!(seen(&world.upstream, "/x") > 0);
    let checks = "stytch_gateway_upstream_health_checks_total{upstream=\"pair\",outcome=\"failed\"}";
    assert!(world.metric(checks).await >= 4.0);
}

#[tokio::test]
async fn an_instance_that_fails_again_and_again_is_left_alone_for_a_while() {
    let world = pair("outlier = { failures = 3, eject = \"1s\" }").await;
    world.upstream.on("/", |_| Answer::bytes(UNAVAILABLE));
    let ejections = "stytch_gateway_upstream_ejections_total{upstream=\"pair\"}";
    let began = Instant::now();
    let mut failed = 0;
    while world.metric(ejections).await < 1.0 {
        failed += usize::from(world.get("/x").send().await.status == 503);
    }
    assert_eq!(failed, 3);
    assert_eq!(seen(&world.upstream, "/x"), 3);
    for _ in 0..6 {
        let asked = seen(&world.upstream, "/x");
        let status = world.get("/x").send().await.status;
        assert!(status == 200 || asked < seen(&world.upstream, "/x") && began.elapsed().as_secs() >= 1);
    }
    world.upstream.on("/", |_| Answer::bytes(OK));
    until("it is asked again", async || {
        world.get("/later").expect(200).await;
        seen(&world.upstream, "/later") > 0
    })
    .await;
    assert!(began.elapsed().as_millis() >= 1000);
}

#[tokio::test]
async fn the_only_instance_is_never_left_alone() {
    let world = with_urls("url = \"$APP\"", "outlier = { failures = 1, eject = \"9s\" }").await;
    world.upstream.on("/", |_| Answer::bytes(UNAVAILABLE));
    for _ in 0..4 {
        world.get("/x").expect(503).await;
    }
    assert_eq!(world.upstream.traffic().1, 4);
}

/// One closes every connection without a word.
#[tokio::test]
async fn what_is_safe_to_repeat_is_sent_to_another_instance() {
    let world = pair("retries = 1").await;
    world.upstream.on("/", |_| Answer::steps([Step::Close]));
    for _ in 0..6 {
        world.get("/x").expect(200).await;
    }
    assert_eq!(world.other.traffic().1, 6);
    let retries = world.upstream.traffic().1;
    assert!(retries >= 2, "{retries} of 6 went to the one that closes");
    let counted = world.metric("stytch_gateway_upstream_retries_total{upstream=\"pair\"}").await;
    assert_eq!(counted, retries as f64);
    let statuses = [world.post("/y").send().await.status, world.post("/y").send().await.status];
    assert!(statuses.contains(&502), "{statuses:?}");
    assert_eq!(seen(&world.upstream, "/y") + seen(&world.other, "/y"), 2, "each went out once");
}

#[tokio::test]
async fn what_was_answered_in_part_is_not_repeated() {
    let world = with_urls("url = \"$APP\"", "retries = 3\ntimeouts.response = \"300ms\"").await;
    world.upstream.on("/part", |_| Answer::steps([Step::Send(b"HTTP/1.1 2".to_vec()), Step::Close]));
    world.upstream.on("/early", |_| {
        Answer::steps([Step::Send(b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec()), Step::Close])
    });
    world.upstream.on("/never", |_| Answer::steps([Step::Hold]));
    for (path, status) in [("/part", 502), ("/early", 502), ("/never", 504)] {
        world.get(path).expect(status).await;
        assert_eq!(seen(&world.upstream, path), 1, "{path}");
    }
}

#[tokio::test]
async fn retries_do_not_add_up_in_an_outage() {
    let world = with_urls("url = \"$APP\"", "retries = 3").await;
    world.upstream.on("/", |_| Answer::steps([Step::Close]));
    let began = Instant::now();
    for _ in 0..100 {
        world.get("/x").expect(502).await;
    }
    let (asked, seconds) = (world.upstream.traffic().1, began.elapsed().as_secs() as usize);
    // Ten that are saved at first, a fifth, and one a second.
    assert!((120..=100 + 10 + 26 + seconds * 2 + 2).contains(&asked), "{asked} in {seconds} s");
}
