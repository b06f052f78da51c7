//! `[rate_limit]` and `[telemetry]`.

use std::path::PathBuf;

use super::Findings;
use crate::config::problems::{KeyPath, did_you_mean};
use crate::config::raw::Level;
use crate::config::{LogTarget, RateLimit, Telemetry, raw};

pub(super) fn rate_limit(raw: &raw::RateLimits, findings: &mut Findings) -> Option<RateLimit> {
    if raw.burst == Some(0) {
        findings.problems.add(&KeyPath::of("rate_limit.burst"), "must be at least 1");
    }
    Some(RateLimit { failures: raw.failures.0, sign_in: raw.sign_in.0, burst: raw.burst })
}

pub(super) fn telemetry(raw: &raw::Telemetry, findings: &mut Findings) -> Option<Telemetry> {
    let access_log = findings.problems.keep(&KeyPath::of("telemetry.access_log"), target(&raw.access_log));
    let audit_log = findings.problems.keep(&KeyPath::of("telemetry.audit_log"), target(&raw.audit_log));
    let level = match raw.level {
        Level::Error => tracing::Level::ERROR,
        Level::Warn => tracing::Level::WARN,
        Level::Info => tracing::Level::INFO,
        Level::Debug => tracing::Level::DEBUG,
        Level::Trace => tracing::Level::TRACE,
    };
    Some(Telemetry { log: raw.log, level, access_log: access_log?, audit_log: audit_log? })
}

fn target(text: &str) -> Result<LogTarget, String> {
    match text {
        "stdout" => Ok(LogTarget::Stdout),
        "off" => Ok(LogTarget::Off),
        path if path.contains('/') && !path.ends_with('/') => Ok(LogTarget::File(PathBuf::from(path))),
        other => Err(format!(
            "{other:?} is none of \"stdout\", \"off\" and the path of a file with a / in it{}",
            did_you_mean(other, ["stdout", "off"])
        )),
    }
}
