//! `[webhook]`: whether events are taken, and who may have signed them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Findings, secret};
use crate::config::problems::KeyPath;
use crate::config::{Secret, Webhook, raw};

const PREFIX: &str = "whsec_";
/// A shorter key could be found by trying.
const SHORTEST: usize = 16;

/// None where they are off, or there is a problem. What is off needs no secret.
pub(super) fn webhook(raw: &raw::Webhook, findings: &mut Findings) -> Option<Webhook> {
    if !raw.enabled {
        return None;
    }
    let missing = "missing; set webhook.secret_file or webhook.secret to the endpoint's signing secret";
    let secret =
        secret::given("webhook.secret", raw.secret.as_ref(), raw.secret_file.as_ref(), missing, findings)?;
    let key = KeyPath::of(if raw.secret.is_some() { "webhook.secret" } else { "webhook.secret_file" });
    findings.problems.keep(&key, signing_key(&secret)).map(|key| Webhook { key })
}

fn signing_key(secret: &Secret) -> Result<hmac::Key, &'static str> {
    let encoded = secret.expose().strip_prefix(PREFIX).ok_or("a webhook's secret begins with whsec_")?;
    let bytes = BASE64_STANDARD
        .decode(encoded)
        .map_err(|_| "not a webhook's secret; after whsec_ comes base64 and nothing else")?;
    if bytes.len() < SHORTEST {
        return Err("too short for a webhook's secret; it holds at least 16 bytes");
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}
