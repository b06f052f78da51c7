//! Which route is a request for?

use std::fmt;
use std::str::FromStr;

/// What a route says about the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostPattern {
    text: String,
}

/// What a route says about the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
}

/// What is wrong with a pattern, and how to write it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("nothing is written here; write a pattern or leave the key out")]
    Empty,
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() { Err(PatternError::Empty) } else { Ok(Self { text: text.to_owned() }) }
    }
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() { Err(PatternError::Empty) } else { Ok(Self { text: text.to_owned() }) }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "*" } else { &self.text })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The names a route captures, host labels first, each from left to right.
///
/// # Errors
/// When a name stands twice.
pub fn capture_names<'p>(
    _host: &'p HostPattern,
    _path: &'p PathPattern,
) -> Result<Vec<&'p str>, PatternError> {
    Ok(Vec::new())
}
