//! From a configuration to bound listeners and running workers, and back to nothing.
//!
//! What holds: every port is open before anything is served, or nothing is; a reload that fails
//! keeps what ran; draining ends by itself.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot, watch};

use self::control::Control;
use self::reload::Watched;
use self::workers::Starting;
use crate::admin::{self, Admin};
use crate::clock::{self, Ticks};
use crate::config::{self, Config, Loaded};
use crate::metrics::Metrics;
use crate::proxy::ids::Via;
use crate::readiness::{Pending, Readiness};
use crate::server::descriptors;
use crate::server::gauge::Gauge;
use crate::server::inherited::Inherited;
use crate::server::listener::{Bound, Sources};
use crate::server::worker::{Orders, Phase, Transport};
use crate::server::{parking, tls};
use crate::telemetry::Logs;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::audit_log::{self, AuditLog, Event};

pub(crate) mod control;
mod manager;
pub mod reload;
pub mod signals;
mod workers;

const COMMANDS: usize = 8;
/// How long before the end of a drain WebSockets are told goodbye.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the access log may take to write what is left.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{setting}: cannot listen on {address}")]
    Listen { setting: &'static str, address: String, source: io::Error },
    #[error("a socket that was passed on at the start cannot be used")]
    Inherited(#[source] io::Error),
    #[error("telemetry.access_log cannot be written")]
    AccessLog(#[source] io::Error),
    #[error("telemetry.audit_log cannot be written")]
    AuditLog(#[source] io::Error),
    #[error("a thread could not be started")]
    Thread(#[source] io::Error),
    #[error("there is no randomness to seal the state of sign-ins with")]
    Randomness(#[from] aws_lc_rs::error::Unspecified),
    #[error(transparent)]
    Tls(#[from] tls::Unusable),
    #[error("stytch.api_url cannot be called")]
    Stytch(#[from] crate::stytch::Unusable),
}

/// Everything bound, nothing served yet.
pub struct App {
    loaded: Loaded,
    sockets: Vec<Vec<(Bound, Transport)>>,
    addresses: Vec<String>,
    tls_addresses: Vec<String>,
    admin: Admin,
    ext_authz: Option<(Bound, String)>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    /// Held until the workers run.
    starting: Pending,
    logs: Option<Logs>,
    park_after: Ticks,
}

/// Tells a running [`App`] what to do.
pub enum Command {
    /// Take over a configuration that was checked already.
    Reload(Box<Loaded>),
    /// A changed configuration is invalid.
    Reject(config::ConfigError),
    /// The files of the access log and the audit log were moved away.
    ReopenLog,
    Stop,
    /// Stop without waiting for what is under way.
    Abort,
}

impl App {
    /// Opens every port.
    ///
    /// # Errors
    /// When one of them cannot be had; the message names the setting.
    pub fn bind(loaded: Loaded) -> Result<Self, StartError> {
        Self::bind_with(loaded, Inherited::default())
    }

    /// The same, with sockets that the process was started with for those whose addresses they have.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn bind_with(loaded: Loaded, inherited: Inherited) -> Result<Self, StartError> {
        let server = &loaded.config.server;
        let mut sources = Sources { inherited, shared: server.reuse_port };
        let mut sockets: Vec<Vec<_>> = (0..server.workers).map(|_| Vec::new()).collect();
        let mut open = |setting, listen, transport| {
            let (bound, address) = bind(&mut sources, setting, listen, server.workers)?;
            for (worker, socket) in sockets.iter_mut().zip(bound) {
                worker.push((socket, transport));
            }
            Ok::<_, StartError>(address)
        };
        let plain = server.listen.iter().map(|listen| open("server.listen", listen, Transport::Plain));
        let addresses = plain.collect::<Result<_, _>>()?;
        let tls = server.tls.iter().flat_map(|tls| &tls.listen);
        let tls_addresses =
            tls.map(|listen| open("server.tls.listen", listen, Transport::Tls)).collect::<Result<_, _>>()?;
        let at = loaded.config.admin.listen;
        let bound = sources.tcp(at, 1, true).and_then(|(sockets, address)| Admin::on(sockets, address));
        let admin = bound.map_err(|source| StartError::Listen {
            setting: "admin.listen",
            address: at.to_string(),
            source,
        })?;
        let ext_authz = match &loaded.config.ext_authz {
            Some(settings) => {
                let (mut bound, address) = bind(&mut sources, "ext_authz.listen", &settings.listen, 1)?;
                bound.pop().map(|socket| (socket, address))
            }
            None => None,
        };
        for address in sources.inherited.left() {
            tracing::warn!(
                address,
                "a socket that was passed on at the start is at no address of the settings"
            );
        }
        let metrics = Metrics::new(server.workers + usize::from(ext_authz.is_some()));
        let readiness = Readiness::new();
        let starting = readiness.wait_for(workers::PART);
        Ok(Self {
            loaded,
            sockets,
            addresses,
            tls_addresses,
            admin,
            ext_authz,
            metrics,
            readiness,
            starting,
            logs: None,
            park_after: parking::AFTER,
        })
    }

    /// Lets reloads change the level of these logs.
    #[must_use]
    pub fn with_logs(self, logs: Logs) -> Self {
        Self { logs: Some(logs), ..self }
    }

    /// Parks connections after another time than [`parking::AFTER`], to the tick.
    #[must_use]
    pub fn parking_after(self, idle: Duration) -> Self {
        Self { park_after: clock::ticks(idle), ..self }
    }

    /// Where it listens, ports filled in.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Where it listens for https, if it does.
    #[must_use]
    pub fn tls_addresses(&self) -> &[String] {
        &self.tls_addresses
    }

    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// Where Envoy is answered, if it is.
    #[must_use]
    pub fn ext_authz_address(&self) -> Option<&str> {
        self.ext_authz.as_ref().map(|(_, address)| address.as_str())
    }

    #[must_use]
    pub const fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Serves until told to stop, then drains. Blocks.
    ///
    /// # Errors
    /// When a thread, a client or the access log cannot be had.
    pub fn serve(self, commands: mpsc::Receiver<Command>) -> Result<(), StartError> {
        let runtime = runtime().map_err(StartError::Thread)?;
        runtime.block_on(self.serve_on_control(commands))
    }

    async fn serve_on_control(self, mut commands: mpsc::Receiver<Command>) -> Result<(), StartError> {
        let config = Arc::new(self.loaded.config);
        let access_log = AccessLog::start(&config.telemetry.access_log, Arc::clone(&self.metrics))
            .map_err(StartError::AccessLog)?;
        let audit_log = AuditLog::start(&config.telemetry.audit_log, Arc::clone(&self.metrics))
            .map_err(StartError::AuditLog)?;
        let mut control = Control::new(Arc::clone(&self.metrics), self.readiness.clone(), &config);
        let shared = control.connect(&config)?;
        let signin = control.sign_in(&config)?;
        let fleet = control.look_after_upstreams(&config);
        let tls = control.tls(&config)?;
        let orders =
            Orders { config: Arc::clone(&config), shared, signin, fleet, tls, phase: Phase::Serving };
        let (orders, receiver) = watch::channel(orders);
        let gauge = Arc::new(Gauge::default());
        let via = Arc::new(Via::default());
        let starting = |index, sockets| Starting {
            sockets,
            orders: receiver.clone(),
            access_log: audit_log.beside(access_log.lines()),
            audit_log: audit_log.lines(),
            metrics: Arc::clone(&self.metrics),
            index,
            via: Arc::clone(&via),
            gauge: Arc::clone(&gauge),
            park_after: self.park_after,
            readiness: self.readiness.clone(),
            takes_over: config.server.reuse_port,
            answers_envoy: false,
        };
        let mut addresses = self.addresses;
        addresses.extend(self.tls_addresses.iter().map(|address| format!("https {address}")));
        let (ext_authz, address) = self.ext_authz.unzip();
        addresses.extend(address.map(|address| format!("ext_authz {address}")));
        let workers = workers::start(self.sockets, ext_authz, starting).map_err(StartError::Thread)?;
        drop(receiver);
        self.starting.done();
        let status = Arc::new(admin::Status::new(Arc::clone(&self.metrics), self.readiness.clone()));
        status.loaded(describe(&config, &addresses));
        announce(&config, &addresses, self.admin.local_addr());
        manager::ready();
        let (admin_stop, admin_stopped) = oneshot::channel::<()>();
        let admin = tokio::task::spawn_local(self.admin.serve(status.clone(), async {
            let _ = admin_stopped.await;
        }));
        let logs = self.logs;
        let audit = audit_log.lines();
        audit.settings(Event::ConfigApplied, &config::access_hash(&config), None, "started");
        let mut running = Running { orders, control, access_log, audit_log, audit, status, addresses, logs };
        let drain = loop {
            match commands.recv().await {
                Some(Command::Reload(loaded)) => running.reload(*loaded),
                Some(Command::Reject(error)) => running.rejected(&error),
                Some(Command::ReopenLog) => running.reopen_logs(),
                Some(Command::Stop) | None => break true,
                Some(Command::Abort) => break false,
            }
        };
        self.readiness.drain();
        manager::stopping();
        if drain {
            running.drain(workers, &mut commands).await;
        }
        let _ = admin_stop.send(());
        let _ = admin.await;
        let Running { access_log, audit_log, audit, orders, .. } = running;
        drop((orders, audit));
        access_log.finish(LOG_PATIENCE);
        audit_log.finish(LOG_PATIENCE);
        Ok(())
    }
}

pub(crate) fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

fn bind(
    sources: &mut Sources,
    setting: &'static str,
    listen: &config::Listen,
    workers: usize,
) -> Result<(Vec<Bound>, String), StartError> {
    sources.bind(listen, workers).map_err(|source| {
        let address = match listen {
            config::Listen::Tcp(address) => address.to_string(),
            config::Listen::Unix(path) => format!("unix:{}", path.display()),
        };
        StartError::Listen { setting, address, source }
    })
}

fn describe(config: &Config, addresses: &[String]) -> admin::Loaded {
    admin::Loaded {
        project_id: config.stytch.project_id.clone(),
        vertical: config.stytch.vertical,
        listeners: addresses.to_vec(),
        routes: config.routes.len(),
        access: config::access_hash(config),
    }
}

fn announce(config: &Config, addresses: &[String], admin: SocketAddr) {
    for line in config::summary(config) {
        tracing::info!("{line}");
    }
    let access = config::access_hash(config);
    tracing::info!(listen = %addresses.join(", "), %admin, access, "serving");
}

/// What reloads and the drain work on.
struct Running {
    orders: watch::Sender<Orders>,
    control: Control,
    access_log: AccessLog,
    audit_log: AuditLog,
    /// What this thread tells of changes.
    audit: audit_log::Lines,
    status: Arc<admin::Status>,
    addresses: Vec<String>,
    logs: Option<Logs>,
}

impl Running {
    /// All or nothing: what cannot be taken over leaves everything as it was.
    fn reload(&mut self, loaded: Loaded) {
        let _reloading = manager::Reloading::begin();
        let config = Arc::new(loaded.config);
        let old = Arc::clone(&self.orders.borrow().config);
        for setting in reload::needs_restart(&old, &config) {
            tracing::warn!(setting, "a change of this setting takes effect at the next start");
        }
        if let Err(error) = tls::check_renewal(&old.server, &config.server, clock::unix_millis() / 1000) {
            return self.control.rejected(&error);
        }
        let shared = match self.control.connect(&config) {
            Ok(shared) => shared,
            Err(error) => return self.rejected(&error),
        };
        let signin = match self.control.sign_in(&config) {
            Ok(signin) => signin,
            Err(error) => return self.rejected(&error),
        };
        match self.open_logs(&config, Some(&old)) {
            Ok(()) => {}
            Err(error) => return self.rejected(&error),
        }
        let tls = match self.control.tls(&config) {
            Ok(tls) => tls,
            Err(error) => return self.control.rejected(&error),
        };
        if let Some(logs) = &self.logs {
            logs.set_level(config.telemetry.level);
        }
        let fleet = self.control.look_after_upstreams(&config);
        self.status.loaded(describe(&config, &self.addresses));
        self.control.applied(&old, &config);
        let (was, access) = (config::access_hash(&old), config::access_hash(&config));
        self.audit.settings(Event::ConfigApplied, &access, Some(&was), "changed");
        self.orders.send_modify(|orders| {
            orders.config = config;
            orders.shared = shared;
            orders.signin = signin;
            orders.fleet = fleet;
            // Listeners that opened with https never speak anything else.
            orders.tls = tls.or(orders.tls.take());
        });
    }

    fn rejected(&self, error: &dyn std::fmt::Display) {
        self.control.rejected(error);
        let access = config::access_hash(&self.orders.borrow().config);
        self.audit.settings(Event::ConfigRejected, &access, Some(&access), &error.to_string());
    }

    fn reopen_logs(&self) {
        let config = Arc::clone(&self.orders.borrow().config);
        if let Err(error) = self.open_logs(&config, None) {
            tracing::error!(%error, "the access log or the audit log could not be opened anew");
        }
    }

    /// Goes on with both logs as configured, or with neither; with those that are as in `old` as
    /// they are.
    fn open_logs(&self, config: &Config, old: Option<&Config>) -> io::Result<()> {
        let (new, old) = (&config.telemetry, old.map(|old| &old.telemetry));
        let open = |target, is_same: bool| (!is_same).then(|| AccessLog::open(target)).transpose();
        let access = open(&new.access_log, old.is_some_and(|old| old.access_log == new.access_log))?;
        let audit = open(&new.audit_log, old.is_some_and(|old| old.audit_log == new.audit_log))?;
        access.into_iter().for_each(|opened| self.access_log.go_on_with(opened));
        audit.into_iter().for_each(|opened| self.audit_log.go_on_with(opened));
        Ok(())
    }

    /// Lets every response under way end, until `timeouts.drain` or a second signal.
    async fn drain(&self, workers: Vec<JoinHandle<()>>, commands: &mut mpsc::Receiver<Command>) {
        let timeouts = self.orders.borrow().config.server.timeouts.clone();
        let mut again = pin!(told_again(commands));
        if !timeouts.lame_duck.is_zero() {
            tracing::info!(
                for_ms = timeouts.lame_duck.as_millis() as u64,
                "leaving; everybody is served still"
            );
            self.orders.send_modify(|orders| orders.phase = Phase::Leaving);
            tokio::select! {
                () = tokio::time::sleep(timeouts.lame_duck) => {}
                () = &mut again => return tracing::warn!("stopped before everything was drained"),
            }
        }
        let patience = timeouts.drain - timeouts.lame_duck;
        tracing::info!(patience_ms = patience.as_millis() as u64, "draining");
        self.orders.send_modify(|orders| orders.phase = Phase::Draining);
        // A thread that nobody waits for: the runtime would wait for a blocking task of its own,
        // and with it for connections that are to be left.
        let (done, ended) = oneshot::channel();
        let joining = std::thread::Builder::new().name("drain".to_owned()).spawn(move || {
            workers.into_iter().for_each(|worker| drop(worker.join()));
            let _ = done.send(());
        });
        if let Err(error) = joining {
            tracing::error!(%error, "stopped without draining");
            return;
        }
        let last_words = LAST_WORDS.min(patience / 2);
        let running_out = async {
            tokio::time::sleep(patience - last_words).await;
            self.orders.send_modify(|orders| orders.phase = Phase::Closing);
            tokio::time::sleep(last_words).await;
        };
        tokio::select! {
            _ = ended => tracing::info!("drained"),
            () = running_out => tracing::warn!("connections are left at the end of timeouts.drain"),
            () = again => tracing::warn!("stopped before everything was drained"),
        }
    }
}

/// Returns when a drain is to end at once.
async fn told_again(commands: &mut mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        if matches!(command, Command::Stop | Command::Abort) {
            return;
        }
    }
    std::future::pending().await
}

/// Runs a loaded configuration until a signal stops it: what `stytch-gateway run` does.
///
/// # Errors
/// When it does not start.
pub fn run(loaded: Loaded, logs: Logs) -> Result<(), StartError> {
    descriptors::raise();
    let inherited = Inherited::take().map_err(StartError::Inherited)?;
    let watched = Watched::new(&loaded);
    let app = App::bind_with(loaded, inherited)?.with_logs(logs);
    let (sender, commands) = mpsc::channel(COMMANDS);
    let listening = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime().and_then(|runtime| runtime.block_on(signals::run(watched, sender))));
    listening.map_err(StartError::Thread)?;
    app.serve(commands)
}
