//! `/organizations`: from one's session in one organization to one in another (REFERENCE.md 2.4).

use super::choice::Choice;
use super::flow;
use super::form::{self, Fields};
use super::login::{Next, admitted, go_on};
use super::page::{Creation, Ticket};
use super::redirect::{login_path, login_to};
use super::shown::with_target;
use super::state::{State, Step};
use super::texts::Key;
use super::{Answer, Desk, Trouble, create, device, member, see_other};
use crate::access::rejection::{Code, Rejection};
use crate::stytch::Vertical;
use crate::telemetry::audit_log::Event;

pub(super) async fn show(desk: &Desk<'_>, query: &Fields<'_>) -> Result<Answer, Rejection> {
    let base = &desk.signin.base_path;
    if desk.config.stytch.vertical != Vertical::B2b {
        return Err(Rejection::new(Code::NoRoute, "users have no organizations"));
    }
    let target = desk.target(query.text("return_to"));
    let wanted = query.get("organization").and_then(form::organization);
    let who = desk.who().await?;
    let (Some(_), Some(credential)) = (who, desk.credential()) else {
        if let Some(wanted) = wanted.filter(|_| desk.is_navigation()) {
            return Ok(Answer::fine(see_other(&login_to(base, &target.location(), wanted))));
        }
        if desk.is_navigation() {
            return Ok(Answer::fine(see_other(&login_path(base, &format!("{base}/organizations")))));
        }
        return Err(desk.nobody());
    };
    if let Some(answer) = desk.limited() {
        return Ok(answer);
    }
    let call = desk.common.client.discovered_by_session(&credential);
    let organizations = match desk.common.ask("b2b_discovery_organizations", call).await {
        Ok(mut found) => {
            found.discovered_organizations.retain(|one| wanted.is_none_or(|wanted| one.is(wanted)));
            Choice::all(&found)
        }
        Err(Trouble::Refused(_)) => {
            return Err(Rejection::new(Code::InvalidCredential, "Stytch refuses the session"));
        }
        Err(Trouble::Unavailable { retry_after, .. }) => {
            let rejection = Rejection::new(Code::StytchUnavailable, "Stytch could not be asked");
            return Err(rejection.retry_after(retry_after));
        }
    };
    if let (Some(wanted), []) = (wanted, organizations.as_slice()) {
        // Not with this address: perhaps with another.
        return Ok(Answer::fine(see_other(&login_to(base, &target.location(), wanted))));
    }
    let (id, state) = (flow::begin(), State::new(target.location(), Step::Switch));
    let ticket = Ticket { flow: &id, token: &state.token, return_to: &state.return_to };
    let notice = query.get("failed").map(|_| Key::ChooseFailed);
    let creation = match create::path(desk, &state.return_to) {
        Some(path) if wanted.is_none() => Creation::Elsewhere(path),
        _ => Creation::Never,
    };
    let page = desk.view().choose(ticket, "/organizations", &organizations, &creation, notice);
    let mut answer = with_target(desk, &state, &page);
    let headers = answer.response.headers_mut();
    flow::make_room(desk, headers);
    flow::keep(desk, &id, &state, headers);
    Ok(answer)
}

pub(super) async fn switch(desk: &Desk<'_>, form: &Fields<'_>) -> Result<Answer, Rejection> {
    let base = &desk.signin.base_path;
    let state = match admitted(desk, form) {
        Ok(state) => state,
        Err(answer) => return Ok(*answer),
    };
    let who = desk.who().await?;
    let (Some(who), Some(credential)) = (who, desk.credential()) else {
        return Ok(Answer::fine(see_other(&login_path(base, &format!("{base}/organizations")))));
    };
    let next = match (form::organization(form.text("organization")), &state.step) {
        (Some(organization), Step::Switch) => {
            let minutes = desk.signin.session_minutes;
            let client = device::client(desk);
            let call = client.session_exchange(&credential, organization, minutes);
            match desk.common.ask("b2b_sessions_exchange", call).await {
                Ok(login) => member::after(desk, login, "organization switch"),
                Err(Trouble::Refused(reason)) => {
                    desk.audit(Event::SignInRefused, Some(&who.word.identity), &reason);
                    let mut response = see_other(&format!("{base}/organizations?failed"));
                    flow::end(desk, form.text("flow"), response.headers_mut());
                    return Ok(Answer::fine(response));
                }
                Err(Trouble::Unavailable { retry_after, .. }) => {
                    let rejection = Rejection::new(Code::StytchUnavailable, "Stytch could not be asked");
                    let again = format!("{base}/organizations");
                    let rejection = rejection.retry_after(retry_after);
                    return Ok(desk.refusal(Key::Unavailable, Key::UnavailableText, Some(&again), rejection));
                }
            }
        }
        _ => Next::Stale,
    };
    Ok(go_on(desk, form.text("flow"), &state, next).await)
}
