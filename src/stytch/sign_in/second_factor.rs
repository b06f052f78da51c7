//! The calls of a member's second factor (REFERENCE.md 7.2).
//!
//! What holds: each is made for one member of one organization, with the intermediate session that
//! the first factor gave, or with the session that is to have more factors.

use serde_json::{Value, json};

use super::{Client, with_session};
use crate::stytch::Credential;
use crate::stytch::error::Error;
use crate::stytch::types::{Done, MemberLogin, NewTotp, RecoveryCodes};

/// A member on the way to a session in one organization.
pub struct MemberStep<'a> {
    pub organization_id: &'a str,
    pub member_id: &'a str,
    pub proof: Proof<'a>,
    /// The number of a phone that is to become the member's second factor.
    pub new_phone: Option<&'a str>,
    /// Whether what is proved becomes the member's second factor.
    pub enrolling: bool,
    /// Whether it is the one to be asked for first from then on.
    pub preferred: bool,
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
        body["mfa_phone_number"] = json!(step.new_phone);
        self.post("/v1/b2b/otps/sms/send", body).await
    }

    /// Proves a member's phone by the code.
    pub async fn member_sms_authenticate(
        &self,
        step: &MemberStep<'_>,
        code: &str,
        minutes: u32,
    ) -> Result<MemberLogin, Error> {
        self.second_factor("/v1/b2b/otps/sms/authenticate", step, code, minutes).await
    }

    /// Proves a member's authenticator app by the code that it shows.
    pub async fn member_totp_authenticate(
        &self,
        step: &MemberStep<'_>,
        code: &str,
        minutes: u32,
    ) -> Result<MemberLogin, Error> {
        self.second_factor("/v1/b2b/totp/authenticate", step, code, minutes).await
    }

    /// Uses up one of the recovery codes that stand in for a lost app.
    pub async fn member_recover(
        &self,
        step: &MemberStep<'_>,
        code: &str,
        minutes: u32,
    ) -> Result<MemberLogin, Error> {
        let mut body = step.body();
        body["recovery_code"] = json!(code);
        body["session_duration_minutes"] = json!(minutes);
        self.post("/v1/b2b/recovery_codes/recover", body).await
    }

    /// Registers an authenticator app, which counts from its first code on, and for so many minutes
    /// until then.
    pub async fn member_totp_create(&self, step: &MemberStep<'_>, minutes: u32) -> Result<NewTotp, Error> {
        let mut body = step.body();
        body["expiration_minutes"] = json!(minutes);
        self.post("/v1/b2b/totp", body).await
    }

    /// New recovery codes in the place of all that a member has.
    pub async fn member_recovery_rotate(
        &self,
        organization_id: &str,
        member_id: &str,
    ) -> Result<RecoveryCodes, Error> {
        let body = json!({ "organization_id": organization_id, "member_id": member_id });
        self.post("/v1/b2b/recovery_codes/rotate", body).await
    }

    async fn second_factor(
        &self,
        path: &str,
        step: &MemberStep<'_>,
        code: &str,
        minutes: u32,
    ) -> Result<MemberLogin, Error> {
        let mut body = step.body();
        body["code"] = json!(code);
        body["session_duration_minutes"] = json!(minutes);
        body["set_mfa_enrollment"] = json!(step.enrolling.then_some("enroll"));
        body["set_default_mfa"] = json!(step.preferred.then_some(true));
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
