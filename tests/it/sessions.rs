//! Whose is it? What is verified here, what Stytch is asked, how often, and how old its word may
//! get (DESIGN.md section 4).

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;
use stytch_emulator::Fault;

use crate::client::Response;
use crate::world::{World, eventually, until};

const AUTHENTICATE: &str = "/v1/b2b/sessions/authenticate";

/// How each request so far was verified, as the access log says it.
async fn verifications(world: &World, requests: usize) -> Vec<String> {
    let lines = world.log(requests).await;
    lines.iter().map(|line| line["verification"].as_str().unwrap().to_owned()).collect()
}

/// A session cookie that a response sets: its value, and its attributes in order.
fn cookie<'r>(response: &'r Response, name: &str) -> Option<(&'r str, Vec<&'r str>)> {
    let mut found = response.all("set-cookie").into_iter().filter_map(|cookie| {
        let mut parts = cookie.split("; ");
        let value = parts.next()?.strip_prefix(name)?.strip_prefix('=')?;
        Some((value, parts.collect::<Vec<_>>()))
    });
    let first = found.next();
    assert!(found.next().is_none(), "{name} is set twice");
    first
}

#[tokio::test]
async fn a_jwt_is_verified_here() {
    let world = World::start().await;
    let session = world.session();
    for _ in 0..3 {
        world.get("/").jwt(&session).expect(200).await;
    }
    assert_eq!(world.stytch_calls(), 0);
    assert_eq!(verifications(&world, 3).await, ["local", "cache", "cache"]);
}

#[tokio::test]
async fn an_opaque_token_is_asked_about_once() {
    let world = World::start().await;
    let session = world.session();
    for _ in 0..3 {
        world.get("/").opaque(&session).expect(200).await;
    }
    assert_eq!(world.stytch_calls(), 1);
    assert_eq!(verifications(&world, 3).await, ["stytch", "cache", "cache"]);
}

#[tokio::test]
async fn consumer_sessions_are_checked_alike() {
    let world = World::with("[stytch]\nvertical = \"consumer\"").await;
    let session = world.emulator.session("uma@example.com").mint();
    world.get("/").jwt(&session).expect(200).await;
    assert_eq!(world.stytch_calls(), 0);
    world.get("/").opaque(&session).expect(200).await;
    world.get("/").opaque(&session).expect(200).await;
    assert_eq!(world.emulator.requests("/v1/sessions/authenticate").len(), 1);
    let received = world.upstream.last();
    assert!(received.header("x-stytch-user-id").is_some_and(|id| id.starts_with("user-")));
    assert_eq!(received.header("x-stytch-session-id"), Some(session.session_id.clone()));
    assert_eq!(received.header("x-stytch-roles").as_deref(), Some("stytch_user"));
    assert!(
        received.all("x-stytch-member-id").is_empty() && received.all("x-stytch-organization-id").is_empty()
    );
    let line = &world.log(3).await[0];
    assert!(line["user_id"].as_str().is_some_and(|id| id.starts_with("user-")));
    assert_eq!((&line["member_id"], &line["organization_id"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_session_of_the_other_vertical_is_none() {
    let world = World::start().await;
    let consumer = world.emulator.session("uma@example.com").mint();
    world.get("/").jwt(&consumer).refused(401, "invalid_credential").await;
    assert_eq!(world.stytch_calls(), 0);
    let world = World::with("[stytch]\nvertical = \"consumer\"").await;
    let member = world.session();
    world.get("/").jwt(&member).refused(401, "invalid_credential").await;
    assert_eq!(world.stytch_calls(), 0);
}

/// A JWT is Stytch's word as of its `iat`.
#[tokio::test]
async fn a_jwt_counts_for_as_long_as_max_staleness_says() {
    for (staleness, young, old) in [("5m", 270, 310), ("1m", 30, 90), ("10s", 2, 20)] {
        let settings = format!("[session]\nmax_staleness = \"{staleness}\"\nrefresh_ahead = false");
        let world = World::with(&settings).await;
        let session = world.session();
        world.get("/").token(&world.aged(&session, young)).expect(200).await;
        assert_eq!(world.stytch_calls(), 0, "{staleness}");
        world.get("/").token(&world.aged(&session, old)).expect(200).await;
        assert_eq!(world.stytch_calls(), 1, "{staleness}");
    }
}

/// An answer of the API is Stytch's word as of now.
#[tokio::test]
async fn an_answer_counts_for_as_long_as_max_staleness_says() {
    let world = World::with("[session]\nmax_staleness = \"1s\"\nrefresh_ahead = false").await;
    let session = world.session();
    let (began, mut requests) = (Instant::now(), 0);
    until("a second call", async || {
        world.get("/").opaque(&session).expect(200).await;
        requests += 1;
        world.stytch_calls() == 2
    })
    .await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    let asked = verifications(&world, requests).await.iter().filter(|how| *how == "stytch").count();
    assert_eq!(asked, 2, "all others were answered from memory");
}

#[tokio::test]
async fn with_no_staleness_stytch_is_asked_about_every_request() {
    let world = World::with("[session]\nmax_staleness = \"0s\"").await;
    let session = world.session();
    for _ in 0..3 {
        world.get("/").jwt(&session).expect(200).await;
    }
    assert_eq!(world.stytch_calls(), 3);
    world.revoke(&session).await;
    world.get("/").jwt(&session).refused(401, "invalid_credential").await;
}

#[tokio::test]
async fn concurrent_checks_of_one_credential_are_one_call() {
    let world = World::with("[server]\nworkers = 2").await;
    world.emulator.fault(Fault { latency_ms: 500, ..Fault::on(AUTHENTICATE) });
    let session = world.session();
    let expired = world.aged(&session, 400);
    let all = join_all((0..100).map(|_| world.get("/").token(&expired).send())).await;
    assert!(all.iter().all(|response| response.status == 200));
    assert_eq!(world.stytch_calls(), 1);
    let fresh = cookie(&all[0], "stytch_session_jwt").unwrap().0;
    assert!(all.iter().all(|response| cookie(response, "stytch_session_jwt").unwrap().0 == fresh));
}

#[tokio::test]
async fn fresh_credentials_are_written_back_as_cookies() {
    let world = World::start().await;
    world.upstream.on("/own", |_| {
        crate::echo::Answer::bytes("HTTP/1.1 204 No Content\r\nSet-Cookie: theme=dark\r\n\r\n")
    });
    let session = world.session();
    let expired = world.aged(&session, 400);
    let response = world.get("/own").token(&expired).expect(204).await;
    let (jwt, attributes) = cookie(&response, "stytch_session_jwt").unwrap();
    assert_eq!(attributes[..4], ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"]);
    let expires = attributes[4].strip_prefix("Expires=").unwrap();
    let expires = httpdate::parse_http_date(expires).unwrap();
    let until_end = expires.duration_since(std::time::SystemTime::now()).unwrap();
    assert!(until_end > Duration::from_secs(3500) && until_end <= Duration::from_secs(3600), "{until_end:?}");
    let (token, same) = cookie(&response, "stytch_session").unwrap();
    assert_eq!((token, same), (session.session_token.as_str(), attributes));
    assert_eq!(cookie(&response, "theme"), Some(("dark", Vec::new())));
    world.get("/").token(jwt).expect(200).await;
    assert_eq!(world.stytch_calls(), 1, "the fresh JWT is verified here");
    // Whoever comes again with the old one has been given the new one already.
    let again = world.get("/").token(&expired).expect(200).await;
    assert!(again.all("set-cookie").is_empty());
}

#[tokio::test]
async fn cookies_are_written_back_as_the_settings_say() {
    let settings = "[session]\ncookie = \"sid\"\njwt_cookie = \"sid_jwt\"\n\
        cookies = { domain = \"app.test\", http_only = false, secure = false, same_site = \"strict\" }";
    let world = World::with(settings).await;
    let session = world.session();
    let response = world.get("/").cookie("sid", &session.session_token).expect(200).await;
    let (_, attributes) = cookie(&response, "sid_jwt").unwrap();
    assert_eq!(attributes[..3], ["Path=/", "Domain=app.test", "SameSite=Strict"]);
    assert!(cookie(&response, "sid").is_some());
    let refused = world.get("/").cookie("sid_jwt", "not.a.jwt").refused(401, "invalid_credential").await;
    let cleared: Vec<_> = refused.all("set-cookie").into_iter().map(str::to_owned).collect();
    assert_eq!(cleared.len(), 4, "host-only and domain variants of both: {cleared:?}");
    assert!(cleared.iter().all(|cookie| cookie.ends_with("; Max-Age=0")), "{cleared:?}");
}

#[tokio::test]
async fn whoever_came_without_a_cookie_is_given_none() {
    let world = World::with("[session]\nheader = \"X-Session\"").await;
    let session = world.session();
    let expired = world.aged(&session, 400);
    let response = world.get("/").bearer(&expired).expect(200).await;
    assert!(response.all("set-cookie").is_empty());
    let response = world.get("/").header("X-Session", &session.session_token).expect(200).await;
    assert!(response.all("set-cookie").is_empty());
}

#[tokio::test]
async fn an_active_session_is_checked_again_before_its_word_gets_old() {
    let world = World::start().await;
    world.emulator.fault(Fault { latency_ms: 300, ..Fault::on(AUTHENTICATE) });
    let session = world.session();
    let aging = world.aged(&session, 285);
    let response = world.get("/").token(&aging).expect(200).await;
    assert!(response.all("set-cookie").is_empty(), "nobody waited for the call");
    assert_eq!(verifications(&world, 1).await, ["local"]);
    let mut renewed = None;
    until("the fresh JWT", async || {
        let response = world.get("/").token(&aging).expect(200).await;
        renewed = cookie(&response, "stytch_session_jwt").map(|(jwt, _)| jwt.to_owned());
        renewed.is_some()
    })
    .await;
    assert_eq!(world.stytch_calls(), 1);
    let log = verifications(&world, 2).await;
    assert!(!log.contains(&"stytch".to_owned()), "no request asked by itself: {log:?}");
    world.get("/").token(&renewed.unwrap()).expect(200).await;
    assert_eq!(world.stytch_calls(), 1);
}

#[tokio::test]
async fn without_refresh_ahead_nothing_is_asked_in_the_background() {
    let world = World::with("[session]\nrefresh_ahead = false").await;
    let session = world.session();
    world.get("/").token(&world.aged(&session, 285)).expect(200).await;
    world.get("/").token(&world.aged(&session, 285)).expect(200).await;
    assert_eq!(world.stytch_calls(), 0);
}

#[tokio::test]
async fn a_session_that_is_revoked_ends_within_the_bound() {
    let world = World::with("[session]\nmax_staleness = \"1s\"").await;
    let session = world.session();
    world.get("/").with(&session).expect(200).await;
    world.revoke(&session).await;
    let revoked = Instant::now();
    // What passes must have been sent within the bound, however long the answer took.
    let mut last_passed = Duration::ZERO;
    until("the end of the session", async || {
        let sent = revoked.elapsed();
        let passed = world.get("/").with(&session).send().await.status != 401;
        if passed {
            last_passed = sent;
        }
        !passed
    })
    .await;
    assert!(last_passed <= Duration::from_secs(1), "{last_passed:?}");
    world.get("/").jwt(&session).refused(401, "invalid_credential").await;
    world.get("/").opaque(&session).refused(401, "invalid_credential").await;
}

/// Within `max_staleness` a JWT is Stytch's word; what a check in the background learns counts at
/// once, for every credential of the session.
#[tokio::test]
async fn what_is_learned_of_a_session_counts_for_all_its_credentials() {
    let world = World::start().await;
    let session = world.session();
    let young = world.aged(&session, 10);
    world.get("/").token(&young).expect(200).await;
    world.revoke(&session).await;
    world.get("/").token(&young).expect(200).await;
    world.get("/").token(&world.aged(&session, 285)).expect(200).await;
    eventually("the check in the background", || world.stytch_calls() == 1).await;
    until("the end of the session", async || world.get("/").token(&young).send().await.status == 401).await;
}

#[tokio::test]
async fn a_session_that_has_ended_at_stytch_is_over() {
    let world = World::start().await;
    let session = world.emulator.session("ana@acme.example").organization("acme").minutes(5).mint();
    let expired = world.aged(&session, 400);
    world.emulator.advance_clock(Duration::from_secs(301));
    let refused = world.get("/").opaque(&session).refused(401, "invalid_credential").await;
    assert_eq!(refused.all("set-cookie").len(), 2, "{:?}", refused.all("set-cookie"));
    world.get("/").token(&expired).refused(401, "invalid_credential").await;
}

#[tokio::test]
async fn a_refused_credential_stays_refused_for_a_while() {
    let world = World::with("[session]\nnegative_ttl = \"1s\"").await;
    let junk = "x".repeat(44);
    let began = Instant::now();
    for _ in 0..5 {
        world.get("/").cookie("stytch_session", &junk).refused(401, "invalid_credential").await;
    }
    assert!(world.stytch_calls() == 1 || began.elapsed() >= Duration::from_secs(1));
    until("another call", async || {
        world.get("/").cookie("stytch_session", &junk).refused(401, "invalid_credential").await;
        world.stytch_calls() == 2
    })
    .await;
    assert!(began.elapsed() >= Duration::from_secs(1));
}

/// However many tokens are made up, the sessions that are known stay known.
#[tokio::test]
async fn junk_cannot_push_out_sessions() {
    let world = World::with("[session]\ncapacity = 8").await;
    let session = world.session();
    world.get("/").opaque(&session).expect(200).await;
    let mut connection = world.connect().await;
    for number in 0..40 {
        let junk = format!("{number:a>44}");
        let response = world.get("/").cookie("stytch_session", &junk).send_on(&mut connection).await;
        assert_eq!(response.status, 401);
    }
    assert_eq!(world.stytch_calls(), 41);
    world.get("/").opaque(&session).expect(200).await;
    assert_eq!(world.stytch_calls(), 41);
}

#[tokio::test]
async fn only_what_could_be_real_is_asked_about() {
    let world = World::start().await;
    let session = world.session();
    let foreign = world.emulator.token(world.claims(&session)).key(stytch_emulator::Key::Foreign).sign();
    let mut other = world.claims(&session);
    other["aud"] = "project-test-another".into();
    let other = world.emulator.token(other).sign();
    for junk in
        ["short", "not.a.jwt", &"x".repeat(45), &foreign, &other, &format!("{}x", session.session_jwt)]
    {
        world.get("/").bearer(junk).refused(401, "invalid_credential").await;
        world.get("/").token(junk).refused(401, "invalid_credential").await;
    }
    assert_eq!(world.stytch_calls(), 0);
    let lines = world.log(12).await;
    assert!(lines.iter().all(|line| line["reason"].is_string()));
}
