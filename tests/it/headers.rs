//! What an upstream is told: the identity headers of DESIGN.md section 5, and what goes with every
//! request. That nobody else can say it is shown in `attacks`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use stytch_emulator::Fault;

use crate::echo::Received;
use crate::world::{World, until};

const AUTHENTICATE: &str = "/v1/b2b/sessions/authenticate";

fn identity(received: &Received) -> Vec<(String, String)> {
    let mut headers = received.headers();
    headers.retain(|(name, _)| name.starts_with("x-stytch-") || name.starts_with("remote"));
    headers
}

#[tokio::test]
async fn a_member_is_told_by_the_jwt_alone() {
    let world = World::start().await;
    let session = world.session_of("ana@acme.example", "acme");
    let claims = world.claims(&session);
    world.get("/").jwt(&session).expect(200).await;
    let mut told = identity(&world.upstream.last());
    told.sort();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let organization = &claims["https://stytch.com/organization"];
    let expected = [
        ("x-stytch-member-id", text(&claims["sub"])),
        ("x-stytch-organization-id", text(&organization["organization_id"])),
        ("x-stytch-organization-slug", "acme".to_owned()),
        ("x-stytch-roles", "stytch_member,admin".to_owned()),
        ("x-stytch-session-id", session.session_id.clone()),
    ];
    assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(world.stytch_calls(), 0);
}

#[tokio::test]
async fn whatever_the_credential_the_upstream_is_told_the_same() {
    let world = World::start().await;
    let session = world.session();
    let mut told = Vec::new();
    for request in [
        world.get("/").jwt(&session),
        world.get("/").opaque(&session),
        world.get("/").bearer(&session.session_jwt),
        world.get("/").token(&world.aged(&session, 400)),
    ] {
        request.expect(200).await;
        told.push(identity(&world.upstream.last()));
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:?}");
}

const PROFILE: &str = r#"
[identity]
profile_ttl = "1s"
[identity.headers]
X-Stytch-Member-Email = "{member.email_address}"
X-Stytch-Member-Name = "{member.name}"
X-Stytch-Organization-Name = "{organization.organization_name}"
"#;

#[tokio::test]
async fn a_profile_costs_one_call_for_each_session_and_profile_ttl() {
    let world = World::with(PROFILE).await;
    let session = world.session_of("ana@acme.example", "acme");
    let began = std::time::Instant::now();
    for jwt in [session.session_jwt.clone(), world.aged(&session, 5), world.aged(&session, 9)] {
        world.get("/").token(&jwt).expect(200).await;
        world.get("/").token(&jwt).expect(200).await;
        let received = world.upstream.last();
        assert_eq!(received.header("x-stytch-member-email").as_deref(), Some("ana@acme.example"));
        assert_eq!(received.header("x-stytch-organization-name").as_deref(), Some("Acme"));
    }
    assert!(world.stytch_calls() == 1 || began.elapsed().as_millis() > 700, "{}", world.stytch_calls());
    let member = world.claims(&session)["sub"].as_str().unwrap().to_owned();
    world.emulator.patch_member(&member, json!({ "name": "Ana Maria" })).unwrap();
    until("the new name", async || {
        world.get("/").jwt(&session).expect(200).await;
        world.upstream.last().header("x-stytch-member-name").as_deref() == Some("Ana Maria")
    })
    .await;
    assert!(began.elapsed().as_millis() > 500);
}

/// Without the profile that a header needs nobody passes: an absent name is not a wrong one, but
/// the application would not know whom it serves.
#[tokio::test]
async fn a_profile_that_cannot_be_had_is_an_outage() {
    let world = World::with(PROFILE).await;
    world.emulator.fault(Fault { status: Some(500), ..Fault::on(AUTHENTICATE) });
    world.get("/").jwt(&world.session()).refused(503, "stytch_unavailable").await;
}

#[tokio::test]
async fn an_exact_value_can_be_read_back() {
    let world = World::with(PROFILE).await;
    let session = world.session_of("ana@acme.example", "acme");
    let member = world.claims(&session)["sub"].as_str().unwrap().to_owned();
    world.emulator.patch_member(&member, json!({ "name": "Zoë 100%\r\nX-Evil: 1" })).unwrap();
    world.get("/").jwt(&session).expect(200).await;
    let received = world.upstream.last();
    assert_eq!(received.header("x-stytch-member-name").as_deref(), Some("Zo%C3%AB 100%25%0D%0AX-Evil: 1"));
    assert!(received.all("x-evil").is_empty());
}

const LEGACY: &str = r#"
[identity]
default_headers = false
[identity.headers]
Authorization = 'Basic {"{member.email_address}:legacy"|base64}'
REMOTE_USER = "{member.email_address}"
X-Member = "{member.member_id}"
X-Plan = "{claims.plan}"
X-Roles = '{session.roles|join(";")}'
X-Session = "{session.member_session_id|json}"

[[routes]]
path = "/reports/*"
upstream = "app"
[routes.headers]
X-Organization = "{organization.organization_slug}"
X-Member = "route:{member.member_id}"

[[routes]]
path = "/*"
upstream = "app"
"#;

#[tokio::test]
async fn a_legacy_application_is_told_what_it_knows() {
    let world = World::with(LEGACY).await;
    let plan = json!({ "plan": "pro" }).as_object().unwrap().clone();
    let session = world.emulator.session("ana@acme.example").organization("acme").custom_claims(plan).mint();
    let member = world.claims(&session)["sub"].as_str().unwrap().to_owned();
    world.get("/reports/7").with(&session).expect(200).await;
    let received = world.upstream.last();
    let header = |name| received.header(name).unwrap_or_default();
    assert_eq!(header("remote_user"), "ana@acme.example");
    let basic = BASE64_STANDARD.encode("ana@acme.example:legacy");
    assert_eq!(header("authorization"), format!("Basic {basic}"));
    assert_eq!((header("x-plan"), header("x-roles")), ("pro".to_owned(), "stytch_member;admin".to_owned()));
    assert_eq!(header("x-member"), format!("route:{member}"));
    assert_eq!(header("x-organization"), "acme");
    assert!(!received.headers().iter().any(|(name, _)| name.starts_with("x-stytch-")));

    world.get("/else").jwt(&world.session()).header("X-Organization", "globex").expect(200).await;
    let received = world.upstream.last();
    assert!(received.header("x-member").unwrap().starts_with("member-"));
    assert!(received.all("x-organization").is_empty(), "another route's name is owned here too");
    assert!(received.all("x-plan").is_empty(), "a claim that is absent leaves its header out");
}

#[tokio::test]
async fn a_consumer_is_told_in_terms_of_users() {
    let settings = "[stytch]\nvertical = \"consumer\"\n[identity.headers]\n\
        X-Stytch-User-Email = \"{user.emails.0.email}\"";
    let world = World::with(settings).await;
    let session = world.emulator.session("uma@example.com").mint();
    world.get("/").jwt(&session).expect(200).await;
    let received = world.upstream.last();
    assert_eq!(received.header("x-stytch-user-email").as_deref(), Some("uma@example.com"));
    assert_eq!(world.emulator.requests("/v1/sessions/authenticate").len(), 1);
}

#[tokio::test]
async fn session_credentials_are_withheld() {
    let world = World::with("[session]\nheader = \"X-Session\"").await;
    let session = world.session();
    let cookie = format!(
        "a=1; stytch_session={}; b=2; stytch_session_jwt={}; c=3",
        session.session_token, session.session_jwt
    );
    let request = world.get("/").header("Cookie", &cookie).bearer(&session.session_jwt);
    request.header("X-Session", &session.session_token).expect(200).await;
    let received = world.upstream.last();
    assert_eq!(received.header("cookie").as_deref(), Some("a=1; b=2; c=3"));
    let head = String::from_utf8_lossy(&received.head).into_owned();
    assert!(!head.contains(&session.session_jwt) && !head.contains(&session.session_token), "{head}");
    // An application's own tokens pass where nobody is asked for.
    world.get("/public/x").header("Authorization", "Bearer an-applications-own").expect(200).await;
    assert_eq!(world.upstream.last().header("authorization").as_deref(), Some("Bearer an-applications-own"));
}

#[tokio::test]
async fn session_credentials_are_handed_on_where_the_settings_say_so() {
    let world = World::with("[identity]\nforward_credentials = true").await;
    let session = world.session();
    world.get("/").with(&session).bearer(&session.session_jwt).expect(200).await;
    let received = world.upstream.last();
    assert_eq!(received.header("authorization"), Some(format!("Bearer {}", session.session_jwt)));
    assert!(received.header("cookie").unwrap().contains(&session.session_token));
}

#[tokio::test]
async fn every_request_carries_where_it_came_from() {
    let world = World::start().await;
    world.get("/public/x").expect(200).await;
    let received = world.upstream.last();
    let header = |name| received.header(name).unwrap_or_default();
    assert_eq!(header("x-forwarded-for"), "127.0.0.1");
    assert_eq!((header("x-forwarded-proto"), header("x-forwarded-host")), ("http".into(), "app.test".into()));
    assert_eq!(header("forwarded"), "for=127.0.0.1;host=app.test;proto=http");
    assert!(header("via").starts_with("1.1 stytch-gateway"), "{}", header("via"));
    let (id, trace) = (header("x-request-id"), header("traceparent"));
    let line = &world.log(1).await[0];
    assert_eq!(line["request_id"], id.as_str());
    assert_eq!(line["trace_id"], &trace[3..35]);
}

#[tokio::test]
async fn a_trace_is_carried_on() {
    let world = World::start().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    world.get("/public/x").header("traceparent", trace).header("tracestate", "a=1").expect(200).await;
    let received = world.upstream.last();
    assert_eq!(received.header("traceparent").as_deref(), Some(trace));
    assert_eq!(received.header("tracestate").as_deref(), Some("a=1"));
    assert_eq!(world.log(1).await[0]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let world = World::with("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]").await;
    let request = world.get("/public/x").header("X-Forwarded-For", "203.0.113.9, 127.0.0.2");
    let request = request.header("X-Forwarded-Proto", "https").header("X-Forwarded-Host", "www.example.com");
    request.header("X-Request-Id", "from-the-proxy").expect(200).await;
    let received = world.upstream.last();
    assert_eq!(received.header("x-forwarded-for").as_deref(), Some("203.0.113.9, 127.0.0.2, 127.0.0.1"));
    assert_eq!(received.header("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(
        received.header("forwarded").as_deref(),
        Some("for=203.0.113.9;host=www.example.com;proto=https")
    );
    assert_eq!(received.header("x-request-id").as_deref(), Some("from-the-proxy"));
    let line = &world.log(1).await[0];
    assert_eq!((&line["client"], &line["request_id"]), (&json!("203.0.113.9"), &json!("from-the-proxy")));
}
