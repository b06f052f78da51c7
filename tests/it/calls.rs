//! What the gateway says to Stytch, held against what Stytch publishes of its calls.
//!
//! Every world does so when it ends, with all that its gateway has sent; so whatever a test makes
//! the gateway say is checked, to the last field.

use serde_json::{Map, Value, json};
use stytch_emulator::{Body, Emulator};

use crate::published::{Others, mistakes, request_schema};
use crate::world::World;

/// Panics where a call of the gateway is not as Stytch's schema of it says, or holds a field that
/// the schema does not know.
pub(crate) fn check(emulator: &Emulator) {
    for body in sent(emulator, "/v1/") {
        let schema = request_schema(&body.method, &body.path);
        let mistakes = mistakes(&schema, Others::Wrong, &read(&body));
        assert!(
            mistakes.is_empty(),
            "{} {} is not {schema}:\n{}",
            body.method,
            body.path,
            mistakes.join("\n")
        );
    }
}

/// What the gateway sent to paths with that prefix, the oldest first. What a test sends itself has
/// no such name.
fn sent(emulator: &Emulator, prefix: &str) -> Vec<Body> {
    let ours = |body: &Body| body.user_agent.as_ref().is_some_and(|name| name.starts_with("stytch-gateway/"));
    emulator.bodies(prefix).into_iter().filter(ours).collect()
}

/// The bodies that the gateway sent to paths with that prefix.
pub(crate) fn said(world: &World, prefix: &str) -> Vec<Value> {
    sent(&world.emulator, prefix).iter().map(read).collect()
}

fn read(body: &Body) -> Value {
    match body.content_type.as_deref() {
        Some("application/json") => serde_json::from_slice(&body.bytes).unwrap(),
        Some("application/x-www-form-urlencoded") => {
            let text = str::from_utf8(&body.bytes).unwrap();
            let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap());
            Value::Object(pairs.map(|(name, value)| (name.to_owned(), json!(value))).collect::<Map<_, _>>())
        }
        kind => panic!("{} {}: a body of the kind {kind:?}", body.method, body.path),
    }
}

#[test]
fn a_field_that_stytch_does_not_know_is_a_mistake() {
    let schema = request_schema("POST", "/v1/otps/authenticate");
    let mut body = json!({ "method_id": "email-test-1", "code": "000000", "attributes": {} });
    assert_eq!(mistakes(&schema, Others::Wrong, &body), [""; 0]);
    for wrong in [json!({ "locale": "en" }), json!({ "code": 1 }), json!({ "attributes": { "ip": "::1" } })] {
        let mut with = body.clone();
        with.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert_ne!(mistakes(&schema, Others::Wrong, &with), [""; 0], "{with}");
    }
    let more = json!({ "method_id": "email-test-1", "code": "000000", "locale": "en" });
    assert_eq!(mistakes(&schema, Others::Allowed, &more), [""; 0], "the schema alone allows it");
    body.as_object_mut().unwrap().remove("code");
    assert_ne!(mistakes(&schema, Others::Wrong, &body), [""; 0], "what must be there is missing");
}
