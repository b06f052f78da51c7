//! Identifiers and secrets in the forms Stytch gives them.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use uuid::Uuid;

const TOKEN_BYTES: usize = 33;

/// How long every opaque session token is: 33 bytes in base64url.
pub(crate) const TOKEN_LENGTH: usize = 44;

/// A new identifier such as `member-test-<uuid>`.
pub(crate) fn fresh(kind: &str) -> String {
    format!("{kind}-test-{}", Uuid::new_v4())
}

/// An identifier that does not say of what: a UUID.
pub(crate) fn plain() -> String {
    Uuid::new_v4().to_string()
}

/// A project's or a client's secret: base64url with padding, unlike the identifiers.
pub(crate) fn secret() -> String {
    format!("secret-test-{}", URL_SAFE.encode(random_bytes::<25>()))
}

/// What webhooks are signed with.
pub(crate) fn webhook_secret() -> String {
    format!("whsec_{}", STANDARD.encode(random_bytes::<24>()))
}

/// An opaque session token or intermediate session token.
pub(crate) fn token() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<TOKEN_BYTES>())
}

/// Six digits.
pub(crate) fn passcode() -> String {
    let number = u32::from_be_bytes(random_bytes::<4>()) % 1_000_000;
    format!("{number:06}")
}

/// Whether `text` could be an opaque token at all.
pub(crate) fn is_token(text: &str) -> bool {
    text.len() == TOKEN_LENGTH
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte))
}

pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's random source answers");
    bytes
}
