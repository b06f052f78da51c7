//! The key set. Documented as needing credentials, fetched by most SDKs without, so public here.

use axum::extract::{Path, State as Extract};
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::json;

use super::Answer;
use crate::error::{ApiError, Refusal};
use crate::state::{Shared, State};

pub(super) async fn answer(
    Extract(shared): Extract<Shared>,
    Path(project_id): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let state = shared.lock();
    if project_id != state.world.project_id {
        return Err(Refusal::ProjectNotFound.into());
    }
    Ok(key_set(&state))
}

/// On the project's own domain nobody needs to say which project is meant.
pub(super) async fn answer_on_domain(Extract(shared): Extract<Shared>) -> impl IntoResponse {
    key_set(&shared.lock())
}

fn key_set(state: &State) -> impl IntoResponse + use<> {
    let keys = Answer::from(json!({ "keys": state.keys.jwks() }));
    ([(header::CACHE_CONTROL, "public, max-age=900")], keys)
}
