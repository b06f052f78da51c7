//! Settings from environment variables: `STYTCH_GATEWAY_<SECTION>__<KEY>`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::layer::Layer;
use super::problems::{KeyPath, Problems};

const PREFIX: &str = "STYTCH_GATEWAY_";

/// No setting lies deeper.
const DEEPEST: usize = 8;

/// What the environment says about the configuration.
pub(super) struct Environment {
    pub(super) layer: Layer,
    /// `STYTCH_PROJECT_ID` and `STYTCH_SECRET`, which Stytch's own SDKs read too.
    pub(super) project_id: Option<String>,
    pub(super) secret: Option<String>,
}

/// The variables of this process that can be settings.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        name.starts_with("STYTCH_").then(|| (name, value.to_string_lossy().into_owned()))
    })
}

pub(super) fn read(
    variables: impl Iterator<Item = (String, String)>,
    number: usize,
    problems: &mut Problems,
) -> Environment {
    // In the order of their names, so that the same environment always gives the same messages.
    let variables: BTreeMap<String, String> = variables.collect();
    let given = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
    let project_id = given("STYTCH_PROJECT_ID");
    let secret = given("STYTCH_SECRET");
    let mut layer = Layer::environment(number);
    for (name, value) in &variables {
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        if is_service_link(key, value) {
            continue;
        }
        let steps: Vec<String> = key.split("__").map(str::to_lowercase).collect();
        if steps.iter().any(String::is_empty) || steps.len() > DEEPEST {
            problems.add_keyless(layer.variable(name), "names no key; write STYTCH_GATEWAY_<SECTION>__<KEY>");
            continue;
        }
        let path = steps.iter().fold(KeyPath::default(), |path, step| path.key(step));
        if insert(&mut layer.values, &steps, value) {
            layer.place_variable(path, name);
        } else {
            problems.add_at(
                layer.variable(name),
                &path,
                "another variable already sets what this is a part of",
            );
        }
    }
    Environment { layer, project_id, secret }
}

/// Puts `value` at the end of `steps`; false where a value stands in the way.
fn insert(values: &mut Map<String, Value>, steps: &[String], value: &str) -> bool {
    let Some((last, tables)) = steps.split_last() else { return false };
    let mut table = values;
    for step in tables {
        let next = table.entry(step).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(next) = next else { return false };
        table = next;
    }
    if table.contains_key(last) {
        return false;
    }
    table.insert(last.clone(), Value::String(value.to_owned()));
    true
}

/// Whether Kubernetes made this variable for a Service whose name begins with `stytch-gateway`.
///
/// Every pod in the namespace of such a Service gets `STYTCH_GATEWAY_SERVICE_HOST`,
/// `STYTCH_GATEWAY_PORT_8080_TCP` and so on; they are not settings, and not mistakes either.
fn is_service_link(key: &str, value: &str) -> bool {
    if key.contains("__") {
        return false;
    }
    let key = format!("_{key}");
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let is_port = |text: &str| {
        let mut parts = text.split('_');
        parts.next().is_some_and(|number| number.parse::<u16>().is_ok())
            && parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
    };
    key.ends_with("_SERVICE_HOST")
        || key.ends_with("_SERVICE_PORT")
        || key.contains("_SERVICE_PORT_")
        || (key.ends_with("_PORT") && is_url)
        || key.match_indices("_PORT_").any(|(at, found)| is_port(&key[at + found.len()..]))
}
