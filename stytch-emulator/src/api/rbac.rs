//! What the roles may do: the project's policy for each vertical, and an organization's own roles.

use serde::Deserialize;
use serde_json::json;

use super::Reply;
use crate::state::State;
use crate::wire;
use crate::world::Role;

#[derive(Debug, Deserialize)]
pub(super) struct Project {}

pub(super) fn b2b_policy(state: &mut State, _: Project) -> Reply {
    Ok(json!({ "policy": wire::policy(&state.world, state.world.project_roles()) }).into())
}

pub(super) fn policy(state: &mut State, _: Project) -> Reply {
    Ok(json!({ "policy": wire::policy(&state.world, state.world.consumer_roles()) }).into())
}

#[derive(Debug, Deserialize)]
pub(super) struct Organization {
    organization_id: String,
}

pub(super) fn organization_policy(state: &mut State, request: Organization) -> Reply {
    let organization = state.world.organization(&request.organization_id)?;
    Ok(json!({ "org_policy": { "roles": organization.custom_roles } }).into())
}

#[derive(Debug, Deserialize)]
pub(super) struct SetOrganizationPolicy {
    organization_id: String,
    org_policy: OrganizationPolicy,
}

#[derive(Debug, Deserialize)]
struct OrganizationPolicy {
    roles: Vec<Role>,
}

pub(super) fn set_organization_policy(state: &mut State, request: SetOrganizationPolicy) -> Reply {
    let organization = state.world.organization_mut(&request.organization_id)?;
    organization.custom_roles = request.org_policy.roles;
    Ok(json!({ "org_policy": { "roles": organization.custom_roles } }).into())
}
