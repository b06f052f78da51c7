//! What a path becomes, by table and for any path.

use proptest::prelude::*;

use super::*;

fn normal(path: &str) -> String {
    normalise(path).unwrap_or_else(|refused| panic!("{path}: {refused}")).path.into_owned()
}

#[test]
fn clean_paths_are_not_copied() {
    for path in [
        "/",
        "/admin",
        "/admin/",
        "/a/b-c/d_e/f~g/1.2.3",
        "/.well-known/x",
        "/...",
        "/a/..b",
        "/a/b..",
        "/a;x=1/b",
        "/a|b/[c]",
        "/@me/a:b,c=d+e&f",
        "/caf%C3%A9",
        "/a%20b",
        "/100%25",
        "/a%40b",
        "/x%2520y",
        "/save-20%25defense",
    ] {
        let normal = normalise(path).unwrap_or_else(|refused| panic!("{path}: {refused}"));
        assert!(matches!(normal.path, Cow::Borrowed(same) if same == path), "{path}");
        assert!(!normal.encoded_slash, "{path}");
    }
}

#[test]
fn escapes_have_one_spelling() {
    for (path, expected) in [
        ("/%61dmin", "/admin"),
        ("/adm%69n", "/admin"),
        ("/a%2db", "/a-b"),
        ("/a%7E%5f", "/a~_"),
        ("/a%c3%a9", "/a%C3%A9"),
        ("/a%3ab", "/a%3Ab"),
        ("/1%2e2", "/1.2"),
        ("/%2ehidden", "/.hidden"),
    ] {
        assert_eq!(normal(path), expected, "{path}");
    }
}

#[test]
fn an_escaped_slash_is_kept_and_told() {
    for (path, expected) in [("/a%2fb", "/a%2Fb"), ("/https%3A%2F%2Fx", "/https%3A%2F%2Fx")] {
        let normal = normalise(path).unwrap();
        assert_eq!(normal.path, expected);
        assert!(normal.encoded_slash);
    }
}

#[test]
fn what_servers_read_differently_is_refused() {
    for path in [
        "",
        "*",
        "admin/x",
        "http:http://internal/admin",
        "/public/../admin",
        "/public/..",
        "/..",
        "/.",
        "/./",
        "/a/./b",
        "/public/%2e%2e/admin",
        "/public/.%2E/admin",
        "/public/%2e./admin",
        "/%2e",
        "/public/..;/admin",
        "/public/..;x=1/admin",
        "/public/%2e%2e%3b/admin",
        "/public/.;/admin",
        "/public/..%20/admin",
        "/public/%20../admin",
        "//admin",
        "/public//../admin",
        "/a//",
        "/public%2f..%2fadmin",
        "/public%2F..",
        "/public%5c..%5cadmin",
        "/public\\..\\admin",
        "/a%00b",
        "/a%0d%0ab",
        "/a\tb",
        "/a\u{7f}",
        "/a%7f",
        "/a%C2%85",
        "/a b",
        "/caf\u{e9}",
        "/%zz",
        "/%u0061",
        "/%2",
        "/%",
        "/a%",
        "/%c0%ae%c0%ae/admin",
        "/%ff",
        "/%e0%80%af",
        "/org/%20/settings",
        "/org/%20%20",
        "/org/%C2%A0/x",
        "/%252e%252e/admin",
        "/%252e",
        "/a%252fb",
        "/a%255cb",
        "/a%2500",
        "/a%25252e%25252e%25252f",
        "/%252%65/x",
        "/%252%2565/x",
        "/..%253b/x",
        "/%25c0%25ae",
        "/%25u002e",
        "/a%ef%bc%8e",
        "/a%EF%BC%8F",
        "/a%EF%BC%BC",
        "/%25EF%25BC%258E",
        "/a?b",
        "/public#/../admin",
    ] {
        assert!(normalise(path).is_err(), "{path:?} passed");
    }
    assert!(normalise(&format!("/{}", "%25".repeat(3000))).is_ok());
    assert!(normalise(&format!("/%{}2e", "25".repeat(3000))).is_err());
    assert!(normalise(&"/..".repeat(3000)).is_err());
    assert!(normalise(&"/a".repeat(10_000)).is_ok());
}

#[test]
fn a_prefix_is_cut_at_a_segment() {
    for (path, prefix, left) in [
        ("/api", "/api", "/"),
        ("/api/", "/api", "/"),
        ("/api/x/y", "/api", "/x/y"),
        ("/api/x", "/api/", "/x"),
        ("/api/v1/x", "/api/v1", "/x"),
        ("/%40api/x", "/@api", "/x"),
        ("/x", "/", "/x"),
    ] {
        assert_eq!(cut_prefix(path, prefix), Ok(left), "{path} without {prefix}");
    }
    for (path, prefix) in [("/apix", "/api"), ("/ap", "/api"), ("/", "/api"), ("/api//x", "/api")] {
        assert!(cut_prefix(path, prefix).is_err(), "{path} without {prefix}");
    }
}

/// Everything a chain of lax servers might make of a path.
fn every_decoding(path: &str) -> Vec<Vec<u8>> {
    let mut all = vec![path.as_bytes().to_vec()];
    loop {
        let last = all.last().unwrap();
        let next = decode(last);
        if next == *last {
            return all;
        }
        all.push(next);
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[a-zA-Z0-9]{1,3}",
        6 => Just("/".to_owned()),
        3 => Just(".".to_owned()),
        2 => prop::sample::select(vec![";", " ", "\\", "%", "25", "2e", "2F", "5c", "\u{ff0e}", "#", "?", "\0"])
            .prop_map(str::to_owned),
        4 => "%[0-9a-fA-F]{2}",
        4 => "%(25){0,3}(2[eEfF]|5[cC]|00|20|3[bB])",
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        let _ = normalise(&text);
    }

    #[test]
    fn normalising_again_changes_nothing(path in pieces()) {
        if let Ok(first) = normalise(&path) {
            let second = normalise(&first.path);
            prop_assert_eq!(second, Ok(first.clone()));
            prop_assert_eq!(decode(first.path.as_bytes()), decode(path.as_bytes()));
        }
    }

    #[test]
    fn nothing_dangerous_survives_any_number_of_decodings(path in pieces()) {
        if let Ok(normal) = normalise(&path) {
            let slashes = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'/').count();
            let readings = every_decoding(&normal.path);
            let once = readings.get(1).unwrap_or(&readings[0]);
            for reading in &readings {
                prop_assert!(!reading.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\'));
                prop_assert!(slashes(reading) <= slashes(once));
                for segment in reading.split(|byte| *byte == b'/') {
                    let name = segment.split(|byte| *byte == b';').next().unwrap();
                    prop_assert!(name != b"." && name != b"..", "{}", normal.path);
                }
            }
            prop_assert!(normal.path.starts_with('/') && !normal.path.contains("//"));
            prop_assert!(normal.path.is_ascii());
            prop_assert_eq!(normal.encoded_slash, normal.path.contains("%2F"));
        }
    }

    #[test]
    fn what_is_left_of_a_prefix_is_normal(path in pieces(), prefix in "(/[a-z]{1,2}){0,2}/?") {
        if let Ok(left) = normalise(&path).and_then(|normal| {
            cut_prefix(&normal.path, &prefix).map(str::to_owned)
        }) {
            prop_assert_eq!(normal(&left), left);
        }
    }
}
