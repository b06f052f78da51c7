//! Member sessions: authenticate, list, revoke, exchange for one in another organization.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Reply;
use crate::error::Refusal;
use crate::login::{Carried, LoginArguments};
use crate::session::{Factor, Holder, Subject};
use crate::state::{Changes, State};
use crate::wire;
use crate::world::{Organization, World, granting};

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
    organization_id: String,
    resource_id: String,
    action: String,
}

pub(super) fn authenticate(state: &mut State, request: Authenticate) -> Reply {
    let id = state.session_id(request.session_token.as_deref(), request.session_jwt.as_deref())?;
    let (session, member, organization) = state.session_member(&id)?;
    let (member, organization) = (member.clone(), organization.clone());
    let mine = member.session_roles(&session.factors);
    let granting_roles = match &request.authorization_check {
        Some(check) => Some(granting_roles(&state.world, check, &mine, &organization)?),
        None => None,
    };
    let changes =
        Changes { minutes: request.session_duration_minutes, custom_claims: request.session_custom_claims };
    let session = state.access(&id, changes)?.clone();
    Ok(json!({
        "member_session": wire::member_session(&session, &member, &organization),
        "session_token": session.token,
        "session_jwt": state.session_jwt(&session)?,
        "member": wire::member(&member),
        "organization": wire::organization(&organization),
        "verdict": granting_roles.map(|roles| json!({ "authorized": true, "granting_roles": roles })),
    })
    .into())
}

/// The session's roles that allow what is asked, in their own organization only.
fn granting_roles(
    world: &World,
    check: &AuthorizationCheck,
    mine: &[String],
    organization: &Organization,
) -> Result<Vec<String>, Refusal> {
    if !organization.is(&check.organization_id) {
        return Err(Refusal::SessionAuthorizationTenancyError);
    }
    let granting = granting(world.roles_in(organization), mine, &check.resource_id, &check.action);
    if granting.is_empty() { Err(Refusal::SessionAuthorizationError) } else { Ok(granting) }
}

#[derive(Debug, Deserialize)]
pub(super) struct List {
    organization_id: String,
    member_id: String,
}

pub(super) fn list(state: &mut State, request: List) -> Reply {
    let organization = state.world.organization(&request.organization_id)?;
    let member = state.member_in(&organization.id, &request.member_id)?;
    let sessions = state.sessions.of(&Subject::Member(member.id.clone()), state.now());
    let sessions: Vec<Value> =
        sessions.into_iter().map(|session| wire::member_session(session, member, organization)).collect();
    Ok(json!({ "member_sessions": sessions }).into())
}

#[derive(Debug, Deserialize)]
pub(super) struct Revoke {
    member_session_id: Option<String>,
    session_token: Option<String>,
    session_jwt: Option<String>,
    member_id: Option<String>,
}

pub(super) fn revoke(state: &mut State, request: Revoke) -> Reply {
    let given =
        [&request.member_session_id, &request.session_token, &request.session_jwt, &request.member_id];
    super::exactly_one(given)?;
    if let Some(member_id) = &request.member_id {
        let subject = Subject::Member(state.world.member(member_id)?.id.clone());
        state.sessions.remove_all_of(&subject);
        return Ok(json!({}).into());
    }
    let id = match request.member_session_id {
        Some(id) => id,
        None => state.session_id(request.session_token.as_deref(), request.session_jwt.as_deref())?,
    };
    let id = state.session_member(&id)?.0.id;
    state.sessions.remove(&id);
    Ok(json!({}).into())
}

#[derive(Debug, Deserialize)]
pub(super) struct Exchange {
    organization_id: String,
    #[serde(flatten)]
    login: LoginArguments,
}

/// The same person's session in another organization. What they proved comes along; the session
/// they had stays as it is.
pub(super) fn exchange(state: &mut State, request: Exchange) -> Reply {
    let login = &request.login;
    let id = state.session_id(login.session_token.as_deref(), login.session_jwt.as_deref())?;
    let (session, member, _) = state.session_member(&id)?;
    let address = member.email_address.clone();
    let organization = state.world.organization(&request.organization_id)?.clone();
    let target = match state.world.member_by_email(&organization.id, &address) {
        Ok(member) => member.clone(),
        Err(_) => state.join_by_domain(&organization, &address)?,
    };
    let held_by_target = |factor: &Factor| factor.held_by(Holder::Member(&target));
    let factors = session.factors.iter().map(held_by_target).collect();
    Ok(state.sign_in(&target.id, factors, Carried::Nothing, request.login)?.into())
}
