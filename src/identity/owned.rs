//! The headers that are the gateway's alone.
//!
//! What holds: no spelling of an owned name that any server behind us could take for it arrives
//! there from a client (ATTACKS.md section 1). CGI, WSGI, PHP, Rack and servlet stacks fold case
//! and turn marks into one another, so names are compared with every byte that is neither letter
//! nor digit folded to `-`. That is wider than any one server needs and costs only names nobody
//! uses.

use std::collections::BTreeSet;

use arrayvec::ArrayVec;
use http::{HeaderMap, HeaderName};

/// Every name that starts so is owned, whether any route sets it or not (DESIGN.md section 5).
const PREFIX: &[u8] = b"x-stytch-";

/// Aliases removed in one pass; a request that brings more takes further passes.
const AT_ONCE: usize = 8;

/// All names the gateway could set on any route.
#[derive(Debug, Clone, Default)]
pub struct Owned {
    /// Folded; those under the prefix are left out.
    names: Vec<Box<[u8]>>,
    /// A bit for each length in `names`, those of 63 bytes and more on one bit.
    lengths: u64,
    /// As they are set.
    spelled: Box<[HeaderName]>,
}

impl Owned {
    /// From the names of every header that any route could set.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n HeaderName>) -> Self {
        let folded = |name: &HeaderName| name.as_str().bytes().map(fold).collect::<Box<[u8]>>();
        let spelled: BTreeSet<_> = names.into_iter().map(HeaderName::as_str).collect();
        let spelled: Box<[_]> = spelled.into_iter().filter_map(|name| name.parse().ok()).collect();
        let mut names: Vec<_> = spelled.iter().map(folded).filter(|name| !name.starts_with(PREFIX)).collect();
        names.sort();
        names.dedup();
        let lengths = names.iter().fold(0, |lengths, name| lengths | length_bit(name.len()));
        Self { names, lengths, spelled }
    }

    /// The names that any route could set, as it would set them.
    #[must_use]
    pub fn names(&self) -> &[HeaderName] {
        &self.spelled
    }

    /// Whether a server could take this name for one of the gateway's.
    #[must_use]
    pub fn is_alias(&self, name: &HeaderName) -> bool {
        self.is_alias_bytes(name.as_str().as_bytes())
    }

    /// The same for names that never became a [`HeaderName`], in any case.
    #[must_use]
    pub fn is_alias_bytes(&self, name: &[u8]) -> bool {
        if has_prefix(name) {
            return true;
        }
        self.lengths & length_bit(name.len()) != 0
            && self.names.iter().any(|owned| owned.len() == name.len() && same(owned, name))
    }

    /// The first alias in these headers, for callers that can only refuse a request
    /// (`spoofed_identity`).
    #[must_use]
    pub fn first_alias<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderName> {
        headers.keys().find(|name| self.is_alias(name))
    }

    /// Removes every value of every alias: one pass over the names where there are few.
    pub fn strip(&self, headers: &mut HeaderMap) {
        loop {
            let mut aliases = ArrayVec::<HeaderName, AT_ONCE>::new();
            aliases.extend(headers.keys().filter(|name| self.is_alias(name)).take(AT_ONCE).cloned());
            for name in &aliases {
                headers.remove(name);
            }
            if !aliases.is_full() {
                return;
            }
        }
    }
}

/// A byte of a header's name as the most generous server would read it.
pub(crate) const fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// Whether a name, as far as the folded one goes, folds to it.
pub(crate) fn same(folded: &[u8], name: &[u8]) -> bool {
    folded.iter().zip(name).all(|(owned, byte)| *owned == fold(*byte))
}

fn has_prefix(name: &[u8]) -> bool {
    // Most names end here: hardly any begins with an x.
    matches!(name, [b'x' | b'X', ..]) && name.len() >= PREFIX.len() && same(PREFIX, name)
}

const fn length_bit(length: usize) -> u64 {
    1 << if length < 63 { length } else { 63 }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn owned() -> Owned {
        Owned::new(&["remote_user", "authorization", "x-stytch-roles", "x-role"].map(HeaderName::from_static))
    }

    #[test]
    fn every_spelling_is_an_alias() {
        for name in [
            "x-stytch-member-id",
            "X-Stytch-Member-Id",
            "X_Stytch_Member_Id",
            "x.stytch.roles",
            "x-stytch_future",
            "x~stytch!anything",
            "X-STYTCH-",
            "remote_user",
            "Remote-User",
            "REMOTE.USER",
            "Authorization",
            "x_role",
            "X|Role",
        ] {
            assert!(owned().is_alias_bytes(name.as_bytes()), "{name}");
            assert!(owned().is_alias(&name.parse().unwrap()), "{name}");
        }
        for name in [
            "x-stytch",
            "xstytch-roles",
            "x-stytchroles",
            "remoteuser",
            "remote-user-",
            "x-roles",
            "host",
            "x",
        ] {
            assert!(!owned().is_alias_bytes(name.as_bytes()), "{name}");
        }
        assert!(owned().is_alias_bytes(b"x stytch roles"));
        assert!(owned().is_alias_bytes(b"Remote\xffUser"));
        assert!(!owned().is_alias_bytes(b""));
    }

    #[test]
    fn long_names_are_owned_too() {
        let name: HeaderName = "long-".repeat(20).parse().unwrap();
        let owned = Owned::new([&name]);
        assert!(owned.is_alias_bytes("long_".repeat(20).as_bytes()));
        assert!(!owned.is_alias_bytes("long_".repeat(21).as_bytes()));
    }

    #[test]
    fn all_values_of_all_aliases_go() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-stytch-roles", "admin"),
            ("x-stytch-roles", "owner"),
            ("x_stytch_roles", "admin"),
            ("accept", "*/*"),
            ("remote-user", "root"),
            ("accept", "text/html"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert_eq!(owned().first_alias(&headers).map(HeaderName::as_str), Some("x-stytch-roles"));
        owned().strip(&mut headers);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers.get_all("accept").iter().count(), 2);
        assert_eq!(owned().first_alias(&headers), None);
    }

    fn spelled() -> impl Strategy<Value = String> {
        let mark = prop::sample::select(vec!["-", "_", ".", "~", "x", ""]);
        let word = prop::sample::select(vec![
            "x", "X", "stytch", "Stytch", "roles", "remote", "USER", "role", "accept",
        ]);
        prop::collection::vec((word, mark), 1..4)
            .prop_map(|parts| parts.into_iter().flat_map(|(word, mark)| [word, mark]).collect())
    }

    /// As a CGI server would name the variable.
    fn variable(name: &str) -> String {
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
    }

    proptest! {
        #[test]
        fn nothing_of_a_client_is_left_as_identity(
            incoming in prop::collection::vec((spelled(), "[a-z]{1,4}"), 0..12),
        ) {
            let mut headers = HeaderMap::new();
            let mut others = 0;
            for (name, value) in &incoming {
                headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
                let variable = variable(name);
                let identity = variable.starts_with("X_STYTCH_")
                    || ["REMOTE_USER", "AUTHORIZATION", "X_ROLE"].contains(&variable.as_str());
                others += usize::from(!identity);
            }
            owned().strip(&mut headers);
            prop_assert_eq!(headers.len(), others);
            prop_assert_eq!(owned().first_alias(&headers), None);
        }
    }
}
