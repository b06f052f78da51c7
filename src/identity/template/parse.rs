//! Reads a template, and says what is wrong with one.

use super::lookup::Root;
use super::{Form, Part, Source};
use crate::server::tls::certificate::ClientCertificate;

/// What is wrong with a template, and how to write it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("the template is empty; write text with values such as `{{member.member_id}}`")]
    Empty,
    #[error("a brace is opened in `{0}` and not closed; for a brace as text write `{{{{`")]
    Unclosed(String),
    #[error("a brace is closed in `{0}` that was not opened; for a brace as text write `}}}}`")]
    Unopened(String),
    #[error("the braces are empty; name a value, as in `{{member.member_id}}`")]
    NoValue,
    #[error(
        "`{root}` is not something a template knows; write `{nearest}` (known: member, organization, user, session, claims, client, client_certificate)"
    )]
    UnknownRoot { root: String, nearest: &'static str },
    #[error("a client has no `{0}`; write `client.client_id` or `client.scopes`")]
    UnknownField(String),
    #[error(
        "a client certificate has no `{field}`; write `client_certificate.{nearest}` (known: subject, common_name, dns_names, uris, email_addresses, serial, fingerprint)"
    )]
    UnknownCertificateField { field: String, nearest: &'static str },
    #[error(
        "`{0}` is not a path; write fields with dots between, unusual ones in quotes, as in `claims.\"https://example.com/role\"`"
    )]
    BadPath(String),
    #[error("`{filter}` is not a filter; write `{nearest}` (known: json, base64, join(\",\"))")]
    UnknownFilter { filter: String, nearest: &'static str },
    #[error(
        "`{filter}` cannot follow what stands before it; write one of `json` and `join(…)`, then `base64` if wanted"
    )]
    FilterOrder { filter: String },
    #[error(
        "`{0}` is no separator of a list; write one in quotes, of spaces and ASCII marks other than `%`, as in `join(\", \")`"
    )]
    BadSeparator(String),
    #[error("`{0}` cannot stand in a header; write visible ASCII and spaces")]
    BadText(char),
    #[error("the quoted text has no closing quote in `{0}`")]
    UnclosedQuote(String),
    #[error("text in quotes cannot hold text in quotes")]
    NestedQuotes,
    #[error("quoted text is joined by nothing and is no JSON; only `base64` can follow it")]
    ComposedFilter,
}

/// The parts of a whole template.
pub(super) fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    if text.trim().is_empty() {
        return Err(TemplateError::Empty);
    }
    read(text, true)
}

/// The parts of a text; quoted text may stand in the outer one alone.
fn read(text: &str, outer: bool) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let from_brace = &rest[at..];
        if let Some(after) = from_brace.strip_prefix("{{") {
            plain.push('{');
            rest = after;
        } else if let Some(after) = from_brace.strip_prefix("}}") {
            plain.push('}');
            rest = after;
        } else if let Some(inside) = from_brace.strip_prefix('{') {
            let end = closing(inside).ok_or_else(|| TemplateError::Unclosed(text.to_owned()))?;
            if !plain.is_empty() {
                parts.push(Part::Text(checked(std::mem::take(&mut plain))?));
            }
            parts.push(value(&inside[..end], outer)?);
            rest = &inside[end + 1..];
        } else {
            return Err(TemplateError::Unopened(text.to_owned()));
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(checked(plain)?));
    }
    Ok(parts)
}

fn checked(text: String) -> Result<String, TemplateError> {
    match text.chars().find(|character| !character.is_ascii_graphic() && *character != ' ') {
        Some(character) => Err(TemplateError::BadText(character)),
        None => Ok(text),
    }
}

/// Where the brace closes, quoted text left aside.
fn closing(inside: &str) -> Option<usize> {
    let mut quoted = false;
    inside.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b'}' && !quoted
    })
}

/// Splits at a mark that is not inside quotes.
fn split_unquoted(text: &str, mark: u8) -> Vec<&str> {
    let mut quoted = false;
    let mut pieces = Vec::new();
    let mut start = 0;
    for (index, byte) in text.bytes().enumerate() {
        quoted ^= byte == b'"';
        if byte == mark && !quoted {
            pieces.push(&text[start..index]);
            start = index + 1;
        }
    }
    pieces.push(&text[start..]);
    pieces
}

/// What stands between two braces.
fn value(inside: &str, outer: bool) -> Result<Part, TemplateError> {
    let mut pieces = split_unquoted(inside, b'|').into_iter().map(str::trim);
    let named = pieces.next().unwrap_or_default();
    let source = match named.strip_prefix('"') {
        Some(_) if !outer => return Err(TemplateError::NestedQuotes),
        Some(quoted) => {
            let quoted = quoted.strip_suffix('"').filter(|quoted| !quoted.contains('"'));
            let quoted = quoted.ok_or_else(|| TemplateError::UnclosedQuote(named.to_owned()))?;
            Source::Composed(read(quoted, false)?)
        }
        None => path(named)?,
    };
    let (mut form, mut base64) = (Form::Plain, false);
    for piece in pieces {
        let filter = filter(piece)?;
        match filter {
            Filter::Base64 if !base64 => base64 = true,
            Filter::Form(_) if matches!(source, Source::Composed(_)) => {
                return Err(TemplateError::ComposedFilter);
            }
            Filter::Form(chosen) if form == Form::Plain && !base64 => form = chosen,
            Filter::Base64 | Filter::Form(_) => {
                return Err(TemplateError::FilterOrder { filter: piece.to_owned() });
            }
        }
    }
    Ok(Part::Value { source, form, base64 })
}

enum Filter {
    Form(Form),
    Base64,
}

fn filter(text: &str) -> Result<Filter, TemplateError> {
    if let Some(argument) = text.strip_prefix("join(").and_then(|text| text.strip_suffix(')')) {
        let separator = argument.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        return match separator {
            Some(separator) if separates(separator) => Ok(Filter::Form(Form::Join(separator.to_owned()))),
            _ => Err(TemplateError::BadSeparator(argument.to_owned())),
        };
    }
    match text {
        "json" => Ok(Filter::Form(Form::Json)),
        "base64" => Ok(Filter::Base64),
        _ => {
            let name = text.split('(').next().unwrap_or_default();
            let nearest = match nearest(name, ["json", "base64", "join"]) {
                "join" => "join(\",\")",
                other => other,
            };
            Err(TemplateError::UnknownFilter { filter: text.to_owned(), nearest })
        }
    }
}

/// Letters and digits stand in escapes, so a separator of them could not be told from an element.
fn separates(separator: &str) -> bool {
    !separator.is_empty()
        && separator.bytes().all(|byte| byte == b' ' || (byte.is_ascii_punctuation() && byte != b'%'))
}

fn path(text: &str) -> Result<Source, TemplateError> {
    if text.is_empty() {
        return Err(TemplateError::NoValue);
    }
    let mut steps = split_unquoted(text, b'.').into_iter();
    let root = steps.next().unwrap_or_default();
    let Some(root) = Root::ALL.into_iter().find(|known| known.name() == root) else {
        let nearest = nearest(root, Root::ALL.map(Root::name));
        return Err(TemplateError::UnknownRoot { root: root.to_owned(), nearest });
    };
    let fields = steps.map(|step| field(step).ok_or_else(|| TemplateError::BadPath(text.to_owned())));
    let fields = fields.collect::<Result<Vec<_>, _>>()?;
    match (root, fields.first().map(String::as_str)) {
        (Root::Client, Some("client_id" | "scopes")) => {}
        (Root::Client, named) => {
            return Err(TemplateError::UnknownField(named.unwrap_or_default().to_owned()));
        }
        (Root::ClientCertificate, named) => {
            let field = named.unwrap_or_default();
            if !ClientCertificate::FIELDS.contains(&field) {
                let nearest = nearest(field, ClientCertificate::FIELDS);
                return Err(TemplateError::UnknownCertificateField { field: field.to_owned(), nearest });
            }
        }
        _ => {}
    }
    Ok(Source::Path { root, fields })
}

/// One step of a path: a plain name, or any text in quotes.
fn field(step: &str) -> Option<String> {
    let quoted = step.strip_prefix('"').and_then(|step| step.strip_suffix('"'));
    let ordinary = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match quoted {
        Some(name) => (!name.is_empty() && !name.contains('"')).then(|| name.to_owned()),
        None => (!step.is_empty() && step.bytes().all(ordinary)).then(|| step.to_owned()),
    }
}

/// The known name most like what was written.
fn nearest<const N: usize>(written: &str, known: [&'static str; N]) -> &'static str {
    let distance = |name: &&str| strsim::damerau_levenshtein(written, name);
    known.into_iter().min_by_key(distance).unwrap_or_default()
}
