//! Which route a request is for, by table and beside a plain search.

use proptest::prelude::*;

use super::*;

/// A route as a test writes it: methods (`""` for all), host, path.
type Written<'a> = (&'a str, &'a str, &'a str);

struct World {
    patterns: Vec<(HostPattern, PathPattern, Option<Vec<Method>>)>,
}

impl World {
    fn new(routes: &[Written<'_>]) -> Self {
        let patterns = routes.iter().map(|(methods, host, path)| {
            let methods =
                methods.split_whitespace().map(|method| method.parse().unwrap()).collect::<Vec<_>>();
            (
                host.parse().unwrap_or_else(|error| panic!("{host}: {error}")),
                path.parse().unwrap_or_else(|error| panic!("{path}: {error}")),
                (!methods.is_empty()).then_some(methods),
            )
        });
        Self { patterns: patterns.collect() }
    }

    fn table(&self) -> Result<Table, Vec<Tie>> {
        Table::build(self.patterns.iter().map(|(host, path, methods)| (host, path, methods.as_deref())))
    }
}

fn table(routes: &[Written<'_>]) -> Table {
    World::new(routes).table().unwrap()
}

/// The path pattern of the route that a GET finds, `-` for none, `?` for ambiguous.
fn found<'a>(routes: &[Written<'a>], method: &str, host: &str, path: &str) -> &'a str {
    match table(routes).find(host, &method.parse().unwrap(), path) {
        Found::Route(found) => routes[found.route].2,
        Found::None => "-",
        Found::Ambiguous => "?",
    }
}

#[test]
fn paths_match_whole_segments() {
    let matches =
        |pattern: &str, path: &str| found(&[("", "*", pattern)], "GET", "app.test", path) == pattern;
    for (pattern, yes, no) in [
        ("/*", vec!["/", "/a", "/a/", "/a/b"], vec![]),
        ("/", vec!["/"], vec!["/a"]),
        ("/admin", vec!["/admin"], vec!["/", "/admin/", "/admin/x", "/adminx", "/Admin"]),
        ("/admin/", vec!["/admin/"], vec!["/admin", "/admin/x"]),
        ("/admin/*", vec!["/admin", "/admin/", "/admin/x", "/admin/x/y/"], vec!["/", "/adminx", "/admi"]),
        ("/org/{slug}", vec!["/org/a", "/org/a%2Fb"], vec!["/org", "/org/", "/org/a/", "/org/a/b"]),
        ("/org/{slug}/*", vec!["/org/a", "/org/a/", "/org/a/b/c"], vec!["/org", "/org/"]),
        ("/{a}/x/{b}", vec!["/1/x/2"], vec!["/1/y/2", "/1/x", "/1/x/"]),
        ("/@me:x", vec!["/@me:x", "/%40me%3Ax"], vec!["/me:x"]),
        ("/caf%C3%A9/*", vec!["/caf%C3%A9/x"], vec!["/cafe"]),
    ] {
        for path in yes {
            assert!(matches(pattern, path), "{pattern} should match {path}");
        }
        for path in no {
            assert!(!matches(pattern, path), "{pattern} should not match {path}");
        }
    }
}

#[test]
fn the_most_specific_path_wins() {
    let routes = [
        ("", "*", "/*"),
        ("", "*", "/a/*"),
        ("", "*", "/a/b/*"),
        ("", "*", "/a/b"),
        ("", "*", "/a/{x}"),
        ("", "*", "/a/{x}/c"),
        ("", "*", "/{y}/b/d"),
        ("", "*", "/a/b/{z}/e"),
    ];
    for (path, expected) in [
        ("/", "/*"),
        ("/z", "/*"),
        ("/a", "/a/*"),
        ("/a/", "/a/*"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b/*"),
        ("/a/q", "/a/{x}"),
        ("/a/b/c", "/a/b/*"),
        ("/a/q/c", "/a/{x}/c"),
        ("/a/q/d", "/a/*"),
        ("/q/b/d", "/{y}/b/d"),
        ("/a/b/d", "/a/b/*"),
        ("/a/b/1/e", "/a/b/{z}/e"),
        ("/a/b/1/f", "/a/b/*"),
        ("/q/b", "/*"),
    ] {
        assert_eq!(found(&routes, "GET", "app.test", path), expected, "{path}");
        let mut reversed = routes;
        reversed.reverse();
        assert_eq!(found(&reversed, "GET", "app.test", path), expected, "{path}, reversed");
    }
}

#[test]
fn the_most_specific_host_wins_before_the_path() {
    let routes = [
        ("", "*", "/any/*"),
        ("", "*", "/*"),
        ("", "app.test", "/exact/*"),
        ("", "{label}.test", "/label/*"),
        ("", "{label}.app.test", "/deep/*"),
        ("", "{a}.{b}.test", "/two/*"),
        ("", "x.{b}.test", "/right/*"),
        ("", "[::1]", "/v6/*"),
    ];
    for (host, path, expected) in [
        ("app.test", "/exact/x", "/exact/*"),
        ("app.test", "/label/x", "/label/*"),
        ("app.test", "/any/x", "/any/*"),
        ("app.test", "/", "/*"),
        ("other.test", "/exact/x", "/*"),
        ("other.test", "/label/x", "/label/*"),
        ("org.app.test", "/deep/x", "/deep/*"),
        ("org.app.test", "/two/x", "/two/*"),
        ("x.y.test", "/right/x", "/right/*"),
        ("x.app.test", "/two/x", "/two/*"),
        ("a.b.c.test", "/two/x", "/*"),
        (".test", "/label/x", "/*"),
        ("[::1]", "/v6/x", "/v6/*"),
        ("[::1]", "/label/x", "/*"),
    ] {
        assert_eq!(found(&routes, "GET", host, path), expected, "{host}{path}");
    }
    let nested = [("", "{a}.{b}.test", "/*"), ("", "{a}.app.test", "/{x}/*"), ("", "x.{b}.test", "/{x}")];
    assert_eq!(found(&nested, "GET", "x.app.test", "/1"), "/{x}/*", "the label on the right counts more");
}

#[test]
fn methods_narrow_a_route() {
    let routes = [("", "*", "/a"), ("GET", "*", "/a"), ("POST PUT", "*", "/b"), ("", "*", "/*")];
    let route = |method: &str, path: &str| match table(&routes).find("h", &method.parse().unwrap(), path) {
        Found::Route(found) => Some(found.route),
        _ => None,
    };
    for (method, path, expected) in [
        ("GET", "/a", 1),
        ("HEAD", "/a", 1),
        ("POST", "/a", 0),
        ("get", "/a", 0),
        ("POST", "/b", 2),
        ("PUT", "/b", 2),
        ("GET", "/b", 3),
        ("HEAD", "/b", 3),
    ] {
        assert_eq!(route(method, path), Some(expected), "{method} {path}");
    }
    assert_eq!(found(&[("GET", "*", "/a")], "POST", "h", "/a"), "-");
}

#[test]
fn ties_are_errors() {
    let ties = |routes: &[Written<'_>]| World::new(routes).table().err().unwrap_or_default();
    for pair in [
        [("", "*", "/a"), ("", "*", "/a")],
        [("", "*", "/{a}/x"), ("", "*", "/{b}/x")],
        [("", "*", "/a/*"), ("", "*", "/a/*")],
        [("", "{a}.test", "/"), ("", "{b}.test", "/")],
        [("GET POST", "h", "/a"), ("POST", "h", "/a")],
        [("GET", "h", "/a"), ("HEAD", "h", "/a")],
        [("", "*", "/@a"), ("", "*", "/%40a")],
    ] {
        assert_eq!(ties(&pair), [Tie { first: 0, second: 1 }], "{pair:?}");
    }
    for pair in [
        [("", "*", "/a"), ("", "*", "/a/*")],
        [("", "*", "/a"), ("", "*", "/a/")],
        [("", "*", "/a"), ("", "h", "/a")],
        [("", "*", "/a"), ("GET", "*", "/a")],
        [("POST", "*", "/a"), ("GET", "*", "/a")],
        [("", "{a}.x.test", "/"), ("", "y.{a}.test", "/")],
    ] {
        assert_eq!(ties(&pair), [], "{pair:?}");
    }
    let three = [("", "*", "/a"), ("", "*", "/a"), ("", "*", "/a")];
    assert_eq!(ties(&three).len(), 3);
}

#[test]
fn captures_are_read_by_name() {
    let routes = [("", "{org}.app.test", "/u/{user}/{doc}/*"), ("", "*", "/u/{user}/list")];
    let table = table(&routes);
    let get = |host: &'static str, path: &'static str, name: &str| {
        let Found::Route(found) = table.find(host, &Method::GET, path) else { panic!("{path}") };
        table.capture(&found, name, host, path)
    };
    assert_eq!(get("acme.app.test", "/u/ana/7/x", "org"), Some("acme"));
    assert_eq!(get("acme.app.test", "/u/ana/7/x", "user"), Some("ana"));
    assert_eq!(get("acme.app.test", "/u/ana/7/x", "doc"), Some("7"));
    assert_eq!(get("acme.app.test", "/u/ana/7/x", "other"), None);
    assert_eq!(get("acme.app.test", "/u/ana/list", "doc"), Some("list"));
    assert_eq!(get("other.test", "/u/ana/list", "user"), Some("ana"));
    assert_eq!(get("other.test", "/u/ana/list", "org"), None);
    assert_eq!(get("other.test", "/u/a%2Fb/list", "user"), Some("a%2Fb"));
}

#[test]
fn parameters_may_not_change_the_answer() {
    let routes = [
        ("", "*", "/admin/*"),
        ("", "*", "/org/{slug}/*"),
        ("", "*", "/public/*"),
        ("", "*", "/public/exact"),
        ("GET", "*", "/only"),
    ];
    for (path, expected) in [
        ("/admin;x=1/panel", "?"),
        ("/admin;x", "?"),
        ("/admin%3Bx/panel", "?"),
        ("/;/admin", "?"),
        ("/public/;/admin", "?"),
        ("/only;x", "?"),
        ("/org/acme;x/y", "?"),
        ("/org/acme%3Bx", "?"),
        ("/org/;x/y", "?"),
        ("/public/exact;v=2", "?"),
        ("/public/a;v=2", "/public/*"),
        ("/public/a%3Bv=2/b;c", "/public/*"),
        ("/admin/x;jsessionid=1", "/admin/*"),
        ("/admin/;x", "?"),
        ("/org/acme/x;y", "/org/{slug}/*"),
        ("/other;x", "-"),
    ] {
        assert_eq!(found(&routes, "GET", "h", path), expected, "{path}");
    }
}

#[test]
fn patterns_print_as_written_and_say_what_is_wrong() {
    for text in ["*", "app.test", "{a}.app.test", "x.{a-b}.{c_1}.test", "[::1]", "localhost"] {
        assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), text);
    }
    for text in ["/", "/*", "/a", "/a/", "/a/*", "/{a}/b/{c}/*", "/.well-known/x", "/a%2Fb"] {
        assert_eq!(text.parse::<PathPattern>().unwrap().to_string(), text);
    }
    for (text, hint) in [
        ("", "leave `host` out"),
        ("App.test", "write `app.test`"),
        ("app.test.", "write `app.test`"),
        ("{Org}.App.test", "write `{Org}.app.test`"),
        ("app.test:8080", "write `app.test`"),
        ("{org}.app.test:8080", "write `{org}.app.test`"),
        ("*.app.test", "{tenant}.example.com"),
        ("{a}{b}.test", "whole"),
        ("x{a}.test", "whole"),
        ("{a.test", "whole"),
        ("{}.test", "not a name"),
        ("{1}.test", "not a name"),
        ("{a}.{a}.test", "twice"),
        ("{a}.{b}.{c}.{d}.{e}", "at most 4"),
        ("a b", "never match"),
        ("{a}..test", "never match"),
        ("[0::1]", "write `[::1]`"),
    ] {
        let error = text.parse::<HostPattern>().unwrap_err().to_string();
        assert!(error.contains(hint), "{text}: {error}");
    }
    for (text, hint) in [
        ("", "write `/*`"),
        ("admin", "write `/admin`"),
        ("/a/**", "alone as the last"),
        ("/a*", "alone as the last"),
        ("/*/a", "alone as the last"),
        ("/a//b", "empty"),
        ("/a//*", "empty"),
        ("/a/../b", "dot segment"),
        ("/%61dmin", "write `admin`"),
        ("/a%2fb", "write `a%2Fb`"),
        ("/a;b", "`;`"),
        ("/a%3bb", "`;`"),
        ("/a?b", "query"),
        ("/a b", "space"),
        ("/caf\u{e9}", "ASCII"),
        ("/x{a}", "whole"),
        ("/{a}/{a}", "twice"),
        ("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", "at most 8"),
    ] {
        let error = text.parse::<PathPattern>().unwrap_err().to_string();
        assert!(error.contains(hint), "{text}: {error}");
    }
    let (host, path) = ("{a}.test".parse().unwrap(), "/{b}/{c}".parse().unwrap());
    assert_eq!(capture_names(&host, &path), Ok(vec!["a", "b", "c"]));
    let path = "/{a}".parse().unwrap();
    assert_eq!(capture_names(&host, &path), Err(PatternError::Repeated("a".into())));
}

/// What a pattern says, in the plainest form: one text for each part, names as `{}`.
fn plain(path: &str) -> Vec<&str> {
    path.split('/').skip(1).map(|part| if part.starts_with('{') { "{}" } else { part }).collect()
}

fn plainly_matches(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (plain(pattern), path.split('/').skip(1).collect::<Vec<_>>());
    let rest = pattern.last() == Some(&"*");
    let fixed = &pattern[..pattern.len() - usize::from(rest)];
    (path.len() == fixed.len() || (rest && path.len() > fixed.len()))
        && fixed.iter().zip(&path).all(
            |(part, segment)| {
                if *part == "{}" { !segment.is_empty() } else { part == segment }
            },
        )
}

/// Falling specificity as DESIGN.md section 3 words it, for two patterns that match one path.
fn plainly_before(one: &str, other: &str) -> bool {
    let rank = |part: Option<&&str>| match part {
        Some(&"*") => 3,
        None => 2,
        Some(&"{}") => 1,
        Some(_) => 0,
    };
    let (one, other) = (plain(one), plain(other));
    let ranks = (0..=one.len().max(other.len())).map(|at| (rank(one.get(at)), rank(other.get(at))));
    ranks.into_iter().find(|(one, other)| one != other).is_some_and(|(one, other)| one < other)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_tree_agrees_with_the_plain_reading(
        mut patterns in prop::collection::vec("(/(a|b|\\{x\\})){0,3}(/\\*|/|/a)", 1..8),
        path in "(/(a|b|c)){0,4}/?",
    ) {
        let repeated = |pattern: &String| pattern.matches("{x}").count() > 1;
        patterns.retain(|pattern| !repeated(pattern));
        patterns.sort_by_key(|pattern| plain(pattern).join("/"));
        patterns.dedup();
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let routes = patterns.iter().map(|pattern| ("", "*", pattern.as_str())).collect::<Vec<_>>();
        let matching = patterns.iter().filter(|pattern| plainly_matches(pattern, &path));
        let best = matching.reduce(|best, next| if plainly_before(next, best) { next } else { best });
        prop_assert_eq!(found(&routes, "GET", "h", &path), best.map_or("-", String::as_str));
    }

    #[test]
    fn parameters_never_lead_around_a_route(
        path in "(/(admin|org|x|%3B|;|;a){1,3}){1,4}",
    ) {
        let routes = [("", "*", "/admin/*"), ("", "*", "/org/{slug}/*"), ("", "*", "/*")];
        let readings = [";", "%3B"].iter().fold(vec![path.clone()], |mut all, mark| {
            for reading in all.clone() {
                all.push(reading.split('/').map(|segment| segment.split(mark).next().unwrap())
                    .collect::<Vec<_>>().join("/"));
            }
            all
        });
        let answer = found(&routes, "GET", "h", &path);
        if answer != "?" {
            for reading in readings {
                prop_assert!(!reading.contains("//"));
                prop_assert_eq!(found(&routes, "GET", "h", &reading), answer, "{}", reading);
            }
        }
    }

    #[test]
    fn any_text_is_answered(text in any::<String>(), host in "[{}a-z.*]{0,12}", path in "/[{}a-z./*%;]{0,16}") {
        let _ = (text.parse::<HostPattern>(), text.parse::<PathPattern>());
        if let Ok(host) = host.parse::<HostPattern>() {
            prop_assert_eq!(host.to_string().parse(), Ok(host));
        }
        if let Ok(path) = path.parse::<PathPattern>() {
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }
    }
}
