//! The subcommands, and what each leaves as its exit code.
//!
//! What was asked for goes to standard output, everything about it to standard error.

use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};

use self::explain::Explain;
use crate::config::{self, Loaded};
use crate::{app, telemetry};

mod explain;

/// The settings cannot be used.
const CONFIGURATION: u8 = 2;

/// How long the health check waits for the gateway, all in all.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks every request's Stytch session in front of services that know nothing of Stytch.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop, then finish what is under way
    Run(Settings),
    /// Show every mistake in the settings, or what they leave open
    Check {
        #[command(flatten)]
        settings: Settings,
        /// Show the effective configuration instead, without secrets
        #[arg(long)]
        print: bool,
    },
    /// Show who may reach what, in the order in which routes win
    Routes {
        #[command(flatten)]
        settings: Settings,
        /// Show the hash alone, which changes with whoever may reach whatever
        #[arg(long)]
        hash: bool,
    },
    /// Show the decision for one request, step by step
    Explain(Explain),
    /// Ask a running gateway whether it lives; for container health checks
    Healthcheck(Settings),
    /// Show the JSON Schema of the settings, for editors
    Schema,
}

#[derive(Debug, clap::Args)]
struct Settings {
    /// A settings file; may be repeated, later files win
    /// [default: stytch-gateway.toml or /etc/stytch-gateway/config.toml]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Settings {
    /// The settings, or the exit code that goes with the mistakes told.
    fn load(&self) -> Result<Loaded, ExitCode> {
        config::load(&self.files, config::variables()).map_err(|error| {
            complain(error);
            ExitCode::from(CONFIGURATION)
        })
    }
}

/// Does what the arguments ask for.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(settings) => run(&settings),
        Command::Check { settings, print } => check(&settings, print),
        Command::Routes { settings, hash } => routes(&settings, hash),
        Command::Explain(explain) => explain.run(),
        Command::Healthcheck(settings) => Ok(healthcheck(&settings)),
        Command::Schema => {
            say(format_args!("{:#}", config::schema()));
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|code| code)
}

fn run(settings: &Settings) -> Result<ExitCode, ExitCode> {
    let loaded = settings.load()?;
    Ok(exit_code(serve(loaded)))
}

fn serve(loaded: Loaded) -> anyhow::Result<()> {
    let logs = telemetry::init(&loaded.config.telemetry).context("setting up logs")?;
    loaded.notes.iter().for_each(|note| tracing::info!("{note}"));
    app::run(loaded, logs)?;
    Ok(())
}

fn check(settings: &Settings, print: bool) -> Result<ExitCode, ExitCode> {
    let loaded = settings.load()?;
    if print {
        say(config::print(&loaded).trim_end());
        loaded.notes.iter().for_each(|note| complain(format_args!("note: {note}")));
    } else {
        say("The configuration is valid.");
        config::summary(&loaded.config).iter().for_each(say);
        loaded.notes.iter().for_each(|note| say(format_args!("note: {note}")));
    }
    Ok(ExitCode::SUCCESS)
}

fn routes(settings: &Settings, hash: bool) -> Result<ExitCode, ExitCode> {
    let config = settings.load()?.config;
    say(if hash { config::access_hash(&config) } else { config::access(&config) });
    Ok(ExitCode::SUCCESS)
}

fn healthcheck(settings: &Settings) -> ExitCode {
    let Some(address) = config::admin_address(&settings.files, config::variables()) else {
        complain("the settings give no usable admin.listen; see `stytch-gateway check`");
        return ExitCode::FAILURE;
    };
    exit_code(ask_livez(address))
}

/// Asks the admin listener once, in the plainest HTTP there is.
fn ask_livez(address: SocketAddr) -> anyhow::Result<()> {
    ensure!(address.port() != 0, "admin.listen has port 0, so nobody knows where to ask");
    let address = from_here(address);
    let deadline = Instant::now() + HEALTH_TIMEOUT;
    let about = || format!("asking http://{address}/livez");
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT).with_context(about)?;
    stream.set_write_timeout(Some(HEALTH_TIMEOUT))?;
    // In one piece: a peer may answer and close after the first.
    let question = format!("GET /livez HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).with_context(about)?;
    let mut answer = Vec::new();
    // Only the status line matters; a peer that is no gateway may send anything, or drop by drop.
    while !answer.contains(&b'\n') && answer.len() < 256 {
        let left = deadline.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "no answer from http://{address}/livez within {HEALTH_TIMEOUT:?}");
        stream.set_read_timeout(Some(left))?;
        let mut piece = [0; 256];
        let read = stream.read(&mut piece).with_context(about)?;
        ensure!(read > 0, "http://{address}/livez closed the connection without an answer");
        answer.extend_from_slice(&piece[..read]);
    }
    let status = String::from_utf8_lossy(&answer);
    let status = status.lines().next().unwrap_or_default();
    ensure!(status.starts_with("HTTP/1.1 200"), "http://{address}/livez answered {status:?}");
    Ok(())
}

/// Where an address to listen on is reached from the same machine.
fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A closed standard output, as of `| head`, is no reason to fail.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    /// Serves one connection with `answer`, and says where.
    fn one_answer(answer: &'static str) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        });
        address
    }

    #[test]
    fn a_gateway_that_answers_is_healthy() {
        ask_livez(one_answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).unwrap();
    }

    #[test]
    fn anything_else_is_not() {
        for answer in ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "SSH-2.0-OpenSSH\r\n", "", "x"] {
            ask_livez(one_answer(answer)).unwrap_err();
        }
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        ask_livez(closed).unwrap_err();
    }

    #[test]
    fn every_address_is_asked_on_the_loopback_interface() {
        assert_eq!(from_here("0.0.0.0:9090".parse().unwrap()), "127.0.0.1:9090".parse().unwrap());
        assert_eq!(from_here("[::]:9090".parse().unwrap()), "[::1]:9090".parse().unwrap());
        assert_eq!(from_here("10.0.0.1:9090".parse().unwrap()), "10.0.0.1:9090".parse().unwrap());
    }
}
