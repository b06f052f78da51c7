//! What a route says about hosts and paths, as an operator writes it.
//!
//! What holds: a literal is in the spelling requests are brought into before they are matched, so
//! a pattern that could never match, or would match only by luck, is an error.

use std::fmt;
use std::str::FromStr;

use crate::access::{host, path};

/// The most `{name}`s in one host pattern and in one path pattern; captures are kept inline.
pub(super) const MAX_HOST_NAMES: usize = 4;
pub(super) const MAX_PATH_NAMES: usize = 8;

/// What a route says about the host: nothing (the default, also written `*`), a name, or a name
/// with `{label}`s in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostPattern(pub(super) Hosts);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Hosts {
    #[default]
    Any,
    Exact(Box<str>),
    Labels(Vec<Part>),
}

/// What a route says about the path: `/exact`, `/with/{name}`, `/under/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    parts: Vec<Part>,
    rest: bool,
}

/// One label of a host or segment of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Literal(Box<str>),
    /// `{name}`: one that is not empty.
    Name(Box<str>),
}

/// What is wrong with a pattern, and how to write it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("nothing is written here; for any host leave `host` out, for any path write `/*`")]
    Empty,
    #[error("a path begins with a slash; write `/{0}`")]
    NoSlash(String),
    #[error(
        "`*` stands alone as the last segment of a path, as in `/files/*`, not as in `{0}`; there are no regular expressions"
    )]
    Star(String),
    #[error(
        "`*` stands alone for any host; for one label write a name in braces, as in `{{tenant}}.example.com`, not as in `{0}`"
    )]
    HostStar(String),
    #[error("a name in braces takes the whole of `{0}`, as in `/org/{{slug}}/*` or `{{tenant}}.example.com`")]
    PartialName(String),
    #[error("`{{{0}}}` is not a name; write a letter, then letters, digits, `_` or `-`")]
    BadName(String),
    #[error("the name `{{{0}}}` stands twice in one route; give each its own")]
    Repeated(String),
    #[error("at most {max} names may stand in one {what}")]
    TooManyNames { what: &'static str, max: usize },
    #[error("`{text}` would never match: {reason}")]
    NeverMatches { text: String, reason: &'static str },
    #[error("`{text}` would never match, since requests are matched in another spelling; write `{spelling}`")]
    Spelling { text: String, spelling: String },
    #[error("`{0}` holds a `;`; parameters of a segment cannot be matched, leave them out")]
    Parameters(String),
    #[error("a host pattern names no port; write `{0}`")]
    Port(String),
}

/// The names a route captures, host labels first, each from left to right: the order in which
/// [`super::Captures::at`] tells them.
///
/// # Errors
/// When a name stands twice.
pub fn capture_names<'p>(host: &'p HostPattern, path: &'p PathPattern) -> Result<Vec<&'p str>, PatternError> {
    let mut names = Vec::new();
    for name in host.names().chain(path.names()) {
        if names.contains(&name) {
            return Err(PatternError::Repeated(name.to_owned()));
        }
        names.push(name);
    }
    Ok(names)
}

impl HostPattern {
    /// The one host it is for, where it names one.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        match &self.0 {
            Hosts::Exact(host) => Some(host),
            Hosts::Any | Hosts::Labels(_) => None,
        }
    }

    /// Whether it is for this host, in the spelling that requests are brought into.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match &self.0 {
            Hosts::Any => true,
            Hosts::Exact(exact) => **exact == *host,
            Hosts::Labels(parts) => super::match_labels(parts, host).is_some(),
        }
    }

    /// The names of its labels, from left to right.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let parts = if let Hosts::Labels(parts) = &self.0 { parts.as_slice() } else { &[] };
        parts.iter().filter_map(Part::name)
    }
}

impl PathPattern {
    /// The names of its segments, from left to right.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(Part::name)
    }

    /// The beginning that every path it matches has in common, without a slash at its end: what may
    /// stand in a quoted string and for itself in a URL.
    #[must_use]
    pub fn literal_prefix(&self) -> String {
        let mut prefix = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) if !text.is_empty() && !text.contains(['"', '\\']) => {
                    prefix.push('/');
                    prefix.push_str(text);
                }
                Part::Literal(_) | Part::Name(_) => break,
            }
        }
        prefix
    }

    /// The segments before a closing `*`; a closing slash is an empty last one.
    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether it ends in `*`.
    pub(super) const fn takes_rest(&self) -> bool {
        self.rest
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text == "*" {
            return Ok(Self::default());
        }
        if text.contains('*') {
            return Err(PatternError::HostStar(text.to_owned()));
        }
        if !text.contains(['{', '}']) {
            check_host(text, text)?;
            return Ok(Self(Hosts::Exact(text.into())));
        }
        let parts = text.split('.').map(part).collect::<Result<Vec<_>, _>>()?;
        check_names(parts.iter(), "host", MAX_HOST_NAMES)?;
        // A name stands for any label, so the rest is judged with a harmless one in its place.
        let sample = parts.iter().map(|part| if let Part::Literal(text) = part { text } else { "x" });
        check_host(&sample.collect::<Vec<_>>().join("."), text)?;
        Ok(Self(Hosts::Labels(parts)))
    }
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if !text.starts_with('/') {
            return Err(PatternError::NoSlash(text.to_owned()));
        }
        let (before, rest) = text.strip_suffix("/*").map_or((text, false), |before| (before, true));
        if before.contains('*') {
            return Err(PatternError::Star(text.to_owned()));
        }
        let parts = before.split('/').skip(1).map(part).collect::<Result<Vec<_>, _>>()?;
        check_names(parts.iter(), "path", MAX_PATH_NAMES)?;
        check_path(&parts, rest, text)?;
        Ok(Self { parts, rest })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Hosts::Any => f.write_str("*"),
            Hosts::Exact(host) => f.write_str(host),
            Hosts::Labels(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    write!(f, "{}{part}", if index == 0 { "" } else { "." })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            write!(f, "/{part}")?;
        }
        f.write_str(if self.rest { "/*" } else { "" })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Name(name) => write!(f, "{{{name}}}"),
        }
    }
}

impl Part {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Literal(_) => None,
        }
    }
}

fn part(text: &str) -> Result<Part, PatternError> {
    if !text.contains(['{', '}']) {
        return Ok(Part::Literal(text.into()));
    }
    let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let Some(name) = inside.filter(|name| !name.contains(['{', '}'])) else {
        return Err(PatternError::PartialName(text.to_owned()));
    };
    let ordinary = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(ordinary) {
        Ok(Part::Name(name.into()))
    } else {
        Err(PatternError::BadName(name.to_owned()))
    }
}

fn check_names<'p>(
    parts: impl Iterator<Item = &'p Part>,
    what: &'static str,
    max: usize,
) -> Result<(), PatternError> {
    let mut names = Vec::new();
    for name in parts.filter_map(Part::name) {
        if names.contains(&name) {
            return Err(PatternError::Repeated(name.to_owned()));
        }
        names.push(name);
    }
    if names.len() > max { Err(PatternError::TooManyNames { what, max }) } else { Ok(()) }
}

/// Refuses a host that requests are never matched as; `text` is what was written.
fn check_host(sample: &str, text: &str) -> Result<(), PatternError> {
    match host::parse(sample.as_bytes()) {
        Err(not) => Err(PatternError::NeverMatches { text: text.to_owned(), reason: not.reason }),
        Ok(authority) if authority.port.is_some() => {
            let (name, _) = text.rsplit_once(':').unwrap_or((text, ""));
            Err(PatternError::Port(name.to_owned()))
        }
        Ok(authority) if authority.host == sample => Ok(()),
        Ok(authority) => {
            let lower = |label: &str| {
                if label.starts_with('{') { label.to_owned() } else { label.to_ascii_lowercase() }
            };
            let spelling = match text.contains('{') {
                true => text.trim_end_matches('.').split('.').map(lower).collect::<Vec<_>>().join("."),
                false => authority.host.into_owned(),
            };
            Err(PatternError::Spelling { text: text.to_owned(), spelling })
        }
    }
}

/// Refuses literals that no normal path holds.
fn check_path(parts: &[Part], rest: bool, text: &str) -> Result<(), PatternError> {
    let never = |reason| PatternError::NeverMatches { text: text.to_owned(), reason };
    for (index, part) in parts.iter().enumerate() {
        let Part::Literal(literal) = part else { continue };
        let closing_slash = index + 1 == parts.len() && !rest;
        if literal.is_empty() && closing_slash {
            continue;
        }
        if literal.is_empty() {
            return Err(never("a segment is empty"));
        }
        if literal.contains(';') || literal.to_ascii_uppercase().contains("%3B") {
            return Err(PatternError::Parameters(literal.to_string()));
        }
        let segment = format!("/{literal}");
        let normal = path::normalise(&segment).map_err(|ambiguous| never(ambiguous.reason))?;
        if normal.path != segment {
            let spelling = normal.path[1..].to_owned();
            return Err(PatternError::Spelling { text: literal.to_string(), spelling });
        }
    }
    Ok(())
}
