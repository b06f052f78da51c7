//! Members back from an OAuth provider.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Reply;
use crate::login::LoginArguments;
use crate::provider;
use crate::redirect::{Names, OauthProof};
use crate::session::{Factor, Holder};
use crate::state::State;

#[derive(Debug, Deserialize)]
pub(super) struct Authenticate {
    oauth_token: String,
    pkce_code_verifier: Option<String>,
    #[serde(flatten)]
    login: LoginArguments,
}

pub(super) fn authenticate(state: &mut State, request: Authenticate) -> Reply {
    let carried = state.carried(&request.login)?;
    let (token, verifier) = (&request.oauth_token, request.pkce_code_verifier.as_deref());
    let now = state.clock.now();
    let (organization_id, proof) = state.redirects.member_oauth.redeem(token, verifier, now, Names::OAUTH)?;
    let organization = state.world.organization(&organization_id)?.clone();
    let member_id = match state.world.member_by_email(&organization.id, &proof.address) {
        Ok(member) => member.id.clone(),
        Err(_) => state.join_by_domain(&organization, &proof.address)?.id,
    };
    let member = state.world.member_mut(&member_id)?;
    member.oauth.register(proof.provider, &proof.address);
    let member = member.clone();
    let factor = Factor::oauth(proof.provider, Holder::Member(&member), state.now());
    let mut fields = state.sign_in(&member.id, vec![factor], carried, request.login)?;
    fields.extend(about_provider(state, &proof));
    fields.insert("reset_sessions".into(), json!(false));
    Ok(fields.into())
}

/// Which provider it was, and what it handed out.
pub(super) fn about_provider(state: &State, proof: &OauthProof) -> Map<String, Value> {
    Map::from_iter([
        ("provider_type".into(), json!(proof.provider.name)),
        ("provider_subject".into(), json!(proof.provider.subject(&proof.address))),
        ("provider_values".into(), provider::values(&proof.custom_scopes, state.now())),
    ])
}

#[derive(Debug, Deserialize)]
pub(super) struct DiscoveryAuthenticate {
    discovery_oauth_token: String,
    pkce_code_verifier: Option<String>,
}

pub(super) fn discovery_authenticate(state: &mut State, request: DiscoveryAuthenticate) -> Reply {
    let (token, verifier) = (&request.discovery_oauth_token, request.pkce_code_verifier.as_deref());
    let now = state.clock.now();
    let proof = state.redirects.discovery_oauth.redeem(token, verifier, now, Names::OAUTH)?;
    let factor = Factor::oauth(proof.provider, Holder::Address(&proof.address), state.now());
    let name = state.world.memberships(&proof.address).next().map_or("", |member| &member.name).to_owned();
    let mut fields = state.discover(&proof.address, factor);
    fields.extend([
        ("provider_type".into(), json!(proof.provider.name)),
        ("provider_tenant_id".into(), json!("")),
        ("provider_tenant_ids".into(), json!([])),
        ("full_name".into(), json!(name)),
    ]);
    Ok(fields.into())
}
