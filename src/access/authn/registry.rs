//! Sessions by id, so that what is learned of one reaches every credential that speaks of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::answer::SessionState;
use crate::identity::Identity;

/// Entries above which the dead ones are looked for.
const FIRST_PURGE: usize = 1024;

/// Holds sessions weakly: an entry lives as long as some cache holds a credential of it. Locked
/// only when a credential is verified or a session ends, never on a cache hit.
#[derive(Default)]
pub struct Registry(Mutex<Sessions>);

#[derive(Default)]
struct Sessions {
    by_id: HashMap<String, Weak<SessionState>>,
    purge_at: usize,
}

impl Registry {
    /// The state of an identity's session; one of its own for an identity without a session.
    pub fn state(&self, identity: &Identity) -> Arc<SessionState> {
        let Some(session) = &identity.session else { return Arc::default() };
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = sessions.by_id.get(&session.id).and_then(Weak::upgrade) {
            return state;
        }
        let state = Arc::default();
        sessions.by_id.insert(session.id.clone(), Arc::downgrade(&state));
        if sessions.by_id.len() > sessions.purge_at.max(FIRST_PURGE) {
            sessions.by_id.retain(|_, state| state.strong_count() > 0);
            sessions.purge_at = 2 * sessions.by_id.len();
        }
        state
    }

    /// Whether Stytch has said no to this session, about whichever credential.
    pub fn is_revoked(&self, identity: &Identity) -> bool {
        let Some(session) = &identity.session else { return false };
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.by_id.get(&session.id).and_then(Weak::upgrade).is_some_and(|state| state.is_revoked())
    }

    /// Stytch has said no: every credential of this session ends here.
    pub fn revoke(&self, identity: &Identity) {
        let Some(session) = &identity.session else { return };
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = sessions.by_id.get(&session.id).and_then(Weak::upgrade) {
            state.revoke();
        }
    }
}
