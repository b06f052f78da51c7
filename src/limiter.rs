//! Counts events for each client address, or another key, and says when there were too many.
//!
//! Touched only when a credential is refused or unknown, never for a known session, and when
//! somebody signs in. Bounded: past a number of keys the quiet ones are let go.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{Rate, RateLimit};

const MAX_KEYS: usize = 50_000;

/// Counts refused credentials; IPv6 clients are counted by their /64, which is one household.
pub struct Limiter(Buckets<IpAddr>);

impl Limiter {
    #[must_use]
    pub fn new(limits: &RateLimit) -> Self {
        Self(Buckets::new(limits.failures, limits.burst))
    }

    /// Takes over changed limits; what was counted stays counted.
    pub fn configure(&self, limits: &RateLimit) {
        self.0.configure(limits.failures, limits.burst);
    }

    /// Counts a refused credential. When that is one too many: how long to wait.
    pub fn refused(&self, address: IpAddr) -> Option<Duration> {
        self.0.take(network(address))
    }

    /// Whether the address has none left, without counting.
    pub fn exceeded(&self, address: IpAddr) -> Option<Duration> {
        self.0.exceeded(network(address))
    }
}

/// A token bucket for each key.
pub struct Buckets<K> {
    settings: Mutex<Option<Settings>>,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy)]
struct Settings {
    burst: f64,
    per_second: f64,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl<K: Eq + Hash> Buckets<K> {
    /// Without a rate nothing is limited. `burst` is by default what the rate counts.
    #[must_use]
    pub fn new(rate: Option<Rate>, burst: Option<u32>) -> Self {
        Self { settings: Mutex::new(Settings::read(rate, burst)), buckets: Mutex::default() }
    }

    /// Takes over changed limits; what was counted stays counted.
    pub fn configure(&self, rate: Option<Rate>, burst: Option<u32>) {
        *lock(&self.settings) = Settings::read(rate, burst);
    }

    /// Counts an event. When that is one too many: how long to wait.
    pub fn take(&self, key: K) -> Option<Duration> {
        self.spend(key, 1.0)
    }

    /// Whether there is none left, without counting.
    pub fn exceeded(&self, key: K) -> Option<Duration> {
        self.spend(key, 0.0)
    }

    fn spend(&self, key: K, cost: f64) -> Option<Duration> {
        let settings = (*lock(&self.settings))?;
        let now = Instant::now();
        let mut buckets = lock(&self.buckets);
        if buckets.len() >= MAX_KEYS {
            buckets.retain(|_, bucket| bucket.filled(&settings, now) < settings.burst);
            if buckets.len() >= MAX_KEYS {
                buckets.clear();
            }
        }
        if cost == 0.0 && !buckets.contains_key(&key) {
            return None;
        }
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: settings.burst, at: now });
        bucket.tokens = bucket.filled(&settings, now);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return Some(Duration::from_secs_f64((1.0 - bucket.tokens) / settings.per_second));
        }
        bucket.tokens -= cost;
        None
    }
}

impl Settings {
    fn read(rate: Option<Rate>, burst: Option<u32>) -> Option<Self> {
        let Rate { count, per } = rate?;
        let burst = f64::from(burst.unwrap_or(count).max(1));
        Some(Self { burst, per_second: f64::from(count) / per.as_secs_f64() })
    }
}

impl Bucket {
    fn filled(&self, settings: &Settings, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens + since * settings.per_second).min(settings.burst)
    }
}

/// An IPv4 address, or the /64 of an IPv6 address.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(count: u32) -> Limiter {
        let failures = Some(Rate { count, per: Duration::from_secs(3600) });
        Limiter::new(&RateLimit { failures, sign_in: None, burst: None })
    }

    #[test]
    fn an_address_is_stopped_after_its_burst_and_others_are_not() {
        let limiter = limiter(3);
        let (one, other): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        for _ in 0..3 {
            assert!(limiter.exceeded(one).is_none());
            assert!(limiter.refused(one).is_none());
        }
        assert!(limiter.exceeded(one).is_some());
        assert!(limiter.refused(one).is_some());
        assert!(limiter.refused(other).is_none());
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let limiter = limiter(1);
        assert!(limiter.refused("2001:db8::1".parse().unwrap()).is_none());
        assert!(limiter.refused("2001:db8::2".parse().unwrap()).is_some());
        assert!(limiter.refused("2001:db8:0:1::1".parse().unwrap()).is_none());
    }

    #[test]
    fn no_limit_means_none() {
        let limiter = Limiter::new(&RateLimit { failures: None, sign_in: None, burst: None });
        let address = [192, 0, 2, 1].into();
        assert!((0..1000).all(|_| limiter.refused(address).is_none()));
    }
}
