//! Consumer users' authenticator apps, and their recovery codes.

use serde::Deserialize;
use serde_json::json;

use super::Reply;
use crate::error::Refusal;
use crate::login::UserLogin;
use crate::session::Factor;
use crate::state::State;
use crate::totp::Totp;
use crate::wire;

const PENDING_MINUTES: u32 = 1440;

#[derive(Debug, Deserialize)]
pub(super) struct Create {
    user_id: String,
    expiration_minutes: Option<u32>,
}

/// Registers an app, which counts from its first code on. One that never showed a code is replaced.
pub(super) fn create(state: &mut State, request: Create) -> Reply {
    let now = state.now();
    let user = state.world.user_mut(&request.user_id)?;
    if user.totp.as_ref().is_some_and(|totp| totp.verified) {
        return Err(Refusal::ActiveTotpExists.into());
    }
    let totp = Totp::pending(now, request.expiration_minutes.unwrap_or(PENDING_MINUTES));
    user.totp = Some(totp.clone());
    let account = user.email.as_ref().map_or(&user.id, |email| &email.address);
    Ok(json!({
        "user_id": user.id,
        "user": wire::user(user),
        "totp_id": totp.id,
        "secret": totp.secret(),
        "qr_code": totp.qr_code(account),
        "recovery_codes": totp.recovery_codes,
    })
    .into())
}

#[derive(Debug, Deserialize)]
pub(super) struct Authenticate {
    user_id: String,
    totp_code: String,
    #[serde(flatten)]
    login: UserLogin,
}

pub(super) fn authenticate(state: &mut State, request: Authenticate) -> Reply {
    proved(state, &request.user_id, request.login, |totp, now| {
        totp.check(&request.totp_code, now)?;
        Ok(Factor::totp(&totp.id, now))
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct Recover {
    user_id: String,
    recovery_code: String,
    #[serde(flatten)]
    login: UserLogin,
}

pub(super) fn recover(state: &mut State, request: Recover) -> Reply {
    proved(state, &request.user_id, request.login, |totp, now| {
        totp.recover(&request.recovery_code)?;
        Ok(Factor::recovery_code(now))
    })
}

fn proved(
    state: &mut State,
    user_id: &str,
    login: UserLogin,
    prove: impl FnOnce(&mut Totp, jiff::Timestamp) -> Result<Factor, Refusal>,
) -> Reply {
    let brought = state.brought(&login)?;
    let now = state.now();
    let user = state.world.user_mut(user_id)?;
    let totp = user.totp.as_mut().ok_or(Refusal::TotpNotFound)?;
    let factor = prove(totp, now)?;
    let totp_id = totp.id.clone();
    let user = user.clone();
    let mut fields = state.user_sign_in(&user, factor, brought, login)?;
    fields.insert("totp_id".into(), totp_id.into());
    Ok(fields.into())
}
