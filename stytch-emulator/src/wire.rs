//! The API's JSON for what is in the world: every field that the API always sends, in one place
//! for each object, empty where the emulator has nothing to put there.

use serde_json::{Map, Value, json};

use crate::jwt::{ORGANIZATION_CLAIM, SESSION_CLAIM, issuer};
use crate::session::{Factor, Session};
use crate::totp::Totp;
use crate::world::{
    ADMIN_ROLE, ConnectedApp, M2mClient, Member, OauthRegistration, Organization, Phone, Resource, Role,
    SsoConnection, SsoRegistration, User, World,
};

/// How long a session JWT says it is good for, whatever the session's own length.
const JWT_SECONDS: i64 = 300;

pub(crate) fn organization(organization: &Organization) -> Value {
    let restricted = |restricted| if restricted { "RESTRICTED" } else { "ALL_ALLOWED" };
    json!({
        "organization_id": organization.id,
        "organization_name": organization.name,
        "organization_logo_url": organization.logo_url,
        "organization_slug": organization.slug,
        "sso_jit_provisioning": "ALL_ALLOWED",
        "sso_jit_provisioning_allowed_connections": [],
        "sso_active_connections": organization.sso_connections.iter().map(connection).collect::<Vec<_>>(),
        "email_allowed_domains": organization.email_allowed_domains,
        "email_jit_provisioning":
            if organization.email_allowed_domains.is_empty() { "NOT_ALLOWED" } else { "RESTRICTED" },
        "email_invites": "ALL_ALLOWED",
        "auth_methods": restricted(organization.allowed_auth_methods.is_some()),
        "allowed_auth_methods": organization.allowed_auth_methods.as_deref().unwrap_or_default(),
        "mfa_policy": if organization.mfa_required_for_all { "REQUIRED_FOR_ALL" } else { "OPTIONAL" },
        "rbac_email_implicit_role_assignments": [],
        "mfa_methods": restricted(organization.allowed_mfa_methods.is_some()),
        "allowed_mfa_methods": organization.allowed_mfa_methods.as_deref().unwrap_or_default(),
        "oauth_tenant_jit_provisioning": "NOT_ALLOWED",
        "claimed_email_domains": [],
        "first_party_connected_apps_allowed_type": "ALL_ALLOWED",
        "allowed_first_party_connected_apps": [],
        "third_party_connected_apps_allowed_type": "ALL_ALLOWED",
        "allowed_third_party_connected_apps": [],
        "custom_roles": organization.custom_roles,
        "trusted_metadata": organization.trusted_metadata,
        "created_at": organization.created_at,
        "updated_at": organization.created_at,
        "organization_external_id": organization.external_id,
        "sso_default_connection_id": organization.default_sso_connection,
        "scim_active_connection": null,
        "allowed_oauth_tenants": {},
    })
}

fn connection(connection: &SsoConnection) -> Value {
    json!({
        "connection_id": connection.id,
        "display_name": connection.display_name,
        "identity_provider": connection.identity_provider,
    })
}

pub(crate) fn member(member: &Member) -> Value {
    let roles = member.effective_roles();
    let phone = member.mfa.phone.as_ref();
    json!({
        "organization_id": member.organization_id,
        "member_id": member.id,
        "email_address": member.email_address,
        "status": member.status,
        "name": member.name,
        "sso_registrations": member.sso.iter().map(sso_registration).collect::<Vec<_>>(),
        "is_breakglass": false,
        "member_password_id": "",
        "oauth_registrations": member.oauth.iter().map(oauth_registration).collect::<Vec<_>>(),
        "email_address_verified": member.email_address_verified,
        "mfa_phone_number_verified": phone.is_some_and(|phone| phone.verified),
        "is_admin": roles.iter().any(|role| role == ADMIN_ROLE),
        "totp_registration_id": member.mfa.totp_registration_id(),
        "retired_email_addresses": [],
        "is_locked": false,
        "mfa_enrolled": member.mfa.enrolled,
        "mfa_phone_number": phone.map_or("", |phone| &phone.number),
        "default_mfa_method": member.mfa.default_method.map_or(json!(""), |method| json!(method)),
        "roles": member_roles(member),
        "trusted_metadata": member.trusted_metadata,
        "untrusted_metadata": member.untrusted_metadata,
        "created_at": member.created_at,
        "updated_at": member.updated_at,
        "scim_registration": null,
        "external_id": member.external_id,
        "lock_created_at": null,
        "lock_expires_at": null,
    })
}

/// All roles with where they come from: by hand, or from an SSO connection.
fn member_roles(member: &Member) -> Vec<Value> {
    let mut sources: Vec<(String, Vec<Value>)> = Vec::new();
    let assigned = member.effective_roles().into_iter();
    let assigned = assigned.map(|role| (role, json!({ "type": "direct_assignment", "details": {} })));
    let implied = member.sso.iter().flat_map(|one| {
        let details = json!({ "connection_id": one.connection_id });
        let source = json!({ "type": "sso_connection", "details": details });
        one.implicit_roles.iter().map(move |role| (role.clone(), source.clone()))
    });
    for (role, source) in assigned.chain(implied) {
        match sources.iter_mut().find(|(known, _)| *known == role) {
            Some((_, of)) => of.push(source),
            None => sources.push((role, vec![source])),
        }
    }
    sources.into_iter().map(|(role, sources)| json!({ "role_id": role, "sources": sources })).collect()
}

fn sso_registration(one: &SsoRegistration) -> Value {
    json!({
        "connection_id": one.connection_id,
        "external_id": one.id,
        "registration_id": one.id,
        "sso_attributes": {},
    })
}

fn oauth_registration(one: &OauthRegistration) -> Value {
    json!({
        "provider_type": one.provider.name,
        "provider_subject": one.subject,
        "member_oauth_registration_id": one.id,
        "profile_picture_url": null,
        "locale": null,
    })
}

fn totp(totp: &Totp) -> Value {
    json!({ "totp_id": totp.id, "verified": totp.verified })
}

fn oauth_provider(one: &OauthRegistration) -> Value {
    json!({
        "provider_type": one.provider.name,
        "provider_subject": one.subject,
        "oauth_user_registration_id": one.id,
        "profile_picture_url": "",
        "locale": "",
    })
}

pub(crate) fn user(user: &User) -> Value {
    let email = |email: &crate::world::Email| json!({ "email_id": email.id, "email": email.address, "verified": email.verified });
    let phone = |phone: &Phone| json!({ "phone_id": phone.id, "phone_number": phone.number, "verified": phone.verified });
    json!({
        "user_id": user.id,
        "emails": user.email.iter().map(email).collect::<Vec<_>>(),
        "status": if user.pending { "pending" } else { "active" },
        "phone_numbers": user.phone.iter().map(phone).collect::<Vec<_>>(),
        "webauthn_registrations": [],
        "providers": user.oauth.iter().map(oauth_provider).collect::<Vec<_>>(),
        "totps": user.totp.iter().map(totp).collect::<Vec<_>>(),
        "crypto_wallets": [],
        "biometric_registrations": [],
        "is_locked": false,
        "roles": user.effective_roles(),
        "name": { "first_name": user.name.as_deref().unwrap_or(""), "middle_name": "", "last_name": "" },
        "created_at": user.created_at,
        "password": null,
        "trusted_metadata": user.trusted_metadata,
        "untrusted_metadata": user.untrusted_metadata,
        "external_id": user.external_id,
        "lock_created_at": null,
        "lock_expires_at": null,
    })
}

pub(crate) fn member_session(session: &Session, member: &Member, organization: &Organization) -> Value {
    json!({
        "member_session_id": session.id,
        "member_id": member.id,
        "started_at": session.started_at,
        "last_accessed_at": session.last_accessed_at,
        "expires_at": session.expires_at,
        "authentication_factors": factors(session),
        "organization_id": organization.id,
        "organization_slug": organization.slug,
        "roles": member.session_roles(&session.factors),
        "custom_claims": session.custom_claims,
    })
}

pub(crate) fn user_session(session: &Session, user: &User) -> Value {
    json!({
        "session_id": session.id,
        "user_id": user.id,
        "started_at": session.started_at,
        "last_accessed_at": session.last_accessed_at,
        "expires_at": session.expires_at,
        "authentication_factors": factors(session),
        "attributes": attributes(),
        "roles": user.effective_roles(),
        "custom_claims": session.custom_claims,
    })
}

/// What a session JWT of a member says.
pub(crate) fn member_claims(
    session: &Session,
    member: &Member,
    organization: &Organization,
    project_id: &str,
) -> Value {
    let mut claims = session_claims(session, &member.id, member.session_roles(&session.factors), project_id);
    claims.insert(
        ORGANIZATION_CLAIM.into(),
        json!({ "organization_id": organization.id, "slug": organization.slug }),
    );
    Value::Object(claims)
}

/// What a session JWT of a Consumer user says.
pub(crate) fn user_claims(session: &Session, user: &User, project_id: &str) -> Value {
    Value::Object(session_claims(session, &user.id, user.effective_roles(), project_id))
}

/// A JWT is minted whenever a session is accessed, so that is when it was issued.
fn session_claims(
    session: &Session,
    subject: &str,
    roles: Vec<String>,
    project_id: &str,
) -> Map<String, Value> {
    let issued = session.last_accessed_at.as_second();
    let registered = json!({
        "aud": [project_id],
        "exp": issued + JWT_SECONDS,
        "iat": issued,
        "nbf": issued,
        "iss": issuer(project_id),
        "sub": subject,
        SESSION_CLAIM: {
            "id": session.id,
            "started_at": session.started_at,
            "last_accessed_at": session.last_accessed_at,
            "expires_at": session.expires_at,
            "attributes": attributes(),
            "authentication_factors": factors(session),
            "roles": roles,
        },
    });
    let mut claims = session.custom_claims.clone();
    if let Value::Object(registered) = registered {
        claims.extend(registered);
    }
    claims
}

fn factors(session: &Session) -> Vec<Value> {
    session.factors.iter().map(Factor::json).collect()
}

fn attributes() -> Value {
    json!({ "ip_address": "", "user_agent": "" })
}

pub(crate) fn m2m_client(client: &M2mClient) -> Value {
    json!({
        "client_id": client.id,
        "client_secret": client.secret,
        "client_name": client.name,
        "client_description": "",
        "status": "active",
        "scopes": client.scopes,
        "client_secret_last_four": last_four(&client.secret),
        "trusted_metadata": {},
        "next_client_secret_last_four": null,
    })
}

pub(crate) fn connected_app(app: &ConnectedApp) -> Value {
    json!({
        "client_id": app.id,
        "client_name": app.name,
        "client_description": "",
        "status": "active",
        "full_access_allowed": false,
        "client_type": app.client_type,
        "client_secret": app.secret,
        "redirect_urls": app.redirect_urls,
        "access_token_expiry_minutes": app.access_token_expiry_minutes,
        "access_token_template_content": "",
        "post_logout_redirect_urls": [],
        "bypass_consent_for_offline_access": false,
        "creation_method": "dashboard",
        "client_secret_last_four": app.secret.as_deref().map(last_four),
        "next_client_secret_last_four": null,
        "access_token_custom_audience": app.access_token_custom_audience,
        "logo_url": null,
        "client_id_metadata_url": null,
    })
}

fn last_four(secret: &str) -> &str {
    secret.char_indices().nth_back(3).map_or("", |(at, _)| &secret[at..])
}

/// An RBAC policy of the roles of one vertical.
pub(crate) fn policy<'a>(world: &World, roles: impl Iterator<Item = &'a Role>) -> Value {
    let roles: Vec<&Role> = roles.collect();
    json!({ "roles": roles, "resources": resources(world, &roles), "scopes": world.scopes })
}

/// The resources the world names, and those only its roles mention.
fn resources(world: &World, roles: &[&Role]) -> Vec<Resource> {
    let mut resources = world.resources.clone();
    let named = resources.len();
    for permission in roles.iter().flat_map(|role| &role.permissions) {
        let id = &permission.resource_id;
        let at = resources.iter().position(|one| one.resource_id == *id).unwrap_or_else(|| {
            let (resource_id, description) = (id.clone(), String::new());
            resources.push(Resource { resource_id, description, actions: Vec::new() });
            resources.len() - 1
        });
        if at < named {
            continue;
        }
        for action in &permission.actions {
            if !resources[at].actions.contains(action) {
                resources[at].actions.push(action.clone());
            }
        }
    }
    resources
}
