//! The headers of a request on their way to an upstream.
//!
//! What holds: what the gateway sets replaces what came under that name; nothing is copied that can
//! be pointed to, for most of a request goes on as it came.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers that can be changed, wherever they are kept for the time `'v`.
pub trait Headers<'v> {
    /// Every value under a name.
    fn all(&self, name: &HeaderName) -> impl Iterator<Item = &HeaderValue>;

    /// Adds a value beside those that are there.
    fn add(&mut self, name: Cow<'v, HeaderName>, value: Cow<'v, HeaderValue>);

    /// Puts a value in the place of those that are there.
    fn set(&mut self, name: Cow<'v, HeaderName>, value: Cow<'v, HeaderValue>);

    /// Takes out every value under a name.
    fn take_out(&mut self, name: &HeaderName);
}

/// A list of headers in order, most of which belong to somebody else. They are few: to look through
/// them costs less than to keep a table of them.
#[derive(Debug, Default)]
pub struct Fields<'v> {
    fields: Vec<(Cow<'v, HeaderName>, Cow<'v, HeaderValue>)>,
    /// A bit for each length of a name that ever was in the list: what is set is hardly ever there.
    lengths: u64,
}

impl<'v> Fields<'v> {
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self { fields: Vec::with_capacity(count), lengths: 0 }
    }

    /// In the order in which they go out.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }

    fn may_hold(&self, name: &HeaderName) -> bool {
        self.lengths & length_bit(name) != 0
    }

    /// A copy of its own.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.fields.len());
        for (name, value) in self.iter() {
            map.append(name.clone(), value.clone());
        }
        map
    }
}

fn length_bit(name: &HeaderName) -> u64 {
    1 << (name.as_str().len() % 64)
}

impl<'v> Headers<'v> for Fields<'v> {
    fn all(&self, name: &HeaderName) -> impl Iterator<Item = &HeaderValue> {
        self.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    fn add(&mut self, name: Cow<'v, HeaderName>, value: Cow<'v, HeaderValue>) {
        self.lengths |= length_bit(&name);
        self.fields.push((name, value));
    }

    fn set(&mut self, name: Cow<'v, HeaderName>, value: Cow<'v, HeaderValue>) {
        let first = || self.fields.iter().position(|(known, _)| *known == name);
        let Some(first) = self.may_hold(&name).then(first).flatten() else { return self.add(name, value) };
        let mut at = 0;
        self.fields.retain(|(known, _)| {
            at += 1;
            at <= first + 1 || *known != name
        });
        self.fields[first].1 = value;
    }

    fn take_out(&mut self, name: &HeaderName) {
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
        proptest::collection::vec((0..3u8, 0..4u8, 0..4u8), 0..30)
    }

    fn apply<'v>(steps: &[(u8, u8, u8)], headers: &mut impl Headers<'v>) {
        for (what, name, value) in steps {
            let name = HeaderName::try_from(format!("x-{name}")).unwrap();
            let value = Cow::Owned(HeaderValue::from(u16::from(*value)));
            match what {
                0 => headers.add(Cow::Owned(name), value),
                1 => headers.set(Cow::Owned(name), value),
                _ => headers.take_out(&name),
            }
        }
    }

    proptest! {
        #[test]
        fn a_list_holds_what_a_map_would(steps in steps()) {
            let (mut list, mut map) = (Fields::default(), HeaderMap::new());
            apply(&steps, &mut list);
            apply(&steps, &mut map);
            prop_assert_eq!(list.to_map(), map.clone());
            for name in map.keys() {
                prop_assert!(list.all(name).eq(map.all(name)));
            }
        }
    }
}
