//! What people let Connected Apps do: authorization codes, refresh tokens, and which access tokens
//! are still good.
//!
//! Everything that comes of one consent shares a grant's id, so that revoking a refresh token, or
//! using a code twice, ends all of it.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::clock::minutes_after;
use crate::error::OAuth2Error;
use crate::session::Subject;
use crate::state::State;
use crate::{ids, pkce};

const CODE_MINUTES: u32 = 10;

/// A person's consent to an app.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) id: String,
    pub(crate) client_id: String,
    pub(crate) subject: Subject,
    pub(crate) scopes: Vec<String>,
    /// What the app wants to find in the ID token.
    pub(crate) nonce: Option<String>,
}

#[derive(Debug)]
struct Code {
    grant: Grant,
    redirect_uri: String,
    challenge: Option<String>,
    expires_at: Timestamp,
    used: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Grants {
    codes: HashMap<String, Code>,
    refresh_tokens: HashMap<String, Grant>,
    /// The ids of the access tokens that are not revoked, with their grants'.
    access_tokens: HashMap<String, String>,
}

impl Grant {
    pub(crate) fn new(client_id: &str, subject: Subject, scopes: Vec<String>) -> Self {
        let (id, client_id) = (ids::token(), client_id.into());
        Self { id, client_id, subject, scopes, nonce: None }
    }

    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|one| one == scope)
    }
}

impl State {
    /// A code for the app to fetch its tokens with, once.
    pub(crate) fn authorization_code(
        &mut self,
        grant: Grant,
        redirect_uri: &str,
        challenge: Option<String>,
    ) -> String {
        let expires_at = minutes_after(self.now(), CODE_MINUTES);
        let code = Code { grant, redirect_uri: redirect_uri.into(), challenge, expires_at, used: false };
        let name = ids::token();
        self.grants.codes.insert(name.clone(), code);
        name
    }

    /// Uses a code up. It must be the app's own, come back from where it was sent to, and with the
    /// verifier its challenge was made of.
    pub(crate) fn redeem_authorization_code(
        &mut self,
        code: &str,
        client_id: &str,
        redirect_uri: Option<&str>,
        verifier: Option<&str>,
    ) -> Result<Grant, OAuth2Error> {
        let invalid = |why: &str| OAuth2Error::new("invalid_grant", why);
        let now = self.now();
        let code = self.grants.codes.get_mut(code).ok_or_else(|| invalid("there is no such code"))?;
        if code.grant.client_id != client_id {
            return Err(invalid("the code is another app's"));
        }
        if code.used {
            let id = code.grant.id.clone();
            self.grants.revoke(&id);
            return Err(invalid("the code was used before"));
        }
        if code.expires_at <= now {
            return Err(invalid("the code has expired"));
        }
        if redirect_uri.is_some_and(|uri| uri != code.redirect_uri) {
            return Err(invalid("the code was sent elsewhere"));
        }
        match (&code.challenge, verifier) {
            (Some(challenge), Some(verifier)) if pkce::matches(challenge, verifier) => {}
            (None, None) => {}
            _ => return Err(invalid("the code_verifier does not match the code_challenge")),
        }
        code.used = true;
        Ok(code.grant.clone())
    }
}

impl Grants {
    /// A new refresh token for the grant.
    pub(crate) fn refresh_token(&mut self, grant: &Grant) -> String {
        let token = ids::token();
        self.refresh_tokens.insert(token.clone(), grant.clone());
        token
    }

    /// Uses a refresh token up: the next answer brings another.
    pub(crate) fn redeem_refresh_token(
        &mut self,
        token: &str,
        client_id: &str,
    ) -> Result<Grant, OAuth2Error> {
        let own = self.refresh_tokens.get(token).is_some_and(|grant| grant.client_id == client_id);
        let grant = own.then(|| self.refresh_tokens.remove(token)).flatten();
        grant.ok_or_else(|| OAuth2Error::new("invalid_grant", "the app has no such refresh token"))
    }

    pub(crate) fn issued(&mut self, token_id: &str, grant: &Grant) {
        self.access_tokens.insert(token_id.into(), grant.id.clone());
    }

    pub(crate) fn is_living(&self, token_id: &str) -> bool {
        self.access_tokens.contains_key(token_id)
    }

    pub(crate) fn revoke_access_token(&mut self, token_id: &str) {
        self.access_tokens.remove(token_id);
    }

    /// Ends a refresh token of that app, and all that came of the same consent.
    pub(crate) fn revoke_refresh_token(&mut self, token: &str, client_id: &str) {
        if let Ok(grant) = self.redeem_refresh_token(token, client_id) {
            self.revoke(&grant.id);
        }
    }

    fn revoke(&mut self, grant_id: &str) {
        self.refresh_tokens.retain(|_, grant| grant.id != grant_id);
        self.access_tokens.retain(|_, of| of != grant_id);
    }
}
