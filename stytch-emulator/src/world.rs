//! The project: its credentials, who is in it, and what they may do.
//!
//! A [`World`] is where an emulator starts from, either [built in](World::built_in) or
//! [read from a seed](World::from_toml); sign-ups and the control API change the emulator's own.

mod built_in;
mod model;
mod seed;

pub use seed::SeedError;

pub(crate) use model::{
    ADMIN_ROLE, ConnectedApp, Email, M2mClient, MEMBER_ROLE, Member, MemberStatus, Mfa, MfaMethod,
    OauthRegistration, Organization, Permission, Phone, Resource, Role, Scope, SsoConnection,
    SsoRegistration, USER_ROLE, User, granting, is_oidc,
};

use crate::error::Refusal;
use crate::ids;

/// A project and everyone in it.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) project_id: String,
    pub(crate) secret: String,
    pub(crate) public_token: String,
    /// What webhooks are signed with, as Svix shows it: `whsec_` and base64.
    pub(crate) webhook_secret: String,
    /// Where people may be sent back to; anywhere, if there are none.
    pub(crate) redirect_urls: Vec<String>,
    pub(crate) organizations: Vec<Organization>,
    pub(crate) members: Vec<Member>,
    pub(crate) users: Vec<User>,
    pub(crate) roles: Vec<Role>,
    /// What the policy says exists, where that is more than the roles' permissions mention.
    pub(crate) resources: Vec<Resource>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) m2m_clients: Vec<M2mClient>,
    pub(crate) connected_apps: Vec<ConnectedApp>,
}

/// A policy's roles, and those that Stytch adds to every policy where this one does not name them.
pub(crate) fn with_reserved(given: Vec<Role>, problems: &mut Vec<String>) -> Vec<Role> {
    let mut roles: Vec<Role> = Vec::new();
    for role in given {
        if roles.iter().any(|known| known.role_id == role.role_id) {
            problems.push(format!("roles: {} is there twice", role.role_id));
        }
        roles.push(role);
    }
    for reserved in built_in::reserved_roles() {
        if !roles.iter().any(|known| known.role_id == reserved.role_id) {
            roles.push(reserved);
        }
    }
    roles
}

impl World {
    /// The people of the documentation: `acme` and `globex`, Ana, Ben, Cho and Gil, Uma and Vic.
    pub fn built_in() -> Self {
        built_in::world()
    }

    /// Reads a seed: TOML tables named as in the control API's `world`.
    ///
    /// # Errors
    ///
    /// Names the line of a mistake in the text, and all mistakes in what it means.
    pub fn from_toml(text: &str) -> Result<Self, SeedError> {
        seed::read(text)
    }

    /// A project without anyone in it.
    fn empty() -> Self {
        Self {
            project_id: ids::fresh("project"),
            secret: ids::secret(),
            public_token: ids::fresh("public-token"),
            webhook_secret: ids::webhook_secret(),
            redirect_urls: Vec::new(),
            organizations: Vec::new(),
            members: Vec::new(),
            users: Vec::new(),
            roles: Vec::new(),
            resources: Vec::new(),
            scopes: Vec::new(),
            m2m_clients: Vec::new(),
            connected_apps: Vec::new(),
        }
    }

    pub(crate) fn organization(&self, locator: &str) -> Result<&Organization, Refusal> {
        self.organizations.iter().find(|one| one.is(locator)).ok_or(Refusal::OrganizationNotFound)
    }

    pub(crate) fn organization_mut(&mut self, locator: &str) -> Result<&mut Organization, Refusal> {
        self.organizations.iter_mut().find(|one| one.is(locator)).ok_or(Refusal::OrganizationNotFound)
    }

    /// An SSO connection, and whose it is.
    pub(crate) fn sso_connection(&self, id: &str) -> Result<(&Organization, &SsoConnection), Refusal> {
        let mut all = self.organizations.iter().flat_map(|organization| {
            organization.sso_connections.iter().map(move |connection| (organization, connection))
        });
        all.find(|(_, connection)| connection.id == id).ok_or(Refusal::SsoConnectionNotFound)
    }

    /// A member by id or external id. Deleted members can still be looked up.
    pub(crate) fn member(&self, id: &str) -> Result<&Member, Refusal> {
        self.members.iter().find(|one| one.is(id)).ok_or(Refusal::MemberNotFound)
    }

    pub(crate) fn member_mut(&mut self, id: &str) -> Result<&mut Member, Refusal> {
        self.members.iter_mut().find(|one| one.is(id)).ok_or(Refusal::MemberNotFound)
    }

    /// The member who signs in to that organization with that address.
    pub(crate) fn member_by_email(&self, organization_id: &str, address: &str) -> Result<&Member, Refusal> {
        self.memberships(address)
            .find(|one| one.organization_id == organization_id)
            .ok_or(Refusal::MemberNotFound)
    }

    /// All members under one address, one for each organization they are in.
    pub(crate) fn memberships(&self, address: &str) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |one| {
            one.status != MemberStatus::Deleted && one.email_address.eq_ignore_ascii_case(address)
        })
    }

    pub(crate) fn user(&self, id: &str) -> Result<&User, Refusal> {
        self.users.iter().find(|one| one.is(id)).ok_or(Refusal::UserNotFound)
    }

    pub(crate) fn user_mut(&mut self, id: &str) -> Result<&mut User, Refusal> {
        self.users.iter_mut().find(|one| one.is(id)).ok_or(Refusal::UserNotFound)
    }

    pub(crate) fn user_by_email(&self, address: &str) -> Option<&User> {
        self.users
            .iter()
            .find(|one| one.email.as_ref().is_some_and(|email| email.address.eq_ignore_ascii_case(address)))
    }

    pub(crate) fn user_by_phone(&self, number: &str) -> Option<&User> {
        self.users.iter().find(|one| one.phone.as_ref().is_some_and(|phone| phone.number == number))
    }

    pub(crate) fn m2m_client(&self, id: &str) -> Option<&M2mClient> {
        self.m2m_clients.iter().find(|one| one.id == id)
    }

    pub(crate) fn connected_app(&self, id: &str) -> Option<&ConnectedApp> {
        self.connected_apps.iter().find(|one| one.id == id)
    }

    /// The roles that mean something to Consumer users.
    pub(crate) fn consumer_roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.iter().filter(|role| ![MEMBER_ROLE, ADMIN_ROLE].contains(&role.role_id.as_str()))
    }

    /// The roles an organization knows: the project's, then its own.
    pub(crate) fn roles_in<'a>(&'a self, organization: &'a Organization) -> impl Iterator<Item = &'a Role> {
        self.project_roles().chain(&organization.custom_roles)
    }

    /// The roles that mean something to every organization's members.
    pub(crate) fn project_roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.iter().filter(|role| role.role_id != USER_ROLE)
    }
}
