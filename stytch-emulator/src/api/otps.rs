//! Passcodes for Consumer users, by e-mail, text message or WhatsApp.

use serde::Deserialize;
use serde_json::json;

use super::Reply;
use crate::error::Refusal;
use crate::ids;
use crate::login::UserLogin;
use crate::passcode::{Channel, Proves, checked_email, checked_phone, lifetime};
use crate::session::{Factor, Holder};
use crate::state::State;
use crate::world::{Email, Phone, User};

const MINUTES: u32 = 2;

#[derive(Debug, Deserialize)]
pub(super) struct ToEmail {
    email: String,
    expiration_minutes: Option<i64>,
    #[serde(default)]
    create_user_as_pending: bool,
    user_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ToPhone {
    phone_number: String,
    expiration_minutes: Option<i64>,
    #[serde(default)]
    create_user_as_pending: bool,
    user_id: Option<String>,
}

pub(super) fn email_login_or_create(state: &mut State, request: ToEmail) -> Reply {
    let address = checked_email(&request.email)?;
    let user_created = state.world.user_by_email(address).is_none();
    state.user_with_email(address, request.create_user_as_pending);
    let mut answer = email_code(state, address, request.expiration_minutes)?;
    answer.insert("user_created", json!(user_created));
    Ok(answer)
}

pub(super) fn email_send(state: &mut State, request: ToEmail) -> Reply {
    let address = checked_email(&request.email)?;
    if let Some(id) = &request.user_id {
        state.world.user_mut(id)?.email.get_or_insert_with(|| Email::unverified(address));
    }
    email_code(state, address, request.expiration_minutes)
}

fn email_code(state: &mut State, address: &str, minutes: Option<i64>) -> Reply {
    let minutes = lifetime(minutes, 1..=10, MINUTES)?;
    let user = state.world.user_by_email(address).ok_or(Refusal::EmailNotFound)?;
    let email = user.email.as_ref().ok_or(Refusal::EmailNotFound)?;
    let (user_id, email_id, to) = (user.id.clone(), email.id.clone(), email.address.clone());
    state.send_code(Proves::UserMethod(email_id.clone()), Channel::Email, &to, "login", minutes);
    Ok(json!({ "user_id": user_id, "email_id": email_id }).into())
}

pub(super) fn sms_login_or_create(state: &mut State, request: ToPhone) -> Reply {
    phone_login_or_create(state, &request, Channel::Sms)
}

pub(super) fn whatsapp_login_or_create(state: &mut State, request: ToPhone) -> Reply {
    phone_login_or_create(state, &request, Channel::Whatsapp)
}

pub(super) fn sms_send(state: &mut State, request: ToPhone) -> Reply {
    phone_send(state, &request, Channel::Sms)
}

pub(super) fn whatsapp_send(state: &mut State, request: ToPhone) -> Reply {
    phone_send(state, &request, Channel::Whatsapp)
}

fn phone_login_or_create(state: &mut State, request: &ToPhone, channel: Channel) -> Reply {
    let number = checked_phone(&request.phone_number)?;
    let user_created = state.world.user_by_phone(number).is_none();
    if user_created {
        let phone = Some(phone(number));
        let pending = request.create_user_as_pending;
        state.world.users.push(User { phone, pending, created_at: state.now(), ..User::new() });
    }
    let mut answer = phone_code(state, number, channel, request.expiration_minutes)?;
    answer.insert("user_created", json!(user_created));
    Ok(answer)
}

fn phone_send(state: &mut State, request: &ToPhone, channel: Channel) -> Reply {
    let number = checked_phone(&request.phone_number)?;
    if let Some(id) = &request.user_id {
        state.world.user_mut(id)?.phone.get_or_insert_with(|| phone(number));
    }
    phone_code(state, number, channel, request.expiration_minutes)
}

fn phone_code(state: &mut State, number: &str, channel: Channel, minutes: Option<i64>) -> Reply {
    let minutes = lifetime(minutes, 1..=10, MINUTES)?;
    let user = state.world.user_by_phone(number).ok_or(Refusal::PhoneNumberNotFound)?;
    let phone = user.phone.as_ref().ok_or(Refusal::PhoneNumberNotFound)?;
    let (user_id, phone_id) = (user.id.clone(), phone.id.clone());
    state.send_code(Proves::UserMethod(phone_id.clone()), channel, number, "login", minutes);
    Ok(json!({ "user_id": user_id, "phone_id": phone_id }).into())
}

fn phone(number: &str) -> Phone {
    Phone { id: ids::fresh("phone-number"), number: number.into(), verified: false }
}

#[derive(Debug, Deserialize)]
pub(super) struct Authenticate {
    method_id: String,
    code: String,
    #[serde(flatten)]
    login: UserLogin,
}

pub(super) fn authenticate(state: &mut State, request: Authenticate) -> Reply {
    if !["email-", "phone-number-"].iter().any(|kind| request.method_id.starts_with(kind)) {
        return Err(Refusal::InvalidMethodId.into());
    }
    let brought = state.brought(&request.login)?;
    let channel = state.redeem_code(&Proves::UserMethod(request.method_id.clone()), &request.code)?;
    let user = state.proved_method(&request.method_id)?;
    let factor = match channel {
        Channel::Email => Factor::email("otp", Holder::User(&user), state.now()),
        Channel::Sms | Channel::Whatsapp => Factor::phone(channel.name(), Holder::User(&user), state.now()),
    };
    let mut fields = state.user_sign_in(&user, factor, brought, request.login)?;
    fields.insert("method_id".into(), request.method_id.into());
    Ok(fields.into())
}
