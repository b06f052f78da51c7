//! One layer of settings: a file or the environment, and where in it each key stands.
//!
//! Files are read with spans, so that a mistake found long after parsing still names its line.
//! Nothing here repeats a value in a message: a file with a syntax error may hold a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::{Map, Value};
use toml_edit::{Document, Item};

use super::problems::{KeyPath, Problems, Step};

/// Larger files are not settings.
const MAX_FILE: u64 = 1 << 20;

/// Where a mistake is. In the order of the layers, and within one from top to bottom.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    layer: usize,
    /// A file's path or a variable's name; empty where neither is to blame.
    source: String,
    position: Option<Position>,
}

/// Both count from 1; columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    line: usize,
    column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(Position { line, column }) => write!(f, "{}:{line}:{column}: ", self.source),
            None if self.source.is_empty() => Ok(()),
            None => write!(f, "{}: ", self.source),
        }
    }
}

/// Settings of one origin, as written. Without `Debug`, since a secret may be among them.
pub(super) struct Layer {
    pub(super) values: Map<String, Value>,
    /// Whether this is the environment, where every value comes as text.
    pub(super) environment: bool,
    places: BTreeMap<KeyPath, Location>,
    whole: Location,
}

impl Layer {
    /// Reads the file at `path`. What is wrong with it as a whole becomes a problem.
    pub(super) fn file(path: &Path, number: usize, problems: &mut Problems) -> Self {
        let whole = Location { source: path.display().to_string(), position: None, layer: number };
        let mut layer =
            Self { values: Map::new(), environment: false, places: BTreeMap::new(), whole: whole.clone() };
        let text = match read(path) {
            Ok(text) => text,
            Err(ReadError { reason, position }) => {
                problems.add_keyless(Location { position, ..whole }, reason);
                return layer;
            }
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        match Document::parse(text) {
            Ok(document) => {
                let lines = Lines::new(text);
                layer.values = layer.table(document.as_item(), &KeyPath::default(), &lines);
            }
            Err(error) => {
                let position = error.span().map(|span| Lines::new(text).position(span.start));
                let message = error.message().trim().replace('\n', ", ");
                problems.add_keyless(Location { position, ..whole }, format!("not valid TOML: {message}"));
            }
        }
        layer
    }

    /// An environment without settings.
    pub(super) fn environment(number: usize) -> Self {
        Self {
            values: Map::new(),
            environment: true,
            places: BTreeMap::new(),
            whole: Location { source: String::new(), position: None, layer: number },
        }
    }

    /// Remembers that `variable` says something about `key`.
    pub(super) fn place_variable(&mut self, key: KeyPath, variable: &str) {
        let location = self.variable(variable);
        self.places.insert(key, location);
    }

    pub(super) fn variable(&self, variable: &str) -> Location {
        Location { source: variable.to_owned(), position: None, layer: self.whole.layer }
    }

    /// The place of `key` in this layer, or of the nearest thing around it.
    pub(super) fn place(&self, key: &KeyPath) -> Location {
        let mut key = Some(key.clone());
        while let Some(at) = key {
            if let Some(location) = self.places.get(&at) {
                return location.clone();
            }
            key = at.parent();
        }
        self.whole.clone()
    }

    /// The place of `key` in the layer that has the last word about it.
    pub(super) fn locate(layers: &[Self], key: &KeyPath) -> Location {
        // Lists replace one another whole, so an element is always in the last layer with the list.
        let list_end = key.steps().iter().position(|step| matches!(step, Step::Index(_)));
        let mut at = Some(key.clone());
        while let Some(path) = at {
            let below_list = list_end.is_some_and(|end| path.steps().len() > end);
            let holder = layers.iter().rev().find(|layer| {
                if below_list { layer.has_list_of(&path) } else { layer.places.contains_key(&path) }
            });
            if let Some(location) = holder.and_then(|layer| layer.places.get(&path)) {
                return location.clone();
            }
            at = path.parent();
        }
        // Nothing around it is written anywhere: the last file is where it should be added.
        let file = layers.iter().rev().find(|layer| !layer.environment);
        file.map_or_else(Location::default, |layer| layer.whole.clone())
    }

    fn has_list_of(&self, element: &KeyPath) -> bool {
        let mut path = Some(element.clone());
        while let Some(at) = path {
            path = at.parent();
            let is_first_index = at.steps().iter().filter(|step| matches!(step, Step::Index(_))).count() == 1
                && matches!(at.steps().last(), Some(Step::Index(_)));
            if is_first_index {
                return path.is_some_and(|list| self.places.contains_key(&list));
            }
        }
        false
    }

    fn table(&mut self, item: &Item, path: &KeyPath, lines: &Lines<'_>) -> Map<String, Value> {
        let mut map = Map::new();
        let Some(table) = item.as_table_like() else { return map };
        for (name, value) in table.iter() {
            let path = path.key(name);
            let span = table.key(name).and_then(toml_edit::Key::span).or_else(|| value.span());
            self.place_span(&path, span, lines);
            map.insert(name.to_owned(), self.item(value, &path, lines));
        }
        map
    }

    fn item(&mut self, item: &Item, path: &KeyPath, lines: &Lines<'_>) -> Value {
        match item {
            Item::Value(value) => self.value(value, path, lines),
            Item::Table(_) => Value::Object(self.table(item, path, lines)),
            Item::ArrayOfTables(tables) => {
                let elements = tables.iter().enumerate().map(|(index, table)| {
                    let path = path.index(index);
                    self.place_span(&path, table.span(), lines);
                    Value::Object(self.table(&Item::Table(table.clone()), &path, lines))
                });
                Value::Array(elements.collect())
            }
            Item::None => Value::Null,
        }
    }

    fn value(&mut self, value: &toml_edit::Value, path: &KeyPath, lines: &Lines<'_>) -> Value {
        use toml_edit::Value as Toml;
        match value {
            Toml::String(text) => Value::String(text.value().clone()),
            Toml::Integer(number) => Value::from(*number.value()),
            Toml::Float(number) => Value::from(*number.value()),
            Toml::Boolean(switch) => Value::Bool(*switch.value()),
            // No setting is a date, so what is left of one is only that it is none of the others.
            Toml::Datetime(_) => Value::Null,
            Toml::Array(array) => {
                let elements = array.iter().enumerate().map(|(index, element)| {
                    let path = path.index(index);
                    self.place_span(&path, element.span(), lines);
                    self.value(element, &path, lines)
                });
                Value::Array(elements.collect())
            }
            Toml::InlineTable(_) => Value::Object(self.table(&Item::Value(value.clone()), path, lines)),
        }
    }

    fn place_span(&mut self, path: &KeyPath, span: Option<std::ops::Range<usize>>, lines: &Lines<'_>) {
        let position = span.map(|span| lines.position(span.start));
        self.places.insert(path.clone(), Location { position, ..self.whole.clone() });
    }
}

/// Reads `text` as the right-hand side of a TOML assignment.
pub(super) fn toml_value(text: &str) -> Option<Value> {
    let document = Document::parse(format!("value = {text}")).ok()?;
    if document.as_table().len() != 1 {
        return None;
    }
    let lines = Lines::new("");
    let mut scratch = Layer::environment(0);
    let value = document.as_table().get("value")?;
    Some(scratch.item(value, &KeyPath::default(), &lines))
}

struct ReadError {
    reason: String,
    position: Option<Position>,
}

fn read(path: &Path) -> Result<String, ReadError> {
    use std::io::Read;
    let whole = |reason: String| ReadError { reason, position: None };
    let cannot = |error: std::io::Error| whole(format!("cannot be read: {error}"));
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(whole("larger than 1 MiB, which no settings file is".to_owned()));
    }
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        let before = String::from_utf8_lossy(&bytes[..offset]);
        let position = Some(Lines::new(&before).position(before.len()));
        return Err(ReadError { reason: "holds a NUL byte".to_owned(), position });
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let position = Some(Lines::new(&before).position(before.len()));
        ReadError { reason: "is not valid UTF-8".to_owned(), position }
    })
}

/// The beginnings of the lines of a text, to turn offsets into positions.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { text, starts: std::iter::once(0).chain(breaks.map(|(offset, _)| offset + 1)).collect() }
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or("");
        Position { line, column: before.chars().count() + 1 }
    }
}
