//! How credentials are found again: by their whole bytes, in caches that grow as needed.

use std::hash::{Hash, Hasher};

use quick_cache::unsync::Cache;
use quick_cache::{Equivalent, UnitWeighter};

/// Entries that a new cache has room for.
const INITIAL: usize = 256;
/// Bytes of a token that are hashed.
const TAIL: usize = 32;

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

/// A cache of at most so many entries, that holds room only for those it has.
pub(super) fn grown_as_needed<K: Eq + Hash, V>(most: usize) -> Cache<K, V> {
    Cache::with_weighter(most.min(INITIAL), most as u64, UnitWeighter)
}
