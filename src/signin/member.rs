//! B2B: how a member gets into an organization (REFERENCE.md 7.2 to 7.4).

use super::choice::{Choice, Standing};
use super::form::{self, Fields};
use super::login::{MAX_FAILURES, Next, RESEND_AFTER, SignedIn};
use super::state::{Enrolment, Second, Start, Step, Using};
use super::texts::Key;
use super::{Desk, Trouble, create, device, enrolment, step_up, trip};
use crate::stytch::types::{Discovered, MemberLogin, MfaRequired, Named};
use crate::stytch::{Credential, MemberStep, Proof};
use crate::telemetry::audit_log::Event;

/// Sends a code to an address: for one organization, or to find out which there are.
pub(super) async fn send(desk: &Desk<'_>, start: &Start, email: &str) -> Result<(), Trouble> {
    let (client, locale) = (&desk.common.client, desk.spoken.locale());
    let sent = match &start.organization {
        Some(organization) => {
            let call = client.member_email_send(organization, email, locale);
            desk.common.ask("b2b_otps_email_login_or_signup", call).await
        }
        None => {
            let call = client.discovery_send(email, locale);
            desk.common.ask("b2b_otps_email_discovery_send", call).await
        }
    };
    sent.map(drop)
}

/// Tries the code that was sent to an address.
pub(super) async fn try_code(
    desk: &Desk<'_>,
    start: &Start,
    email: &str,
    code: &str,
) -> Result<Next, Trouble> {
    let (client, minutes) = (device::client(desk), desk.signin.session_minutes);
    let Some(organization) = &start.organization else {
        let call = client.discovery_authenticate(email, code);
        let found = desk.common.ask("b2b_otps_email_discovery_authenticate", call).await?;
        return Ok(discovered(desk, start, found).await);
    };
    let session = own_session(desk, organization).await;
    let intermediate = start.intermediate.as_deref();
    let ask = async |session: Option<&_>| {
        let call =
            client.member_email_authenticate(organization, email, code, intermediate, session, minutes);
        desk.common.ask("b2b_otps_email_authenticate", call).await
    };
    let login = match ask(session.as_ref()).await {
        Err(trouble) if session.is_some() && trouble.is_about_session() => ask(None).await?,
        tried => tried?,
    };
    Ok(after(desk, login, "email_otp"))
}

/// The session that came, if it is one of that organization's: what was proved in it counts on.
pub(super) async fn own_session(desk: &Desk<'_>, organization: &str) -> Option<Credential> {
    let who = desk.who().await.ok()??;
    let own = who.word.identity.organization.as_ref()?;
    (own.id == organization || own.slug == organization).then(|| desk.credential())?
}

/// An address was proved: into the one organization that it belongs to, a choice, or a new one. Nobody
/// joins an organization without having said so.
pub(super) async fn discovered(desk: &Desk<'_>, start: &Start, found: Discovered) -> Next {
    if start.create && desk.signin.create_organizations {
        return create::begin(desk, found);
    }
    let choices = Choice::all(&found);
    let Some(intermediate) = found.intermediate_session_token.clone() else { return Next::Stale };
    match choices.as_slice() {
        [] => create::begin(desk, found),
        [Choice { id, standing: Standing::Member, .. }] => choose(desk, &intermediate, id).await,
        _ => Next::Step(Step::Choose { intermediate }, None),
    }
}

/// What somebody with a proved address may choose among.
pub(super) async fn choices(desk: &Desk<'_>, intermediate: &str) -> Result<Vec<Choice>, Trouble> {
    let call = desk.common.client.discovered_by_intermediate(intermediate);
    Ok(Choice::all(&desk.common.ask("b2b_discovery_organizations", call).await?))
}

/// Goes into one of them.
pub(super) async fn choose(desk: &Desk<'_>, intermediate: &str, organization: &str) -> Next {
    let Some(organization) = form::organization(organization) else { return Next::Stale };
    let (client, minutes) = (device::client(desk), desk.signin.session_minutes);
    let call = client.intermediate_exchange(intermediate, organization, minutes);
    match desk.common.ask("b2b_discovery_intermediate_sessions_exchange", call).await {
        Ok(login) => after(desk, login, "discovery"),
        Err(Trouble::Refused(reason)) => {
            desk.audit(Event::SignInRefused, None, &reason);
            let gone = ["intermediate_session_not_found", "invalid_session_token"].contains(&reason.as_str());
            if gone {
                return Next::Stale;
            }
            let step = Step::Choose { intermediate: intermediate.to_owned() };
            Next::Step(step, Some(Key::ChooseFailed))
        }
        Err(trouble) => Next::Again(trouble),
    }
}

/// What a member's sign-in asks for next.
pub(super) fn after(desk: &Desk<'_>, login: MemberLogin, by: &'static str) -> Next {
    if login.reset_sessions {
        desk.forget_sessions_of(&login.member_id);
    }
    device::saw(desk, &login.member_id, login.member_device);
    let organization = login.organization;
    let tokens = (login.session_token, login.session_jwt);
    let id = Some(organization.organization_id.clone());
    if let Some(signed_in) = SignedIn::new(login.member_id.clone(), id, tokens, login.member_session, by) {
        return Next::In(signed_in);
    }
    let Some(intermediate) = login.intermediate_session_token else { return Next::Stale };
    if let Some(primary) = login.primary_required {
        let start = Start {
            organization: Some(organization.organization_id),
            intermediate: Some(intermediate),
            only: primary.allowed_auth_methods,
            ..Start::default()
        };
        return another_method(desk, start, &organization.organization_name);
    }
    let Some(required) = login.mfa_required else { return Next::Stale };
    let (takes_phones, takes_apps) = (takes(&organization, "sms_otp"), takes(&organization, "totp"));
    let options = required.member_options.as_ref();
    let phone = options.and_then(|options| options.mfa_phone_number.clone()).filter(|_| takes_phones);
    let app = takes_apps && options.is_some_and(|options| options.totp_registration_id.is_some());
    let lacking = phone.is_none() && !app;
    let enrolling = lacking.then_some(Enrolment { phone: takes_phones, app: takes_apps, setup: None });
    if enrolling.is_some() && !takes_phones && !takes_apps {
        let name = organization.organization_name;
        return Next::End(Key::Enrol, desk.spoken.filled(Key::EnrolText, &[("organization", &name)]));
    }
    let second = Second {
        intermediate: Some(intermediate),
        organization: organization.organization_id,
        member: login.member_id,
        using: if lacking { Using::Enrol } else { first_choice(&required, phone.is_some(), app) },
        enrolling,
        sent_at: was_texted(&required).then(crate::clock::unix_millis),
        phone,
        app,
        failures: 0,
    };
    Next::Step(Step::Second(second), None)
}

/// Whether an organization takes this second factor, as Stytch names it.
fn takes(organization: &Named, method: &str) -> bool {
    organization.mfa_methods != "RESTRICTED"
        || organization.allowed_mfa_methods.iter().any(|allowed| allowed == method)
}

fn was_texted(required: &MfaRequired) -> bool {
    required.secondary_auth_initiated.as_deref() == Some("sms_otp")
}

/// The text message that is on its way already, else the app, which needs none.
fn first_choice(required: &MfaRequired, phone: bool, app: bool) -> Using {
    if app && !(phone && was_texted(required)) { Using::App } else { Using::Sms }
}

/// The organization asks for another first factor: one that there is here, or none.
fn another_method(desk: &Desk<'_>, start: Start, name: &str) -> Next {
    if !start.only.is_empty() && !trip::offers(desk, &start).are_none() {
        return Next::Step(Step::Start(start), Some(Key::MoreNeeded));
    }
    Next::End(Key::OtherMethod, desk.spoken.filled(Key::OtherMethodText, &[("organization", name)]))
}

/// The second factor: a code, or another way to give one.
pub(super) async fn second(desk: &Desk<'_>, step: &Second, form: &Fields<'_>) -> Next {
    let using = |using| Next::Step(Step::Second(Second { using, ..step.clone() }), None);
    match form.text("action") {
        "phone" if enrols(step, |it| it.phone) => enrol(desk, step, form.text("phone")).await,
        "new_app" if enrols(step, |it| it.app) => enrolment::begin(desk, step).await,
        "choose" if step.enrolling.is_some() => using(Using::Enrol),
        "sms" if step.phone.is_some() => text(desk, step).await,
        "app" if step.app => using(Using::App),
        "recovery" if step.app => using(Using::RecoveryCode),
        "code" => try_second(desk, step, form).await,
        _ => Next::Stale,
    }
}

/// Whether a factor is to be chosen that may be added.
fn enrols(step: &Second, may: fn(&Enrolment) -> bool) -> bool {
    step.using == Using::Enrol && step.enrolling.as_ref().is_some_and(may)
}

/// Names the phone that is to become the second factor.
async fn enrol(desk: &Desk<'_>, step: &Second, number: &str) -> Next {
    match form::phone(number) {
        Some(phone) => text(desk, &Second { phone: Some(phone), ..step.clone() }).await,
        None => Next::Amend(Step::Second(step.clone()), Key::InvalidPhone, number.to_owned()),
    }
}

/// Texts a code.
pub(super) async fn text(desk: &Desk<'_>, step: &Second) -> Next {
    let on_its_way = step.sent_at.is_some_and(|at| desk.now - at < RESEND_AFTER);
    let with = |sent_at, notice| {
        Next::Step(Step::Second(Second { using: Using::Sms, sent_at, ..step.clone() }), notice)
    };
    if on_its_way {
        let notice = (step.using == Using::Sms).then_some(Key::Wait);
        return with(step.sent_at, notice);
    }
    if desk.was_sent_too_many(&step.member) {
        return Next::End(Key::Limited, desk.spoken.get(Key::LimitedText).to_owned());
    }
    let session = growing(desk, step).await;
    let Some(member) = as_call(step, session.as_ref(), false) else { return Next::Stale };
    let call = desk.common.client.member_sms_send(&member, desk.spoken.locale());
    match desk.common.ask("b2b_otps_sms_send", call).await {
        Ok(_) => with(Some(crate::clock::unix_millis()), step.sent_at.map(|_| Key::Resent)),
        Err(trouble) if session.is_some() && trouble.is_about_session() => over(desk).await,
        Err(Trouble::Refused(reason)) => {
            desk.audit(Event::SendRefused, None, &reason);
            if !(step.enrolling.is_some() && reason.starts_with("invalid_phone_number")) {
                return Next::Stale;
            }
            let again = Second { using: Using::Enrol, phone: None, ..step.clone() };
            Next::Step(Step::Second(again), Some(Key::InvalidPhone))
        }
        Err(trouble) => Next::Again(trouble),
    }
}

async fn try_second(desk: &Desk<'_>, step: &Second, form: &Fields<'_>) -> Next {
    if desk.was_tried_too_often(&step.member) {
        return Next::End(Key::Limited, desk.spoken.get(Key::LimitedText).to_owned());
    }
    let session = growing(desk, step).await;
    let preferred = form.text("prefer") == "yes";
    let Some(member) = as_call(step, session.as_ref(), preferred) else { return Next::Stale };
    let Some((tried, by)) = show_second(desk, step.using, &member, form.text("code")).await else {
        return Next::Step(Step::Second(step.clone()), Some(Key::InvalidCode));
    };
    match tried {
        Ok(login) => {
            enrolment::note(desk, step);
            let shown = enrolment::to_be_shown(step, &login);
            enrolment::showing(after(desk, login, by), shown)
        }
        Err(trouble) if session.is_some() && trouble.is_about_session() => over(desk).await,
        Err(Trouble::Refused(reason)) => {
            desk.audit(Event::SignInRefused, None, &reason);
            let failures = step.failures.saturating_add(1);
            let gone = ["intermediate_session_not_found", "invalid_session_token"].contains(&reason.as_str());
            if gone || failures >= MAX_FAILURES {
                return Next::Step(Step::Start(Start::default()), Some(Key::TooManyCodes));
            }
            enrolment::refused(Second { failures, ..step.clone() }, &reason)
        }
        Err(trouble) => Next::Again(trouble),
    }
}

/// Shows Stytch a code of the factor that was asked for, which the answer comes with. None where it
/// is no such code.
async fn show_second(
    desk: &Desk<'_>,
    using: Using,
    member: &MemberStep<'_>,
    code: &str,
) -> Option<(Result<MemberLogin, Trouble>, &'static str)> {
    let (client, minutes) = (device::client(desk), desk.signin.session_minutes);
    Some(match using {
        Using::Sms => {
            let digits = form::code(code)?;
            let call = client.member_sms_authenticate(member, &digits, minutes);
            (desk.common.ask("b2b_otps_sms_authenticate", call).await, "sms_otp")
        }
        Using::App | Using::NewApp => {
            let digits = form::code(code)?;
            let call = client.member_totp_authenticate(member, &digits, minutes);
            (desk.common.ask("b2b_totp_authenticate", call).await, "totp")
        }
        Using::RecoveryCode => {
            let call = client.member_recover(member, form::recovery_code(code)?, minutes);
            (desk.common.ask("b2b_recovery_codes_recover", call).await, "recovery_code")
        }
        Using::Enrol => return None,
    })
}

/// The browser's own session, where it is the one that the step is about.
async fn growing(desk: &Desk<'_>, step: &Second) -> Option<Credential> {
    if step.intermediate.is_some() {
        return None;
    }
    let who = desk.who().await.ok()??;
    (who.word.identity.subject == step.member).then(|| desk.credential())?
}

/// The session that was to grow is no more.
async fn over(desk: &Desk<'_>) -> Next {
    if let Ok(Some(who)) = desk.who().await {
        step_up::is_over(desk, &who.word.identity);
    }
    Next::End(Key::SignInAgain, desk.spoken.get(Key::StepUpOver).to_owned())
}

/// None where there is nothing that a second factor could be added to. `preferred`: whether a member
/// who has both wants to be asked for this one first.
pub(super) fn as_call<'a>(
    step: &'a Second,
    session: Option<&'a Credential>,
    preferred: bool,
) -> Option<MemberStep<'a>> {
    let proof = match &step.intermediate {
        Some(token) => Proof::Intermediate(token),
        None => Proof::Session(session?),
    };
    let enrolling = step.enrolling.is_some();
    Some(MemberStep {
        organization_id: &step.organization,
        member_id: &step.member,
        proof,
        new_phone: step.phone.as_deref().filter(|_| enrolling),
        enrolling,
        preferred: enrolling || (preferred && step.app && step.phone.is_some()),
    })
}
