//! What stands in for Stytch's script in a browser, and for the place it submits to.

use axum::Json;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::ControlError;
use super::http::Order;
use crate::device::Place;
use crate::state::Shared;

/// Defines `GetTelemetryID`, as Stytch's own does.
const SCRIPT: &str = include_str!("telemetry.js");

pub(super) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT)
}

#[derive(Debug, Deserialize)]
pub(super) struct Submission {
    public_token: String,
    visitor_id: String,
}

/// Answers any page, as scripts of other origins submit here.
pub(super) async fn submit(
    Extract(shared): Extract<Shared>,
    Order(submission): Order<Submission>,
) -> Result<Response, ControlError> {
    let state = &mut *shared.lock();
    if submission.public_token != state.world.public_token {
        return Err(ControlError::Mistaken("no project has this public token".into()));
    }
    let id = state.devices.submit(&submission.visitor_id);
    Ok(([(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")], id).into_response())
}

/// Has people be elsewhere.
pub(super) async fn place(Extract(shared): Extract<Shared>, Order(place): Order<Place>) -> StatusCode {
    shared.lock().devices.place = place;
    StatusCode::NO_CONTENT
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Device {
    /// A member's or user's id.
    subject: String,
    visitor_id: String,
    first_seen_at: jiff::Timestamp,
}

/// Has somebody been seen with a device before.
pub(super) async fn device(
    Extract(shared): Extract<Shared>,
    Order(device): Order<Device>,
) -> Json<serde_json::Value> {
    let Device { subject, visitor_id, first_seen_at } = device;
    shared.lock().devices.remember(&subject, &visitor_id, first_seen_at);
    Json(serde_json::json!({}))
}
