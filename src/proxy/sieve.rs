//! Which of a request's headers go upstream as they came.
//!
//! What holds: what goes upstream is built from what passes here; nothing that concerns one hop,
//! nothing a server could take for the gateway's own word (identity, client, request id), and
//! nothing that `Connection` names gets through.

use std::borrow::Cow;

use http::HeaderMap;

use super::hop;
use super::ids::Ids;
use crate::client::Forwarding;
use crate::fields::Headers;
use crate::identity::owned::Owned;

/// What is held back on behalf of whom.
pub struct Sieve<'a> {
    pub owned: &'a Owned,
    pub forwarding: &'a Forwarding,
    pub ids: &'a Ids,
}

impl Sieve<'_> {
    /// Passes on what may pass, in the order it came. One look at each name.
    pub fn pass<'h>(&self, inbound: &'h HeaderMap, outbound: &mut impl Headers<'h>) {
        let nominated = hop::nominated(inbound);
        for (name, value) in inbound {
            let held_back = hop::is_hop_by_hop(name)
                || nominated.contains(name)
                || self.owned.is_alias(name)
                || !self.forwarding.lets_pass(name)
                || !self.ids.let_pass(name);
            if !held_back {
                outbound.add(Cow::Borrowed(name), Cow::Borrowed(value));
            }
        }
    }
}
