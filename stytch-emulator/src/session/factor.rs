//! How somebody proved who they are: the factors of a session.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ids;
use crate::world::{Member, User};

#[derive(Debug, Clone)]
pub(crate) struct Factor {
    kind: String,
    delivery_method: &'static str,
    at: Timestamp,
    detail: (&'static str, Value),
}

/// Whom a factor is about: the addresses and numbers it names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Holder<'a> {
    Member(&'a Member),
    User(&'a User),
    /// Somebody who reads this address, before it is known who.
    Address(&'a str),
}

/// Factor types that count as a second step, whatever the first was.
const MFA_KINDS: [&str; 3] = ["otp", "totp", "recovery_codes"];

impl Factor {
    /// A code or link sent by e-mail; what it is called differs between the verticals.
    pub(crate) fn email(kind: &str, holder: Holder<'_>, at: Timestamp) -> Self {
        let (id, address) = holder.email();
        let detail = ("email_factor", json!({ "email_id": id, "email_address": address }));
        Self { kind: kind.into(), delivery_method: "email", at, detail }
    }

    /// A code sent by `sms` or `whatsapp`.
    pub(crate) fn phone(delivery_method: &'static str, holder: Holder<'_>, at: Timestamp) -> Self {
        let (id, number) = holder.phone();
        let detail = ("phone_number_factor", json!({ "phone_id": id, "phone_number": number }));
        Self { kind: "otp".into(), delivery_method, at, detail }
    }

    /// A support engineer in the person's place.
    pub(crate) fn impersonated(at: Timestamp) -> Self {
        let detail = json!({
            "impersonator_id": "impersonator-test-support",
            "impersonator_email_address": "support@stytch-emulator.example",
        });
        Self {
            kind: "impersonated".into(),
            delivery_method: "impersonation",
            at,
            detail: ("impersonated_factor", detail),
        }
    }

    /// A factor of any type Stytch knows, as if it had been used; `None` for other types.
    pub(crate) fn of_type(kind: &str, holder: Holder<'_>, at: Timestamp) -> Option<Self> {
        let made = |delivery_method, name, detail| Self {
            kind: kind.into(),
            delivery_method,
            at,
            detail: (name, detail),
        };
        Some(match (kind, holder) {
            ("email_otp" | "magic_link", _) | ("otp", Holder::User(User { phone: None, .. })) => {
                Self::email(kind, holder, at)
            }
            ("otp", Holder::User(User { email: Some(_), .. })) => Self::email(kind, holder, at),
            ("otp", _) => Self::phone("sms", holder, at),
            ("impersonated", _) => Self::impersonated(at),
            ("password", _) => {
                let (id, address) = holder.email();
                made("knowledge", "email_factor", json!({ "email_id": id, "email_address": address }))
            }
            ("oauth", _) => made(
                "oauth_google",
                "google_oauth_factor",
                json!({
                    "id": ids::fresh("oauth-user"), "provider_subject": "1234567890", "email_id": holder.email().0,
                }),
            ),
            ("sso", _) => made(
                "sso_saml",
                "saml_sso_factor",
                json!({
                    "id": ids::fresh("saml-registration"),
                    "provider_id": ids::fresh("saml-connection"),
                    "external_id": holder.email().1,
                }),
            ),
            ("totp", _) => made(
                "authenticator_app",
                "authenticator_app_factor",
                json!({ "totp_id": ids::fresh("totp") }),
            ),
            ("recovery_codes", _) => made(
                "recovery_code",
                "recovery_code_factor",
                json!({
                    "totp_recovery_code_id": ids::fresh("totp-recovery-code"),
                }),
            ),
            ("webauthn", _) => made(
                "webauthn_registration",
                "webauthn_factor",
                json!({
                    "webauthn_registration_id": ids::fresh("webauthn-registration"), "domain": "localhost",
                }),
            ),
            ("signature_challenge", _) => made(
                "biometric",
                "biometric_factor",
                json!({
                    "biometric_registration_id": ids::fresh("biometric-registration"),
                }),
            ),
            ("crypto", _) => made(
                "crypto_wallet",
                "crypto_wallet_factor",
                json!({
                    "crypto_wallet_id": ids::fresh("crypto-wallet"),
                    "crypto_wallet_address": "0x0000000000000000000000000000000000000000",
                    "crypto_wallet_type": "ethereum",
                }),
            ),
            ("imported", _) => made(
                "imported_auth0",
                "email_factor",
                json!({
                    "email_id": holder.email().0, "email_address": holder.email().1,
                }),
            ),
            ("trusted_auth_token", _) => made(
                "trusted_token_exchange",
                "trusted_auth_token_factor",
                json!({
                    "token_id": ids::fresh("trusted-auth-token"),
                }),
            ),
            _ => return None,
        })
    }

    /// The same proof, naming `holder`: what was proved while discovering names no member yet.
    pub(crate) fn held_by(&self, holder: Holder<'_>) -> Self {
        match self.detail.0 {
            "email_factor" => Self::email(&self.kind, holder, self.at),
            _ => self.clone(),
        }
    }

    /// What an organization's `allowed_auth_methods` calls this; nothing for second factors.
    pub(crate) fn auth_method(&self) -> Option<&'static str> {
        match (self.kind.as_str(), self.delivery_method) {
            ("email_otp", _) => Some("email_otp"),
            ("magic_link", _) => Some("magic_link"),
            ("password", _) => Some("password"),
            ("sso", _) => Some("sso"),
            ("oauth", "oauth_google") => Some("google_oauth"),
            ("oauth", "oauth_microsoft") => Some("microsoft_oauth"),
            ("oauth", "oauth_slack") => Some("slack_oauth"),
            ("oauth", "oauth_github") => Some("github_oauth"),
            ("oauth", "oauth_hubspot") => Some("hubspot_oauth"),
            _ => None,
        }
    }

    pub(crate) fn is_second_step(&self) -> bool {
        MFA_KINDS.contains(&self.kind.as_str())
    }

    /// Whether proving `self` again is what proving `other` was.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.delivery_method == other.delivery_method
    }

    pub(crate) fn json(&self) -> Value {
        let at = self.at.to_string();
        let (name, detail) = &self.detail;
        json!({
            "type": self.kind,
            "delivery_method": self.delivery_method,
            "last_authenticated_at": at,
            "created_at": at,
            "updated_at": at,
            *name: detail,
        })
    }
}

impl Holder<'_> {
    fn email(self) -> (String, String) {
        match self {
            Self::Member(member) => (member.email_id.clone(), member.email_address.clone()),
            Self::User(User { email: Some(email), .. }) => (email.id.clone(), email.address.clone()),
            Self::User(_) => (String::new(), String::new()),
            Self::Address(address) => (ids::fresh("email"), address.to_owned()),
        }
    }

    fn phone(self) -> (String, String) {
        let phone = match self {
            Self::Member(member) => member.mfa.phone.as_ref(),
            Self::User(user) => user.phone.as_ref(),
            Self::Address(_) => None,
        };
        phone.map(|phone| (phone.id.clone(), phone.number.clone())).unwrap_or_default()
    }
}
