//! What is remembered of one credential: Stytch's word, and how long it counts.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;

use super::answer::SessionState;
use super::verdict::Granted;
use crate::access::credential::Source;
use crate::access::rejection::{Code, Rejection};
use crate::config::Secret;
use crate::fields::{Names, Ready};
use crate::identity::template::Template;
use crate::identity::{Identity, Kind, assertion};
use crate::telemetry::access_log;

pub(super) const EXPIRED: &str = "the access token has expired";
/// Milliseconds between two looks at a word that is about to be replaced.
const LOOK_AGAIN: i64 = 1000;

/// Stytch's word about one credential.
pub struct Word {
    pub identity: Arc<Identity>,
    /// The identity's, to be had without looking at it.
    pub kind: Kind,
    pub said: Said,
    pub(super) state: Arc<SessionState>,
    /// Unix milliseconds: when Stytch gave its word.
    pub(super) heard_at: i64,
    /// Unix milliseconds: the word alone lets nobody pass from here on.
    pub(super) passes_until: i64,
    /// Unix milliseconds: from here on the word is refreshed in the background.
    pub(super) refresh_from: i64,
    /// Unix milliseconds: from here on its session is to be prolonged.
    pub(super) slide_from: i64,
    /// Unix milliseconds: the session is over, whatever else holds.
    pub(super) session_ends: i64,
    /// Unix milliseconds: the token itself is over.
    pub(super) token_ends: i64,
    /// The key set the credential was verified with; zero for opaque tokens.
    pub(super) keys: u64,
    /// When the profile was learned, unix milliseconds.
    pub(super) profile_at: i64,
    pub(super) refreshing: Cell<bool>,
    pub(super) fresh: RefCell<Option<Box<Fresh>>>,
    pub(super) verdicts: RefCell<Vec<Granted>>,
    /// How many changes had been told of when it was last compared with them.
    pub(super) looked_at: Cell<u64>,
    /// How many sessions had ended when its own was last found not to have.
    pub(super) alive_at: Cell<u64>,
    /// What was signed for upstreams about it.
    pub assertions: assertion::Kept,
}

/// What is said of an identity with every request, made once. All of it is in one piece of memory:
/// of many sessions in turn, each is cold when its request comes.
pub struct Said {
    /// The identity headers that all routes have.
    pub headers: Ready,
    /// See [`access_log::who`].
    pub who: Bytes,
}

/// The circumstances of a word, all in unix milliseconds but `keys`.
pub(super) struct Heard {
    pub(super) at: i64,
    /// When the token itself ends.
    pub(super) expires: i64,
    /// The key set it was verified with; zero for none.
    pub(super) keys: u64,
    pub(super) profile_at: i64,
}

/// Credentials that Stytch returned, to be written back as cookies.
pub struct Fresh {
    pub session_token: Secret,
    pub session_jwt: Secret,
    /// Unix seconds.
    pub expires_at: Option<i64>,
}

impl Said {
    /// Headers whose template names something that the identity has not are left out.
    pub(super) fn of(identity: &Identity, templates: &[(HeaderName, Template)], names: &Names) -> Self {
        let headers: Vec<_> = templates
            .iter()
            .filter_map(|(name, template)| Some((name, template.render(identity)?)))
            .collect();
        let mut who = Vec::new();
        access_log::who(&mut who, identity);
        let (headers, who) = Ready::of(&headers, names, &who);
        Self { headers, who }
    }
}

impl Word {
    /// Where an access token may come from is narrower than where a session may (DESIGN.md section 4).
    pub(super) fn may_come_from(&self, source: Source) -> Result<(), Rejection> {
        match self.kind {
            Kind::M2m | Kind::ConnectedApp if !source.takes_access_tokens() => {
                Err(Rejection::new(Code::InvalidCredential, "an access token in a cookie or a query"))
            }
            Kind::Session | Kind::M2m | Kind::ConnectedApp => Ok(()),
        }
    }

    /// Whether an old word could be made younger. An access token ends at its time, and of an M2M
    /// token Stytch tells nothing before that.
    pub(super) fn may_be_asked_about(&self, now: i64) -> Result<(), Rejection> {
        match self.kind {
            Kind::Session => Ok(()),
            Kind::ConnectedApp if now < self.session_ends => Ok(()),
            Kind::M2m if now < self.session_ends => Err(Rejection::new(
                Code::InvalidCredential,
                "the access token is of an organization that is gone",
            )),
            Kind::ConnectedApp | Kind::M2m => Err(Rejection::new(Code::InvalidCredential, EXPIRED)),
        }
    }

    /// Whether the session can still be whose the word says.
    #[must_use]
    pub fn is_alive(&self, now: i64) -> bool {
        now < self.session_ends && !self.state.is_revoked()
    }

    /// Whether it ended by itself, rather than by anybody's word. `now` is unix milliseconds.
    #[must_use]
    pub const fn has_expired(&self, now: i64) -> bool {
        now >= self.session_ends
    }

    /// When whoever still relies on this word must be judged again, in unix milliseconds and after
    /// `now`: when it is due to be refreshed, every second while that goes on, and when it is over.
    #[must_use]
    pub fn look_again_at(&self, now: i64) -> i64 {
        let soon = now.saturating_add(LOOK_AGAIN);
        let refreshed = if now < self.refresh_from { self.refresh_from } else { soon };
        let next = refreshed.min(self.passes_until);
        if next > now { next } else { soon }
    }

    /// Unix milliseconds: nothing that is vouched for on this word at `now` may hold any longer. A
    /// token that passes after its own end does so on the session's account.
    #[must_use]
    pub fn ends(&self, now: i64) -> i64 {
        if now < self.token_ends { self.token_ends.min(self.session_ends) } else { self.session_ends }
    }
}
