//! `/logout`: ends the session at Stytch, on this replica and in the browser.
//!
//! What holds: a GET only asks; a POST counts from this very origin alone, so an application may
//! have a button of its own, and no other site can sign anybody out (ATTACKS.md K21).

use http::StatusCode;

use super::form::Fields;
use super::redirect::login_path;
use super::target::Target;
use super::texts::Key;
use super::{Answer, Desk, Trouble, flow, see_other};
use crate::access::rejection::Rejection;
use crate::identity::Identity;
use crate::proxy::cookies;
use crate::telemetry::audit_log::Event;

pub(super) fn ask(desk: &Desk<'_>, query: &Fields<'_>) -> Answer {
    let target = query.get("return_to").map(|text| desk.target(text).location());
    let view = desk.view();
    desk.page(&view.sign_out(target.as_deref()))
}

/// Here first: what Stytch could not be told of does not go on on this replica.
async fn end(desk: &Desk<'_>, identity: &Identity) {
    desk.site.gate.authn().end(identity);
    let Some(session) = &identity.session else { return };
    let revoked = desk.common.ask("sessions_revoke", desk.common.client.revoke(&session.id)).await;
    let detail = match revoked {
        Ok(_) => "revoked",
        Err(Trouble::Refused(_)) => "ended before",
        Err(Trouble::Unavailable { .. }) => "not revoked at Stytch, which could not be asked",
    };
    desk.audit(Event::SignOut, Some(identity), detail);
}

pub(super) async fn out(desk: &Desk<'_>, form: &Fields<'_>) -> Result<Answer, Rejection> {
    // Whoever wants to leave leaves, whether or not it can be checked who it is. Stytch is asked to
    // end only what was proved to be a session.
    match desk.who().await {
        Ok(Some(who)) => end(desk, &who.word.identity).await,
        Ok(None) => {}
        Err(rejection) => desk.audit(Event::SignOut, None, rejection.reason),
    }
    let mut response = match form.get("return_to").map(|text| desk.target(text)) {
        Some(target) if target != Target::default() => see_other(&target.location()),
        _ => {
            let view = desk.view();
            let again = login_path(&desk.signin.base_path, "");
            let page = view.end(Key::SignedOut, view.text(Key::SignedOutText), Some((&again, Key::SignIn)));
            view.answer(StatusCode::OK, &page, None)
        }
    };
    desk.fresh.take();
    desk.refused.set(None);
    cookies::forget(&desk.config.session, response.headers_mut());
    flow::forget_returns(desk, response.headers_mut());
    Ok(Answer::fine(response))
}
