//! The host a request is for, in the one spelling that is matched.

use std::borrow::Cow;

/// A host and port as the request named them, in normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority<'a> {
    pub host: Cow<'a, str>,
    pub port: Option<u16>,
}
