//! How a member gets in: what has been proved, what the organization still demands, and the
//! session, or the intermediate session, that comes of it.
//!
//! Every way of signing a member in ends in [`State::sign_in`], so all of them answer alike.

mod second;
mod user;

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(crate) use second::SecondStep;
pub(crate) use user::UserLogin;

use crate::clock::minutes_after;
use crate::error::{ApiError, Refusal};
use crate::ids;
use crate::passcode::{Channel, Proves};
use crate::session::{self, Factor, Holder, Session, Subject};
use crate::state::{Changes, State};
use crate::wire;
use crate::world::{Member, MemberStatus, MfaMethod, Organization};

const USUAL_MINUTES: i64 = 60;
const INTERMEDIATE_MINUTES: u32 = 10;

/// How long a texted code is good for.
pub(crate) const SMS_MINUTES: u32 = 2;

/// The arguments that every way of signing in takes besides its own proof.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct LoginArguments {
    pub(crate) session_token: Option<String>,
    pub(crate) session_jwt: Option<String>,
    pub(crate) intermediate_session_token: Option<String>,
    pub(crate) session_duration_minutes: Option<i64>,
    pub(crate) session_custom_claims: Option<Map<String, Value>>,
    pub(crate) telemetry_id: Option<String>,
}

/// Something was proved, but not yet enough, or not yet for one organization.
#[derive(Debug, Clone)]
pub(crate) struct Intermediate {
    pub(crate) token: String,
    pub(crate) email: String,
    /// The organization it is good for; any, while it is only discovering.
    pub(crate) organization_id: Option<String>,
    pub(crate) factors: Vec<Factor>,
    pub(crate) expires_at: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Intermediates(HashMap<String, Intermediate>);

/// What a caller had proved before this call.
#[derive(Debug, Clone)]
pub(crate) enum Carried {
    Nothing,
    Session(Session),
    Intermediate(Intermediate),
}

impl Carried {
    pub(crate) fn factors(&self) -> &[Factor] {
        match self {
            Self::Nothing => &[],
            Self::Session(session) => &session.factors,
            Self::Intermediate(intermediate) => &intermediate.factors,
        }
    }
}

/// What stands between a member and their session.
#[derive(Debug)]
pub(crate) enum Outstanding {
    Nothing,
    /// Another first factor, out of these methods.
    Primary(Vec<String>),
    /// A second factor.
    Mfa,
}

impl LoginArguments {
    fn changes(&self) -> Changes {
        let custom_claims = self.session_custom_claims.clone();
        Changes { minutes: self.session_duration_minutes, custom_claims }
    }
}

impl State {
    /// What comes along with a call: a session or an intermediate session, and at most one of them.
    /// Refuses what no session could become, too, before a passcode is used up for it.
    pub(crate) fn carried(&mut self, login: &LoginArguments) -> Result<Carried, Refusal> {
        login.changes().check()?;
        let given = |it: &Option<String>| it.as_deref().filter(|it| !it.is_empty()).map(str::to_owned);
        let (token, jwt) = (given(&login.session_token), given(&login.session_jwt));
        match given(&login.intermediate_session_token) {
            Some(_) if token.is_some() || jwt.is_some() => Err(Refusal::TooManySessionArguments),
            Some(token) => self.intermediate(&token).map(Carried::Intermediate),
            None if token.is_none() && jwt.is_none() => Ok(Carried::Nothing),
            None => {
                let id = self.session_id(token.as_deref(), jwt.as_deref())?;
                Ok(Carried::Session(self.session_member(&id)?.0))
            }
        }
    }

    pub(crate) fn intermediate(&mut self, token: &str) -> Result<Intermediate, Refusal> {
        if !ids::is_token(token) {
            return Err(Refusal::InvalidSessionToken);
        }
        let now = self.clock.second();
        let living = self.intermediates.0.get(token).filter(|one| one.expires_at > now);
        living.cloned().ok_or(Refusal::IntermediateSessionNotFound)
    }

    /// Remembers what was proved until more is. The token stays the same as the proof grows.
    pub(crate) fn remember(
        &mut self,
        token: Option<String>,
        email: &str,
        organization_id: Option<String>,
        factors: Vec<Factor>,
    ) -> Intermediate {
        let expires_at = minutes_after(self.clock.second(), INTERMEDIATE_MINUTES);
        let token = token.unwrap_or_else(ids::token);
        let intermediate = Intermediate { token, email: email.into(), organization_id, factors, expires_at };
        self.intermediates.0.insert(intermediate.token.clone(), intermediate.clone());
        intermediate
    }

    /// Lets a member in, or says what is still missing.
    pub(crate) fn sign_in(
        &mut self,
        member_id: &str,
        proved: Vec<Factor>,
        carried: Carried,
        login: LoginArguments,
    ) -> Result<Map<String, Value>, ApiError> {
        let changes = login.changes();
        changes.check()?;
        let member = self.world.member(member_id)?.clone();
        if member.status == MemberStatus::Deleted {
            return Err(Refusal::MemberNotFound.into());
        }
        let organization = self.world.organization(&member.organization_id)?.clone();
        let mut factors = carried_factors(&carried, &member)?;
        factors.extend(proved.iter().cloned());
        self.welcome(&member.id)?;
        let device = self.device_of(&member.id, login.telemetry_id.as_deref());
        let mut fields = match outstanding(&member, &organization, &factors) {
            Outstanding::Nothing => {
                if let Carried::Intermediate(spent) = &carried {
                    self.intermediates.0.remove(&spent.token);
                }
                let session = self.session_for(&member, factors, proved, carried, changes)?;
                self.signed_in(&session)?
            }
            outstanding => {
                let token = match carried {
                    Carried::Intermediate(kept) => Some(kept.token),
                    _ => None,
                };
                let texted = self.text_default_code(&member, &outstanding);
                let kept =
                    self.remember(token, &member.email_address, Some(organization.id.clone()), factors);
                self.not_yet_signed_in(&member.id, &kept, &outstanding, texted)?
            }
        };
        fields.insert("member_device".into(), device);
        Ok(fields)
    }

    /// A member, who has to be one of that organization.
    pub(crate) fn member_in(&self, organization_id: &str, member_id: &str) -> Result<&Member, Refusal> {
        let member = self.world.member(member_id)?;
        if member.organization_id == organization_id { Ok(member) } else { Err(Refusal::MemberNotFound) }
    }

    /// Whoever signs in is active from then on, and the address is known to be theirs.
    fn welcome(&mut self, member_id: &str) -> Result<(), Refusal> {
        let member = self.world.member_mut(member_id)?;
        member.status = MemberStatus::Active;
        member.email_address_verified = true;
        Ok(())
    }

    /// The member's session: the one they came with, grown by a factor, or a new one.
    fn session_for(
        &mut self,
        member: &Member,
        factors: Vec<Factor>,
        proved: Vec<Factor>,
        carried: Carried,
        mut changes: Changes,
    ) -> Result<Session, Refusal> {
        let subject = Subject::Member(member.id.clone());
        if let Carried::Session(session) = carried
            && session.subject == subject
        {
            let session = self.access(&session.id, changes)?;
            proved.into_iter().for_each(|factor| session.add_factor(factor));
            return Ok(session.clone());
        }
        let minutes = session::minutes(changes.minutes.take().unwrap_or(USUAL_MINUTES))?;
        let session = Session::new(subject, factors, minutes, self.clock.second());
        let id = session.id.clone();
        self.sessions.insert(session);
        self.access(&id, changes).cloned()
    }

    fn signed_in(&self, session: &Session) -> Result<Map<String, Value>, ApiError> {
        let Subject::Member(member_id) = &session.subject else {
            return Err(Refusal::SessionNotFound.into());
        };
        let member = self.world.member(member_id)?;
        let organization = self.world.organization(&member.organization_id)?;
        let mut fields = identity_fields(member, organization);
        fields.extend([
            ("member_authenticated".into(), json!(true)),
            ("session_token".into(), json!(session.token)),
            ("session_jwt".into(), json!(self.session_jwt(session)?)),
            ("member_session".into(), wire::member_session(session, member, organization)),
            ("intermediate_session_token".into(), json!("")),
            ("mfa_required".into(), Value::Null),
            ("primary_required".into(), Value::Null),
        ]);
        Ok(fields)
    }

    fn not_yet_signed_in(
        &self,
        member_id: &str,
        kept: &Intermediate,
        outstanding: &Outstanding,
        texted: bool,
    ) -> Result<Map<String, Value>, ApiError> {
        let member = self.world.member(member_id)?;
        let organization = self.world.organization(&member.organization_id)?;
        let mut fields = identity_fields(member, organization);
        fields.extend([
            ("member_authenticated".into(), json!(false)),
            ("session_token".into(), json!("")),
            ("session_jwt".into(), json!("")),
            ("member_session".into(), Value::Null),
            ("intermediate_session_token".into(), json!(kept.token)),
            ("intermediate_session_token_expires_at".into(), json!(kept.expires_at)),
            ("mfa_required".into(), mfa_required(outstanding, member, texted)),
            ("primary_required".into(), primary_required(outstanding)),
        ]);
        Ok(fields)
    }

    /// A member who gets codes by text message gets one without asking.
    fn text_default_code(&mut self, member: &Member, outstanding: &Outstanding) -> bool {
        match (&member.mfa.phone, outstanding) {
            (Some(phone), Outstanding::Mfa)
                if member.mfa.default_method == Some(MfaMethod::SmsOtp)
                    && self.check_second_factor(&member.organization_id, MfaMethod::SmsOtp).is_ok() =>
            {
                let proves = Proves::MemberPhone(member.id.clone());
                self.send_code(proves, Channel::Sms, &phone.number, "mfa", SMS_MINUTES);
                true
            }
            _ => false,
        }
    }
}

fn identity_fields(member: &Member, organization: &Organization) -> Map<String, Value> {
    Map::from_iter([
        ("member_id".into(), json!(member.id)),
        ("member".into(), wire::member(member)),
        ("organization_id".into(), json!(organization.id)),
        ("organization".into(), wire::organization(organization)),
    ])
}

/// The factors a caller brings. A session of somebody else is not an error, it just counts for
/// nothing; an intermediate session of somebody else is one.
fn carried_factors(carried: &Carried, member: &Member) -> Result<Vec<Factor>, Refusal> {
    match carried {
        Carried::Nothing => Ok(Vec::new()),
        Carried::Session(session) if session.subject == Subject::Member(member.id.clone()) => {
            Ok(session.factors.clone())
        }
        Carried::Session(_) => Ok(Vec::new()),
        Carried::Intermediate(intermediate) => {
            let elsewhere =
                intermediate.organization_id.as_ref().is_some_and(|id| *id != member.organization_id);
            if elsewhere || !intermediate.email.eq_ignore_ascii_case(&member.email_address) {
                return Err(Refusal::InvalidIntermediateSessionTokenForOrganization);
            }
            let holder = Holder::Member(member);
            Ok(intermediate.factors.iter().map(|factor| factor.held_by(holder)).collect())
        }
    }
}

/// What the organization, and the member's own enrolment, still ask for.
pub(crate) fn outstanding(member: &Member, organization: &Organization, factors: &[Factor]) -> Outstanding {
    if let Some(allowed) = &organization.allowed_auth_methods {
        let met = factors
            .iter()
            .filter_map(Factor::auth_method)
            .any(|method| allowed.iter().any(|it| it == method));
        if !met {
            return Outstanding::Primary(allowed.clone());
        }
    }
    let wanted = member.mfa.enrolled || organization.mfa_required_for_all;
    if wanted && !factors.iter().any(Factor::is_second_step) {
        Outstanding::Mfa
    } else {
        Outstanding::Nothing
    }
}

pub(crate) fn mfa_required(outstanding: &Outstanding, member: &Member, texted: bool) -> Value {
    if !matches!(outstanding, Outstanding::Mfa) {
        return Value::Null;
    }
    let phone = member.mfa.phone.as_ref().map_or("", |phone| &phone.number);
    let totp = member.mfa.totp_registration_id();
    let options = json!({ "mfa_phone_number": phone, "totp_registration_id": totp });
    let options = (!phone.is_empty() || !totp.is_empty()).then_some(options);
    json!({ "member_options": options, "secondary_auth_initiated": texted.then_some("sms_otp") })
}

pub(crate) fn primary_required(outstanding: &Outstanding) -> Value {
    match outstanding {
        Outstanding::Primary(methods) => json!({ "allowed_auth_methods": methods }),
        _ => Value::Null,
    }
}
