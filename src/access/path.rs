//! The path of a request, in the one spelling that is matched and forwarded.

use std::borrow::Cow;

/// A path in the only spelling that is matched and forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normal<'a> {
    pub path: Cow<'a, str>,
    /// Whether `%2F` stands in it, which only some routes allow.
    pub encoded_slash: bool,
}
