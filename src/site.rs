//! One worker's view of one configuration. A request keeps the one it began with to its end.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::access::authn::{self, Authn};
use crate::access::{Gate, Grant, credential};
use crate::clock::{self, CoarseClock};
use crate::config::{Auth, Config};
use crate::endpoints::Endpoint;
use crate::fields::Headers;
use crate::identity::assertion::{self, Signer};
use crate::identity::owned::Owned;
use crate::identity::template::Template;
use crate::metrics::{self, Metrics, RouteCounts};
use crate::server::tls::certificate::ClientCertificate;
use crate::signin;
use crate::upstream::Upstream;
use crate::upstream::cluster::Fleet;

/// The roles that a permission check named (DESIGN.md section 5).
const GRANTING_ROLES: HeaderName = HeaderName::from_static("x-stytch-granting-roles");

/// Made anew at each reload; what it holds per worker (caches, pools) is its own.
pub struct Site {
    pub config: Arc<Config>,
    pub gate: Gate,
    pub owned: Rc<Owned>,
    /// Those of [`Config::identity`] that tell of the client's certificate.
    of_certificates: Vec<(HeaderName, Template)>,
    signer: Option<Signer>,
    upstreams: Vec<Upstream>,
    counts: Vec<Arc<RouteCounts>>,
    /// None where sign-in is switched off.
    pub signin: Option<Arc<signin::Common>>,
    /// In the order of [`Endpoint::LABELS`].
    endpoint_counts: Vec<Arc<RouteCounts>>,
}

impl Site {
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        shared: authn::Shared,
        signin: Option<Arc<signin::Common>>,
        fleet: &Fleet,
        metrics: &Metrics,
        worker: &Arc<metrics::Worker>,
        clock: &Rc<CoarseClock>,
    ) -> Rc<Self> {
        let authn = Authn::new(&config, shared, Arc::clone(worker));
        let of_routes = config.routes.iter().flat_map(|route| &route.headers);
        let signer = Signer::new(&config);
        let signed = signer.as_ref().map(|signer| &signer.header);
        let rendered = config.identity.headers.iter().chain(of_routes).map(|(name, _)| name);
        let owned = Owned::new(rendered.chain(signed));
        let of_certificates =
            config.identity.headers.iter().filter(|(_, template)| template.needs_certificate());
        let of_certificates = of_certificates.cloned().collect();
        let upstreams = fleet
            .iter()
            .map(|cluster| Upstream::new(cluster, Rc::clone(clock), worker.upstream(&cluster.counts)))
            .collect();
        let counts = config.routes.iter().map(|route| metrics.route(&route.name)).collect();
        let endpoint_counts = Endpoint::LABELS.iter().map(|label| metrics.route(label)).collect();
        let (gate, owned) = (Gate::new(&config, authn), Rc::new(owned));
        Rc::new(Self {
            gate,
            config,
            owned,
            of_certificates,
            signer,
            upstreams,
            counts,
            signin,
            endpoint_counts,
        })
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
        let label = endpoint.label()?;
        let index = Endpoint::LABELS.iter().position(|known| *known == label)?;
        self.endpoint_counts.get(index).map(|counts| &**counts)
    }

    /// The identity headers that the grant vouches for: the only way identity enters a request, at
    /// every door. `headers` holds none that a client sent: it is what passed the proxy's sieve, or
    /// empty at a door that answers with the headers to copy.
    pub fn vouch<'s>(&'s self, grant: &'s Grant, headers: &mut impl Headers<'s>) {
        let word = grant.proved().map(|proved| &proved.word);
        let Some(word) = word else { return };
        headers.set_ready(&word.said.headers);
        if let Some(roles) = grant.granting_roles() {
            headers.set(Cow::Owned(GRANTING_ROLES), Cow::Borrowed(roles));
        }
        for (name, template) in &grant.route().headers {
            match template.render(&word.identity) {
                Some(value) => headers.set(Cow::Borrowed(name), Cow::Owned(value)),
                None => headers.take_out(name),
            }
        }
        if let Some(signer) = &self.signer {
            let now = clock::unix_millis();
            let ends = word.ends(now);
            let route = grant.index();
            if let Some(token) = signer.assertion(route, &word.identity, ends, &word.assertions, now) {
                headers.set(Cow::Borrowed(&signer.header), Cow::Owned(token));
            }
        }
    }

    /// The headers that tell of the certificate a client showed, on every route: no credential is
    /// needed for them. Where they tell of an identity too, that must be proved.
    pub fn vouch_for_client<'s>(
        &'s self,
        grant: &'s Grant,
        client: &ClientCertificate,
        headers: &mut impl Headers<'s>,
    ) {
        let who = grant.proved().map(|proved| &*proved.word.identity);
        let of_route = grant.route().headers.iter().filter(|(_, template)| template.needs_certificate());
        for (name, template) in self.of_certificates.iter().chain(of_route) {
            match template.render_with(who, &client.says) {
                Some(value) => headers.set(Cow::Borrowed(name), Cow::Owned(value)),
                None => headers.take_out(name),
            }
        }
    }

    /// Takes out of an answer what was signed for the upstream alone, should it come back.
    pub fn withhold_assertion(&self, headers: &mut HeaderMap) {
        headers.remove(assertion::HEADER);
        if let Some(signer) = &self.signer {
            headers.remove(&signer.header);
        }
    }

    /// Takes the credentials that were read here out of a request, unless upstreams are to have them.
    pub fn withhold<'v>(&self, grant: &Grant, headers: &mut impl Headers<'v>) {
        let config = &self.config;
        if !config.identity.forward_credentials {
            let ours = grant.route().auth != Auth::None
                || credential::could_be_ours(headers, &config.stytch.issuers);
            credential::withhold(&config.session, headers, ours && config.session.bearer);
        }
    }

    /// The sweep: closes what nobody used.
    pub fn sweep(&self) {
        for upstream in &self.upstreams {
            upstream.sweep();
        }
    }
}
