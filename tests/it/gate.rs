//! The one place that decides, without a worker around it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};
use stytch_gateway::access::authn::fetcher::{self, Fetcher};
use stytch_gateway::access::authn::{self, Authn, checker, keys, registry};
use stytch_gateway::access::{Gate, RequestHead};
use stytch_gateway::config::{self, Config};
use stytch_gateway::limiter::Limiter;
use stytch_gateway::metrics::Metrics;
use stytch_gateway::readiness::Readiness;
use stytch_gateway::stytch::Client;

use crate::world::World;

/// The settings that a world's gateway was started with.
pub(crate) fn settings(world: &World) -> Config {
    let settings = [0, 1].map(|layer| world.directory().join(format!("{layer}.toml")));
    config::load(&settings, std::iter::empty()).expect("settings that were loaded before").config
}

/// The keys are fetched as ever.
pub(crate) fn scheduled(fetcher: Fetcher) -> fetcher::Handle {
    let (handle, fetching) = fetcher.start();
    tokio::task::spawn_local(fetching);
    handle
}

/// A gate as a worker has one, without a worker. `start` says how it gets its keys.
pub(crate) fn gate(config: &Config, start: impl FnOnce(Fetcher) -> fetcher::Handle) -> Gate {
    let (metrics, readiness) = (Metrics::new(1), Readiness::new());
    let stytch = &config.stytch;
    let client =
        Client::new(&stytch.api_url, &stytch.project_id, &stytch.secret, stytch.vertical, stytch.timeout)
            .unwrap_or_else(|error| panic!("{error}"));
    let (keys, registry) = (keys::Keys::default(), Arc::<registry::Registry>::default());
    let fetcher = start(Fetcher {
        client: client.clone(),
        keys: keys.clone(),
        refresh: Duration::from_secs(600),
        cache: None,
        metrics: Arc::clone(&metrics),
        pending: None,
    });
    let (checker, asking) = checker::Checker::new(checker::Parts {
        client,
        vertical: stytch.vertical,
        capacity: 64,
        negative_ttl: Duration::from_secs(10),
        registry: Arc::clone(&registry),
        metrics,
        readiness,
    });
    tokio::task::spawn_local(checker.run());
    let limiter = Arc::new(Limiter::new(&config.rate_limit));
    let changes = Arc::default();
    let shared = authn::Shared { keys, fetcher, checker: asking, registry, changes, limiter, policies: None };
    Gate::new(config, Authn::new(config, shared, Metrics::new(1).worker(0)))
}

/// Headers with a credential.
pub(crate) fn bearing(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap())])
}

/// A plain request, now.
pub(crate) fn request(headers: &HeaderMap) -> RequestHead<'_> {
    RequestHead {
        method: &Method::GET,
        host: "app.test",
        path: "/x",
        encoded_slash: false,
        query: None,
        headers,
        client: IpAddr::from([127, 0, 0, 1]),
        received_at: stytch_gateway::clock::unix_millis(),
    }
}
