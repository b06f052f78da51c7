//! The effective configuration as TOML, for `check --print`.
//!
//! It loads again as it is, apart from a secret that was given by value: that one is redacted.

use serde_json::Value;

use super::load::Loaded;
use super::schema::{self, has_mark, properties};

const REDACTED: &str = "[redacted]";

/// All settings after merging, defaults included, as a settings file would give them.
#[must_use]
pub fn print(loaded: &Loaded) -> String {
    let mut raw = loaded.raw.clone();
    raw.stytch.api_url = Some(loaded.config.stytch.api_url.to_string().trim_end_matches('/').to_owned());
    raw.server.workers = Some(loaded.config.server.workers);
    let Ok(mut values) = serde_json::to_value(&raw) else { return String::new() };
    tidy(&mut values, &schema::marked());
    toml::to_string_pretty(&values).unwrap_or_default()
}

/// Leaves out what is not available yet, which can only have its default, and redacts secrets.
fn tidy(values: &mut Value, schema: &Value) {
    match values {
        Value::Object(table) => {
            let any = schema.get("additionalProperties");
            table.retain(|name, value| {
                let Some(schema) = properties(schema).and_then(|keys| keys.get(name)).or(any) else {
                    return true;
                };
                if has_mark(schema, "x-secret") {
                    *value = Value::from(REDACTED);
                }
                tidy(value, schema);
                !has_mark(schema, "x-later")
            });
        }
        Value::Array(elements) => {
            if let Some(schema) = schema.get("items") {
                elements.iter_mut().for_each(|element| tidy(element, schema));
            }
        }
        _ => {}
    }
}
