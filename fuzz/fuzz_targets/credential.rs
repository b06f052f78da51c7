//! Any headers: whatever is read as a credential is gone once it was withheld.
//!
//! Each line is a header: `a` Authorization, `c` Cookie, `x` the configured one, and its value;
//! `?` is the query.

#![no_main]

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use stytch_gateway::access::credential;
use stytch_gateway::config::{Cookies, SameSite, Session};

fn settings() -> Session {
    Session {
        cookie: "stytch_session".into(),
        jwt_cookie: "stytch_session_jwt".into(),
        header: Some(http::HeaderName::from_static("x-token")),
        bearer: true,
        websocket_query: Some("token".into()),
        max_staleness: Duration::ZERO,
        refresh_ahead: false,
        sliding: false,
        outage_grace: Duration::ZERO,
        negative_ttl: Duration::ZERO,
        leeway: Duration::ZERO,
        cookies: Cookies { domain: None, http_only: true, secure: true, same_site: SameSite::Lax },
        capacity: 1,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (mut headers, mut query) = (HeaderMap::new(), None);
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some((kind, value)) = line.split_first() else { continue };
        let name = match kind {
            b'a' => "authorization",
            b'c' => "cookie",
            b'x' => "x-token",
            _ => {
                query = std::str::from_utf8(value).ok();
                continue;
            }
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let settings = settings();
    let _ = credential::find(&settings, &headers, query);
    let _ = credential::could_be_ours(&headers, &["stytch.com/project-test-1".to_owned()]);
    credential::withhold(&settings, &mut headers, true);
    let query = query.map(|query| credential::withhold_query("token", query));
    match credential::find(&settings, &headers, query.as_deref()) {
        Ok(presented) => assert!(presented.is_empty(), "a credential is left"),
        Err(rejection) => assert_eq!(rejection.reason, "more cookies than are looked at"),
    }
    assert!(!credential::names_own_cookie(&settings, &headers));
});
