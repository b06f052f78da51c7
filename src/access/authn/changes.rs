//! What Stytch's events say has changed: whatever was heard of it before counts no longer.
//!
//! What holds: a change reaches every worker with the next request; it asks for a fresh word and
//! refuses nobody by itself; what is remembered of changes is bounded, and where there is no more
//! room the age of a word bounds it as it would without events. While nothing changes, a request
//! pays one comparison.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_cache::unsync::Cache;

use super::memory::grown_as_needed;
use crate::identity::{Identity, Kind};

/// Members, users and organizations whose changes are remembered at one time.
const MOST: usize = 20_000;
/// Deliveries remembered, and for how long in milliseconds: any older is refused by its date.
const DELIVERIES: usize = 10_000;
const DELIVERY_KEPT: i64 = 10 * 60 * 1000;
/// How long a deletion is remembered for the tokens that nothing can be asked about, which end by
/// themselves within that time. In milliseconds.
const DELETION_KEPT: i64 = 24 * 60 * 60 * 1000;

/// See the module.
pub struct Changes {
    /// Counts changes. Whoever has looked at this many need not look again.
    count: AtomicU64,
    known: Mutex<Known>,
    most: usize,
}

struct Known {
    by_id: HashMap<Box<str>, Mark>,
    /// When each delivery came.
    deliveries: Cache<Box<str>, i64>,
}

/// A change of one member, user or organization.
pub struct Change<'a> {
    pub id: &'a str,
    pub deleted: bool,
    /// Unix milliseconds: what was heard before is too old.
    pub at: i64,
}

/// Before when a word is too old, and for how long that is remembered; in unix milliseconds.
struct Mark {
    at: i64,
    deleted: bool,
    kept_until: i64,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Taken,
    /// The same delivery came before.
    Repeated,
    /// There is no room.
    Full,
}

impl Default for Changes {
    fn default() -> Self {
        Self::with_room_for(MOST)
    }
}

impl Changes {
    fn with_room_for(most: usize) -> Self {
        let known = Known { by_id: HashMap::new(), deliveries: grown_as_needed(DELIVERIES) };
        Self { count: AtomicU64::new(0), known: Mutex::new(known), most }
    }

    /// Takes down what a delivery says at `now`. `counts_for` is how long a word can count at most,
    /// in milliseconds: a mark older than that has nothing left to mark.
    pub fn take(&self, delivery: &str, change: &Change<'_>, counts_for: i64, now: i64) -> Taken {
        let mut known = self.lock();
        let is_repeated = |came_at: &i64| now.saturating_sub(*came_at) < DELIVERY_KEPT;
        if known.deliveries.get(delivery).is_some_and(is_repeated) {
            return Taken::Repeated;
        }
        if known.by_id.len() >= self.most && !known.by_id.contains_key(change.id) {
            known.by_id.retain(|_, mark| now < mark.kept_until);
            if known.by_id.len() >= self.most {
                return Taken::Full;
            }
        }
        let kept_for = if change.deleted { counts_for.max(DELETION_KEPT) } else { counts_for };
        let kept_until = change.at.saturating_add(kept_for);
        let mark =
            known.by_id.entry(change.id.into()).or_insert(Mark { at: change.at, deleted: false, kept_until });
        mark.at = mark.at.max(change.at);
        mark.deleted |= change.deleted;
        mark.kept_until = mark.kept_until.max(kept_until);
        known.deliveries.insert(delivery.into(), now);
        self.count.fetch_add(1, Ordering::Relaxed);
        Taken::Taken
    }

    /// How many changes there were. Whoever read it before looking has missed none.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Unix milliseconds before which whatever was heard of this identity is too old; `None` when
    /// nothing about it has changed. Nothing can be asked about an M2M token, so only a deletion
    /// counts for it.
    #[must_use]
    pub fn latest(&self, who: &Identity) -> Option<i64> {
        let known = self.lock();
        if known.by_id.is_empty() {
            return None;
        }
        let organization = who.organization.as_ref().map(|organization| organization.id.as_str());
        [Some(who.subject.as_str()), organization]
            .into_iter()
            .flatten()
            .filter_map(|id| known.by_id.get(id))
            .filter(|mark| mark.deleted || who.kind != Kind::M2m)
            .map(|mark| mark.at)
            .max()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Organization;

    const HOUR: i64 = 3_600_000;

    fn who(kind: Kind, subject: &str, organization: &str) -> Identity {
        Identity {
            kind,
            subject: subject.to_owned(),
            organization: Some(Organization { id: organization.to_owned(), slug: String::new() }),
            session: None,
            client: None,
            claims: serde_json::Map::new(),
            profile: None,
        }
    }

    fn updated(id: &str, at: i64) -> Change<'_> {
        Change { id, deleted: false, at }
    }

    #[test]
    fn a_change_marks_whom_it_is_about_and_no_other() {
        let changes = Changes::default();
        let ana = who(Kind::Session, "member-a", "organization-1");
        assert_eq!((changes.count(), changes.latest(&ana)), (0, None));
        assert_eq!(changes.take("msg-1", &updated("member-a", 10), HOUR, 10), Taken::Taken);
        assert_eq!((changes.count(), changes.latest(&ana)), (1, Some(10)));
        assert_eq!(changes.latest(&who(Kind::Session, "member-b", "organization-1")), None);
        assert_eq!(changes.take("msg-2", &updated("organization-1", 20), HOUR, 20), Taken::Taken);
        assert_eq!(changes.latest(&ana), Some(20));
        assert_eq!(changes.latest(&who(Kind::Session, "member-b", "organization-1")), Some(20));
        assert_eq!(changes.latest(&who(Kind::Session, "member-b", "organization-2")), None);
    }

    /// Events may come late and out of order.
    #[test]
    fn an_older_change_takes_nothing_back() {
        let changes = Changes::default();
        let ana = who(Kind::Session, "member-a", "organization-1");
        changes.take("msg-1", &Change { id: "member-a", deleted: true, at: 20 }, HOUR, 20);
        changes.take("msg-2", &updated("member-a", 10), HOUR, 21);
        assert_eq!(changes.latest(&ana), Some(20));
        assert_eq!(changes.latest(&who(Kind::M2m, "m2m-client-1", "organization-1")), None);
    }

    #[test]
    fn only_a_deletion_ends_what_cannot_be_asked_about() {
        let changes = Changes::default();
        let machine = who(Kind::M2m, "m2m-client-1", "organization-1");
        changes.take("msg-1", &updated("organization-1", 10), HOUR, 10);
        assert_eq!(changes.latest(&machine), None);
        changes.take("msg-2", &Change { id: "organization-1", deleted: true, at: 20 }, HOUR, 20);
        assert_eq!(changes.latest(&machine), Some(20));
    }

    #[test]
    fn a_delivery_counts_once_for_as_long_as_it_could_be_repeated() {
        let changes = Changes::default();
        assert_eq!(changes.take("msg-1", &updated("member-a", 10), HOUR, 10), Taken::Taken);
        assert_eq!(changes.take("msg-1", &updated("member-b", 20), HOUR, 20), Taken::Repeated);
        assert_eq!(changes.count(), 1);
        let later = 10 + DELIVERY_KEPT;
        assert_eq!(changes.take("msg-1", &updated("member-b", later), HOUR, later), Taken::Taken);
    }

    #[test]
    fn there_is_room_for_so_many_at_one_time() {
        let changes = Changes::with_room_for(2);
        let take = |id: &str, now: i64| changes.take(&format!("{id}-{now}"), &updated(id, now), HOUR, now);
        assert_eq!([take("a", 1), take("b", 2), take("c", 3)], [Taken::Taken, Taken::Taken, Taken::Full]);
        assert_eq!(take("a", 4), Taken::Taken, "what is marked already takes no room");
        assert_eq!(take("c", 2 + HOUR), Taken::Taken, "b has nothing left to mark");
        assert_eq!(take("c", 3), Taken::Taken, "a delivery there was no room for may come again");
    }
}
