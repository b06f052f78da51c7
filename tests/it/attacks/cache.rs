//! Class L: what is remembered, shared or missing, and whom that lets in.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use stytch_emulator::{Emulator, Fault, Session};

use crate::client::{Request, Response};
use crate::echo::Answer;
use crate::world::{World, eventually};

const AUTHENTICATE: &str = "/v1/b2b/sessions/authenticate";
const SESSION: &str = "https://stytch.com/session";

fn slow(milliseconds: u64) -> Fault {
    Fault { latency_ms: milliseconds, ..Fault::on(AUTHENTICATE) }
}

/// Stytch is there and cannot say.
fn outage() -> Fault {
    Fault { status: Some(503), ..Fault::on("/v1") }
}

/// A refusal in Stytch's own form.
fn refusal() -> Fault {
    let body = json!({ "status_code": 404, "error_type": "session_not_found", "error_message": "", "request_id": "r" });
    Fault { status: Some(404), body: Some(body), ..Fault::on(AUTHENTICATE) }
}

/// Tokens of the right shape that belong to nobody.
fn junk(number: usize) -> String {
    format!("{number:0>44}")
}

fn with_opaque<'w>(world: &'w World, token: &str) -> Request<'w> {
    world.get("/x").cookie("stytch_session", token)
}

fn member(world: &World, session: &Session) -> String {
    world.claims(session)["sub"].as_str().unwrap_or_default().to_owned()
}

/// Whom the upstream was told, in an answer that repeats what it received.
fn told(response: &Response) -> Option<String> {
    let text = response.text();
    let line = text.lines().find_map(|line| line.strip_prefix("x-stytch-session-id: "))?;
    Some(line.trim().to_owned())
}

#[tokio::test]
async fn l01_parallel_checks_do_not_mix() {
    let world = World::start().await;
    world.emulator.fault(slow(60));
    let people =
        [("ana@acme.example", "acme"), ("gil@globex.example", "globex"), ("ben@acme.example", "acme")];
    let sessions: Vec<_> =
        (0..24).map(|number| people[number % 3]).map(|(email, of)| world.session_of(email, of)).collect();
    let twice = || sessions.iter().map(|session| world.get("/x").opaque(session).send());
    let answers = join_all(twice().chain(twice())).await;
    for (answer, session) in answers.iter().zip(sessions.iter().chain(&sessions)) {
        assert_eq!(answer.status, 200);
        assert_eq!(told(answer).as_ref(), Some(&session.session_id));
    }
    assert_eq!(world.stytch_calls(), sessions.len());
}

/// What is learned of a session through one credential holds for all of them.
#[tokio::test]
async fn l02_a_session_ends_for_all_its_credentials() {
    let world = World::start().await;
    let session = world.session();
    let expired = world.aged(&session, 400);
    world.get("/x").jwt(&session).expect(200).await;
    with_opaque(&world, &session.session_token).expect(200).await;
    world.revoke(&session).await;
    world.get("/x").token(&expired).refused(401, "invalid_credential").await;
    world.get("/x").jwt(&session).refused(401, "invalid_credential").await;
    with_opaque(&world, &session.session_token).refused(401, "invalid_credential").await;
    world.get("/optional/x").jwt(&session).refused(401, "invalid_credential").await;
}

#[tokio::test]
async fn l03_a_remembered_credential_is_judged_each_time() {
    let world = World::start().await;
    let session = world.session();
    world.get("/optional/x").jwt(&session).expect(200).await;
    world.get("/x").jwt(&session).expect(200).await;
    let cross = || world.post("/x").jwt(&session).header("Origin", "https://evil.test").body("");
    cross().refused(403, "cross_site_request").await;
    let mut claims = world.claims(&session);
    claims["sub"] = json!("m2m-client-test-reports");
    claims["scope"] = json!("read:reports");
    claims
        .as_object_mut()
        .map(|claims| (claims.remove(SESSION), claims.remove("https://stytch.com/organization")));
    let client = world.emulator.token(claims).sign();
    for target in ["/optional/x", "/x", "/x"] {
        world.get(target).bearer(&client).refused(403, "kind_not_allowed").await;
    }
    world.reload("[[routes]]\nhost = \"other.test\"\npath = \"/*\"\nupstream = \"other\"").await.unwrap();
    world.get("/x").jwt(&session).refused(404, "no_route").await;
}

/// Other settings are another gate: what was remembered under the old ones is judged by the new.
#[tokio::test]
async fn l04_a_reload_that_trusts_less() {
    let world = World::with("[session]\nmax_staleness = \"5m\"").await;
    let session = world.session();
    with_opaque(&world, &session.session_token).expect(200).await;
    world.revoke(&session).await;
    with_opaque(&world, &session.session_token).expect(200).await;
    world.reload("[session]\nmax_staleness = \"0s\"").await.unwrap();
    with_opaque(&world, &session.session_token).refused(401, "invalid_credential").await;
}

#[tokio::test]
async fn l05_two_hosts_with_one_path() {
    let world = World::with(
        "[[routes]]\nhost = \"app.test\"\npath = \"/*\"\nupstream = \"app\"\n\
         [[routes]]\nhost = \"other.test\"\npath = \"/*\"\nupstream = \"other\"\nauth = \"none\"",
    )
    .await;
    for _ in 0..2 {
        world.get("/x").host("other.test").expect(200).await;
        world.get("/x").refused(401, "unauthenticated").await;
    }
    let session = world.session();
    world.get("/x").jwt(&session).expect(200).await;
    world.get("/x").refused(401, "unauthenticated").await;
    assert_eq!((world.upstream.requests().len(), world.other.requests().len()), (1, 2));
}

/// A token that was never seen before, of a session that is known to have ended.
#[tokio::test]
async fn l06_a_younger_token_of_an_ended_session() {
    let world = World::start().await;
    let session = world.session();
    let expired = world.aged(&session, 400);
    world.revoke(&session).await;
    world.get("/x").token(&expired).refused(401, "invalid_credential").await;
    world.get("/x").jwt(&session).refused(401, "invalid_credential").await;
    world.get("/x").token(&world.aged(&session, 60)).refused(401, "invalid_credential").await;
}

#[tokio::test]
async fn l07_junk_pushes_nobody_out() {
    let world = World::with("[session]\ncapacity = 16").await;
    let session = world.session();
    with_opaque(&world, &session.session_token).expect(200).await;
    world.emulator.fault(refusal());
    for batch in 0..10 {
        let tokens: Vec<_> = (0..30).map(|number| junk(batch * 30 + number)).collect();
        let answers = join_all(tokens.iter().map(|token| with_opaque(&world, token).send())).await;
        assert!(answers.iter().all(|answer| answer.status == 401));
    }
    assert_eq!(world.stytch_calls(), 301);
    with_opaque(&world, &session.session_token).expect(200).await;
    assert_eq!(world.stytch_calls(), 301);
    with_opaque(&world, &junk(299)).refused(401, "invalid_credential").await;
    assert_eq!(world.stytch_calls(), 301, "a refused token stays refused without a call");
}

/// And an address that tries too many is stopped, while its known sessions go on.
#[tokio::test]
async fn l08_junk_is_limited() {
    let world = World::with("[rate_limit]\nfailures = \"5/h\"").await;
    let session = world.session();
    with_opaque(&world, &session.session_token).expect(200).await;
    for number in 0..5 {
        with_opaque(&world, &junk(number)).refused(401, "invalid_credential").await;
    }
    for number in 5..20 {
        let limited = with_opaque(&world, &junk(number)).refused(429, "rate_limited").await;
        assert!(limited.header("retry-after").is_some());
    }
    assert_eq!(world.stytch_calls(), 6);
    with_opaque(&world, &session.session_token).expect(200).await;
    world.get("/x").jwt(&world.session()).expect(200).await;
    world.get("/x").refused(401, "unauthenticated").await;
}

#[tokio::test]
async fn l09_refused_a_moment_ago_and_valid_now() {
    let world = World::with("[session]\nnegative_ttl = \"250ms\"").await;
    let session = world.session();
    world.emulator.fault(refusal());
    with_opaque(&world, &session.session_token).refused(401, "invalid_credential").await;
    let refused_at = Instant::now();
    world.emulator.clear_faults();
    if refused_at.elapsed() < Duration::from_millis(150) {
        with_opaque(&world, &session.session_token).refused(401, "invalid_credential").await;
        assert_eq!(world.stytch_calls(), 1);
    }
    tokio::time::sleep(Duration::from_millis(260)).await;
    with_opaque(&world, &session.session_token).expect(200).await;
}

/// The refusal of one token says nothing of another, however alike.
#[tokio::test]
async fn l10_tokens_that_differ_in_a_byte() {
    let world = World::start().await;
    let session = world.session();
    let token = &session.session_token;
    let last = if token.ends_with('A') { "B" } else { "A" };
    let alike = format!("{}{last}", &token[..43]);
    with_opaque(&world, &alike).refused(401, "invalid_credential").await;
    with_opaque(&world, token).expect(200).await;
    with_opaque(&world, &alike).refused(401, "invalid_credential").await;
    assert_eq!(world.stytch_calls(), 2);
}

#[tokio::test]
async fn l11_the_first_of_many_times_out() {
    let world = World::with("[stytch]\ntimeout = \"150ms\"").await;
    let session = world.session();
    world.emulator.fault(slow(3_000));
    let answers = join_all((0..8).map(|_| world.get("/x").opaque(&session).send())).await;
    for answer in &answers {
        assert_eq!((answer.status, answer.code().as_deref()), (503, Some("stytch_unavailable")));
        assert_eq!(answer.all("set-cookie"), [""; 0]);
    }
    assert_eq!(world.upstream_traffic(), [(0, 0); 2]);
    world.emulator.clear_faults();
    with_opaque(&world, &session.session_token).expect(200).await;
}

/// Whoever asked first may go away; the others still get their answer.
#[tokio::test]
async fn l12_the_first_of_many_goes_away() {
    let world = World::start().await;
    let session = world.session();
    world.emulator.fault(slow(150));
    let mut first = world.connect().await;
    first.send(world.get("/x").opaque(&session).bytes()).await;
    eventually("a call", || world.stytch_calls() == 1).await;
    let (second, ()) = join(world.get("/x").opaque(&session).send(), async { drop(first) }).await;
    assert_eq!((second.status, world.stytch_calls()), (200, 1));
    assert_eq!(world.upstream.requests().len(), 1);
}

#[tokio::test]
async fn l13_too_many_requests_is_no_refusal() {
    let world = World::start().await;
    let known = world.session();
    with_opaque(&world, &known.session_token).expect(200).await;
    world.emulator.fault(Fault { status: Some(429), ..Fault::on(AUTHENTICATE) });
    let sessions: Vec<_> = (0..12).map(|_| world.session()).collect();
    for session in &sessions {
        let answer = with_opaque(&world, &session.session_token).refused(503, "stytch_unavailable").await;
        assert!(
            answer.header("retry-after").is_some_and(|wait| wait.parse().is_ok_and(|wait: u32| wait >= 1))
        );
        assert_eq!(answer.all("set-cookie"), [""; 0]);
    }
    assert_eq!(world.stytch_calls(), 2, "the whole project backs off");
    with_opaque(&world, &known.session_token).expect(200).await;
    world.get("/x").jwt(&sessions[0]).expect(200).await;
}

/// Only Stytch's own "no" is a no.
#[tokio::test]
async fn l14_answers_that_are_no_answer() {
    let world = World::with("[stytch]\ntimeout = \"200ms\"").await;
    let session = world.session();
    let error = |status: u16, kind: &str| {
        let body =
            json!({ "status_code": status, "error_type": kind, "error_message": "", "request_id": "r" });
        Fault { status: Some(status), body: Some(body), ..Fault::on(AUTHENTICATE) }
    };
    let answer = |status: u16, body: Value| Fault {
        status: Some(status),
        body: Some(body),
        ..Fault::on(AUTHENTICATE)
    };
    for trouble in [
        error(500, "internal_server_error"),
        error(502, "session_not_found_in_html"),
        error(401, "unauthorized_credentials"),
        error(400, "something_new"),
        answer(404, json!("<html>not found</html>")),
        answer(401, json!("")),
        answer(403, json!({ "error": "blocked by a proxy" })),
        answer(302, json!("")),
        answer(200, json!("<html>sign in to the wifi</html>")),
        answer(200, json!({})),
        answer(200, json!([])),
        answer(
            200,
            json!({ "member_session": {}, "session_jwt": "", "session_token": "", "member": {}, "organization": {} }),
        ),
        Fault { drop: true, ..Fault::on(AUTHENTICATE) },
        slow(3_000),
    ] {
        world.emulator.clear_faults();
        world.emulator.fault(trouble.clone());
        let refused = with_opaque(&world, &session.session_token).refused(503, "stytch_unavailable").await;
        assert_eq!(refused.all("set-cookie"), [""; 0], "{trouble:?}");
        assert!(refused.header("retry-after").is_some());
        world.get("/optional/x").opaque(&session).refused(503, "stytch_unavailable").await;
    }
    world.emulator.clear_faults();
    with_opaque(&world, &session.session_token).expect(200).await;
}

#[tokio::test]
async fn l15_what_is_refused_here_is_not_asked_about() {
    let world = World::start().await;
    let session = world.session();
    let broken = format!("{}AA", session.session_jwt);
    for _ in 0..3 {
        world.get("/x").token(&broken).refused(401, "invalid_credential").await;
        let forged = world.post("/x").jwt(&session).header("Origin", "https://evil.test").body("");
        forged.refused(403, "cross_site_request").await;
        world.get("/_stytch/x").jwt(&session).refused(404, "no_route").await;
        world.get("/x/../y").opaque(&session).refused(400, "ambiguous_path").await;
        world.get("/x").host("nowhere.test").opaque(&session).refused(404, "no_route").await;
    }
    world.get("/public/x").opaque(&session).expect(200).await;
    assert_eq!(world.stytch_calls(), 0);
}

/// An outage ends nobody's session: what was vouched for recently enough goes on as before.
#[tokio::test]
async fn l16_an_outage_costs_known_sessions_nothing() {
    let world = World::start().await;
    let (known, unknown) = (world.session(), world.session());
    with_opaque(&world, &known.session_token).expect(200).await;
    world.emulator.fault(outage());
    with_opaque(&world, &known.session_token).expect(200).await;
    world.get("/x").jwt(&unknown).expect(200).await;
    with_opaque(&world, &unknown.session_token).refused(503, "stytch_unavailable").await;
    world.get("/x").with(&unknown).expect(200).await;
}

#[tokio::test]
async fn l17_grace_does_not_prolong_a_life() {
    let without = World::start().await;
    let expired = without.aged(&without.session(), 400);
    without.emulator.fault(outage());
    without.get("/x").token(&expired).refused(503, "stytch_unavailable").await;

    let world = World::with("[session]\noutage_grace = \"1h\"").await;
    let session = world.session();
    let expired = world.aged(&session, 400);
    let mut over = world.claims(&session);
    for name in ["iat", "nbf", "exp"] {
        over[name] = json!(over[name].as_i64().unwrap_or_default() - 400);
    }
    over[SESSION]["expires_at"] = json!("2026-01-01T00:00:00Z");
    let over = world.emulator.token(over).sign();
    let too_old = world.aged(&session, 4000);
    world.emulator.fault(outage());
    world.get("/x").token(&expired).expect(200).await;
    world.get("/x").token(&over).refused(503, "stytch_unavailable").await;
    world.get("/x").token(&too_old).refused(503, "stytch_unavailable").await;
    world.get("/x").token(&format!("{expired}AA")).refused(401, "invalid_credential").await;
    with_opaque(&world, &session.session_token).refused(503, "stytch_unavailable").await;
    assert_eq!(world.log(1).await[0]["verification"], "stale");
}

/// `max_staleness` bounds how long a revoked session goes on, for every form of credential.
#[tokio::test]
async fn l18_a_revoked_session() {
    let world = World::with("[session]\nmax_staleness = \"0s\"").await;
    let (one, other) = (world.session(), world.session());
    world.get("/x").jwt(&one).expect(200).await;
    with_opaque(&world, &other.session_token).expect(200).await;
    world.revoke(&one).await;
    world.revoke(&other).await;
    world.get("/x").jwt(&one).refused(401, "invalid_credential").await;
    with_opaque(&world, &other.session_token).refused(401, "invalid_credential").await;
    world.get("/x").with(&other).refused(401, "invalid_credential").await;
}

/// The negative answer of a session that was valid clears its cookies; an outage never does.
#[tokio::test]
async fn l20_a_refusal_clears_cookies_and_an_outage_does_not() {
    let world = World::with("[session]\nmax_staleness = \"0s\"\nnegative_ttl = \"1s\"").await;
    let session = world.session();
    world.emulator.fault(Fault { status: Some(500), times: Some(1), ..Fault::on(AUTHENTICATE) });
    let kept = world.get("/x").opaque(&session).refused(503, "stytch_unavailable").await;
    assert_eq!(kept.all("set-cookie"), [""; 0]);
    world.revoke(&session).await;
    let cleared = world.get("/x").opaque(&session).refused(401, "invalid_credential").await;
    assert_eq!(cleared.all("set-cookie").len(), 2);
    assert!(
        cleared.all("set-cookie").iter().all(|cookie| cookie.contains("=;") && cookie.contains("Max-Age=0"))
    );
    let bearer = world.get("/x").bearer(&session.session_token).refused(401, "invalid_credential").await;
    assert_eq!(bearer.all("set-cookie"), [""; 0]);
}

/// What an upstream answers to somebody is nobody else's to see.
#[tokio::test]
async fn l22_answers_in_shared_caches() {
    let world = World::start().await;
    let session = world.session();
    world.upstream.on("/own", |_| {
        Answer::bytes("HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 0\r\n\r\n")
    });
    let control = |response: Response| response.all("cache-control").join("|");
    assert_eq!(control(world.get("/x").jwt(&session).expect(200).await), "private");
    assert_eq!(control(world.get("/own").jwt(&session).expect(200).await), "public, max-age=60");
    assert_eq!(control(world.get("/optional/x").expect(200).await), "");
    assert_eq!(control(world.get("/public/x").jwt(&session).expect(200).await), "");
}

#[tokio::test]
async fn l23_a_herd_after_a_restart() {
    let world = World::start().await;
    let known = world.session();
    world.get("/x").jwt(&known).expect(200).await;
    let sessions: Vec<_> = (0..150).map(|_| world.session()).collect();
    world.emulator.fault(slow(40));
    let herd = join_all(sessions.iter().map(|session| world.get("/x").opaque(session).send()));
    let unaffected = async {
        eventually("the herd", || world.stytch_calls() > 0).await;
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let began = Instant::now();
            world.get("/x").jwt(&known).expect(200).await;
            longest = longest.max(began.elapsed());
        }
        longest
    };
    let (answers, longest) = join(herd, unaffected).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(world.stytch_calls(), sessions.len());
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

/// A client that is gone before the answer is there leaves nothing behind.
#[tokio::test]
async fn l24_the_client_is_gone_before_the_answer() {
    let world = World::start().await;
    world.emulator.fault(slow(100));
    let sessions: Vec<_> = (0..10).map(|_| world.session()).collect();
    for session in &sessions {
        let mut connection = world.connect().await;
        connection.send(world.get("/gone").opaque(session).bytes()).await;
        drop(connection);
    }
    let last = world.session();
    with_opaque(&world, &last.session_token).expect(200).await;
    eventually("every call to end", || world.stytch_calls() >= 1).await;
    let metrics = || async { world.admin("/metrics").await.text() };
    let began = Instant::now();
    while !metrics()
        .await
        .lines()
        .any(|line| line.starts_with("stytch_gateway_connections") && line.ends_with(" 0"))
    {
        assert!(began.elapsed() < Duration::from_secs(5), "{}", metrics().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(world.log(1).await.iter().all(|line| line["status"].is_u64()));
}

/// Our own secret refused is our own fault: nobody is signed out, and operators see it.
#[tokio::test]
async fn l26_our_own_secret_is_refused() {
    let emulator = Emulator::start(stytch_emulator::World::built_in()).await.unwrap();
    let world = World::builder().with("[stytch]\nsecret = \"wrong\"").start_with(emulator).await;
    let session = world.session();
    let answer = with_opaque(&world, &session.session_token).refused(503, "stytch_unavailable").await;
    assert_eq!(answer.all("set-cookie"), [""; 0]);
    let ready = world.admin("/readyz").await.expect(503);
    assert!(ready.text().contains("stytch credentials"), "{}", ready.text());
    world.get("/x").jwt(&session).expect(200).await;
    assert_eq!(
        member(&world, &session),
        world.upstream.last().header("x-stytch-member-id").unwrap_or_default()
    );
}
