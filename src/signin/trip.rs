//! Leaving for a provider (REFERENCE.md 7.5): what a trip begins with, and where.
//!
//! What holds: a trip begins with a form of this very origin; only a sealed state of this browser
//! knows the verifier whose challenge went along, so what comes back counts there alone; where it
//! comes back to is one of the addresses that the settings name.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::Desk;
use super::login::{Next, login_path_into};
use super::page::Ways;
use super::state::{Away, Start, Step, Trip, random};
use super::texts::Key;
use crate::config::{OauthProvider, RoundTrips, SigninMethod, Vertical};
use crate::telemetry::audit_log::Event;

/// What somebody may choose among to begin with.
pub(super) struct Offers {
    /// A code by e-mail.
    pub(super) email: bool,
    /// A link by e-mail.
    pub(super) link: bool,
    /// A code to a phone.
    pub(super) phone: Ways,
    pub(super) providers: Vec<OauthProvider>,
    pub(super) sso: Sso,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sso {
    Off,
    /// It is known whose.
    Known,
    /// An organization has to be named.
    Asks,
}

impl Offers {
    pub(super) fn are_none(&self) -> bool {
        let phone = self.phone.sms || self.phone.whatsapp;
        let any = self.email || self.link || phone || !self.providers.is_empty();
        !any && self.sso == Sso::Off
    }
}

/// What there is for this start on this host: of the methods that are on, those that the
/// organization takes, and those that leave only where people can come back to.
pub(super) fn offers(desk: &Desk<'_>, start: &Start) -> Offers {
    let is_on = |method| desk.signin.methods.contains(&method);
    let taken = |name: &str| start.only.is_empty() || start.only.iter().any(|only| only == name);
    let leaves = callback(desk).is_some();
    let providers = desk.signin.oauth_providers.iter().copied();
    let providers = providers.filter(|provider| taken(provider.auth_method().unwrap_or_default()));
    let sso = match (leaves && is_on(SigninMethod::Sso) && taken("sso"), start) {
        (false, _) => Sso::Off,
        (true, Start { organization: None, connection: None, .. }) => Sso::Asks,
        (true, _) => Sso::Known,
    };
    Offers {
        email: is_on(SigninMethod::EmailOtp) && taken("email_otp"),
        link: leaves && is_on(SigninMethod::MagicLink) && taken("magic_link"),
        phone: Ways {
            sms: is_on(SigninMethod::SmsOtp) && start.only.is_empty(),
            whatsapp: is_on(SigninMethod::WhatsappOtp) && start.only.is_empty(),
        },
        providers: if leaves { providers.collect() } else { Vec::new() },
        sso,
    }
}

fn trips<'a>(desk: &Desk<'a>) -> Option<&'a RoundTrips> {
    desk.signin.round_trips.as_ref()
}

/// Where people come back to who leave from here.
pub(super) fn callback<'a>(desk: &Desk<'a>) -> Option<&'a str> {
    trips(desk)?.callback(&desk.visit.host)
}

/// Where forms may lead besides, as far as that is not https, which they may anyway: what lies
/// between a start page and the way back is known to Stytch alone.
pub(super) fn start_origin<'a>(desk: &Desk<'a>) -> Option<&'a str> {
    trips(desk).map(|trips| trips.start.as_str()).filter(|origin| !origin.starts_with("https://"))
}

/// The sign-in page of the host that people leave from, for somebody who is at another one.
pub(super) fn on_another_host(
    desk: &Desk<'_>,
    return_to: &str,
    organization: Option<&str>,
) -> Option<String> {
    let callback = trips(desk)?.callbacks.first().filter(|callback| callback.host != desk.visit.host)?;
    let origin = callback.url.strip_suffix("/callback")?.strip_suffix(&desk.signin.base_path)?;
    let host = desk.parts.headers.get(http::header::HOST)?.to_str().ok()?;
    let scheme = if desk.client.https { "https" } else { "http" };
    let target = desk.target(return_to);
    let place = target.origin().map_or_else(|| format!("{scheme}://{host}"), |_| String::new());
    let path = login_path_into(desk, &format!("{place}{}", target.location()), organization);
    Some(format!("{origin}{path}"))
}

/// A verifier that nobody else can know (RFC 7636 section 4.1: 32 bytes in base64url).
pub(super) fn verifier() -> String {
    random::<32>()
}

/// Its challenge by S256, the only method there is (RFC 7636 section 4.2).
pub(super) fn challenge(verifier: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// Off to a provider.
pub(super) fn to_provider(desk: &Desk<'_>, start: &Start, slug: &str) -> Next {
    let offered = offers(desk, start).providers.into_iter().find(|provider| provider.slug() == slug);
    let Some(provider) = offered else { return Next::Stale };
    let (path, trip) = match (desk.config.stytch.vertical, &start.organization) {
        (Vertical::Consumer, _) => ("/v1/public/oauth", Trip::Oauth),
        (Vertical::B2b, Some(_)) => ("/v1/b2b/public/oauth", Trip::Oauth),
        (Vertical::B2b, None) => ("/v1/b2b/public/oauth", Trip::DiscoveryOauth),
    };
    let end = if trip == Trip::DiscoveryOauth { "discovery/start" } else { "start" };
    leave(desk, start, trip, &format!("{path}/{}/{end}", provider.slug()), None)
}

/// Off to an organization's own identity provider.
pub(super) fn to_connection(desk: &Desk<'_>, start: &Start, connection: &str) -> Next {
    leave(desk, start, Trip::Sso, "/v1/public/sso/start", Some(("connection_id", connection)))
}

fn leave(desk: &Desk<'_>, start: &Start, trip: Trip, path: &str, more: Option<(&str, &str)>) -> Next {
    let (Some(trips), Some(back)) = (trips(desk), callback(desk)) else { return Next::Stale };
    let Some(public_token) = &trips.public_token else { return Next::Stale };
    let verifier = verifier();
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("public_token", public_token);
    match (trip, &start.organization) {
        (Trip::DiscoveryOauth, _) => drop(query.append_pair("discovery_redirect_url", back)),
        _ => drop(query.append_pair("login_redirect_url", back).append_pair("signup_redirect_url", back)),
    }
    if let (Trip::Oauth, Vertical::B2b, Some(organization)) =
        (trip, desk.config.stytch.vertical, &start.organization)
    {
        // An id says so itself (REFERENCE.md section 10), and no slug is taken for one.
        let locator = if is_id(organization) { "organization_id" } else { "slug" };
        query.append_pair(locator, organization);
    }
    let name = match desk.config.stytch.vertical {
        Vertical::B2b => "pkce_code_challenge",
        Vertical::Consumer => "code_challenge",
    };
    query.append_pair(name, &challenge(&verifier)).extend_pairs(more);
    let url = format!("{}{path}?{}", trips.start, query.finish());
    let away = Away { trip, verifier, start: start.clone(), mailed: None };
    Next::Leave(Step::Away(away), url)
}

fn is_id(locator: &str) -> bool {
    locator.starts_with("organization-test-") || locator.starts_with("organization-live-")
}

/// By single sign-on, with one of the connections of the organization that is named or known.
pub(super) async fn by_sso(desk: &Desk<'_>, start: &Start, named: &str) -> Next {
    if offers(desk, start).sso == Sso::Off {
        return Next::Stale;
    }
    if let Some(connection) = &start.connection {
        return to_connection(desk, start, connection);
    }
    let named = start.organization.as_deref().unwrap_or_else(|| named.trim());
    let none = || Next::Amend(Step::Start(start.clone()), Key::NoSso, named.to_owned());
    let Some(locator) = super::form::organization(named) else { return none() };
    let found = match desk.common.ask("b2b_organizations_get", desk.common.client.organization(locator)).await
    {
        Ok(found) => found.organization,
        Err(super::Trouble::Refused(reason)) => {
            desk.audit(Event::SignInRefused, None, &reason);
            return none();
        }
        Err(trouble) => return Next::Again(trouble),
    };
    let start = Start { organization: Some(found.organization_id), ..start.clone() };
    let mut connections = found.sso_active_connections;
    let usual = found.sso_default_connection_id;
    let usual = connections.iter().find(|one| usual.as_ref() == Some(&one.connection_id));
    if let Some(connection) = usual.or(if connections.len() == 1 { connections.first() } else { None }) {
        return to_connection(desk, &start, &connection.connection_id);
    }
    if connections.is_empty() {
        return none();
    }
    connections.truncate(MAX_CONNECTIONS);
    let named = |name: String| name.chars().take(MAX_NAME).collect();
    let connections = connections.into_iter().map(|one| (one.connection_id, named(one.display_name)));
    Next::Step(Step::Connect { start, connections: connections.collect() }, None)
}

/// More would not fit into the cookie that keeps them.
const MAX_CONNECTIONS: usize = 10;
const MAX_NAME: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 appendix B.
    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        let made = super::verifier();
        assert_eq!(made.len(), 43);
        assert_ne!(made, super::verifier());
    }
}
