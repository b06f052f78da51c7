//! What a caller may present, in which order it is looked at, and which kinds of it pass
//! (DESIGN.md section 4); and requests that pass, or do not, without any.

use serde_json::json;
use stytch_emulator::Session;

use crate::client::Request;
use crate::echo::{Answer, Step};
use crate::world::World;

/// Whose session the upstream was told of.
fn session_id(world: &World) -> String {
    world.upstream.last().header("x-stytch-session-id").expect("an identity")
}

fn asking_for_a_websocket(request: Request<'_>) -> Request<'_> {
    request.header("Connection", "Upgrade").header("Upgrade", "websocket")
}

#[tokio::test]
async fn sources_are_looked_at_in_their_order() {
    let world = World::with("[session]\nheader = \"X-Session\"\nwebsocket_query = \"session\"").await;
    let sessions: [Session; 5] = std::array::from_fn(|_| world.session());
    let [bearer, header, jwt, opaque, query] = &sessions;
    // Learned beforehand, so that all five are known here.
    world.get("/").opaque(opaque).expect(200).await;
    let target = format!("/ws?session={}", query.session_jwt);
    for (first, expected) in sessions.iter().enumerate() {
        let mut request = asking_for_a_websocket(world.get(&target));
        if first == 0 {
            request = request.bearer(&bearer.session_jwt);
        }
        if first <= 1 {
            request = request.header("X-Session", &header.session_jwt);
        }
        // The opaque cookie stands first in the request, and comes after the JWT all the same.
        if first <= 3 {
            request = request.opaque(opaque);
        }
        if first <= 2 {
            request = request.jwt(jwt);
        }
        request.expect(200).await;
        assert_eq!(session_id(&world), expected.session_id, "without the first {first}");
    }
    assert_eq!(world.stytch_calls(), 1);
}

#[tokio::test]
async fn a_malformed_credential_is_not_skipped_over() {
    let world = World::with("[session]\nheader = \"X-Session\"").await;
    let session = world.session();
    world.get("/").bearer("junk").with(&session).refused(401, "invalid_credential").await;
    world.get("/").header("Authorization", "Bearer").with(&session).refused(401, "invalid_credential").await;
    world.get("/").header("X-Session", "").with(&session).refused(401, "invalid_credential").await;
    world.get("/").token("a.b").opaque(&session).refused(401, "invalid_credential").await;
    world.get("/").header("Authorization", "Basic YTpi").with(&session).expect(200).await;
    assert_eq!(world.upstream.last().header("authorization").as_deref(), Some("Basic YTpi"));
}

#[tokio::test]
async fn only_an_expired_jwt_falls_back_to_the_token_beside_it() {
    let world = World::start().await;
    let session = world.session();
    let expired = world.aged(&session, 400);
    world.get("/").token(&expired).opaque(&session).expect(200).await;
    assert_eq!(world.stytch_calls(), 1, "the answer about one is about both");
    let ended = world.session();
    let late = world.aged(&ended, 400);
    world.revoke(&ended).await;
    world.get("/").token(&late).opaque(&session).expect(200).await;
    let mut forged = world.session().session_jwt;
    forged.replace_range(forged.len() - 9..forged.len() - 5, "AAAA");
    world.get("/").token(&forged).opaque(&session).refused(401, "invalid_credential").await;
}

/// What has ended proves nothing, today as a moment ago; forged is forged.
#[tokio::test]
async fn a_session_that_ended_does_not_end_the_one_beside_it() {
    let world = World::start().await;
    let (live, ended) = (world.session(), world.session());
    world.revoke(&ended).await;
    let old = world.aged(&ended, 4000);
    for _ in 0..3 {
        world.get("/").jwt(&live).opaque(&ended).expect(200).await;
        world.get("/").opaque(&live).token(&old).expect(200).await;
        world.get("/").opaque(&ended).refused(401, "invalid_credential").await;
        let forged = format!("{}A", live.session_jwt);
        world.get("/").opaque(&live).token(&forged).refused(401, "invalid_credential").await;
    }
}

#[tokio::test]
async fn sources_can_be_switched_off() {
    let world = World::with("[session]\nbearer = false").await;
    let session = world.session();
    world.get("/").bearer(&session.session_jwt).refused(401, "unauthenticated").await;
    world.get("/").header("X-Session", &session.session_jwt).refused(401, "unauthenticated").await;
    let target = format!("/?session={}", session.session_jwt);
    asking_for_a_websocket(world.get(&target)).refused(401, "unauthenticated").await;
    world.get("/").with(&session).expect(200).await;
}

/// The query may carry a credential on a WebSocket handshake alone, and never beyond the gateway.
#[tokio::test]
async fn a_websocket_may_bring_its_jwt_in_the_query() {
    let world = World::with("[session]\nwebsocket_query = \"session\"").await;
    world.upstream.on("/ws", |_| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        Answer::steps([Step::Send(head.to_vec()), Step::Echo])
    });
    let session = world.session();
    world.keep_secret(&session.session_jwt);
    let target = format!("/ws?a=1&session={}&b=2", session.session_jwt);
    world.get(&target).refused(401, "unauthenticated").await;
    let mut connection = world.connect().await;
    let response = asking_for_a_websocket(world.get(&target)).send_on(&mut connection).await;
    assert_eq!(response.status, 101);
    assert_eq!(world.upstream.last().target(), "/ws?a=1&b=2");
    assert_eq!(session_id(&world), session.session_id);
}

#[tokio::test]
async fn both_cookies_of_one_person_pass_and_of_two_are_ambiguous() {
    let world = World::start().await;
    let (one, other) =
        (world.session_of("ana@acme.example", "acme"), world.session_of("ben@acme.example", "acme"));
    world.get("/").with(&one).expect(200).await;
    // The opaque token was not known: exactly one call taught whose it is.
    assert_eq!(world.stytch_calls(), 1);
    world.get("/").with(&one).expect(200).await;
    world.get("/").jwt(&one).opaque(&other).refused(401, "ambiguous_credential").await;
    assert_eq!(world.stytch_calls(), 2);
    world.get("/").jwt(&one).opaque(&other).refused(401, "ambiguous_credential").await;
    world.get("/").jwt(&one).bearer(&other.session_jwt).refused(401, "ambiguous_credential").await;
    assert_eq!(world.stytch_calls(), 2);
    // The same person in another organization is another identity.
    let elsewhere = world.session_of("ana@acme.example", "globex");
    let refused = world.get("/").jwt(&one).jwt(&elsewhere).refused(401, "ambiguous_credential").await;
    assert!(refused.all("set-cookie").is_empty(), "it is not said which of them is wrong");
}

#[tokio::test]
async fn of_one_name_at_most_four_are_looked_at() {
    let world = World::start().await;
    let sessions: Vec<_> = (0..5).map(|_| world.session()).collect();
    let all = |count| sessions[..count].iter().fold(world.get("/"), Request::jwt);
    all(4).expect(200).await;
    all(4).jwt(&sessions[0]).expect(200).await;
    let opaque = |count| sessions[..count].iter().fold(world.get("/"), Request::opaque);
    opaque(4).expect(200).await;
    opaque(5).refused(401, "ambiguous_credential").await;
}

/// Junk is held back by address; sessions that are known pass from there all the same.
#[tokio::test]
async fn refused_credentials_are_limited_for_each_client() {
    let world = World::with("[rate_limit]\nfailures = \"5/h\"").await;
    let (session, known) = (world.session(), world.session());
    world.get("/").opaque(&known).expect(200).await;
    for number in 0..5 {
        world.get("/").bearer(&format!("{number:x>44}")).refused(401, "invalid_credential").await;
    }
    for junk in ["junk", "a.b.c", &"y".repeat(44)] {
        let refused = world.get("/").bearer(junk).refused(429, "rate_limited").await;
        assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
        assert!(refused.all("set-cookie").is_empty());
    }
    assert_eq!(world.stytch_calls(), 6);
    world.get("/").jwt(&session).expect(200).await;
    world.get("/").opaque(&known).expect(200).await;
    world.get("/").refused(401, "unauthenticated").await;
}

/// REFERENCE.md 4.3 and 6: all of them share keys, issuer and audience.
#[tokio::test]
async fn kinds_are_told_apart_by_their_claims() {
    let world = World::start().await;
    let session = world.claims(&world.session());
    let project = world.emulator.project_id();
    let (iss, now) = (format!("stytch.com/{project}"), session["iat"].as_i64().unwrap());
    let token = |mut claims: serde_json::Value| {
        let common = json!({ "iss": iss, "aud": [project], "iat": now, "nbf": now, "exp": now + 3600 });
        claims.as_object_mut().unwrap().extend(common.as_object().unwrap().clone());
        world.emulator.token(claims).sign()
    };
    let member = session["sub"].clone();
    let organization = session["https://stytch.com/organization"].clone();
    let m2m = token(json!({ "sub": "m2m-client-test-reports", "scope": "read:reports" }));
    let app = token(json!({
        "sub": member, "scope": "openid", "client_id": "connected-app-test-1", "jti": "1",
        "https://stytch.com/organization": organization,
    }));
    world.get("/").bearer(&m2m).refused(403, "kind_not_allowed").await;
    world.get("/").bearer(&app).refused(403, "kind_not_allowed").await;
    world.get("/optional/x").bearer(&m2m).refused(403, "kind_not_allowed").await;
    let id_token = token(json!({ "sub": member, "email": "cho@acme.example", "nonce": "n" }));
    let of_nobody = token(json!({ "sub": "robot-1", "scope": "read:reports" }));
    let posing =
        token(json!({ "sub": "m2m-client-test-reports", "scope": "a", "client_id": "connected-app-test-1" }));
    for refused in [id_token, of_nobody, posing] {
        world.get("/").bearer(&refused).refused(401, "invalid_credential").await;
    }
    // A custom claim makes no M2M client of a member.
    let mut scoped = session.clone();
    scoped["scope"] = json!("read:reports");
    world.get("/").bearer(&world.emulator.token(scoped).sign()).expect(200).await;
    assert_eq!(world.stytch_calls(), 0);
}

#[tokio::test]
async fn where_a_session_is_optional_a_bad_one_is_still_refused() {
    let world = World::start().await;
    let session = world.session();
    world.get("/optional/x").expect(200).await;
    assert!(world.upstream.last().all("x-stytch-member-id").is_empty());
    world.get("/optional/x").jwt(&session).expect(200).await;
    assert_eq!(session_id(&world), session.session_id);
    world.get("/optional/x").bearer("junk").refused(401, "invalid_credential").await;
    let decisions: Vec<_> = world.log(3).await.iter().map(|line| line["decision"].clone()).collect();
    assert_eq!(decisions, ["anonymous", "allowed", "refused"]);
}

#[tokio::test]
async fn where_nobody_is_asked_for_no_credential_is_looked_at() {
    let world = World::start().await;
    let session = world.session();
    world.get("/public/x").bearer(&"z".repeat(44)).with(&session).expect(200).await;
    let received = world.upstream.last();
    let told = received.headers().iter().any(|(name, _)| name.to_lowercase().starts_with("x-stytch-"));
    assert!(!told && received.all("cookie").is_empty(), "{:?}", received.headers());
    assert_eq!(world.stytch_calls(), 0);
    let line = &world.log(1).await[0];
    assert_eq!((&line["decision"], &line["verification"]), (&json!("public"), &json!("none")));
}

#[tokio::test]
async fn another_site_cannot_use_our_cookies() {
    let world = World::start().await;
    let session = world.session();
    let (ours, evil) = ("http://app.test", "https://evil.test");
    world.post("/").with(&session).header("Origin", evil).refused(403, "cross_site_request").await;
    world.post("/").with(&session).header("Origin", "null").refused(403, "cross_site_request").await;
    let sent = world.post("/").with(&session).header("Sec-Fetch-Site", "cross-site");
    sent.refused(403, "cross_site_request").await;
    let handshake = asking_for_a_websocket(world.get("/")).with(&session).header("Origin", evil);
    let refused = handshake.refused(403, "cross_site_request").await;
    assert!(refused.all("set-cookie").is_empty());
    world.post("/").with(&session).header("Origin", ours).expect(200).await;
    world.post("/").with(&session).expect(200).await;
    world.get("/").with(&session).header("Origin", evil).expect(200).await;
    world.post("/").bearer(&session.session_jwt).header("Origin", evil).expect(200).await;
}

fn preflight<'w>(world: &'w World, target: &str) -> Request<'w> {
    let asked = world.request("OPTIONS", target).header("Origin", "https://other.example");
    asked.header("Access-Control-Request-Method", "PUT")
}

#[tokio::test]
async fn a_preflight_passes_where_the_route_says_so() {
    let routes = "[[routes]]\npath = \"/api/*\"\nupstream = \"app\"\ncors_preflight = \"forward\"\n\
        [[routes]]\npath = \"/*\"\nupstream = \"app\"\n";
    let world = World::with(routes).await;
    preflight(&world, "/x").refused(401, "unauthenticated").await;
    preflight(&world, "/api/x").header("X-Stytch-Member-Id", "member-1").expect(200).await;
    assert!(world.upstream.last().all("x-stytch-member-id").is_empty());
    // Nothing else passes for one.
    world.request("OPTIONS", "/api/x").refused(401, "unauthenticated").await;
    world
        .request("OPTIONS", "/api/x")
        .header("Origin", "https://a.test")
        .refused(401, "unauthenticated")
        .await;
    let get =
        world.get("/api/x").header("Origin", "https://a.test").header("Access-Control-Request-Method", "PUT");
    get.refused(401, "unauthenticated").await;
    let with_junk = preflight(&world, "/api/x").bearer("junk");
    with_junk.expect(200).await;
}
