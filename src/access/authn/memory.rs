//! How credentials are found again, by their whole bytes, and forgotten.

use std::hash::{Hash, Hasher};

use quick_cache::unsync::Cache;
use quick_cache::{Equivalent, UnitWeighter};

use super::Authn;
use super::word::Word;
use crate::clock;

/// Entries that a new cache has room for.
const INITIAL: usize = 256;
/// Bytes of a token that are hashed.
const TAIL: usize = 32;
/// Milliseconds for which a word is kept on, for the profile and whatever else was learned with it.
const KEPT_ON: i64 = 15 * 60_000;

/// A credential whose word is remembered.
pub(super) struct Key(pub(super) Box<[u8]>);

/// A credential whose word is looked for.
pub(super) struct Sought<'a>(pub(super) &'a [u8]);

/// The end of a token, where its signature or its randomness stands, tells tokens apart as well as
/// the whole would. Whether it is the same token is seen by comparing all of it.
fn tail(token: &[u8]) -> &[u8] {
    token.last_chunk::<TAIL>().map_or(token, <[u8; TAIL]>::as_slice)
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(tail(&self.0));
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Sought<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(tail(self.0));
    }
}

impl Equivalent<Key> for Sought<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.0 == *key.0
    }
}

impl Authn {
    /// Words remembered, for the gauge.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.borrow().len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops words by which nobody has passed for a while, and nobody will, whether Stytch can be
    /// asked or not: who comes with their tokens is asked about in any case. Refusals go that do not
    /// count any more. `now` is unix milliseconds.
    pub fn forget_old(&self, now: i64) {
        self.refused.borrow_mut().retain(|_, (until, _)| now < *until);
        let then = now.saturating_sub(KEPT_ON);
        self.known.borrow_mut().retain(|_, word| self.may_still_count(word, then));
    }

    /// Whether a word is young enough for somebody to pass by it, by `session.outage_grace` at least.
    pub(super) fn may_still_count(&self, word: &Word, now: i64) -> bool {
        let grace = clock::span(self.settings.outage_grace);
        let staleness = clock::span(self.settings.max_staleness);
        match grace {
            0 => now < word.passes_until,
            _ => now < word.heard_at.saturating_add(staleness).saturating_add(grace),
        }
    }
}

/// A cache of at most so many entries, that holds room only for those it has.
pub(super) fn grown_as_needed<K: Eq + Hash, V>(most: usize) -> Cache<K, V> {
    Cache::with_weighter(most.min(INITIAL), most as u64, UnitWeighter)
}
