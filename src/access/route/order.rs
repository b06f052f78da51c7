//! The order in which routes are looked for, whatever their order in the file.
//!
//! What holds: of two routes that match one request the one that wins comes first; the order
//! depends on nothing but the patterns and methods themselves.

use std::cmp::Ordering;

use http::Method;

use super::pattern::{HostPattern, Hosts, Part, PathPattern};

/// What tells routes apart, as [`super::Table::build`] takes it.
pub type Matching<'r> = (&'r HostPattern, &'r PathPattern, Option<&'r [Method]>);

/// The positions of routes, the most specific first (DESIGN.md section 3). Hosts, segments and
/// methods that exclude each other stand in alphabetical order.
pub fn in_order<'r>(routes: impl IntoIterator<Item = Matching<'r>>) -> Vec<usize> {
    let routes: Vec<_> = routes.into_iter().collect();
    let mut order: Vec<usize> = (0..routes.len()).collect();
    order.sort_by(|one, other| compare(&routes[*one], &routes[*other]));
    order
}

fn compare(one: &Matching<'_>, other: &Matching<'_>) -> Ordering {
    let (host, path, methods) = *one;
    let (other_host, other_path, other_methods) = *other;
    let hosts = host_rank(host).cmp(&host_rank(other_host));
    hosts.then_with(|| segments(path).cmp(segments(other_path))).then_with(|| {
        match (methods, other_methods) {
            (Some(methods), Some(others)) => names(methods).cmp(&names(others)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    })
}

/// Patterns with labels are compared from the right, where names belong together.
fn host_rank(host: &HostPattern) -> (u8, Option<&str>, Vec<Step<'_>>) {
    match &host.0 {
        Hosts::Exact(host) => (0, Some(host), Vec::new()),
        Hosts::Labels(parts) => (1, None, parts.iter().rev().map(Step::from).collect()),
        Hosts::Any => (2, None, Vec::new()),
    }
}

/// One segment or label, or the end of a path, in falling specificity.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step<'p> {
    End,
    Literal(&'p str),
    Name,
    Rest,
}

impl<'p> From<&'p Part> for Step<'p> {
    fn from(part: &'p Part) -> Self {
        match part {
            Part::Literal(text) => Self::Literal(text),
            Part::Name(_) => Self::Name,
        }
    }
}

fn segments(path: &PathPattern) -> impl Iterator<Item = Step<'_>> {
    let last = if path.takes_rest() { Step::Rest } else { Step::End };
    path.parts().iter().map(Step::from).chain([last])
}

fn names(methods: &[Method]) -> Vec<&str> {
    let mut names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Found, Table};
    use super::*;

    /// Host, path, methods.
    type Written = (&'static str, &'static str, Option<&'static [Method]>);

    const READ: &[Method] = &[Method::GET, Method::HEAD];
    const WRITE: &[Method] = &[Method::POST];

    fn sorted(written: &[Written]) -> Vec<Written> {
        let parsed: Vec<_> = written
            .iter()
            .map(|(host, path, methods)| (host.parse().unwrap(), path.parse().unwrap(), *methods))
            .collect();
        let order = in_order(parsed.iter().map(|(host, path, methods)| (host, path, *methods)));
        order.into_iter().map(|position| written[position]).collect()
    }

    #[test]
    fn the_most_specific_comes_first() {
        let expected: [Written; 11] = [
            ("a.test", "/*", None),
            ("b.test", "/admin", None),
            ("b.test", "/admin/x/*", None),
            ("b.test", "/admin/{id}", None),
            ("b.test", "/admin/*", Some(READ)),
            ("b.test", "/admin/*", Some(WRITE)),
            ("b.test", "/admin/*", None),
            ("b.test", "/{any}/admin", None),
            ("{org}.b.test", "/*", None),
            ("{org}.{region}.test", "/*", None),
            ("*", "/*", None),
        ];
        let mut turned = expected;
        for _ in 0..expected.len() {
            turned.rotate_left(1);
            assert_eq!(sorted(&turned), expected);
        }
        turned.reverse();
        assert_eq!(sorted(&turned), expected);
    }

    fn pieces() -> impl Strategy<Value = (usize, Vec<usize>, usize, usize)> {
        (0..4usize, prop::collection::vec(0..3usize, 0..4), 0..2usize, 0..3usize)
    }

    type Parsed = (HostPattern, PathPattern, Option<&'static [Method]>);

    fn route((host, segments, rest, methods): &(usize, Vec<usize>, usize, usize)) -> Parsed {
        let host = ["a.test", "{h}.test", "{h}.{g}", "*"][*host];
        let mut path: String = segments
            .iter()
            .enumerate()
            .map(|(at, kind)| match kind {
                0 => "/a".to_owned(),
                1 => "/b".to_owned(),
                _ => format!("/{{s{at}}}"),
            })
            .collect();
        if *rest == 1 {
            path.push_str("/*");
        } else if path.is_empty() {
            path.push('/');
        }
        let methods = [None, Some(READ), Some(WRITE)][*methods];
        (host.parse().unwrap(), path.parse().unwrap(), methods)
    }

    proptest! {
        /// Looking at routes one by one in this order finds what the table finds.
        #[test]
        fn the_first_that_matches_is_the_one_that_wins(
            written in prop::collection::vec(pieces(), 1..8),
            asked in (0..3usize, prop::collection::vec(0..3usize, 0..5), 0..3usize),
        ) {
            let routes: Vec<Parsed> = written.iter().map(route).collect();
            let borrowed = || routes.iter().map(|(host, path, methods)| (host, path, *methods));
            // Routes that tie are refused before anybody asks for an order.
            let Ok(table) = Table::build(borrowed()) else { return Ok(()) };
            let host = ["a.test", "b.test", "other"][asked.0];
            let path: String = asked.1.iter().map(|piece| ["/a", "/b", "/c"][*piece]).collect();
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let method = [Method::GET, Method::HEAD, Method::POST][asked.2].clone();
            let first = in_order(borrowed()).into_iter().find(|position| {
                let (host_pattern, path_pattern, methods) = &routes[*position];
                let alone = Table::build([(host_pattern, path_pattern, *methods)]).unwrap();
                matches!(alone.find(host, &method, &path), Found::Route(_))
            });
            let found = match table.find(host, &method, &path) {
                Found::Route(found) => Some(found.route),
                _ => None,
            };
            prop_assert_eq!(first, found);
        }
    }
}
