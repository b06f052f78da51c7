//! The example files are what they say they are.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::schema::{self, has_mark, properties};
use super::super::{Loaded, print};
use super::{load_in, signing_key};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

/// Loads an example as it stands, with its secret in a file of the test's own.
fn load_example(name: &str) -> Loaded {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("stytch");
    std::fs::write(&secret, "secret-test-not-to-be-seen\n").unwrap();
    let keys = directory.path().join("keys");
    std::fs::write(&keys, signing_key()).unwrap();
    let variables = [
        ("STYTCH_GATEWAY_STYTCH__SECRET_FILE", secret.to_str().unwrap()),
        ("STYTCH_GATEWAY_IDENTITY__ASSERTION__KEY_FILE", keys.to_str().unwrap()),
    ];
    load_in(directory.path(), &[example(name)], &variables)
        .unwrap_or_else(|message| panic!("{name}: {message}"))
}

#[test]
fn every_example_loads() {
    for name in
        ["minimal.toml", "sidecar.toml", "full.toml", "front/envoy-grpc.toml", "front/envoy-http.toml"]
    {
        let loaded = load_example(name);
        assert!(print(&loaded).contains("secret_file"), "{name}");
    }
}

/// The dotted keys of the schema. Elements of a list have its key, `*` is a name free to choose.
fn keys(schema: &Value, prefix: &str, found: &mut Vec<(String, Value)>) {
    for (key, schema) in properties(schema).into_iter().flatten() {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        found.push((path.clone(), schema.clone()));
        keys(schema, &path, found);
        keys(&schema["items"], &path, found);
        keys(&schema["additionalProperties"], &format!("{path}.*"), found);
    }
}

/// The dotted keys that a TOML document gives a value, in the same notation.
fn given(value: &toml::Value, prefix: &str, found: &mut Vec<(String, toml::Value)>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let path = match prefix {
                    "" => key.clone(),
                    "upstreams" => "upstreams.*".to_owned(),
                    _ => format!("{prefix}.{key}"),
                };
                found.push((path.clone(), value.clone()));
                given(value, &path, found);
            }
        }
        toml::Value::Array(elements) => elements.iter().for_each(|element| given(element, prefix, found)),
        _ => {}
    }
}

#[test]
fn the_full_example_has_every_key() {
    let text = std::fs::read_to_string(example("full.toml")).unwrap();
    // With what is not available yet made part of it, and what must not stand beside another key.
    let text = text.replace("\n#: ", "\n").replace("\n# secret = ", "\nsecret = ");
    let text = text.replace("\n# texts = ", "\ntexts = ").replace("\n# state_key", "\nstate_key");
    let text = ["ca", "cert", "key", "logo"]
        .iter()
        .fold(text, |text, key| text.replace(&format!("\n# {key} = "), &format!("\n{key} = ")));
    let mut in_file = Vec::new();
    given(&text.parse::<toml::Table>().unwrap().into(), "", &mut in_file);
    let mut in_schema = Vec::new();
    keys(&schema::marked(), "", &mut in_schema);
    for (key, _) in &in_schema {
        assert!(in_file.iter().any(|(other, _)| other == key), "config/full.toml lacks {key}");
    }
}

#[test]
fn the_full_example_shows_the_defaults() {
    let text = std::fs::read_to_string(example("full.toml")).unwrap();
    let mut in_file = Vec::new();
    given(&text.parse::<toml::Table>().unwrap().into(), "", &mut in_file);
    let mut in_schema = Vec::new();
    keys(&schema::marked(), "", &mut in_schema);
    for (key, schema) in in_schema.iter().filter(|(_, schema)| properties(schema).is_none()) {
        let Some(default) = schema.get("default").filter(|default| !default.is_object()) else { continue };
        if has_mark(schema, "x-later") || key.starts_with("routes") || key.starts_with("signin") {
            continue;
        }
        let values = in_file.iter().filter(|(other, _)| other == key);
        let values: Vec<Value> = values.map(|(_, value)| serde_json::to_value(value).unwrap()).collect();
        let same = |value: &Value| {
            let seconds = |value: &Value| value.as_str().map(|text| text.replace("60s", "1m"));
            value == default || seconds(value).is_some_and(|text| Some(text) == seconds(default))
        };
        assert!(values.iter().all(same), "config/full.toml has {key} = {values:?}, the default is {default}");
    }
}

#[test]
fn the_schema_describes_every_key_and_keeps_our_marks_to_itself() {
    let schema = super::super::schema();
    assert!(!schema.to_string().contains("\"x-"));
    let mut all = Vec::new();
    keys(&schema, "", &mut all);
    assert!(all.len() > 100, "{} keys", all.len());
    for (key, schema) in all {
        assert!(schema.get("description").is_some_and(Value::is_string), "{key} has no description");
    }
}
