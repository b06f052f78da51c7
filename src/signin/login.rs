//! `/login`: from nobody to somebody, step by step.
//!
//! What holds: a GET shows the step that is due and changes nothing; a POST takes it, once, and
//! leads to a GET, so that reloading a page repeats nothing.

use jiff::Timestamp;

use super::flow::{self, MOST_RETURNS};
use super::form::{self, Fields};
use super::needed::Needed;
use super::redirect::login_path;
use super::shown::render;
use super::state::{Away, By, Code, Start, State, Step};
use super::texts::Key;
use super::{
    Answer, Desk, Trouble, callback, create, device, enrolment, link, member, see_other, step_up, trip, user,
};
use crate::access::authn::{Fresh, Proved};
use crate::access::rejection::{self, Rejection};
use crate::clock;
use crate::config::{Secret, SigninMethod, Vertical};
use crate::identity::Kind;
use crate::proxy::cookies;
use crate::stytch::types::SessionFacts;
use crate::telemetry::audit_log::{Event, Seen, Told, Who};

/// Wrong codes in one flow before it has to begin again.
pub(super) const MAX_FAILURES: u8 = 5;
/// Between two codes, in milliseconds.
pub(super) const RESEND_AFTER: i64 = 30_000;

/// What comes of a step.
pub(super) enum Next {
    Step(Step, Option<Key>),
    /// The same step again, with what is wrong and what was typed.
    Amend(Step, Key, String),
    /// Away to a URL, with what is to be known when somebody comes back.
    Leave(Step, String),
    /// The way ends here, with a title and a text.
    End(Key, String),
    In(Box<SignedIn>),
    /// Signed in before, and whatever was to be shown has been seen.
    On,
    /// Nothing has come of it, and it can be taken again.
    Again(Trouble),
    /// The form does not belong to the step.
    Stale,
}

/// A session that Stytch has given.
pub(super) struct SignedIn {
    pub(super) fresh: Fresh,
    pub(super) subject: String,
    pub(super) organization: Option<String>,
    pub(super) session_id: String,
    /// For the audit log.
    pub(super) by: &'static str,
    /// What is shown before the person goes on.
    pub(super) first: Option<Step>,
    /// From which it was signed in, for the audit log.
    pub(super) device: Option<Seen>,
}

impl SignedIn {
    /// None where an answer lacks what a session needs.
    pub(super) fn new(
        subject: String,
        organization: Option<String>,
        tokens: (Option<String>, Option<String>),
        session: Option<SessionFacts>,
        by: &'static str,
    ) -> Option<Box<Self>> {
        let (Some(token), Some(jwt)) = tokens else { return None };
        let SessionFacts { session_id, expires_at } = session.unwrap_or_default();
        let expires_at = expires_at.and_then(|at| at.parse::<Timestamp>().ok()).map(Timestamp::as_second);
        let fresh = Fresh { session_token: Secret::new(token), session_jwt: Secret::new(jwt), expires_at };
        Some(Box::new(Self { fresh, subject, organization, session_id, by, first: None, device: None }))
    }
}

/// GET: the first page, or the one that is due in a flow.
pub(super) async fn show(desk: &Desk<'_>, query: &Fields<'_>) -> Result<Answer, Rejection> {
    if let Some(id) = query.get("flow") {
        return show_step(desk, id).await;
    }
    let target = desk.target(query.text("return_to"));
    let organization = query.get("organization").and_then(form::organization);
    let connection = query.get("connection_id").and_then(form::organization);
    let who = desk.who().await?;
    let needed = query.get("step_up").and_then(Needed::read);
    if let (Some(who), Some(needed)) = (&who, needed)
        && who.word.identity.session.as_ref().is_some_and(|session| !needed.is_had_by(session))
    {
        return step_up::show(desk, who, needed, &target).await;
    }
    let returns = flow::returned(desk);
    if returns >= MOST_RETURNS {
        return Ok(circle(desk, who.is_some()));
    }
    let at_home = |who: &Proved| {
        organization.is_none_or(|asked| {
            who.word.identity.organization.as_ref().is_some_and(|it| it.id == asked || it.slug == asked)
        })
    };
    let create = organization.is_none() && create::is_asked_for(desk, query);
    if !create && who.as_ref().is_some_and(at_home) {
        let mut response = see_other(&target.location());
        flow::note_return(desk, response.headers_mut());
        return Ok(Answer::fine(response));
    }
    let start = Start {
        organization: organization.map(str::to_owned),
        connection: connection.map(str::to_owned),
        create,
        ..Start::default()
    };
    let kept = who.is_some() || cookies::has_own(&desk.config.session, &desk.parts.headers);
    let notice = (returns > 0 && !kept).then_some(Key::NotKept);
    let (id, state) = (flow::begin(), State::new(target.location(), Step::Start(start)).telling(notice));
    let mut answer = render(desk, &id, &state).await?;
    let headers = answer.response.headers_mut();
    flow::make_room(desk, headers);
    flow::keep(desk, &id, &state, headers);
    Ok(answer)
}

/// Sent away as signed in, and back again and again: nobody is helped by once more.
fn circle(desk: &Desk<'_>, signed_in: bool) -> Answer {
    let (view, session) = (desk.view(), &desk.config.session);
    let reason = if signed_in {
        format!("{} takes the session, and what it protects does not.", desk.visit.host)
    } else {
        let (jwt, token) = (&session.jwt_cookie, &session.cookie);
        format!("the cookies {jwt} and {token} do not come back to {} (session.cookies).", desk.visit.host)
    };
    let text = desk.spoken.filled(Key::LoopText, &[("reason", &reason)]);
    let again = login_path(&desk.signin.base_path, "");
    let page = view.end(Key::Loop, &text, Some((&again, Key::StartAgain)));
    let rejection = Rejection::new(rejection::Code::LoopDetected, "sent to sign in again and again");
    let mut response = view.answer(rejection.code.status(), &page, None);
    flow::forget_returns(desk, response.headers_mut());
    Answer::refused(response, rejection)
}

async fn show_step(desk: &Desk<'_>, id: &str) -> Result<Answer, Rejection> {
    match flow::open(desk, id) {
        Ok(state) => render(desk, id, &state).await,
        Err(_) => Ok(stale(desk, "")),
    }
}

/// POST: takes a step.
pub(super) async fn take(desk: &Desk<'_>, form: &Fields<'_>) -> Result<Answer, Rejection> {
    let state = match admitted(desk, form) {
        Ok(state) => state,
        Err(answer) => return Ok(*answer),
    };
    let next = match (&state.step, form.text("action")) {
        (_, "restart") => {
            let mut response = see_other(&login_path(&desk.signin.base_path, &state.return_to));
            flow::end(desk, form.text("flow"), response.headers_mut());
            return Ok(Answer::fine(response));
        }
        (Step::Away(away @ Away { mailed: Some(mailed), .. }), _) => {
            link::waiting(desk, away, mailed, form).await
        }
        (Step::Start(start) | Step::Away(Away { start, .. }), action) => {
            begin(desk, start, action, form).await
        }
        (Step::Connect { start, connections }, "connect") => {
            let chosen = connections.iter().find(|(id, _)| id == form.text("connection"));
            chosen.map_or(Next::Stale, |(id, _)| trip::to_connection(desk, start, id))
        }
        (Step::Code(code), "code") => try_code(desk, code, form.text("code")).await,
        (Step::Code(code), "resend") => resend(desk, code).await,
        (Step::Choose { intermediate }, "choose") => {
            member::choose(desk, intermediate, form.text("organization")).await
        }
        (Step::Choose { intermediate }, "create") => create::ask(desk, intermediate),
        (Step::Create(asked), "create") => create::create(desk, asked, form).await,
        (Step::Create(asked), "choose") if asked.others => {
            Next::Step(Step::Choose { intermediate: asked.intermediate.clone() }, None)
        }
        (Step::Second(second), _) => member::second(desk, second, form).await,
        (Step::StepUp(step), _) => step_up::take(desk, step, form).await,
        (Step::Keep(_) | Step::Left(_), "on") => Next::On,
        (Step::Left(left), "new_codes") => enrolment::rotate(desk, left).await?,
        _ => Next::Stale,
    };
    Ok(go_on(desk, form.text("flow"), &state, next).await)
}

/// The first step, in whichever way.
async fn begin(desk: &Desk<'_>, start: &Start, action: &str, form: &Fields<'_>) -> Next {
    match action {
        "email" => send_email(desk, start, form.text("email")).await,
        "phone" => {
            send_phone(desk, start, (SigninMethod::SmsOtp, By::UserPhone(None)), form.text("phone")).await
        }
        "whatsapp" => {
            let way = (SigninMethod::WhatsappOtp, By::UserWhatsapp(None));
            send_phone(desk, start, way, form.text("phone")).await
        }
        "link" => link::to_address(desk, start, form.text("email")).await,
        "oauth" => trip::to_provider(desk, start, form.text("provider")),
        "sso" => trip::by_sso(desk, start, form.text("organization")).await,
        _ => Next::Stale,
    }
}

/// The state of the step that a form may take, which is taken by that; or the answer that says why
/// it may not.
pub(super) fn admitted(desk: &Desk<'_>, form: &Fields<'_>) -> Result<State, Box<Answer>> {
    let state =
        flow::open(desk, form.text("flow")).map_err(|_| Box::new(stale(desk, form.text("return_to"))))?;
    let (given, expected) = (form.text("token").as_bytes(), state.token.as_bytes());
    if aws_lc_rs::constant_time::verify_slices_are_equal(given, expected).is_err() {
        return Err(Box::new(stale(desk, &state.return_to)));
    }
    if let Some(answer) = desk.limited() {
        return Err(Box::new(answer));
    }
    if !desk.common.lasting.taken.take(&state, desk.now) {
        return Err(Box::new(stale(desk, &state.return_to)));
    }
    device::resume(desk, &state, Some(form));
    Ok(state)
}

/// The answer to a step that was taken.
pub(super) async fn go_on(desk: &Desk<'_>, id: &str, state: &State, next: Next) -> Answer {
    let following = |step| State::new(state.return_to.clone(), step).at(desk.trace.borrow().clone());
    match next {
        Next::Step(step, notice) => {
            let next = following(step).telling(notice);
            let mut response = see_other(&step_path(desk, id));
            if !flow::keep(desk, id, &next, response.headers_mut()) {
                return stale(desk, &state.return_to);
            }
            Answer::fine(response)
        }
        Next::Amend(step, notice, typed) => {
            let next = following(step).telling(Some(notice)).recalling(typed);
            let mut response = see_other(&step_path(desk, id));
            flow::keep(desk, id, &next, response.headers_mut());
            Answer::fine(response)
        }
        Next::Leave(step, url) => {
            let next = following(step);
            let mut response = see_other(&url);
            if !flow::keep(desk, id, &next, response.headers_mut()) {
                return stale(desk, &state.return_to);
            }
            Answer::fine(response)
        }
        Next::End(title, text) => {
            let again = login_path(&desk.signin.base_path, &state.return_to);
            let page = desk.view().end(title, &text, Some((&again, Key::StartAgain)));
            let mut answer = desk.page(&page);
            flow::end(desk, id, answer.response.headers_mut());
            answer
        }
        Next::In(mut signed_in) => {
            device::keep(desk, &mut signed_in).await;
            arrive(desk, id, state, &signed_in)
        }
        Next::On => {
            let mut response = see_other(&desk.target(&state.return_to).location());
            flow::end(desk, id, response.headers_mut());
            flow::note_return(desk, response.headers_mut());
            Answer::fine(response)
        }
        Next::Again(trouble) => {
            let mut answer = again(desk, &step_path(desk, id), trouble);
            flow::keep(desk, id, &state.again(), answer.response.headers_mut());
            answer
        }
        Next::Stale => stale(desk, &state.return_to),
    }
}

pub(super) fn step_path(desk: &Desk<'_>, id: &str) -> String {
    format!("{}/login?flow={id}", desk.signin.base_path)
}

/// The first page, for one organization where it is known.
pub(super) fn login_path_into(desk: &Desk<'_>, return_to: &str, organization: Option<&str>) -> String {
    let path = login_path(&desk.signin.base_path, return_to);
    match organization {
        Some(organization) => {
            format!("{path}{}organization={organization}", if path.contains('?') { '&' } else { '?' })
        }
        None => path,
    }
}

/// Signed in: both cookies, and on to where the person was going, or to what is shown first.
fn arrive(desk: &Desk<'_>, id: &str, state: &State, signed_in: &SignedIn) -> Answer {
    let first = signed_in.first.clone().map(|step| State::new(state.return_to.clone(), step));
    let mut response = match first {
        Some(_) => see_other(&step_path(desk, id)),
        None => callback::onwards(desk, &desk.target(&state.return_to).location()),
    };
    let headers = response.headers_mut();
    // What another person left behind must not stand beside the new session.
    desk.fresh.take();
    desk.refused.set(None);
    cookies::replace(&desk.config.session, &signed_in.fresh, headers);
    match first {
        Some(first) => drop(flow::keep(desk, id, &first, headers)),
        None => {
            flow::end(desk, id, headers);
            flow::note_return(desk, headers);
        }
    }
    let who = Who {
        kind: Some(Kind::Session.as_str()),
        subject: Some(signed_in.subject.clone()),
        client_id: None,
        organization_id: signed_in.organization.clone(),
        session_id: Some(signed_in.session_id.clone()),
    };
    let (detail, device) = (signed_in.by.to_owned(), signed_in.device.clone());
    desk.told.borrow_mut().push(Told { event: Event::SignIn, code: None, who, detail, device });
    Answer::fine(response)
}

/// Used already, too old, another browser's, or the cookie was not kept.
pub(super) fn stale(desk: &Desk<'_>, return_to: &str) -> Answer {
    let again = login_path(&desk.signin.base_path, &desk.target(return_to).location());
    let rejection = Rejection::new(rejection::Code::BadRequest, "no such step of a sign-in, or not any more");
    desk.refusal(Key::Stale, Key::StaleText, Some(&again), rejection)
}

/// Could not be checked. The step can be taken again.
pub(super) fn again(desk: &Desk<'_>, way_on: &str, trouble: Trouble) -> Answer {
    let (limited, wait) = match trouble {
        Trouble::Unavailable { limited, retry_after } => (limited, retry_after),
        Trouble::Refused(_) => (false, super::RETRY_AFTER),
    };
    let (title, text) =
        if limited { (Key::Limited, Key::LimitedText) } else { (Key::Unavailable, Key::UnavailableText) };
    let rejection = Rejection::new(rejection::Code::StytchUnavailable, "Stytch could not be asked");
    desk.refusal(title, text, Some(way_on), rejection.retry_after(wait))
}

async fn send_email(desk: &Desk<'_>, start: &Start, text: &str) -> Next {
    if !desk.signin.methods.contains(&SigninMethod::EmailOtp) {
        return Next::Stale;
    }
    let Some(email) = form::email(text) else {
        return Next::Amend(Step::Start(start.clone()), Key::InvalidEmail, text.to_owned());
    };
    let by = match desk.config.stytch.vertical {
        Vertical::B2b => By::Member(start.clone()),
        Vertical::Consumer => By::UserEmail(None),
    };
    send(desk, email.to_owned(), by, 0, None).await
}

async fn send_phone(desk: &Desk<'_>, start: &Start, (method, by): (SigninMethod, By), text: &str) -> Next {
    if !desk.signin.methods.contains(&method) {
        return Next::Stale;
    }
    let Some(phone) = form::phone(text) else {
        return Next::Amend(Step::Start(start.clone()), Key::InvalidPhone, text.to_owned());
    };
    send(desk, phone, by, 0, None).await
}

async fn resend(desk: &Desk<'_>, code: &Code) -> Next {
    if desk.now - code.sent_at < RESEND_AFTER {
        return Next::Step(Step::Code(code.clone()), Some(Key::Wait));
    }
    send(desk, code.to.clone(), code.by.clone(), code.failures, Some(Key::Resent)).await
}

/// Sends a code. Whether anything was sent, the person is told the same.
pub(super) async fn send(desk: &Desk<'_>, to: String, by: By, failures: u8, notice: Option<Key>) -> Next {
    if desk.was_sent_too_many(&to) {
        desk.audit(Event::Limited, None, "recipient");
        return Next::End(Key::Limited, desk.spoken.get(Key::LimitedText).to_owned());
    }
    let sent = match &by {
        By::Member(start) => member::send(desk, start, &to).await.map(|()| by.clone()),
        By::UserEmail(_) => user::send_email(desk, &to).await.map(|id| By::UserEmail(Some(id))),
        By::UserPhone(_) => user::send_sms(desk, &to).await.map(|id| By::UserPhone(Some(id))),
        By::UserWhatsapp(_) => user::send_whatsapp(desk, &to).await.map(|id| By::UserWhatsapp(Some(id))),
    };
    let by = match sent {
        Ok(by) => by,
        Err(Trouble::Refused(reason)) => {
            desk.audit(Event::SendRefused, None, &reason);
            by
        }
        Err(trouble) => return Next::Again(trouble),
    };
    Next::Step(Step::Code(Code { to, by, sent_at: clock::unix_millis(), failures }), notice)
}

async fn try_code(desk: &Desk<'_>, step: &Code, text: &str) -> Next {
    let Some(digits) = form::code(text) else {
        return Next::Step(Step::Code(step.clone()), Some(Key::InvalidCode));
    };
    if desk.was_tried_too_often(&step.to) {
        desk.audit(Event::Limited, None, "recipient");
        return Next::End(Key::Limited, desk.spoken.get(Key::LimitedText).to_owned());
    }
    let tried = match &step.by {
        By::Member(start) => member::try_code(desk, start, &step.to, &digits).await,
        By::UserEmail(Some(id)) => user::try_code(desk, id, &digits, "email_otp").await,
        By::UserPhone(Some(id)) => user::try_code(desk, id, &digits, "sms_otp").await,
        By::UserWhatsapp(Some(id)) => user::try_code(desk, id, &digits, "whatsapp_otp").await,
        By::UserEmail(None) | By::UserPhone(None) | By::UserWhatsapp(None) => {
            Err(Trouble::Refused("nothing was sent".to_owned()))
        }
    };
    match tried {
        Ok(next) => next,
        Err(Trouble::Refused(reason)) => {
            desk.audit(Event::SignInRefused, None, &reason);
            let failures = step.failures.saturating_add(1);
            if failures >= MAX_FAILURES {
                let start = match &step.by {
                    By::Member(start) => start.clone(),
                    By::UserEmail(_) | By::UserPhone(_) | By::UserWhatsapp(_) => Start::default(),
                };
                return Next::Step(Step::Start(start), Some(Key::TooManyCodes));
            }
            Next::Step(Step::Code(Code { failures, ..step.clone() }), Some(Key::WrongCode))
        }
        Err(trouble) => Next::Again(trouble),
    }
}
