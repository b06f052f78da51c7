//! `POST …/oauth2/token`: a token for whoever may have one.

use serde_json::{Map, json};

use super::{Call, Reply};
use crate::access_token::M2M_SECONDS;
use crate::error::OAuth2Error;
use crate::state::State;

pub(super) fn answer(state: &mut State, call: Call) -> Reply {
    match call.required("grant_type")? {
        "client_credentials" => client_credentials(state, &call),
        other => Err(OAuth2Error::new("unsupported_grant_type", format!("there is no grant type {other}"))),
    }
}

/// Machine to machine: all the client's scopes, or those it asks for.
fn client_credentials(state: &State, call: &Call) -> Reply {
    let (id, secret) = call.client(&state.world.project_id)?;
    let client = state.world.m2m_client(id).filter(|client| secret == Some(&client.secret));
    let client = client.ok_or_else(OAuth2Error::invalid_client)?;
    let asked = call.field("scope").or_else(|| call.field("scopes"));
    let scopes = match asked {
        None => client.scopes.clone(),
        Some(asked) => asked.split_ascii_whitespace().map(str::to_owned).collect(),
    };
    if let Some(other) = scopes.iter().find(|scope| !client.scopes.contains(scope)) {
        return Err(OAuth2Error::new("invalid_scope", format!("the client does not have the scope {other}")));
    }
    Ok(json!({
        "access_token": state.m2m_token(client, &call.issuer, &scopes, &Map::new()),
        "token_type": "bearer",
        "expires_in": M2M_SECONDS,
    })
    .into())
}
