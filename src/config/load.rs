//! Reads the layers, merges them, and has the result checked.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::Serialized;
use serde_json::Value;

use super::environment::{self, Environment};
use super::layer::Layer;
use super::problems::KeyPath;
use super::raw::Raw;
use super::validate::{self, Findings};
use super::{Config, schema, shape};

/// Where settings are looked for when no file is named.
const DEFAULT_FILES: [&str; 2] = ["stytch-gateway.toml", "/etc/stytch-gateway/config.toml"];

/// A configuration that may be used.
pub struct Loaded {
    pub config: Config,
    /// The settings files it came from, for loading it again.
    pub files: Vec<PathBuf>,
    /// What is allowed, and worth knowing; a sentence each.
    pub notes: Vec<String>,
    pub(super) raw: Raw,
}

impl fmt::Debug for Loaded {
    /// Without what was written, where a secret may stand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, files, notes, raw: _ } = self;
        f.debug_struct("Loaded")
            .field("config", config)
            .field("files", files)
            .field("notes", notes)
            .finish_non_exhaustive()
    }
}

/// Why there is no configuration. Its message is meant for people, a mistake a line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}", no_file())]
    NoFile,
    #[error("{}", Mistakes(lines))]
    Invalid { lines: Vec<String> },
}

/// Loads the settings: built-in defaults, then `files` in order, then the environment.
///
/// Without `files`, the first of the default places that has one is used.
///
/// # Errors
/// With every mistake at once.
pub fn load(
    files: &[PathBuf],
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let mut findings = Findings::default();
    let Read { files, layers, project_id, secret, complete } = read(files, variables, &mut findings)?;
    let merged = merge(&layers, &mut findings);
    // Half a configuration would be full of mistakes that nobody made.
    let config = match merged {
        Some(mut raw) if complete => {
            fill_in(&mut raw, project_id, secret, &findings);
            validate::config(&raw, &mut findings).map(|config| (config, raw))
        }
        _ => None,
    };
    let Findings { problems, notes, watched } = findings;
    match config {
        Some((mut config, raw)) if problems.is_empty() => {
            config.watched = files.iter().cloned().chain(watched).collect();
            Ok(Loaded { config, files, notes, raw })
        }
        _ => Err(ConfigError::Invalid { lines: problems.lines(&layers) }),
    }
}

/// Where the admin listener is, as far as the settings can be read.
///
/// Mistakes elsewhere do not matter: a running gateway keeps its old settings when the new ones
/// are wrong, and its health check must not fail because of them.
pub fn admin_address(
    files: &[PathBuf],
    variables: impl Iterator<Item = (String, String)>,
) -> Option<SocketAddr> {
    let mut findings = Findings::default();
    let layers = read(files, variables, &mut findings).map(|read| read.layers).unwrap_or_default();
    let raw = merge(&layers, &mut findings)?;
    raw.admin.listen.parse().ok()
}

/// The layers as they are written.
struct Read {
    files: Vec<PathBuf>,
    layers: Vec<Layer>,
    project_id: Option<String>,
    secret: Option<String>,
    /// Whether every file could be read.
    complete: bool,
}

fn read(
    files: &[PathBuf],
    variables: impl Iterator<Item = (String, String)>,
    findings: &mut Findings,
) -> Result<Read, ConfigError> {
    let files = if files.is_empty() { default_file() } else { files.to_vec() };
    let mut layers: Vec<Layer> = Vec::new();
    for (number, file) in files.iter().enumerate() {
        layers.push(Layer::file(file, number, &mut findings.problems));
    }
    let complete = findings.problems.is_empty();
    let environment = environment::read(variables, layers.len(), &mut findings.problems);
    if files.is_empty() && !environment.layer.values.contains_key("routes") {
        return Err(ConfigError::NoFile);
    }
    let Environment { layer, project_id, secret } = environment;
    layers.push(layer);
    Ok(Read { files, layers, project_id, secret, complete })
}

fn default_file() -> Vec<PathBuf> {
    DEFAULT_FILES.iter().map(PathBuf::from).find(|path| path.exists()).into_iter().collect()
}

/// Tables merge, anything else replaces; later layers win.
fn merge(layers: &[Layer], findings: &mut Findings) -> Option<Raw> {
    let schema = schema::marked();
    let mut figment = Figment::from(Serialized::defaults(Raw::default()));
    for layer in layers {
        let values = shape::check(&schema, layer, &mut findings.problems);
        figment = figment.merge(Serialized::defaults(Value::Object(values)));
    }
    match figment.extract() {
        Ok(raw) => Some(raw),
        Err(error) => {
            // Unreachable as long as `shape` is as strict as the types; the values stay unsaid.
            let key = error.path.iter().fold(KeyPath::default(), |path, step| path.key(step));
            findings.problems.add(&key, "cannot be read as a setting");
            None
        }
    }
}

/// What the official SDKs read from the environment, where no layer says anything.
fn fill_in(raw: &mut Raw, project_id: Option<String>, secret: Option<String>, findings: &Findings) {
    let untouched = |key: &str| !findings.problems.covers(&KeyPath::of(key));
    if raw.stytch.project_id.is_none() && untouched("stytch.project_id") {
        raw.stytch.project_id = project_id;
    }
    if raw.stytch.secret.is_none()
        && raw.stytch.secret_file.is_none()
        && untouched("stytch.secret")
        && untouched("stytch.secret_file")
    {
        raw.stytch.secret = secret;
    }
}

struct Mistakes<'a>(&'a [String]);

impl fmt::Display for Mistakes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.0 {
            writeln!(f, "{line}")?;
        }
        match self.0.len() {
            1 => f.write_str("1 mistake in the configuration"),
            count => write!(f, "{count} mistakes in the configuration"),
        }
    }
}

fn no_file() -> String {
    let [here, system] = DEFAULT_FILES.map(|path| Path::new(path).display().to_string());
    format!(
        "no settings file: neither ./{here} nor {system} exists, and none was named with -c
The smallest one that serves:

[stytch]
project_id = \"project-test-…\"
secret_file = \"/run/secrets/stytch\"

[upstreams.app]
url = \"http://127.0.0.1:3000\"

[[routes]]
path = \"/*\"
upstream = \"app\""
    )
}
