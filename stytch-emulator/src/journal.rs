//! The API calls that were made: tests ask how often, and whether at all.

use std::collections::VecDeque;

use axum::body::Bytes;
use jiff::Timestamp;
use serde::Serialize;

/// How many calls are kept; older ones are forgotten, so that a demonstration may run for weeks.
const CAPACITY: usize = 100_000;

/// The same for their bodies, which are larger.
const BODIES: usize = 2_000;

/// A call to the API, seen by the emulator.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Request {
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The answer's status; `None` while there is no answer, or if there never was one.
    pub status: Option<u16>,
    /// When it arrived, by the emulator's clock.
    pub at: Timestamp,
}

/// What a call said, for those who are in the same process: bodies hold secrets, so the control API
/// shows none.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Body {
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// Who called, as the call says.
    pub user_agent: Option<String>,
    /// What the bytes are, as the call says.
    pub content_type: Option<String>,
    /// The body as it was sent.
    pub bytes: Bytes,
}

/// A call's place in the journal, to note the answer later.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry(u64);

#[derive(Debug, Default)]
pub(crate) struct Journal {
    requests: VecDeque<Request>,
    /// The place of the oldest call kept.
    first: u64,
    bodies: VecDeque<Body>,
}

impl Journal {
    pub(crate) fn arrived(&mut self, method: String, path: String, at: Timestamp) -> Entry {
        if self.requests.len() == CAPACITY {
            self.requests.pop_front();
            self.first += 1;
        }
        self.requests.push_back(Request { method, path, status: None, at });
        Entry(self.first + self.requests.len() as u64 - 1)
    }

    /// Does nothing for a call that has been forgotten in the meantime.
    pub(crate) fn answered(&mut self, Entry(place): Entry, status: u16) {
        let index = place.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(request) = index.and_then(|index| self.requests.get_mut(index)) {
            request.status = Some(status);
        }
    }

    /// The calls whose path begins with `prefix`, the oldest first.
    pub(crate) fn requests(&self, prefix: &str) -> Vec<Request> {
        self.requests.iter().filter(|one| one.path.starts_with(prefix)).cloned().collect()
    }

    /// Keeps what a call said, if it said anything.
    pub(crate) fn said(&mut self, body: Body) {
        if body.bytes.is_empty() {
            return;
        }
        if self.bodies.len() == BODIES {
            self.bodies.pop_front();
        }
        self.bodies.push_back(body);
    }

    /// The bodies of calls whose path begins with `prefix`, the oldest first.
    pub(crate) fn bodies(&self, prefix: &str) -> Vec<Body> {
        self.bodies.iter().filter(|one| one.path.starts_with(prefix)).cloned().collect()
    }

    pub(crate) fn forget(&mut self) {
        self.first += self.requests.len() as u64;
        self.requests.clear();
        self.bodies.clear();
    }
}
