//! Counts events for each client address, and says when there were too many.
//!
//! Touched only when a credential is refused or unknown, never for a known session. Bounded: past
//! a number of addresses the quiet ones are let go.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{Rate, RateLimit};

const MAX_ADDRESSES: usize = 50_000;

/// A token bucket for each address; IPv6 clients are counted by their /64, which is one household.
pub struct Limiter {
    settings: Mutex<Option<Settings>>,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
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

impl Limiter {
    #[must_use]
    pub fn new(limits: &RateLimit) -> Self {
        Self { settings: Mutex::new(Settings::read(limits)), buckets: Mutex::default() }
    }

    /// Takes over changed limits; what was counted stays counted.
    pub fn configure(&self, limits: &RateLimit) {
        *lock(&self.settings) = Settings::read(limits);
    }

    /// Counts a refused credential. When that is one too many: how long to wait.
    pub fn refused(&self, address: IpAddr) -> Option<Duration> {
        self.take(address, 1.0)
    }

    /// Whether the address has none left, without counting.
    pub fn exceeded(&self, address: IpAddr) -> Option<Duration> {
        self.take(address, 0.0)
    }

    fn take(&self, address: IpAddr, cost: f64) -> Option<Duration> {
        let settings = (*lock(&self.settings))?;
        let now = Instant::now();
        let mut buckets = lock(&self.buckets);
        if buckets.len() >= MAX_ADDRESSES {
            buckets.retain(|_, bucket| bucket.filled(&settings, now) < settings.burst);
            if buckets.len() >= MAX_ADDRESSES {
                buckets.clear();
            }
        }
        if cost == 0.0 && !buckets.contains_key(&network(address)) {
            return None;
        }
        let bucket = buckets.entry(network(address)).or_insert(Bucket { tokens: settings.burst, at: now });
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
    fn read(limits: &RateLimit) -> Option<Self> {
        let Rate { count, per } = limits.failures?;
        let burst = f64::from(limits.burst.unwrap_or(count).max(1));
        Some(Self { burst, per_second: f64::from(count) / per.as_secs_f64() })
    }
}

impl Bucket {
    fn filled(&self, settings: &Settings, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens + since * settings.per_second).min(settings.burst)
    }
}

fn network(address: IpAddr) -> IpAddr {
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
        Limiter::new(&RateLimit { failures, burst: None })
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
        let limiter = Limiter::new(&RateLimit { failures: None, burst: None });
        let address = [192, 0, 2, 1].into();
        assert!((0..1000).all(|_| limiter.refused(address).is_none()));
    }
}
