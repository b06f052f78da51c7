//! Whether a delivery is Stytch's, sent through Svix (REFERENCE.md section 11).
//!
//! What holds: id, date and body are signed together; signatures are compared in constant time; a
//! delivery is good for five minutes.

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;

/// Seconds that a delivery's date may be off, as in Svix's own libraries.
const TOLERANCE: u64 = 300;
/// Signatures looked at: one for each key in use while keys are changed.
const MOST: usize = 16;
const LONGEST_ID: usize = 256;
/// Both spellings of the headers' names that are in use.
const FAMILIES: [[&str; 3]; 2] = [
    ["svix-id", "svix-timestamp", "svix-signature"],
    ["webhook-id", "webhook-timestamp", "webhook-signature"],
];

/// Why a delivery is not believed, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused(pub(super) &'static str);

/// The id of a delivery that is believed at `now` (unix seconds).
pub(super) fn verify<'h>(
    key: &hmac::Key,
    headers: &'h HeaderMap,
    body: &[u8],
    now: i64,
) -> Result<&'h str, Refused> {
    let family = FAMILIES.iter().find(|[id, ..]| headers.contains_key(*id));
    let [id, timestamp, signatures] = family.ok_or(Refused("no delivery id"))?.map(|name| one(headers, name));
    let id = id.filter(|id| (1..=LONGEST_ID).contains(&id.len())).ok_or(Refused("no sound delivery id"))?;
    let timestamp = timestamp.ok_or(Refused("no date"))?;
    let signatures = signatures.ok_or(Refused("no signature"))?;
    // A date that is no number, or is written oddly, is signed as it stands: it must be one first.
    let dated = timestamp.bytes().all(|byte| byte.is_ascii_digit()).then(|| timestamp.parse::<i64>().ok());
    let dated = dated.flatten().ok_or(Refused("the date is no number"))?;
    if dated.abs_diff(now) > TOLERANCE {
        return Err(Refused("the date is more than five minutes off"));
    }
    let mut context = hmac::Context::with_key(key);
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
    let expected = context.sign();
    let mut found = false;
    for signature in signatures.split(' ').take(MOST).filter_map(|text| text.strip_prefix("v1,")) {
        let given = BASE64_STANDARD.decode(signature).unwrap_or_default();
        found |= constant_time::verify_slices_are_equal(&given, expected.as_ref()).is_ok();
    }
    if found { Ok(id) } else { Err(Refused("no signature is ours")) }
}

/// The value of a header that is there once, in visible ASCII.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    /// The example of Svix's documentation of manual verification.
    const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const DATED: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(SECRET).unwrap())
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    fn told(pairs: &[(&str, &str)], body: &[u8], now: i64) -> Result<String, Refused> {
        verify(&key(), &headers(pairs), body, now).map(str::to_owned)
    }

    #[test]
    fn the_documented_example_is_believed_under_both_names() {
        for family in ["svix", "webhook"] {
            let [id, timestamp, signature] =
                ["id", "timestamp", "signature"].map(|name| format!("{family}-{name}"));
            let signatures = format!("v1,AAAA v2,x {SIGNATURE} v1,!");
            let pairs = [(id.as_str(), ID), (&timestamp, "1614265330"), (&signature, &signatures)];
            for now in [DATED - 300, DATED, DATED + 300] {
                assert_eq!(told(&pairs, BODY, now), Ok(ID.to_owned()));
            }
            for now in [DATED - 301, DATED + 301] {
                assert_eq!(told(&pairs, BODY, now), Err(Refused("the date is more than five minutes off")));
            }
        }
    }

    #[test]
    fn what_differs_in_any_part_is_refused() {
        let with = |id: &str, timestamp: &str, signature: &str, body: &[u8]| {
            let pairs = [("svix-id", id), ("svix-timestamp", timestamp), ("svix-signature", signature)];
            told(&pairs, body, DATED).is_ok()
        };
        assert!(with(ID, "1614265330", SIGNATURE, BODY));
        assert!(!with("msg_other", "1614265330", SIGNATURE, BODY));
        assert!(!with(ID, "1614265331", SIGNATURE, BODY));
        assert!(!with(ID, "01614265330", SIGNATURE, BODY));
        assert!(!with(ID, "+1614265330", SIGNATURE, BODY));
        assert!(!with(ID, "", SIGNATURE, BODY));
        assert!(!with(ID, "1614265330", SIGNATURE, b"{}"));
        assert!(!with(ID, "1614265330", &SIGNATURE.replace("v1,", "v1a,"), BODY));
        assert!(!with(ID, "1614265330", &SIGNATURE[..20], BODY));
        assert!(!with(ID, "1614265330", "v1,", BODY));
        assert!(!with("", "1614265330", SIGNATURE, BODY));
    }

    #[test]
    fn what_lacks_a_part_or_has_one_twice_is_refused() {
        let whole = [("svix-id", ID), ("svix-timestamp", "1614265330"), ("svix-signature", SIGNATURE)];
        for left_out in 0..whole.len() {
            let mut pairs = whole.to_vec();
            pairs.remove(left_out);
            assert!(told(&pairs, BODY, DATED).is_err());
            let mut pairs = whole.to_vec();
            pairs.push(whole[left_out]);
            assert!(told(&pairs, BODY, DATED).is_err());
        }
        // Parts of two families are no whole.
        let mixed = [("webhook-id", ID), ("svix-timestamp", "1614265330"), ("svix-signature", SIGNATURE)];
        assert!(told(&mixed, BODY, DATED).is_err());
    }
}
