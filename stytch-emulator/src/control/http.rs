//! The control API's routes, under `/emulator/`.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Query, Request, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{ControlError, MemberPatch, SessionOrder, TokenOrder, outbox_page, telemetry};
use crate::fault::Fault;
use crate::keys::SigningKey;
use crate::state::Shared;

pub(crate) fn router(shared: Shared) -> Router {
    let routes = Router::new()
        .route("/project", get(project))
        .route("/world", get(world))
        .route("/sessions", post(sessions))
        .route("/tokens", post(tokens))
        .route("/keys/rotate", post(rotate_keys))
        .route("/requests", get(requests).delete(forget_requests))
        .route("/faults", put(put_faults).delete(clear_faults))
        .route("/outbox", get(outbox))
        .route("/clock", post(clock))
        .route("/members/{id}", patch(patch_member))
        .route("/telemetry.js", get(telemetry::script))
        .route("/telemetry", post(telemetry::submit))
        .route("/place", put(telemetry::place))
        .route("/devices", post(telemetry::device))
        .route("/", get(outbox_page::answer))
        .fallback(async || ControlError::Unknown("no such control call".into()))
        .with_state(shared.clone());
    // A nested `/` is `/emulator` alone, and people type either.
    Router::new().route("/emulator/", get(outbox_page::answer).with_state(shared)).nest("/emulator", routes)
}

async fn project(Extract(shared): Extract<Shared>) -> Json<Value> {
    Json(super::project(&shared.lock()))
}

async fn world(Extract(shared): Extract<Shared>) -> Json<Value> {
    Json(super::world(&shared.lock()))
}

async fn sessions(
    Extract(shared): Extract<Shared>,
    Order(order): Order<SessionOrder>,
) -> Result<Json<super::Session>, ControlError> {
    super::mint_session(&mut shared.lock(), order).map(Json)
}

async fn tokens(Extract(shared): Extract<Shared>, Order(order): Order<TokenOrder>) -> Json<Value> {
    Json(json!({ "token": super::sign_token(&shared.lock(), &order) }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    #[serde(default)]
    retire_now: bool,
}

async fn rotate_keys(
    Extract(shared): Extract<Shared>,
    Order(rotation): Order<Rotation>,
) -> Result<Json<Value>, ControlError> {
    let made = tokio::task::spawn_blocking(SigningKey::generate).await;
    let Ok(Ok(next)) = made else { return Err(ControlError::Mistaken("no key could be made".into())) };
    let kid = next.kid.clone();
    super::rotate_keys(&mut shared.lock(), next, rotation.retire_now);
    Ok(Json(json!({ "kid": kid })))
}

#[derive(Debug, Deserialize)]
struct Prefix {
    #[serde(default)]
    path: String,
}

async fn requests(Extract(shared): Extract<Shared>, Query(prefix): Query<Prefix>) -> impl IntoResponse {
    Json(shared.lock().journal.requests(&prefix.path))
}

async fn forget_requests(Extract(shared): Extract<Shared>) -> StatusCode {
    shared.lock().journal.forget();
    StatusCode::NO_CONTENT
}

async fn put_faults(Extract(shared): Extract<Shared>, Order(faults): Order<Vec<Fault>>) -> StatusCode {
    shared.lock().faults.replace(faults);
    StatusCode::NO_CONTENT
}

async fn clear_faults(Extract(shared): Extract<Shared>) -> StatusCode {
    shared.lock().faults.replace(Vec::new());
    StatusCode::NO_CONTENT
}

#[derive(Debug, Deserialize)]
struct Addressee {
    to: Option<String>,
}

async fn outbox(Extract(shared): Extract<Shared>, Query(addressee): Query<Addressee>) -> impl IntoResponse {
    Json(shared.lock().outbox.messages(addressee.to.as_deref()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

async fn clock(Extract(shared): Extract<Shared>, Order(advance): Order<Advance>) -> Json<Value> {
    let clock = &mut shared.lock().clock;
    clock.advance(Duration::from_secs(advance.advance_seconds));
    Json(json!({ "now": clock.now() }))
}

async fn patch_member(
    Extract(shared): Extract<Shared>,
    Path(id): Path<String>,
    Order(patch): Order<MemberPatch>,
) -> Result<Json<Value>, ControlError> {
    super::patch_member(&mut shared.lock(), &id, patch).map(Json)
}

/// A JSON body, whatever its content type says; nothing at all is an empty order.
pub(super) struct Order<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Order<T> {
    type Rejection = ControlError;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, ControlError> {
        let mistaken = |error: &dyn std::fmt::Display| ControlError::Mistaken(error.to_string());
        let body = Bytes::from_request(request, &()).await.map_err(|error| mistaken(&error))?;
        let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(body).map(Self).map_err(|error| mistaken(&error))
    }
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Mistaken(_) => StatusCode::BAD_REQUEST,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}
