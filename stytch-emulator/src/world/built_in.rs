//! The world an emulator has when nobody seeds another. Everything about it is documented, so
//! tests and demonstrations may rely on every name; ids are new each time.

use super::{
    ADMIN_ROLE, Email, M2mClient, MEMBER_ROLE, Member, MemberStatus, Mfa, MfaMethod, Organization,
    Permission, Phone, Resource, Role, SsoConnection, USER_ROLE, User, World,
};
use crate::ids;

pub(super) fn world() -> World {
    let mut acme = organization("acme", "Acme");
    acme.sso_connections.push(SsoConnection {
        id: "saml-connection-test-acme".into(),
        display_name: "Acme SSO".into(),
        identity_provider: "generic".into(),
        implicit_roles: Vec::new(),
    });
    let globex = organization("globex", "Globex");
    let mut cho = member(&acme, "cho@acme.example", "Cho", &[]);
    cho.mfa = texted_codes("+15005550123");
    World {
        members: vec![
            member(&acme, "ana@acme.example", "Ana", &["admin"]),
            member(&globex, "ana@acme.example", "Ana", &[]),
            member(&acme, "ben@acme.example", "Ben", &["editor"]),
            cho,
            member(&globex, "gil@globex.example", "Gil", &[]),
        ],
        organizations: vec![acme, globex],
        users: vec![user("uma@example.com", "Uma"), user("vic@example.com", "Vic")],
        roles: roles(),
        resources: vec![
            resource("documents", &["read", "write", "delete"]),
            resource("billing", &["read", "pay"]),
        ],
        m2m_clients: vec![M2mClient {
            id: "m2m-client-test-reports".into(),
            secret: ids::secret(),
            name: "Reports".into(),
            scopes: vec!["read:reports".into(), "write:reports".into()],
        }],
        ..World::empty()
    }
}

/// The roles Stytch itself reserves come with every policy, seeded or not.
pub(super) fn reserved_roles() -> Vec<Role> {
    vec![
        role(MEMBER_ROLE, &[("stytch.self", &["*"])]),
        role(
            ADMIN_ROLE,
            &[("stytch.organization", &["*"]), ("stytch.member", &["*"]), ("stytch.sso", &["*"])],
        ),
        role(USER_ROLE, &[("stytch.self", &["*"])]),
    ]
}

fn roles() -> Vec<Role> {
    let mut roles = reserved_roles();
    for role in &mut roles {
        // The reserved admin role stays what Stytch makes it: rights over the organization alone.
        if role.role_id != ADMIN_ROLE {
            role.permissions.push(permission("documents", &["read"]));
        }
    }
    roles.push(role("admin", &[("documents", &["*"]), ("billing", &["*"])]));
    roles.push(role("editor", &[("documents", &["read", "write"])]));
    roles
}

fn role(id: &str, permissions: &[(&str, &[&str])]) -> Role {
    Role {
        role_id: id.into(),
        description: String::new(),
        permissions: permissions.iter().map(|(resource, actions)| permission(resource, actions)).collect(),
    }
}

fn permission(resource: &str, actions: &[&str]) -> Permission {
    Permission { resource_id: resource.into(), actions: actions.iter().map(|&one| one.into()).collect() }
}

fn resource(id: &str, actions: &[&str]) -> Resource {
    Resource {
        resource_id: id.into(),
        description: String::new(),
        actions: actions.iter().map(|&one| one.into()).collect(),
    }
}

fn texted_codes(number: &str) -> Mfa {
    let phone = Phone { id: ids::fresh("phone-number"), number: number.into(), verified: true };
    Mfa { enrolled: true, phone: Some(phone), totp: None, default_method: Some(MfaMethod::SmsOtp) }
}

fn organization(slug: &str, name: &str) -> Organization {
    Organization { slug: slug.into(), name: name.into(), ..Organization::new() }
}

fn member(organization: &Organization, address: &str, name: &str, roles: &[&str]) -> Member {
    Member {
        name: name.into(),
        status: MemberStatus::Active,
        email_address_verified: true,
        roles: roles.iter().map(|&role| role.into()).collect(),
        ..Member::new(&organization.id, address)
    }
}

fn user(address: &str, name: &str) -> User {
    let email = Email { id: ids::fresh("email"), address: address.into(), verified: true };
    User { name: Some(name.into()), email: Some(email), ..User::new() }
}
