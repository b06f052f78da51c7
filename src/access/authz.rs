//! May they? The only maker of a [`Grant`].

use std::sync::Arc;

use super::authn::Proved;
use super::rejection::{Code, Rejection};
use crate::config::Route;
use crate::identity::Kind;

/// Proof that a request may pass. Private fields: only this module can make one.
pub struct Grant {
    index: usize,
    route: Arc<Route>,
    proved: Option<Proved>,
    basis: Basis,
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
}

pub(super) fn public(index: usize, route: &Arc<Route>) -> Grant {
    Grant { index, route: Arc::clone(route), proved: None, basis: Basis::Public }
}

pub(super) fn anonymous(index: usize, route: &Arc<Route>) -> Grant {
    Grant { index, route: Arc::clone(route), proved: None, basis: Basis::Anonymous }
}

/// Evaluated on every request, whatever is cached about the identity.
pub(super) fn permit(index: usize, route: &Arc<Route>, proved: Proved) -> Result<Grant, Rejection> {
    match proved.word.identity.kind {
        Kind::Session => {
            Ok(Grant { index, route: Arc::clone(route), proved: Some(proved), basis: Basis::Allowed })
        }
        Kind::M2m | Kind::ConnectedApp => {
            Err(Rejection::new(Code::KindNotAllowed, "the route takes sessions alone"))
        }
    }
}
