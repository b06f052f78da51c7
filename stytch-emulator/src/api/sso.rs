//! Single sign-on: an organization's connections, and members back from one.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Reply;
use crate::login::LoginArguments;
use crate::redirect::Names;
use crate::session::{Factor, Holder};
use crate::state::State;
use crate::world::{Member, Organization, SsoConnection};

#[derive(Debug, Deserialize)]
pub(super) struct Get {
    organization_id: String,
}

pub(super) fn connections(state: &mut State, request: Get) -> Reply {
    let organization = state.world.organization(&request.organization_id)?;
    let (oidc, saml): (Vec<_>, Vec<_>) = organization.sso_connections.iter().partition(|one| one.is_oidc());
    let shown = |of: Vec<&SsoConnection>, show: fn(&Organization, &SsoConnection) -> Value| {
        of.into_iter().map(|one| show(organization, one)).collect::<Vec<_>>()
    };
    Ok(json!({
        "saml_connections": shown(saml, saml_connection),
        "oidc_connections": shown(oidc, oidc_connection),
        "external_connections": [],
    })
    .into())
}

fn saml_connection(organization: &Organization, connection: &SsoConnection) -> Value {
    let roles: Vec<Value> = connection.implicit_roles.iter().map(|role| json!({ "role_id": role })).collect();
    json!({
        "organization_id": organization.id,
        "connection_id": connection.id,
        "status": "active",
        "display_name": connection.display_name,
        "identity_provider": connection.identity_provider,
        "idp_entity_id": "https://idp.stytch-emulator.example",
        "idp_sso_url": "https://idp.stytch-emulator.example/sso",
        "acs_url": "https://sp.stytch-emulator.example/acs",
        "audience_uri": "https://sp.stytch-emulator.example",
        "signing_certificates": [],
        "verification_certificates": [],
        "encryption_private_keys": [],
        "saml_connection_implicit_role_assignments": roles,
        "saml_group_implicit_role_assignments": [],
        "alternative_audience_uri": "",
        "nameid_format": "",
        "alternative_acs_url": "",
        "idp_initiated_auth_disabled": false,
        "allow_gateway_callback": false,
        "attribute_mapping": {},
    })
}

fn oidc_connection(organization: &Organization, connection: &SsoConnection) -> Value {
    let at = "https://idp.stytch-emulator.example";
    json!({
        "organization_id": organization.id,
        "connection_id": connection.id,
        "status": "active",
        "display_name": connection.display_name,
        "identity_provider": connection.identity_provider,
        "redirect_url": "https://sp.stytch-emulator.example/callback",
        "client_id": "stytch-emulator",
        "client_secret": "",
        "issuer": at,
        "authorization_url": format!("{at}/authorize"),
        "token_url": format!("{at}/token"),
        "userinfo_url": format!("{at}/userinfo"),
        "jwks_url": format!("{at}/jwks"),
        "custom_scopes": "",
        "attribute_mapping": {},
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct Authenticate {
    sso_token: String,
    pkce_code_verifier: Option<String>,
    #[serde(flatten)]
    login: LoginArguments,
}

/// Whoever the organization's own provider vouches for is let in, and made a member if need be.
pub(super) fn authenticate(state: &mut State, request: Authenticate) -> Reply {
    let carried = state.carried(&request.login)?;
    let (token, verifier) = (&request.sso_token, request.pkce_code_verifier.as_deref());
    let now = state.clock.now();
    let proof = state.redirects.sso.redeem(token, verifier, now, Names::SSO)?;
    let (organization, connection) = state.world.sso_connection(&proof.connection_id)?;
    let (organization_id, connection) = (organization.id.clone(), connection.clone());
    let member_id = match state.world.member_by_email(&organization_id, &proof.address) {
        Ok(member) => member.id.clone(),
        Err(_) => {
            let now = state.now();
            let member =
                Member { created_at: now, updated_at: now, ..Member::new(&organization_id, &proof.address) };
            let id = member.id.clone();
            state.world.members.push(member);
            id
        }
    };
    let member = state.world.member_mut(&member_id)?;
    member.register_sso(&connection);
    let member = member.clone();
    let factor = Factor::sso(&connection.id, Holder::Member(&member), state.now());
    let mut fields = state.sign_in(&member.id, vec![factor], carried, request.login)?;
    fields.insert("reset_session".into(), json!(false));
    Ok(fields.into())
}
