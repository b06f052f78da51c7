//! What proxies say, and what is made of it.

use proptest::prelude::*;

use super::*;

type Pairs<'a> = &'a [(&'static str, &'a str)];

fn parts(line: (&str, &str), pairs: Pairs<'_>) -> request::Parts {
    let mut request = Request::builder().method(line.0).uri(line.1);
    for (name, value) in pairs {
        request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    request.body(()).unwrap().into_parts().0
}

fn asked(pairs: Pairs<'_>) -> Result<Original, Code> {
    Original::read(&parts(("GET", "/_stytch/auth"), pairs), None).map_err(|rejection| rejection.code)
}

fn envoy(method: &str, below: &str, query: &str, pairs: Pairs<'_>) -> Result<Original, Code> {
    let uri = format!("/_stytch/auth/ext_authz{below}{query}");
    Original::read(&parts((method, &uri), pairs), Some(below)).map_err(|rejection| rejection.code)
}

fn original(method: &str, url: &str) -> Result<Original, Code> {
    asked(&[("x-original-method", method), ("x-original-url", url)])
}

fn forwarded(method: &str, proto: &str, host: &str, uri: &str) -> Result<Original, Code> {
    asked(&[
        ("x-forwarded-method", method),
        ("x-forwarded-proto", proto),
        ("x-forwarded-host", host),
        ("x-forwarded-uri", uri),
    ])
}

#[test]
fn each_dialect_says_the_same() {
    let expected = Original {
        method: Method::POST,
        https: Some(true),
        authority: HeaderValue::from_static("App.test:8443"),
        host: "app.test".to_owned(),
        path: "/a~b".to_owned(),
        encoded_slash: false,
        query: Some("x=1&y".to_owned()),
    };
    assert_eq!(original("POST", "https://App.test:8443/a%7eb?x=1&y").as_ref(), Ok(&expected));
    assert_eq!(forwarded("POST", "https", "App.test:8443", "/a%7eb?x=1&y").as_ref(), Ok(&expected));
    let host = [("host", "App.test:8443")];
    // The path below the prefix is normal already: the whole of it was read before.
    let expected = Original { https: None, ..expected };
    assert_eq!(envoy("POST", "/a~b", "?x=1&y", &host).as_ref(), Ok(&expected));
}

/// Headers a question comes with, each set of which names no request, or more than one.
#[test]
fn what_is_named_incompletely_or_twice_is_refused() {
    const METHOD: (&str, &str) = ("x-original-method", "GET");
    const URL: (&str, &str) = ("x-original-url", "http://app.test/public/x");
    const FORWARDED: [(&str, &str); 4] = [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "app.test"),
        ("x-forwarded-uri", "/public/x"),
    ];
    let refused = |pairs: Pairs<'_>| assert_eq!(asked(pairs), Err(Code::BadRequest), "{pairs:?}");
    refused(&[]);
    refused(&[METHOD]);
    refused(&[URL]);
    refused(&[METHOD, METHOD, URL]);
    refused(&[METHOD, URL, URL]);
    refused(&[METHOD, URL, ("x-original-url", "http://app.test/admin")]);
    for (index, one) in FORWARDED.into_iter().enumerate() {
        let mut some = FORWARDED.to_vec();
        some.remove(index);
        refused(&some);
        refused(&[&FORWARDED[..], &[one]].concat());
    }
    for other in [FORWARDED[0], FORWARDED[3]] {
        refused(&[METHOD, URL, other]);
    }
    for other in [METHOD, URL] {
        refused(&[&FORWARDED[..], &[other]].concat());
        assert_eq!(envoy("GET", "/x", "", &[("host", "app.test"), other]), Err(Code::BadRequest));
    }
    assert_eq!(envoy("GET", "/x", "", &[("host", "app.test"), FORWARDED[3]]), Err(Code::BadRequest));
    assert!(asked(&FORWARDED).is_ok());
    // What proxies further out said of the client names no other request.
    assert!(
        asked(&[
            METHOD,
            URL,
            FORWARDED[1],
            FORWARDED[2],
            ("forwarded", "for=192.0.2.1"),
            ("x-original-forwarded-for", "192.0.2.1")
        ])
        .is_ok()
    );
}

#[test]
fn what_names_another_target_still_is_refused() {
    for name in
        ["x-rewrite-url", "x-http-method-override", "x-envoy-original-path", "x_original_url", "x-host"]
    {
        let pairs =
            [("x-original-method", "GET"), ("x-original-url", "http://app.test/public/x"), (name, "/admin")];
        assert_eq!(asked(&pairs), Err(Code::BadRequest), "{name}");
    }
}

#[test]
fn malformed_targets_are_refused() {
    for url in [
        "",
        "/public/x",
        "//app.test/public/x",
        "app.test/public/x",
        "http:/app.test/x",
        "http:///x",
        "http://",
        "http://[::1",
        "http://[::1/x",
        "http://app.test:0/x",
        "http://app.test:99999/x",
        "http://user@app.test/x",
        "http://app.test,other.test/x",
        "ftp://app.test/x",
        "javascript:alert(1)",
        "http://app.test/x y",
        "http://app.test/x HTTP/1.1",
        "http://app.test/x#y",
        "http://app.test/\u{e4}",
        "http://app.test\\@other.test/x",
        "http://app.test/%zz",
        "*",
    ] {
        let refused = [Err(Code::BadRequest), Err(Code::AmbiguousPath)];
        assert!(refused.contains(&original("GET", url)), "{url:?}");
    }
    for uri in
        ["", "public", "*", "http://app.test/x", "?x", "/x y", "/x#y", "/\u{e4}", "/\t", "/%zz", "/%00"]
    {
        let refused = [Err(Code::BadRequest), Err(Code::AmbiguousPath)];
        assert!(refused.contains(&forwarded("GET", "http", "app.test", uri)), "{uri:?}");
    }
    for host in ["", "app.test/public", "app.test, other.test", "user@app.test", "[::1", "app test", "\u{e4}"]
    {
        assert_eq!(forwarded("GET", "http", host, "/x"), Err(Code::BadRequest), "{host:?}");
    }
    for proto in ["", "HTTP", "http, https", "ftp"] {
        assert_eq!(forwarded("GET", proto, "app.test", "/x"), Err(Code::BadRequest), "{proto:?}");
    }
}

#[test]
fn methods_are_held_to_the_same() {
    for (method, expected) in [
        ("get", Code::BadRequest),
        ("", Code::BadRequest),
        ("GET /public", Code::BadRequest),
        ("GET, POST", Code::BadRequest),
        ("TRACE", Code::MethodNotAllowed),
        ("TRACK", Code::MethodNotAllowed),
    ] {
        assert_eq!(original(method, "http://app.test/x"), Err(expected), "{method:?}");
        assert_eq!(forwarded(method, "http", "app.test", "/x"), Err(expected), "{method:?}");
    }
    for url in ["http://app.test/x", "app.test:443"] {
        assert!(original("CONNECT", url).is_err());
    }
}

/// ATTACKS.md section 4: what the proxy door refuses is refused here.
#[test]
fn paths_with_two_readings_are_refused() {
    for path in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "//admin",
        "/public/..;/admin",
        "/a%5cb",
        "/%252e%252e/x",
    ] {
        assert_eq!(original("GET", &format!("http://app.test{path}")), Err(Code::AmbiguousPath), "{path}");
        assert_eq!(forwarded("GET", "http", "app.test", path), Err(Code::AmbiguousPath), "{path}");
    }
}

#[test]
fn a_websocket_handshake_is_known_without_its_upgrade() {
    let original = original("GET", "http://app.test/ws").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("sec-websocket-key", HeaderValue::from_static("x"));
    headers.insert(header::HOST, HeaderValue::from_static("gateway:8080"));
    original.restore(&mut headers);
    assert_eq!(headers[header::UPGRADE], "websocket");
    assert_eq!(headers[header::HOST], "app.test");
}

proptest! {
    /// Whatever is told is either refused or read as a request that was sent would be.
    #[test]
    fn what_is_told_reads_as_what_is_sent(path in "/[a-zA-Z0-9%./;?#\\\\ _~-]{0,24}") {
        let told = forwarded("GET", "http", "app.test", &path);
        prop_assert_eq!(&original("GET", &format!("http://app.test{path}")), &told);
        let head = format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n");
        let framed = Framing::new(1 << 16, 10).judge(head.as_bytes()).passed == head.len();
        let sent = Request::builder().uri(path.as_str()).header("host", "app.test").body(());
        let sent = sent.ok().filter(|_| framed).map(|request| request.into_parts().0);
        let sent = sent.as_ref().and_then(|request| target::read(&request.method, &request.uri, &request.headers).ok());
        match (told, sent) {
            (Ok(told), Some(sent)) => {
                prop_assert_eq!(told.path, sent.path);
                prop_assert_eq!(told.query.as_deref(), sent.query);
            }
            (told, sent) => prop_assert!(told.is_err() && sent.is_none()),
        }
    }
}
