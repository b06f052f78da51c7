//! Which endpoint is next.
//!
//! What holds: one that is up and rested comes first; one that was ejected or refused connections
//! only where there is no other; one that fails its health checks never.

use std::cell::Cell;
use std::rc::Rc;

use super::pool::Endpoint;
use crate::clock::{self, Ticks};
use crate::config::Balance;

/// One worker's turn.
pub(super) struct Balancer {
    balance: Balance,
    next: Cell<usize>,
    random: Cell<u64>,
}

impl Balancer {
    pub(super) fn new(balance: Balance) -> Self {
        // Workers that began at the same place would go on in step.
        let seed = (clock::jitter() * (1u64 << 53) as f64) as u64 | 1;
        Self { balance, next: Cell::new(seed as usize), random: Cell::new(seed) }
    }

    /// One that was not tried yet. None where there is none.
    pub(super) fn pick<'e>(
        &self,
        endpoints: &'e [Rc<Endpoint>],
        tried: &[Rc<Endpoint>],
        now: Ticks,
    ) -> Option<&'e Rc<Endpoint>> {
        if let ([only], []) = (endpoints, tried) {
            return (!only.instance.is_unhealthy()).then_some(only);
        }
        let untried = |endpoint: &Rc<Endpoint>| !tried.iter().any(|other| Rc::ptr_eq(other, endpoint));
        let fit = |endpoint: &Rc<Endpoint>| {
            endpoint.instance.is_up() && endpoint.is_rested(now) && untried(endpoint)
        };
        let at = self
            .choose(endpoints, |endpoint| fit(endpoint) && self.admits(endpoint))
            .or_else(|| self.choose(endpoints, fit))
            .or_else(|| self.choose(endpoints, |each| !each.instance.is_unhealthy() && untried(each)))?;
        Some(&endpoints[at])
    }

    fn choose(&self, endpoints: &[Rc<Endpoint>], fits: impl Fn(&Rc<Endpoint>) -> bool) -> Option<usize> {
        let count = endpoints.len();
        let from = |start: usize| {
            let mut places = (0..count).map(|step| (start % count + step) % count);
            places.find(|place| fits(&endpoints[*place]))
        };
        match self.balance {
            Balance::RoundRobin => {
                let at = from(self.next.get())?;
                self.next.set(at + 1);
                Some(at)
            }
            Balance::LeastRequests => {
                let one = from(self.random(count))?;
                let other = from(one + 1 + self.random(count.saturating_sub(1)))?;
                let load = |at: usize| endpoints[at].in_flight();
                Some(if load(other) < load(one) { other } else { one })
            }
        }
    }

    /// Whether one that came back gets this request.
    fn admits(&self, endpoint: &Endpoint) -> bool {
        let share = endpoint.instance.share();
        share >= 1.0 || (self.random(1000) as f64) < share * 1000.0
    }

    /// Below `bound`; zero where that is none. Xorshift: spread well enough, and not a secret.
    fn random(&self, bound: usize) -> usize {
        let mut bits = self.random.get();
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        self.random.set(bits);
        (bits >> 16) as usize % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cluster::tests::{cluster, settings};
    use super::super::pool::InFlight;
    use super::*;

    fn endpoints(count: u16) -> Vec<Rc<Endpoint>> {
        let urls: Vec<_> = (0..count).map(|place| ("10.0.0.1", 80 + place)).collect();
        let cluster = cluster(settings(&urls));
        cluster.instances().iter().map(|instance| Rc::new(Endpoint::new(instance, None))).collect()
    }

    fn place(endpoints: &[Rc<Endpoint>], picked: Option<&Rc<Endpoint>>) -> usize {
        endpoints.iter().position(|endpoint| Rc::ptr_eq(endpoint, picked.unwrap())).unwrap()
    }

    #[test]
    fn each_has_its_turn() {
        let endpoints = endpoints(3);
        let balancer = Balancer::new(Balance::RoundRobin);
        let picked: Vec<_> = (0..6).map(|_| place(&endpoints, balancer.pick(&endpoints, &[], 0))).collect();
        assert_eq!(picked[..3], picked[3..]);
        assert_eq!(picked.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
        let tried = [Rc::clone(&endpoints[0]), Rc::clone(&endpoints[2])];
        assert_eq!(place(&endpoints, balancer.pick(&endpoints, &tried, 0)), 1);
        assert!(balancer.pick(&endpoints, &endpoints, 0).is_none());
    }

    #[test]
    fn the_less_busy_of_two_is_taken() {
        let endpoints = endpoints(2);
        let balancer = Balancer::new(Balance::LeastRequests);
        let _busy = InFlight::new(&endpoints[1]);
        for _ in 0..50 {
            assert_eq!(place(&endpoints, balancer.pick(&endpoints, &[], 0)), 0);
        }
        let _both = InFlight::new(&endpoints[0]);
        let mut seen = [0; 2];
        for _ in 0..200 {
            seen[place(&endpoints, balancer.pick(&endpoints, &[], 0))] += 1;
        }
        assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
    }

    #[test]
    fn one_that_refused_a_connection_rests_unless_there_is_no_other() {
        for balance in [Balance::RoundRobin, Balance::LeastRequests] {
            let endpoints = endpoints(2);
            let balancer = Balancer::new(balance);
            endpoints[0].rest(0);
            for _ in 0..20 {
                assert_eq!(place(&endpoints, balancer.pick(&endpoints, &[], 5)), 1);
            }
            endpoints[1].rest(0);
            assert!(balancer.pick(&endpoints, &[], 5).is_some());
        }
    }
}
