//! Who is believed about a client, by table and for any headers.

use proptest::prelude::*;

use super::*;

const HOST: HeaderValue = HeaderValue::from_static("app.test");

fn trusted() -> Vec<IpNet> {
    ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()).to_vec()
}

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers
            .append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// The headers that go on, in the order of their names.
fn passed(peer: &str, https: bool, fields: &[(&str, &str)]) -> Vec<String> {
    let inbound = headers(fields);
    let forwarding = Forwarding::new(peer.parse().unwrap(), https, &trusted());
    let view = forwarding.view(&inbound, &trusted());
    let mut outbound = inbound.clone();
    inbound.keys().filter(|name| !forwarding.lets_pass(name)).for_each(|name| drop(outbound.remove(name)));
    forwarding.tell(&view, &HOST, &inbound, &mut outbound);
    let mut lines: Vec<_> =
        outbound.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines
}

#[test]
fn a_chain_is_read_from_the_right() {
    for (peer, fields, client) in [
        ("192.0.2.1", vec!["127.0.0.1"], "192.0.2.1"),
        ("10.0.0.1", vec![], "10.0.0.1"),
        ("10.0.0.1", vec!["192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", vec!["127.0.0.1, 192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", vec!["junk, 192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", vec!["192.0.2.7, 10.0.0.2,10.0.0.3"], "192.0.2.7"),
        ("10.0.0.1", vec!["192.0.2.7", "10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", vec!["192.0.2.6", "192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", vec!["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        ("10.0.0.1", vec!["192.0.2.7:1234"], "192.0.2.7"),
        ("10.0.0.1", vec!["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", vec!["[2001:db8::1]"], "2001:db8::1"),
        ("10.0.0.1", vec!["[2001:db8::1]:80"], "2001:db8::1"),
        ("10.0.0.1", vec!["::ffff:192.0.2.7, ::ffff:10.0.0.2"], "192.0.2.7"),
        ("::ffff:10.0.0.1", vec!["192.0.2.7"], "192.0.2.7"),
        ("fd00::1", vec!["192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", vec![",,;[::"], "10.0.0.1"),
        ("10.0.0.1", vec![""], "10.0.0.1"),
        ("10.0.0.1", vec!["192.0.2.7,"], "10.0.0.1"),
        ("10.0.0.1", vec!["192.0.2.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", vec!["192.0.2.7, junk, 10.0.0.2"], "10.0.0.1"),
        ("10.0.0.1", vec!["192.0.2.999"], "10.0.0.1"),
    ] {
        let fields: Vec<_> = fields.into_iter().map(|value| ("X-Forwarded-For", value)).collect();
        let view =
            Forwarding::new(peer.parse().unwrap(), false, &trusted()).view(&headers(&fields), &trusted());
        assert_eq!(view.address.to_string(), client, "{peer} with {fields:?}");
    }
}

#[test]
fn scheme_and_host_are_believed_of_proxies_alone() {
    let view = |peer: &str, https, fields: &[(&str, &str)]| {
        let view =
            Forwarding::new(peer.parse().unwrap(), https, &trusted()).view(&headers(fields), &trusted());
        (view.https, view.host.map(|host| host.to_str().unwrap().to_owned()))
    };
    let named = |host: &str| Some(host.to_owned());
    let proto = |value| ("X-Forwarded-Proto", value);
    let host = |value| ("X-Forwarded-Host", value);
    assert_eq!(view("192.0.2.1", false, &[proto("https"), host("other.test")]), (false, None));
    assert_eq!(
        view("10.0.0.1", false, &[proto("https"), host("other.test:1")]),
        (true, named("other.test:1"))
    );
    assert_eq!(view("10.0.0.1", true, &[proto("HTTP")]), (false, None));
    assert_eq!(view("10.0.0.1", true, &[proto("https,http")]), (true, None));
    assert_eq!(view("10.0.0.1", false, &[proto("https"), proto("https")]), (false, None));
    assert_eq!(view("10.0.0.1", false, &[proto("wss"), host("a, b")]), (false, None));
    assert_eq!(view("10.0.0.1", false, &[host("a"), host("b")]), (false, None));
    assert_eq!(view("10.0.0.1", false, &[("Forwarded", "for=1.1.1.1;proto=https;host=x")]), (false, None));
}

#[test]
fn what_a_stranger_says_is_replaced() {
    let said = [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X_Forwarded_For", "127.0.0.1"),
        ("X-Forwarded-Uri", "/public"),
        ("X-Forwarded-Client-Cert", "By=x"),
        ("X-Original-URL", "/public"),
        ("X-Rewrite-Url", "/public"),
        ("X-Envoy-Original-Path", "/public"),
        ("X-SSL-Client-Verify", "SUCCESS"),
        ("X-Client-Cert", "x"),
        ("Client-Cert", "x"),
        ("X-Real-Ip", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("Accept", "*/*"),
    ];
    assert_eq!(
        passed("192.0.2.1", true, &said),
        [
            "accept: */*",
            "forwarded: for=192.0.2.1;host=app.test;proto=https",
            "x-forwarded-for: 192.0.2.1",
            "x-forwarded-host: app.test",
            "x-forwarded-proto: https",
        ]
    );
}

#[test]
fn what_a_proxy_says_is_continued() {
    let said = [
        ("X-Forwarded-For", "127.0.0.1, [2001:db8::1]:443"),
        ("X-Forwarded-For", "10.0.0.2"),
        ("X_Forwarded_For", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "www.test:444"),
        ("X-Forwarded-Port", "444"),
        ("X-Forwarded-Uri", "/public"),
        ("X-Original-URL", "/public"),
        ("X-Real-Ip", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
    ];
    assert_eq!(
        passed("10.0.0.1", false, &said),
        [
            "forwarded: for=\"[2001:db8::1]\";host=\"www.test:444\";proto=https",
            "x-forwarded-for: 127.0.0.1, 2001:db8::1, 10.0.0.2, 10.0.0.1",
            "x-forwarded-host: www.test:444",
            "x-forwarded-port: 444",
            "x-forwarded-proto: https",
            "x-real-ip: 2001:db8::1",
        ]
    );
    assert!(
        passed("10.0.0.1", false, &[("X-Forwarded-For", "a, 192.0.2.7")])
            .contains(&"x-forwarded-for: 10.0.0.1".into())
    );
}

#[test]
fn forwarded_follows_the_host_of_each_request() {
    let forwarding = Forwarding::new("192.0.2.1".parse().unwrap(), false, &[]);
    for host in ["app.test", "other.test:8080", "app.test", "[::1]:80", "a\"b"] {
        let host = HeaderValue::from_static(host);
        let view = forwarding.view(&HeaderMap::new(), &[]);
        let mut headers = HeaderMap::new();
        forwarding.tell(&view, &host, &HeaderMap::new(), &mut headers);
        assert_eq!(headers[FORWARDED], forwarded_value(view.address, &host, false));
        assert_eq!(headers[&FORWARDED_HOST], host);
    }
    for (client, host, expected) in [
        ("192.0.2.1", "other.test:8080", "for=192.0.2.1;host=\"other.test:8080\";proto=http"),
        ("::1", "[::1]:80", "for=\"[::1]\";host=\"[::1]:80\";proto=http"),
        ("192.0.2.1", "a\"b", "for=192.0.2.1;proto=http"),
        ("192.0.2.1", "", "for=192.0.2.1;proto=http"),
    ] {
        let value = forwarded_value(client.parse().unwrap(), &HeaderValue::from_static(host), false);
        assert_eq!(value, expected);
    }
}

#[test]
fn only_forwarding_headers_are_taken_for_some() {
    for name in [
        "forwarded",
        "x-forwarded-for",
        "x_forwarded.proto",
        "x-forwarded",
        "x-real-ip",
        "x-original-url",
        "x-original-method",
        "x-rewrite-url",
        "x-http-method-override",
        "X_HTTP_Method_Override",
        "x-method-override",
        "x-envoy-internal",
        "x-ssl-client-cert",
        "ssl-client-verify",
        "x-client-cert",
        "x-client-certificate",
        "client-cert-chain",
        "true-client-ip",
        "cf-connecting-ip",
        "x-amzn-mtls-clientcert",
        "x-cluster-client-ip",
        "client_ip",
    ] {
        assert!(is_forwarding_header(&name.parse().unwrap()), "{name}");
    }
    for name in [
        "host",
        "content-type",
        "content-length",
        "cookie",
        "cache-control",
        "accept",
        "x-request-id",
        "x-api-key",
        "x-requested-with",
        "x-csrf-token",
        "from",
        "te",
        "trailer",
        "sec-fetch-mode",
        "x",
        "f",
        "c",
        "x-",
        "client-version",
        "x-custom",
        "x-hostname",
        "x-stytch-roles",
        "traceparent",
        "x-frame-options",
    ] {
        assert!(!is_forwarding_header(&name.parse().unwrap()), "{name}");
    }
}

fn field() -> impl Strategy<Value = (String, String)> {
    let name = prop::sample::select(vec![
        "x-forwarded-for",
        "x_forwarded_for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "forwarded",
        "x-real-ip",
        "x-original-url",
        "accept",
        "x-forwarded.host",
    ]);
    let value =
        prop_oneof!["[ -~]{0,20}", "(10\\.0\\.0\\.[0-9]|192\\.0\\.2\\.[0-9])(, ?10\\.0\\.0\\.[0-9]){0,2}"];
    (name.prop_map(str::to_owned), value)
}

proptest! {
    #[test]
    fn strangers_are_themselves(fields in prop::collection::vec(field(), 0..8), https: bool) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let others = fields.iter().filter(|(name, _)| *name == "accept").copied().collect::<Vec<_>>();
        prop_assert_eq!(passed("192.0.2.1", https, &fields), passed("192.0.2.1", https, &others));
    }

    #[test]
    fn there_is_one_of_each(fields in prop::collection::vec(field(), 0..8), peer in "(10\\.0\\.0|192\\.0\\.2)\\.1") {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let lines = passed(&peer, false, &fields);
        for name in ["forwarded: ", "x-forwarded-for: ", "x-forwarded-proto: http", "x-forwarded-host: "] {
            prop_assert_eq!(lines.iter().filter(|line| line.starts_with(name)).count(), 1);
        }
        prop_assert!(!lines.iter().any(|line| line.contains("_for") || line.contains(".host: ")));
        prop_assert!(lines.iter().any(|line| line.starts_with("x-forwarded-for: ") && line.ends_with(&peer)));
    }
}
