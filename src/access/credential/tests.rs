//! What is found in a request and what is withheld from it.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{Cookies, SameSite};

const OPAQUE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-_";
const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb=";

fn settings() -> config::Session {
    config::Session {
        cookie: "stytch_session".into(),
        jwt_cookie: "stytch_session_jwt".into(),
        header: Some("x-token".parse().unwrap()),
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

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// What is found, in order, or the code of the refusal.
fn found(pairs: &[(&'static str, &str)], query: Option<&str>) -> Result<Vec<(Source, String)>, Code> {
    let headers = headers(pairs);
    let presented = find(&settings(), &headers, query).map_err(|rejection| rejection.code)?;
    let told = |credential: &Credential<'_>| {
        let form = if matches!(credential.token, Token::Jwt(_)) { "jwt" } else { "opaque" };
        (credential.source, format!("{form} {}", String::from_utf8_lossy(credential.token.as_bytes())))
    };
    Ok(presented.iter().map(told).collect())
}

fn cookies_of(value: &str) -> Result<Vec<String>, Code> {
    Ok(found(&[("cookie", value)], None)?.into_iter().map(|(_, token)| token).collect())
}

fn jwts(tokens: &[&str]) -> Result<Vec<String>, Code> {
    Ok(tokens.iter().map(|token| format!("jwt {token}")).collect())
}

#[test]
fn sources_come_in_their_order() {
    let cookie = format!("stytch_session={OPAQUE}; stytch_session_jwt=c.c.c");
    let pairs = [("cookie", cookie.as_str()), ("x-token", "b.b.b"), ("authorization", "Bearer a.a.a")];
    let expected = [
        (Source::Bearer, "jwt a.a.a".to_owned()),
        (Source::Header, "jwt b.b.b".to_owned()),
        (Source::Cookie, "jwt c.c.c".to_owned()),
        (Source::Cookie, format!("opaque {OPAQUE}")),
        (Source::Query, format!("opaque {OTHER}")),
    ];
    assert_eq!(found(&pairs, Some(&format!("x=1&token={OTHER}&y"))), Ok(expected.to_vec()));
    assert_eq!(found(&pairs, None).unwrap().len(), 4, "a query counts only where it is given");
    assert_eq!(found(&[], None), Ok(Vec::new()));
}

#[test]
fn sources_that_are_off_are_not_read() {
    let off = config::Session { header: None, bearer: false, websocket_query: None, ..settings() };
    let headers = headers(&[("authorization", "Bearer !"), ("x-token", "!")]);
    assert!(find(&off, &headers, Some("token=!")).unwrap().is_empty());
}

#[test]
fn bearer_is_a_scheme_in_any_case() {
    for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c", "Bearer\ta.b.c", "Bearer \t a.b.c"] {
        let found = found(&[("authorization", value)], None);
        assert_eq!(found, Ok(vec![(Source::Bearer, "jwt a.b.c".to_owned())]), "{value:?}");
    }
    for value in ["Basic YTpi", "Bearertoken a.b.c", "Bear a.b.c", "DPoP a.b.c", "", "Bearer,a.b.c"] {
        assert_eq!(found(&[("authorization", value)], None), Ok(Vec::new()), "{value:?}");
    }
    for value in ["Bearer", "Bearer  ", "Bearer short", "Bearer a b.c"] {
        let refused = found(&[("authorization", value)], None);
        assert!(refused == Err(Code::InvalidCredential) || value.contains('.'), "{value:?}");
    }
}

#[test]
fn a_malformed_credential_is_not_skipped_over() {
    let long = "x".repeat(OPAQUE_LENGTH - 1);
    let padded = format!("{}==", "x".repeat(OPAQUE_LENGTH - 2));
    let jwt = format!("a.{}", "x".repeat(MAX_JWT));
    for value in ["", "x", &long, &format!("{long}xx"), &padded, &jwt, "\"quoted\"", "\u{e9}"] {
        let cookie = format!("stytch_session_jwt=a.b.c; stytch_session={value}");
        assert_eq!(cookies_of(&cookie), Err(Code::InvalidCredential), "{value:?}");
        let refused = found(&[("authorization", "Bearer a.b.c"), ("x-token", value)], None);
        assert_eq!(refused, Err(Code::InvalidCredential), "{value:?}");
        let refused = found(&[], Some(&format!("token={value}")));
        assert_eq!(refused, Err(Code::InvalidCredential), "{value:?}");
    }
    assert_eq!(found(&[], Some("token")), Err(Code::InvalidCredential));
    let latin = HeaderValue::from_bytes(b"stytch_session_jwt=a.\xff.c").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("cookie", latin);
    assert!(find(&settings(), &headers, None).is_err());
}

#[test]
fn cookies_have_exactly_their_names() {
    for (cookie, expected) in [
        ("stytch_session_jwt=a.b.c", jwts(&["a.b.c"])),
        ("x=1;stytch_session_jwt=a.b.c;y=2", jwts(&["a.b.c"])),
        (";; ; stytch_session_jwt=a.b.c", jwts(&["a.b.c"])),
        ("stytch_session_jwt=a.b=c", jwts(&["a.b=c"])),
        // A name that only a lenient parser would take for ours proves nothing.
        ("Stytch_Session_Jwt=a.b.c", jwts(&[])),
        ("stytch_session_jwt =a.b.c", jwts(&[])),
        ("  stytch_session_jwt=a.b.c", jwts(&[])),
        ("\tstytch_session_jwt=a.b.c", jwts(&[])),
        ("stytch_session_jwt", jwts(&[])),
        ("xstytch_session_jwt=a.b.c", jwts(&[])),
        ("stytch_session_jwtx=a.b.c", jwts(&[])),
        ("a=\"; stytch_session_jwt=a.b.c\"", jwts(&["a.b.c\""])),
        ("a=1, stytch_session_jwt=a.b.c", jwts(&[])),
    ] {
        assert_eq!(cookies_of(cookie), expected, "{cookie}");
    }
}

#[test]
fn the_same_twice_is_once_and_more_than_four_are_too_many() {
    let cookie = |count: usize| {
        let each = |number| format!("stytch_session_jwt=a.{number}.c");
        (0..count).map(each).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(cookies_of("stytch_session_jwt=a.b.c; stytch_session_jwt=a.b.c"), jwts(&["a.b.c"]));
    assert_eq!(cookies_of(&format!("stytch_session={OPAQUE}; stytch_session={OPAQUE}")).unwrap().len(), 1);
    assert_eq!(cookies_of(&cookie(4)).unwrap().len(), 4);
    assert_eq!(found(&[("cookie", &cookie(4)), ("cookie", &cookie(4))], None).unwrap().len(), 4);
    assert_eq!(cookies_of(&cookie(9)), Err(Code::AmbiguousCredential));
    let opaque = |number: usize| format!("stytch_session={number:x<44}");
    let many: Vec<_> = (0..5).map(opaque).collect();
    assert_eq!(cookies_of(&many[..4].join("; ")).unwrap().len(), 4);
    assert_eq!(cookies_of(&many.join("; ")), Err(Code::AmbiguousCredential));
    let bearers: Vec<_> = (0..5).map(|number| format!("Bearer a.{number}.c")).collect();
    let pairs: Vec<_> = bearers.iter().map(|value| ("authorization", value.as_str())).collect();
    assert_eq!(found(&pairs[..4], None).unwrap().len(), 4);
    assert_eq!(found(&pairs, None), Err(Code::AmbiguousCredential));
}

#[test]
fn too_many_cookies_are_not_looked_at() {
    assert!(cookies_of(&"a=b; ".repeat(MAX_COOKIES - 1)).is_ok());
    assert_eq!(cookies_of(&"a=b; ".repeat(MAX_COOKIES + 1)), Err(Code::HeaderTooLarge));
}

fn withheld(pairs: &[(&'static str, &str)], bearer_is_ours: bool) -> Vec<(String, String)> {
    let mut headers = headers(pairs);
    withhold(&settings(), &mut headers, bearer_is_ours);
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

#[test]
fn what_proves_a_session_is_withheld() {
    for (cookie, left) in [
        ("a=1; stytch_session=x; b=2", Some("a=1; b=2")),
        ("stytch_session=x", None),
        ("stytch_session_jwt=x; stytch_session=y;", None),
        ("a=1", Some("a=1")),
        ("a=1;  b=2", Some("a=1;  b=2")),
        // Every name that a lenient parser could take for ours.
        ("a=1; Stytch_Session=x", Some("a=1")),
        ("a=1;\tstytch_session=x", Some("a=1")),
        ("a=1; stytch_session =x", Some("a=1")),
        ("a=1; stytch_session", Some("a=1")),
        ("xstytch_session=x", Some("xstytch_session=x")),
    ] {
        let expected: Vec<_> = left.map(|left| ("cookie".to_owned(), left.to_owned())).into_iter().collect();
        assert_eq!(withheld(&[("cookie", cookie)], true), expected, "{cookie}");
    }
    let two = withheld(&[("cookie", "a=1; stytch_session=x"), ("cookie", "b=2")], true);
    assert_eq!(two, [("cookie".to_owned(), "a=1; b=2".to_owned())]);
    assert!(withheld(&[("x-token", "x"), ("x-token", "y")], false).is_empty());
}

#[test]
fn a_bearer_credential_is_withheld_where_it_is_ours() {
    for value in ["Bearer a.b.c", "bearer x", "Bearer\tx", "Bearer"] {
        assert!(withheld(&[("authorization", value)], true).is_empty(), "{value:?}");
        assert_eq!(withheld(&[("authorization", value)], false).len(), 1, "{value:?}");
    }
    let both = withheld(&[("authorization", "Basic YTpi"), ("authorization", "Bearer x")], true);
    assert_eq!(both, [("authorization".to_owned(), "Basic YTpi".to_owned())]);
}

#[test]
fn the_query_parameter_is_withheld() {
    for (query, left) in [
        ("token=x", ""),
        ("a=1&token=x&b", "a=1&b"),
        ("token=x&token=y", ""),
        ("token", ""),
        ("tokens=x&TOKEN=y", "tokens=x&TOKEN=y"),
        ("a=token=x", "a=token=x"),
    ] {
        assert_eq!(withhold_query("token", query), left, "{query}");
    }
}

#[test]
fn what_could_be_ours_on_a_public_route() {
    use base64::Engine as _;
    let issuers = ["stytch.com/project-test-1".to_owned()];
    let token =
        |claims: &str| format!("Bearer e30.{}.x", base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(claims));
    for (value, ours) in [
        (token(r#"{"iss":"stytch.com/project-test-1"}"#), true),
        (token(r#"{"iss":"https://other.example"}"#), false),
        (token(r#"{"iss":["stytch.com/project-test-1"]}"#), false),
        (format!("Bearer {OPAQUE}"), true),
        ("Bearer an-application-token".to_owned(), false),
        ("Basic YTpi".to_owned(), false),
    ] {
        assert_eq!(could_be_ours(&headers(&[("authorization", &value)]), &issuers), ours, "{value}");
    }
}

proptest! {
    /// What was found is no longer there after withholding.
    #[test]
    fn nothing_that_is_read_is_left(
        cookie in "(( |\t)?(stytch_session|stytch_session_jwt|Stytch_Session|a) ?=?[a-c.]{0,4};? ?){0,4}",
        bearer in "(Bearer|bearer|Basic)[ \t]?[a-c.]{0,4}",
    ) {
        let mut headers = headers(&[("cookie", &cookie), ("authorization", &bearer), ("x-token", "a.b.c")]);
        withhold(&settings(), &mut headers, true);
        let left = find(&settings(), &headers, None).map(|presented| presented.len());
        prop_assert_eq!(left.map_err(|rejection| rejection.reason), Ok(0));
        prop_assert!(!names_own_cookie(&settings(), &headers));
    }

    #[test]
    fn any_bytes_are_answered(cookie in any::<Vec<u8>>(), query in any::<String>()) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&cookie) {
            headers.insert("cookie", value);
        }
        let _ = find(&settings(), &headers, Some(&query));
        withhold(&settings(), &mut headers, true);
    }
}
