//! Stytch cannot be asked, or answers something that is not Stytch's: neither a pass nor a
//! logout, and nothing to sessions that are known well enough (DESIGN.md sections 4 and 7).

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use stytch_emulator::Fault;

use crate::client::{Connection, Response};
use crate::echo::Answer;
use crate::world::{World, until};

const AUTHENTICATE: &str = "/v1/b2b/sessions/authenticate";

/// Could not be checked: the client is told when to come back, and keeps its cookies.
fn keeps_cookies(refused: &Response) {
    let wait: u64 = refused.header("retry-after").expect("a time to wait").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(refused.all("set-cookie").is_empty(), "{:?}", refused.headers);
    assert_eq!(refused.header("www-authenticate"), None);
}

/// A world in whose Stytch one endpoint is the test's own to answer for.
pub(crate) async fn with_an_odd_stytch(
    settings: &str,
    answer: impl Fn() -> Vec<u8> + Send + Sync + 'static,
) -> World {
    let settings = format!("[stytch]\napi_url = \"$OTHER\"\ntimeout = \"1s\"\n{settings}");
    let world = World::builder().with(&settings).without_waiting().start().await;
    let mut stytch = Connection::to(world.emulator.address()).await;
    let path = format!("/v1/b2b/sessions/jwks/{}", world.emulator.project_id());
    stytch.send(format!("GET {path} HTTP/1.1\r\nHost: stytch\r\n\r\n")).await;
    let keys = stytch.response().await.unwrap().text();
    world
        .other
        .on("/v1/b2b/sessions/jwks/", move |_| Answer::bytes(http("200 OK", "application/json", &keys)));
    world.other.on(AUTHENTICATE, move |_| Answer::bytes(answer()));
    world.until_ready().await;
    world
}

pub(crate) fn http(status: &str, kind: &str, body: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body.as_bytes().to_vec()].concat()
}

fn stytch_error(status: u16, error_type: &str) -> Vec<u8> {
    let body = json!({
        "status_code": status, "request_id": "request-id-test-1", "error_type": error_type,
        "error_message": "made to order", "error_url": "https://stytch.com/docs/api/errors",
    });
    http(&format!("{status} Odd"), "application/json", &body.to_string())
}

#[tokio::test]
async fn what_could_not_be_checked_is_unavailable() {
    let faults = [
        Fault { drop: true, ..Fault::on(AUTHENTICATE) },
        Fault { status: Some(500), ..Fault::on(AUTHENTICATE) },
        Fault { status: Some(503), body: Some(json!("down")), ..Fault::on(AUTHENTICATE) },
        Fault { status: Some(429), ..Fault::on(AUTHENTICATE) },
        Fault { latency_ms: 8_000, ..Fault::on(AUTHENTICATE) },
        Fault { body: Some(json!("<html>maintenance</html>")), ..Fault::on(AUTHENTICATE) },
        Fault { status: Some(401), body: Some(json!("<html>no</html>")), ..Fault::on(AUTHENTICATE) },
        Fault { body: Some(json!({ "status_code": 200 })), ..Fault::on(AUTHENTICATE) },
    ];
    join_all(faults.map(async |fault| {
        let world = World::with("[stytch]\ntimeout = \"300ms\"").await;
        let (known, locally) = (world.session(), world.session());
        world.get("/").opaque(&known).expect(200).await;
        world.emulator.fault(fault.clone());
        let unknown = world.session();
        let began = Instant::now();
        keeps_cookies(&world.get("/").opaque(&unknown).refused(503, "stytch_unavailable").await);
        let expired = world.aged(&world.session(), 400);
        keeps_cookies(&world.get("/").token(&expired).refused(503, "stytch_unavailable").await);
        assert!(began.elapsed() < Duration::from_secs(4), "{fault:?}");
        world.get("/").opaque(&known).expect(200).await;
        world.get("/").jwt(&known).expect(200).await;
        world.get("/").jwt(&locally).expect(200).await;
        world.emulator.clear_faults();
        until("the end of the outage", async || world.get("/").opaque(&unknown).send().await.status == 200)
            .await;
    }))
    .await;
}

/// Only Stytch's own words, in its own form, refuse a session.
#[tokio::test]
async fn an_answer_that_is_not_stytchs_is_no_refusal() {
    let cases: [fn() -> Vec<u8>; 9] = [
        || stytch_error(500, "session_not_found"),
        || stytch_error(404, "some_new_error"),
        || stytch_error(403, "use_https"),
        || http("404 Not Found", "application/json", "{\"error\":\"session_not_found\"}"),
        || http("404 Not Found", "text/html", "<html>session_not_found</html>"),
        || b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec(),
        || http("200 OK", "application/json", &format!("\"{}\"", "x".repeat(2 * 1024 * 1024))),
        || http("404 Not Found", "application/json", &"x".repeat(2 * 1024 * 1024)),
        || b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(),
    ];
    join_all(cases.map(async |answer| {
        let world = with_an_odd_stytch("", answer).await;
        let session = world.session();
        world.get("/").jwt(&session).expect(200).await;
        let before = world.other.requests().len();
        let refused = world.get("/").opaque(&session).send().await.expect(503);
        assert_eq!(refused.code().as_deref(), Some("stytch_unavailable"));
        keeps_cookies(&refused);
        assert_eq!(world.other.requests().len(), before + 1);
    }))
    .await;
}

/// A 429 backs the whole project off, for as long as Stytch says.
#[tokio::test]
async fn a_rate_limit_at_stytch_holds_back_every_call() {
    let world = with_an_odd_stytch("", || {
        let limited = stytch_error(429, "too_many_requests");
        let text = String::from_utf8(limited).unwrap();
        text.replacen("Content-Type", "Retry-After: 7\r\nContent-Type", 1).into_bytes()
    })
    .await;
    let calls = || world.other.requests().iter().filter(|request| request.path() == AUTHENTICATE).count();
    let refused = world.get("/").opaque(&world.session()).send().await.expect(503);
    assert_eq!(
        (refused.code().as_deref(), refused.header("retry-after")),
        (Some("stytch_unavailable"), Some("7"))
    );
    for _ in 0..3 {
        let refused = world.get("/").opaque(&world.session()).send().await.expect(503);
        assert_eq!(refused.code().as_deref(), Some("stytch_unavailable"));
        keeps_cookies(&refused);
    }
    assert_eq!(calls(), 1);
    world.get("/").jwt(&world.session()).expect(200).await;
    let limited =
        "stytch_gateway_stytch_calls_total{endpoint=\"sessions_authenticate\",outcome=\"rate_limited\"}";
    assert_eq!(world.metric(limited).await, 1.0);
}

#[tokio::test]
async fn outage_grace_lets_known_sessions_go_on_and_says_so() {
    let world = World::with("[session]\nmax_staleness = \"10s\"\noutage_grace = \"2m\"").await;
    world.emulator.fault(Fault { status: Some(500), ..Fault::on(AUTHENTICATE) });
    let session = world.session();
    world.get("/").token(&world.aged(&session, 60)).expect(200).await;
    let mut altered = world.aged(&session, 60);
    altered.replace_range(altered.len() - 9..altered.len() - 5, "AAAA");
    world.get("/").token(&altered).refused(401, "invalid_credential").await;
    let too_old = world.aged(&session, 150);
    keeps_cookies(&world.get("/").token(&too_old).refused(503, "stytch_unavailable").await);
    keeps_cookies(&world.get("/").opaque(&session).refused(503, "stytch_unavailable").await);
    let lines = world.log(4).await;
    let stale: Vec<_> = lines.iter().filter(|line| line["verification"] == "stale").collect();
    assert_eq!((stale.len(), &stale[0]["decision"]), (1, &json!("allowed")));
    assert_eq!(world.metric("stytch_gateway_outage_grace_total").await, 1.0);
}

#[tokio::test]
async fn grace_is_for_outages_alone() {
    let world = World::with("[session]\nmax_staleness = \"10s\"\noutage_grace = \"2m\"").await;
    let session = world.session();
    world.revoke(&session).await;
    world.get("/").token(&world.aged(&session, 60)).refused(401, "invalid_credential").await;
    world.emulator.fault(Fault { status: Some(500), ..Fault::on(AUTHENTICATE) });
    world.get("/").token(&world.aged(&session, 60)).refused(401, "invalid_credential").await;
}

#[tokio::test]
async fn without_grace_a_word_that_is_too_old_does_not_count() {
    let world = World::with("[session]\nmax_staleness = \"10s\"").await;
    world.emulator.fault(Fault { status: Some(500), ..Fault::on(AUTHENTICATE) });
    let old = world.aged(&world.session(), 60);
    keeps_cookies(&world.get("/").token(&old).refused(503, "stytch_unavailable").await);
}

/// Our own secret is refused: that is the operator's to mend, and no fault of any session.
#[tokio::test]
async fn a_wrong_secret_is_an_outage_that_readyz_names() {
    let world = World::with("[stytch]\nsecret = \"secret-test-not-the-one\"").await;
    let session = world.session();
    keeps_cookies(&world.get("/").opaque(&session).refused(503, "stytch_unavailable").await);
    let ready = world.admin("/readyz").await.expect(503);
    assert_eq!(ready.json(), json!({ "ready": false, "pending": ["stytch credentials"] }));
    world.get("/").jwt(&session).expect(200).await;
    let refused =
        "stytch_gateway_stytch_calls_total{endpoint=\"sessions_authenticate\",outcome=\"secret_refused\"}";
    assert_eq!(world.metric(refused).await, 1.0);
    world.reload("").await.unwrap();
    world.until_ready().await;
    world.get("/").opaque(&session).expect(200).await;
}

/// A gateway that is not ready is sent no requests, so it must not wait for one to notice.
#[tokio::test]
async fn a_secret_that_is_good_again_is_noticed_without_a_request() {
    let world = World::start().await;
    let refusal = json!({
        "status_code": 401, "request_id": "request-id-test-1", "error_type": "unauthorized_credentials",
        "error_message": "", "error_url": "",
    });
    let refused = |path| Fault { status: Some(401), body: Some(refusal.clone()), ..Fault::on(path) };
    world.emulator.fault(refused(AUTHENTICATE));
    world.emulator.fault(refused("/v1/debug/whoami"));
    keeps_cookies(&world.get("/").opaque(&world.session()).refused(503, "stytch_unavailable").await);
    let pending: Value = world.admin("/readyz").await.expect(503).json();
    assert_eq!(pending["pending"], json!(["stytch credentials"]));
    world.emulator.clear_faults();
    world.until_ready().await;
}
