//! The routes that a request was nearly for, and what kept it from them.
//!
//! What holds: a pattern is asked whether it takes a host, path or method by the table that routes
//! requests.

use http::Method;

use crate::access::route::{Found, HostPattern, Matching, PathPattern, Table, in_order};
use crate::config::Route;

/// More than these are only counted.
const SHOWN: usize = 4;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sought<'a> {
    pub(super) host: &'a str,
    pub(super) method: &'a Method,
    /// Normalised.
    pub(super) path: &'a str,
}

/// One line for each route that would have won but for one thing, or that would win if the
/// `winner` (its index) were not there.
pub(super) fn misses<'r>(
    routes: impl Iterator<Item = &'r Route> + Clone,
    winner: Option<usize>,
    sought: Sought<'_>,
) -> Vec<String> {
    let order = in_order(routes.clone().map(matching));
    let all: Vec<&Route> = routes.collect();
    let rank = winner.and_then(|winner| order.iter().position(|index| *index == winner));
    let mut found = Vec::new();
    for (position, index) in order.into_iter().enumerate().filter(|(_, index)| Some(*index) != winner) {
        let wins = rank.is_none_or(|rank| position < rank);
        if let Some((nearness, why)) = miss(all[index], wins, winner.is_some(), sought) {
            found.push((nearness, format!("{}: {why}", all[index].name)));
        }
    }
    // Stable, so that among equals the more specific comes first.
    found.sort_by_key(|(nearness, _)| *nearness);
    let more = found.len().saturating_sub(SHOWN);
    let mut lines: Vec<String> = found.into_iter().take(SHOWN).map(|(_, line)| line).collect();
    if more > 0 {
        lines.push(format!("and {more} more, see `stytch-gateway routes`"));
    }
    lines
}

fn matching(route: &Route) -> Matching<'_> {
    (&route.host, &route.path, route.methods.as_deref())
}

/// How near a route is (less is nearer), and why it is not the one. `wins`: whether it comes before
/// the one that was found.
fn miss(route: &Route, wins: bool, found: bool, sought: Sought<'_>) -> Option<(usize, String)> {
    let (any_host, any_path) = (HostPattern::default(), any_path()?);
    let (host, path, methods) = matching(route);
    let fits = [
        sought.fits((host, &any_path, None)),
        sought.fits((&any_host, path, None)),
        sought.fits((&any_host, &any_path, methods)),
    ];
    match (fits, wins) {
        ([true, true, true], _) if found => Some((0, "would take it too, and is less specific".to_owned())),
        // No route was found, though this one takes the path: in one of two readings.
        ([true, true, true], _) => Some((0, "takes one reading of the path's parameters".to_owned())),
        ([true, true, false], true) => {
            let names: Vec<&str> = methods.into_iter().flatten().map(Method::as_str).collect();
            Some((1, format!("is for {}, not {}", names.join(" and "), sought.method)))
        }
        ([false, true, true], true) => Some((2, format!("is for the host {host}, not {}", sought.host))),
        ([true, false, true], true) => {
            let pattern = path.to_string();
            let written = pattern.find(['{', '*']).map_or(&*pattern, |end| &pattern[..end]);
            let common = in_common(written, sought.path);
            // Nearly all that is written out, at least: every path shares its first slash.
            let near = 2 * common > written.len() && common > 1;
            (near || !found).then(|| (usize::MAX - common, format!("does not take {}", sought.path)))
        }
        _ => None,
    }
}

impl Sought<'_> {
    fn fits(&self, alone: Matching<'_>) -> bool {
        Table::build([alone]).is_ok_and(|table| table.find(self.host, self.method, self.path) != Found::None)
    }
}

fn any_path() -> Option<PathPattern> {
    "/*".parse().ok()
}

fn in_common(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}
