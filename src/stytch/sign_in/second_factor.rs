//! The calls of a member's second factor (REFERENCE.md 7.2).
//!
//! What holds: each is made for one member of one organization, with the intermediate session that
//! the first factor gave, or with the session that is to have more factors.

use serde_json::{Value, json};

use super::{Client, with_session};
use crate::stytch::Credential;
use crate::stytch::error::Error;
use crate::stytch::types::{Done, MemberLogin};

/// A member on the way to a session in one organization.
pub struct MemberStep<'a> {
    pub organization_id: &'a str,
    pub member_id: &'a str,
    pub proof: Proof<'a>,
    /// The number of a phone that is to become the member's second factor.
    pub enrolling: Option<&'a str>,
}

/// What a second factor is added to.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// The token of an intermediate session.
    Intermediate(&'a str),
    /// A session that is there already.
    Session(&'a Credential),
}

impl Client {
    /// Texts a code to a member, as the second factor.
    pub async fn member_sms_send(&self, step: &MemberStep<'_>, locale: Option<&str>) -> Result<Done, Error> {
        let mut body = step.body();
        body["locale"] = json!(locale);
        body["mfa_phone_number"] = json!(step.enrolling);
        self.post("/v1/b2b/otps/sms/send", body).await
    }

    /// Proves a member's phone by the code.
    pub async fn member_sms_authenticate(
        &self,
        step: &MemberStep<'_>,
        code: &str,
        minutes: u32,
    ) -> Result<MemberLogin, Error> {
        self.second_factor("/v1/b2b/otps/sms/authenticate", step, ("code", code), minutes).await
    }

    /// Proves a member's authenticator app by the code that it shows.
    pub async fn member_totp_authenticate(
        &self,
        step: &MemberStep<'_>,
        code: &str,
        minutes: u32,
    ) -> Result<MemberLogin, Error> {
        self.second_factor("/v1/b2b/totp/authenticate", step, ("code", code), minutes).await
    }

    /// Uses up one of the recovery codes that stand in for a lost app.
    pub async fn member_recover(
        &self,
        step: &MemberStep<'_>,
        code: &str,
        minutes: u32,
    ) -> Result<MemberLogin, Error> {
        self.second_factor("/v1/b2b/recovery_codes/recover", step, ("recovery_code", code), minutes).await
    }

    async fn second_factor(
        &self,
        path: &str,
        step: &MemberStep<'_>,
        (name, code): (&str, &str),
        minutes: u32,
    ) -> Result<MemberLogin, Error> {
        let mut body = step.body();
        body[name] = json!(code);
        body["session_duration_minutes"] = json!(minutes);
        body["set_mfa_enrollment"] = json!(step.enrolling.map(|_| "enroll"));
        self.post(path, body).await
    }
}

impl MemberStep<'_> {
    fn body(&self) -> Value {
        let (intermediate, session) = match self.proof {
            Proof::Intermediate(token) => (Some(token), None),
            Proof::Session(session) => (None, Some(session)),
        };
        let body = json!({
            "organization_id": self.organization_id,
            "member_id": self.member_id,
            "intermediate_session_token": intermediate,
        });
        with_session(body, session)
    }
}
