//! The calls with which people sign in, switch and sign out (REFERENCE.md section 7).
//!
//! What holds: one method for each call; what is not given is left out of the body, never sent as
//! `null`; a name that is none of [`OF_SIGN_IN`] is no refusal.

use http::Method;
use http_body_util::Full;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::error::{Error, OF_SIGN_IN};
use super::types::{Discovered, Done, MemberLogin, Sent, UserLogin};
use super::{Client, Credential, Vertical};

mod round_trips;
mod second_factor;

pub use round_trips::{Brought, Linking, MemberToken, Returned};
pub use second_factor::{MemberStep, Proof};

const DURATION: &str = "session_duration_minutes";
const TELEMETRY: &str = "telemetry_id";

/// How somebody who signs in came, for Stytch's own judgement of risk.
#[derive(Clone, Copy)]
pub struct Attributes<'a> {
    pub ip_address: &'a str,
    /// None where the browser names none.
    pub user_agent: Option<&'a str>,
}

impl Client {
    /// Sends a code to an address, whatever organizations know it.
    pub async fn discovery_send(&self, email: &str, locale: Option<&str>) -> Result<Done, Error> {
        let body = json!({ "email_address": email, "locale": locale });
        self.post("/v1/b2b/otps/email/discovery/send", body).await
    }

    /// Proves the address by the code.
    pub async fn discovery_authenticate(&self, email: &str, code: &str) -> Result<Discovered, Error> {
        let body = json!({ "email_address": email, "code": code });
        self.post("/v1/b2b/otps/email/discovery/authenticate", body).await
    }

    /// The organizations open to whoever holds this intermediate session token.
    pub async fn discovered_by_intermediate(&self, token: &str) -> Result<Discovered, Error> {
        self.post("/v1/b2b/discovery/organizations", json!({ "intermediate_session_token": token })).await
    }

    /// The organizations open to whoever holds this session.
    pub async fn discovered_by_session(&self, session: &Credential) -> Result<Discovered, Error> {
        self.post("/v1/b2b/discovery/organizations", with_session(json!({}), Some(session))).await
    }

    /// Makes an organization, and whoever holds this intermediate session token its first member.
    /// Without a slug it is made from the name.
    pub async fn organization_create(
        &self,
        token: &str,
        name: &str,
        slug: Option<&str>,
        minutes: u32,
    ) -> Result<MemberLogin, Error> {
        let body = json!({
            "intermediate_session_token": token,
            "organization_name": name,
            "organization_slug": slug,
            "session_duration_minutes": minutes,
        });
        self.post("/v1/b2b/discovery/organizations/create", body).await
    }

    /// From a proved address into one organization.
    pub async fn intermediate_exchange(
        &self,
        token: &str,
        organization_id: &str,
        minutes: u32,
    ) -> Result<MemberLogin, Error> {
        let body = json!({
            "intermediate_session_token": token,
            "organization_id": organization_id,
            "session_duration_minutes": minutes,
        });
        self.post("/v1/b2b/discovery/intermediate_sessions/exchange", body).await
    }

    /// Sends a code to somebody who wants into this organization, by id or slug.
    pub async fn member_email_send(
        &self,
        organization_id: &str,
        email: &str,
        locale: Option<&str>,
    ) -> Result<Done, Error> {
        let body = json!({ "organization_id": organization_id, "email_address": email, "locale": locale });
        self.post("/v1/b2b/otps/email/login_or_signup", body).await
    }

    /// Proves a member's address by the code. At most one of an intermediate session and a session
    /// comes along.
    pub async fn member_email_authenticate(
        &self,
        organization_id: &str,
        email: &str,
        code: &str,
        intermediate: Option<&str>,
        session: Option<&Credential>,
        minutes: u32,
    ) -> Result<MemberLogin, Error> {
        let body = json!({
            "organization_id": organization_id,
            "email_address": email,
            "code": code,
            "intermediate_session_token": intermediate,
            "session_duration_minutes": minutes,
        });
        let session = session.filter(|_| intermediate.is_none());
        self.post("/v1/b2b/otps/email/authenticate", with_session(body, session)).await
    }

    /// The same person's session in another organization.
    pub async fn session_exchange(
        &self,
        session: &Credential,
        organization_id: &str,
        minutes: u32,
    ) -> Result<MemberLogin, Error> {
        let body = json!({ "organization_id": organization_id, "session_duration_minutes": minutes });
        self.post("/v1/b2b/sessions/exchange", with_session(body, Some(session))).await
    }

    /// Sends a code to a user's address, making the user where there is none.
    pub async fn user_email_send(
        &self,
        email: &str,
        attributes: Attributes<'_>,
        locale: Option<&str>,
        minutes: u32,
    ) -> Result<Sent, Error> {
        self.user_send("/v1/otps/email/login_or_create", ("email", email), attributes, locale, minutes).await
    }

    /// Texts a code to a user's phone, making the user where there is none.
    pub async fn user_sms_send(
        &self,
        phone: &str,
        attributes: Attributes<'_>,
        locale: Option<&str>,
        minutes: u32,
    ) -> Result<Sent, Error> {
        let to = ("phone_number", phone);
        self.user_send("/v1/otps/sms/login_or_create", to, attributes, locale, minutes).await
    }

    /// The same by WhatsApp. Stytch's published document leaves the call out; its SDKs give it the
    /// shape of a text message.
    pub async fn user_whatsapp_send(
        &self,
        phone: &str,
        attributes: Attributes<'_>,
        locale: Option<&str>,
        minutes: u32,
    ) -> Result<Sent, Error> {
        let to = ("phone_number", phone);
        self.user_send("/v1/otps/whatsapp/login_or_create", to, attributes, locale, minutes).await
    }

    async fn user_send(
        &self,
        path: &str,
        (name, to): (&str, &str),
        attributes: Attributes<'_>,
        locale: Option<&str>,
        minutes: u32,
    ) -> Result<Sent, Error> {
        let body = json!({
            name: to,
            "attributes": attributes.body(),
            "locale": locale,
            "expiration_minutes": minutes,
        });
        self.post(path, body).await
    }

    /// Proves a user's address or phone by the code. The code works in the browser that asked for
    /// it alone; its address may change on the way, as it does on the road.
    pub async fn user_otp_authenticate(
        &self,
        method_id: &str,
        code: &str,
        attributes: Attributes<'_>,
        session: Option<&Credential>,
        minutes: u32,
    ) -> Result<UserLogin, Error> {
        let body = json!({
            "method_id": method_id,
            "code": code,
            "attributes": attributes.body(),
            "options": {
                "ip_match_required": false,
                "user_agent_match_required": attributes.user_agent.is_some(),
            },
            "session_duration_minutes": minutes,
        });
        self.post("/v1/otps/authenticate", with_session(body, session)).await
    }

    /// Ends the session with this id.
    pub async fn revoke(&self, session_id: &str) -> Result<Done, Error> {
        let (path, name) = match self.vertical {
            Vertical::B2b => ("/v1/b2b/sessions/revoke", "member_session_id"),
            Vertical::Consumer => ("/v1/sessions/revoke", "session_id"),
        };
        self.post(path, json!({ name: session_id })).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, mut body: Value) -> Result<T, Error> {
        // A session is begun, or grows, by the calls that say how long it is to last.
        if body.get(DURATION).is_some() {
            if let Some(claims) = &self.custom_claims {
                body["session_custom_claims"] = json!(**claims);
            }
            body[TELEMETRY] = json!(self.telemetry_id);
        }
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        match self.post_once(path, &body).await {
            Err(Error::Unexpected { error_type, .. }) if is_about_device(&error_type, &body) => {
                tracing::warn!(path, error_type, "a sign-in goes on without its device");
                if let Some(fields) = body.as_object_mut() {
                    fields.remove(TELEMETRY);
                }
                self.post_once(path, &body).await
            }
            answer => answer,
        }
    }

    async fn post_once<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Error> {
        let request = self.authorized(Method::POST, path).body(Full::from(body.to_string()));
        self.call_refusing(request, &OF_SIGN_IN).await
    }
}

/// Whether an answer turns down the telemetry id alone: too old, or nothing that Stytch knows. It
/// comes from a browser, and a sign-in does not depend on it. Which names Stytch has for that is not
/// documented, but for `telemetry_id_not_found` of another call.
fn is_about_device(error_type: &str, body: &Value) -> bool {
    body.get(TELEMETRY).is_some() && error_type.contains("telemetry")
}

impl Attributes<'_> {
    fn body(self) -> Map<String, Value> {
        let agent = self.user_agent.map(|agent| ("user_agent".to_owned(), json!(agent)));
        [("ip_address".to_owned(), json!(self.ip_address))].into_iter().chain(agent).collect()
    }
}

fn with_session(mut body: Value, session: Option<&Credential>) -> Value {
    match session {
        Some(Credential::Jwt(jwt)) => body["session_jwt"] = json!(jwt),
        Some(Credential::Token(token)) => body["session_token"] = json!(token),
        // Of no session, so there is nothing to add factors to.
        Some(Credential::AccessToken { .. }) | None => {}
    }
    body
}
