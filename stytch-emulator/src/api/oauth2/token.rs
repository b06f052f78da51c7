//! `POST …/oauth2/token`: a token for whoever may have one.

use serde_json::{Map, json};

use super::{Answer, Call, Reply};
use crate::access_token::M2M_SECONDS;
use crate::error::OAuth2Error;
use crate::grant::Grant;
use crate::state::State;

pub(super) fn answer(state: &mut State, call: Call) -> Reply {
    match call.required("grant_type")? {
        "client_credentials" => client_credentials(state, &call),
        "authorization_code" => authorization_code(state, &call),
        "refresh_token" => refresh_token(state, &call),
        other => Err(OAuth2Error::new("unsupported_grant_type", format!("there is no grant type {other}"))),
    }
}

/// Machine to machine: all the client's scopes, or those it asks for.
fn client_credentials(state: &State, call: &Call) -> Reply {
    let (id, secret) = call.client(&state.world.project_id)?;
    let client = state.world.m2m_client(id).filter(|client| secret == Some(&client.secret));
    let client = client.ok_or_else(OAuth2Error::invalid_client)?;
    let asked = call.field("scope").or_else(|| call.field("scopes"));
    let scopes = narrowed(&client.scopes, asked)?;
    Ok(json!({
        "access_token": state.m2m_token(client, &call.issuer, &scopes, &Map::new()),
        "token_type": "bearer",
        "expires_in": M2M_SECONDS,
    })
    .into())
}

fn authorization_code(state: &mut State, call: &Call) -> Reply {
    let client_id = call.app(state)?.id.clone();
    let (redirect_uri, verifier) = (call.field("redirect_uri"), call.field("code_verifier"));
    let grant =
        state.redeem_authorization_code(call.required("code")?, &client_id, redirect_uri, verifier)?;
    tokens(state, &grant, &grant.scopes, call)
}

fn refresh_token(state: &mut State, call: &Call) -> Reply {
    let client_id = call.app(state)?.id.clone();
    let grant = state.grants.redeem_refresh_token(call.required("refresh_token")?, &client_id)?;
    let scopes = narrowed(&grant.scopes, call.field("scope"))?;
    tokens(state, &grant, &scopes, call)
}

/// The tokens of a grant, the access token perhaps for fewer scopes than were granted.
fn tokens(state: &mut State, grant: &Grant, scopes: &[String], call: &Call) -> Reply {
    let gone = |_| OAuth2Error::new("invalid_grant", "the person or the app is not there any more");
    let narrow = Grant { scopes: scopes.to_vec(), ..grant.clone() };
    let (access_token, seconds) = state.app_token(&narrow, &call.issuer, &Map::new()).map_err(gone)?;
    let mut fields = Map::from_iter([
        ("access_token".into(), json!(access_token)),
        ("token_type".into(), json!("bearer")),
        ("expires_in".into(), json!(seconds)),
        ("scope".into(), json!(scopes.join(" "))),
    ]);
    if narrow.has("openid") {
        let id_token = state.id_token(&narrow, &call.issuer, seconds).map_err(gone)?;
        fields.insert("id_token".into(), id_token.into());
    }
    if grant.has("offline_access") {
        fields.insert("refresh_token".into(), state.grants.refresh_token(grant).into());
    }
    Ok(Answer::from(fields))
}

/// The scopes asked for, all of which must be among those there are; without any, all of these.
fn narrowed(all: &[String], asked: Option<&str>) -> Result<Vec<String>, OAuth2Error> {
    let Some(asked) = asked else { return Ok(all.to_vec()) };
    let asked: Vec<String> = asked.split_ascii_whitespace().map(str::to_owned).collect();
    match asked.iter().find(|scope| !all.contains(scope)) {
        Some(other) => Err(OAuth2Error::new("invalid_scope", format!("{other} is not among its scopes"))),
        None => Ok(asked),
    }
}
