//! What runs beside the workers: the tasks that ask Stytch, and the count of reloads.

use std::fmt::Display;
use std::sync::Arc;

use crate::access::authn::checker::{self, Checker};
use crate::access::authn::fetcher::{self, Fetcher, KeyCache};
use crate::access::authn::keys::Keys;
use crate::access::authn::registry::Registry;
use crate::access::authn::{self};
use crate::config::{self, Config};
use crate::limiter::Limiter;
use crate::metrics::{ConfigReload, Metrics};
use crate::readiness::Readiness;
use crate::signin;
use crate::stytch::{self, Client};

/// Holds on to what stays the same from one configuration to the next.
pub(super) struct Control {
    metrics: Arc<Metrics>,
    readiness: Readiness,
    limiter: Arc<Limiter>,
    registry: Arc<Registry>,
    signin: Arc<signin::Lasting>,
    connected: Option<Connected>,
}

/// The tasks that ask Stytch, and the settings they were made for.
struct Connected {
    client: Client,
    stytch: config::Stytch,
    session: (usize, std::time::Duration),
    keys: Keys,
    checker: checker::Handle,
    fetcher: fetcher::Handle,
}

impl Control {
    pub(super) fn new(
        metrics: Arc<Metrics>,
        readiness: Readiness,
        config: &Config,
    ) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let limiter = Arc::new(Limiter::new(&config.rate_limit));
        let signin = Arc::new(signin::Lasting::new(&config.rate_limit)?);
        Ok(Self { metrics, readiness, limiter, registry: Arc::default(), signin, connected: None })
    }

    /// The sign-in of a configuration that was connected.
    pub(super) fn sign_in(
        &self,
        config: &Config,
    ) -> Result<Option<Arc<signin::Common>>, aws_lc_rs::error::Unspecified> {
        let Some(connected) = &self.connected else { return Ok(None) };
        signin::Common::new(config, connected.client.clone(), &self.signin, &self.metrics)
    }

    /// The handles workers ask through. New tasks only where what they depend on has changed; the
    /// old ones end when nobody holds their handles any more.
    pub(super) fn connect(&mut self, config: &Config) -> Result<authn::Shared, stytch::Unusable> {
        let session = (config.session.capacity, config.session.negative_ttl);
        let same = |connected: &&Connected| connected.stytch == config.stytch && connected.session == session;
        if self.connected.as_ref().filter(same).is_none() {
            self.connected = Some(self.start(config, session)?);
        }
        let Some(connected) = &self.connected else { unreachable!("just connected") };
        Ok(authn::Shared {
            keys: connected.keys.clone(),
            fetcher: connected.fetcher.clone(),
            checker: connected.checker.clone(),
            registry: Arc::clone(&self.registry),
            limiter: Arc::clone(&self.limiter),
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
        let keys = self
            .connected
            .as_ref()
            .filter(|old| {
                old.stytch.project_id == settings.project_id && old.stytch.api_url == settings.api_url
            })
            .map(|old| old.keys.clone())
            .unwrap_or_default();
        let cache = settings
            .key_cache_file
            .clone()
            .map(|path| KeyCache { path, project_id: settings.project_id.clone() });
        let pending = keys.current().is_none().then(|| self.readiness.wait_for(fetcher::PART));
        let (fetcher, fetching) = Fetcher {
            client: client.clone(),
            keys: keys.clone(),
            refresh: settings.jwks_refresh,
            cache,
            metrics: Arc::clone(&self.metrics),
            pending,
        }
        .start();
        tokio::task::spawn_local(fetching);
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
        Ok(Connected { client, stytch: settings.clone(), session, keys, checker: handle, fetcher })
    }

    pub(super) fn applied(&self, config: &Config) {
        self.limiter.configure(&config.rate_limit);
        self.signin.configure(&config.rate_limit);
        self.metrics.config_reload(ConfigReload::Applied);
        tracing::info!("the changed configuration is in force");
    }

    pub(super) fn rejected(&self, error: &dyn Display) {
        self.metrics.config_reload(ConfigReload::Rejected);
        tracing::error!(%error, "the changed configuration is not taken over; the old one stays");
    }
}
