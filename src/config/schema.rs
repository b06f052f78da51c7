//! The JSON Schema of the configuration: for editors, and for our own checks of every layer.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::raw::Raw;

/// The JSON Schema of a settings file, for editors.
#[must_use]
pub fn schema() -> Value {
    let mut schema = marked();
    explain(&mut schema, false);
    schema
}

/// The schema with its marks (`x-later`, `x-secret`, `x-unit`) and without `null`, which TOML lacks.
pub(super) fn marked() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<Raw>().to_value();
    strip_null(&mut schema);
    schema
}

fn strip_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(values)) = object.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            object.values_mut().for_each(strip_null);
        }
        Value::Array(values) => values.iter_mut().for_each(strip_null),
        _ => {}
    }
}

/// Turns what our marks say into sentences for people, and takes the marks away.
fn explain(schema: &mut Value, later: bool) {
    match schema {
        Value::Object(object) => {
            let mark = object.remove("x-later");
            let later = later || mark.as_ref().is_some_and(|mark| *mark == true);
            object.remove("x-secret");
            object.remove("x-unit");
            let default = object.get("default").filter(|default| !default.is_object()).map(Value::to_string);
            if let Some(Value::String(description)) = object.get_mut("description") {
                if let Some(default) = default {
                    description.push_str(&format!(" Default: `{default}`."));
                }
                for value in mark.iter().filter_map(Value::as_array).flatten() {
                    description.push_str(&format!(" Not available yet: `{value}`."));
                }
                if later {
                    description.push_str(" Not available yet.");
                }
            }
            object.values_mut().for_each(|value| explain(value, later));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| explain(value, later)),
        _ => {}
    }
}

/// The keys of a table and their schemas; none for what is not a table with fixed keys.
pub(super) fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// The types that a value may have.
pub(super) fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(only)) => vec![only],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn has_mark(schema: &Value, mark: &str) -> bool {
    schema.get(mark).is_some_and(|value| value == true)
}
