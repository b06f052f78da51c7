//! Any path: normalising it again changes nothing, what is forwarded has no dot segments however
//! often it is decoded, and finding its route is answered.

#![no_main]

use std::sync::LazyLock;

use http::Method;
use libfuzzer_sys::fuzz_target;
use stytch_gateway::access::route::{Found, Table};
use stytch_gateway::access::{host, path};
use stytch_gateway::config;

const SETTINGS: &str = r#"
[stytch]
project_id = "project-test-1"
secret = "secret-test-1"
[upstreams.app]
url = "http://127.0.0.1:3000"
[[routes]]
path = "/*"
upstream = "app"
[[routes]]
path = "/public/*"
upstream = "app"
auth = "none"
[[routes]]
path = "/public/{name}/edit"
upstream = "app"
[[routes]]
host = "{org}.example.com"
path = "/org/{slug}/*"
methods = ["GET"]
upstream = "app"
"#;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("a.toml");
    std::fs::write(&file, SETTINGS).expect("there is room");
    config::load(&[file], std::iter::empty()).expect("these settings are good").config.table
});

fn decoded(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (named, text) = text.split_once('\n').unwrap_or(("app.test", text));
    let Ok(normal) = path::normalise(text) else { return };
    let path = normal.path.as_ref();
    let again = path::normalise(path).expect("what is normal is not ambiguous");
    assert_eq!((again.path.as_ref(), again.encoded_slash), (path, normal.encoded_slash));
    let mut meaning = path.to_owned();
    for _ in 0..4 {
        let dots = |segment: &str| segment == "." || segment == "..";
        assert!(!meaning.split(['/', '\\']).any(dots), "{text:?} hides a dot segment");
        assert!(!meaning.contains('\0'), "{text:?} hides a NUL");
        meaning = decoded(&meaning);
    }
    let _ = path::cut_prefix(path, "/public").map(|rest| assert!(rest.starts_with('/')));
    if let Ok(authority) = host::parse(named.as_bytes()) {
        let host = authority.host.as_ref();
        if let Found::Route(found) = TABLE.find(host, &Method::GET, path) {
            for name in TABLE.names(found.route) {
                let captured = TABLE.capture(&found, name, host, path);
                assert!(captured.is_some_and(|captured| !captured.is_empty()), "{name} of {path:?} is empty");
            }
        }
    }
});
