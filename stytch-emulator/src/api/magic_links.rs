//! Magic links for Consumer users, by e-mail.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{Reply, sandbox};
use crate::clock::minutes_after;
use crate::error::{ApiError, Refusal};
use crate::login::UserLogin;
use crate::outbox::Message;
use crate::passcode::{self, checked_email};
use crate::redirect::{Arrival, Names, checked_challenge};
use crate::session::{Factor, Holder};
use crate::state::State;
use crate::world::Email;

const MINUTES: u32 = 60;

/// A link about to be sent: to what end, to where, for whom, for how long.
pub(super) struct Link {
    pub(super) kind: &'static str,
    pub(super) url: Url,
    pub(super) challenge: Option<String>,
    pub(super) minutes: u32,
}

impl Link {
    pub(super) fn expires_at(&self, state: &State) -> Timestamp {
        minutes_after(state.clock.now(), self.minutes)
    }
}

/// How long a link shall last: an hour unless the caller says.
pub(super) fn lifetime(asked: Option<i64>) -> Result<u32, Refusal> {
    passcode::lifetime(asked, 5..=10_080, MINUTES).map_err(|_| Refusal::InvalidExpiration)
}

#[derive(Debug, Deserialize)]
pub(super) struct Send {
    email: String,
    login_magic_link_url: Option<String>,
    signup_magic_link_url: Option<String>,
    login_expiration_minutes: Option<i64>,
    signup_expiration_minutes: Option<i64>,
    #[serde(default)]
    create_user_as_pending: bool,
    code_challenge: Option<String>,
    user_id: Option<String>,
}

impl Send {
    fn link(&self, state: &State, kind: &'static str) -> Result<Link, ApiError> {
        let (url, minutes) = match kind {
            "signup" => (
                self.signup_magic_link_url.as_deref().or(self.login_magic_link_url.as_deref()),
                self.signup_expiration_minutes,
            ),
            _ => (self.login_magic_link_url.as_deref(), self.login_expiration_minutes),
        };
        let url = state.redirect_url(url, Refusal::NoMatchForProvidedMagicLinkUrl)?;
        let challenge = checked_challenge(self.code_challenge.as_deref())?;
        Ok(Link { kind, url, challenge, minutes: lifetime(minutes)? })
    }
}

pub(super) fn login_or_create(state: &mut State, request: Send) -> Reply {
    let address = checked_email(&request.email)?;
    let user_created = state.world.user_by_email(address).is_none();
    let link = request.link(state, if user_created { "signup" } else { "login" })?;
    state.user_with_email(address, request.create_user_as_pending);
    let mut answer = send_to_user(state, address, link)?;
    answer.insert("user_created", json!(user_created));
    Ok(answer)
}

pub(super) fn send(state: &mut State, request: Send) -> Reply {
    let address = checked_email(&request.email)?;
    let link = request.link(state, "login")?;
    if let Some(id) = &request.user_id {
        state.world.user_mut(id)?.email.get_or_insert_with(|| Email::unverified(address));
    }
    send_to_user(state, address, link)
}

fn send_to_user(state: &mut State, address: &str, link: Link) -> Reply {
    let user = state.world.user_by_email(address).ok_or(Refusal::EmailNotFound)?;
    let email = user.email.clone().ok_or(Refusal::EmailNotFound)?;
    let fields = json!({ "user_id": user.id, "email_id": email.id });
    let expires_at = link.expires_at(state);
    let token = state.redirects.user_links.issue(email.id, link.challenge, expires_at);
    let arrival = Arrival { token_type: "magic_links", token: &token, redirect_type: link.kind, slug: None };
    state.send_link(&email.address, link.kind, arrival.at(link.url));
    Ok(fields.into())
}

#[derive(Debug, Deserialize)]
pub(super) struct Authenticate {
    token: String,
    code_verifier: Option<String>,
    #[serde(flatten)]
    login: UserLogin,
}

pub(super) fn authenticate(state: &mut State, request: Authenticate) -> Reply {
    let brought = state.brought(&request.login)?;
    let (token, verifier) = (&request.token, request.code_verifier.as_deref());
    let now = state.clock.now();
    let email_id = match token == sandbox::MAGIC_LINK {
        true => state.sandbox_email_id(),
        false => state.redirects.user_links.redeem(token, verifier, now, Names::MAGIC_LINK)?,
    };
    let user = state.proved_method(&email_id)?;
    let factor = Factor::email("magic_link", Holder::User(&user), state.now());
    let mut fields = state.user_sign_in(&user, factor, brought, request.login)?;
    fields.insert("method_id".into(), email_id.into());
    Ok(fields.into())
}

impl State {
    pub(super) fn send_link(&mut self, to: &str, kind: &'static str, url: String) {
        let at = self.clock.now();
        self.outbox.send(Message { to: to.into(), channel: "email", kind, code: None, url: Some(url), at });
    }
}
