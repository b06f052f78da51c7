//! Signing in again although a session exists, because a page asks for more than it has.
//!
//! What holds: the session that is there grows, and is asked nothing but what Stytch knows of its own
//! owner: no address, phone or app is added on this way, or whoever finds a session lying about
//! could make it pass; a GET shows what can be done, and a POST does it.

use maud::html;
use serde_json::Value;

use super::form::{self, Fields};
use super::login::{self, Next};
use super::needed::Needed;
use super::page::{Page, Ticket, View};
use super::redirect::login_path;
use super::refusal::why;
use super::state::{By, Second, Start, State, Step, StepUp, Using};
use super::target::Target;
use super::texts::Key;
use super::{Answer, Desk, Trouble, flow, member, see_other, shown, trip};
use crate::access::authn::Proved;
use crate::access::authn::answer::Answer as Known;
use crate::access::rejection::{Code, Rejection};
use crate::config::{SigninMethod, Vertical};
use crate::identity::{Identity, Profile, Session};
use crate::stytch::Along;

/// GET: what can be done about what a page asks for.
pub(super) async fn show(
    desk: &Desk<'_>,
    who: &Proved,
    needed: Needed,
    target: &Target,
) -> Result<Answer, Rejection> {
    let Some(credential) = desk.credential() else { return Err(desk.nobody()) };
    if let Some(answer) = desk.limited() {
        return Ok(answer);
    }
    let along = Along::default();
    let call = desk.common.client.authenticate(&credential, &along);
    let answered = match desk.common.ask("sessions_authenticate", call).await {
        Ok(answered) => Known::read(answered, desk.config.stytch.vertical, desk.now),
        Err(Trouble::Refused(_)) => {
            is_over(desk, &who.word.identity);
            return Ok(Answer::fine(see_other(&login_path(&desk.signin.base_path, &target.location()))));
        }
        Err(Trouble::Unavailable { retry_after, .. }) => {
            let again = desk.parts.uri.path_and_query().map(|again| again.as_str());
            let rejection = Rejection::new(Code::StytchUnavailable, "Stytch could not be asked");
            let rejection = rejection.retry_after(retry_after);
            return Ok(desk.refusal(Key::Unavailable, Key::UnavailableText, again, rejection));
        }
    };
    let step = answered.and_then(|answered| ways(desk, &answered.identity, needed.clone()));
    let Some(step) = step else { return Ok(end(desk, &needed)) };
    let (id, state) = (flow::begin(), State::new(target.location(), Step::StepUp(step)));
    let mut answer = shown::render(desk, &id, &state).await?;
    let headers = answer.response.headers_mut();
    flow::make_room(desk, headers);
    flow::keep(desk, &id, &state, headers);
    Ok(answer)
}

/// Stytch says that the session is over: here it is too, and in the browser.
pub(super) fn is_over(desk: &Desk<'_>, identity: &Identity) {
    desk.site.gate.authn().end(identity);
    desk.fresh.take();
    desk.refused.set(Some(Code::InvalidCredential));
}

/// The way ends here: the person stays signed in, as before.
fn end(desk: &Desk<'_>, needed: &Needed) -> Answer {
    let text = desk.spoken.filled(Key::StepUpEndText, &[("needed", &needed.to_string())]);
    let rejection =
        Rejection::new(Code::StepUpRequired, "nothing that is offered here gives what is asked for");
    let view = desk.view();
    let page = view.end(Key::StepUpEnd, &text, None);
    Answer::refused(view.answer(rejection.code.status(), &page, None), rejection)
}

/// What of a person's own adds what is needed to their session; none where nothing does, or not all.
fn ways(desk: &Desk<'_>, identity: &Identity, needed: Needed) -> Option<StepUp> {
    let (session, profile) = (identity.session.as_ref()?, identity.profile.as_deref()?);
    let own = match desk.config.stytch.vertical {
        Vertical::B2b => Own::of_member(profile),
        Vertical::Consumer => Own::of_user(profile),
    };
    let offers = |method| desk.signin.methods.contains(&method);
    let helps = |kind: &str| needed.is_met_by(kind, session);
    let is_member = desk.config.stytch.vertical == Vertical::B2b;
    let email = own.email.filter(|_| offers(SigninMethod::EmailOtp) && helps(own.email_kind));
    let phone = own.phone.filter(|_| (is_member || offers(SigninMethod::SmsOtp)) && helps("otp"));
    let app = own.app && helps("totp");
    let organization = identity.organization.as_ref().map(|organization| organization.id.clone());
    let mut step = StepUp {
        needed,
        subject: identity.subject.clone(),
        organization,
        email,
        phone,
        app,
        others: Vec::new(),
    };
    let mut given = Vec::new();
    given.extend(step.email.is_some().then_some(own.email_kind));
    given.extend(step.phone.is_some().then_some("otp"));
    given.extend(step.app.then_some("totp"));
    let others = others(desk, &step, session, profile);
    given.extend(others.iter().map(|(_, kind)| *kind));
    step.others = others.into_iter().map(|(method, _)| method).collect();
    let suffices = match &step.needed {
        Needed::Factors(wanted) => {
            wanted.iter().all(|kind| session.has_factor(kind) || given.contains(&kind.as_str()))
        }
        Needed::Mfa | Needed::Recent | Needed::Device => !given.is_empty(),
    };
    suffices.then_some(step)
}

/// The ways that leave the gateway and come back with what is needed: as an organization's
/// `allowed_auth_methods` name them, with the type of factor that each gives.
fn others(
    desk: &Desk<'_>,
    step: &StepUp,
    session: &Session,
    profile: &Profile,
) -> Vec<(String, &'static str)> {
    let organization = &profile.organization;
    let connections = organization.get("sso_active_connections").and_then(Value::as_array);
    let has_sso = connections.is_some_and(|connections| !connections.is_empty());
    let providers = desk.signin.oauth_providers.iter().filter_map(|provider| provider.auth_method());
    let all = [("sso", "sso"), ("magic_link", "magic_link")].into_iter();
    let all = all.chain(providers.map(|method| (method, "oauth")));
    let helping = all.filter(|(_, kind)| step.needed.is_met_by(kind, session));
    helping
        .filter(|(method, _)| has_sso || *method != "sso")
        .filter(|(method, _)| allows(organization, "auth_methods", "allowed_auth_methods", method))
        .filter(|(method, _)| {
            let only = vec![(*method).to_owned()];
            let offers = trip::offers(
                desk,
                &Start { organization: step.organization.clone(), only, ..Start::default() },
            );
            offers.link || !offers.providers.is_empty() || offers.sso == trip::Sso::Known
        })
        .map(|(method, kind)| (method.to_owned(), kind))
        .collect()
}

/// What Stytch knows to be somebody's own.
struct Own {
    email: Option<String>,
    /// The type of factor that a code to it gives (REFERENCE.md 2.3).
    email_kind: &'static str,
    phone: Option<String>,
    app: bool,
}

impl Own {
    fn of_member(profile: &Profile) -> Self {
        let (member, organization) = (&profile.person, &profile.organization);
        let takes_email = allows(organization, "auth_methods", "allowed_auth_methods", "email_otp");
        let takes = |method| allows(organization, "mfa_methods", "allowed_mfa_methods", method);
        let verified = member.get("mfa_phone_number_verified").and_then(Value::as_bool) == Some(true);
        Self {
            email: text(member, "email_address").filter(|_| takes_email),
            email_kind: "email_otp",
            phone: text(member, "mfa_phone_number").filter(|_| verified && takes("sms_otp")),
            app: text(member, "totp_registration_id").is_some() && takes("totp"),
        }
    }

    fn of_user(profile: &Profile) -> Self {
        let verified = |list: &str, key: &str| {
            let entries = profile.person.get(list)?.as_array()?;
            let is_verified = |entry: &&Value| entry.get("verified").and_then(Value::as_bool) == Some(true);
            text(entries.iter().find(is_verified)?, key)
        };
        Self {
            email: verified("emails", "email"),
            email_kind: "otp",
            phone: verified("phone_numbers", "phone_number"),
            app: false,
        }
    }
}

fn text(object: &Value, key: &str) -> Option<String> {
    object.get(key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Whether an organization takes a method (REFERENCE.md 2.3).
fn allows(organization: &Value, policy: &str, list: &str, method: &str) -> bool {
    let restricted = organization.get(policy).and_then(Value::as_str) == Some("RESTRICTED");
    let listed = organization.get(list).and_then(Value::as_array);
    !restricted || listed.is_some_and(|listed| listed.iter().any(|allowed| allowed == method))
}

/// POST: the way that was chosen.
pub(super) async fn take(desk: &Desk<'_>, step: &StepUp, form: &Fields<'_>) -> Next {
    match (form.text("action"), &step.organization) {
        ("email", Some(organization)) => {
            let start = Start { organization: Some(organization.clone()), ..Start::default() };
            send(desk, step.email.as_ref(), By::Member(start)).await
        }
        ("email", None) => send(desk, step.email.as_ref(), By::UserEmail(None)).await,
        ("sms", None) => send(desk, step.phone.as_ref(), By::UserPhone(None)).await,
        ("sms", Some(organization)) if step.phone.is_some() => {
            member::text(desk, &second(step, organization, Using::Sms)).await
        }
        ("app", Some(organization)) if step.app => {
            Next::Step(Step::Second(second(step, organization, Using::App)), None)
        }
        ("other", _) if !step.others.is_empty() => Next::Step(Step::Start(elsewhere(step)), None),
        _ => Next::Stale,
    }
}

/// Where those ways begin that leave the gateway.
fn elsewhere(step: &StepUp) -> Start {
    Start { organization: step.organization.clone(), only: step.others.clone(), ..Start::default() }
}

async fn send(desk: &Desk<'_>, to: Option<&String>, by: By) -> Next {
    match to {
        Some(to) => login::send(desk, to.clone(), by, 0, None).await,
        None => Next::Stale,
    }
}

/// A member's second factor, for the session that is there.
fn second(step: &StepUp, organization: &str, using: Using) -> Second {
    Second {
        intermediate: None,
        organization: organization.to_owned(),
        member: step.subject.clone(),
        phone: step.phone.clone(),
        app: step.app,
        enrolling: None,
        using,
        sent_at: None,
        failures: 0,
    }
}

impl View<'_> {
    /// Asks how somebody wants to show that it is them.
    pub(super) fn step_up(&self, ticket: Ticket<'_>, step: &StepUp) -> Page {
        let phone = step.phone.as_deref().map(form::covered);
        let body = html! {
            p { (self.text(why(&step.needed))) }
            form method="post" action={ (self.base) "/login" } {
                (ticket.fields())
                @if let Some(email) = &step.email {
                    button name="action" value="email" {
                        (self.spoken.filled(Key::StepUpEmail, &[("address", email)]))
                    }
                }
                @if let Some(phone) = &phone {
                    button name="action" value="sms" {
                        (self.spoken.filled(Key::StepUpSms, &[("phone", phone)]))
                    }
                }
                @if !step.others.is_empty() {
                    button name="action" value="other" { (self.text(Key::StepUpOther)) }
                }
                @if step.app {
                    button name="action" value="app" { (self.text(Key::StepUpApp)) }
                }
            }
        };
        Page { title: self.text(Key::StepUp).to_owned(), body }
    }
}
