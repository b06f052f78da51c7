//! What a header says about an identity, as an operator writes it.
//!
//! `Basic {member.member_id|base64}`: text with values in braces; `{{` and `}}` stand for braces.
//! A value is a path from one of seven roots, `claims.plan.name`. A field whose name holds dots or
//! other marks is quoted, `claims."https://example.com/role"`; a number picks from a list,
//! `user.emails.0.email`. Quoted text in place of a path is a template of its own, so that several
//! values can be encoded as one: `Basic {"{member.member_id}:legacy"|base64}`.
//!
//! What holds: a header either says everything its template names or is left out, and from what
//! it says the exact values can be read back (DESIGN.md section 5). No value ends a header,
//! begins another or forges an element of a list.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use serde_json::Value;

use self::lookup::{Known, Root};
use super::Identity;
use crate::access::path::push_escape;
use crate::config::Vertical;

mod lookup;
mod parse;

pub use self::parse::TemplateError;

/// Text with `{path.to.value|filter}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// As written, for display.
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Visible ASCII and spaces.
    Text(String),
    Value {
        source: Source,
        form: Form,
        base64: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Path {
        root: Root,
        fields: Vec<String>,
    },
    /// Quoted text with values in it; never quoted again.
    Composed(Vec<Part>),
}

/// How a value becomes text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Text as it is, numbers and booleans plainly, lists joined with a comma, objects as JSON.
    Plain,
    Json,
    /// The text between the elements of a list.
    Join(String),
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        Ok(Self { text: text.to_owned(), parts: parse::parts(text)? })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Template {
    /// A template of one value, without its filters.
    fn of(root: Root, field: &str) -> Self {
        let source = Source::Path { root, fields: vec![field.to_owned()] };
        Self {
            text: format!("{{{}.{field}}}", root.name()),
            parts: vec![Part::Value { source, form: Form::Plain, base64: false }],
        }
    }

    /// Whether it names anything only an API answer tells, so that requests may need one.
    #[must_use]
    pub fn needs_profile(&self) -> bool {
        needs_profile(&self.parts)
    }

    /// Whether it says anything of the client's certificate.
    #[must_use]
    pub fn needs_certificate(&self) -> bool {
        needs_certificate(&self.parts)
    }

    /// The header's value for this identity. None, so that the header is left out, when a value
    /// that is named is absent or null, and when nothing is left to say.
    #[must_use]
    pub fn render(&self, who: &Identity) -> Option<HeaderValue> {
        self.render_of(Known { who: Some(who), certificate: None })
    }

    /// The same where the client's certificate is known, and perhaps nobody's identity.
    #[must_use]
    pub fn render_with(&self, who: Option<&Identity>, certificate: &Value) -> Option<HeaderValue> {
        self.render_of(Known { who, certificate: Some(certificate) })
    }

    fn render_of(&self, known: Known<'_>) -> Option<HeaderValue> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value { source, form, base64 } => {
                    let text = source.text(form, known, !base64)?;
                    if *base64 {
                        STANDARD.encode_string(text.as_bytes(), &mut out)
                    } else {
                        out.push_str(&text)
                    }
                }
            }
        }
        if out.trim_matches(' ').is_empty() {
            return None;
        }
        HeaderValue::try_from(out).ok()
    }
}

fn needs_profile(parts: &[Part]) -> bool {
    parts.iter().any(|part| match part {
        Part::Text(_) => false,
        Part::Value { source: Source::Path { root, fields }, .. } => root.needs_profile(fields),
        Part::Value { source: Source::Composed(parts), .. } => needs_profile(parts),
    })
}

fn needs_certificate(parts: &[Part]) -> bool {
    parts.iter().any(|part| match part {
        Part::Text(_) => false,
        Part::Value { source: Source::Path { root, .. }, .. } => *root == Root::ClientCertificate,
        Part::Value { source: Source::Composed(parts), .. } => needs_certificate(parts),
    })
}

impl Source {
    /// The value as text: fit for a header when `encoded`, raw otherwise.
    fn text(&self, form: &Form, known: Known<'_>, encoded: bool) -> Option<String> {
        match self {
            Self::Path { root, fields } => {
                let value = root.find(fields, known).filter(|value| !value.is_null())?;
                Some(value_text(&value, form, encoded))
            }
            Self::Composed(parts) => {
                let mut out = String::new();
                for part in parts {
                    match part {
                        Part::Text(text) => out.push_str(text),
                        Part::Value { source, form, base64 } => {
                            let text = source.text(form, known, encoded && !base64)?;
                            if *base64 { out.push_str(&STANDARD.encode(text)) } else { out.push_str(&text) }
                        }
                    }
                }
                Some(out)
            }
        }
    }
}

fn value_text(value: &Value, form: &Form, encoded: bool) -> String {
    let separator = match (form, value) {
        (Form::Json, _) => return finish(&value.to_string(), encoded),
        (Form::Join(separator), _) => separator.as_str(),
        (Form::Plain, _) => ",",
    };
    let Value::Array(elements) = value else {
        return finish(&scalar(value), encoded);
    };
    let mut out = String::new();
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push_str(separator);
        }
        push_element(&mut out, &scalar(element), separator, encoded);
    }
    out
}

/// A list as a header has it without a filter; none where it is empty.
#[must_use]
pub fn list<S: AsRef<str>>(elements: &[S]) -> Option<HeaderValue> {
    let length = elements.iter().map(|element| element.as_ref().len() + 1).sum::<usize>();
    // Where nothing is escaped that is the length to the byte, and no byte is moved again.
    let mut out = String::with_capacity(length.saturating_sub(1));
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_element(&mut out, element.as_ref(), ",", true);
    }
    if out.is_empty() { None } else { HeaderValue::try_from(out).ok() }
}

/// The text of something that is not spread out: JSON for what has no plainer form.
fn scalar(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

fn finish(text: &str, encoded: bool) -> String {
    if !encoded {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    push_element(&mut out, text, "", true);
    out
}

/// Adds one value. The bytes of the separator and `%` are escaped, so that splitting at the
/// separator and decoding gives back the elements; in a header, so is all that is not visible
/// ASCII, and a space at either end, which would be trimmed in transit.
fn push_element(out: &mut String, text: &str, separator: &str, encoded: bool) {
    let last = text.len().saturating_sub(1);
    let mut raw_from = 0;
    for (index, byte) in text.bytes().enumerate() {
        let plain = match byte {
            b'%' => false,
            _ if separator.as_bytes().contains(&byte) => false,
            _ if !encoded => true,
            b' ' => index != 0 && index != last,
            _ => byte.is_ascii_graphic(),
        };
        if !plain {
            // What is left unescaped is whole characters: in a header escapes are all there is
            // beyond ASCII, and elsewhere only ASCII is escaped.
            out.push_str(text.get(raw_from..index).unwrap_or_default());
            push_escape(out, byte);
            raw_from = index + 1;
        }
    }
    out.push_str(text.get(raw_from..).unwrap_or_default());
}

/// The headers that go upstream unless the configuration says otherwise: those that cost no call
/// (DESIGN.md section 5). One that does not fit an identity is left out by itself.
#[must_use]
pub fn defaults(vertical: Vertical) -> Vec<(HeaderName, Template)> {
    let mut headers = match vertical {
        Vertical::B2b => vec![
            ("x-stytch-member-id", Root::Member, "member_id"),
            ("x-stytch-organization-id", Root::Organization, "organization_id"),
            ("x-stytch-organization-slug", Root::Organization, "organization_slug"),
        ],
        Vertical::Consumer => vec![("x-stytch-user-id", Root::User, "user_id")],
    };
    headers.extend([
        ("x-stytch-session-id", Root::Session, "id"),
        ("x-stytch-roles", Root::Session, "roles"),
        ("x-stytch-client-id", Root::Client, "client_id"),
        ("x-stytch-scopes", Root::Client, "scopes"),
    ]);
    let template = |(name, root, field)| (HeaderName::from_static(name), Template::of(root, field));
    headers.into_iter().map(template).collect()
}

#[cfg(test)]
mod tests;
