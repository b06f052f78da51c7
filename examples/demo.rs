//! The gateway between a stand-in for Stytch and an application that knows nothing of either, in
//! one process: `cargo run --release --example demo`.
//!
//! It needs no account, no network and no settings, and is reachable from this machine alone.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::JoinHandle;

use anyhow::{Context, anyhow, ensure};
use clap::Parser;
use stytch_emulator::{Emulator, World};
use stytch_gateway::app::{App, Command, StartError};
use stytch_gateway::{config, telemetry};
use tempfile::TempPath;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

#[path = "demo/application.rs"]
mod application;
#[path = "demo/words.rs"]
mod words;

/// Who the application will hear of; the emulator knows her.
const EMAIL: &str = "ana@acme.example";
const ORGANIZATION: &str = "acme";

/// The gateway, a stand-in for Stytch and a sample application, on this machine alone.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// Where the gateway listens
    #[arg(long, value_name = "ADDR", default_value_t = local(8080))]
    gateway: SocketAddr,
    /// Where the gateway tells its operator about itself
    #[arg(long, value_name = "ADDR", default_value_t = local(9090))]
    admin: SocketAddr,
    /// Where the stand-in for Stytch listens
    #[arg(long, value_name = "ADDR", default_value_t = local(4010))]
    emulator: SocketAddr,
    /// Where the sample application listens
    #[arg(long, value_name = "ADDR", default_value_t = local(3000))]
    app: SocketAddr,
    /// Where the gateway's settings are written, for its other commands
    #[arg(long, value_name = "FILE", default_value = "/tmp/stytch-gateway-demo.toml")]
    settings: PathBuf,
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// What an operator would write in the gateway's settings file.
fn settings(arguments: &Arguments, emulator: &Emulator, application: SocketAddr) -> String {
    format!(
        r#"
        [stytch]
        project_id = "{project_id}"
        secret = "{secret}"
        api_url = "{api_url}"

        [server]
        listen = "{gateway}"

        [admin]
        listen = "{admin}"

        [identity.headers]
        Remote-User = "{{member.email_address}}"

        [signin]
        enabled = true
        brand.name = "Sample application"

        # Some browsers keep no secure cookies on plain http, not even on this machine.
        [session.cookies]
        secure = false

        [upstreams.legacy]
        url = "http://{application}"

        [[routes]]
        path = "/*"
        upstream = "legacy"

        [[routes]]
        path = "/public/*"
        upstream = "legacy"
        auth = "none"

        [[routes]]
        path = "/optional/*"
        upstream = "legacy"
        auth = "optional"

        [[routes]]
        path = "/org/{{org}}/*"
        upstream = "legacy"
        allow.organizations = ["{{org}}"]

        [[routes]]
        path = "/admin/*"
        upstream = "legacy"
        allow.roles = ["admin"]

        [telemetry]
        log = "text"
        level = "warn"
        "#,
        project_id = emulator.project_id(),
        secret = emulator.secret(),
        api_url = emulator.url(),
        gateway = arguments.gateway,
        admin = arguments.admin,
    )
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut demo = Demo::start(&Arguments::parse()).await?;
    println!("{}", words::instructions(&demo));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = &mut demo.ended => {}
    }
    demo.stop().await
}

/// All three, running.
struct Demo {
    gateway: SocketAddr,
    admin: SocketAddr,
    application: SocketAddr,
    emulator: Emulator,
    commands: mpsc::Sender<Command>,
    serving: JoinHandle<Result<(), StartError>>,
    /// The settings file, which goes with the demo.
    settings: TempPath,
    /// Resolves when the gateway has ended, whatever the reason.
    ended: oneshot::Receiver<()>,
}

impl Demo {
    async fn start(arguments: &Arguments) -> anyhow::Result<Self> {
        let Arguments { gateway, admin, emulator, app, settings: place } = arguments;
        for address in [gateway, admin, emulator, app] {
            ensure!(address.ip().is_loopback(), "{address} is not on the loopback interface");
        }
        let listener =
            TcpListener::bind(app).await.with_context(|| wants("the application", app, "--app"))?;
        let application = listener.local_addr()?;
        tokio::spawn(application::serve(listener));
        let emulator = Emulator::bind(*emulator, World::built_in())
            .await
            .with_context(|| wants("the stand-in for Stytch", emulator, "--emulator"))?;

        let settings = write(place, &settings(arguments, &emulator, application))?;
        let loaded = config::load(&[settings.to_path_buf()], std::iter::empty())?;
        // A second demo in one process, as in a test, finds the logs set up already.
        let _ = telemetry::init(&loaded.config.telemetry);
        let bound = App::bind(loaded).map_err(|error| match error {
            StartError::Listen { setting: "admin.listen", .. } => {
                anyhow!(error).context(wants("the gateway's admin listener", admin, "--admin"))
            }
            _ => anyhow!(error).context(wants("the gateway", gateway, "--gateway")),
        })?;
        let (gateway, admin) = (bound.addresses()[0].parse()?, bound.admin_address());
        let ready = bound.readiness().clone();
        let (commands, orders) = mpsc::channel(1);
        let (end, ended) = oneshot::channel();
        let serving = std::thread::Builder::new().name("gateway".into()).spawn(move || {
            let _end = end;
            bound.serve(orders)
        })?;
        // Only then are there keys to check a session with.
        ready.ready().await;
        Ok(Self { gateway, admin, application, emulator, commands, serving, settings, ended })
    }

    async fn stop(self) -> anyhow::Result<()> {
        // The gateway may be gone already; why, it then says itself.
        let _ = self.commands.send(Command::Stop).await;
        // Not here, where the application answers what the gateway still waits for.
        let ended = tokio::task::spawn_blocking(|| self.serving.join()).await?;
        ended.map_err(|_| anyhow!("the gateway panicked"))??;
        Ok(())
    }
}

/// Puts the settings in their place, to be removed with what is returned. Another file in that place,
/// or a link, is replaced and not followed.
fn write(place: &Path, text: &str) -> anyhow::Result<TempPath> {
    let about = || format!("writing {}; give another place with --settings FILE", place.display());
    let directory = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(about)?;
    file.write_all(text.as_bytes()).with_context(about)?;
    file.persist(place).with_context(about)?;
    Ok(TempPath::try_from_path(place.to_path_buf())?)
}

fn wants(who: &str, address: &SocketAddr, argument: &str) -> String {
    format!("{who} wants {address}; give it another address with {argument} ADDR")
}

#[cfg(test)]
#[path = "demo/tests.rs"]
mod tests;
