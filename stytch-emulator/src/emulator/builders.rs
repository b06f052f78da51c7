//! Sessions and tokens made to order: what a test says about one before it is made.

use serde_json::{Map, Value};

use super::Emulator;
use crate::control::{self, AppTokenOrder, ControlError, M2mOrder, Session, SessionOrder, TokenOrder};
use crate::keys::Key;
use crate::webhook::{self, Webhook, WebhookOrder};

/// A session about to be made; see [`Emulator::session`].
#[derive(Debug)]
#[must_use = "nobody is signed in before `mint`"]
pub struct SessionBuilder<'a> {
    pub(super) emulator: &'a Emulator,
    pub(super) order: SessionOrder,
}

impl SessionBuilder<'_> {
    /// The organization, by id or slug, whose member signs in. Without it, a Consumer user does.
    pub fn organization(mut self, locator: impl Into<String>) -> Self {
        self.order.organization = Some(locator.into());
        self
    }

    /// How long the session lasts: an hour unless said otherwise.
    pub fn minutes(mut self, minutes: u32) -> Self {
        self.order.minutes = Some(minutes);
        self
    }

    /// Custom claims for the session and its JWTs.
    ///
    /// # Panics
    ///
    /// If `claims` is not a JSON object.
    pub fn custom_claims(mut self, claims: impl Into<Value>) -> Self {
        self.order.custom_claims = Some(object(claims.into()));
        self
    }

    /// The types of the factors used, such as `["sso", "totp"]`, instead of an e-mailed code.
    pub fn factors<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.order.factors = Some(types.into_iter().map(Into::into).collect());
        self
    }

    /// Makes it a support engineer in that person's place.
    pub fn impersonated(mut self) -> Self {
        self.order.impersonated = true;
        self
    }

    /// Signs in.
    ///
    /// # Panics
    ///
    /// If nobody has that address there, or a factor type or a custom claim does not exist.
    pub fn mint(self) -> Session {
        self.try_mint().unwrap_or_else(|error| panic!("no session: {error}"))
    }

    /// Signs in, if that can be done.
    ///
    /// # Errors
    ///
    /// If nobody has that address there, or a factor type or a custom claim does not exist.
    pub fn try_mint(self) -> Result<Session, ControlError> {
        control::mint_session(&mut self.emulator.shared.lock(), self.order)
    }
}

/// A token about to be signed; see [`Emulator::token`].
#[derive(Debug)]
#[must_use = "nothing is signed before `sign`"]
pub struct TokenBuilder<'a> {
    pub(super) emulator: &'a Emulator,
    pub(super) order: TokenOrder,
}

impl TokenBuilder<'_> {
    /// Header members that replace the usual ones; `null` removes one.
    ///
    /// # Panics
    ///
    /// If `overrides` is not a JSON object.
    pub fn header(mut self, overrides: impl Into<Value>) -> Self {
        self.order.header = Some(object(overrides.into()));
        self
    }

    /// The key to sign with, and to name in the header.
    pub fn key(mut self, key: Key) -> Self {
        self.order.key = key;
        self
    }

    /// Signs the token.
    pub fn sign(self) -> String {
        control::sign_token(&self.emulator.shared.lock(), &self.order)
    }
}

/// A machine's access token about to be issued; see [`Emulator::m2m_token`].
#[derive(Debug)]
#[must_use = "nothing is issued before `mint`"]
pub struct M2mTokenBuilder<'a> {
    pub(super) emulator: &'a Emulator,
    pub(super) order: M2mOrder,
}

impl M2mTokenBuilder<'_> {
    /// These scopes, whether the client has them or not, instead of all that it has.
    pub fn scopes<T: Into<String>>(mut self, scopes: impl IntoIterator<Item = T>) -> Self {
        self.order.scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// Custom claims, as a token template of the project would add them.
    ///
    /// # Panics
    ///
    /// If `claims` is not a JSON object.
    pub fn custom_claims(mut self, claims: impl Into<Value>) -> Self {
        self.order.custom_claims = object(claims.into());
        self
    }

    /// Issues the token: a JWT, good for an hour.
    ///
    /// # Panics
    ///
    /// If there is no such client.
    pub fn mint(self) -> String {
        control::mint_m2m_token(&self.emulator.shared.lock(), &self.order)
            .unwrap_or_else(|error| panic!("no token: {error}"))
    }
}

/// An app's access token about to be issued; see [`Emulator::connected_app_token`].
#[derive(Debug)]
#[must_use = "nothing is issued before `mint`"]
pub struct AppTokenBuilder<'a> {
    pub(super) emulator: &'a Emulator,
    pub(super) order: AppTokenOrder,
}

impl AppTokenBuilder<'_> {
    /// The organization, by id or slug, whose member the app acts for. Without it, a Consumer user.
    pub fn organization(mut self, locator: impl Into<String>) -> Self {
        self.order.organization = Some(locator.into());
        self
    }

    /// The app. Without it, the project's first, which is made if there is none.
    pub fn client(mut self, client_id: impl Into<String>) -> Self {
        self.order.client_id = Some(client_id.into());
        self
    }

    /// These scopes, whether the person could grant them or not, instead of `openid`.
    pub fn scopes<T: Into<String>>(mut self, scopes: impl IntoIterator<Item = T>) -> Self {
        self.order.scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// The issuer, such as the project's own domain, instead of `stytch.com/` and the project's id.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.order.issuer = Some(issuer.into());
        self
    }

    /// Custom claims, as the app's token template would add them.
    ///
    /// # Panics
    ///
    /// If `claims` is not a JSON object.
    pub fn custom_claims(mut self, claims: impl Into<Value>) -> Self {
        self.order.custom_claims = object(claims.into());
        self
    }

    /// Issues the token: a JWT, good for as long as the app's setting says.
    ///
    /// # Panics
    ///
    /// If nobody has that address there, or there is no such app.
    pub fn mint(self) -> String {
        control::mint_app_token(&mut self.emulator.shared.lock(), self.order)
            .unwrap_or_else(|error| panic!("no token: {error}"))
    }
}

/// A webhook delivery about to be signed; see [`Emulator::webhook`].
#[derive(Debug)]
#[must_use = "nothing is signed before `sign`"]
pub struct WebhookBuilder<'a> {
    pub(super) emulator: &'a Emulator,
    pub(super) order: WebhookOrder,
}

impl WebhookBuilder<'_> {
    /// The delivery's id, to send the same one again as a retry does.
    pub fn delivery(mut self, id: impl Into<String>) -> Self {
        self.order.delivery = Some(id.into());
        self
    }

    /// When it is signed, instead of now by the emulator's clock.
    pub fn at(mut self, time: jiff::Timestamp) -> Self {
        self.order.at = Some(time);
        self
    }

    /// Another secret to sign with than the project's own.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.order.secret = Some(secret.into());
        self
    }

    /// Composes and signs the delivery.
    ///
    /// # Panics
    ///
    /// If Stytch has no such event, nobody has that id, or the secret is none.
    pub fn sign(self) -> Webhook {
        webhook::delivery(&self.emulator.shared.lock(), &self.order)
            .unwrap_or_else(|error| panic!("no webhook: {error}"))
    }
}

#[track_caller]
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("not a JSON object: {other}"),
    }
}
