//! Looking up organizations and their members.

use serde::Deserialize;
use serde_json::json;

use super::Reply;
use crate::error::Refusal;
use crate::state::State;
use crate::wire;

#[derive(Debug, Deserialize)]
pub(super) struct Get {
    organization_id: String,
}

pub(super) fn get(state: &mut State, request: Get) -> Reply {
    let organization = state.world.organization(&request.organization_id)?;
    Ok(json!({ "organization": wire::organization(organization) }).into())
}

#[derive(Debug, Deserialize)]
pub(super) struct GetMember {
    organization_id: String,
    member_id: Option<String>,
    email_address: Option<String>,
}

pub(super) fn get_member(state: &mut State, request: GetMember) -> Reply {
    let organization = state.world.organization(&request.organization_id)?;
    let member = match (&request.member_id, &request.email_address) {
        (Some(id), None) => state.member_in(&organization.id, id)?,
        (None, Some(address)) => state.world.member_by_email(&organization.id, address)?,
        _ => return Err(Refusal::InvalidMemberGetFields.into()),
    };
    Ok(json!({
        "member_id": member.id,
        "member": wire::member(member),
        "organization": wire::organization(organization),
    })
    .into())
}
