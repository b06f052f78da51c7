//! Request ids, trace context, and the mark by which a loop is seen.

use std::borrow::Cow;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

use crate::fields::Headers;
use crate::identity::owned::same;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Hexadecimal digits of a trace id, and of our request ids.
const ID: usize = 32;
/// `00-` trace id `-` span id `-` flags.
const TRACEPARENT_LENGTH: usize = 55;
const LONGEST_FOREIGN_ID: usize = 128;

/// Makes ids for one worker. They are unique, not secret: a small generator seeded by the system.
pub struct Generator(Cell<[u64; 2]>);

/// The ids of one request, as they go upstream.
pub struct Ids {
    request_id: HeaderValue,
    traceparent: HeaderValue,
    /// A trace of our own making has no state from elsewhere.
    fresh_trace: bool,
}

impl Default for Generator {
    fn default() -> Self {
        let seed = RandomState::new();
        Self(Cell::new([seed.hash_one(1), seed.hash_one(2)]))
    }
}

impl Generator {
    /// The trace context the client brought, or a new one; its request id only from a trusted
    /// proxy, since operators search by it.
    #[must_use]
    pub fn next(&self, headers: &HeaderMap, trusted: bool) -> Ids {
        let (request_id, traceparent) = self.make();
        let brought = headers.get(&TRACEPARENT).filter(|value| is_traceparent(value.as_bytes()));
        let known = if trusted { headers.get(&REQUEST_ID) } else { None };
        let request_id = known.filter(|id| is_plain(id.as_bytes())).cloned().unwrap_or(request_id);
        let fresh_trace = brought.is_none();
        Ids { request_id, traceparent: brought.cloned().unwrap_or(traceparent), fresh_trace }
    }

    /// Both values are slices of one allocation.
    fn make(&self) -> (HeaderValue, HeaderValue) {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
        text[3..19].copy_from_slice(&hex(self.random()));
        text[19..35].copy_from_slice(&hex(self.random()));
        text[36..52].copy_from_slice(&hex(self.random()));
        let text = Bytes::copy_from_slice(&text);
        let value = |bytes| HeaderValue::from_maybe_shared(bytes).unwrap_or(HeaderValue::from_static(""));
        (value(text.slice(3..3 + ID)), value(text))
    }

    /// xoroshiro128+ (Blackman and Vigna), never zero: a zero trace id is none.
    fn random(&self) -> u64 {
        let [s0, mut s1] = self.0.get();
        let result = s0.wrapping_add(s1);
        s1 ^= s0;
        self.0.set([s0.rotate_left(24) ^ s1 ^ (s1 << 16), s1.rotate_left(37)]);
        result | 1
    }
}

/// All digits at once: each gets a byte of its own, and from ten on it is a letter.
fn hex(number: u64) -> [u8; 16] {
    const EACH: u128 = u128::from_ne_bytes([1; 16]);
    let mut digits = u128::from(number);
    for (shift, mask) in
        [(32, u64::MAX >> 32), (16, u64::MAX / 0x1_0001), (8, u64::MAX / 0x101), (4, u64::MAX / 0x11)]
    {
        digits = (digits | digits << shift) & (u128::from(mask) * (1 + (1 << 64)));
    }
    let letters = ((digits + 6 * EACH) >> 4) & EACH;
    (digits + u128::from(b'0') * EACH + u128::from(b'a' - b'9' - 1) * letters).to_be_bytes()
}

/// W3C Trace Context section 3.2, version 00, with ids that are not all zero.
fn is_traceparent(value: &[u8]) -> bool {
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (Some(trace), Some(span), Some(flags)) = (value.get(3..35), value.get(36..52), value.get(53..55))
    else {
        return false;
    };
    value.len() == TRACEPARENT_LENGTH
        && value.starts_with(b"00-")
        && value[35] == b'-'
        && value[52] == b'-'
        && [trace, span, flags].into_iter().all(is_hex)
        && [trace, span].into_iter().all(|id| id.iter().any(|digit| *digit != b'0'))
}

/// In every spelling that a server could take for it.
fn is_request_id(name: &HeaderName) -> bool {
    let folded = b"x-request-id";
    let name = name.as_str().as_bytes();
    name.len() == folded.len() && same(folded, name)
}

fn is_plain(id: &[u8]) -> bool {
    (1..=LONGEST_FOREIGN_ID).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
}

impl Ids {
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    #[must_use]
    pub fn trace_id(&self) -> &str {
        self.traceparent.to_str().unwrap_or_default().get(3..35).unwrap_or_default()
    }

    /// Whether a header may go upstream beside these: not what a server could take for one of them,
    /// nor the state of a trace that was not carried on.
    #[must_use]
    pub fn let_pass(&self, name: &HeaderName) -> bool {
        !(is_request_id(name) || (self.fresh_trace && *name == TRACESTATE))
    }

    pub fn set<'s>(&'s self, headers: &mut impl Headers<'s>) {
        headers.set(Cow::Owned(REQUEST_ID), Cow::Borrowed(&self.request_id));
        headers.set(Cow::Owned(TRACEPARENT), Cow::Borrowed(&self.traceparent));
    }
}

/// Our name in `Via` (RFC 9110 section 7.6.3). Another gateway in the chain has another.
pub struct Via {
    /// With each version that a request can come in: HTTP/1.1, 1.0 and 2.
    values: [HeaderValue; 3],
    pseudonym: String,
}

impl Default for Via {
    fn default() -> Self {
        let pseudonym = format!("stytch-gateway-{:016x}", RandomState::new().hash_one("via"));
        let value = |version: &str| {
            let value = HeaderValue::try_from(format!("{version} {pseudonym}"));
            value.unwrap_or(HeaderValue::from_static("1.1 stytch-gateway"))
        };
        Self { values: ["1.1", "1.0", "2.0"].map(value), pseudonym }
    }
}

impl Via {
    /// Whether a request has been here before.
    #[must_use]
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(header::VIA)
            .iter()
            .any(|value| memchr::memmem::find(value.as_bytes(), self.pseudonym.as_bytes()).is_some())
    }

    /// Says in which version a message came to us.
    pub fn add<'s>(&'s self, received: Version, headers: &mut impl Headers<'s>) {
        let [http_11, http_10, http_2] = &self.values;
        let value = match received {
            Version::HTTP_2 => http_2,
            Version::HTTP_10 => http_10,
            _ => http_11,
        };
        headers.add(Cow::Owned(header::VIA), Cow::Borrowed(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn every_digit_is_written() {
        for number in [0, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX, 0xa0b1_9c00_0000_0001] {
            assert_eq!(str::from_utf8(&hex(number)), Ok(&*format!("{number:016x}")));
        }
    }

    #[test]
    fn ids_are_new_and_well_formed() {
        let generator = Generator::default();
        let (one, two) = (generator.next(&HeaderMap::new(), false), generator.next(&HeaderMap::new(), false));
        assert_ne!(one.request_id(), two.request_id());
        assert_eq!(one.request_id().len(), ID);
        assert_eq!(one.trace_id(), one.request_id());
        assert!(is_traceparent(one.traceparent.as_bytes()));
    }

    #[test]
    fn a_trace_is_carried_on_and_a_malformed_one_is_not() {
        let generator = Generator::default();
        let ids = generator.next(&headers(&[("traceparent", TRACE)]), false);
        assert_eq!(ids.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let zero = TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        for bad in ["00-x", &TRACE.to_uppercase(), &zero, &format!("{TRACE}-more")] {
            let mut sent = headers(&[("traceparent", bad), ("tracestate", "a=b")]);
            let ids = generator.next(&sent, false);
            ids.set(&mut sent);
            assert_ne!(sent["traceparent"], *bad);
            assert!(!ids.let_pass(&TRACESTATE));
        }
    }

    #[test]
    fn a_request_id_is_believed_from_a_trusted_proxy_alone() {
        let generator = Generator::default();
        let sent = headers(&[("x-request-id", "abc-123")]);
        assert_eq!(generator.next(&sent, true).request_id(), "abc-123");
        assert_ne!(generator.next(&sent, false).request_id(), "abc-123");
        let odd = headers(&[("x-request-id", "a b<c")]);
        assert_eq!(generator.next(&odd, true).request_id().len(), ID);
    }

    #[test]
    fn a_mark_says_in_which_version_a_request_came() {
        let via = Via::default();
        for (version, expected) in
            [(Version::HTTP_10, "1.0 "), (Version::HTTP_11, "1.1 "), (Version::HTTP_2, "2.0 ")]
        {
            let mut headers = HeaderMap::new();
            via.add(version, &mut headers);
            assert!(headers[header::VIA].to_str().unwrap().starts_with(expected), "{version:?}");
            assert!(via.is_in(&headers));
        }
    }

    #[test]
    fn a_loop_is_seen_and_another_gateway_is_none() {
        let (ours, other) = (Via::default(), Via::default());
        let mut headers = HeaderMap::new();
        other.add(Version::HTTP_2, &mut headers);
        assert!(!ours.is_in(&headers));
        ours.add(Version::HTTP_11, &mut headers);
        assert!(ours.is_in(&headers));
    }
}
