//! Tokens that travel on redirects: magic links, and the way back from a provider.
//!
//! A token proves one thing, at the one endpoint made for it, once, until it expires; and if a
//! challenge was given at the start, to whoever has the verifier alone.

use std::collections::HashMap;

use jiff::Timestamp;
use url::Url;

use crate::clock::minutes_after;
use crate::error::{ApiError, Refusal};
use crate::provider::Provider;
use crate::state::State;
use crate::{ids, pkce};

/// How long somebody back from a provider has, in minutes.
const RETURN_MINUTES: u32 = 10;

/// Where a project without redirect URLs of its own sends people, as new test projects do.
const USUAL_URL: &str = "http://localhost:3000/authenticate";

/// The magic link that every test project takes for one that was used before.
const SPENT_LINK: &str = "3pzjQpgksDlGKWEwUq2Up--hCHC_0oamfLHyfspKDFU=";

/// The tokens that are out, by what they prove.
#[derive(Debug)]
pub(crate) struct Redirects {
    /// That the member with this id reads their e-mail.
    pub(crate) member_links: Tickets<String>,
    /// That somebody reads this address.
    pub(crate) discovery_links: Tickets<String>,
    /// That a Consumer user reads the address with this id.
    pub(crate) user_links: Tickets<String>,
    /// That a provider knows somebody who wants into the organization with this id.
    pub(crate) member_oauth: Tickets<(String, OauthProof)>,
    /// That a provider knows somebody who looks for organizations.
    pub(crate) discovery_oauth: Tickets<OauthProof>,
    /// That a provider knows somebody who wants in as a Consumer user.
    pub(crate) user_oauth: Tickets<OauthProof>,
    pub(crate) sso: Tickets<SsoProof>,
}

impl Default for Redirects {
    fn default() -> Self {
        Self {
            member_links: Tickets::with_spent(SPENT_LINK),
            discovery_links: Tickets::default(),
            user_links: Tickets::with_spent(SPENT_LINK),
            member_oauth: Tickets::default(),
            discovery_oauth: Tickets::default(),
            user_oauth: Tickets::default(),
            sso: Tickets::default(),
        }
    }
}

/// Somebody with that address at a provider.
#[derive(Debug, Clone)]
pub(crate) struct OauthProof {
    pub(crate) provider: &'static Provider,
    pub(crate) address: String,
    /// What was asked of the provider besides an identity.
    pub(crate) custom_scopes: String,
}

/// Somebody with that address behind an organization's connection.
#[derive(Debug, Clone)]
pub(crate) struct SsoProof {
    pub(crate) connection_id: String,
    pub(crate) address: String,
}

#[derive(Debug)]
pub(crate) struct Tickets<T>(HashMap<String, Ticket<T>>);

#[derive(Debug)]
struct Ticket<T> {
    proves: T,
    challenge: Option<String>,
    expires_at: Timestamp,
    used: bool,
}

/// What one kind of token is called when it is refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    unknown: Refusal,
    /// It was there, and is used up or too old.
    spent: Refusal,
}

impl Names {
    pub(crate) const MAGIC_LINK: Self =
        Self { unknown: Refusal::MagicLinkNotFound, spent: Refusal::UnableToAuthMagicLink };
    pub(crate) const OAUTH: Self =
        Self { unknown: Refusal::OauthTokenNotFound, spent: Refusal::OauthTokenNotFound };
    pub(crate) const SSO: Self =
        Self { unknown: Refusal::SsoTokenNotFound, spent: Refusal::SsoTokenNotFound };
}

impl OauthProof {
    pub(crate) fn new(provider: &'static Provider, address: &str, query: &HashMap<String, String>) -> Self {
        let custom_scopes = query.get("custom_scopes").cloned().unwrap_or_default();
        Self { provider, address: address.into(), custom_scopes }
    }
}

impl<T> Default for Tickets<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl Tickets<String> {
    fn with_spent(token: &str) -> Self {
        let (proves, expires_at) = (String::new(), Timestamp::MIN);
        let spent = Ticket { proves, challenge: None, expires_at, used: true };
        Self(HashMap::from([(token.to_owned(), spent)]))
    }
}

impl<T: Clone> Tickets<T> {
    pub(crate) fn issue(&mut self, proves: T, challenge: Option<String>, expires_at: Timestamp) -> String {
        let token = ids::token();
        self.0.insert(token.clone(), Ticket { proves, challenge, expires_at, used: false });
        token
    }

    /// Uses a token up. A wrong verifier leaves it as it was.
    pub(crate) fn redeem(
        &mut self,
        token: &str,
        verifier: Option<&str>,
        now: Timestamp,
        names: Names,
    ) -> Result<T, Refusal> {
        let ticket = self.0.get_mut(token).ok_or(names.unknown)?;
        if ticket.used || ticket.expires_at <= now {
            return Err(names.spent);
        }
        match (&ticket.challenge, verifier.filter(|verifier| !verifier.is_empty())) {
            (None, None) => {}
            (None, Some(_)) => return Err(Refusal::PkceDidNotExpectCodeVerifier),
            (Some(_), None) => return Err(Refusal::PkceExpectedCodeVerifier),
            (Some(challenge), Some(verifier)) if pkce::matches(challenge, verifier) => {}
            (Some(_), Some(_)) => return Err(Refusal::PkceMismatch),
        }
        ticket.used = true;
        Ok(ticket.proves.clone())
    }
}

/// How somebody arrives where they are sent: with a token of some type, to some end.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) token_type: &'static str,
    pub(crate) token: &'a str,
    /// `login`, `signup`, `discovery` or `invite`.
    pub(crate) redirect_type: &'static str,
    /// The organization's slug, where one is meant.
    pub(crate) slug: Option<&'a str>,
}

impl Arrival<'_> {
    pub(crate) fn at(&self, mut url: Url) -> String {
        url.query_pairs_mut()
            .extend_pairs(self.slug.map(|slug| ("slug", slug)))
            .append_pair("stytch_redirect_type", self.redirect_type)
            .append_pair("stytch_token_type", self.token_type)
            .append_pair("token", self.token);
        url.into()
    }
}

/// A challenge as a caller gave it; an empty one is none.
pub(crate) fn checked_challenge(given: Option<&str>) -> Result<Option<String>, Refusal> {
    match given.filter(|challenge| !challenge.is_empty()) {
        Some(challenge) if !pkce::is_challenge(challenge) => Err(Refusal::InvalidPkceCodeChallenge),
        challenge => Ok(challenge.map(str::to_owned)),
    }
}

impl State {
    /// Where to send somebody: the URL asked for, if the project has it among its own, or has none.
    pub(crate) fn redirect_url(&self, asked: Option<&str>, foreign: Refusal) -> Result<Url, ApiError> {
        let own = &self.world.redirect_urls;
        let asked = asked.filter(|url| !url.is_empty());
        let url = asked.or_else(|| own.first().map(String::as_str)).unwrap_or(USUAL_URL);
        if !own.is_empty() && !own.iter().any(|one| one == url) {
            let message = format!("{url} is not among the project's redirect URLs.");
            return Err(ApiError::explained(foreign, message));
        }
        Url::parse(url).map_err(|error| ApiError::explained(foreign, format!("{url}: {error}.")))
    }

    /// When the token of somebody who leaves for a provider now expires.
    pub(crate) fn back_by(&self) -> Timestamp {
        minutes_after(self.clock.now(), RETURN_MINUTES)
    }
}
