//! What a test or a person may do to the emulator from outside: the control API.
//!
//! The functions here serve both the HTTP routes in `control::http` and the methods of
//! [`Emulator`](crate::Emulator), so the two cannot drift apart.

mod http;
mod outbox_page;
mod telemetry;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(crate) use http::router;

use crate::clock::minutes_after;
use crate::grant::Grant;
use crate::jwt;
use crate::keys::{Key, SigningKey};
use crate::passcode::checked_email;
use crate::session::{Factor, Holder, Session as Held, Subject, patched_claims};
use crate::state::State;
use crate::wire;
use crate::world::{ConnectedApp, MemberStatus, Resource, Role, Scope, with_reserved};

const USUAL_MINUTES: u32 = 60;

/// Why the emulator could not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The world has nobody, or no organization, of that name.
    #[error("{0}")]
    Unknown(String),
    /// The order itself makes no sense.
    #[error("{0}")]
    Mistaken(String),
}

/// The credentials of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Session {
    /// The opaque token: 44 characters.
    pub session_token: String,
    /// The JWT, good for five minutes.
    pub session_jwt: String,
    /// The session's id.
    pub session_id: String,
}

/// Whom to sign in, and how.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionOrder {
    pub(crate) email: String,
    /// A slug or an id. Makes it a member's session.
    pub(crate) organization: Option<String>,
    pub(crate) minutes: Option<u32>,
    pub(crate) custom_claims: Option<Map<String, Value>>,
    pub(crate) factors: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) impersonated: bool,
}

/// What to sign, and with which key.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenOrder {
    pub(crate) claims: Value,
    pub(crate) header: Option<Map<String, Value>>,
    #[serde(default)]
    pub(crate) key: Key,
}

/// Which machine gets a token, and what the token says.
#[derive(Debug, Clone, Default)]
pub(crate) struct M2mOrder {
    pub(crate) client_id: String,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) custom_claims: Map<String, Value>,
}

/// Which app gets a token, for whom, and what the token says.
#[derive(Debug, Clone, Default)]
pub(crate) struct AppTokenOrder {
    pub(crate) email: String,
    pub(crate) organization: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) issuer: Option<String>,
    pub(crate) custom_claims: Map<String, Value>,
}

/// What an administrator changes about a member.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberPatch {
    status: Option<MemberStatus>,
    roles: Option<Vec<String>>,
    name: Option<String>,
    email_address: Option<String>,
}

/// What everyone may do, in the shape in which the API shows it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PolicyOrder {
    roles: Vec<Role>,
    resources: Vec<Resource>,
    scopes: Vec<Scope>,
}

pub(crate) fn project(state: &State) -> Value {
    let world = &state.world;
    json!({ "project_id": world.project_id, "secret": world.secret, "public_token": world.public_token })
}

pub(crate) fn world(state: &State) -> Value {
    let world = &state.world;
    json!({
        "organizations": world.organizations.iter().map(wire::organization).collect::<Vec<_>>(),
        "members": world.members.iter().map(wire::member).collect::<Vec<_>>(),
        "users": world.users.iter().map(wire::user).collect::<Vec<_>>(),
        "m2m_clients": world.m2m_clients.iter().map(wire::m2m_client).collect::<Vec<_>>(),
        "connected_apps": world.connected_apps.iter().map(wire::connected_app).collect::<Vec<_>>(),
        "roles": world.roles,
    })
}

/// Signs somebody in without asking for any proof.
pub(crate) fn mint_session(state: &mut State, order: SessionOrder) -> Result<Session, ControlError> {
    let now = state.clock.second();
    let (subject, factors) = subject_and_factors(state, &order)?;
    let mut session = Held::new(subject, factors, USUAL_MINUTES, now);
    session.expires_at = minutes_after(now, order.minutes.unwrap_or(USUAL_MINUTES));
    if let Some(claims) = &order.custom_claims {
        session.custom_claims = patched_claims(&Map::new(), claims)
            .map_err(|refusal| ControlError::Mistaken(format!("custom_claims: {}", refusal.message())))?;
    }
    let jwt =
        state.session_jwt(&session).map_err(|refusal| ControlError::Unknown(refusal.message().into()))?;
    let minted =
        Session { session_token: session.token.clone(), session_jwt: jwt, session_id: session.id.clone() };
    state.sessions.insert(session);
    Ok(minted)
}

fn subject_and_factors(state: &State, order: &SessionOrder) -> Result<(Subject, Vec<Factor>), ControlError> {
    let now = state.clock.second();
    let (subject, holder) = found(state, &order.email, order.organization.as_deref())?;
    let usual = if order.organization.is_some() { "email_otp" } else { "otp" };
    Ok((subject, factors(order, usual, holder, now)?))
}

/// The member of that organization, or without one the user, with that address.
fn found<'a>(
    state: &'a State,
    email: &str,
    organization: Option<&str>,
) -> Result<(Subject, Holder<'a>), ControlError> {
    let Some(locator) = organization else {
        let user = state.world.user_by_email(email);
        let user = user.ok_or_else(|| ControlError::Unknown(format!("no user has the address {email}")))?;
        return Ok((Subject::User(user.id.clone()), Holder::User(user)));
    };
    let organization = state
        .world
        .organization(locator)
        .map_err(|_| ControlError::Unknown(format!("no organization is called {locator}")))?;
    let member = state.world.member_by_email(&organization.id, email).map_err(|_| {
        ControlError::Unknown(format!("no member of {} has the address {email}", organization.slug))
    })?;
    Ok((Subject::Member(member.id.clone()), Holder::Member(member)))
}

fn factors(
    order: &SessionOrder,
    usual: &str,
    holder: Holder<'_>,
    now: jiff::Timestamp,
) -> Result<Vec<Factor>, ControlError> {
    let mut kinds: Vec<&str> = match &order.factors {
        Some(kinds) => kinds.iter().map(String::as_str).collect(),
        None if order.impersonated => Vec::new(),
        None => vec![usual],
    };
    if order.impersonated {
        kinds.push("impersonated");
    }
    let make = |kind| {
        Factor::of_type(kind, holder, now)
            .ok_or_else(|| ControlError::Mistaken(format!("no factor has the type {kind}")))
    };
    kinds.into_iter().map(make).collect()
}

/// Signs what it is given, true or not.
pub(crate) fn sign_token(state: &State, order: &TokenOrder) -> String {
    let key = state.keys.get(order.key);
    let mut header = jwt::header(key);
    if let (Some(header), Some(overrides)) = (header.as_object_mut(), &order.header) {
        header.extend(overrides.clone());
        header.retain(|_, value| !value.is_null());
    }
    jwt::sign(&header, &order.claims, key)
}

/// Issues a machine's token without asking for its secret.
pub(crate) fn mint_m2m_token(state: &State, order: &M2mOrder) -> Result<String, ControlError> {
    let id = &order.client_id;
    let client = state.world.m2m_client(id);
    let client = client.ok_or_else(|| ControlError::Unknown(format!("no M2M client is called {id}")))?;
    let issuer = jwt::issuer(&state.world.project_id);
    let scopes = order.scopes.as_ref().unwrap_or(&client.scopes);
    Ok(state.m2m_token(client, &issuer, scopes, &order.custom_claims))
}

/// Issues an app's token without asking anybody.
pub(crate) fn mint_app_token(state: &mut State, order: AppTokenOrder) -> Result<String, ControlError> {
    let (subject, _) = found(state, &order.email, order.organization.as_deref())?;
    if state.world.connected_apps.is_empty() && order.client_id.is_none() {
        state.world.connected_apps.push(ConnectedApp::new());
    }
    let client_id = order.client_id.unwrap_or_else(|| state.world.connected_apps[0].id.clone());
    let scopes = order.scopes.unwrap_or_else(|| vec!["openid".into()]);
    let issuer = order.issuer.unwrap_or_else(|| jwt::issuer(&state.world.project_id));
    let token = state.app_token(&Grant::new(&client_id, subject, scopes), &issuer, &order.custom_claims);
    token.map(|(token, _)| token).map_err(|refusal| ControlError::Unknown(refusal.message().into()))
}

/// Takes a key made beforehand: making one takes longer than a lock should be held.
pub(crate) fn rotate_keys(state: &mut State, next: SigningKey, retire_now: bool) {
    state.keys.rotate(next, retire_now);
}

/// Replaces the project's policy. The roles that Stytch reserves are in it whether named or not.
pub(crate) fn set_policy(state: &mut State, order: PolicyOrder) -> Result<(), ControlError> {
    let mut problems = Vec::new();
    let roles = with_reserved(order.roles, &mut problems);
    if !problems.is_empty() {
        return Err(ControlError::Mistaken(problems.join("; ")));
    }
    (state.world.roles, state.world.resources, state.world.scopes) = (roles, order.resources, order.scopes);
    Ok(())
}

/// Replaces an organization's own roles.
pub(crate) fn set_custom_roles(
    state: &mut State,
    locator: &str,
    roles: Vec<Role>,
) -> Result<(), ControlError> {
    let unknown = |_| ControlError::Unknown(format!("no organization is called {locator}"));
    state.world.organization_mut(locator).map_err(unknown)?.custom_roles = roles;
    Ok(())
}

pub(crate) fn patch_member(state: &mut State, id: &str, patch: MemberPatch) -> Result<Value, ControlError> {
    let unknown = |_| ControlError::Unknown(format!("no member has the id {id}"));
    let member = state.world.member(id).map_err(unknown)?;
    let organization = state.world.organization(&member.organization_id).map_err(unknown)?;
    for role in patch.roles.iter().flatten() {
        if !state.world.roles_in(organization).any(|known| known.role_id == *role) {
            return Err(ControlError::Mistaken(format!("no role is called {role}")));
        }
    }
    if let Some(address) = patch.email_address.as_deref().filter(|address| checked_email(address).is_err()) {
        return Err(ControlError::Mistaken(format!("{address} is no e-mail address")));
    }
    let now = state.clock.second();
    let member = state.world.member_mut(id).map_err(unknown)?;
    member.status = patch.status.unwrap_or(member.status);
    member.roles = patch.roles.unwrap_or_else(|| std::mem::take(&mut member.roles));
    member.name = patch.name.unwrap_or_else(|| std::mem::take(&mut member.name));
    member.email_address = patch.email_address.unwrap_or_else(|| std::mem::take(&mut member.email_address));
    member.updated_at = now;
    let shown = wire::member(member);
    if member.status == MemberStatus::Deleted {
        let subject = Subject::Member(member.id.clone());
        state.sessions.remove_all_of(&subject);
    }
    Ok(shown)
}
