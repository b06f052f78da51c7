//! Stytch's events (REFERENCE.md section 11), signed here by another reading of how Svix signs them:
//! what they hurry, and what nobody else can.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use stytch_emulator::{Fault, Session};

use crate::client::{Request, Response};
use crate::world::{World, until};

const KEY: &[u8] = b"a key of twenty-four byte";
const PATH: &str = "/_stytch/webhook";
const CALLS: &str = "/v1/b2b/sessions/authenticate";

pub(crate) fn settings() -> String {
    format!("[webhook]\nenabled = true\nsecret = \"whsec_{}\"\n", BASE64_STANDARD.encode(KEY))
}

async fn start(more: &str) -> World {
    let world = World::builder().with(&settings()).with(more).start().await;
    world.keep_secret(&BASE64_STANDARD.encode(KEY));
    world
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// An event about something of this world's project.
pub(crate) fn event(world: &World, object: &str, action: &str, id: &str) -> Value {
    json!({
        "project_id": world.emulator.project_id(), "event_id": "webhook-event-test-1", "action": action,
        "object_type": object, "source": "DIRECT", "id": id, "vertical": "B2B",
        "timestamp": jiff::Timestamp::now().to_string(),
    })
}

/// A delivery, before it is sent.
pub(crate) struct Delivery {
    id: String,
    dated: String,
    body: String,
    key: Vec<u8>,
}

impl Delivery {
    pub(crate) fn of(id: &str, event: &Value) -> Self {
        Self { id: id.to_owned(), dated: now().to_string(), body: event.to_string(), key: KEY.to_vec() }
    }

    fn signature(&self) -> String {
        let signed = format!("{}.{}.{}", self.id, self.dated, self.body);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.key), signed.as_bytes());
        format!("v1,{}", BASE64_STANDARD.encode(tag))
    }

    fn unsigned<'w>(&self, world: &'w World) -> Request<'w> {
        let request = world.post(PATH).header("Content-Type", "application/json");
        request.header("svix-id", &self.id).header("svix-timestamp", &self.dated)
    }

    pub(crate) fn to<'w>(&self, world: &'w World) -> Request<'w> {
        self.unsigned(world).header("svix-signature", self.signature()).body(&self.body)
    }
}

/// Stytch says so.
async fn hears(world: &World, object: &str, action: &str, id: &str) -> Response {
    let number = world.logged().len();
    Delivery::of(&format!("msg_{number}_{id}"), &event(world, object, action, id)).to(world).expect(204).await
}

fn member(world: &World, session: &Session) -> String {
    world.claims(session)["sub"].as_str().unwrap().to_owned()
}

fn organization(world: &World, session: &Session) -> String {
    world.claims(session)["https://stytch.com/organization"]["organization_id"].as_str().unwrap().to_owned()
}

async fn events(world: &World, outcome: &str) -> f64 {
    world.metric(&format!("stytch_gateway_webhook_events_total{{outcome=\"{outcome}\"}}")).await
}

/// One of an aged JWT, never seen before: an event makes its word too old as well.
#[tokio::test]
async fn after_an_update_the_next_request_asks_again_and_only_that() {
    let world = start("").await;
    let session = world.session_of("ana@acme.example", "acme");
    let unseen = world.aged(&session, 30);
    let ana = member(&world, &session);
    world.get("/x").jwt(&session).expect(200).await;
    assert_eq!(world.upstream.last().header("x-stytch-roles").as_deref(), Some("stytch_member,admin"));
    world.emulator.patch_member(&ana, json!({ "roles": ["editor"] })).unwrap();
    world.get("/x").jwt(&session).expect(200).await;
    assert_eq!(world.upstream.last().header("x-stytch-roles").as_deref(), Some("stytch_member,admin"));
    assert_eq!(world.stytch_calls(), 0);

    hears(&world, "member", "UPDATE", &ana).await;
    for _ in 0..3 {
        world.get("/x").jwt(&session).expect(200).await;
        assert_eq!(world.upstream.last().header("x-stytch-roles").as_deref(), Some("stytch_member,editor"));
    }
    assert_eq!(world.stytch_calls(), 1);
    world.get("/x").token(&unseen).expect(200).await;
    assert_eq!(world.upstream.last().header("x-stytch-roles").as_deref(), Some("stytch_member,editor"));
    assert_eq!(world.stytch_calls(), 2);
    assert_eq!(world.metric("stytch_gateway_local_fallback_total{reason=\"changed\"}").await, 2.0);
    assert_eq!(events(&world, "taken").await, 1.0);
}

#[tokio::test]
async fn a_deletion_ends_a_session_at_once() {
    let world = start("[server]\nworkers = 2").await;
    let session = world.session();
    for _ in 0..8 {
        world.get("/x").with(&session).expect(200).await;
    }
    world.revoke(&session).await;
    hears(&world, "member", "DELETE", &member(&world, &session)).await;
    // Whichever worker a connection meets.
    for _ in 0..8 {
        world.get("/x").with(&session).refused(401, "invalid_credential").await;
    }
}

#[tokio::test]
async fn an_event_touches_whom_it_is_about() {
    let world = start("").await;
    let (ana, ben) =
        (world.session_of("ana@acme.example", "acme"), world.session_of("ben@acme.example", "acme"));
    let gil = world.session_of("gil@globex.example", "globex");
    let everybody = [&ana, &ben, &gil];
    let asked = async || {
        let before = world.stytch_calls();
        let mut asked = Vec::new();
        for session in everybody {
            let calls = world.stytch_calls();
            world.get("/x").jwt(session).expect(200).await;
            asked.push(world.stytch_calls() - calls);
        }
        assert_eq!(asked.iter().sum::<usize>(), world.stytch_calls() - before);
        asked
    };
    assert_eq!(asked().await, [0, 0, 0]);
    hears(&world, "member", "update", &member(&world, &ben)).await;
    assert_eq!(asked().await, [0, 1, 0]);
    hears(&world, "organization", "UPDATE", &organization(&world, &ana)).await;
    assert_eq!(asked().await, [1, 1, 0]);
    hears(&world, "organization", "DELETE", &organization(&world, &gil)).await;
    assert_eq!(asked().await, [0, 0, 1]);
    assert_eq!(asked().await, [0, 0, 0]);
}

#[tokio::test]
async fn a_consumers_user_is_touched_too() {
    let world = start("[stytch]\nvertical = \"consumer\"").await;
    let session = world.emulator.session("uma@example.com").mint();
    let user = world.claims(&session)["sub"].as_str().unwrap().to_owned();
    world.get("/x").jwt(&session).expect(200).await;
    let mut event = event(&world, "user", "UPDATE", &user);
    Delivery::of("msg_1", &event).to(&world).refused(400, "bad_request").await;
    event["vertical"] = json!("CONSUMER");
    Delivery::of("msg_1", &event).to(&world).expect(204).await;
    world.get("/x").jwt(&session).expect(200).await;
    assert_eq!(world.emulator.requests("/v1/sessions/authenticate").len(), 1);
    assert_eq!((events(&world, "foreign").await, events(&world, "taken").await), (1.0, 1.0));
}

/// A profile learned before a change is as old as a word heard before it.
#[tokio::test]
async fn a_profile_is_forgotten_with_the_rest() {
    let world = start("[identity.headers]\nX-Name = \"{member.name}\"").await;
    let session = world.session_of("ana@acme.example", "acme");
    let ana = member(&world, &session);
    world.get("/x").jwt(&session).expect(200).await;
    world.emulator.patch_member(&ana, json!({ "name": "Ana Maria" })).unwrap();
    world.get("/x").jwt(&session).expect(200).await;
    assert_ne!(world.upstream.last().header("x-name").as_deref(), Some("Ana Maria"));
    hears(&world, "member", "UPDATE", &ana).await;
    // A JWT that is younger than the change, and brings no profile.
    let younger = world.aged(&session, -2);
    world.get("/x").token(&younger).expect(200).await;
    assert_eq!(world.upstream.last().header("x-name").as_deref(), Some("Ana Maria"));
}

/// A change is known, and what is so now is not: neither a pass nor a refusal, whatever grace a word
/// that is merely old is given.
#[tokio::test]
async fn in_an_outage_a_change_counts_all_the_same() {
    for grace in ["0s", "1h"] {
        let world = start(&format!("[session]\noutage_grace = \"{grace}\"")).await;
        let session = world.session();
        world.get("/x").jwt(&session).expect(200).await;
        world.emulator.fault(Fault { status: Some(503), ..Fault::on("/v1") });
        hears(&world, "member", "UPDATE", &member(&world, &session)).await;
        let refused = world.get("/x").jwt(&session).refused(503, "stytch_unavailable").await;
        assert_eq!(refused.all("set-cookie"), [""; 0]);
        world.emulator.clear_faults();
        until("Stytch to be asked again", async || world.get("/x").jwt(&session).send().await.status == 200)
            .await;
    }
}

/// A request that comes after the event does not make do with an answer from before it.
#[tokio::test]
async fn a_call_from_before_the_change_does_not_answer_what_comes_after() {
    let world = start("").await;
    let session = world.session_of("ana@acme.example", "acme");
    let ana = member(&world, &session);
    world.emulator.fault(Fault { latency_ms: 1500, times: Some(1), ..Fault::on(CALLS) });
    let early = async { world.get("/early").opaque(&session).expect(200).await };
    let late = async {
        until("the call to be under way", async || world.stytch_calls() == 1).await;
        hears(&world, "member", "UPDATE", &ana).await;
        world.get("/late").opaque(&session).expect(200).await;
    };
    futures_util::future::join(early, late).await;
    assert_eq!(world.stytch_calls(), 2);
    world.get("/x").opaque(&session).expect(200).await;
    assert_eq!(world.stytch_calls(), 2);
}

#[tokio::test]
async fn a_reload_forgets_no_change() {
    let world = start("").await;
    let session = world.session();
    world.get("/x").jwt(&session).expect(200).await;
    hears(&world, "member", "UPDATE", &member(&world, &session)).await;
    world.reload(&settings()).await.unwrap();
    world.get("/x").jwt(&session).expect(200).await;
    assert_eq!(world.stytch_calls(), 1);
}

#[tokio::test]
async fn what_stytch_did_not_sign_has_no_effect() {
    let world = start("").await;
    let session = world.session();
    world.get("/x").jwt(&session).expect(200).await;
    let update = event(&world, "member", "UPDATE", &member(&world, &session));
    let good = Delivery::of("msg_1", &update);
    let dated = |by: i64| Delivery { dated: (now() + by).to_string(), ..Delivery::of("msg_1", &update) };
    let forged = Delivery { key: b"another key of that length".to_vec(), ..Delivery::of("msg_1", &update) };
    let other = Delivery { body: format!("{} ", good.body), ..Delivery::of("msg_1", &update) };
    for request in [
        good.unsigned(&world).body(&good.body),
        good.unsigned(&world).header("svix-signature", "v1,").body(&good.body),
        good.unsigned(&world).header("svix-signature", good.signature().replace("v1", "v2")).body(&good.body),
        good.unsigned(&world).header("svix-signature", good.signature()).body(&other.body),
        good.unsigned(&world).header("svix-signature", forged.signature()).body(&good.body),
        forged.to(&world),
        dated(-301).to(&world),
        dated(330).to(&world),
        world.post(PATH).body(&good.body),
        world.post(PATH),
    ] {
        request.refused(401, "invalid_credential").await;
    }
    world.get("/x").jwt(&session).expect(200).await;
    assert_eq!(world.stytch_calls(), 0);
    assert_eq!((events(&world, "refused").await, events(&world, "taken").await), (10.0, 0.0));
    // And of several signatures one is enough, under either name.
    let signatures = format!("v1,AAAA {} {}", forged.signature(), good.signature());
    let request = world.post(PATH).header("webhook-id", "msg_1").header("webhook-timestamp", &good.dated);
    request.header("webhook-signature", signatures).body(&good.body).expect(204).await;
    world.get("/x").jwt(&session).expect(200).await;
    assert_eq!(world.stytch_calls(), 1);
}

#[tokio::test]
async fn whoever_keeps_forging_is_stopped() {
    let world = start("[rate_limit]\nfailures = \"2/h\"").await;
    let forged =
        Delivery { key: b"another key of that length".to_vec(), ..Delivery::of("msg_1", &json!({})) };
    for _ in 0..2 {
        forged.to(&world).refused(401, "invalid_credential").await;
    }
    let refused = forged.to(&world).refused(429, "rate_limited").await;
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test]
async fn a_delivery_counts_once() {
    let world = start("").await;
    let session = world.session();
    world.get("/x").jwt(&session).expect(200).await;
    let delivery = Delivery::of("msg_1", &event(&world, "member", "UPDATE", &member(&world, &session)));
    for _ in 0..3 {
        delivery.to(&world).expect(204).await;
        world.get("/x").jwt(&session).expect(200).await;
    }
    assert_eq!(world.stytch_calls(), 1);
    assert_eq!((events(&world, "taken").await, events(&world, "repeated").await), (1.0, 2.0));
}

#[tokio::test]
async fn events_of_others_and_of_other_things_have_no_effect() {
    let world = start("").await;
    let session = world.session();
    let id = member(&world, &session);
    world.get("/x").jwt(&session).expect(200).await;
    for (object, action) in [("member", "CREATE"), ("sso_connection", "UPDATE"), ("member", "MERGE")] {
        hears(&world, object, action, &id).await;
    }
    let mut foreign = event(&world, "member", "UPDATE", &id);
    foreign["project_id"] = json!("project-test-another");
    Delivery::of("msg_f", &foreign).to(&world).refused(400, "bad_request").await;
    for body in [json!([]), json!({ "project_id": world.emulator.project_id() }), json!("x")] {
        Delivery::of("msg_m", &body).to(&world).refused(400, "bad_request").await;
    }
    world.get("/x").jwt(&session).expect(200).await;
    assert_eq!(world.stytch_calls(), 0);
    let counted = ["ignored", "foreign", "malformed"];
    let mut counts = Vec::new();
    for outcome in counted {
        counts.push(events(&world, outcome).await);
    }
    assert_eq!(counts, [3.0, 1.0, 3.0]);
}

#[tokio::test]
async fn only_deliveries_are_taken_and_only_where_they_are_wanted() {
    let world = start("").await;
    for method in ["GET", "PUT", "OPTIONS"] {
        let refused = world.request(method, PATH).refused(405, "method_not_allowed").await;
        assert_eq!(refused.header("allow"), Some("POST"));
    }
    world.post("/_stytch/webhook/x").refused(404, "no_route").await;
    let large = "x".repeat((256 << 10) + 1);
    world.post(PATH).body(&large).refused(413, "body_too_large").await;
    let mut chunked = world.post(PATH).header("Transfer-Encoding", "chunked").bytes();
    chunked.extend_from_slice(format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len()).as_bytes());
    assert_eq!(world.raw(chunked).await.status(), Some(413));
    // As large as allowed: judged.
    world.post(PATH).body(&large[1..]).refused(401, "invalid_credential").await;

    let off = World::start().await;
    Delivery::of("msg_1", &event(&off, "member", "UPDATE", "member-1"))
        .to(&off)
        .refused(404, "no_route")
        .await;
}
