//! Magic links: sent to an address, and back as a token (REFERENCE.md 7.5).
//!
//! What holds: a link leads to an address that the settings name, whatever host was asked; it works
//! in the browser that asked for it alone; whether an address is known makes no difference to what
//! a person sees.

use super::form::{self, Fields};
use super::login::{Next, RESEND_AFTER};
use super::state::{Away, LIFETIME, Mailed, Start, Step, Trip};
use super::texts::Key;
use super::user::Came;
use super::{Desk, Trouble, callback, trip};
use crate::clock;
use crate::config::Vertical;
use crate::stytch::Linking;
use crate::telemetry::audit_log::Event;

/// How long a link works, in minutes: as long as the state that it belongs to.
const MINUTES: u32 = (LIFETIME.as_secs() / 60) as u32;

/// The first link of a flow.
pub(super) async fn to_address(desk: &Desk<'_>, start: &Start, text: &str) -> Next {
    if !trip::offers(desk, start).link {
        return Next::Stale;
    }
    let Some(email) = form::email(text) else {
        return Next::Amend(Step::Start(start.clone()), Key::InvalidEmail, text.to_owned());
    };
    let trip = match (desk.config.stytch.vertical, &start.organization) {
        (Vertical::B2b, None) => Trip::DiscoveryLink,
        (Vertical::B2b, Some(_)) | (Vertical::Consumer, _) => Trip::Link,
    };
    let mailed = Some(Mailed { to: email.to_owned(), sent_at: 0 });
    send(desk, Away { trip, verifier: trip::verifier(), start: start.clone(), mailed }, None).await
}

/// What somebody does who waits for a link: asks for another, or says where it has led.
pub(super) async fn waiting(desk: &Desk<'_>, away: &Away, mailed: &Mailed, form: &Fields<'_>) -> Next {
    let stay = |notice| Next::Step(Step::Away(away.clone()), Some(notice));
    match form.text("action") {
        "resend" if desk.now - mailed.sent_at < RESEND_AFTER => stay(Key::WaitLink),
        "resend" => send(desk, away.clone(), Some(Key::ResentLink)).await,
        "paste" => match pasted(form.text("link")) {
            Some((kind, token, slug)) if callback::fits(desk, away, &kind) => {
                callback::redeem(desk, away, &token, slug.as_deref()).await.unwrap_or_else(stay)
            }
            _ => stay(Key::InvalidLink),
        },
        _ => Next::Stale,
    }
}

/// Sends a link. All links of a flow have the same challenge, so the newest is not the only one
/// that leads back to it.
async fn send(desk: &Desk<'_>, away: Away, notice: Option<Key>) -> Next {
    let (Some(mailed), Some(redirect_url)) = (&away.mailed, trip::callback(desk)) else { return Next::Stale };
    if desk.was_sent_too_many(&mailed.to) {
        desk.audit(Event::Limited, None, "recipient");
        return Next::End(Key::Limited, desk.spoken.get(Key::LimitedText).to_owned());
    }
    let (client, to) = (&desk.common.client, mailed.to.as_str());
    let challenge = trip::challenge(&away.verifier);
    let locale = desk.spoken.locale();
    let link = Linking { redirect_url, challenge: &challenge, minutes: MINUTES, locale };
    let sent = match (desk.config.stytch.vertical, &away.start.organization) {
        (Vertical::Consumer, _) => {
            let came = Came::by(desk);
            let call = client.user_link_send(to, came.attributes(), link);
            desk.common.ask("magic_links_email_login_or_create", call).await
        }
        (Vertical::B2b, Some(organization)) => {
            let call = client.member_link_send(organization, to, link);
            desk.common.ask("b2b_magic_links_email_login_or_signup", call).await
        }
        (Vertical::B2b, None) => {
            let call = client.discovery_link_send(to, link);
            desk.common.ask("b2b_magic_links_email_discovery_send", call).await
        }
    };
    match sent {
        Ok(_) => {}
        Err(Trouble::Refused(reason)) => desk.audit(Event::SendRefused, None, &reason),
        Err(trouble) => return Next::Again(trouble),
    }
    let mailed = Some(Mailed { to: mailed.to.clone(), sent_at: clock::unix_millis() });
    Next::Step(Step::Away(Away { mailed, ..away }), notice)
}

/// Kind, token and slug out of the address of the page that a link has led to.
fn pasted(text: &str) -> Option<(String, String, Option<String>)> {
    let query = text.trim().split_once('?')?.1;
    let query = query.split('#').next().unwrap_or_default();
    let fields = Fields::read(query.as_bytes());
    let slug = fields.get("slug").map(str::to_owned);
    Some((fields.get(callback::KIND)?.to_owned(), callback::token(&fields)?.to_owned(), slug))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_was_copied() {
        let link =
            " https://app.test/_stytch/callback?slug=acme&stytch_token_type=discovery&token=a-b_c%3D#x\n";
        let expected = ("discovery".to_owned(), "a-b_c=".to_owned(), Some("acme".to_owned()));
        assert_eq!(pasted(link), Some(expected));
        for wrong in
            ["", "https://app.test/", "https://app.test/?token=x", "https://app.test/?stytch_token_type=sso"]
        {
            assert_eq!(pasted(wrong), None, "{wrong}");
        }
    }
}
