//! How a Consumer user gets in. One proof is enough, and a session comes of it only when its length
//! is given or when they bring one.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{ApiError, Refusal};
use crate::session::{self, Factor, Session, Subject};
use crate::state::{Changes, State};
use crate::wire;
use crate::world::{Email, User};

/// The arguments that every way of signing in takes besides its own proof.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct UserLogin {
    session_token: Option<String>,
    session_jwt: Option<String>,
    session_duration_minutes: Option<i64>,
    session_custom_claims: Option<Map<String, Value>>,
    telemetry_id: Option<String>,
}

/// The session a caller brings, if any.
#[derive(Debug)]
pub(crate) struct Brought(Option<String>);

impl State {
    /// The session that comes along with a call. Refuses what no session could become, too, before
    /// a proof is used up for it.
    pub(crate) fn brought(&mut self, login: &UserLogin) -> Result<Brought, Refusal> {
        let minutes = login.session_duration_minutes;
        Changes { minutes, custom_claims: login.session_custom_claims.clone() }.check()?;
        match (&login.session_token, &login.session_jwt) {
            (None, None) => Ok(Brought(None)),
            (token, jwt) => self.session_id(token.as_deref(), jwt.as_deref()).map(|id| Brought(Some(id))),
        }
    }

    /// Lets a user in, who is active from then on.
    pub(crate) fn user_sign_in(
        &mut self,
        user: &User,
        factor: Factor,
        brought: Brought,
        login: UserLogin,
    ) -> Result<Map<String, Value>, ApiError> {
        let device = self.device_of(&user.id, login.telemetry_id.as_deref());
        let (minutes, custom_claims) = (login.session_duration_minutes, login.session_custom_claims);
        self.world.user_mut(&user.id)?.pending = false;
        let resets = self.resets.remove(&user.id);
        if resets {
            self.sessions.remove_all_of(&Subject::User(user.id.clone()));
        }
        let session = self.user_session(user, brought, factor, Changes { minutes, custom_claims })?;
        let session = session.as_ref();
        let user = self.world.user(&user.id)?;
        let jwt = session.map(|session| self.session_jwt(session)).transpose()?;
        Ok(Map::from_iter([
            ("user_id".into(), json!(user.id)),
            ("user".into(), wire::user(user)),
            ("session".into(), json!(session.map(|session| wire::user_session(session, user)))),
            ("session_token".into(), json!(session.map_or("", |session| &session.token))),
            ("session_jwt".into(), json!(jwt.unwrap_or_default())),
            ("reset_sessions".into(), json!(resets)),
            ("user_device".into(), device),
        ]))
    }

    /// The user with that address, made if there is none.
    pub(crate) fn user_with_email(&mut self, address: &str, pending: bool) -> User {
        if let Some(user) = self.world.user_by_email(address) {
            return user.clone();
        }
        let email = Some(Email::unverified(address));
        let user = User { email, pending, created_at: self.now(), ..User::new() };
        self.world.users.push(user.clone());
        user
    }

    /// Notes that the address or number with this id is its user's.
    pub(crate) fn proved_method(&mut self, method_id: &str) -> Result<User, Refusal> {
        let mut users = self.world.users.iter_mut();
        let user = users.find(|user| user.has_method(method_id)).ok_or(Refusal::OtpCodeNotFound)?;
        if let Some(email) = user.email.as_mut().filter(|email| email.id == method_id) {
            email.verified = true;
        }
        if let Some(phone) = user.phone.as_mut().filter(|phone| phone.id == method_id) {
            phone.verified = true;
        }
        Ok(user.clone())
    }

    /// The session they came with, if it is theirs, grown by a factor; else a new one if its length
    /// is given.
    fn user_session(
        &mut self,
        user: &User,
        brought: Brought,
        factor: Factor,
        changes: Changes,
    ) -> Result<Option<Session>, Refusal> {
        let subject = Subject::User(user.id.clone());
        let now = self.now();
        if let Some(id) = brought.0
            && self.sessions.by_id(&id, now)?.subject == subject
        {
            let session = self.access(&id, changes)?;
            session.add_factor(factor);
            return Ok(Some(session.clone()));
        }
        let Some(minutes) = changes.minutes else { return Ok(None) };
        let session = Session::new(subject, vec![factor], session::minutes(minutes)?, now);
        let id = session.id.clone();
        self.sessions.insert(session);
        self.access(&id, changes).cloned().map(Some)
    }
}
