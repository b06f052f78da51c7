//! What Stytch would tell a webhook endpoint, signed as Svix signs it.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::control::ControlError;
use crate::ids;
use crate::state::State;
use crate::wire;

/// A delivery: what an HTTP client has to POST.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Webhook {
    /// `svix-id`, `svix-timestamp`, `svix-signature` and `content-type`.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON that was signed, byte for byte.
    pub body: String,
}

/// What happened to whom, and how it is to be delivered.
#[derive(Debug, Clone, Default)]
pub(crate) struct WebhookOrder {
    pub(crate) event: String,
    pub(crate) id: String,
    pub(crate) delivery: Option<String>,
    pub(crate) at: Option<Timestamp>,
    pub(crate) secret: Option<String>,
}

/// Composes and signs a delivery.
pub(crate) fn delivery(state: &State, order: &WebhookOrder) -> Result<Webhook, ControlError> {
    let body = body(state, order)?.to_string();
    let id = order.delivery.clone().unwrap_or_else(|| ids::fresh("msg"));
    let at = order.at.unwrap_or_else(|| state.now()).as_second();
    let secret = order.secret.as_ref().unwrap_or(&state.world.webhook_secret);
    let key = secret.strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok());
    let key =
        key.ok_or_else(|| ControlError::Mistaken("a webhook secret is whsec_ and then base64".into()))?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signature = STANDARD.encode(hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes()));
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("svix-id", id),
        ("svix-timestamp", at.to_string()),
        ("svix-signature", format!("v1,{signature}")),
    ];
    Ok(Webhook { headers, body })
}

/// What Stytch says of an event: who it is about and, unless they are gone, what they are like now.
fn body(state: &State, order: &WebhookOrder) -> Result<Value, ControlError> {
    let unknown = || {
        ControlError::Mistaken(format!(
            "{} is not source.object.action, such as direct.member.update",
            order.event
        ))
    };
    let parts: Vec<&str> = order.event.split('.').collect();
    let [source, object, action] = parts[..] else { return Err(unknown()) };
    let known =
        ["direct", "dashboard", "scim"].contains(&source) && ["create", "update", "delete"].contains(&action);
    if !known {
        return Err(unknown());
    }
    let world = &state.world;
    let id = &order.id;
    let nobody = |_| ControlError::Unknown(format!("no {object} has the id {id}"));
    let (vertical, entity) = match object {
        "member" => ("B2B", world.member(id).map(wire::member)),
        "organization" => ("B2B", world.organization(id).map(wire::organization)),
        "user" => ("CONSUMER", world.user(id).map(wire::user)),
        _ => return Err(unknown()),
    };
    let fields = json!({
        "project_id": world.project_id,
        "event_id": ids::fresh("webhook-event"),
        "action": action.to_ascii_uppercase(),
        "object_type": object,
        "source": source.to_ascii_uppercase(),
        "id": id,
        "timestamp": state.clock.now(),
        "vertical": vertical,
    });
    let mut fields: Map<String, Value> = fields.as_object().cloned().unwrap_or_default();
    if action != "delete" {
        fields.insert(object.into(), entity.map_err(nobody)?);
    }
    Ok(Value::Object(fields))
}
