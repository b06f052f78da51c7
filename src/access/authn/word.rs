//! What is remembered of one credential: Stytch's word, and how long it counts.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::answer::SessionState;
use crate::config::Secret;
use crate::identity::Identity;

/// Stytch's word about one credential.
pub struct Word {
    pub identity: Arc<Identity>,
    /// The identity headers, made once.
    pub headers: Box<[(HeaderName, HeaderValue)]>,
    pub(super) state: Arc<SessionState>,
    /// Unix milliseconds: when Stytch gave its word.
    pub(super) heard_at: i64,
    /// Unix milliseconds: the word alone lets nobody pass from here on.
    pub(super) passes_until: i64,
    /// Unix milliseconds: from here on the word is refreshed in the background.
    pub(super) refresh_from: i64,
    /// Unix milliseconds: the session is over, whatever else holds.
    pub(super) session_ends: i64,
    /// The key set the credential was verified with; zero for opaque tokens.
    pub(super) keys: u64,
    /// When the profile was learned, unix milliseconds.
    pub(super) profile_at: i64,
    pub(super) refreshing: Cell<bool>,
    pub(super) fresh: RefCell<Option<Fresh>>,
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

impl Word {
    /// Whether the session can still be whose the word says.
    pub(super) fn is_alive(&self, now: i64) -> bool {
        now < self.session_ends && !self.state.is_revoked()
    }
}
