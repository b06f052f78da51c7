//! One worker's view of one configuration. A request keeps the one it began with to its end.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderMap;

use crate::access::authn::{self, Authn};
use crate::access::{Gate, Grant};
use crate::clock::CoarseClock;
use crate::config::Config;
use crate::endpoints::Endpoint;
use crate::identity::owned::Owned;
use crate::metrics::{self, Metrics, RouteCounts};
use crate::signin;
use crate::upstream::Upstream;

/// Made anew at each reload; what it holds per worker (caches, pools) is its own.
pub struct Site {
    pub config: Arc<Config>,
    pub gate: Gate,
    pub owned: Rc<Owned>,
    upstreams: Vec<Upstream>,
    counts: Vec<Arc<RouteCounts>>,
    /// None where sign-in is switched off.
    pub signin: Option<Arc<signin::Common>>,
    /// In the order of [`Endpoint::LABELLED`].
    endpoint_counts: Vec<Arc<RouteCounts>>,
}

impl Site {
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        shared: authn::Shared,
        signin: Option<Arc<signin::Common>>,
        metrics: &Metrics,
        worker: &Arc<metrics::Worker>,
        clock: &Rc<CoarseClock>,
    ) -> Rc<Self> {
        let authn = Authn::new(&config, shared, Arc::clone(worker));
        let of_routes = config.routes.iter().flat_map(|route| &route.headers);
        let owned = Owned::new(config.identity.headers.iter().chain(of_routes).map(|(name, _)| name));
        let upstreams = config
            .upstreams
            .iter()
            .map(|upstream| {
                let counts = worker.upstream(&metrics.upstream(&upstream.name));
                Upstream::new(Arc::clone(upstream), config.server.workers, Rc::clone(clock), counts)
            })
            .collect();
        let counts = config.routes.iter().map(|route| metrics.route(&route.name)).collect();
        let endpoint_counts = Endpoint::LABELLED
            .into_iter()
            .filter_map(Endpoint::label)
            .map(|name| metrics.route(name))
            .collect();
        let gate = Gate::new(&config, authn);
        Rc::new(Self { gate, config, owned: Rc::new(owned), upstreams, counts, signin, endpoint_counts })
    }

    #[must_use]
    pub fn upstream(&self, index: usize) -> &Upstream {
        &self.upstreams[index]
    }

    #[must_use]
    pub fn route_name(&self, index: usize) -> &str {
        &self.config.routes[index].name
    }

    #[must_use]
    pub fn route_counts(&self, index: usize) -> &RouteCounts {
        &self.counts[index]
    }

    /// None for an endpoint that has no label to count under.
    #[must_use]
    pub fn endpoint_counts(&self, endpoint: Endpoint) -> Option<&RouteCounts> {
        let index = Endpoint::LABELLED.iter().position(|labelled| *labelled == endpoint)?;
        self.endpoint_counts.get(index).map(|counts| &**counts)
    }

    /// The identity headers that the grant vouches for: the only way identity enters a request, at
    /// every door. `headers` holds none that a client sent: it is what passed the proxy's sieve, or
    /// empty at a door that answers with the headers to copy.
    pub fn vouch(&self, grant: &Grant, headers: &mut HeaderMap) {
        let word = grant.proved().map(|proved| &proved.word);
        let Some(word) = word else { return };
        for (name, value) in &word.said.headers {
            headers.insert(name.clone(), value.clone());
        }
        for (name, template) in &grant.route().headers {
            match template.render(&word.identity) {
                Some(value) => headers.insert(name, value),
                None => headers.remove(name),
            };
        }
    }

    /// The sweep: closes what nobody used.
    pub fn sweep(&self) {
        for upstream in &self.upstreams {
            upstream.sweep();
        }
    }
}
