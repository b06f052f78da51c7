//! May they? The only maker of a [`Grant`].

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;

use self::rules::Context;
use super::RequestHead;
use super::authn::{Authn, Proved};
use super::credential::Presented;
use super::rejection::{Code, Rejection};
use super::route::Captures;
use crate::config::Route;

pub mod keeper;
pub mod permission;
pub mod policies;
pub mod policy;
pub mod rules;
mod scopes;

/// Proof that a request may pass. Private fields: only this module can make one.
pub struct Grant {
    index: usize,
    route: Arc<Route>,
    proved: Option<Proved>,
    basis: Basis,
    /// As `X-Stytch-Granting-Roles` has them.
    granting_roles: Option<HeaderValue>,
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

    /// The roles that a permission check named, as `X-Stytch-Granting-Roles` has them.
    #[must_use]
    pub const fn granting_roles(&self) -> Option<&HeaderValue> {
        self.granting_roles.as_ref()
    }

    /// What it would have been told on a route that is not in observe.
    #[must_use]
    pub fn observed(&self) -> Option<&Rejection> {
        self.observed.as_deref()
    }
}

pub(super) fn public(index: usize, route: &Arc<Route>) -> Grant {
    grant(index, route, None, Basis::Public)
}

pub(super) fn anonymous(index: usize, route: &Arc<Route>) -> Grant {
    grant(index, route, None, Basis::Anonymous)
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
    Grant { observed: Some(Box::new(rejection)), ..grant(index, route, proved, basis) }
}

/// For whoever was judged.
pub(super) fn permit(
    index: usize,
    route: &Arc<Route>,
    proved: Proved,
    granting_roles: Option<HeaderValue>,
) -> Grant {
    Grant { granting_roles, ..grant(index, route, Some(proved), Basis::Allowed) }
}

fn grant(index: usize, route: &Arc<Route>, proved: Option<Proved>, basis: Basis) -> Grant {
    Grant { index, route: Arc::clone(route), proved, basis, granting_roles: None, observed: None }
}

/// What the rules of a route are judged by.
pub(super) struct Judged<'a> {
    pub(super) route: &'a Route,
    pub(super) head: &'a RequestHead<'a>,
    pub(super) captures: &'a Captures,
    pub(super) presented: &'a Presented<'a>,
    pub(super) authn: &'a Rc<Authn>,
    /// `session.leeway` in milliseconds.
    pub(super) leeway: i64,
}

impl Judged<'_> {
    /// Judges every rule of the route, on every request, whatever is remembered of the identity. Of
    /// a permission, says which roles grant it.
    ///
    /// # Errors
    /// The first rule that does not hold, or could not be judged.
    pub(super) async fn judge(&self, proved: &mut Proved) -> Result<Option<HeaderValue>, Rejection> {
        let rules = &self.route.rules;
        rules::judge(&rules.first, &self.context(proved))?;
        let granting = match &rules.permission {
            None => None,
            Some(wanted) => {
                let now = self.head.received_at;
                permission::judge(wanted, self.authn, proved, self.presented, now).await?
            }
        };
        rules::judge(&rules.step_up, &self.context(proved))?;
        Ok(granting)
    }

    fn context<'a>(&'a self, proved: &'a Proved) -> Context<'a> {
        Context {
            leeway: self.leeway,
            identity: &proved.word.identity,
            kind: proved.word.kind,
            captures: self.captures,
            host: self.head.host,
            path: self.head.path,
            now: self.head.received_at,
        }
    }
}
