//! May they? The only maker of a [`Grant`].

use std::sync::Arc;

use self::rules::Context;
use super::RequestHead;
use super::authn::Proved;
use super::rejection::{Code, Rejection};
use super::route::Captures;
use crate::config::Route;

pub mod rules;
mod scopes;

pub mod keeper;
pub mod policies;
pub mod policy;

/// Proof that a request may pass. Private fields: only this module can make one.
pub struct Grant {
    index: usize,
    route: Arc<Route>,
    proved: Option<Proved>,
    basis: Basis,
    /// What it would have been told on a route that is not in observe.
    observed: Option<Box<Rejection>>,
}

/// Why a request passes; the `decision` of logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// An identity was proved and the rules hold.
    Allowed,
    /// The route asks for nobody.
    Public,
    /// The route takes an identity if there is one, and there was none.
    Anonymous,
    /// The route is in observe, and would have refused with this code.
    Observed(Code),
}

impl Grant {
    /// Index of the route in the configuration.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    #[must_use]
    pub const fn route(&self) -> &Arc<Route> {
        &self.route
    }

    #[must_use]
    pub const fn proved(&self) -> Option<&Proved> {
        self.proved.as_ref()
    }

    #[must_use]
    pub const fn basis(&self) -> Basis {
        self.basis
    }

    /// What it would have been told on a route that is not in observe.
    #[must_use]
    pub fn observed(&self) -> Option<&Rejection> {
        self.observed.as_deref()
    }
}

pub(super) fn public(index: usize, route: &Arc<Route>) -> Grant {
    Grant { index, route: Arc::clone(route), proved: None, basis: Basis::Public, observed: None }
}

pub(super) fn anonymous(index: usize, route: &Arc<Route>) -> Grant {
    Grant { index, route: Arc::clone(route), proved: None, basis: Basis::Anonymous, observed: None }
}

/// For a route in observe alone: lets pass what it would have refused, with the identity that was
/// proved, if one was.
pub(super) fn observe(
    index: usize,
    route: &Arc<Route>,
    proved: Option<Proved>,
    rejection: Rejection,
) -> Grant {
    let basis = Basis::Observed(rejection.code);
    Grant { index, route: Arc::clone(route), proved, basis, observed: Some(Box::new(rejection)) }
}

/// Judges every rule of the route, on every request, whatever is remembered of the identity.
///
/// # Errors
/// The first rule that does not hold.
pub(super) fn judge(
    route: &Route,
    proved: &Proved,
    head: &RequestHead<'_>,
    captures: &Captures,
    leeway: i64,
) -> Result<(), Rejection> {
    let context = Context {
        leeway,
        identity: &proved.word.identity,
        captures,
        host: head.host,
        path: head.path,
        now: head.received_at,
    };
    rules::judge(&route.rules.first, &context)?;
    rules::judge(&route.rules.step_up, &context)
}

/// For whoever was judged.
pub(super) fn permit(index: usize, route: &Arc<Route>, proved: Proved) -> Grant {
    Grant { index, route: Arc::clone(route), proved: Some(proved), basis: Basis::Allowed, observed: None }
}
