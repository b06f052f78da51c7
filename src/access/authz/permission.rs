//! Whether Stytch's RBAC permits what a route asks for, judged here or by Stytch.
//!
//! What holds: it is judged by the roles of the session as of Stytch's last word, in the session's
//! own organization; without a policy to judge by, nobody is let through and nobody is refused;
//! what the project's policy grants waits for nothing else; a session that may not is a good
//! session.

use std::rc::Rc;
use std::time::Duration;

use http::HeaderValue;

use super::policies::{Handle, Organization};
use super::policy::{Policy, Roles, Wanted};
use super::rules::{Permission, PermissionCheck, Rule};
use crate::access::authn::{Authn, Proved};
use crate::access::credential::Presented;
use crate::access::rejection::{Code, Rejection};
use crate::config::Config;
use crate::identity::template;
use crate::identity::{Identity, Kind, Session};

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Whether any route is judged by a copy of the policy: tokens are, whoever judges sessions.
#[must_use]
pub fn needs_policy(config: &Config) -> bool {
    config.routes.iter().any(|route| {
        let permission = route.rules.permission.as_ref();
        let is_of_apps =
            |rule: &Rule| matches!(rule, Rule::Kinds(kinds) if kinds.contains(&Kind::ConnectedApp));
        let takes_apps = route.rules.iter().any(is_of_apps);
        permission.is_some_and(|permission| permission.check == PermissionCheck::Local || takes_apps)
    })
}

/// Judges a permission, and names the roles that grant it as `X-Stytch-Granting-Roles` does: a
/// Connected App's scopes permit without one. `now` is unix milliseconds.
///
/// # Errors
/// `permission_denied`; `stytch_unavailable` where it could not be judged; `invalid_credential` where
/// Stytch, asked about it, ends the session.
pub(in crate::access) async fn judge(
    permission: &Permission,
    authn: &Rc<Authn>,
    proved: &mut Proved,
    presented: &Presented<'_>,
    now: i64,
) -> Result<Option<HeaderValue>, Rejection> {
    let is_session = proved.word.identity.kind == Kind::Session;
    if permission.check == PermissionCheck::Remote && is_session {
        return match authn.known_to_permit(permission, proved, presented, now) {
            Some(roles) => Ok(roles),
            None => Box::pin(authn.permits(permission, proved, presented, now)).await,
        };
    }
    let policies = authn.policies().ok_or_else(|| unavailable(RETRY_AFTER))?;
    locally(permission, policies, &proved.word.identity, now).await
}

async fn locally(
    permission: &Permission,
    policies: &Handle,
    identity: &Identity,
    now: i64,
) -> Result<Option<HeaderValue>, Rejection> {
    let wanted = Wanted { resource: &permission.resource, action: &permission.action };
    let session = match (&identity.session, &identity.client) {
        (Some(session), _) => session,
        (None, Some(app)) if identity.kind == Kind::ConnectedApp => {
            let permits = |policy: &Policy| policy.permits_scopes(&app.scopes, wanted);
            let permitted = policies.policies.project(permits).ok_or_else(|| unavailable(RETRY_AFTER))?;
            return if permitted { Ok(None) } else { Err(denied("no scope of the token permits it")) };
        }
        (None, _) => return Err(denied("a machine has no role")),
    };
    let granting = match &identity.organization {
        None => policies.policies.project(|policy| granting(policy, &Roles::default(), session, wanted)),
        Some(organization) => {
            let with = |own: &Organization| {
                policies.policies.project(|policy| granting(policy, &own.roles, session, wanted))
            };
            match policies.in_use(&organization.id, now, with) {
                Some(granting) => granting,
                None => match policies
                    .policies
                    .project(|policy| granting(policy, &Roles::default(), session, wanted))
                {
                    // An organization's own roles can only add to this, so nobody waits for them.
                    Some(Ok(roles)) => {
                        policies.wish_for(&organization.id);
                        Some(Ok(roles))
                    }
                    None => None,
                    Some(Err(_)) => {
                        let asked = Box::pin(policies.roles_of(&organization.id, now));
                        with(&*asked.await.map_err(unavailable)?)
                    }
                },
            }
        }
    };
    granting.ok_or_else(|| unavailable(RETRY_AFTER))?.map(Some)
}

fn granting(
    policy: &Policy,
    own: &Roles,
    session: &Session,
    wanted: Wanted<'_>,
) -> Result<HeaderValue, Rejection> {
    let roles = policy.granting(own, &session.roles, wanted);
    template::list(&roles).ok_or_else(|| denied("no role of the session permits it"))
}

pub(in crate::access) fn denied(reason: &'static str) -> Rejection {
    Rejection::new(Code::PermissionDenied, reason)
}

fn unavailable(retry_after: Duration) -> Rejection {
    Rejection::new(Code::StytchUnavailable, "there is no RBAC policy to judge by").retry_after(retry_after)
}
