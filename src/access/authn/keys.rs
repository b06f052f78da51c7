//! The project's verification keys: a snapshot that requests read and one task replaces.
//!
//! No request waits for a scheduled refresh. A key id that is not in the set asks for at most one
//! fetch each cooldown: key ids are chosen by the caller, so without one the caller would choose
//! how often we fetch.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::stytch::types::{Jwk, Jwks};

/// Between fetches that unknown key ids asked for.
pub const COOLDOWN: Duration = Duration::from_secs(10);
/// Bytes. 2048 bits: a shorter modulus is no key that Stytch would serve.
const MIN_MODULUS: usize = 256;
pub(super) const MAX_MODULUS: usize = 1024;

/// The keys of one fetch.
pub struct KeySet {
    /// Made ready to verify RS256 with, and with nothing else: to prepare a modulus costs some of what
    /// a signature does.
    keys: Vec<(String, ParsedPublicKey)>,
    /// As they came, to be written to `stytch.key_cache_file`.
    pub source: Vec<Jwk>,
    /// Changes when any key does: what was verified with another set is verified again.
    pub generation: u64,
    pub fetched_at: SystemTime,
}

impl KeySet {
    /// Takes the RSA signature keys of a set that are pinned, or can be, to RS256.
    ///
    /// Returns `None` when no usable key is left. `previous` lends its generation when nothing
    /// has changed.
    #[must_use]
    pub fn new(jwks: Jwks, previous: Option<&Self>, fetched_at: SystemTime) -> Option<Self> {
        let usable = jwks.keys.into_iter().filter_map(|jwk| Some((ready(&jwk)?, jwk)));
        let (ready, source): (Vec<_>, Vec<_>) = usable.unzip();
        if source.is_empty() {
            return None;
        }
        let keys = source.iter().map(|jwk| jwk.kid.clone()).zip(ready).collect();
        let generation = match previous {
            Some(previous) if previous.source == source => previous.generation,
            Some(previous) => previous.generation + 1,
            None => 1,
        };
        Some(Self { keys, source, generation, fetched_at })
    }

    /// Linear: a project has two or three keys.
    #[must_use]
    pub fn get(&self, key_id: &str) -> Option<&ParsedPublicKey> {
        self.keys.iter().find(|(id, _)| id == key_id).map(|(_, key)| key)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// None for a key that is not meant for RS256, or is none.
fn ready(jwk: &Jwk) -> Option<ParsedPublicKey> {
    let is_meant = jwk.kty == "RSA"
        && !jwk.kid.is_empty()
        && jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
        && jwk.alg.as_deref().is_none_or(|alg| alg == "RS256");
    let n = BASE64_URL_SAFE_NO_PAD.decode(&jwk.n).ok()?;
    let e = BASE64_URL_SAFE_NO_PAD.decode(&jwk.e).ok()?;
    if !is_meant || !(MIN_MODULUS..=MAX_MODULUS).contains(&n.len()) {
        return None;
    }
    RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()
}

/// The current set; `None` until the first fetch succeeds.
#[derive(Clone, Default)]
pub struct Keys(Arc<ArcSwapOption<KeySet>>);

impl Keys {
    #[must_use]
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.0.load_full()
    }

    pub fn replace(&self, set: Arc<KeySet>) {
        self.0.store(Some(set));
    }

    /// The generation alone, for the check on every cache hit.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.load().as_ref().map_or(0, |set| set.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwk(change: impl FnOnce(&mut Jwk)) -> Jwk {
        let mut jwk = Jwk {
            kty: "RSA".into(),
            kid: "jwk-test-1".into(),
            usage: Some("sig".into()),
            alg: Some("RS256".into()),
            n: BASE64_URL_SAFE_NO_PAD.encode([0xc5; 256]),
            e: "AQAB".into(),
        };
        change(&mut jwk);
        jwk
    }

    fn set(keys: Vec<Jwk>, previous: Option<&KeySet>) -> Option<KeySet> {
        KeySet::new(Jwks { keys }, previous, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn only_rsa_signature_keys_for_rs256_are_taken() {
        assert!(set(vec![jwk(|_| {})], None).is_some());
        assert!(set(vec![jwk(|k| k.alg = None)], None).is_some());
        for change in [
            (|k: &mut Jwk| k.kty = "EC".into()) as fn(&mut Jwk),
            |k| k.usage = Some("enc".into()),
            |k| k.alg = Some("PS256".into()),
            |k| k.kid = String::new(),
            |k| k.n = BASE64_URL_SAFE_NO_PAD.encode([1; 128]),
            |k| k.n = "not base64!".into(),
            |k| k.e = "not base64!".into(),
        ] {
            assert!(set(vec![jwk(change)], None).is_none());
        }
    }

    #[test]
    fn the_generation_changes_only_with_a_key() {
        let first = set(vec![jwk(|_| {})], None).unwrap();
        let same = set(vec![jwk(|_| {})], Some(&first)).unwrap();
        let other = set(vec![jwk(|k| k.kid = "jwk-test-2".into())], Some(&same)).unwrap();
        assert_eq!(first.generation, same.generation);
        assert_ne!(same.generation, other.generation);
    }
}
