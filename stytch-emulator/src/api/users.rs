//! Looking up Consumer users.

use serde::Deserialize;

use super::Reply;
use crate::state::State;
use crate::wire;

#[derive(Debug, Deserialize)]
pub(super) struct Get {
    user_id: String,
}

/// Unlike a member's, a user's fields stand at the top of the answer.
pub(super) fn get(state: &mut State, request: Get) -> Reply {
    Ok(wire::user(state.world.user(&request.user_id)?).into())
}
