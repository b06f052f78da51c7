//! What all workers share of one upstream: its instances, and what is known of each.
//!
//! What holds: a request reads snapshots and flags and takes no lock; at most half of the instances
//! are ejected at one time; an instance keeps what is known of it from one look-up of its name to
//! the next, and from one configuration to the next.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::HeaderValue;
use tokio::sync::Notify;

use super::room::Room;
use crate::config::{self, Config, Target};
use crate::metrics::{EndpointUp, Metrics, UpstreamCounts};

/// The upstreams of a configuration, in its order.
pub type Fleet = Arc<[Arc<Cluster>]>;

/// Failed checks in a row that take an instance out of service, and passed ones that bring it back:
/// HAProxy's defaults. The very first check decides by itself.
const FALL: i32 = 3;
const RISE: i32 = 2;
/// How long an instance that came back, or is new beside others, gets less than its share.
pub const SLOW_START: Duration = Duration::from_secs(10);
/// The least share of it.
const LEAST_SHARE: f64 = 0.1;

const UNHEALTHY: u8 = 1;
const EJECTED: u8 = 2;
const WARMING: u8 = 4;

/// One upstream, for all workers.
pub struct Cluster {
    pub settings: Arc<config::Upstream>,
    instances: ArcSwap<Vec<Arc<Instance>>>,
    /// Counts on when the instances change.
    generation: AtomicU32,
    /// Told when they do.
    pub(super) changed: Notify,
    /// None without `max_connections`.
    pub(super) room: Option<Arc<Room>>,
    /// Another configuration is in force.
    retired: AtomicBool,
    pub counts: Arc<UpstreamCounts>,
    /// Held while an instance is ejected.
    ejecting: Mutex<()>,
}

/// Where an instance listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One address of an upstream.
pub struct Instance {
    pub target: Target,
    pub address: Address,
    /// What its URL says, as a `Host`.
    pub host: HeaderValue,
    flags: AtomicU8,
    /// Since when it gets less than its share.
    warming: Mutex<Option<Instant>>,
    /// Failed requests in a row.
    failures: AtomicU32,
    /// Checks passed in a row, or below zero failed; zero before the first.
    checks: AtomicI32,
    up: Arc<EndpointUp>,
}

/// The upstreams of `config`. What is known of their instances is taken over from `old`, which is
/// looked after no more.
#[must_use]
pub fn fleet(config: &Config, old: &[Arc<Cluster>], metrics: &Metrics) -> Fleet {
    old.iter().for_each(|cluster| cluster.retired.store(true, Relaxed));
    let upstreams = config.upstreams.iter();
    upstreams
        .map(|upstream| {
            let old = old.iter().find(|old| old.settings.name == upstream.name);
            Arc::new(Cluster::new(upstream, old.map(Arc::as_ref), metrics.upstream(&upstream.name)))
        })
        .collect()
}

impl Cluster {
    fn new(settings: &Arc<config::Upstream>, old: Option<&Self>, counts: Arc<UpstreamCounts>) -> Self {
        let same_watch = |old: &&Self| {
            (&old.settings.health, &old.settings.outlier) == (&settings.health, &settings.outlier)
        };
        let known = old.filter(same_watch).map(Self::instances).unwrap_or_default();
        let mut instances = Vec::new();
        for target in &settings.targets {
            let fixed = fixed_address(target);
            let before = known.iter().filter(|instance| instance.target == *target);
            let before: Vec<_> = before.map(Arc::clone).collect();
            match fixed {
                Some(address) if before.is_empty() => {
                    instances.push(Arc::new(Instance::new(target, address, &counts)));
                }
                _ => instances.extend(before),
            }
        }
        let room = settings.max_connections.map(|most| {
            let kept = old.filter(|old| old.settings.max_connections == Some(most));
            kept.and_then(|old| old.room.clone()).unwrap_or_else(|| Arc::new(Room::new(most)))
        });
        Self {
            settings: Arc::clone(settings),
            instances: ArcSwap::from_pointee(instances),
            generation: AtomicU32::new(0),
            changed: Notify::new(),
            room,
            retired: AtomicBool::new(false),
            counts,
            ejecting: Mutex::default(),
        }
    }

    /// Whether it is still looked after: checked, and its names looked up.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        !self.retired.load(Relaxed)
    }

    #[must_use]
    pub fn instances(&self) -> Arc<Vec<Arc<Instance>>> {
        self.instances.load_full()
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Relaxed)
    }

    /// Whether some of its addresses have to be looked up.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.names().next().is_some()
    }

    /// The targets that are names, by their places.
    pub(super) fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        self.settings.targets.iter().enumerate().filter_map(|(place, target)| match target {
            Target::Tcp { host, .. } if fixed_address(target).is_none() => Some((place, host.as_str())),
            _ => None,
        })
    }

    /// These are the addresses of a name now.
    pub(super) fn replace(&self, place: usize, addresses: &[IpAddr]) {
        let known = self.instances();
        let target = &self.settings.targets[place];
        let Target::Tcp { port, .. } = target else { return };
        let (before, others): (Vec<_>, Vec<_>) =
            known.iter().map(Arc::clone).partition(|instance| instance.target == *target);
        let mut now = Vec::new();
        for ip in addresses {
            let address = Address::Tcp(SocketAddr::new(*ip, *port));
            let kept = before.iter().find(|instance| instance.address == address);
            now.push(kept.map_or_else(
                || {
                    let new = Instance::new(target, address.clone(), &self.counts);
                    if !known.is_empty() {
                        new.warm();
                    }
                    Arc::new(new)
                },
                Arc::clone,
            ));
        }
        if now.len() == before.len() && before.iter().all(|old| now.iter().any(|new| Arc::ptr_eq(old, new))) {
            return;
        }
        now.extend(others);
        tracing::info!(
            upstream = self.settings.name,
            instances =
                now.iter().map(|instance| instance.address.to_string()).collect::<Vec<_>>().join(", "),
            "the upstream's addresses have changed"
        );
        self.instances.store(Arc::new(now));
        self.generation.fetch_add(1, Relaxed);
        self.changed.notify_waiters();
    }

    /// Notes how a check ended.
    pub(super) fn checked(&self, instance: &Instance, passed: bool) {
        self.counts.health_check(passed);
        let before = instance.checks.load(Relaxed);
        let now = if passed { before.max(0).saturating_add(1) } else { before.min(0).saturating_sub(1) };
        instance.checks.store(now, Relaxed);
        let (upstream, address) = (&self.settings.name, &instance.address);
        let was_out = instance.has(UNHEALTHY);
        if was_out && passed && now >= RISE {
            instance.clear(UNHEALTHY);
            instance.warm();
            tracing::info!(upstream, instance = %address, "passes its health checks again");
        } else if !was_out && !passed && (now <= -FALL || before == 0) {
            instance.set(UNHEALTHY);
            tracing::warn!(upstream, instance = %address, "fails its health checks and is left out");
        }
    }

    /// Notes that a request failed on an instance. Given back where it is ejected for that: to be
    /// readmitted in time.
    pub(super) fn failed(&self, instance: &Arc<Instance>) -> Option<Duration> {
        let outlier = self.settings.outlier.as_ref()?;
        let failures = instance.failures.fetch_add(1, Relaxed).saturating_add(1);
        if failures < outlier.failures || instance.has(EJECTED) {
            return None;
        }
        let _alone = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.instances.load();
        let out = all.iter().filter(|other| other.has(EJECTED)).count();
        if instance.has(EJECTED) || (out + 1) * 2 > all.len() {
            return None;
        }
        instance.set(EJECTED);
        self.counts.ejected();
        let (upstream, address) = (&self.settings.name, &instance.address);
        tracing::warn!(upstream, instance = %address, failures, "failed too often in a row and is left alone");
        Some(outlier.eject)
    }
}

/// The address of a target that is no name.
fn fixed_address(target: &Target) -> Option<Address> {
    match target {
        Target::Tcp { host, port, .. } => {
            host.parse().ok().map(|ip: IpAddr| Address::Tcp(SocketAddr::new(ip, *port)))
        }
        Target::Unix(path) => Some(Address::Unix(path.clone())),
    }
}

impl Instance {
    fn new(target: &Target, address: Address, counts: &UpstreamCounts) -> Self {
        let up = counts.endpoint(&address.to_string());
        up.set(true);
        Self {
            host: target.authority(),
            target: target.clone(),
            address,
            flags: AtomicU8::new(0),
            warming: Mutex::default(),
            failures: AtomicU32::new(0),
            checks: AtomicI32::new(0),
            up,
        }
    }

    /// Whether it fails its health checks.
    #[must_use]
    pub fn is_unhealthy(&self) -> bool {
        self.has(UNHEALTHY)
    }

    /// Whether nothing is known against it.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.flags.load(Relaxed) & (UNHEALTHY | EJECTED) == 0
    }

    /// Its share of the requests that would be its, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        if !self.has(WARMING) {
            return 1.0;
        }
        let since = *self.warming.lock().unwrap_or_else(PoisonError::into_inner);
        let share = share_after(since.map_or(SLOW_START, |since| since.elapsed()));
        if share >= 1.0 {
            self.flags.fetch_and(!WARMING, Relaxed);
        }
        share
    }

    pub(super) fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// It may be asked again.
    pub(super) fn readmit(&self) {
        self.failures.store(0, Relaxed);
        self.clear(EJECTED);
        self.warm();
        tracing::info!(instance = %self.address, "is asked again");
    }

    fn has(&self, flag: u8) -> bool {
        self.flags.load(Relaxed) & flag != 0
    }

    fn set(&self, flag: u8) {
        self.flags.fetch_or(flag, Relaxed);
        self.up.set(self.is_up());
    }

    fn clear(&self, flag: u8) {
        self.flags.fetch_and(!flag, Relaxed);
        self.up.set(self.is_up());
    }

    fn warm(&self) {
        *self.warming.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.flags.fetch_or(WARMING, Relaxed);
    }
}

/// The share of an instance that came back so long ago.
fn share_after(since: Duration) -> f64 {
    (since.as_secs_f64() / SLOW_START.as_secs_f64()).clamp(LEAST_SHARE, 1.0)
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::config::{Balance, Health, Outlier, UpstreamHost, UpstreamTimeouts};

    pub(in crate::upstream) fn settings(urls: &[(&str, u16)]) -> config::Upstream {
        let second = Duration::from_secs(1);
        config::Upstream {
            name: "app".to_owned(),
            targets: urls
                .iter()
                .map(|(host, port)| Target::Tcp { host: (*host).to_owned(), port: *port, tls: false })
                .collect(),
            balance: Balance::RoundRobin,
            timeouts: UpstreamTimeouts { connect: second, response: second, idle: second },
            retries: 0,
            max_connections: None,
            host: UpstreamHost::Preserve,
            http2: false,
            tls: None,
            health: None,
            outlier: Some(Outlier { failures: 2, eject: second }),
        }
    }

    pub(in crate::upstream) fn cluster(settings: config::Upstream) -> Arc<Cluster> {
        let metrics = Metrics::new(1);
        Arc::new(Cluster::new(&Arc::new(settings), None, metrics.upstream("app")))
    }

    fn ips(last: &[u8]) -> Vec<IpAddr> {
        last.iter().map(|last| Ipv4Addr::new(10, 0, 0, *last).into()).collect()
    }

    fn addresses(cluster: &Cluster) -> Vec<String> {
        cluster.instances().iter().map(|instance| instance.address.to_string()).collect()
    }

    #[test]
    fn the_addresses_of_a_name_come_and_go_and_keep_what_is_known_of_them() {
        let cluster = cluster(settings(&[("app.internal", 80), ("192.0.2.1", 81)]));
        assert_eq!(addresses(&cluster), ["192.0.2.1:81"]);
        cluster.replace(0, &ips(&[1, 2]));
        assert_eq!(addresses(&cluster), ["10.0.0.1:80", "10.0.0.2:80", "192.0.2.1:81"]);
        let first = Arc::clone(&cluster.instances()[0]);
        first.set(EJECTED);
        let generation = cluster.generation();
        cluster.replace(0, &ips(&[2, 1]));
        assert_eq!(cluster.generation(), generation, "the order means nothing");
        cluster.replace(0, &ips(&[1, 3]));
        assert_eq!(addresses(&cluster), ["10.0.0.1:80", "10.0.0.3:80", "192.0.2.1:81"]);
        assert!(Arc::ptr_eq(&first, &cluster.instances()[0]) && !cluster.instances()[0].is_up());
        assert!(cluster.instances()[1].share() < 1.0, "a new one among others starts slowly");
        assert_eq!(cluster.generation(), generation + 1);
    }

    #[test]
    fn never_more_than_half_are_ejected() {
        let cluster = cluster(settings(&[("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.3", 80)]));
        let all = cluster.instances();
        assert!(cluster.failed(&all[0]).is_none(), "one failure is none");
        all[0].succeeded();
        assert!(cluster.failed(&all[0]).is_none(), "what succeeds begins anew");
        assert!(cluster.failed(&all[0]).is_some() && !all[0].is_up());
        for _ in 0..5 {
            assert!(cluster.failed(&all[1]).is_none() && all[1].is_up(), "one of three is out");
        }
        all[0].readmit();
        assert!(all[0].is_up() && all[0].share() < 1.0);
        assert!(cluster.failed(&all[1]).is_some());
    }

    #[test]
    fn checks_in_a_row_decide_and_the_first_by_itself() {
        let health = Health {
            path: "/".parse().unwrap(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        };
        let of = config::Upstream { health: Some(health), ..settings(&[("10.0.0.1", 80), ("10.0.0.2", 80)]) };
        let cluster = cluster(of);
        let all = cluster.instances();
        cluster.checked(&all[0], false);
        assert!(all[0].is_unhealthy());
        for (passed, unhealthy) in [
            (true, true),
            (false, true),
            (true, true),
            (true, false),
            (false, false),
            (false, false),
            (true, false),
            (false, false),
            (false, false),
            (false, true),
        ] {
            cluster.checked(&all[0], passed);
            assert_eq!(all[0].is_unhealthy(), unhealthy);
        }
        cluster.checked(&all[1], true);
        assert!(all[1].is_up());
    }

    #[test]
    fn what_is_known_outlives_a_configuration() {
        let metrics = Metrics::new(1);
        let old = cluster(settings(&[("10.0.0.1", 80), ("app.internal", 80)]));
        old.replace(1, &ips(&[7]));
        old.instances()[0].set(EJECTED);
        let changed = config::Upstream { retries: 1, ..settings(&[("app.internal", 80), ("10.0.0.9", 80)]) };
        let new = Cluster::new(&Arc::new(changed), Some(&old), metrics.upstream("app"));
        assert_eq!(addresses(&new), ["10.0.0.7:80", "10.0.0.9:80"]);
        let unwatched = config::Upstream { outlier: None, ..settings(&[("10.0.0.1", 80)]) };
        let new = Cluster::new(&Arc::new(unwatched), Some(&old), metrics.upstream("app"));
        assert!(new.instances()[0].is_up(), "nobody would readmit it");
    }

    #[test]
    fn an_instance_that_came_back_gets_more_and_more() {
        for (seconds, share) in [(0, 0.1), (1, 0.1), (5, 0.5), (10, 1.0), (99, 1.0)] {
            assert!((share_after(Duration::from_secs(seconds)) - share).abs() < 1e-9, "{seconds}");
        }
    }
}
