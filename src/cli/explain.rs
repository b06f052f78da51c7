//! `stytch-gateway explain`: its arguments, and its exit code.

use std::process::ExitCode;

use anyhow::Context;
use http::uri::Authority;

use super::{Settings, complain, exit_code, say};
use crate::config::{Config, LogFormat, Telemetry};
use crate::explain::{self, Asked, Explained, Outcome};
use crate::telemetry;

/// The request does not pass.
const REFUSED: u8 = 3;

const AFTER: &str = "\
Credentials are never shown. Stytch is asked where the gateway would ask, and the keys are those of
stytch.key_cache_file, if there are any.

Exits with 0 when the request is allowed, 3 when it is refused or could not be checked, 2 when the
settings or arguments are wrong, and 1 for anything else, such as a decision that --offline leaves open.";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(super) struct Explain {
    #[command(flatten)]
    settings: Settings,
    /// The request's method
    #[arg(short = 'X', long = "method", value_name = "METHOD", default_value = "GET")]
    method: String,
    /// A header of the request, as 'Name: value'; may be repeated. @- reads further ones from
    /// standard input, a line each: what is written there, no list of processes shows
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// Never ask Stytch: say what would be asked, and leave it open
    #[arg(long)]
    offline: bool,
    /// What is asked for: a URL, or a path beside -H 'Host: …'
    url: String,
}

impl Explain {
    pub(super) fn run(&self) -> Result<ExitCode, ExitCode> {
        let config = self.settings.load()?.config;
        let logs =
            Telemetry { log: LogFormat::Text, level: tracing::Level::WARN, ..config.telemetry.clone() };
        // What a call to Stytch ran into is told there.
        telemetry::init(&logs).map_err(|error| exit_code(Err(error.into())))?;
        let asked = self.asked(&config).map_err(|error| {
            complain(format_args!("{error:#}"));
            ExitCode::from(super::CONFIGURATION)
        })?;
        Ok(match explain::explain(config, &asked, self.offline) {
            Ok(Explained { report, outcome }) => {
                say(report.to_string().trim_end());
                match outcome {
                    Outcome::Allowed | Outcome::Own => ExitCode::SUCCESS,
                    Outcome::Refused(_) => ExitCode::from(REFUSED),
                    Outcome::Open => ExitCode::FAILURE,
                }
            }
            Err(error) => exit_code(Err(error.into())),
        })
    }

    fn asked(&self, config: &Config) -> anyhow::Result<Asked> {
        let mut headers = Vec::new();
        for header in &self.headers {
            if header == "@-" {
                let text = std::io::read_to_string(std::io::stdin()).context("reading standard input")?;
                headers.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
            } else {
                headers.push(header.clone());
            }
        }
        let public = config.server.public_url.as_ref().and_then(|url| url.authority());
        Ok(Asked::new(&self.method, &self.url, &headers, public.map(Authority::as_str))?)
    }
}
