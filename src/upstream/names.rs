//! Looks up the names of upstreams, again and again, each time for as long as the answer holds.
//!
//! What holds: what a look-up found stays in use until another one finds something; a look-up that
//! fails, or finds nothing, changes nothing. No request waits for one but where there never was an
//! address.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;

use super::cluster::Cluster;

/// However short its time to live, an answer is used this long, and however long, no longer than
/// [`LONGEST`].
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// Until the next try after one that failed; the first is for an upstream that has no address yet.
const RETRY_AT_ONCE: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(5);
/// More addresses of one name are not used.
const MOST_ADDRESSES: usize = 64;

/// The resolver that `/etc/resolv.conf` and `/etc/hosts` describe.
///
/// # Errors
/// When they cannot be read.
pub fn of_system() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = 0;
    builder.build()
}

/// Keeps the addresses of a cluster's names up to date, for as long as it is in force. The resolver
/// is made anew each time, so that what describes it may change.
pub async fn follow(cluster: Weak<Cluster>, resolver: impl Fn() -> Result<TokioResolver, NetError>) {
    loop {
        let Some(known) = cluster.upgrade().filter(|known| known.is_in_force()) else { return };
        let next = look_up(&known, &resolver).await;
        drop(known);
        tokio::time::sleep(next).await;
    }
}

/// Looks up each name, and tells when to do so again.
async fn look_up(
    cluster: &Arc<Cluster>,
    resolver: &impl Fn() -> Result<TokioResolver, NetError>,
) -> Duration {
    let upstream = &cluster.settings.name;
    let mut next = LONGEST;
    for (place, name) in cluster.names() {
        let found = match resolver() {
            Ok(resolver) => addresses(&resolver, name).await,
            Err(error) => Err(error),
        };
        match found {
            Ok((found, lasts)) => {
                cluster.replace(place, &found);
                next = next.min(lasts.clamp(SHORTEST, LONGEST));
            }
            Err(error) => {
                tracing::warn!(upstream, name, %error, "the upstream's name was not found; what is known of it stays");
                let is_known = !cluster.instances().is_empty();
                next = next.min(if is_known { RETRY } else { RETRY_AT_ONCE });
            }
        }
    }
    next
}

/// At least one address, and how long the answer holds.
async fn addresses(resolver: &TokioResolver, name: &str) -> Result<(Vec<IpAddr>, Duration), NetError> {
    let answer = resolver.lookup_ip(name).await?;
    let mut found: Vec<IpAddr> = Vec::new();
    for address in answer.iter().take(MOST_ADDRESSES) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() {
        return Err(NetError::from("it has no address"));
    }
    Ok((found, answer.valid_until().saturating_duration_since(Instant::now())))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Mutex;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use tokio::net::UdpSocket;

    use super::super::cluster::tests::{cluster, settings};
    use super::*;

    const A: &[u8] = &[0, 1];
    const SERVFAIL: u8 = 2;

    /// A name server that gives every name these addresses, or fails.
    struct NameServer {
        address: SocketAddr,
        answer: Arc<Mutex<Option<Vec<Ipv4Addr>>>>,
    }

    impl NameServer {
        async fn start(lasts: u32) -> Self {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            let answer: Arc<Mutex<Option<Vec<Ipv4Addr>>>> = Arc::default();
            let told = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut query = [0; 512];
                loop {
                    let (length, from) = socket.recv_from(&mut query).await.unwrap();
                    let told = told.lock().unwrap().clone();
                    socket.send_to(&answer_to(&query[..length], told, lasts), from).await.unwrap();
                }
            });
            Self { address, answer }
        }

        fn tell(&self, last: Option<&[u8]>) {
            let addresses = last.map(|last| last.iter().map(|last| Ipv4Addr::new(10, 0, 0, *last)).collect());
            *self.answer.lock().unwrap() = addresses;
        }

        fn resolver(&self) -> Result<TokioResolver, NetError> {
            let mut connection = ConnectionConfig::udp();
            connection.port = self.address.port();
            let server = NameServerConfig::new(self.address.ip(), true, vec![connection]);
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
            builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            builder.options_mut().cache_size = 0;
            builder.build()
        }
    }

    /// RFC 1035 section 4.
    fn answer_to(query: &[u8], addresses: Option<Vec<Ipv4Addr>>, lasts: u32) -> Vec<u8> {
        let name_ends = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
        let question = &query[12..name_ends + 4];
        let is_a = &query[name_ends..name_ends + 2] == A;
        let failed = addresses.is_none();
        let addresses = addresses.filter(|_| is_a).unwrap_or_default();
        let mut answer = query[..2].to_vec();
        answer.extend([
            0x81,
            0x80 | if failed { SERVFAIL } else { 0 },
            0,
            1,
            0,
            addresses.len() as u8,
            0,
            0,
            0,
            0,
        ]);
        answer.extend(question);
        for address in addresses {
            answer.extend([0xc0, 12, 0, 1, 0, 1]);
            answer.extend(lasts.to_be_bytes());
            answer.extend([0, 4]);
            answer.extend(address.octets());
        }
        answer
    }

    fn known(cluster: &Cluster) -> Vec<String> {
        let mut known: Vec<_> =
            cluster.instances().iter().map(|instance| instance.address.to_string()).collect();
        known.sort();
        known
    }

    #[tokio::test]
    async fn every_address_is_used_for_as_long_as_the_answer_holds() {
        let server = NameServer::start(42).await;
        let cluster = cluster(settings(&[("app.internal", 80), ("127.0.0.1", 9)]));
        server.tell(Some(&[1, 2]));
        let next = look_up(&cluster, &|| server.resolver()).await;
        assert!((30..=42).contains(&next.as_secs()), "{next:?}");
        assert_eq!(known(&cluster), ["10.0.0.1:80", "10.0.0.2:80", "127.0.0.1:9"]);
        server.tell(Some(&[2, 3]));
        look_up(&cluster, &|| server.resolver()).await;
        assert_eq!(known(&cluster), ["10.0.0.2:80", "10.0.0.3:80", "127.0.0.1:9"]);
    }

    #[tokio::test]
    async fn a_look_up_that_fails_changes_nothing() {
        let server = NameServer::start(1).await;
        let cluster = cluster(settings(&[("app.internal", 80)]));
        server.tell(None);
        assert_eq!(look_up(&cluster, &|| server.resolver()).await, RETRY_AT_ONCE);
        server.tell(Some(&[1]));
        assert_eq!(look_up(&cluster, &|| server.resolver()).await, SHORTEST, "a second, but not less");
        for nothing in [None, Some(&[][..])] {
            server.tell(nothing);
            assert_eq!(look_up(&cluster, &|| server.resolver()).await, RETRY);
            assert_eq!(known(&cluster), ["10.0.0.1:80"]);
        }
    }

    #[tokio::test]
    async fn names_are_followed_until_the_cluster_is_gone() {
        let server = NameServer::start(1).await;
        let cluster = cluster(settings(&[("app.internal", 80)]));
        let weak = Arc::downgrade(&cluster);
        let follows = async {
            server.tell(Some(&[1]));
            while known(&cluster) != ["10.0.0.1:80"] {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            server.tell(Some(&[2]));
            while known(&cluster) != ["10.0.0.2:80"] {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            drop(cluster);
        };
        tokio::join!(follow(weak, || server.resolver()), follows);
    }
}
