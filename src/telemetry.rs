//! What the gateway tells its operator: ordinary logs here, the access log and the audit log beside.
//!
//! Logs go to stderr, so that stdout can be the access log. Libraries speak at `warn` at most,
//! whatever level is configured: at `trace` some of them print the headers they handle.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing::Level;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::{self, LogFormat};

pub mod access_log;
pub mod audit_log;

/// The level of the ordinary logs, which a reload may change.
#[derive(Debug, Clone)]
pub struct Logs {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Logs {
    pub fn set_level(&self, level: Level) {
        if let Err(error) = self.filter.reload(filter(level)) {
            tracing::error!(%error, "the log level stays as it was");
        }
    }
}

/// Sets up the logs of this process, once, and has panics logged like everything else.
///
/// # Errors
///
/// When logs are set up already.
pub fn init(telemetry: &config::Telemetry) -> Result<Logs, TryInitError> {
    let (filter, handle) = reload::Layer::new(filter(telemetry.level));
    tracing_subscriber::registry().with(filter).with(lines(&telemetry.log)).try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(Logs { filter: handle })
}

/// Our own code at `level`, everything else at `warn` or, where that is less, at `level`.
fn filter(level: Level) -> EnvFilter {
    let libraries = level.min(Level::WARN);
    EnvFilter::new(format!("{libraries},{}={level}", env!("CARGO_CRATE_NAME")))
}

fn lines(format: &LogFormat) -> Box<dyn Layer<Layered<FilterLayer, Registry>> + Send + Sync> {
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
    }
}

type FilterLayer = reload::Layer<EnvFilter, Registry>;

fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or_default();
    let location = panic.location().map(ToString::to_string);
    tracing::error!(message, location, "panic");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_never_say_more_than_warnings() {
        for (level, expected) in [
            (Level::TRACE, "warn,stytch_gateway=trace"),
            (Level::INFO, "warn,stytch_gateway=info"),
            (Level::ERROR, "error,stytch_gateway=error"),
        ] {
            let filter = filter(level).to_string();
            let mut directives: Vec<&str> = filter.split(',').collect();
            directives.sort_unstable_by_key(|directive| directive.contains('='));
            assert_eq!(directives.join(","), expected);
        }
    }
}
