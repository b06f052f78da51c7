//! Sessions by id, so that what is learned of one reaches every credential that speaks of it. An
//! access token has no session: what is learned of it reaches every worker that knows it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::answer::SessionState;
use crate::identity::{Identity, Kind};

/// Entries above which the dead ones are looked for.
const FIRST_PURGE: usize = 1024;
/// Ended sessions remembered, though no cache holds a credential of theirs any more.
const MAX_ENDED: usize = 10_000;

/// Holds sessions weakly: an entry lives as long as some cache holds a credential of it. Ended ones
/// are held for longer, so that a JWT of theirs that was never seen before is not believed. Locked
/// only when a credential is verified or a session ends, never on a cache hit.
#[derive(Default)]
pub struct Registry {
    sessions: Mutex<Sessions>,
    revocations: AtomicU64,
}

#[derive(Default)]
struct Sessions {
    by_id: HashMap<String, Weak<SessionState>>,
    /// The latest last.
    ended: VecDeque<Arc<SessionState>>,
    purge_at: usize,
}

impl Registry {
    /// The state of what an identity, proved by this token, stands and falls with; one of its own
    /// for what Stytch cannot end.
    pub fn state(&self, identity: &Identity, token: &str) -> Arc<SessionState> {
        id(identity, token).map_or_else(Arc::default, |id| self.lock().state(id))
    }

    /// Whether Stytch has said no to this session, about whichever credential, or to this token.
    pub fn is_revoked(&self, identity: &Identity, token: &str) -> bool {
        let Some(id) = id(identity, token) else { return false };
        self.lock().by_id.get(id).and_then(Weak::upgrade).is_some_and(|state| state.is_revoked())
    }

    /// Stytch has said no: every credential of this session ends here, or this token.
    pub fn revoke(&self, identity: &Identity, token: &str) {
        let Some(id) = id(identity, token) else { return };
        let mut sessions = self.lock();
        let state = sessions.state(id);
        if state.is_revoked() {
            return;
        }
        state.revoke();
        self.revocations.fetch_add(1, Ordering::Release);
        if sessions.ended.len() == MAX_ENDED {
            sessions.ended.pop_front();
        }
        sessions.ended.push_back(state);
    }

    /// How many have ended: whoever was found alive at another count is to be looked at anew.
    #[must_use]
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session's id, or the signature of a token that is revoked by itself. Nothing revokes an M2M
/// token before its time.
fn id<'a>(identity: &'a Identity, token: &'a str) -> Option<&'a str> {
    match identity.kind {
        Kind::Session => identity.session.as_ref().map(|session| session.id.as_str()),
        Kind::ConnectedApp => token.rsplit('.').next(),
        Kind::M2m => None,
    }
}

impl Sessions {
    fn state(&mut self, id: &str) -> Arc<SessionState> {
        if let Some(state) = self.by_id.get(id).and_then(Weak::upgrade) {
            return state;
        }
        let state = Arc::default();
        self.by_id.insert(id.to_owned(), Arc::downgrade(&state));
        if self.by_id.len() > self.purge_at.max(FIRST_PURGE) {
            self.by_id.retain(|_, state| state.strong_count() > 0);
            self.purge_at = 2 * self.by_id.len();
        }
        state
    }
}
