//! The emulator as a program: start it, read what to put in the environment, stop it with Ctrl-C.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use stytch_emulator::{Emulator, StartError, World};
use tokio::signal::unix::{SignalKind, signal};

/// A local stand-in for Stytch's API, for tests and demonstrations.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen. Anyone who can reach it can sign in as anyone: keep it on loopback.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4010")]
    listen: SocketAddr,

    /// Organizations, members, users, roles and clients to start with (TOML).
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stytch-emulator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let emulator = start(&arguments).await?;
    println!("The Stytch emulator listens on {}. In the environment:\n", emulator.address());
    println!("STYTCH_PROJECT_ID={}", emulator.project_id());
    println!("STYTCH_SECRET={}", emulator.secret());
    println!("STYTCH_PUBLIC_TOKEN={}", emulator.public_token());
    println!("STYTCH_GATEWAY_STYTCH__API_URL={}", emulator.url());
    println!("\nWho is there: {}/emulator/world", emulator.url());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

async fn start(arguments: &Arguments) -> anyhow::Result<Emulator> {
    let world = match &arguments.seed {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            World::from_toml(&text).with_context(|| format!("in {}", path.display()))?
        }
        None => World::built_in(),
    };
    match Emulator::bind(arguments.listen, world).await {
        Err(error @ StartError::Listen { .. }) => {
            Err(error).context("choose another address with --listen ADDR")
        }
        outcome => Ok(outcome?),
    }
}
