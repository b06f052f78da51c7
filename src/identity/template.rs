//! What a header says about an identity, as an operator wrote it.

use std::fmt;
use std::str::FromStr;

use http::{HeaderName, HeaderValue};

use super::Identity;
use crate::config::Vertical;

/// Text with `{path.to.value|filter}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("an empty template names no value; to send no header, leave it out")]
    Empty,
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() { Err(TemplateError::Empty) } else { Ok(Self { text: text.to_owned() }) }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Template {
    /// Whether it names anything only an API answer tells.
    #[must_use]
    pub fn needs_profile(&self) -> bool {
        false
    }

    /// The header's value for this identity; none where a named value is absent.
    #[must_use]
    pub fn render(&self, _who: &Identity) -> Option<HeaderValue> {
        None
    }
}

/// The headers that go upstream unless the configuration says otherwise (DESIGN.md section 5).
#[must_use]
pub fn defaults(_vertical: Vertical) -> Vec<(HeaderName, Template)> {
    Vec::new()
}
