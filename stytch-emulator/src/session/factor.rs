//! How somebody proved who they are: the factors of a session.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ids;
use crate::provider::{GOOGLE, Provider};
use crate::world::{Member, User, is_oidc};

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

    /// An OAuth provider's word.
    pub(crate) fn oauth(provider: &Provider, holder: Holder<'_>, at: Timestamp) -> Self {
        let (kind, delivery_method) = ("oauth".into(), provider.delivery_method);
        Self { kind, delivery_method, at, detail: oauth(provider, holder) }
    }

    /// The word of an organization's own identity provider.
    pub(crate) fn sso(connection_id: &str, holder: Holder<'_>, at: Timestamp) -> Self {
        let delivery_method = if is_oidc(connection_id) { "sso_oidc" } else { "sso_saml" };
        Self { kind: "sso".into(), delivery_method, at, detail: sso(connection_id, holder) }
    }

    /// A code by the clock.
    pub(crate) fn totp(registration_id: &str, at: Timestamp) -> Self {
        let detail = ("authenticator_app_factor", json!({ "totp_id": registration_id }));
        Self { kind: "totp".into(), delivery_method: "authenticator_app", at, detail }
    }

    /// A code that was kept for the day the app is lost.
    pub(crate) fn recovery_code(at: Timestamp) -> Self {
        let detail = registered("recovery_code_factor", "totp_recovery_code_id", "totp-recovery-code");
        Self { kind: "recovery_codes".into(), delivery_method: "recovery_code", at, detail }
    }

    /// The SSO connection it came by.
    pub(crate) fn connection_id(&self) -> Option<&str> {
        self.detail.1["provider_id"].as_str()
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
            ("oauth", _) => (GOOGLE.delivery_method, oauth(GOOGLE, holder)),
            ("sso", _) => return Some(Self::sso(&holder.connection_id(), holder, at)),
            ("crypto", _) => ("crypto_wallet", wallet()),
            ("webauthn", _) => ("webauthn_registration", passkey()),
            ("totp", _) => return Some(Self::totp(&ids::fresh("totp"), at)),
            ("recovery_codes", _) => return Some(Self::recovery_code(at)),
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
        match Provider::by_delivery_method(self.delivery_method) {
            Some(provider) => Self { detail: oauth(provider, holder), ..self.clone() },
            None if self.detail.0 == "email_factor" => Self { detail: email(holder), ..self.clone() },
            None => self.clone(),
        }
    }

    /// What an organization's `allowed_auth_methods` calls this; nothing for second factors.
    pub(crate) fn auth_method(&self) -> Option<&'static str> {
        match (self.kind.as_str(), self.delivery_method) {
            ("email_otp", _) => Some("email_otp"),
            ("magic_link", _) => Some("magic_link"),
            ("password", _) => Some("password"),
            ("sso", _) => Some("sso"),
            ("oauth", delivery) => Provider::by_delivery_method(delivery)?.auth_method,
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

    /// The connection they signed in by before, or none that anybody knows.
    fn connection_id(self) -> String {
        let known = match self {
            Self::Member(member) => member.sso.first().map(|one| one.connection_id.clone()),
            _ => None,
        };
        known.unwrap_or_else(|| ids::fresh("saml-connection"))
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

fn oauth(provider: &Provider, holder: Holder<'_>) -> Detail {
    let (email_id, address) = holder.email();
    let subject = provider.subject(&address);
    let detail = json!({ "id": ids::fresh("oauth-user"), "provider_subject": subject, "email_id": email_id });
    (provider.factor, detail)
}

fn sso(connection_id: &str, holder: Holder<'_>) -> Detail {
    let (name, kind) = match is_oidc(connection_id) {
        true => ("oidc_sso_factor", "oidc-registration"),
        false => ("saml_sso_factor", "saml-registration"),
    };
    let external_id = holder.email().1;
    (name, json!({ "id": ids::fresh(kind), "provider_id": connection_id, "external_id": external_id }))
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
