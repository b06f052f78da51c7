//! What a token stands for: `userinfo`, `introspect` (RFC 7662) and `revoke` (RFC 7009).

use serde_json::{Value, json};

use super::{Answer, Call, Reply};
use crate::access_token::subject_of;
use crate::error::OAuth2Error;
use crate::state::State;

/// What the scopes of the token in the header let its bearer know.
pub(super) fn userinfo(state: &mut State, call: Call) -> Reply {
    let claims = call.bearer.as_deref().and_then(|token| state.living_app_token(token));
    let claims = claims.ok_or_else(OAuth2Error::invalid_token)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let scopes: Vec<String> = text("scope").split_ascii_whitespace().map(str::to_owned).collect();
    let about = state.about(&subject_of(text("sub")), &scopes);
    Ok(Answer::from(about.map_err(|_| OAuth2Error::invalid_token())?))
}

/// Whether a token of the app's own is good, and what it says. Any other is simply not active.
pub(super) fn introspect(state: &mut State, call: Call) -> Reply {
    let client_id = &call.app(state)?.id;
    let token = call.required("token")?;
    let claims = state.living_app_token(token);
    let Some(mut claims) = claims.filter(|claims| claims["client_id"] == **client_id) else {
        return Ok(json!({ "active": false }).into());
    };
    claims.insert("active".into(), json!(true));
    claims.insert("token_type".into(), json!("access_token"));
    Ok(claims.into())
}

/// Ends a token of the app's own; of any other it says nothing, as the RFC demands.
pub(super) fn revoke(state: &mut State, call: Call) -> Reply {
    let client_id = call.app(state)?.id.clone();
    let token = call.required("token")?;
    let own = state.living_app_token(token).filter(|claims| claims["client_id"] == *client_id);
    match own.as_ref().and_then(|claims| claims.get("jti")).and_then(Value::as_str) {
        Some(id) => state.grants.revoke_access_token(id),
        None => state.grants.revoke_refresh_token(token, &client_id),
    }
    Ok(json!({}).into())
}
