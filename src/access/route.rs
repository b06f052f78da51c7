//! Which route is a request for?
//!
//! Routes stand in one tree of path segments for each host pattern. A walk tries the more specific
//! branch first, so the first route it reaches is the most specific one, whatever the order in the
//! file (DESIGN.md section 3). It visits a node of the tree at most once and allocates nothing for
//! a path without escapes or parameters.
//!
//! What holds: hosts come from [`super::host::parse`] and paths from [`super::path::normalise`];
//! a path whose `;` parameters would change the answer has no answer.

use std::cmp::Ordering;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use http::Method;
use memchr::{memchr_iter, memchr2, memmem};

pub use self::order::{Matching, in_order};
pub use self::pattern::{HostPattern, PathPattern, PatternError, capture_names};
use self::pattern::{Hosts, MAX_HOST_NAMES, MAX_PATH_NAMES, Part};
use super::path;

mod order;
mod pattern;

/// All routes, ready to be searched. Routes are told by their position in what it was built from.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Tree roots of hosts that are written out.
    exact: HashMap<Box<str>, usize, RandomState>,
    /// Host patterns with `{label}`, the most specific first.
    labelled: Vec<(Vec<Part>, usize)>,
    any: Option<usize>,
    nodes: Vec<Node>,
    /// For each route, the names of its captures in their order.
    names: Vec<Box<[Box<str>]>>,
}

/// What may follow after the segments that lead here, in falling specificity.
#[derive(Debug, Clone, Default)]
struct Node {
    /// The decoded text of a segment and where it leads.
    literals: HashMap<Box<[u8]>, usize, RandomState>,
    name: Option<usize>,
    /// Routes whose path ends here.
    end: Vec<Leaf>,
    /// Routes that take whatever follows: `*`.
    rest: Vec<Leaf>,
}

#[derive(Debug, Clone)]
struct Leaf {
    route: usize,
    methods: Option<Box<[Method]>>,
}

/// Two routes of which neither is more specific, for some request both match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("routes {first} and {second} match the same requests and neither is more specific")]
pub struct Tie {
    pub first: usize,
    pub second: usize,
}

/// The answer to [`Table::find`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Route(Match),
    /// No route is for this request: `no_route`.
    None,
    /// Servers that drop `;` parameters would see a path of another route: `ambiguous_path`.
    Ambiguous,
}

/// The route of a request, and what its patterns captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    pub route: usize,
    pub captures: Captures,
}

/// Where the `{name}`s of a route stand in a host and path. Holds positions alone, so it has to be
/// read with the strings that were searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Captures {
    host: Spans<MAX_HOST_NAMES>,
    path: Spans<MAX_PATH_NAMES>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spans<const MAX: usize> {
    spans: [(u32, u32); MAX],
    len: u8,
}

impl Captures {
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.host.len) + usize::from(self.path.len)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text of one capture, in the order of [`capture_names`]. Path segments keep their escapes.
    #[must_use]
    pub fn at<'a>(&self, index: usize, host: &'a str, path: &'a str) -> Option<&'a str> {
        let hosts = usize::from(self.host.len);
        if index < hosts { self.host.text(index, host) } else { self.path.text(index - hosts, path) }
    }
}

impl<const MAX: usize> Default for Spans<MAX> {
    fn default() -> Self {
        Self { spans: [(0, 0); MAX], len: 0 }
    }
}

impl<const MAX: usize> Spans<MAX> {
    /// Patterns hold at most `MAX` names, so there is always room.
    fn push(&mut self, start: usize, end: usize) {
        if let (Some(slot), Ok(start), Ok(end)) =
            (self.spans.get_mut(usize::from(self.len)), u32::try_from(start), u32::try_from(end))
        {
            *slot = (start, end);
            self.len += 1;
        }
    }

    fn text<'a>(&self, index: usize, of: &'a str) -> Option<&'a str> {
        let (start, end) = *self.spans[..usize::from(self.len)].get(index)?;
        of.get(start as usize..end as usize)
    }
}

impl Table {
    /// Builds the table; `None` for methods means every method.
    ///
    /// # Errors
    /// Every pair of routes that tie.
    pub fn build<'r>(
        routes: impl IntoIterator<Item = (&'r HostPattern, &'r PathPattern, Option<&'r [Method]>)>,
    ) -> Result<Self, Vec<Tie>> {
        let mut table = Self::default();
        let mut ties = Vec::new();
        for (route, (host, path, methods)) in routes.into_iter().enumerate() {
            let root = table.root(host);
            let leaves = table.leaves(root, path);
            let leaf = Leaf { route, methods: methods.map(Into::into) };
            ties.extend(
                leaves
                    .iter()
                    .filter(|other| leaf.ties_with(other))
                    .map(|other| Tie { first: other.route, second: route }),
            );
            leaves.push(leaf);
            // Stable, so that what names methods comes first and the rest stays as it was.
            leaves.sort_by_key(|leaf| leaf.methods.is_none());
            table.names.push(host.names().chain(path.names()).map(Into::into).collect());
        }
        table.labelled.sort_by(|(one, _), (other, _)| by_specificity(one, other));
        if ties.is_empty() { Ok(table) } else { Err(ties) }
    }

    /// The most specific route for a request.
    ///
    /// Servlet containers cut `;` and what follows from every segment before they look at a path
    /// (ATTACKS.md D07). A path with parameters is therefore searched both ways; the two ways that
    /// differ in route or captures are ambiguous. No literal of a pattern holds a `;`, so readings
    /// that cut only some of them cannot find anything else.
    #[must_use]
    pub fn find(&self, host: &str, method: &Method, path: &str) -> Found {
        // Hardly any path holds either mark, and without an escape segments are compared as they are.
        if memchr2(b';', b'%', path.as_bytes()).is_none() {
            return self.search(host, method, path, false).map_or(Found::None, Found::Route);
        }
        let found = self.search(host, method, path, true);
        if !has_parameters(path) {
            return found.map_or(Found::None, Found::Route);
        }
        let Some(cut) = without_parameters(path) else {
            return Found::Ambiguous;
        };
        match (found, self.search(host, method, &cut, true)) {
            (None, None) => Found::None,
            (Some(as_it_stands), Some(other)) if as_it_stands.agrees_with(&other, host, path, &cut) => {
                Found::Route(as_it_stands)
            }
            _ => Found::Ambiguous,
        }
    }

    /// The names of a route's captures, in the order of [`Captures::at`].
    #[must_use]
    pub fn names(&self, route: usize) -> &[Box<str>] {
        self.names.get(route).map_or(&[], |names| names)
    }

    /// The text a `{name}` captured, from the host and path that were searched.
    #[must_use]
    pub fn capture<'a>(&self, found: &Match, name: &str, host: &'a str, path: &'a str) -> Option<&'a str> {
        let index = self.names(found.route).iter().position(|known| **known == *name)?;
        found.captures.at(index, host, path)
    }

    fn search(&self, host: &str, method: &Method, path: &str, escapes: bool) -> Option<Match> {
        if !path.starts_with('/') {
            return None;
        }
        let walk = Walk { nodes: &self.nodes, method, path, escapes };
        let mut captures = Captures::default();
        if let Some(&root) = self.exact.get(host)
            && let Some(route) = walk.from(root, Some(1), &mut captures.path)
        {
            return Some(Match { route, captures });
        }
        for (parts, root) in &self.labelled {
            if let Some(spans) = match_labels(parts, host) {
                captures.host = spans;
                if let Some(route) = walk.from(*root, Some(1), &mut captures.path) {
                    return Some(Match { route, captures });
                }
            }
        }
        captures.host = Spans::default();
        let route = walk.from(self.any?, Some(1), &mut captures.path)?;
        Some(Match { route, captures })
    }

    /// The tree for a host pattern; patterns that differ only in names share one.
    fn root(&mut self, host: &HostPattern) -> usize {
        let new = self.nodes.len();
        let root = match &host.0 {
            Hosts::Any => *self.any.get_or_insert(new),
            Hosts::Exact(host) => *self.exact.entry(host.clone()).or_insert(new),
            Hosts::Labels(parts) => {
                let same = |(known, _): &&(Vec<Part>, usize)| by_specificity(known, parts) == Ordering::Equal;
                match self.labelled.iter().find(same) {
                    Some((_, root)) => *root,
                    None => {
                        self.labelled.push((parts.clone(), new));
                        new
                    }
                }
            }
        };
        if root == new {
            self.nodes.push(Node::default());
        }
        root
    }

    /// Where the routes of a path pattern stand, with the nodes that lead there.
    fn leaves(&mut self, root: usize, path: &PathPattern) -> &mut Vec<Leaf> {
        let mut at = root;
        for part in path.parts() {
            let new = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match part {
                Part::Name(_) => *node.name.get_or_insert(new),
                Part::Literal(text) => {
                    *node.literals.entry(path::decode(text.as_bytes()).into()).or_insert(new)
                }
            };
            if at == new {
                self.nodes.push(Node::default());
            }
        }
        if path.takes_rest() { &mut self.nodes[at].rest } else { &mut self.nodes[at].end }
    }
}

/// One search through a tree.
struct Walk<'t> {
    nodes: &'t [Node],
    method: &'t Method,
    path: &'t str,
    /// Whether there may be escapes in the path.
    escapes: bool,
}

impl Walk<'_> {
    /// The most specific route below a node; `start` is where the next segment begins, none when
    /// the path has ended. As deep as the longest pattern at most.
    fn from(&self, node: usize, start: Option<usize>, captured: &mut Spans<MAX_PATH_NAMES>) -> Option<usize> {
        let node = &self.nodes[node];
        let Some(start) = start else {
            return self.pick(&node.end).or_else(|| self.pick(&node.rest));
        };
        let length = self.path.as_bytes()[start..].iter().position(|byte| *byte == b'/');
        let end = length.map_or(self.path.len(), |length| start + length);
        let next = length.map(|_| end + 1);
        let segment = &self.path[start..end];
        if let Some(child) = node.literal(segment, self.escapes)
            && let Some(route) = self.from(child, next, captured)
        {
            return Some(route);
        }
        if let Some(child) = node.name
            && !segment.is_empty()
        {
            let before = captured.len;
            captured.push(start, end);
            if let Some(route) = self.from(child, next, captured) {
                return Some(route);
            }
            captured.spans[usize::from(before)] = (0, 0);
            captured.len = before;
        }
        self.pick(&node.rest)
    }

    fn pick(&self, leaves: &[Leaf]) -> Option<usize> {
        leaves.iter().find(|leaf| leaf.takes(self.method)).map(|leaf| leaf.route)
    }
}

impl Node {
    /// The child for a segment, compared by what the segment means: `%40` is `@` to the server
    /// behind us, so it may not lead around a route that says `@`.
    fn literal(&self, segment: &str, escapes: bool) -> Option<usize> {
        if escapes && segment.contains('%') {
            let mut literals = self.literals.iter();
            return literals.find(|(text, _)| path::means(segment, text)).map(|(_, child)| *child);
        }
        self.literals.get(segment.as_bytes()).copied()
    }
}

impl Leaf {
    /// HEAD follows the rules of GET (ATTACKS.md E09).
    fn takes(&self, method: &Method) -> bool {
        self.methods.as_ref().is_none_or(|methods| {
            methods.iter().any(|one| one == method || (*one == Method::GET && *method == Method::HEAD))
        })
    }

    fn ties_with(&self, other: &Self) -> bool {
        match (&self.methods, &other.methods) {
            (None, None) => true,
            (Some(mine), Some(theirs)) => {
                mine.iter().any(|method| other.takes(method))
                    || theirs.iter().any(|method| self.takes(method))
            }
            _ => false,
        }
    }
}

impl Match {
    /// Whether another reading of the path leads to the same route with the same captures.
    fn agrees_with(&self, other: &Self, host: &str, path: &str, other_path: &str) -> bool {
        self.route == other.route
            && (0..self.captures.len()).all(|index| {
                self.captures.at(index, host, path) == other.captures.at(index, host, other_path)
            })
    }
}

/// Compares host patterns label by label from the right, where names belong together: a written
/// label before a `{label}`. Patterns that differ only in names are equal.
fn by_specificity(one: &[Part], other: &[Part]) -> Ordering {
    let key = |part: &Part| match part {
        Part::Literal(text) => (0, Some(text.clone())),
        Part::Name(_) => (1, None),
    };
    one.iter().rev().map(key).cmp(other.iter().rev().map(key))
}

fn match_labels(parts: &[Part], host: &str) -> Option<Spans<MAX_HOST_NAMES>> {
    if host.starts_with('[') {
        return None;
    }
    let mut spans = Spans::default();
    let mut start = 0;
    let ends = memchr_iter(b'.', host.as_bytes()).chain([host.len()]);
    let mut labels = 0;
    for end in ends {
        match parts.get(labels)? {
            Part::Literal(text) if **text == host[start..end] => {}
            Part::Name(_) if start < end => spans.push(start, end),
            _ => return None,
        }
        labels += 1;
        start = end + 1;
    }
    (labels == parts.len()).then_some(spans)
}

fn has_parameters(path: &str) -> bool {
    path.contains(';') || memmem::find(path.as_bytes(), b"%3B").is_some()
}

/// The path without the parameters of its segments; none where a segment is nothing but parameters.
fn without_parameters(path: &str) -> Option<String> {
    let mut cut = String::with_capacity(path.len());
    for segment in path.split('/').skip(1) {
        let end = segment.find(';').into_iter().chain(segment.find("%3B")).min();
        if end == Some(0) {
            return None;
        }
        cut.push('/');
        cut.push_str(&segment[..end.unwrap_or(segment.len())]);
    }
    Some(cut)
}

#[cfg(test)]
mod tests;
