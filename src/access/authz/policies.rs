//! The policies in use: snapshots that requests read and one task replaces.
//!
//! What holds: a request takes no lock, and waits only for the roles of an organization that nobody
//! has come from for a while, if they may make a difference; what was fetched last stays in use while nothing newer is to be had;
//! each organization's roles are found by its own id alone.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use tokio::sync::{mpsc, oneshot};

use super::policy::{Policy, Roles};
use crate::stytch::types;

/// Organizations are spread over so many maps, so that one more copies only a part.
const SHARDS: usize = 64;
/// How far the note of an organization's last use may be off, in milliseconds.
const USE_NOTED_EVERY: i64 = 500;

/// Reads policies from any thread. Clones speak of the same project.
#[derive(Clone, Default)]
pub struct Policies(Arc<InUse>);

struct InUse {
    project: ArcSwapOption<Policy>,
    organizations: [ArcSwap<Organizations>; SHARDS],
}

type Organizations = HashMap<Box<str>, Arc<Organization>>;

impl Default for InUse {
    fn default() -> Self {
        Self { project: ArcSwapOption::empty(), organizations: std::array::from_fn(|_| ArcSwap::default()) }
    }
}

/// The roles of one organization's own.
pub struct Organization {
    pub roles: Roles,
    /// As they came, to be compared and to be written to `stytch.key_cache_file`.
    pub source: Vec<types::Role>,
    /// Unix milliseconds.
    used_at: AtomicI64,
    /// Nobody refreshes it: the next request that needs it asks first.
    is_dormant: AtomicBool,
}

impl Organization {
    #[must_use]
    pub fn new(source: Vec<types::Role>, used_at: i64) -> Arc<Self> {
        let roles = Roles::new(&source);
        Arc::new(Self { roles, source, used_at: used_at.into(), is_dormant: false.into() })
    }

    fn note_use(&self, now: i64) {
        if now - self.used_at() > USE_NOTED_EVERY {
            self.used_at.store(now, Ordering::Relaxed);
        }
    }

    pub(super) fn used_at(&self) -> i64 {
        self.used_at.load(Ordering::Relaxed)
    }

    pub(super) fn is_dormant(&self) -> bool {
        self.is_dormant.load(Ordering::Relaxed)
    }

    pub(super) fn set_dormant(&self, is_dormant: bool) {
        self.is_dormant.store(is_dormant, Ordering::Relaxed);
    }
}

impl Policies {
    /// Looks at the project's policy. None until the first fetch succeeds.
    pub fn project<T>(&self, look: impl FnOnce(&Policy) -> T) -> Option<T> {
        self.0.project.load().as_deref().map(look)
    }

    pub fn replace(&self, policy: Arc<Policy>) {
        self.0.project.store(Some(policy));
    }

    #[must_use]
    pub fn organization(&self, id: &str) -> Option<Arc<Organization>> {
        self.shard(id).load().get(id).map(Arc::clone)
    }

    pub fn learn(&self, id: &str, organization: Arc<Organization>) {
        self.change(id, |organizations| {
            organizations.insert(id.into(), Arc::clone(&organization));
        });
    }

    pub fn forget(&self, id: &str) {
        self.change(id, |organizations| {
            organizations.remove(id);
        });
    }

    pub(super) fn each_organization(&self, mut each: impl FnMut(&str, &Organization)) {
        for shard in &self.0.organizations {
            shard.load().iter().for_each(|(id, organization)| each(id, organization));
        }
    }

    fn change(&self, id: &str, change: impl Fn(&mut Organizations)) {
        self.shard(id).rcu(|organizations| {
            let mut organizations = Organizations::clone(organizations);
            change(&mut organizations);
            organizations
        });
    }

    fn shard(&self, id: &str) -> &ArcSwap<Organizations> {
        let hash = FixedState::default().hash_one(id);
        &self.0.organizations[hash as usize % SHARDS]
    }
}

/// What comes of asking for an organization's roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Fetched,
    Failed { retry_after: Duration },
}

/// An organization whose roles are needed.
pub struct Asked {
    pub organization: Box<str>,
    pub reply: oneshot::Sender<Outcome>,
}

/// What a worker judges permissions with.
#[derive(Clone)]
pub struct Handle {
    pub policies: Policies,
    keeper: mpsc::Sender<Asked>,
}

/// What a client is told to wait when nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Handle {
    #[must_use]
    pub const fn new(policies: Policies, keeper: mpsc::Sender<Asked>) -> Self {
        Self { policies, keeper }
    }

    /// Looks at an organization that is in use, and so kept up to date. `now` is unix milliseconds.
    pub fn in_use<T>(&self, id: &str, now: i64, look: impl FnOnce(&Organization) -> T) -> Option<T> {
        let organizations = self.policies.shard(id).load();
        let known = organizations.get(id).filter(|known| !known.is_dormant())?;
        known.note_use(now);
        Some(look(known))
    }

    /// The same for one that may not be in use: then its roles are fetched, and where that fails the
    /// last ones count.
    ///
    /// # Errors
    /// When they were never had; the duration says when to try again.
    pub async fn roles_of(&self, id: &str, now: i64) -> Result<Arc<Organization>, Duration> {
        let known = self.policies.organization(id);
        if let Some(known) = &known {
            known.note_use(now);
        }
        let outcome = self.ask(id).await;
        match (self.policies.organization(id).or(known), outcome) {
            (Some(known), _) => Ok(known),
            (None, Outcome::Failed { retry_after }) => Err(retry_after),
            (None, Outcome::Fetched) => Err(RETRY_AFTER),
        }
    }

    /// Has the roles of an organization fetched for those who come later.
    pub fn wish_for(&self, id: &str) {
        let (reply, _nobody_waits) = oneshot::channel();
        // A keeper with too much to do hears of it with the next request.
        drop(self.keeper.try_send(Asked { organization: id.into(), reply }));
    }

    async fn ask(&self, organization: &str) -> Outcome {
        let failed = Outcome::Failed { retry_after: RETRY_AFTER };
        let (reply, outcome) = oneshot::channel();
        if self.keeper.try_send(Asked { organization: organization.into(), reply }).is_err() {
            return failed;
        }
        outcome.await.unwrap_or(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn organization(role: &str) -> Arc<Organization> {
        let role = types::Role { role_id: role.to_owned(), permissions: Vec::new() };
        Organization::new(vec![role], 0)
    }

    #[test]
    fn an_organization_has_only_what_was_learned_of_it() {
        let policies = Policies::default();
        let known: Vec<_> =
            (0..500).map(|number| (format!("organization-test-{number}"), organization("a"))).collect();
        for (id, organization) in &known {
            policies.learn(id, Arc::clone(organization));
        }
        for (id, organization) in &known {
            assert!(Arc::ptr_eq(&policies.organization(id).unwrap(), organization));
        }
        policies.forget("organization-test-7");
        assert!(policies.organization("organization-test-7").is_none());
        assert!(policies.organization("organization-test-70").is_some());
        assert!(policies.organization("organization-test-").is_none());
    }

    #[tokio::test]
    async fn what_was_never_had_and_cannot_be_asked_for_is_an_error() {
        let (keeper, asked) = mpsc::channel(1);
        drop(asked);
        let handle = Handle::new(Policies::default(), keeper);
        assert!(handle.roles_of("organization-test-1", 0).await.is_err());
        let dormant = organization("a");
        dormant.set_dormant(true);
        handle.policies.learn("organization-test-1", dormant);
        assert!(handle.roles_of("organization-test-1", 0).await.is_ok(), "the last ones count");
    }
}
