//! Consumer users back from an OAuth provider.

use serde::Deserialize;
use serde_json::Value;

use super::b2b_oauth::about_provider;
use super::{Reply, sandbox};
use crate::login::UserLogin;
use crate::provider::GOOGLE;
use crate::redirect::{Names, OauthProof};
use crate::session::{Factor, Holder};
use crate::state::State;

#[derive(Debug, Deserialize)]
pub(super) struct Authenticate {
    token: String,
    code_verifier: Option<String>,
    #[serde(flatten)]
    login: UserLogin,
}

/// What other sign-ins call `session` is called `user_session` here.
pub(super) fn authenticate(state: &mut State, request: Authenticate) -> Reply {
    let brought = state.brought(&request.login)?;
    let (token, verifier) = (&request.token, request.code_verifier.as_deref());
    let now = state.clock.now();
    let proof = if token == sandbox::OAUTH_TOKEN {
        state.sandbox_email_id();
        OauthProof { provider: GOOGLE, address: sandbox::ADDRESS.into(), custom_scopes: String::new() }
    } else {
        state.redirects.user_oauth.redeem(token, verifier, now, Names::OAUTH)?
    };
    let id = state.user_with_email(&proof.address, false).id;
    let user = state.world.user_mut(&id)?;
    if let Some(email) = &mut user.email {
        email.verified = true;
    }
    let registration = user.oauth.register(proof.provider, &proof.address);
    let user = user.clone();
    let factor = Factor::oauth(proof.provider, Holder::User(&user), state.now());
    let mut fields = state.user_sign_in(&user, factor, brought, request.login)?;
    let session = fields.remove("session").unwrap_or(Value::Null);
    fields.insert("user_session".into(), session);
    fields.insert("oauth_user_registration_id".into(), registration.into());
    fields.extend(about_provider(state, &proof));
    Ok(fields.into())
}
