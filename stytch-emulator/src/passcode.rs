//! One-time passcodes: who was sent which, and whether it is still good.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::clock::minutes_after;
use crate::error::Refusal;
use crate::ids;
use crate::outbox::Message;
use crate::state::State;

/// Addresses that stand for no one. Nothing is sent to them, and their code is always the same.
const SANDBOX: [&str; 2] = ["sandbox@stytch.com", "+10000000000"];
const SANDBOX_CODE: &str = "000000";

/// What a code proves. There is one code for each at a time: a new one replaces the old.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Proves {
    /// That a Consumer user holds the address or number with this id.
    UserMethod(String),
    /// That the member with this id reads their e-mail.
    MemberEmail(String),
    /// That the member with this id holds their phone.
    MemberPhone(String),
    /// That somebody reads this address, whatever organizations know it.
    Address(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    Email,
    Sms,
    Whatsapp,
}

impl Channel {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Whatsapp => "whatsapp",
        }
    }
}

#[derive(Debug)]
struct Passcode {
    digits: String,
    channel: Channel,
    expires_at: Timestamp,
    used: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Passcodes(HashMap<Proves, Passcode>);

impl State {
    /// Sends a fresh code, good for that many minutes.
    pub(crate) fn send_code(
        &mut self,
        proves: Proves,
        channel: Channel,
        to: &str,
        kind: &'static str,
        minutes: u32,
    ) {
        let sandbox = SANDBOX.contains(&to);
        let digits = if sandbox { SANDBOX_CODE.to_owned() } else { ids::passcode() };
        if !sandbox {
            let (channel, code) = (channel.name(), Some(digits.clone()));
            self.outbox.send(Message { to: to.into(), channel, kind, code, url: None, at: self.clock.now() });
        }
        let expires_at = minutes_after(self.clock.now(), minutes);
        self.passcodes.0.insert(proves, Passcode { digits, channel, expires_at, used: false });
    }

    /// Uses a code up, and says by which channel it had been sent.
    pub(crate) fn redeem_code(&mut self, proves: &Proves, digits: &str) -> Result<Channel, Refusal> {
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::InvalidCode);
        }
        let now = self.clock.now();
        let code = self.passcodes.0.get_mut(proves).ok_or(Refusal::OtpCodeNotFound)?;
        if code.digits != digits {
            return Err(Refusal::OtpCodeNotFound);
        }
        if code.used || code.expires_at <= now {
            return Err(Refusal::UnableToAuthOtpCode);
        }
        code.used = true;
        Ok(code.channel)
    }
}

/// An address, as far as a form can tell.
pub(crate) fn checked_email(address: &str) -> Result<&str, Refusal> {
    match address.split_once('@') {
        Some((name, domain))
            if !name.is_empty() && domain.contains('.') && !address.contains(char::is_whitespace) =>
        {
            Ok(address)
        }
        _ => Err(Refusal::InvalidEmail),
    }
}

/// A phone number in E.164: a plus sign and up to fifteen digits.
pub(crate) fn checked_phone(number: &str) -> Result<&str, Refusal> {
    let digits = number.strip_prefix('+').ok_or(Refusal::InvalidPhoneNumber)?;
    let well_formed = (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if well_formed { Ok(number) } else { Err(Refusal::InvalidPhoneNumber) }
}

/// How long a code shall last: what the caller asked for, if the method allows it.
pub(crate) fn lifetime(
    asked: Option<i64>,
    allowed: std::ops::RangeInclusive<i64>,
    usual: u32,
) -> Result<u32, Refusal> {
    match asked {
        None => Ok(usual),
        Some(minutes) if allowed.contains(&minutes) => {
            u32::try_from(minutes).map_err(|_| Refusal::InvalidExpirationOtp)
        }
        Some(_) => Err(Refusal::InvalidExpirationOtp),
    }
}
