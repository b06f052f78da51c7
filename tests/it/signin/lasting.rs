//! How long a session lasts: prolonged while it is used, renewed without anybody noticing, ended by
//! signing out or because Stytch ended a user's other sessions.

use serde_json::{Value, json};
use stytch_emulator::{Fault, Session};

use super::browser::Browser;
use super::{MEMBERS, USERS, session};
use crate::calls::said;
use crate::client::Response;
use crate::world::{World, until};

const AUTHENTICATE: &str = "/v1/b2b/sessions/authenticate";
const SLIDING: &str = "[session]\nsliding = true\nrefresh_ahead = false\n";

fn hour(world: &World) -> Session {
    world.emulator.session("ben@acme.example").organization("acme").minutes(60).mint()
}

/// The new end of the session cookie that a response sets, as the header has it.
fn end(response: &Response) -> Option<String> {
    let cookies = response.all("set-cookie");
    let cookie = cookies.iter().find(|cookie| cookie.starts_with("stytch_session_jwt="))?;
    cookie.split("; ").find_map(|part| part.strip_prefix("Expires=").map(str::to_owned))
}

/// Asks until the new cookies come back.
async fn until_written_back(world: &World, session: &Session) -> String {
    let mut found = None;
    until("new cookies", async || {
        found = end(&world.get("/").with(session).expect(200).await);
        found.is_some()
    })
    .await;
    found.unwrap()
}

#[tokio::test]
async fn an_active_session_is_prolonged_once() {
    let world = World::with(SLIDING).await;
    let session = hour(&world);
    let expires = until_written_back(&world, &session).await;
    let expires = httpdate::parse_http_date(&expires).unwrap();
    let left = expires.duration_since(std::time::SystemTime::now()).unwrap().as_secs();
    assert!((8 * 3600 - 120..=8 * 3600).contains(&left), "{left} s are left");
    for _ in 0..5 {
        world.get("/").with(&session).expect(200).await;
    }
    let mut bodies = said(&world, AUTHENTICATE);
    // The opaque token beside the JWT was new, and asked about.
    assert!(bodies.len() <= 2, "{bodies:?}");
    bodies.retain(|body| !body["session_duration_minutes"].is_null());
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(bodies[0]["session_duration_minutes"], 480);
}

#[tokio::test]
async fn while_stytch_is_asked_anyway_too() {
    let world = World::with("[session]\nsliding = true\nmax_staleness = \"0s\"\n").await;
    let session = hour(&world);
    world.get("/").jwt(&session).expect(200).await;
    world.get("/").jwt(&session).expect(200).await;
    let minutes: Vec<_> =
        said(&world, AUTHENTICATE).iter().map(|body| body["session_duration_minutes"].clone()).collect();
    // On a busy machine a request lasts long enough to be judged again.
    let (first, others) = minutes.split_first().unwrap();
    assert_eq!(*first, json!(480));
    assert!(
        !others.is_empty() && others.iter().all(Value::is_null),
        "the session was prolonged: {minutes:?}"
    );
}

#[tokio::test]
async fn a_session_with_time_left_is_left_alone_and_so_is_everyones_without_the_setting() {
    let world = World::with(SLIDING).await;
    let long = world.emulator.session("ben@acme.example").organization("acme").minutes(300).mint();
    let impersonated =
        world.emulator.session("ben@acme.example").organization("acme").minutes(60).impersonated().mint();
    let other = World::start().await;
    let hour = hour(&other);
    for _ in 0..3 {
        world.get("/").with(&long).expect(200).await;
        world.get("/").with(&impersonated).expect(200).await;
        other.get("/").with(&hour).expect(200).await;
    }
    // Something that is asked in the background would have been asked before this.
    world.get("/").opaque(&long).expect(200).await;
    let bodies = [said(&world, AUTHENTICATE), said(&other, AUTHENTICATE)].concat();
    assert!(bodies.iter().all(|body| body["session_duration_minutes"].is_null()), "{bodies:?}");
}

#[tokio::test]
async fn where_stytch_refuses_to_go_on_longer_the_session_goes_on_as_it_was() {
    let world = World::with("[session]\nsliding = true\nmax_staleness = \"0s\"\n").await;
    let body = json!({
        "status_code": 400, "request_id": "request-id-test-1", "error_type": "invalid_session_duration",
        "error_message": "", "error_url": "",
    });
    world.emulator.fault(Fault {
        status: Some(400),
        body: Some(body),
        times: Some(1),
        ..Fault::on(AUTHENTICATE)
    });
    let session = hour(&world);
    world.get("/").jwt(&session).expect(200).await;
    world.get("/").jwt(&session).expect(200).await;
    let bodies = said(&world, AUTHENTICATE);
    let minutes: Vec<_> = bodies.iter().map(|body| body["session_duration_minutes"].clone()).collect();
    assert_eq!(minutes, [json!(480), Value::Null, Value::Null], "and is not tried again at once");
}

/// The short-lived JWT of a browser is over; the session is not.
#[tokio::test]
async fn a_jwt_is_renewed_and_nobody_notices() {
    let world = World::with(MEMBERS).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("/reports", "ben@acme.example").await.status(200);
    let old = browser.jar["stytch_session_jwt"].clone();
    let mut claims = world.claims_of(&old.0);
    for name in ["iat", "nbf", "exp"] {
        claims[name] = json!(claims[name].as_i64().unwrap() - 400);
    }
    let expired = world.emulator.token(claims).sign();
    browser.jar.insert("stytch_session_jwt".to_owned(), (expired.clone(), old.1));
    let page = browser.open("/reports?page=2").await.status(200);
    assert!(!page.response.all("set-cookie").is_empty(), "renewed on the way");
    assert_ne!(browser.jar["stytch_session_jwt"].0, expired);
    browser.open("/reports?page=3").await.status(200);
    assert_eq!(said(&world, AUTHENTICATE).len(), 1);
}

#[tokio::test]
async fn signing_out_clears_both_kinds_of_cookies() {
    let world = World::with(&format!("{MEMBERS}\n[session]\ncookies.domain = \"app.test\"\n")).await;
    let mut browser = Browser::new(&world);
    browser.sign_in("/", "ben@acme.example").await.status(200);
    let page = browser.visit("/_stytch/logout").await;
    let answer = browser.send_only(&page, &[]).await.status(200);
    let mut cleared = answer.response.all("set-cookie");
    cleared.retain(|cookie| cookie.starts_with("stytch_session"));
    cleared.sort_unstable();
    assert_eq!(
        cleared,
        [
            "stytch_session=; Path=/; Domain=app.test; Max-Age=0",
            "stytch_session=; Path=/; Max-Age=0",
            "stytch_session_jwt=; Path=/; Domain=app.test; Max-Age=0",
            "stytch_session_jwt=; Path=/; Max-Age=0",
        ]
    );
}

/// Stytch ended a user's other sessions, as it does when an account is won back: here too they must
/// prove themselves again, though their JWTs are good for minutes.
#[tokio::test]
async fn sessions_that_stytch_ended_at_sign_in_end_here() {
    let world = World::with(USERS).await;
    let (before, others) =
        (world.emulator.session("uma@example.com").mint(), world.emulator.session("vic@example.com").mint());
    for session in [&before, &others] {
        world.get("/").jwt(session).expect(200).await;
    }
    world.emulator.reset_sessions_of("uma@example.com");
    let mut browser = Browser::new(&world);
    browser.sign_in("/", "uma@example.com").await.status(200);
    let asked = world.stytch_calls();
    world.get("/").jwt(&before).refused(401, "invalid_credential").await;
    assert!(world.stytch_calls() > asked);
    world.get("/").jwt(&others).expect(200).await;
    browser.open("/").await.status(200);
    assert!(session(&world, &browser).await["session_id"].is_string());
}

/// What the settings say goes with every call that begins a session or lets it grow.
#[tokio::test]
async fn sessions_get_the_custom_claims_of_the_settings() {
    let more = "[[routes]]\npath = \"/*\"\nupstream = \"app\"\nallow.claims = { level = 2 }\n";
    let claims = "custom_claims = { signed_in_by = \"gateway\", level = 2 }\nbrand.name";
    let settings = format!("{}{more}", MEMBERS.replacen("brand.name", claims, 1));
    let world = World::with(&settings).await;
    let mut browser = Browser::new(&world);
    let page = browser.sign_in("/", "cho@acme.example").await;
    let code = browser.code("+15005550123");
    browser.send(&page, &[("action", "code"), ("code", &code)]).await.status(200);
    let claims = world.claims_of(&browser.jar["stytch_session_jwt"].0);
    assert_eq!((&claims["signed_in_by"], &claims["level"]), (&json!("gateway"), &json!(2)));
    let elsewhere = world.session();
    world.get("/").jwt(&elsewhere).refused(403, "claim_mismatch").await;
    let bodies = said(&world, "/v1/b2b/");
    let lasting = bodies.iter().filter(|body| !body["session_duration_minutes"].is_null());
    assert!(lasting.clone().count() >= 2);
    assert!(lasting.clone().all(|body| body["session_custom_claims"]["level"] == 2), "{bodies:?}");
}
