//! Signals as commands: SIGTERM and SIGINT stop, a second one aborts, SIGHUP reloads.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::Command;
use super::reload::Watched;

/// Turns signals and changed files into commands until the gateway stops.
///
/// # Errors
/// When signals cannot be caught.
pub async fn run(mut watched: Watched, commands: mpsc::Sender<Command>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            () = any(&mut terminate, &mut interrupt) => {
                let _ = commands.send(Command::Stop).await;
                any(&mut terminate, &mut interrupt).await;
                let _ = commands.send(Command::Abort).await;
                return Ok(());
            }
            _ = hang_up.recv() => {
                let _ = commands.send(Command::ReopenLog).await;
                watched.reload(&commands).await;
            }
            () = watched.changed() => watched.reload(&commands).await,
        }
    }
}

async fn any(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
