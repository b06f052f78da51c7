//! Requests as attackers would write them: good ones, and good ones with something wrong.

use proptest::prelude::*;
use proptest::sample::{Index, select};

fn method() -> impl Strategy<Value = &'static str> {
    select(vec!["GET", "POST", "PUT", "OPTIONS", "HEAD", "DELETE", "CONNECT", "PROPFIND", "get", "G T", ""])
}

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "/",
            "*",
            "/a?b=c",
            "http://app.test/",
            "http://app.test",
            "https://[::1]:80/?a",
            "app.test:443",
            "http:http://a/",
            "http://",
            "/#",
            "//",
            "http://a@b/",
            "http://a:b/",
            "?",
            "http://a?b"
        ])
        .prop_map(str::to_owned),
        "/[!-~]{0,8}",
        "https?://[!-~]{0,8}",
    ]
}

fn version() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        8 => Just("HTTP/1.1"),
        1 => Just("HTTP/1.0"),
        1 => select(vec!["HTTP/1.2", "HTTP/2.0", "http/1.1", "", "HTTP/1.1 "]),
    ]
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "Connection: close",
            "Connection: keep-alive",
            "Connection: upgrade",
            "Upgrade: websocket",
            "Upgrade: h2c",
            "Expect: 100-continue",
            "Expect: other",
            "Accept: */*",
            "X:",
            "Host: b",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "Content-Length: 5",
            "Content-Length: 0",
            "Content-Length: 05",
            "TE: trailers",
            "Trailer: x",
            "Content_Length: 5"
        ])
        .prop_map(str::to_owned),
        "[A-Za-z-]{1,6}: ?[ -~]{0,8}",
    ]
}

/// Lines that frame a body, and the body.
fn body() -> impl Strategy<Value = (String, Vec<u8>)> {
    let content = proptest::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        Just((String::new(), Vec::new())),
        content.clone().prop_map(|content| (format!("Content-Length: {}\r\n", content.len()), content)),
        (proptest::collection::vec((content, "(;[!-~]{0,6})?"), 0..4), "(X: [a-z]{0,3}\r\n){0,2}").prop_map(
            |(chunks, trailers)| {
                let mut body = Vec::new();
                for (content, extension) in chunks.iter().filter(|(content, _)| !content.is_empty()) {
                    body.extend_from_slice(format!("{:x}{extension}\r\n", content.len()).as_bytes());
                    body.extend_from_slice(content);
                    body.extend_from_slice(b"\r\n");
                }
                body.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
                ("Transfer-Encoding: chunked\r\n".to_owned(), body)
            }
        ),
    ]
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let plain = (select(vec!["GET", "POST", "PUT"]), Just("/a".to_owned()), Just("HTTP/1.1"));
    let line = prop_oneof![3 => plain.boxed(), 1 => (method(), target(), version()).boxed()];
    (line, proptest::collection::vec(field(), 0..3), body()).prop_map(
        |((method, target, version), fields, (framing, body))| {
            let mut request =
                format!("{method} {target} {version}\r\nHost: app.test\r\n{framing}").into_bytes();
            for field in fields {
                request.extend_from_slice(field.as_bytes());
                request.extend_from_slice(b"\r\n");
            }
            request.extend_from_slice(b"\r\n");
            request.extend_from_slice(&body);
            request
        },
    )
}

/// A byte put in, taken out or replaced.
fn mutation() -> impl Strategy<Value = (Index, u8, u8)> {
    let byte =
        prop_oneof![4 => select(b"\r\n\t \0:;,#*/?0159afxX-_\x7f\x80\xff\x0b".to_vec()), 1 => any::<u8>()];
    (any::<Index>(), 0..3_u8, byte)
}

/// Up to three requests in one go, with up to three mistakes.
pub(in crate::server) fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let requests = proptest::collection::vec(request(), 1..4);
    (requests, proptest::collection::vec(mutation(), 0..4)).prop_map(|(requests, mutations)| {
        let mut bytes = requests.concat();
        for (at, kind, byte) in mutations {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes.insert(at, byte),
                1 => bytes[at] = byte,
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}
