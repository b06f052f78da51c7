//! Everything a running emulator knows, behind one lock.
//!
//! Every call, of the API and of the control API, is a plain function on [`State`] that finishes
//! without waiting for anything, so the lock is never held across an `.await`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::error::Unspecified;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::clock::{Clock, minutes_after};
use crate::device::Devices;
use crate::error::Refusal;
use crate::fault::Faults;
use crate::grant::Grants;
use crate::ids;
use crate::journal::Journal;
use crate::jwt;
use crate::keys::{Key, KeyRing};
use crate::login::Intermediates;
use crate::outbox::Outbox;
use crate::passcode::Passcodes;
use crate::redirect::Redirects;
use crate::session::{self, Session, Sessions, Subject};
use crate::wire;
use crate::world::{Member, Organization, User, World};

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) clock: Clock,
    pub(crate) keys: KeyRing,
    pub(crate) sessions: Sessions,
    pub(crate) intermediates: Intermediates,
    pub(crate) passcodes: Passcodes,
    pub(crate) redirects: Redirects,
    pub(crate) grants: Grants,
    pub(crate) devices: Devices,
    pub(crate) outbox: Outbox,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
    /// Users whose other sessions end when they sign in next, by id.
    pub(crate) resets: HashSet<String>,
}

/// A handle on the state, shared by the server and the [`Emulator`](crate::Emulator).
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub(crate) fn new(world: World) -> Result<Self, Unspecified> {
        Ok(Self(Arc::new(Mutex::new(State {
            world,
            clock: Clock::default(),
            keys: KeyRing::generate()?,
            sessions: Sessions::default(),
            intermediates: Intermediates::default(),
            passcodes: Passcodes::default(),
            redirects: Redirects::default(),
            grants: Grants::default(),
            devices: Devices::default(),
            outbox: Outbox::default(),
            journal: Journal::default(),
            faults: Faults::default(),
            resets: HashSet::new(),
        }))))
    }

    /// A panic in one call says nothing about the next, so a poisoned lock is still good.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a caller asks to change about a session while authenticating it.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The session's new length from now on; its end stays where it is if absent.
    pub(crate) minutes: Option<i64>,
    pub(crate) custom_claims: Option<Map<String, Value>>,
}

impl Changes {
    /// Whether they could be made at all, before anything else is.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        self.minutes.map(session::minutes).transpose()?;
        if let Some(patch) = &self.custom_claims {
            session::patched_claims(&Map::new(), patch)?;
        }
        Ok(())
    }
}

impl State {
    /// The living session that a token or a JWT stands for: one of them, not both.
    pub(crate) fn session_id(&mut self, token: Option<&str>, jwt: Option<&str>) -> Result<String, Refusal> {
        let now = self.clock.second();
        match (token.filter(|it| !it.is_empty()), jwt.filter(|it| !it.is_empty())) {
            (Some(_), Some(_)) => Err(Refusal::TooManySessionArguments),
            (None, None) => Err(Refusal::NoSessionArguments),
            (Some(token), None) if !ids::is_token(token) => Err(Refusal::InvalidSessionToken),
            (Some(token), None) => Ok(self.sessions.by_token(token, now)?.id.clone()),
            (None, Some(jwt)) => {
                let claims = jwt::read_session(jwt, &self.keys, &self.world.project_id)?;
                let id = claims[jwt::SESSION_CLAIM]["id"].as_str().ok_or(Refusal::JwtInvalidClaims)?;
                Ok(self.sessions.by_id(id, now)?.id.clone())
            }
        }
    }

    /// Marks a session as used now, with whatever else the caller asked for; all of it or nothing.
    pub(crate) fn access(&mut self, session_id: &str, changes: Changes) -> Result<&mut Session, Refusal> {
        let now = self.clock.second();
        let minutes = changes.minutes.map(session::minutes).transpose()?;
        let session = self.sessions.by_id(session_id, now)?;
        if let Some(patch) = changes.custom_claims {
            session.custom_claims = session::patched_claims(&session.custom_claims, &patch)?;
        }
        if let Some(minutes) = minutes {
            session.expires_at = minutes_after(now, minutes);
        }
        session.last_accessed_at = now;
        Ok(session)
    }

    /// The member whose session this is. Sessions of the other vertical count as unknown.
    pub(crate) fn session_member(
        &mut self,
        session_id: &str,
    ) -> Result<(Session, &Member, &Organization), Refusal> {
        let now = self.clock.second();
        let session = self.sessions.by_id(session_id, now)?.clone();
        let Subject::Member(member_id) = &session.subject else { return Err(Refusal::SessionNotFound) };
        let member = self.world.member(member_id)?;
        let organization = self.world.organization(&member.organization_id)?;
        Ok((session, member, organization))
    }

    /// The user whose session this is. Sessions of the other vertical count as unknown.
    pub(crate) fn session_user(&mut self, session_id: &str) -> Result<(Session, &User), Refusal> {
        let now = self.clock.second();
        let session = self.sessions.by_id(session_id, now)?.clone();
        let Subject::User(user_id) = &session.subject else { return Err(Refusal::SessionNotFound) };
        let user = self.world.user(user_id)?;
        Ok((session, user))
    }

    /// A new JWT for a session, of whichever vertical.
    pub(crate) fn session_jwt(&self, session: &Session) -> Result<String, Refusal> {
        let project_id = &self.world.project_id;
        let claims = match &session.subject {
            Subject::Member(id) => {
                let member = self.world.member(id)?;
                let organization = self.world.organization(&member.organization_id)?;
                wire::member_claims(session, member, organization, project_id)
            }
            Subject::User(id) => wire::user_claims(session, self.world.user(id)?, project_id),
        };
        let key = self.keys.get(Key::Current);
        Ok(jwt::sign(&jwt::header(key), &claims, key))
    }

    /// The second that is running by the emulator's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.second()
    }
}
