//! Sessions by id, so that what is learned of one reaches every credential that speaks of it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::answer::SessionState;
use crate::identity::Identity;

/// Entries above which the dead ones are looked for.
const FIRST_PURGE: usize = 1024;
/// Ended sessions remembered, though no cache holds a credential of theirs any more.
const MAX_ENDED: usize = 10_000;

/// Holds sessions weakly: an entry lives as long as some cache holds a credential of it. Ended ones
/// are held for longer, so that a JWT of theirs that was never seen before is not believed. Locked
/// only when a credential is verified or a session ends, never on a cache hit.
#[derive(Default)]
pub struct Registry(Mutex<Sessions>);

#[derive(Default)]
struct Sessions {
    by_id: HashMap<String, Weak<SessionState>>,
    /// The latest last.
    ended: VecDeque<Arc<SessionState>>,
    purge_at: usize,
}

impl Registry {
    /// The state of an identity's session; one of its own for an identity without a session.
    pub fn state(&self, identity: &Identity) -> Arc<SessionState> {
        let Some(session) = &identity.session else { return Arc::default() };
        self.lock().state(&session.id)
    }

    /// Whether Stytch has said no to this session, about whichever credential.
    pub fn is_revoked(&self, identity: &Identity) -> bool {
        let Some(session) = &identity.session else { return false };
        self.lock().by_id.get(&session.id).and_then(Weak::upgrade).is_some_and(|state| state.is_revoked())
    }

    /// Stytch has said no: every credential of this session ends here.
    pub fn revoke(&self, identity: &Identity) {
        let Some(session) = &identity.session else { return };
        let mut sessions = self.lock();
        let state = sessions.state(&session.id);
        if state.is_revoked() {
            return;
        }
        state.revoke();
        if sessions.ended.len() == MAX_ENDED {
            sessions.ended.pop_front();
        }
        sessions.ended.push_back(state);
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
