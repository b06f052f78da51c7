//! `GET /v1/debug/whoami`: are these credentials any good?

use serde::Deserialize;
use serde_json::json;

use super::Reply;
use crate::state::State;

#[derive(Debug, Deserialize)]
pub(super) struct Whoami {}

pub(super) fn whoami(state: &mut State, _: Whoami) -> Reply {
    Ok(json!({ "project_id": state.world.project_id, "name": "Stytch emulator" }).into())
}
