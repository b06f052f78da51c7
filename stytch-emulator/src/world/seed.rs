//! Seeds: a world written by hand, in TOML.
//!
//! Tables and fields have the names they have in the API, so a seed reads like `GET
//! /emulator/world`. Everything may be left out but what tells one thing from another (a slug, an
//! address); a misspelt field is an error with its line, and mistakes of meaning come all at once.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    ConnectedApp, Email, M2mClient, Member, MemberStatus, Mfa, MfaMethod, Organization, Phone, Resource,
    Role, Scope, SsoConnection, User, World, with_reserved,
};
use crate::ids;
use crate::passcode::{checked_email, checked_phone};
use crate::totp::Totp;

/// Why a seed was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// The text is not TOML, or names something that a seed does not have.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// The text can be read but does not describe a possible world.
    #[error("{}", .0.join("\n"))]
    Meaning(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Seed {
    project_id: Option<String>,
    secret: Option<String>,
    public_token: Option<String>,
    webhook_secret: Option<String>,
    redirect_urls: Vec<String>,
    organizations: Vec<SeedOrganization>,
    members: Vec<SeedMember>,
    users: Vec<SeedUser>,
    roles: Vec<Role>,
    resources: Vec<Resource>,
    scopes: Vec<Scope>,
    m2m_clients: Vec<SeedM2mClient>,
    connected_apps: Vec<SeedConnectedApp>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedOrganization {
    organization_slug: String,
    organization_name: Option<String>,
    organization_id: Option<String>,
    organization_external_id: Option<String>,
    #[serde(default)]
    organization_logo_url: String,
    #[serde(default)]
    email_allowed_domains: Vec<String>,
    allowed_auth_methods: Option<Vec<String>>,
    #[serde(default)]
    mfa_policy: MfaPolicy,
    allowed_mfa_methods: Option<Vec<MfaMethod>>,
    #[serde(default)]
    sso_active_connections: Vec<SeedConnection>,
    /// One of those.
    sso_default_connection_id: Option<String>,
    #[serde(default)]
    custom_roles: Vec<Role>,
    #[serde(default)]
    trusted_metadata: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedConnection {
    /// Begins with `oidc-connection-`, or else it is a SAML connection.
    connection_id: String,
    #[serde(default)]
    display_name: String,
    #[serde(default = "generic")]
    identity_provider: String,
    /// Role ids. Not in the API under this name: there they belong to the kind of connection.
    #[serde(default)]
    implicit_roles: Vec<String>,
}

fn generic() -> String {
    "generic".into()
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum MfaPolicy {
    #[default]
    Optional,
    RequiredForAll,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedMember {
    /// An id, an external id or a slug.
    organization_id: String,
    email_address: String,
    member_id: Option<String>,
    external_id: Option<String>,
    #[serde(default)]
    name: String,
    status: Option<MemberStatus>,
    #[serde(default)]
    roles: Vec<RoleName>,
    mfa_phone_number: Option<String>,
    #[serde(default)]
    mfa_enrolled: bool,
    default_mfa_method: Option<MfaMethod>,
    /// In base32. Not in the API, where only the app knows it.
    totp_secret: Option<String>,
    #[serde(default)]
    recovery_codes: Vec<String>,
    #[serde(default)]
    trusted_metadata: Map<String, Value>,
    #[serde(default)]
    untrusted_metadata: Map<String, Value>,
}

/// A role as the API shows it in a member, or its name alone.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RoleName {
    Short(String),
    Full { role_id: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedUser {
    user_id: Option<String>,
    external_id: Option<String>,
    name: Option<SeedName>,
    #[serde(default)]
    emails: Vec<SeedEmail>,
    #[serde(default)]
    phone_numbers: Vec<SeedPhone>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    trusted_metadata: Map<String, Value>,
    #[serde(default)]
    untrusted_metadata: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedName {
    first_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedEmail {
    email: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedPhone {
    phone_number: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedM2mClient {
    client_id: Option<String>,
    client_secret: Option<String>,
    #[serde(default)]
    client_name: String,
    #[serde(default)]
    scopes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedConnectedApp {
    client_id: Option<String>,
    #[serde(default)]
    client_name: String,
    #[serde(default)]
    client_type: ClientType,
    /// Made up if absent, unless the type is a public one.
    client_secret: Option<String>,
    #[serde(default)]
    redirect_urls: Vec<String>,
    access_token_expiry_minutes: Option<u32>,
    access_token_custom_audience: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClientType {
    FirstParty,
    FirstPartyPublic,
    ThirdParty,
    #[default]
    ThirdPartyPublic,
}

pub(super) fn read(text: &str) -> Result<World, SeedError> {
    let seed: Seed = toml::from_str(text)?;
    let mut problems = Vec::new();
    let world = world(seed, &mut problems);
    if problems.is_empty() { Ok(world) } else { Err(SeedError::Meaning(problems)) }
}

fn world(seed: Seed, problems: &mut Vec<String>) -> World {
    let mut world = World::empty();
    world.project_id = seed.project_id.unwrap_or(world.project_id);
    world.secret = seed.secret.unwrap_or(world.secret);
    world.public_token = seed.public_token.unwrap_or(world.public_token);
    world.webhook_secret = seed.webhook_secret.unwrap_or(world.webhook_secret);
    world.redirect_urls = seed.redirect_urls;
    world.resources = seed.resources;
    world.scopes = seed.scopes;
    world.m2m_clients = seed.m2m_clients.into_iter().map(SeedM2mClient::made).collect();
    world.connected_apps = seed.connected_apps.into_iter().map(SeedConnectedApp::made).collect();
    world.roles = with_reserved(seed.roles, problems);
    for organization in seed.organizations {
        organization.add_to(&mut world, problems);
    }
    for member in seed.members {
        member.add_to(&mut world, problems);
    }
    for user in seed.users {
        user.add_to(&mut world, problems);
    }
    world
}

impl SeedOrganization {
    fn add_to(self, world: &mut World, problems: &mut Vec<String>) {
        let slug = self.organization_slug;
        if !Organization::is_slug(&slug) {
            problems.push(format!(
                "organizations: {slug:?} is no slug: 2 to 128 letters, digits or any of - . _ ~"
            ));
        }
        if world.organization(&slug).is_ok() {
            problems.push(format!("organizations: {slug} is there twice"));
        }
        for connection in &self.sso_active_connections {
            if world.sso_connection(&connection.connection_id).is_ok() {
                problems.push(format!("organizations: {} is there twice", connection.connection_id));
            }
        }
        let own = |id: &String| self.sso_active_connections.iter().any(|one| one.connection_id == *id);
        if let Some(id) = self.sso_default_connection_id.as_ref().filter(|id| !own(id)) {
            problems.push(format!("organizations: {slug} has no connection {id}"));
        }
        let fresh = Organization::new();
        world.organizations.push(Organization {
            id: self.organization_id.unwrap_or(fresh.id),
            external_id: self.organization_external_id,
            name: self.organization_name.unwrap_or_else(|| slug.clone()),
            slug,
            logo_url: self.organization_logo_url,
            email_allowed_domains: self.email_allowed_domains,
            allowed_auth_methods: self.allowed_auth_methods,
            mfa_required_for_all: self.mfa_policy == MfaPolicy::RequiredForAll,
            allowed_mfa_methods: self.allowed_mfa_methods,
            sso_connections: self.sso_active_connections.into_iter().map(SeedConnection::made).collect(),
            default_sso_connection: self.sso_default_connection_id,
            custom_roles: self.custom_roles,
            trusted_metadata: self.trusted_metadata,
            created_at: fresh.created_at,
        });
    }
}

impl SeedConnection {
    fn made(self) -> SsoConnection {
        SsoConnection {
            id: self.connection_id,
            display_name: self.display_name,
            identity_provider: self.identity_provider,
            implicit_roles: self.implicit_roles,
        }
    }
}

impl SeedMember {
    fn add_to(self, world: &mut World, problems: &mut Vec<String>) {
        let address = self.email_address.clone();
        let mut problem = |what: String| problems.push(format!("members: {address}: {what}"));
        if checked_email(&address).is_err() {
            problem("is no e-mail address".into());
        }
        let Ok(organization) = world.organization(&self.organization_id) else {
            return problem(format!("no organization is called {}", self.organization_id));
        };
        if world.member_by_email(&organization.id, &address).is_ok() {
            problem(format!("is twice in {}", organization.slug));
        }
        let roles: Vec<String> = self.roles.into_iter().map(RoleName::name).collect();
        for role in &roles {
            if !world.roles_in(organization).any(|known| known.role_id == *role) {
                problem(format!("no role is called {role}"));
            }
        }
        let phone = self.mfa_phone_number.map(|number| phone(number, &mut problem));
        let totp = self.totp_secret.map(|secret| Totp::in_use(&secret, self.recovery_codes));
        if totp.as_ref().is_some_and(Option::is_none) {
            problem("totp_secret is not base32".into());
        }
        let totp = totp.flatten();
        if self.mfa_enrolled && phone.is_none() && totp.is_none() {
            problem("mfa_enrolled needs an mfa_phone_number or a totp_secret".into());
        }
        let missing = match self.default_mfa_method {
            Some(MfaMethod::SmsOtp) => phone.is_none(),
            Some(MfaMethod::Totp) => totp.is_none(),
            None => false,
        };
        if missing {
            problem("default_mfa_method names a factor that is not there".into());
        }
        let fresh = Member::new(&organization.id, &address);
        world.members.push(Member {
            id: self.member_id.unwrap_or_else(|| fresh.id.clone()),
            external_id: self.external_id,
            name: self.name,
            status: self.status.unwrap_or(MemberStatus::Active),
            email_address_verified: true,
            roles,
            mfa: Mfa { enrolled: self.mfa_enrolled, phone, totp, default_method: self.default_mfa_method },
            trusted_metadata: self.trusted_metadata,
            untrusted_metadata: self.untrusted_metadata,
            ..fresh
        });
    }
}

impl SeedUser {
    fn add_to(self, world: &mut World, problems: &mut Vec<String>) {
        let place = world.users.len() + 1;
        let mut problem = |what: String| problems.push(format!("users: number {place}: {what}"));
        if self.emails.len() > 1 || self.phone_numbers.len() > 1 {
            problem("one address and one phone number at most".into());
        }
        if self.emails.is_empty() && self.phone_numbers.is_empty() {
            problem("has neither emails nor phone_numbers".into());
        }
        for role in &self.roles {
            if !world.roles.iter().any(|known| known.role_id == *role) {
                problem(format!("no role is called {role}"));
            }
        }
        let email = self.emails.into_iter().next().map(|given| email(given.email, &mut problem));
        let phone =
            self.phone_numbers.into_iter().next().map(|given| phone(given.phone_number, &mut problem));
        if email.as_ref().is_some_and(|email| world.user_by_email(&email.address).is_some()) {
            problem("the address is another user's".into());
        }
        let fresh = User::new();
        world.users.push(User {
            id: self.user_id.unwrap_or(fresh.id),
            external_id: self.external_id,
            name: self.name.map(|name| name.first_name),
            email,
            phone,
            roles: self.roles,
            trusted_metadata: self.trusted_metadata,
            untrusted_metadata: self.untrusted_metadata,
            ..fresh
        });
    }
}

impl RoleName {
    fn name(self) -> String {
        match self {
            Self::Short(name) | Self::Full { role_id: name } => name,
        }
    }
}

impl SeedM2mClient {
    fn made(self) -> M2mClient {
        M2mClient {
            id: self.client_id.unwrap_or_else(|| ids::fresh("m2m-client")),
            secret: self.client_secret.unwrap_or_else(ids::secret),
            name: self.client_name,
            scopes: self.scopes,
        }
    }
}

impl SeedConnectedApp {
    fn made(self) -> ConnectedApp {
        let client_type = match self.client_type {
            ClientType::FirstParty => "first_party",
            ClientType::FirstPartyPublic => "first_party_public",
            ClientType::ThirdParty => "third_party",
            ClientType::ThirdPartyPublic => "third_party_public",
        };
        let public = matches!(self.client_type, ClientType::FirstPartyPublic | ClientType::ThirdPartyPublic);
        let fresh = ConnectedApp::new();
        ConnectedApp {
            id: self.client_id.unwrap_or(fresh.id),
            name: self.client_name,
            client_type: client_type.into(),
            secret: (!public).then(|| self.client_secret.unwrap_or_else(ids::secret)),
            redirect_urls: self.redirect_urls,
            access_token_expiry_minutes: self
                .access_token_expiry_minutes
                .unwrap_or(fresh.access_token_expiry_minutes),
            access_token_custom_audience: self.access_token_custom_audience,
        }
    }
}

fn email(address: String, problem: &mut impl FnMut(String)) -> Email {
    if checked_email(&address).is_err() {
        problem(format!("{address} is no e-mail address"));
    }
    Email { id: ids::fresh("email"), address, verified: true }
}

fn phone(number: String, problem: &mut impl FnMut(String)) -> Phone {
    if checked_phone(&number).is_err() {
        problem(format!("{number} is no phone number in E.164"));
    }
    Phone { id: ids::fresh("phone-number"), number, verified: true }
}
