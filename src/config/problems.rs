//! Mistakes, collected so that one run shows all of them.
//!
//! A mistake belongs to a key. Its place (file, line and column, or environment variable) is
//! looked up at the end, from the layer that had the last word about that key. One mistake is
//! told once: what follows from a key already complained about is dropped.

use std::collections::BTreeSet;
use std::fmt;

use super::layer::{Layer, Location};

/// One step from the top of the configuration towards a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// Which value is meant, as in `routes[0].upstream`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath(Vec<Step>);

impl KeyPath {
    /// The path of `keys`, separated by dots; for paths known when this is compiled.
    pub(super) fn of(keys: &str) -> Self {
        Self(keys.split('.').map(|key| Step::Key(key.to_owned())).collect())
    }

    pub(super) fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Self(steps)
    }

    pub(super) fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Self(steps)
    }

    pub(super) fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                    if !key.is_empty() && key.chars().all(bare) {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// One mistake.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    key: Option<KeyPath>,
    location: Option<Location>,
    message: String,
}

/// Mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
    /// The keys in `list`.
    blamed: BTreeSet<KeyPath>,
    /// Keys that were probably meant where an unknown one stands.
    meant: BTreeSet<KeyPath>,
}

impl Problems {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// A mistake about `key`, unless it or what it stands in has been complained about.
    pub(super) fn add(&mut self, key: &KeyPath, message: impl Into<String>) {
        if !self.covers(key) {
            self.push(None, key, message.into());
        }
    }

    /// A mistake about `key` at a known place.
    pub(super) fn add_at(&mut self, location: Location, key: &KeyPath, message: impl Into<String>) {
        self.push(Some(location), key, message.into());
    }

    fn push(&mut self, location: Option<Location>, key: &KeyPath, message: String) {
        self.blamed.insert(key.clone());
        self.list.push(Problem { key: Some(key.clone()), location, message });
    }

    /// A mistake that no key is to blame for.
    pub(super) fn add_keyless(&mut self, location: Location, message: impl Into<String>) {
        self.list.push(Problem { key: None, location: Some(location), message: message.into() });
    }

    /// `key` is not there. Not told where an unknown key beside it was probably meant to be it.
    pub(super) fn missing(&mut self, key: &KeyPath, message: impl Into<String>) {
        if !self.meant.contains(key) {
            self.add(key, message);
        }
    }

    pub(super) fn probably_meant(&mut self, key: KeyPath) {
        self.meant.insert(key);
    }

    /// The value, or a mistake about `key` in its place.
    pub(super) fn keep<T, E: fmt::Display>(&mut self, key: &KeyPath, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(key, error.to_string())).ok()
    }

    /// Whether `key`, or a table or list that it stands in, has been complained about.
    pub(super) fn covers(&self, key: &KeyPath) -> bool {
        std::iter::successors(Some(key.clone()), KeyPath::parent).any(|key| self.blamed.contains(&key))
    }

    /// One line for each mistake, in the order of the layers and of the lines in them.
    pub(super) fn lines(self, layers: &[Layer]) -> Vec<String> {
        let mut lines: Vec<(Location, String)> = self
            .list
            .into_iter()
            .map(|Problem { key, location, message }| {
                let location = location
                    .or_else(|| key.as_ref().map(|key| Layer::locate(layers, key)))
                    .unwrap_or_default();
                let line = match key {
                    Some(key) => format!("{location}{key}: {message}"),
                    None => format!("{location}{message}"),
                };
                (location, line)
            })
            .collect();
        lines.sort_by(|one, other| one.0.cmp(&other.0));
        lines.into_iter().map(|(_, line)| line).collect()
    }
}

/// The candidate that `given` was probably meant to be.
pub(super) fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |text: &str| text.to_lowercase().replace('-', "_");
    let given = fold(given);
    let tolerance = match given.chars().count() {
        0..=3 => 1,
        4..=6 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&given, &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `, did you mean "x"?`, or nothing.
pub(super) fn did_you_mean<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, candidates).map_or_else(String::new, |near| format!(", did you mean \"{near}\"?"))
}
