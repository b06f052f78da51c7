//! Passcodes for members: by e-mail as the first factor, by text message as the second.

use serde::Deserialize;
use serde_json::json;

use super::Reply;
use crate::error::Refusal;
use crate::ids;
use crate::login::{LoginArguments, SMS_MINUTES, SecondStep};
use crate::passcode::{Channel, Proves, checked_email, checked_phone, lifetime};
use crate::session::{Factor, Holder};
use crate::state::State;
use crate::wire;
use crate::world::{MfaMethod, Phone};

const EMAIL_MINUTES: u32 = 10;

#[derive(Debug, Deserialize)]
pub(super) struct LoginOrSignup {
    organization_id: String,
    email_address: String,
    login_expiration_minutes: Option<i64>,
    signup_expiration_minutes: Option<i64>,
}

pub(super) fn login_or_signup(state: &mut State, request: LoginOrSignup) -> Reply {
    let address = checked_email(&request.email_address)?;
    let organization = state.world.organization(&request.organization_id)?.clone();
    let known = state.world.member_by_email(&organization.id, address).cloned();
    let member_created = known.is_err();
    let member = match known {
        Ok(member) => member,
        Err(_) => state.join_by_domain(&organization, address)?,
    };
    let asked =
        if member_created { request.signup_expiration_minutes } else { request.login_expiration_minutes };
    let minutes = lifetime(asked, 2..=15, EMAIL_MINUTES)?;
    let proves = Proves::MemberEmail(member.id.clone());
    state.send_code(proves, Channel::Email, &member.email_address, "login", minutes);
    Ok(json!({
        "member_id": member.id,
        "member_created": member_created,
        "member": wire::member(&member),
        "organization": wire::organization(&organization),
    })
    .into())
}

#[derive(Debug, Deserialize)]
pub(super) struct EmailAuthenticate {
    organization_id: String,
    email_address: String,
    code: String,
    #[serde(flatten)]
    login: LoginArguments,
}

pub(super) fn email_authenticate(state: &mut State, request: EmailAuthenticate) -> Reply {
    let organization_id = state.world.organization(&request.organization_id)?.id.clone();
    let member = state.world.member_by_email(&organization_id, &request.email_address)?.clone();
    let carried = state.carried(&request.login)?;
    state.redeem_code(&Proves::MemberEmail(member.id.clone()), &request.code)?;
    let factor = Factor::email("email_otp", Holder::Member(&member), state.now());
    let mut fields = state.sign_in(&member.id, vec![factor], carried, request.login)?;
    fields.insert("method_id".into(), member.email_id.into());
    Ok(fields.into())
}

#[derive(Debug, Deserialize)]
pub(super) struct DiscoverySend {
    email_address: String,
    discovery_expiration_minutes: Option<i64>,
}

pub(super) fn discovery_send(state: &mut State, request: DiscoverySend) -> Reply {
    let address = checked_email(&request.email_address)?;
    let minutes = lifetime(request.discovery_expiration_minutes, 2..=15, EMAIL_MINUTES)?;
    let proves = Proves::Address(address.to_ascii_lowercase());
    state.send_code(proves, Channel::Email, address, "discovery", minutes);
    Ok(json!({}).into())
}

#[derive(Debug, Deserialize)]
pub(super) struct DiscoveryAuthenticate {
    email_address: String,
    code: String,
}

pub(super) fn discovery_authenticate(state: &mut State, request: DiscoveryAuthenticate) -> Reply {
    let address = checked_email(&request.email_address)?;
    state.redeem_code(&Proves::Address(address.to_ascii_lowercase()), &request.code)?;
    let factor = Factor::email("email_otp", Holder::Address(address), state.now());
    Ok(state.discover(address, factor).into())
}

#[derive(Debug, Deserialize)]
pub(super) struct SmsSend {
    organization_id: String,
    member_id: String,
    mfa_phone_number: Option<String>,
    #[serde(flatten)]
    login: LoginArguments,
}

pub(super) fn sms_send(state: &mut State, request: SmsSend) -> Reply {
    let organization = state.world.organization(&request.organization_id)?.clone();
    state.carried(&request.login)?;
    state.check_second_factor(&organization.id, MfaMethod::SmsOtp)?;
    let member = state.member_in(&organization.id, &request.member_id)?.id.clone();
    let member = state.world.member_mut(&member)?;
    if let (None, Some(number)) = (&member.mfa.phone, &request.mfa_phone_number) {
        let number = checked_phone(number)?.to_owned();
        member.mfa.phone = Some(Phone { id: ids::fresh("phone-number"), number, verified: false });
    }
    let member = member.clone();
    let phone = member.mfa.phone.as_ref().ok_or(Refusal::MemberPhoneNumberNotFound)?;
    let proves = Proves::MemberPhone(member.id.clone());
    state.send_code(proves, Channel::Sms, &phone.number, "mfa", SMS_MINUTES);
    Ok(json!({
        "member_id": member.id,
        "member": wire::member(&member),
        "organization": wire::organization(&organization),
    })
    .into())
}

#[derive(Debug, Deserialize)]
pub(super) struct SmsAuthenticate {
    code: String,
    #[serde(flatten)]
    step: SecondStep,
}

pub(super) fn sms_authenticate(state: &mut State, request: SmsAuthenticate) -> Reply {
    let (member, carried) = state.second_step(&request.step)?;
    state.check_second_factor(&member.organization_id, MfaMethod::SmsOtp)?;
    state.redeem_code(&Proves::MemberPhone(member.id.clone()), &request.code)?;
    let factor = Factor::phone("sms", Holder::Member(&member), state.now());
    if let Some(phone) = &mut state.world.member_mut(&member.id)?.mfa.phone {
        phone.verified = true;
    }
    Ok(state.second_step_taken(&member, factor, Some(MfaMethod::SmsOtp), carried, request.step)?.into())
}
