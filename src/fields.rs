//! The headers of a request on their way to an upstream.
//!
//! What holds: what the gateway sets replaces what came under that name; nothing is copied that can
//! be pointed to, for most of a request goes on as it came.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::field_lines::write_field;

/// Headers that can be changed, wherever they are kept for the time `'v`.
pub trait Headers<'v> {
    /// Every value under a name.
    fn all(&self, name: &HeaderName) -> impl Iterator<Item = &HeaderValue>;

    /// Adds a value beside those that are there.
    fn add(&mut self, name: Cow<'v, HeaderName>, value: Cow<'v, HeaderValue>);

    /// Puts a value in the place of those that are there.
    fn set(&mut self, name: Cow<'v, HeaderName>, value: Cow<'v, HeaderValue>);

    /// Puts each of these in the place of those under its name.
    fn set_ready(&mut self, ready: &'v Ready);

    /// Takes out every value under a name.
    fn take_out(&mut self, name: &HeaderName);
}

/// Headers that go out together time and again, written down once.
#[derive(Debug, Default)]
pub struct Ready {
    headers: Box<[(HeaderName, HeaderValue)]>,
    /// All of them, each with the end of its line.
    lines: Bytes,
    names: Names,
}

/// The names of headers that go out together, shared by all that do.
#[derive(Debug, Default, Clone)]
pub struct Names {
    names: Arc<[HeaderName]>,
    /// The [`mark`] of each.
    marks: u64,
}

impl FromIterator<HeaderName> for Names {
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> Self {
        let names: Arc<[_]> = names.into_iter().collect();
        Self { marks: names.iter().fold(0, |marks, name| marks | mark(name)), names }
    }
}

impl Names {
    fn contain(&self, name: &HeaderName) -> bool {
        self.marks & mark(name) != 0 && self.names.contains(name)
    }
}

impl Ready {
    /// Of several values under one name the last counts. `names` are theirs, and may be more. What
    /// stands `beside` them is kept in the same piece of memory.
    #[must_use]
    pub fn of(headers: &[(&HeaderName, HeaderValue)], names: &Names, beside: &[u8]) -> (Self, Bytes) {
        let mut text = Vec::new();
        let mut places = Vec::with_capacity(headers.len());
        for (index, (name, value)) in headers.iter().enumerate() {
            if headers[index + 1..].iter().any(|(later, _)| later == name) {
                continue;
            }
            write_field(name.as_str(), value.as_bytes(), &mut text);
            let end = text.len() - b"\r\n".len();
            places.push((*name, value, end - value.len()..end));
        }
        let lines_end = text.len();
        text.extend_from_slice(beside);
        let text = Bytes::from(text);
        let headers = places.into_iter().map(|(name, value, place)| {
            let shared = HeaderValue::from_maybe_shared(text.slice(place));
            (name.clone(), shared.unwrap_or_else(|_| value.clone()))
        });
        let headers = headers.collect();
        (Self { headers, lines: text.slice(..lines_end), names: names.clone() }, text.slice(lines_end..))
    }
}

/// A list of headers in order, most of which belong to somebody else. They are few: to look through
/// them costs less than to keep a table of them.
#[derive(Debug, Default)]
pub struct Fields<'v> {
    fields: Vec<(Cow<'v, HeaderName>, Cow<'v, HeaderValue>)>,
    /// The [`mark`] of each name that ever was in the list: what is set is hardly ever there.
    marks: u64,
    /// Under other names than those in the list.
    ready: Option<&'v Ready>,
}

impl<'v> Fields<'v> {
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self { fields: Vec::with_capacity(count), ..Self::default() }
    }

    /// In the order in which they go out.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let ready = self.ready.map_or(&[][..], |ready| &ready.headers);
        self.unwritten().chain(ready.iter().map(|(name, value)| (name, value)))
    }

    /// Those that are to be written, before [`Self::written`].
    pub fn unwritten(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The lines of those that are written already.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.ready.map_or(&[], |ready| &ready.lines)
    }

    fn may_hold(&self, name: &HeaderName) -> bool {
        self.marks & mark(name) != 0
    }

    /// Makes those that are ready part of the list, where a change of this name could concern them.
    fn dissolve_for(&mut self, name: &HeaderName) {
        if let Some(ready) = self.ready.take_if(|ready| ready.names.contain(name)) {
            self.fields.extend(
                ready.headers.iter().map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value))),
            );
            self.marks |= ready.names.marks;
        }
    }

    /// A copy of its own.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.fields.len() + 8);
        for (name, value) in self.iter() {
            map.append(name.clone(), value.clone());
        }
        map
    }
}

/// One of 64 bits, by the length of a name.
fn mark(name: &HeaderName) -> u64 {
    1 << (name.as_str().len() % 64)
}

impl<'v> Headers<'v> for Fields<'v> {
    fn all(&self, name: &HeaderName) -> impl Iterator<Item = &HeaderValue> {
        self.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    fn add(&mut self, name: Cow<'v, HeaderName>, value: Cow<'v, HeaderValue>) {
        self.dissolve_for(&name);
        self.marks |= mark(&name);
        self.fields.push((name, value));
    }

    fn set(&mut self, name: Cow<'v, HeaderName>, value: Cow<'v, HeaderValue>) {
        self.dissolve_for(&name);
        let first = || self.fields.iter().position(|(known, _)| *known == name);
        let Some(first) = self.may_hold(&name).then(first).flatten() else { return self.add(name, value) };
        let mut at = 0;
        self.fields.retain(|(known, _)| {
            at += 1;
            at <= first + 1 || *known != name
        });
        self.fields[first].1 = value;
    }

    fn set_ready(&mut self, ready: &'v Ready) {
        let is_among = |(known, _): &(Cow<'_, _>, _)| ready.names.contain(known);
        let clashes = self.marks & ready.names.marks != 0 && self.fields.iter().any(is_among);
        if self.ready.is_some() || clashes {
            for (name, value) in &ready.headers {
                self.set(Cow::Borrowed(name), Cow::Borrowed(value));
            }
        } else {
            self.ready = Some(ready);
        }
    }

    fn take_out(&mut self, name: &HeaderName) {
        self.dissolve_for(name);
        if self.may_hold(name) {
            self.fields.retain(|(known, _)| **known != *name);
        }
    }
}

impl<'v> Headers<'v> for HeaderMap {
    fn all(&self, name: &HeaderName) -> impl Iterator<Item = &HeaderValue> {
        self.get_all(name).iter()
    }

    fn add(&mut self, name: Cow<'v, HeaderName>, value: Cow<'v, HeaderValue>) {
        self.append(name.into_owned(), value.into_owned());
    }

    fn set(&mut self, name: Cow<'v, HeaderName>, value: Cow<'v, HeaderValue>) {
        self.insert(name.into_owned(), value.into_owned());
    }

    fn set_ready(&mut self, ready: &'v Ready) {
        for (name, value) in &ready.headers {
            self.insert(name.clone(), value.clone());
        }
    }

    fn take_out(&mut self, name: &HeaderName) {
        self.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is done, to which name, with which value.
    fn steps() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
        proptest::collection::vec((0..4u8, 0..4u8, 0..4u8), 0..30)
    }

    /// Names of several lengths, and of one.
    fn name(number: u8) -> HeaderName {
        HeaderName::try_from(["x-a", "x-b", "x-cc", "x-ddd"][usize::from(number)]).unwrap()
    }

    fn apply<'v>(steps: &[(u8, u8, u8)], ready: &'v [Ready], headers: &mut impl Headers<'v>) {
        for (what, number, value) in steps {
            let name = name(*number);
            let value = Cow::Owned(HeaderValue::from(u16::from(*value)));
            match what {
                0 => headers.add(Cow::Owned(name), value),
                1 => headers.set(Cow::Owned(name), value),
                2 => headers.set_ready(&ready[usize::from(*number) % ready.len()]),
                _ => headers.take_out(&name),
            }
        }
    }

    fn lines(map: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> =
            map.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    proptest! {
        #[test]
        fn a_list_holds_what_a_map_would(steps in steps()) {
            let value = |text| HeaderValue::from_static(text);
            let (a, b, d) = (name(0), name(1), name(3));
            let names: Names = [0, 1, 3].into_iter().map(name).collect();
            let ready = [
                Ready::of(&[(&a, value("lost")), (&b, value("b")), (&a, value("a"))], &names, b"beside").0,
                Ready::of(&[(&d, value("d"))], &names, b"").0,
            ];
            let (mut list, mut map) = (Fields::default(), HeaderMap::new());
            apply(&steps, &ready, &mut list);
            apply(&steps, &ready, &mut map);
            prop_assert_eq!(list.to_map(), map.clone());
            for name in map.keys() {
                prop_assert!(list.all(name).eq(map.all(name)));
            }
            let mut written = Vec::new();
            for (name, value) in list.unwritten() {
                write_field(name.as_str(), value.as_bytes(), &mut written);
            }
            written.extend_from_slice(list.written());
            let written = String::from_utf8(written).unwrap();
            let mut written: Vec<_> = written.split_inclusive('\n').collect();
            written.sort_unstable();
            prop_assert_eq!(written, lines(&map));
        }
    }
}
