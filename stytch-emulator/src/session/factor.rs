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
    detail: Detail,
}

/// What was proved in particular, under the name the API gives it.
type Detail = (&'static str, Value);

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
        Self { kind: kind.into(), delivery_method: "email", at, detail: email(holder) }
    }

    /// A code sent by `sms` or `whatsapp`.
    pub(crate) fn phone(delivery_method: &'static str, holder: Holder<'_>, at: Timestamp) -> Self {
        Self { kind: "otp".into(), delivery_method, at, detail: phone(holder) }
    }

    /// A factor of any type Stytch knows, as if it had been used; `None` for other types.
    pub(crate) fn of_type(kind: &str, holder: Holder<'_>, at: Timestamp) -> Option<Self> {
        let (delivery_method, detail) = match (kind, holder) {
            ("email_otp" | "magic_link", _) => ("email", email(holder)),
            ("otp", Holder::User(User { email: Some(_), .. })) => ("email", email(holder)),
            ("otp", _) => ("sms", phone(holder)),
            ("password", _) => ("knowledge", email(holder)),
            ("imported", _) => ("imported_auth0", email(holder)),
            ("impersonated", _) => ("impersonation", impersonator()),
            ("oauth", _) => ("oauth_google", google(holder)),
            ("sso", _) => ("sso_saml", saml(holder)),
            ("crypto", _) => ("crypto_wallet", wallet()),
            ("webauthn", _) => ("webauthn_registration", passkey()),
            ("totp", _) => ("authenticator_app", registered("authenticator_app_factor", "totp_id", "totp")),
            ("recovery_codes", _) => {
                let id = "totp_recovery_code_id";
                ("recovery_code", registered("recovery_code_factor", id, "totp-recovery-code"))
            }
            ("signature_challenge", _) => {
                let id = "biometric_registration_id";
                ("biometric", registered("biometric_factor", id, "biometric-registration"))
            }
            ("trusted_auth_token", _) => {
                let name = "trusted_auth_token_factor";
                ("trusted_token_exchange", registered(name, "token_id", "trusted-auth-token"))
            }
            _ => return None,
        };
        Some(Self { kind: kind.into(), delivery_method, at, detail })
    }

    /// The same proof, naming `holder`: what was proved while discovering names no member yet.
    pub(crate) fn held_by(&self, holder: Holder<'_>) -> Self {
        match self.detail.0 {
            "email_factor" => Self { detail: email(holder), ..self.clone() },
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

fn email(holder: Holder<'_>) -> Detail {
    let (id, address) = holder.email();
    ("email_factor", json!({ "email_id": id, "email_address": address }))
}

fn phone(holder: Holder<'_>) -> Detail {
    let (id, number) = holder.phone();
    ("phone_number_factor", json!({ "phone_id": id, "phone_number": number }))
}

/// A support engineer in the person's place.
fn impersonator() -> Detail {
    let detail = json!({
        "impersonator_id": "impersonator-test-support",
        "impersonator_email_address": "support@stytch-emulator.example",
    });
    ("impersonated_factor", detail)
}

fn google(holder: Holder<'_>) -> Detail {
    let (email_id, subject) = holder.email();
    let detail = json!({ "id": ids::fresh("oauth-user"), "provider_subject": subject, "email_id": email_id });
    ("google_oauth_factor", detail)
}

fn saml(holder: Holder<'_>) -> Detail {
    let detail = json!({
        "id": ids::fresh("saml-registration"),
        "provider_id": ids::fresh("saml-connection"),
        "external_id": holder.email().1,
    });
    ("saml_sso_factor", detail)
}

fn wallet() -> Detail {
    let detail = json!({
        "crypto_wallet_id": ids::fresh("crypto-wallet"),
        "crypto_wallet_address": "0x0000000000000000000000000000000000000000",
        "crypto_wallet_type": "ethereum",
    });
    ("crypto_wallet_factor", detail)
}

fn passkey() -> Detail {
    let id = ids::fresh("webauthn-registration");
    ("webauthn_factor", json!({ "webauthn_registration_id": id, "domain": "localhost" }))
}

/// A factor of which nothing is known but the id of its registration.
fn registered(name: &'static str, field: &str, kind: &str) -> Detail {
    (name, json!({ field: ids::fresh(kind) }))
}
