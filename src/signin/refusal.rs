//! The page of a refusal that its reader can do something about: signing in again with what the
//! session lacks, or going to another organization.
//!
//! What holds: the page changes nothing and leads to pages that ask first; it says what the answer
//! says for machines, and no more.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use maud::html;

use super::Common;
use super::needed::Needed;
use super::page::{Page, View};
use super::redirect::{NextStep, WayOn, shown_host};
use super::texts::Key;
use crate::access::rejection::Code;
use crate::config::Signin;

/// `asked` are the headers of the request that was refused.
pub(crate) fn page(
    common: &Common,
    signin: &Signin,
    asked: &HeaderMap,
    way_on: &WayOn,
    status: StatusCode,
    request_id: &str,
) -> Response<Bytes> {
    let host = shown_host(asked).unwrap_or_default();
    let view = View {
        look: &common.look,
        spoken: signin.texts.spoken(asked),
        base: &signin.base_path,
        product: signin.brand.name.as_deref().unwrap_or(&host),
        typed: "",
        script: None,
    };
    let (code, title, text, link) = match &way_on.step {
        NextStep::StepUp(needed) => {
            let text = view.text(why(needed)).to_owned();
            (Code::StepUpRequired, Key::StepUp, text, view.text(Key::SignInAgain).to_owned())
        }
        NextStep::Switch(organization) => {
            let filled = |key| view.spoken.filled(key, &[("organization", organization)]);
            let (text, link) = (filled(Key::ElsewhereText), filled(Key::SwitchTo));
            (Code::OrganizationNotAllowed, Key::Elsewhere, text, link)
        }
    };
    let location = way_on.location.to_str().unwrap_or_default();
    let body = html! {
        p { (text) }
        p { a.button href=(location) { (link) } }
        p.hint { code { (code.as_str()) } " · " code { (request_id) } }
    };
    view.answer(status, &Page { title: view.text(title).to_owned(), body }, None)
}

/// What a page asks for, in words.
pub(super) const fn why(needed: &Needed) -> Key {
    match needed {
        Needed::Factors(_) => Key::StepUpFactors,
        Needed::Mfa => Key::StepUpMfa,
        Needed::Recent => Key::StepUpRecent,
        Needed::Device => Key::StepUpDevice,
    }
}
