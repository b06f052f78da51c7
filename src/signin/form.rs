//! What people write into forms, and what links say: read leniently where people err, strictly
//! where nobody does.

use std::borrow::Cow;
use std::time::Duration;

use crate::server::incoming::Incoming;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, header};
use http_body_util::{BodyExt, Limited};

use super::Place;
use crate::access::rejection::{Code, Rejection};

/// The largest form that is read, in bytes.
const MAX_FORM: usize = 16 * 1024;
/// How long the body of a form may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// RFC 5321 section 4.5.3.1.
const MAX_ADDRESS: usize = 254;

/// The form of a POST; nothing of a GET.
pub(super) async fn read(place: Place, parts: &Parts, body: Incoming) -> Result<Bytes, Rejection> {
    let posts = !matches!(place, Place::Session | Place::Callback);
    match parts.method {
        Method::GET | Method::HEAD => return Ok(Bytes::new()),
        Method::POST if posts => {}
        _ => return Err(Rejection::new(Code::MethodNotAllowed, "no method of a sign-in page")),
    }
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    // A button of an application's own may send nothing at all.
    if !kind.is_empty() && !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Rejection::new(Code::BadRequest, "the body is no form"));
    }
    let collected = tokio::time::timeout(PATIENCE, Limited::new(body, MAX_FORM).collect()).await;
    match collected {
        Ok(Ok(form)) => Ok(form.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Rejection::new(Code::BodyTooLarge, "the form is over 16 KiB"))
        }
        Ok(Err(_)) | Err(_) => Err(Rejection::new(Code::BadRequest, "the form broke off or took too long")),
    }
}

/// The pairs of a form or a query. Of a name that stands twice the first counts.
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Fields<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        Self(form_urlencoded::parse(bytes).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The value, or nothing.
    pub(super) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }
}

/// An e-mail address, as far as a form can tell.
pub(super) fn email(text: &str) -> Option<&str> {
    let text = text.trim();
    let (name, domain) = text.rsplit_once('@')?;
    let sound =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
    let dotted = domain.split('.').count() > 1 && domain.split('.').all(|label| !label.is_empty());
    (text.len() <= MAX_ADDRESS && sound(name) && sound(domain) && !name.contains('@') && dotted)
        .then_some(text)
}

/// A phone number in E.164, out of one written as people do.
pub(super) fn phone(text: &str) -> Option<String> {
    let bare: String = text.chars().filter(|c| !c.is_whitespace() && !"-().\u{a0}/".contains(*c)).collect();
    let digits = bare.strip_prefix('+').or_else(|| bare.strip_prefix("00"))?;
    let sound = (7..=15).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    sound.then(|| format!("+{digits}"))
}

/// The digits of a code, however it was pasted.
pub(super) fn code(text: &str) -> Option<String> {
    let bare: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    ((4..=10).contains(&bare.len()) && bare.bytes().all(|byte| byte.is_ascii_digit())).then_some(bare)
}

/// A recovery code, whose form is Stytch's own.
pub(super) fn recovery_code(text: &str) -> Option<&str> {
    let text = text.trim();
    ((4..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(text)
}

/// An organization's id or slug (REFERENCE.md 2.3).
pub(super) fn organization(text: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    ((2..=128).contains(&text.len()) && text.bytes().all(plain)).then_some(text)
}

/// The name of an organization, as far as a form can tell.
pub(super) fn organization_name(text: &str) -> Option<&str> {
    let text = text.trim();
    ((1..=128).contains(&text.chars().count()) && !text.contains(char::is_control)).then_some(text)
}

/// All but the last digits covered.
pub(super) fn covered(phone: &str) -> String {
    let tail: String = phone.chars().rev().take(2).collect::<Vec<_>>().into_iter().rev().collect();
    format!("•••\u{a0}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("ana@acme.example", Some("ana@acme.example")),
            ("  ana+x@acme.example\n", Some("ana+x@acme.example")),
            ("ana", None),
            ("ana@acme", None),
            ("ana@acme..example", None),
            ("@acme.example", None),
            ("a na@acme.example", None),
            ("ana@evil@acme.example", None),
            ("ana@acme.example\u{0}", None),
        ] {
            assert_eq!(email(text), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_and_codes() {
        assert_eq!(phone("+49 (151) 234-567.89").as_deref(), Some("+4915123456789"));
        assert_eq!(phone("0049 151 23456789").as_deref(), Some("+4915123456789"));
        for wrong in ["0151 23456789", "+0123456789", "+49", "+49 x51 23456789", ""] {
            assert_eq!(phone(wrong), None, "{wrong}");
        }
        assert_eq!(code(" 123 456\n").as_deref(), Some("123456"));
        assert_eq!(code("123-456").as_deref(), Some("123456"));
        for wrong in ["", "123", "12345a", "12345678901"] {
            assert_eq!(code(wrong), None, "{wrong}");
        }
        assert_eq!(covered("+15005550123"), "•••\u{a0}23");
    }

    #[test]
    fn of_two_the_first_counts() {
        let fields = Fields::read(b"return_to=%2Fa&return_to=//evil.test&return_to%5B%5D=//evil.test");
        assert_eq!(fields.text("return_to"), "/a");
        assert_eq!(fields.text("other"), "");
    }
}
