//! Heads that were decoded, beside the same heads as bytes.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use proptest::sample::select;

use super::super::*;

const HEAD: usize = 400;
const FIELDS: usize = 4;

fn target() -> impl Strategy<Value = PathAndQuery> {
    let text =
        prop_oneof![select(vec!["/", "*", "?a", "/a?b=c"]).prop_map(str::to_owned), "/[ -~\u{80}]{0,8}"];
    text.prop_filter_map("no target", |text| PathAndQuery::try_from(text).ok())
}

fn name() -> impl Strategy<Value = HeaderName> {
    let known =
        ["host", "content-length", "content_length", "transfer-encoding", "transfer.encoding", "upgrade"];
    let long = |length| "n".repeat(length);
    let known = known.map(str::to_owned).into_iter().chain([long(20), long(21), long(256), long(257)]);
    prop_oneof![2 => Just("host".to_owned()), 3 => select(known.collect::<Vec<_>>()), 2 => "[a-z_-]{1,6}"]
        .prop_map(|name| HeaderName::try_from(name).unwrap())
}

fn value() -> impl Strategy<Value = HeaderValue> {
    let known = ["app.test", "chunked", "0", "7", "07", "+7", "7 ", " 7", "1234567890123456789", ""];
    let known = select(known.map(|text| text.as_bytes().to_vec()).to_vec());
    let long = (0..HEAD).prop_map(|length| vec![b'v'; length]);
    prop_oneof![4 => known, 2 => prop::collection::vec(any::<u8>(), 0..8), 1 => long]
        .prop_filter_map("no value", |bytes| HeaderValue::from_bytes(&bytes).ok())
}

fn written(method: &Method, target: &PathAndQuery, headers: &HeaderMap) -> Vec<u8> {
    let mut bytes = format!("{method} {} HTTP/1.1\r\n", target.as_str()).into_bytes();
    for (name, value) in headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_decoded_head_passes_if_its_bytes_do(
        method in select(vec!["GET", "POST", "OPTIONS", "CONNECT", "get", "A_TOKEN", "A.TOKEN", "TWENTY-FOUR-CHARACTERS--", "TWENTY-FIVE-CHARACTERS---"]),
        target in target(),
        fields in prop::collection::vec((name(), value()), 0..=FIELDS + 1),
    ) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let headers: HeaderMap = {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, value);
            }
            headers
        };
        let bytes = written(&method, &target, &headers);
        let mut framing = Framing::new(HEAD, FIELDS);
        let passes = framing.judge(&bytes).stop == Stop::None && framing.messages() == 1 && !framing.is_held();
        // White space there is taken off in HTTP/1.1, and part of the value elsewhere.
        let is_trimmed = headers.values().all(|value| value.as_bytes().trim_ascii() == value.as_bytes());
        let judged = Framing::new(HEAD, FIELDS).judge_head(&method, &target, &headers);
        prop_assert_eq!(judged.is_ok(), passes && is_trimmed, "{:?} {}", judged, bytes.escape_ascii());
    }
}
