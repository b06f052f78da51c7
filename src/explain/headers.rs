//! What becomes of a request's headers on the way to the upstream.
//!
//! What holds: only values that the gateway makes of an identity are shown, and of those none that
//! an upstream takes for a credential: of an assertion its claims alone.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::report::Report;
use crate::site::Site;

/// Tells the difference between the headers as they came and as they go.
pub(super) fn tell(report: &mut Report, before: &HeaderMap, after: &HeaderMap, site: &Site) {
    let owned = &site.owned;
    let values = |headers: &HeaderMap, name: &HeaderName| -> Vec<HeaderValue> {
        headers.get_all(name).iter().cloned().collect()
    };
    let (ours, others): (Vec<_>, Vec<_>) = after.keys().partition(|name| owned.is_alias(name));
    for name in &ours {
        for value in values(after, name) {
            report.note("headers set", format!("{name}: {}", shown(name, &value, site)));
        }
    }
    let is_new = |name: &&&HeaderName| !before.contains_key(**name);
    listed(report, "headers set", "of the request itself: ", others.iter().filter(is_new).copied());
    let changed = others
        .iter()
        .filter(|name| before.contains_key(**name) && values(before, name) != values(after, name));
    listed(report, "headers changed", "", changed.copied());
    let gone = |name: &&HeaderName| !after.contains_key(*name);
    let replaced = |name: &&HeaderName| {
        owned.is_alias(name) && (gone(name) || values(before, name) != values(after, name))
    };
    listed(report, "headers removed", "the client may not set ", before.keys().filter(replaced));
    listed(report, "headers removed", "", before.keys().filter(|name| gone(name) && !owned.is_alias(name)));
}

fn listed<'h>(report: &mut Report, step: &str, before: &str, names: impl Iterator<Item = &'h HeaderName>) {
    let mut names: Vec<&str> = names.map(HeaderName::as_str).collect();
    names.sort_unstable();
    if !names.is_empty() {
        report.note(step, format!("{before}{}", names.join(", ")));
    }
}

fn shown(name: &HeaderName, value: &HeaderValue, site: &Site) -> String {
    let assertion = site.config.identity.assertion.as_ref();
    if assertion.is_some_and(|assertion| assertion.header == *name) {
        let claims = claims(value).unwrap_or_default();
        return format!("(signature not shown) {claims}");
    }
    if [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE].contains(name) {
        return "(not shown)".to_owned();
    }
    value.to_str().unwrap_or("(not text)").to_owned()
}

/// What a JWT says, without what makes anybody believe it.
fn claims(token: &HeaderValue) -> Option<String> {
    let payload = token.to_str().ok()?.split('.').nth(1)?;
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}
