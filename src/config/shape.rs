//! Checks one layer against the schema: spelling of keys, types, quantities, availability.
//!
//! Each layer is checked by itself, so a mistake is found even where a later layer overrides it,
//! and its place is known. What is wrong is left out of the result, so that the merged rest can
//! be read and checked further and the same run shows what else is wrong.

use serde_json::{Map, Value};

use super::layer::{Layer, toml_value};
use super::problems::{KeyPath, Problems, did_you_mean, nearest};
use super::schema::{has_mark, properties, types};
use super::units::{self, Written};

/// The layer's values without those that are mistakes.
pub(super) fn check(schema: &Value, layer: &Layer, problems: &mut Problems) -> Map<String, Value> {
    let mut checker = Checker { root: schema, layer, problems };
    let values = layer.values.clone();
    checker.table(Node { schema, later: false }, &KeyPath::default(), values)
}

struct Checker<'a> {
    root: &'a Value,
    layer: &'a Layer,
    problems: &'a mut Problems,
}

/// A part of the schema, and whether what it describes is not available yet.
#[derive(Clone, Copy)]
struct Node<'a> {
    schema: &'a Value,
    later: bool,
}

impl<'a> Node<'a> {
    fn child(self, schema: &'a Value) -> Self {
        Self { schema, later: self.later || has_mark(schema, "x-later") }
    }
}

impl Checker<'_> {
    fn value(&mut self, node: Node<'_>, path: &KeyPath, given: Value) -> Option<Value> {
        let given = if self.layer.environment { from_text(node.schema, given) } else { given };
        let is_section = properties(node.schema).is_some() && node.schema.get("default").is_some();
        if node.later && !is_section {
            if !is_default(node.schema, &given) {
                self.problem(path, "not available yet in this version; remove it");
            }
            return None;
        }
        if !accepts(node.schema, &given) {
            let message = wrong_type(node.schema, &given);
            self.problem(path, message);
            return None;
        }
        match given {
            Value::Object(values) => Some(Value::Object(self.table(node, path, values))),
            Value::Array(values) => self.list(node, path, values),
            scalar => self.scalar(node.schema, path, scalar),
        }
    }

    fn table(&mut self, node: Node<'_>, path: &KeyPath, given: Map<String, Value>) -> Map<String, Value> {
        let mut kept = Map::new();
        for (name, value) in given {
            let path_of_value = path.key(&name);
            let known = properties(node.schema).and_then(|properties| properties.get(&name));
            let any = node.schema.get("additionalProperties").filter(|schema| **schema != false);
            let Some(schema) = known.or(any) else {
                self.unknown_key(node.schema, path, &name);
                continue;
            };
            if let Some(value) = self.value(node.child(schema), &path_of_value, value) {
                kept.insert(name, value);
            }
        }
        kept
    }

    /// A list keeps its length, so that the places of its elements stay right; where an element
    /// that is not a table is wrong, the whole list goes.
    fn list(&mut self, node: Node<'_>, path: &KeyPath, given: Vec<Value>) -> Option<Value> {
        let any = Value::Bool(true);
        let schema = node.schema.get("items").unwrap_or(&any);
        let tables = properties(schema).is_some();
        let mut kept = Vec::with_capacity(given.len());
        let mut whole = true;
        for (index, value) in given.into_iter().enumerate() {
            match self.value(node.child(schema), &path.index(index), value) {
                Some(value) => kept.push(value),
                None if tables => kept.push(Value::Object(Map::new())),
                None => whole = false,
            }
        }
        whole.then_some(Value::Array(kept))
    }

    fn scalar(&mut self, schema: &Value, path: &KeyPath, given: Value) -> Option<Value> {
        let mistake = not_in_enum(schema, &given)
            .or_else(|| not_available(schema, &given))
            .or_else(|| out_of_range(schema, &given))
            .or_else(|| {
                let unit = schema.get("x-unit")?.as_str()?;
                units::check(unit, written(&given)?).err()
            });
        match mistake {
            None => Some(given),
            Some(message) => {
                self.problem(path, message);
                None
            }
        }
    }

    fn unknown_key(&mut self, schema: &Value, table: &KeyPath, name: &str) {
        let keys = properties(schema).into_iter().flat_map(Map::keys).map(String::as_str);
        let meant = nearest(name, keys);
        let hint = match meant {
            Some(near) => {
                self.problems.probably_meant(table.key(near));
                format!(", did you mean \"{near}\"?{}", self.variable_of(&table.key(near)))
            }
            None => self.home_of(table, name),
        };
        self.problem(&table.key(name), format!("unknown key{hint}"));
    }

    /// For the environment, what the variable should have been called.
    fn variable_of(&self, key: &KeyPath) -> String {
        if !self.layer.environment {
            return String::new();
        }
        format!(" The variable is STYTCH_GATEWAY_{}", key.to_string().replace('.', "__").to_uppercase())
    }

    /// Where a key that stands in the wrong table belongs.
    fn home_of(&self, table: &KeyPath, name: &str) -> String {
        let sections = properties(self.root).into_iter().flatten();
        let here = table.to_string();
        let homes: Vec<String> = sections
            .filter(|(section, schema)| {
                **section != here && properties(schema).is_some_and(|keys| keys.contains_key(name))
            })
            .map(|(section, _)| format!("[{section}]"))
            .collect();
        if self.layer.environment && table.steps().is_empty() {
            return self.single_underscore(name);
        }
        if homes.is_empty() { String::new() } else { format!(" here; it belongs in {}", homes.join(" or ")) }
    }

    /// `STYTCH_GATEWAY_SERVER_LISTEN`, which should have two underscores after the section.
    fn single_underscore(&self, name: &str) -> String {
        let sections = properties(self.root).into_iter().flatten();
        for (section, schema) in sections {
            let Some(key) = name.strip_prefix(section.as_str()).and_then(|rest| rest.strip_prefix('_'))
            else {
                continue;
            };
            let keys = properties(schema).into_iter().flat_map(Map::keys).map(String::as_str);
            if let Some(key) = nearest(key, keys) {
                let key = self.variable_of(&KeyPath::default().key(section).key(key));
                return format!("; two underscores stand between a section and its key.{key}");
            }
        }
        String::new()
    }

    fn problem(&mut self, path: &KeyPath, message: impl Into<String>) {
        self.problems.add_at(self.layer.place(path), path, message);
    }
}

/// Environment variables hold text; reads it as what the key takes.
fn from_text(schema: &Value, given: Value) -> Value {
    let Value::String(text) = &given else { return given };
    let trimmed = text.trim();
    let types = types(schema);
    let takes = |name: &str| types.contains(&name);
    if takes("object") && trimmed.starts_with('{') || takes("array") && trimmed.starts_with('[') {
        return toml_value(trimmed).unwrap_or(given);
    }
    if takes("array") && (trimmed.contains(',') || !takes("string")) {
        let items = trimmed.split(',').map(str::trim).filter(|item| !item.is_empty());
        return items.map(|item| Value::String(item.to_owned())).collect();
    }
    let numbers = schema.get("x-unit").and_then(Value::as_str).is_none_or(units::takes_numbers);
    if takes("integer")
        && numbers
        && let Ok(number) = trimmed.parse::<i64>()
    {
        return Value::from(number);
    }
    if takes("boolean") && !takes("string") {
        match trimmed.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => return Value::Bool(true),
            "false" | "off" | "no" | "0" => return Value::Bool(false),
            _ => {}
        }
    }
    given
}

fn is_default(schema: &Value, given: &Value) -> bool {
    let Some(default) = schema.get("default") else { return false };
    let unit = schema.get("x-unit").and_then(Value::as_str);
    match (unit, written(given), written(default)) {
        (Some(unit), Some(given), Some(default)) => units::same(unit, given, default),
        _ => given == default,
    }
}

fn written(value: &Value) -> Option<Written> {
    match value {
        Value::Bool(switch) => Some(Written::Switch(*switch)),
        Value::Number(number) => number.as_i64().map(Written::Number),
        Value::String(text) => Some(Written::Text(text.clone())),
        _ => None,
    }
}

fn accepts(schema: &Value, given: &Value) -> bool {
    let types = types(schema);
    let found = match given {
        Value::Null => return false,
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    // A quantity of the wrong type gets the better message of its unit.
    let scalar = !given.is_array() && !given.is_object() && found != "number";
    types.is_empty() || types.contains(&found) || (scalar && schema.get("x-unit").is_some())
}

fn wrong_type(schema: &Value, given: &Value) -> String {
    let found = match given {
        Value::Null => "a date or a time",
        Value::Bool(_) => "a switch",
        Value::Number(number) if number.is_i64() || number.is_u64() => "a whole number",
        Value::Number(_) => "a number with a fraction",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    };
    let tables = schema.get("items").is_some_and(|items| properties(items).is_some());
    let wanted: Vec<&str> = types(schema)
        .into_iter()
        .map(|name| match name {
            "boolean" => "true or false",
            "integer" => "a whole number",
            "string" => "a text in quotes",
            "array" if tables => "a list of tables, each under [[routes]]",
            "array" => "a list in [ ]",
            _ => "a table",
        })
        .collect();
    format!("expected {}, found {found}", wanted.join(" or "))
}

fn not_in_enum(schema: &Value, given: &Value) -> Option<String> {
    let allowed = schema.get("enum")?.as_array()?;
    if allowed.contains(given) {
        return None;
    }
    let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
    let listed: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let text = given.as_str().unwrap_or_default();
    let hint = did_you_mean(text, names.iter().copied());
    Some(format!("{text:?} is none of {}{hint}", listed.join(", ")))
}

fn not_available(schema: &Value, given: &Value) -> Option<String> {
    let later = schema.get("x-later")?.as_array()?;
    later.contains(given).then(|| format!("{given} is not available yet in this version"))
}

fn out_of_range(schema: &Value, given: &Value) -> Option<String> {
    if schema.get("x-unit").is_some() || !given.is_number() {
        return None;
    }
    let number = given.as_i64().unwrap_or(i64::MAX);
    let least = schema.get("minimum").and_then(Value::as_i64).unwrap_or(i64::MIN);
    let most = match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => i64::from(u32::MAX),
        _ => i64::MAX,
    };
    (number < least || number > most)
        .then(|| format!("{number} is out of range; write a number from {least} up"))
}
