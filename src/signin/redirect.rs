//! Where a browser is sent that was turned back: to the sign-in page, and from there back; and where
//! a person who was refused may go.
//!
//! For the proxy's own refusals, and for doors that answer in another server's place.
//!
//! What holds: who is sent where is decided here, for every door; all that a location is made of was
//! checked or is escaped.

use http::{HeaderValue, header};

use super::form;
use super::needed::Needed;
use super::target::MAX_LENGTH;
use crate::access::host;
use crate::access::rejection::{Code, Rejection};
use crate::config::{Config, Route, Vertical};
use crate::refusal::Came;
use crate::reply;

/// Where a browser was going.
#[derive(Clone, Copy)]
pub struct Whither<'a> {
    /// With its query; begins with a slash.
    pub path: &'a str,
    /// For a door that answers in another server's place: what is relative there, that server would
    /// read as its own. With it, locations are whole URLs.
    pub origin: Option<Origin<'a>>,
}

/// What a browser has in its address bar before the path.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    pub https: bool,
    /// As the browser named it: host, and the port where it named one.
    pub authority: &'a str,
}

/// What somebody who was refused can do about it.
pub struct WayOn {
    pub location: HeaderValue,
    pub step: NextStep,
}

/// What is behind the link of a refusal.
pub enum NextStep {
    /// Signing in again, with what the session lacks.
    StepUp(Needed),
    /// Another organization, by its slug or id.
    Switch(String),
}

/// The `Location` for a request that was refused on a route, if signing in is the answer to it: a
/// top-level navigation without a session, or with a refused one, where the route wants it so.
#[must_use]
pub fn after(rejection: &Rejection, config: &Config, came: &Came<'_>) -> Option<HeaderValue> {
    route(rejection, config, came).filter(|_| rejection.code.asks_for_sign_in())?;
    let organization = organization(rejection, config).map(|organization| ("organization", organization));
    came.whither.to(config, "/login", organization)
}

/// The link for a person whom a rule refused, if signing in again or elsewhere may satisfy it.
#[must_use]
pub fn way_on(rejection: &Rejection, config: &Config, came: &Came<'_>) -> Option<WayOn> {
    route(rejection, config, came)?;
    let whither = came.whither;
    match (rejection.code, &rejection.step_up) {
        (Code::StepUpRequired, Some(wanted)) => {
            let needed = Needed::of(wanted);
            let location = whither.to(config, "/login", Some(("step_up", &needed.to_string())))?;
            Some(WayOn { location, step: NextStep::StepUp(needed) })
        }
        (Code::OrganizationNotAllowed, _) => {
            let organization = organization(rejection, config)?;
            let location = whither.to(config, "/organizations", Some(("organization", organization)))?;
            Some(WayOn { location, step: NextStep::Switch(organization.to_owned()) })
        }
        _ => None,
    }
}

/// The route that a browser was turned back from, if it may be sent to the pages.
fn route<'c>(rejection: &Rejection, config: &'c Config, came: &Came<'_>) -> Option<&'c Route> {
    let route = config.routes.get(rejection.route?)?;
    (route.sign_in && reply::is_navigation(came.method, came.headers)).then_some(route)
}

fn organization<'r>(rejection: &'r Rejection, config: &Config) -> Option<&'r str> {
    let organization = rejection.organization.as_deref().filter(|_| config.stytch.vertical == Vertical::B2b);
    organization.and_then(form::organization)
}

impl Whither<'_> {
    /// One of the pages on the host a browser is at, with where it was going to come back to, and
    /// one more parameter. Where `server.public_url` is another host, people sign in there, and come
    /// back if `signin.redirects` names the one they came from.
    fn to(&self, config: &Config, page: &str, more: Option<(&str, &str)>) -> Option<HeaderValue> {
        if !config.signin.enabled {
            return None;
        }
        let base = &config.signin.base_path;
        let Some(origin) = self.origin else {
            return HeaderValue::try_from(page_path(base, page, self.path, more)).ok();
        };
        let asked = format!("{}://{}", if origin.https { "https" } else { "http" }, origin.authority);
        let public = config.server.public_url.as_ref().map(|url| url.to_string());
        let public = public.as_deref().map(|url| url.trim_end_matches('/'));
        let url = match public {
            Some(public) if !public.eq_ignore_ascii_case(&asked) => {
                let back = format!("{asked}{}", self.path);
                format!("{public}{}", page_path(base, page, &back, more))
            }
            _ => format!("{asked}{}", page_path(base, page, self.path, more)),
        };
        HeaderValue::try_from(url).ok()
    }
}

/// `/login` under the base path, with where to go afterwards (a path there, or a whole URL). What is
/// too long to come back to is left out.
pub(super) fn login_path(base: &str, return_to: &str) -> String {
    page_path(base, "/login", return_to, None)
}

/// The same for one organization, by its slug or id.
pub(super) fn login_to(base: &str, return_to: &str, organization: &str) -> String {
    page_path(base, "/login", return_to, Some(("organization", organization)))
}

fn page_path(base: &str, page: &str, return_to: &str, more: Option<(&str, &str)>) -> String {
    let returns = !return_to.is_empty() && return_to != "/" && return_to.len() <= MAX_LENGTH;
    let return_to = returns.then_some(("return_to", return_to));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(return_to.into_iter().chain(more));
    match query.finish() {
        query if query.is_empty() => format!("{base}{page}"),
        query => format!("{base}{page}?{query}"),
    }
}

/// The host that pages are shown under, of a request as its client sent it.
pub(super) fn shown_host(asked: &http::HeaderMap) -> Option<String> {
    let host = asked.get(header::HOST)?;
    Some(host::parse(host.as_bytes()).ok()?.host.into_owned())
}

#[cfg(test)]
mod tests;
