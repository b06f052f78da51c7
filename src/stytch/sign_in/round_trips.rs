//! The calls of sign-ins that leave the gateway and come back with a token: OAuth, single sign-on,
//! magic links (REFERENCE.md 7.5).
//!
//! What holds: a token goes to the one endpoint made for it, together with the verifier of the
//! challenge it was begun with; what providers hand out besides an identity is never read.

use http::Method;
use http_body_util::Full;
use serde_json::{Value, json};

use super::super::error::{Error, OF_SIGN_IN};
use super::super::types::{Discovered, Done, MemberLogin, OrganizationFound, UserLogin};
use super::super::{Client, Credential, segment};
use super::{Attributes, with_session};

/// A token that came back, and what proves that it came back to where it was begun.
#[derive(Clone, Copy)]
pub struct Returned<'a> {
    pub token: &'a str,
    /// Of the challenge that was given at the start (RFC 7636 section 4.1).
    pub verifier: &'a str,
}

/// Where links lead, how long they work in minutes, and the challenge that they are bound by.
#[derive(Clone, Copy)]
pub struct Linking<'a> {
    pub redirect_url: &'a str,
    pub challenge: &'a str,
    pub minutes: u32,
    pub locale: Option<&'a str>,
}

/// Which of a member's ways in a token is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberToken {
    Oauth,
    Sso,
    MagicLink,
}

/// What a member brings along. At most one of the two counts: the intermediate session, if there
/// is one.
#[derive(Clone, Copy)]
pub struct Brought<'a> {
    pub intermediate: Option<&'a str>,
    pub session: Option<&'a Credential>,
}

impl Client {
    /// Sends a link to an address, whatever organizations know it.
    pub async fn discovery_link_send(&self, email: &str, link: Linking<'_>) -> Result<Done, Error> {
        let body = json!({
            "email_address": email,
            "discovery_redirect_url": link.redirect_url,
            "pkce_code_challenge": link.challenge,
            "discovery_expiration_minutes": link.minutes,
            "locale": link.locale,
        });
        self.post("/v1/b2b/magic_links/email/discovery/send", body).await
    }

    /// Sends a link to somebody who wants into this organization, by id or slug.
    pub async fn member_link_send(
        &self,
        organization_id: &str,
        email: &str,
        link: Linking<'_>,
    ) -> Result<Done, Error> {
        let body = json!({
            "organization_id": organization_id,
            "email_address": email,
            "login_redirect_url": link.redirect_url,
            "signup_redirect_url": link.redirect_url,
            "pkce_code_challenge": link.challenge,
            "login_expiration_minutes": link.minutes,
            "signup_expiration_minutes": link.minutes,
            "locale": link.locale,
        });
        self.post("/v1/b2b/magic_links/email/login_or_signup", body).await
    }

    /// Sends a link to a user's address, making the user where there is none.
    pub async fn user_link_send(
        &self,
        email: &str,
        attributes: Attributes<'_>,
        link: Linking<'_>,
    ) -> Result<Done, Error> {
        let body = json!({
            "email": email,
            "login_magic_link_url": link.redirect_url,
            "signup_magic_link_url": link.redirect_url,
            "code_challenge": link.challenge,
            "login_expiration_minutes": link.minutes,
            "signup_expiration_minutes": link.minutes,
            "attributes": attributes.body(),
            "locale": link.locale,
        });
        self.post("/v1/magic_links/email/login_or_create", body).await
    }

    /// Proves an address by the link that was sent there, whatever organizations know it.
    pub async fn discovery_link_authenticate(&self, returned: Returned<'_>) -> Result<Discovered, Error> {
        let body = json!({
            "discovery_magic_links_token": returned.token,
            "pkce_code_verifier": returned.verifier,
        });
        self.post("/v1/b2b/magic_links/discovery/authenticate", body).await
    }

    /// Somebody back from a provider, whatever organizations know them.
    pub async fn discovery_oauth_authenticate(&self, returned: Returned<'_>) -> Result<Discovered, Error> {
        let body = json!({
            "discovery_oauth_token": returned.token,
            "pkce_code_verifier": returned.verifier,
        });
        self.post("/v1/b2b/oauth/discovery/authenticate", body).await
    }

    /// A member back in one organization.
    pub async fn member_return(
        &self,
        kind: MemberToken,
        returned: Returned<'_>,
        brought: Brought<'_>,
        minutes: u32,
    ) -> Result<MemberLogin, Error> {
        let (path, name) = match kind {
            MemberToken::Oauth => ("/v1/b2b/oauth/authenticate", "oauth_token"),
            MemberToken::Sso => ("/v1/b2b/sso/authenticate", "sso_token"),
            MemberToken::MagicLink => ("/v1/b2b/magic_links/authenticate", "magic_links_token"),
        };
        let body = json!({
            name: returned.token,
            "pkce_code_verifier": returned.verifier,
            "intermediate_session_token": brought.intermediate,
            "session_duration_minutes": minutes,
        });
        let session = brought.session.filter(|_| brought.intermediate.is_none());
        self.post(path, with_session(body, session)).await
    }

    /// A user back from a provider.
    pub async fn user_oauth_authenticate(
        &self,
        returned: Returned<'_>,
        session: Option<&Credential>,
        minutes: u32,
    ) -> Result<UserLogin, Error> {
        self.post("/v1/oauth/authenticate", with_session(user_return(returned, minutes), session)).await
    }

    /// A user's address, proved by the link that was sent there.
    pub async fn user_link_authenticate(
        &self,
        returned: Returned<'_>,
        attributes: Attributes<'_>,
        session: Option<&Credential>,
        minutes: u32,
    ) -> Result<UserLogin, Error> {
        let mut body = user_return(returned, minutes);
        body["attributes"] = json!(attributes.body());
        self.post("/v1/magic_links/authenticate", with_session(body, session)).await
    }

    /// An organization by id or slug, with its connections to identity providers.
    pub async fn organization(&self, locator: &str) -> Result<OrganizationFound, Error> {
        let path = format!("/v1/b2b/organizations/{}", segment(locator));
        let request = self.authorized(Method::GET, &path).body(Full::default());
        self.call_refusing(request, &OF_SIGN_IN).await
    }
}

fn user_return(returned: Returned<'_>, minutes: u32) -> Value {
    json!({
        "token": returned.token,
        "code_verifier": returned.verifier,
        "session_duration_minutes": minutes,
    })
}
