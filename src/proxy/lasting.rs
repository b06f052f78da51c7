//! Requests that last are judged again while they do (DESIGN.md section 4, "Streams end with the
//! session"): WebSockets, events, long answers, endless uploads.
//!
//! What holds: a request that was let pass for somebody goes on only as long as a new one like it
//! would pass; it is judged by the same gate, with the credential it came with, at the latest when
//! Stytch's word is as old as it may be; nothing waits for that but its own end; what could not be
//! checked is no pass. The worker's sweep finds who is due, so there is no timer for a request.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use http::StatusCode;
use http::request::Parts;

use super::target;
use crate::access::authn::{Proved, Verification, Word};
use crate::access::rejection::{Code, Rejection};
use crate::access::{Grant, RequestHead};
use crate::clock;
use crate::config::Auth;
use crate::identity::Identity;
use crate::metrics::StreamEnd;
use crate::server::record::{Cut, Record};
use crate::server::worker::Worker;
use crate::site::Site;

/// How many are judged again in one sweep of a worker, so that a reload or an event does not hold
/// up its requests; the others have their turn in the next.
pub const AT_ONCE: usize = 256;
/// Milliseconds between two looks at a request that goes on by `outage_grace`.
const IN_AN_OUTAGE: i64 = 5000;
/// The least time between two looks that the settings ask for, in milliseconds.
const SHORTEST: i64 = 1000;

/// A request that was let pass for somebody, and is not over.
pub struct Lasting {
    /// What was asked, as it came.
    pub parts: Parts,
    client: IpAddr,
    /// Stytch's word that it was last judged by.
    word: RefCell<Rc<Word>>,
    /// The configuration, likewise.
    site: RefCell<Rc<Site>>,
    /// How many changes had been told of, likewise.
    changes: Cell<u64>,
    /// Unix milliseconds.
    next_look: Cell<i64>,
    /// The end of its session was looked at, and it may go on all the same.
    may_outlive: Cell<bool>,
    looking: Cell<bool>,
}

impl Lasting {
    /// For a request that was let pass at `now`, in unix milliseconds, with this proof.
    #[must_use]
    pub fn new(parts: Parts, client: IpAddr, proved: &Proved, site: &Rc<Site>, now: i64) -> Rc<Self> {
        let lasting = Self {
            parts,
            client,
            word: RefCell::new(Rc::clone(&proved.word)),
            site: RefCell::new(Rc::clone(site)),
            changes: Cell::new(site.gate.authn().changes()),
            next_look: Cell::new(0),
            may_outlive: Cell::new(false),
            looking: Cell::new(false),
        };
        lasting.plan(proved, site, now);
        Rc::new(lasting)
    }

    /// Whether it must be judged again. `now` is unix milliseconds.
    #[must_use]
    pub fn is_due(&self, now: i64, site: &Rc<Site>) -> bool {
        !self.looking.get()
            && (now >= self.next_look.get()
                || (!self.may_outlive.get() && !self.word.borrow().is_alive(now))
                || self.changes.get() != site.gate.authn().changes()
                || !Rc::ptr_eq(&self.site.borrow(), site))
    }

    fn plan(&self, proved: &Proved, site: &Site, now: i64) {
        let staleness = clock::span(site.config.session.max_staleness).max(SHORTEST);
        let next = match proved.verification {
            Verification::Stale => now.saturating_add(IN_AN_OUTAGE),
            Verification::None | Verification::Cache | Verification::Local | Verification::Stytch => {
                proved.word.look_again_at(now)
            }
        };
        self.next_look.set(next.min(now.saturating_add(staleness)));
    }

    /// Judges it as if it came now.
    async fn judge(&self, site: &Rc<Site>) -> Result<(), Cut> {
        let now = clock::unix_millis();
        let word = Rc::clone(&self.word.borrow());
        let Parts { method, uri, headers, .. } = &self.parts;
        let target = target::read(method, uri, headers).map_err(|rejection| cut(&rejection, &word, now))?;
        let head = RequestHead {
            method,
            host: &target.host,
            path: &target.path,
            encoded_slash: target.encoded_slash,
            query: target.query,
            headers,
            client: self.client,
            received_at: now,
        };
        let changes = site.gate.authn().changes();
        if !word.is_alive(now) && asks_for_somebody(site, &head) {
            // Known already: it is not counted against the client once more.
            let over = Rejection::new(Code::InvalidCredential, "the session ended while the request went on");
            return Err(cut(&over, &word, now));
        }
        let grant = site.gate.decide(&head).await.map_err(|rejection| cut(&rejection, &word, now))?;
        self.goes_on(&grant, site, now)?;
        self.changes.set(changes);
        self.site.replace(Rc::clone(site));
        Ok(())
    }

    fn goes_on(&self, grant: &Grant, site: &Site, now: i64) -> Result<(), Cut> {
        let Some(proved) = grant.proved() else {
            self.may_outlive.set(true);
            self.next_look
                .set(now.saturating_add(clock::span(site.config.session.max_staleness).max(SHORTEST)));
            return Ok(());
        };
        if !is_of_same(&self.word.borrow().identity, &proved.word.identity) {
            let other = Rejection::new(Code::InvalidCredential, "the credential is somebody else's by now");
            return Err(cut(&other, &proved.word, now));
        }
        self.may_outlive.set(!proved.word.is_alive(now));
        self.word.replace(Rc::clone(&proved.word));
        self.plan(proved, site, now);
        Ok(())
    }
}

/// Whether two identities are one person in one organization, whatever its slug is by now.
fn is_of_same(one: &Identity, other: &Identity) -> bool {
    let organizations = [one, other].map(|identity| identity.organization.as_ref().map(|own| &own.id));
    one.subject == other.subject && organizations[0] == organizations[1]
}

/// Whether a request is turned back that nobody is proved for.
fn asks_for_somebody(site: &Site, head: &RequestHead<'_>) -> bool {
    let Ok(found) = site.gate.route(head) else { return true };
    let route = &site.config.routes[found.route];
    !route.observe && route.auth != Auth::None
}

/// What is said of a request that would be turned back if it came now.
fn cut(rejection: &Rejection, word: &Word, now: i64) -> Cut {
    let could_not_be_checked = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
    let why = if could_not_be_checked.contains(&rejection.code.status()) {
        StreamEnd::Unchecked
    } else if rejection.code != Code::InvalidCredential {
        StreamEnd::Forbidden
    } else if word.has_expired(now) {
        StreamEnd::Expired
    } else {
        StreamEnd::Revoked
    };
    Cut { why, code: Some(rejection.code), reason: rejection.reason }
}

/// Judges a request again in the background, and cuts it short where it may not go on.
pub fn look(worker: &Rc<Worker>, record: &Rc<Record>, lasting: Rc<Lasting>) {
    lasting.looking.set(true);
    let (worker, record) = (Rc::clone(worker), Rc::clone(record));
    tokio::task::spawn_local(async move {
        let looking = Looking(lasting);
        let site = worker.site();
        if let Err(cut) = looking.0.judge(&site).await
            && record.is_about(&looking.0)
        {
            worker.cut(&record, cut);
        }
    });
}

/// Ends a look however it ends: one that panicked is taken again.
struct Looking(Rc<Lasting>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.looking.set(false);
    }
}
