//! Consumer sessions: authenticate, list, revoke.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Reply, sandbox};
use crate::error::Refusal;
use crate::session::Subject;
use crate::state::{Changes, State};
use crate::wire;
use crate::world::{User, World, granting};

#[derive(Debug, Deserialize)]
pub(super) struct Authenticate {
    session_token: Option<String>,
    session_jwt: Option<String>,
    session_duration_minutes: Option<i64>,
    session_custom_claims: Option<Map<String, Value>>,
    authorization_check: Option<AuthorizationCheck>,
}

#[derive(Debug, Deserialize)]
struct AuthorizationCheck {
    resource_id: String,
    action: String,
}

pub(super) fn authenticate(state: &mut State, request: Authenticate) -> Reply {
    if request.session_token.as_deref() == Some(sandbox::SESSION_TOKEN) {
        return sandbox::authenticated(state);
    }
    let id = state.session_id(request.session_token.as_deref(), request.session_jwt.as_deref())?;
    let user = state.session_user(&id)?.1.clone();
    let granting_roles = match &request.authorization_check {
        Some(check) => Some(granting_roles(&state.world, check, &user)?),
        None => None,
    };
    let changes =
        Changes { minutes: request.session_duration_minutes, custom_claims: request.session_custom_claims };
    let session = state.access(&id, changes)?.clone();
    Ok(json!({
        "session": wire::user_session(&session, &user),
        "session_token": session.token,
        "session_jwt": state.session_jwt(&session)?,
        "user": wire::user(&user),
        "verdict": granting_roles.map(|roles| json!({ "authorized": true, "granting_roles": roles })),
    })
    .into())
}

fn granting_roles(world: &World, check: &AuthorizationCheck, user: &User) -> Result<Vec<String>, Refusal> {
    let mine = user.effective_roles();
    let granting = granting(world.consumer_roles(), &mine, &check.resource_id, &check.action);
    if granting.is_empty() { Err(Refusal::ConsumerSessionAuthorizationError) } else { Ok(granting) }
}

#[derive(Debug, Deserialize)]
pub(super) struct List {
    user_id: String,
}

pub(super) fn list(state: &mut State, request: List) -> Reply {
    let user = state.world.user(&request.user_id)?;
    let sessions = state.sessions.of(&Subject::User(user.id.clone()), state.now());
    let sessions: Vec<Value> =
        sessions.into_iter().map(|session| wire::user_session(session, user)).collect();
    Ok(json!({ "sessions": sessions }).into())
}

#[derive(Debug, Deserialize)]
pub(super) struct Revoke {
    session_id: Option<String>,
    session_token: Option<String>,
    session_jwt: Option<String>,
}

pub(super) fn revoke(state: &mut State, request: Revoke) -> Reply {
    super::exactly_one([&request.session_id, &request.session_token, &request.session_jwt])?;
    let id = match request.session_id {
        Some(id) => id,
        None => state.session_id(request.session_token.as_deref(), request.session_jwt.as_deref())?,
    };
    let id = state.session_user(&id)?.0.id;
    state.sessions.remove(&id);
    Ok(json!({}).into())
}
