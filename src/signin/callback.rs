//! `/callback`: back from where a sign-in went (REFERENCE.md 7.5).
//!
//! The address is registered at Stytch and cannot say which tab's flow somebody comes back to, so
//! the kind of token does: it belongs to the flow of this browser that was last begun with that
//! kind. An older one of the same kind cannot be gone on with until the newer has ended, and its
//! token is refused, because each flow has a verifier of its own.
//!
//! What holds: without a state of this very browser Stytch is not asked, so what another person has
//! begun signs nobody in, and a scanner that opens links uses none up (ATTACKS.md K15); a token of
//! another kind than what was begun is not looked at; a state is taken by the first answer of
//! Stytch's, and kept where there is none.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};

use super::flow;
use super::form::{self, Fields};
use super::login::{Next, again, go_on, login_path_into, stale, step_path};
use super::state::{Away, State, Step, Trip};
use super::texts::Key;
use super::user::Came;
use super::{Answer, Desk, Trouble, device, member, see_other, user};
use crate::access::rejection::{Code, Rejection};
use crate::config::{SameSite, Vertical};
use crate::stytch::{Brought, MemberToken, Returned};
use crate::telemetry::audit_log::Event;

/// The parameter that names the kind of a token.
pub(super) const KIND: &str = "stytch_token_type";
/// Stytch's tokens are far shorter.
const MAX_TOKEN: usize = 1024;

/// Kinds that sign nobody in here: what a support person begins, and new passwords.
const NOT_FOR_SIGN_IN: [&str; 4] =
    ["impersonation", "multi_tenant_impersonation", "reset_password", "multi_tenant_passwords"];
/// Kinds that are sent by mail, and so may be opened anywhere.
const LINKS: [&str; 3] = ["magic_links", "multi_tenant_magic_links", "discovery"];

/// Refusals of the token itself: it may be an older tab's, and what this browser waits for may
/// still come.
const OF_TOKENS: [&str; 7] = [
    "magic_link_not_found",
    "oauth_token_not_found",
    "pkce_did_not_expect_code_verifier",
    "pkce_expected_code_verifier",
    "pkce_mismatch",
    "sso_token_not_found",
    "unable_to_auth_magic_link",
];

pub(super) async fn back(desk: &Desk<'_>, query: &Fields<'_>) -> Answer {
    let mut answer = judged(desk, query).await;
    // The address of this page holds the token, and there is no form on it.
    answer.response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

async fn judged(desk: &Desk<'_>, query: &Fields<'_>) -> Answer {
    let kind = query.text(KIND);
    if desk.parts.method == Method::HEAD {
        // No browser asks so, and a link is not to be used up by what only looks at it.
        return stale(desk, "");
    }
    if NOT_FOR_SIGN_IN.contains(&kind) {
        return end(desk, Key::OtherLink, Key::OtherLinkText, "", "a token that signs nobody in here");
    }
    let Some(token) = token(query) else { return empty_handed(desk) };
    let begun = flow::newest(desk, |step| matches!(step, Step::Away(away) if fits(desk, away, kind)));
    let Some((id, state)) = begun else { return nobodys(desk, kind, query) };
    let Step::Away(away) = &state.step else { return nobodys(desk, kind, query) };
    if let Some(answer) = desk.limited() {
        return answer;
    }
    if !desk.common.lasting.taken.take(&state, desk.now) {
        return stale(desk, &state.return_to);
    }
    device::resume(desk, &state, None);
    match redeem(desk, away, token, query.get("slug")).await {
        Ok(Next::Again(trouble)) => not_now(desk, &id, &state, trouble),
        Ok(next) => go_on(desk, &id, &state, next).await,
        Err(text) => still_away(desk, &id, &state, text),
    }
}

/// The token that came, if it has the form of one.
pub(super) fn token<'q>(query: &'q Fields<'_>) -> Option<&'q str> {
    let token = query.get("token")?;
    ((1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic()))
        .then_some(token)
}

/// Whether a token of this kind is what a trip comes back with.
pub(super) fn fits(desk: &Desk<'_>, away: &Away, kind: &str) -> bool {
    let expected = match (desk.config.stytch.vertical, away.trip) {
        (_, Trip::Oauth) => "oauth",
        (Vertical::Consumer, Trip::Link) => "magic_links",
        (Vertical::B2b, Trip::Link) => "multi_tenant_magic_links",
        (Vertical::B2b, Trip::DiscoveryOauth) => "discovery_oauth",
        (Vertical::B2b, Trip::DiscoveryLink) => "discovery",
        (Vertical::B2b, Trip::Sso) => "sso",
        // Left over from settings that were changed since.
        (Vertical::Consumer, Trip::DiscoveryOauth | Trip::DiscoveryLink | Trip::Sso) => return false,
    };
    kind == expected
}

/// Shows Stytch a token with the verifier of this trip. The error is what to tell about a token
/// that Stytch does not take, after which the trip goes on.
pub(super) async fn redeem(
    desk: &Desk<'_>,
    away: &Away,
    token: &str,
    slug: Option<&str>,
) -> Result<Next, Key> {
    let returned = Returned { token, verifier: &away.verifier };
    let asked = match desk.config.stytch.vertical {
        Vertical::Consumer => as_user(desk, away.trip, returned).await,
        Vertical::B2b => as_member(desk, away, returned, slug).await,
    };
    match asked {
        Ok(next) => Ok(next),
        Err(Trouble::Refused(reason)) => {
            desk.audit(Event::SignInRefused, None, &reason);
            if OF_TOKENS.contains(&reason.as_str()) {
                return Err(if away.mailed.is_some() { Key::LinkSpent } else { Key::TokenRefused });
            }
            Ok(Next::Step(Step::Start(away.start.clone()), Some(Key::NotAdmitted)))
        }
        Err(trouble) => Ok(Next::Again(trouble)),
    }
}

async fn as_member(
    desk: &Desk<'_>,
    away: &Away,
    returned: Returned<'_>,
    slug: Option<&str>,
) -> Result<Next, Trouble> {
    let (client, minutes) = (device::client(desk), desk.signin.session_minutes);
    let (kind, endpoint, by) = match away.trip {
        Trip::DiscoveryOauth => {
            let call = client.discovery_oauth_authenticate(returned);
            let found = desk.common.ask("b2b_oauth_discovery_authenticate", call).await?;
            return Ok(member::discovered(desk, &away.start, found).await);
        }
        Trip::DiscoveryLink => {
            let call = client.discovery_link_authenticate(returned);
            let found = desk.common.ask("b2b_magic_links_discovery_authenticate", call).await?;
            return Ok(member::discovered(desk, &away.start, found).await);
        }
        Trip::Oauth => (MemberToken::Oauth, "b2b_oauth_authenticate", "oauth"),
        Trip::Sso => (MemberToken::Sso, "b2b_sso_authenticate", "sso"),
        Trip::Link => (MemberToken::MagicLink, "b2b_magic_links_authenticate", "magic_link"),
    };
    let session = match away.start.organization.as_deref().or(slug) {
        Some(organization) => member::own_session(desk, organization).await,
        None => None,
    };
    let intermediate = away.start.intermediate.as_deref();
    let ask = async |session: Option<&_>| {
        let call = client.member_return(kind, returned, Brought { intermediate, session }, minutes);
        desk.common.ask(endpoint, call).await
    };
    let login = match ask(session.as_ref()).await {
        Err(trouble) if session.is_some() && trouble.is_about_session() => ask(None).await?,
        tried => tried?,
    };
    Ok(member::after(desk, login, by))
}

async fn as_user(desk: &Desk<'_>, trip: Trip, returned: Returned<'_>) -> Result<Next, Trouble> {
    let (client, minutes) = (device::client(desk), desk.signin.session_minutes);
    let came = Came::by(desk);
    let session = user::own_session(desk).await;
    let is_link = trip == Trip::Link;
    let ask = async |session: Option<&_>| {
        if is_link {
            let call = client.user_link_authenticate(returned, came.attributes(), session, minutes);
            desk.common.ask("magic_links_authenticate", call).await
        } else {
            let call = client.user_oauth_authenticate(returned, session, minutes);
            desk.common.ask("oauth_authenticate", call).await
        }
    };
    let login = match ask(session.as_ref()).await {
        Err(trouble) if session.is_some() && trouble.is_about_session() => ask(None).await?,
        tried => tried?,
    };
    Ok(user::after(desk, login, if is_link { "magic_link" } else { "oauth" }))
}

/// On to a place. Browsers keep cookies that are `SameSite=Strict` to themselves all along a way that
/// began on another site, so there a page of this site takes the last step.
pub(super) fn onwards(desk: &Desk<'_>, location: &str) -> Response<Bytes> {
    let strict = desk.config.session.cookies.same_site == SameSite::Strict;
    if !strict || desk.parts.method == Method::POST {
        return see_other(location);
    }
    let view = desk.view();
    let page = view.end(Key::SignedIn, "", Some((location, Key::Continue)));
    let mut response = view.answer(StatusCode::OK, &page, None);
    if let Ok(refresh) = HeaderValue::try_from(format!("0; url={location}")) {
        response.headers_mut().insert(header::REFRESH, refresh);
    }
    response
}

/// A page for what has not come of it, and the log line that says why.
fn end(desk: &Desk<'_>, title: Key, text: Key, way_on: &str, reason: &'static str) -> Answer {
    let again = login_path_into(desk, "", None);
    let way_on = if way_on.is_empty() { &again } else { way_on };
    desk.refusal(title, text, Some(way_on), Rejection::new(Code::BadRequest, reason))
}

/// No token: cancelled at the provider, or a mere visit. How providers' refusals come back is not
/// documented, so whatever else there is in the query is not looked at.
fn empty_handed(desk: &Desk<'_>) -> Answer {
    let begun = flow::newest(desk, |step| matches!(step, Step::Away(_)));
    let way_on = begun.map(|(id, _)| step_path(desk, &id)).unwrap_or_default();
    end(desk, Key::NotConfirmed, Key::NotConfirmedText, &way_on, "came back without a token")
}

/// A token that no flow of this browser waits for.
fn nobodys(desk: &Desk<'_>, kind: &str, query: &Fields<'_>) -> Answer {
    desk.audit(Event::SignInRefused, None, "a token that this browser has not asked for");
    if !LINKS.contains(&kind) {
        return stale(desk, "");
    }
    // Also where an invitation leads, which nobody has asked for: its organization is known.
    let slug = query.get("slug").and_then(form::organization);
    let way_on = login_path_into(desk, "", slug);
    end(
        desk,
        Key::LinkElsewhere,
        Key::LinkElsewhereText,
        &way_on,
        "a link that this browser has not asked for",
    )
}

/// The trip goes on: what came back was not what it waits for.
fn still_away(desk: &Desk<'_>, id: &str, state: &State, text: Key) -> Answer {
    let way_on = step_path(desk, id);
    let mut answer = end(desk, Key::NotConfirmed, text, &way_on, "Stytch does not take the token");
    flow::keep(desk, id, &state.again(), answer.response.headers_mut());
    answer
}

/// Nothing was used up, so the same address can be opened again.
fn not_now(desk: &Desk<'_>, id: &str, state: &State, trouble: Trouble) -> Answer {
    let query = desk.parts.uri.query().unwrap_or_default();
    let mut answer = again(desk, &format!("{}?{query}", desk.visit.path), trouble);
    flow::keep(desk, id, &state.again(), answer.response.headers_mut());
    answer
}
