//! Members' authenticator apps, and their recovery codes.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Reply;
use crate::error::Refusal;
use crate::login::{Carried, LoginArguments, SecondStep};
use crate::session::Factor;
use crate::state::State;
use crate::totp::Totp;
use crate::wire;
use crate::world::{Member, MfaMethod};

const PENDING_MINUTES: u32 = 60;

#[derive(Debug, Deserialize)]
pub(super) struct Create {
    organization_id: String,
    member_id: String,
    expiration_minutes: Option<u32>,
    #[serde(flatten)]
    login: LoginArguments,
}

/// Registers an app, which counts from its first code on. One that never showed a code is replaced.
/// Whoever has a second factor already has to have used it, or this would be a way around it.
pub(super) fn create(state: &mut State, request: Create) -> Reply {
    let organization_id = state.world.organization(&request.organization_id)?.id.clone();
    let member = state.member_in(&organization_id, &request.member_id)?.clone();
    let carried = state.carried(&request.login)?;
    state.check_second_factor(&organization_id, MfaMethod::Totp)?;
    let protected = member.mfa.phone.as_ref().is_some_and(|phone| phone.verified);
    if protected || !matches!(carried, Carried::Nothing) {
        state.check_first_factor(&carried, &member)?;
    }
    if protected && !carried.factors().iter().any(Factor::is_second_step) {
        return Err(Refusal::InsufficientFactors.into());
    }
    if member.mfa.totp.as_ref().is_some_and(|totp| totp.verified) {
        return Err(Refusal::ActiveTotpExists.into());
    }
    let totp = Totp::pending(state.now(), request.expiration_minutes.unwrap_or(PENDING_MINUTES));
    let mut fields = identity(state, &member)?;
    fields.extend([
        ("totp_registration_id".into(), json!(totp.id)),
        ("secret".into(), json!(totp.secret())),
        ("qr_code".into(), json!(totp.qr_code(&member.email_address))),
        ("recovery_codes".into(), json!(totp.recovery_codes)),
    ]);
    state.world.member_mut(&member.id)?.mfa.totp = Some(totp);
    Ok(fields.into())
}

#[derive(Debug, Deserialize)]
pub(super) struct Authenticate {
    code: String,
    #[serde(flatten)]
    step: SecondStep,
}

pub(super) fn authenticate(state: &mut State, request: Authenticate) -> Reply {
    let (member, carried) = state.second_step(&request.step)?;
    state.check_second_factor(&member.organization_id, MfaMethod::Totp)?;
    let now = state.now();
    let totp = state.world.member_mut(&member.id)?.mfa.totp.as_mut().ok_or(Refusal::TotpNotFound)?;
    totp.check(&request.code, now)?;
    let factor = Factor::totp(&totp.id, now);
    Ok(state.second_step_taken(&member, factor, Some(MfaMethod::Totp), carried, request.step)?.into())
}

#[derive(Debug, Deserialize)]
pub(super) struct Recover {
    recovery_code: String,
    #[serde(flatten)]
    step: SecondStep,
}

pub(super) fn recover(state: &mut State, request: Recover) -> Reply {
    let (member, carried) = state.second_step(&request.step)?;
    let totp = state.verified_totp(&member.id)?;
    totp.recover(&request.recovery_code)?;
    let remaining = totp.recovery_codes.len();
    let factor = Factor::recovery_code(state.now());
    let mut fields = state.second_step_taken(&member, factor, None, carried, request.step)?;
    fields.insert("recovery_codes_remaining".into(), remaining.into());
    Ok(fields.into())
}

#[derive(Debug, Deserialize)]
pub(super) struct OfMember {
    organization_id: String,
    member_id: String,
}

pub(super) fn recovery_codes(state: &mut State, request: OfMember) -> Reply {
    shown(state, &request, |_| {})
}

pub(super) fn rotate_recovery_codes(state: &mut State, request: OfMember) -> Reply {
    shown(state, &request, Totp::rotate_recovery_codes)
}

fn shown(state: &mut State, request: &OfMember, change: fn(&mut Totp)) -> Reply {
    let organization_id = state.world.organization(&request.organization_id)?.id.clone();
    let member = state.member_in(&organization_id, &request.member_id)?.clone();
    let totp = state.verified_totp(&member.id)?;
    change(totp);
    let codes = json!(totp.recovery_codes);
    let mut fields = identity(state, &member)?;
    fields.insert("recovery_codes".into(), codes);
    Ok(fields.into())
}

fn identity(state: &State, member: &Member) -> Result<Map<String, Value>, Refusal> {
    let organization = state.world.organization(&member.organization_id)?;
    Ok(Map::from_iter([
        ("member_id".into(), json!(member.id)),
        ("member".into(), wire::member(member)),
        ("organization".into(), wire::organization(organization)),
    ]))
}

impl State {
    /// The app whose recovery codes are worth something: one that has shown a code.
    fn verified_totp(&mut self, member_id: &str) -> Result<&mut Totp, Refusal> {
        let totp = self.world.member_mut(member_id)?.mfa.totp.as_mut();
        totp.filter(|totp| totp.verified).ok_or(Refusal::RecoveryCodesNotFound)
    }
}
