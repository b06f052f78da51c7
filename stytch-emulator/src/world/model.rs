//! Who and what is in a project, without the fields the wire adds (see `wire`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids;
use crate::provider::Provider;
use crate::session::Factor;
use crate::totp::Totp;

/// Every member has this role, whatever else they have.
pub(crate) const MEMBER_ROLE: &str = "stytch_member";

/// Whoever creates an organization gets this one.
pub(crate) const ADMIN_ROLE: &str = "stytch_admin";

/// Every Consumer user has this role.
pub(crate) const USER_ROLE: &str = "stytch_user";

#[derive(Debug, Clone)]
pub(crate) struct Organization {
    pub(crate) id: String,
    pub(crate) external_id: Option<String>,
    pub(crate) slug: String,
    pub(crate) name: String,
    pub(crate) logo_url: String,
    /// People of these e-mail domains may join without an invitation.
    pub(crate) email_allowed_domains: Vec<String>,
    /// `None`: every method is allowed.
    pub(crate) allowed_auth_methods: Option<Vec<String>>,
    pub(crate) mfa_required_for_all: bool,
    /// `None`: every second factor is allowed.
    pub(crate) allowed_mfa_methods: Option<Vec<MfaMethod>>,
    pub(crate) sso_connections: Vec<SsoConnection>,
    pub(crate) default_sso_connection: Option<String>,
    pub(crate) custom_roles: Vec<Role>,
    pub(crate) trusted_metadata: Map<String, Value>,
    pub(crate) created_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MemberStatus {
    Pending,
    Invited,
    Active,
    Deleted,
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) organization_id: String,
    pub(crate) external_id: Option<String>,
    pub(crate) email_id: String,
    pub(crate) email_address: String,
    pub(crate) email_address_verified: bool,
    pub(crate) name: String,
    pub(crate) status: MemberStatus,
    /// The roles assigned by hand; [`MEMBER_ROLE`] comes on top.
    pub(crate) roles: Vec<String>,
    pub(crate) mfa: Mfa,
    pub(crate) oauth: OauthRegistrations,
    pub(crate) sso: Vec<SsoRegistration>,
    pub(crate) trusted_metadata: Map<String, Value>,
    pub(crate) untrusted_metadata: Map<String, Value>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A member's second factors.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mfa {
    pub(crate) enrolled: bool,
    pub(crate) phone: Option<Phone>,
    pub(crate) totp: Option<Totp>,
    /// By text message: then a code is sent without being asked for.
    pub(crate) default_method: Option<MfaMethod>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MfaMethod {
    SmsOtp,
    Totp,
}

/// The OAuth providers somebody has come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct OauthRegistrations(Vec<OauthRegistration>);

#[derive(Debug, Clone)]
pub(crate) struct OauthRegistration {
    pub(crate) id: String,
    pub(crate) provider: &'static Provider,
    pub(crate) subject: String,
}

/// An organization's own identity provider. The id says which protocol it speaks.
#[derive(Debug, Clone)]
pub(crate) struct SsoConnection {
    pub(crate) id: String,
    pub(crate) display_name: String,
    pub(crate) identity_provider: String,
    /// The roles of every session that comes by it.
    pub(crate) implicit_roles: Vec<String>,
}

/// That a member has come by a connection.
#[derive(Debug, Clone)]
pub(crate) struct SsoRegistration {
    pub(crate) id: String,
    pub(crate) connection_id: String,
    pub(crate) implicit_roles: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Phone {
    pub(crate) id: String,
    pub(crate) number: String,
    pub(crate) verified: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) external_id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) email: Option<Email>,
    pub(crate) phone: Option<Phone>,
    pub(crate) totp: Option<Totp>,
    pub(crate) oauth: OauthRegistrations,
    pub(crate) pending: bool,
    /// The roles assigned by hand; [`USER_ROLE`] comes on top.
    pub(crate) roles: Vec<String>,
    pub(crate) trusted_metadata: Map<String, Value>,
    pub(crate) untrusted_metadata: Map<String, Value>,
    pub(crate) created_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct Email {
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) verified: bool,
}

/// A role of the RBAC policy, in the shape the API and the seed share.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Role {
    pub(crate) role_id: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) permissions: Vec<Permission>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Permission {
    pub(crate) resource_id: String,
    pub(crate) actions: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resource {
    pub(crate) resource_id: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) actions: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scope {
    pub(crate) scope: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) permissions: Vec<Permission>,
}

#[derive(Debug, Clone)]
pub(crate) struct M2mClient {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) name: String,
    pub(crate) scopes: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct ConnectedApp {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) client_type: String,
    /// `None` for apps that cannot keep one.
    pub(crate) secret: Option<String>,
    pub(crate) redirect_urls: Vec<String>,
    pub(crate) access_token_expiry_minutes: u32,
    /// Named in its access tokens beside the project.
    pub(crate) access_token_custom_audience: Option<String>,
}

impl Member {
    /// Someone who was asked to join and has not signed in yet.
    pub(crate) fn new(organization_id: &str, address: &str) -> Self {
        Self {
            id: ids::fresh("member"),
            organization_id: organization_id.into(),
            external_id: None,
            email_id: ids::fresh("email"),
            email_address: address.into(),
            email_address_verified: false,
            name: String::new(),
            status: MemberStatus::Pending,
            roles: Vec::new(),
            mfa: Mfa::default(),
            oauth: OauthRegistrations::default(),
            sso: Vec::new(),
            trusted_metadata: Map::new(),
            untrusted_metadata: Map::new(),
            created_at: founding(),
            updated_at: founding(),
        }
    }

    /// The roles this member has however they come, the implicit one first.
    pub(crate) fn effective_roles(&self) -> Vec<String> {
        with_implicit(MEMBER_ROLE, &self.roles)
    }

    /// The roles of a session with these factors: what a connection implies counts only in a session
    /// that came by it.
    pub(crate) fn session_roles(&self, factors: &[Factor]) -> Vec<String> {
        let mut roles = self.effective_roles();
        let used = self.sso.iter().filter(|one| {
            factors.iter().any(|factor| factor.connection_id() == Some(one.connection_id.as_str()))
        });
        for role in used.flat_map(|one| &one.implicit_roles) {
            if !roles.contains(role) {
                roles.push(role.clone());
            }
        }
        roles
    }

    pub(crate) fn register_sso(&mut self, connection: &SsoConnection) {
        self.sso.retain(|one| one.connection_id != connection.id);
        self.sso.push(SsoRegistration {
            id: ids::fresh("sso-registration"),
            connection_id: connection.id.clone(),
            implicit_roles: connection.implicit_roles.clone(),
        });
    }

    pub(crate) fn is(&self, id: &str) -> bool {
        self.id == id || self.external_id.as_deref() == Some(id)
    }
}

impl Mfa {
    /// The registration of an app that has shown a code; empty without one.
    pub(crate) fn totp_registration_id(&self) -> &str {
        self.totp.as_ref().filter(|totp| totp.verified).map_or("", |totp| &totp.id)
    }
}

impl OauthRegistrations {
    /// Notes that they have come from there, and returns the registration's id.
    pub(crate) fn register(&mut self, provider: &'static Provider, address: &str) -> String {
        let subject = provider.subject(address);
        if let Some(known) = self.0.iter().find(|one| one.provider == provider && one.subject == subject) {
            return known.id.clone();
        }
        let id = ids::fresh("oauth-user");
        self.0.push(OauthRegistration { id: id.clone(), provider, subject });
        id
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &OauthRegistration> {
        self.0.iter()
    }
}

impl SsoConnection {
    pub(crate) fn is_oidc(&self) -> bool {
        is_oidc(&self.id)
    }
}

/// Whether the connection with that id speaks OpenID Connect rather than SAML.
pub(crate) fn is_oidc(connection_id: &str) -> bool {
    connection_id.starts_with("oidc-connection-")
}

impl ConnectedApp {
    /// A third party's app that keeps no secret.
    pub(crate) fn new() -> Self {
        Self {
            id: ids::fresh("connected-app"),
            name: String::new(),
            client_type: "third_party_public".into(),
            secret: None,
            redirect_urls: Vec::new(),
            access_token_expiry_minutes: 60,
            access_token_custom_audience: None,
        }
    }
}

impl User {
    /// A user who can be reached in no way yet.
    pub(crate) fn new() -> Self {
        Self {
            id: ids::fresh("user"),
            external_id: None,
            name: None,
            email: None,
            phone: None,
            totp: None,
            oauth: OauthRegistrations::default(),
            pending: false,
            roles: Vec::new(),
            trusted_metadata: Map::new(),
            untrusted_metadata: Map::new(),
            created_at: founding(),
        }
    }

    pub(crate) fn effective_roles(&self) -> Vec<String> {
        with_implicit(USER_ROLE, &self.roles)
    }

    pub(crate) fn is(&self, id: &str) -> bool {
        self.id == id || self.external_id.as_deref() == Some(id)
    }

    /// The factor a code sent to `method_id` would prove.
    pub(crate) fn has_method(&self, method_id: &str) -> bool {
        self.email.as_ref().is_some_and(|email| email.id == method_id)
            || self.phone.as_ref().is_some_and(|phone| phone.id == method_id)
    }
}

impl Email {
    /// An address that nobody has shown to be theirs.
    pub(crate) fn unverified(address: &str) -> Self {
        Self { id: ids::fresh("email"), address: address.into(), verified: false }
    }
}

impl Organization {
    /// An organization that allows everything and holds nobody.
    pub(crate) fn new() -> Self {
        Self {
            id: ids::fresh("organization"),
            external_id: None,
            slug: String::new(),
            name: String::new(),
            logo_url: String::new(),
            email_allowed_domains: Vec::new(),
            allowed_auth_methods: None,
            mfa_required_for_all: false,
            allowed_mfa_methods: None,
            sso_connections: Vec::new(),
            default_sso_connection: None,
            custom_roles: Vec::new(),
            trusted_metadata: Map::new(),
            created_at: founding(),
        }
    }

    /// Wherever the API takes an organization's id it takes the slug or the external id too.
    pub(crate) fn is(&self, locator: &str) -> bool {
        self.id == locator || self.slug == locator || self.external_id.as_deref() == Some(locator)
    }

    pub(crate) fn is_slug(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        (2..=128).contains(&text.len()) && text.bytes().all(allowed)
    }

    pub(crate) fn is_name(text: &str) -> bool {
        !text.trim().is_empty() && text.chars().count() <= 128
    }

    pub(crate) fn allows_second_factor(&self, method: MfaMethod) -> bool {
        self.allowed_mfa_methods.as_ref().is_none_or(|allowed| allowed.contains(&method))
    }

    pub(crate) fn admits_domain_of(&self, address: &str) -> bool {
        let domain = address.rsplit_once('@').map(|(_, domain)| domain);
        domain.is_some_and(|domain| {
            self.email_allowed_domains.iter().any(|one| one.eq_ignore_ascii_case(domain))
        })
    }
}

impl Role {
    pub(crate) fn allows(&self, resource: &str, action: &str) -> bool {
        self.permissions.iter().any(|permission| {
            permission.resource_id == resource
                && permission.actions.iter().any(|one| one == action || one == "*")
        })
    }
}

/// The ids of the roles among `mine` that allow an action. An organization may define a role of its
/// own under the name of one of the project's: both count, as one.
pub(crate) fn granting<'a>(
    roles: impl Iterator<Item = &'a Role>,
    mine: &[String],
    resource: &str,
    action: &str,
) -> Vec<String> {
    let mut granting: Vec<String> = Vec::new();
    for role in roles.filter(|role| mine.contains(&role.role_id) && role.allows(resource, action)) {
        if !granting.contains(&role.role_id) {
            granting.push(role.role_id.clone());
        }
    }
    granting
}

fn with_implicit(implicit: &str, assigned: &[String]) -> Vec<String> {
    let assigned = assigned.iter().filter(|role| *role != implicit).cloned();
    std::iter::once(implicit.to_owned()).chain(assigned).collect()
}

/// When the people of a seed joined: long enough ago to differ from every session's times.
fn founding() -> Timestamp {
    Timestamp::constant(1_767_225_600, 0)
}
