//! What runs beside the workers: the tasks that ask Stytch, and the count of reloads.

use std::fmt::Display;
use std::sync::Arc;

use crate::access::authn::changes::Changes;
use crate::access::authn::checker::{self, Checker};
use crate::access::authn::fetcher::{self, Fetcher};
use crate::access::authn::keys::Keys;
use crate::access::authn::registry::Registry;
use crate::access::authn::{self};
use crate::access::authz::keeper::{self, Keeper};
use crate::access::authz::permission::needs_policy;
use crate::access::authz::policies::{self, Policies};
use crate::access::authz::policy::Policy;
use crate::access::last_good::LastGood;
use crate::config::{self, Config};
use crate::limiter::Limiter;
use crate::metrics::{ConfigReload, Metrics};
use crate::readiness::Readiness;
use crate::server::tls::certificate::Certificate;
use crate::server::tls::{self, Terms, Tickets};
use crate::signin;
use crate::stytch::{self, Client};
use crate::upstream::cluster::{self, Fleet};
use crate::upstream::{health, names};

/// Holds on to what stays the same from one configuration to the next.
pub(crate) struct Control {
    metrics: Arc<Metrics>,
    readiness: Readiness,
    limiter: Arc<Limiter>,
    registry: Arc<Registry>,
    changes: Arc<Changes>,
    signin: Arc<signin::Lasting>,
    tickets: Tickets,
    connected: Option<Connected>,
    fleet: Fleet,
    /// Whether keys are fetched at once and then on schedule, or only when they are asked for.
    scheduled: bool,
}

/// The tasks that ask Stytch, and the settings they were made for.
struct Connected {
    stytch: config::Stytch,
    session: (usize, std::time::Duration),
    keys: Keys,
    checker: checker::Handle,
    fetcher: fetcher::Handle,
    client: Client,
    last_good: Option<LastGood>,
    policies: Policies,
    /// There while some route is judged by a copy of the policy.
    judging: Option<policies::Handle>,
}

impl Connected {
    /// Begins to fetch policies, or ends it, as routes need.
    fn judge_here(
        &mut self,
        is_needed: bool,
        is_scheduled: bool,
        metrics: &Arc<Metrics>,
        readiness: &Readiness,
    ) {
        if self.judging.is_some() == is_needed {
            return;
        }
        if !is_needed {
            (self.judging, self.policies) = (None, Policies::default());
            metrics.policy_in_use(None);
            return;
        }
        let is_new = self.policies.project(|_| ()).is_none();
        let keeper = Keeper {
            client: self.client.clone(),
            policies: self.policies.clone(),
            refresh: self.stytch.policy_refresh,
            last_good: self.last_good.clone(),
            metrics: Arc::clone(metrics),
            pending: is_new.then(|| readiness.wait_for(keeper::PART)),
        };
        self.judging =
            Some(if is_scheduled { spawned(keeper.start()) } else { spawned(keeper.start_on_demand()) });
    }
}

impl Control {
    pub(crate) fn new(metrics: Arc<Metrics>, readiness: Readiness, config: &Config) -> Self {
        Self {
            metrics,
            readiness,
            limiter: Arc::new(Limiter::new(&config.rate_limit)),
            registry: Arc::default(),
            changes: Arc::default(),
            signin: Arc::new(signin::Lasting::new(&config.rate_limit)),
            tickets: Tickets::default(),
            connected: None,
            fleet: Arc::new([]),
            scheduled: true,
        }
    }

    /// For one request rather than a gateway: nothing is asked of Stytch unless it is needed.
    pub(crate) fn on_demand(self) -> Self {
        Self { scheduled: false, ..self }
    }

    /// The sign-in of a configuration that was connected.
    pub(super) fn sign_in(
        &self,
        config: &Config,
    ) -> Result<Option<Arc<signin::Common>>, aws_lc_rs::error::Unspecified> {
        let Some(connected) = &self.connected else { return Ok(None) };
        signin::Common::new(config, connected.client.clone(), &self.signin, &self.metrics)
    }

    /// What workers share of the upstreams. Their names are looked up, and their health is checked,
    /// until the next call.
    pub(super) fn look_after_upstreams(&mut self, config: &Config) -> Fleet {
        self.fleet = cluster::fleet(config, &self.fleet, &self.metrics);
        for cluster in &*self.fleet {
            if cluster.has_names() {
                tokio::task::spawn_local(names::follow(Arc::downgrade(cluster), names::of_system));
            }
            if cluster.settings.health.is_some() {
                tokio::task::spawn_local(health::watch(Arc::downgrade(cluster)));
            }
        }
        Arc::clone(&self.fleet)
    }

    /// The terms of https, if there is https.
    pub(super) fn tls(&mut self, config: &Config) -> Result<Option<Arc<Terms>>, tls::Unusable> {
        let terms = Terms::new(&config.server, &mut self.tickets)?;
        let shown = config.server.tls.iter().flat_map(|tls| &tls.certificates);
        let ends = |shown: &Certificate| (shown.file.display().to_string(), shown.valid.1);
        self.metrics.certificates_in_use(shown.map(ends).collect());
        Ok(terms)
    }

    /// The handles workers ask through. New tasks only where what they depend on has changed; the
    /// old ones end when nobody holds their handles any more.
    pub(crate) fn connect(&mut self, config: &Config) -> Result<authn::Shared, stytch::Unusable> {
        let session = (config.session.capacity, config.session.negative_ttl);
        let same = |connected: &&Connected| connected.stytch == config.stytch && connected.session == session;
        if self.connected.as_ref().filter(same).is_none() {
            self.connected = Some(self.start(config, session)?);
        }
        let Some(connected) = &mut self.connected else { unreachable!("just connected") };
        connected.judge_here(needs_policy(config), self.scheduled, &self.metrics, &self.readiness);
        Ok(authn::Shared {
            keys: connected.keys.clone(),
            fetcher: connected.fetcher.clone(),
            checker: connected.checker.clone(),
            registry: Arc::clone(&self.registry),
            changes: Arc::clone(&self.changes),
            limiter: Arc::clone(&self.limiter),
            policies: connected.judging.clone(),
        })
    }

    fn start(
        &self,
        config: &Config,
        session: (usize, std::time::Duration),
    ) -> Result<Connected, stytch::Unusable> {
        let settings = &config.stytch;
        let client = Client::new(
            &settings.api_url,
            &settings.project_id,
            &settings.secret,
            settings.vertical,
            settings.timeout,
        )?;
        let same = |old: &&Connected| {
            old.stytch.project_id == settings.project_id && old.stytch.api_url == settings.api_url
        };
        let old = self.connected.as_ref().filter(same);
        let keys = old.map(|old| old.keys.clone()).unwrap_or_default();
        let policies = old.map(|old| old.policies.clone()).unwrap_or_default();
        let last_good =
            settings.key_cache_file.clone().map(|path| LastGood::open(path, &settings.project_id));
        let pending = keys.current().is_none().then(|| self.readiness.wait_for(fetcher::PART));
        let fetcher = Fetcher {
            client: client.clone(),
            keys: keys.clone(),
            refresh: settings.jwks_refresh,
            cache: last_good.clone(),
            metrics: Arc::clone(&self.metrics),
            pending,
        };
        let fetcher =
            if self.scheduled { spawned(fetcher.start()) } else { spawned(fetcher.start_on_demand()) };
        let (checker, handle) = Checker::new(checker::Parts {
            client: client.clone(),
            vertical: settings.vertical,
            capacity: config.session.capacity,
            negative_ttl: config.session.negative_ttl,
            registry: Arc::clone(&self.registry),
            metrics: Arc::clone(&self.metrics),
            readiness: self.readiness.clone(),
        });
        tokio::task::spawn_local(checker.run());
        let stytch = settings.clone();
        let checker = handle;
        let judging = None;
        Ok(Connected { stytch, session, keys, checker, fetcher, client, last_good, policies, judging })
    }

    /// Sees to it that there is a policy for one request that is judged by it.
    ///
    /// # Errors
    /// When there is none and it cannot be fetched.
    pub(crate) async fn have_policy(&self) -> Result<(), stytch::Error> {
        let Some(connected) = &self.connected else { return Ok(()) };
        if connected.policies.project(|_| ()).is_none() {
            let answer = connected.client.policy().await?;
            connected.policies.replace(Arc::new(Policy::new(answer.policy.unwrap_or_default())));
        }
        Ok(())
    }

    pub(super) fn applied(&self, old: &Config, config: &Config) {
        self.limiter.configure(&config.rate_limit);
        self.signin.configure(&config.rate_limit);
        self.metrics.config_reload(ConfigReload::Applied);
        let (was, access) = (config::access_hash(old), config::access_hash(config));
        if was != access {
            tracing::warn!(was, access, "who may reach what has changed");
        }
        tracing::info!(access, "the changed configuration is in force");
    }

    pub(super) fn rejected(&self, error: &dyn Display) {
        self.metrics.config_reload(ConfigReload::Rejected);
        tracing::error!(%error, "the changed configuration is not taken over; the old one stays");
    }
}

/// A handle whose task runs beside the workers.
fn spawned<H>((handle, task): (H, impl Future<Output = ()> + 'static)) -> H {
    tokio::task::spawn_local(task);
    handle
}
