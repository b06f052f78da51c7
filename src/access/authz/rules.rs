//! The rules of a route (DESIGN.md section 6): what each wants, what it got, and whether it holds.
//!
//! What holds: all rules given must hold, and one that finds nothing to judge does not hold; a rule
//! looks at the identity as Stytch vouched for it and at nothing the request says of itself, but
//! for the organization that the route captures. Judging allocates nothing where the rule holds;
//! what a rule wanted and got is put into words only when somebody asks.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::scopes;
use crate::access::rejection::{Code, Rejection, StepUp};
use crate::access::route::Captures;
use crate::clock;
use crate::identity::device::Device;
use crate::identity::{Identity, Kind};

/// How ids of organizations begin (REFERENCE.md section 2).
const IDS: [&str; 2] = ["organization-test-", "organization-live-"];

/// Everything a route asks of whoever comes, in the order it is judged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// Who it is.
    pub first: Box<[Rule]>,
    /// What Stytch's RBAC says; judged between the others, because it may have to ask.
    pub permission: Option<Permission>,
    /// How they signed in: judged last, since it is the one thing they can do something about.
    pub step_up: Box<[Rule]>,
}

/// One rule, ready to be judged.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    Kinds(Vec<Kind>),
    Organizations(Vec<Allowed>),
    /// Any of them.
    Roles(Vec<String>),
    /// All of them.
    Scopes(Vec<String>),
    /// A custom claim, and the values of which it must have one.
    Claim(String, Vec<Value>),
    /// Lower-case.
    EmailDomains(Vec<String>),
    NotImpersonated,
    /// All of them; the type is as REFERENCE.md 2.3 lists them.
    Factors(Vec<String>, Arc<StepUp>),
    Mfa(Arc<StepUp>),
    MaxAuthAge(Duration, Arc<StepUp>),
    /// Of the session's sign-in.
    KnownDevice(Arc<StepUp>),
    /// At the sign-in, since the device was seen first.
    DeviceKnownFor(Duration, Arc<StepUp>),
    /// Upper-case. Of the session's sign-in, whatever the request comes from.
    DeviceCountries(Vec<String>, Arc<StepUp>),
}

/// An organization that may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// Its id or its slug.
    Named(String),
    /// What the route captures under a name: the position among its captures, and the name.
    Captured(usize, String),
}

/// What Stytch's RBAC policy must permit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Permission {
    pub resource: String,
    pub action: String,
    pub check: PermissionCheck,
}

/// Who judges a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PermissionCheck {
    /// This gateway, with a copy of the policy.
    Local,
    /// Stytch.
    Remote,
}

/// What a rule is judged by.
pub struct Context<'a> {
    pub identity: &'a Identity,
    /// The identity's, to be had without looking at it.
    pub kind: Kind,
    pub captures: &'a Captures,
    pub host: &'a str,
    pub path: &'a str,
    /// Unix milliseconds.
    pub now: i64,
    /// `session.leeway` in milliseconds: how far Stytch's clock may be ahead.
    pub leeway: i64,
}

impl Rules {
    /// Whether any of them needs what only an API answer tells.
    #[must_use]
    pub fn needs_profile(&self) -> bool {
        self.first.iter().any(|rule| matches!(rule, Rule::EmailDomains(_)))
    }

    /// The organization, by id or slug, that somebody has to come from: the one that the route
    /// captures, or the only one that it names.
    #[must_use]
    pub fn organization<'a>(&'a self, captures: &Captures, host: &'a str, path: &'a str) -> Option<&'a str> {
        let allowed = self.first.iter().find_map(|rule| match rule {
            Rule::Organizations(allowed) => Some(allowed),
            _ => None,
        })?;
        let captured = allowed.iter().find_map(|allowed| match allowed {
            Allowed::Captured(index, _) => captures.at(*index, host, path),
            Allowed::Named(_) => None,
        });
        captured.or(match allowed.as_slice() {
            [Allowed::Named(only)] => Some(only),
            _ => None,
        })
    }

    /// All but the permission, in the order they are judged.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.first.iter().chain(&self.step_up)
    }
}

/// The first rule that does not hold.
///
/// # Errors
/// Its rejection.
pub fn judge(rules: &[Rule], context: &Context<'_>) -> Result<(), Rejection> {
    rules.iter().try_for_each(|rule| rule.judge(context))
}

impl Rule {
    /// Whether it holds.
    ///
    /// # Errors
    /// The rejection that says it does not.
    pub fn judge(&self, context: &Context<'_>) -> Result<(), Rejection> {
        if self.holds(context) { Ok(()) } else { Err(self.rejection()) }
    }

    fn holds(&self, context: &Context<'_>) -> bool {
        let identity = context.identity;
        match self {
            Self::Kinds(kinds) => kinds.contains(&context.kind),
            Self::Organizations(allowed) => allowed.iter().any(|allowed| allowed.is_of(context)),
            Self::Roles(wanted) => identity
                .session
                .as_ref()
                .is_some_and(|session| wanted.iter().any(|role| session.roles.contains(role))),
            Self::Scopes(wanted) => {
                let granted = identity.client.as_ref().map_or(&[][..], |client| &client.scopes);
                wanted.iter().all(|scope| scopes::satisfied(granted, scope))
            }
            Self::Claim(name, values) => {
                identity.claims.get(name).is_some_and(|claim| values.contains(claim))
            }
            Self::EmailDomains(domains) => identity
                .verified_domain()
                .is_some_and(|domain| domains.iter().any(|allowed| allowed.eq_ignore_ascii_case(domain))),
            Self::NotImpersonated => {
                identity.session.as_ref().is_none_or(|session| !session.has_factor("impersonated"))
            }
            Self::Factors(wanted, _) => identity
                .session
                .as_ref()
                .is_some_and(|session| wanted.iter().all(|kind| session.has_factor(kind))),
            Self::Mfa(_) => identity.session.as_ref().is_some_and(|session| session.is_multi_factor()),
            Self::MaxAuthAge(most, _) => {
                let newest = identity.session.as_ref().and_then(|session| session.newest_factor());
                let oldest = context.now.saturating_sub(clock::span(*most));
                newest.is_some_and(|at| oldest <= at && at <= context.now.saturating_add(context.leeway))
            }
            Self::KnownDevice(_) => identity.device().is_some_and(Device::is_known),
            Self::DeviceKnownFor(least, _) => identity
                .device()
                .and_then(Device::known_for)
                .is_some_and(|seconds| seconds >= least.as_secs()),
            Self::DeviceCountries(countries, _) => identity
                .device()
                .and_then(Device::country)
                .is_some_and(|country| countries.iter().any(|one| one.eq_ignore_ascii_case(country))),
        }
    }

    fn rejection(&self) -> Rejection {
        match self {
            Self::Kinds(_) => {
                Rejection::new(Code::KindNotAllowed, "the route takes other kinds of credential")
            }
            Self::Organizations(_) => {
                Rejection::new(Code::OrganizationNotAllowed, "the session is of another organization")
            }
            Self::Roles(_) => Rejection::new(Code::RoleNotAllowed, "the session has none of the roles"),
            Self::Scopes(_) => Rejection::new(Code::ScopeMissing, "the token lacks a scope"),
            Self::Claim(..) => Rejection::new(Code::ClaimMismatch, "a custom claim has none of the values"),
            Self::EmailDomains(_) => Rejection::new(
                Code::EmailDomainNotAllowed,
                "the address is in none of the domains, or not verified",
            ),
            Self::NotImpersonated => {
                Rejection::new(Code::ImpersonationNotAllowed, "the session is an impersonator's")
            }
            Self::Factors(_, wanted) => {
                Rejection::new(Code::StepUpRequired, "a factor is missing").step_up(wanted)
            }
            Self::Mfa(wanted) => {
                Rejection::new(Code::StepUpRequired, "the session has one type of factor alone")
                    .step_up(wanted)
            }
            Self::MaxAuthAge(_, wanted) => {
                Rejection::new(Code::StepUpRequired, "the newest factor is too old").step_up(wanted)
            }
            Self::KnownDevice(wanted) => {
                Rejection::new(Code::StepUpRequired, "the device was new, or is not known").step_up(wanted)
            }
            Self::DeviceKnownFor(_, wanted) => {
                Rejection::new(Code::StepUpRequired, "the device is not known, or not for long enough")
                    .step_up(wanted)
            }
            Self::DeviceCountries(_, wanted) => {
                Rejection::new(Code::StepUpRequired, "the sign-in was from none of the countries")
                    .step_up(wanted)
            }
        }
    }

    /// The rule as it stands in the configuration: its key, and what it wants.
    #[must_use]
    pub fn wanted(&self) -> (&'static str, String) {
        match self {
            Self::Kinds(kinds) => ("kinds", list(kinds.iter().map(|kind| kind.as_str()))),
            Self::Organizations(allowed) => ("allow.organizations", list(allowed)),
            Self::Roles(roles) => ("allow.roles", list(roles)),
            Self::Scopes(scopes) => ("allow.scopes", list(scopes)),
            Self::Claim(name, values) => ("allow.claims", format!("{name} = {}", list(values))),
            Self::EmailDomains(domains) => ("allow.email_domains", list(domains)),
            Self::NotImpersonated => ("allow.impersonated", "false".to_owned()),
            Self::Factors(factors, _) => ("allow.factors", list(factors)),
            Self::Mfa(_) => ("allow.mfa", "true".to_owned()),
            Self::MaxAuthAge(most, _) => ("allow.max_auth_age", format!("{}s", most.as_secs())),
            Self::KnownDevice(_) => ("allow.device.known", "true".to_owned()),
            Self::DeviceKnownFor(least, _) => ("allow.device.known_for", format!("{}s", least.as_secs())),
            Self::DeviceCountries(countries, _) => ("allow.device.countries", list(countries)),
        }
    }

    /// What it is judged by, in the words of an operator.
    #[must_use]
    pub fn got(&self, context: &Context<'_>) -> String {
        let identity = context.identity;
        let session = identity.session.as_ref();
        match self {
            Self::Kinds(_) => identity.kind.as_str().to_owned(),
            Self::Organizations(allowed) => {
                let mut got = identity.organization.as_ref().map_or_else(
                    || "no organization".to_owned(),
                    |organization| format!("{} ({})", organization.slug, organization.id),
                );
                for allowed in allowed {
                    if let Allowed::Captured(index, name) = allowed {
                        let captured = context.captures.at(*index, context.host, context.path).unwrap_or("");
                        let _ = write!(got, "; {{{name}}} is {captured}");
                    }
                }
                got
            }
            Self::Roles(_) => session.map_or_else(|| "no session".to_owned(), |session| list(&session.roles)),
            Self::Scopes(_) => {
                identity.client.as_ref().map_or_else(|| "no scopes".to_owned(), |client| list(&client.scopes))
            }
            Self::Claim(name, _) => {
                identity.claims.get(name).map_or_else(|| "no such claim".to_owned(), ToString::to_string)
            }
            Self::EmailDomains(_) => identity.verified_domain().unwrap_or("no verified address").to_owned(),
            Self::NotImpersonated | Self::Factors(..) | Self::Mfa(_) => session.map_or_else(
                || "no session".to_owned(),
                |session| list(session.factors.iter().map(|factor| &factor.kind)),
            ),
            Self::MaxAuthAge(..) => match session.and_then(|session| session.newest_factor()) {
                Some(at) => format!("{}s", (context.now - at).max(0) / 1000),
                None => "no factor says when".to_owned(),
            },
            Self::KnownDevice(_) | Self::DeviceKnownFor(..) => match identity.device() {
                None => "no device".to_owned(),
                Some(device) => match device.known_for() {
                    Some(seconds) => format!("known for {seconds}s"),
                    None if device.is_known() => "known".to_owned(),
                    None => "new".to_owned(),
                },
            },
            Self::DeviceCountries(..) => {
                identity.device().and_then(Device::country).unwrap_or("no country").to_owned()
            }
        }
    }
}

impl Allowed {
    /// What looks like an id is compared with the id alone, since another organization could take
    /// it for its slug. A host is lower-case, so a slug with capitals is never met there.
    fn is_of(&self, context: &Context<'_>) -> bool {
        let name = match self {
            Self::Named(name) => Some(name.as_str()),
            Self::Captured(index, _) => context.captures.at(*index, context.host, context.path),
        };
        let (Some(organization), Some(name)) = (&context.identity.organization, name) else { return false };
        let is_id = IDS.iter().any(|prefix| name.starts_with(prefix));
        let known = if is_id { &organization.id } else { &organization.slug };
        !name.is_empty() && known == name
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Captured(_, name) => write!(f, "{{{name}}}"),
        }
    }
}

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests;
