//! What the authorization server says about itself (RFC 8414, OpenID Connect Discovery).

use serde_json::json;

use super::{Call, Reply};
use crate::state::State;

/// The scopes every project has, besides those of its policy.
pub(super) const STANDARD_SCOPES: [&str; 5] = ["openid", "profile", "email", "phone", "offline_access"];

/// How a client may prove itself; the last is for those that cannot keep a secret.
pub(super) const AUTH_METHODS: [&str; 3] = ["client_secret_basic", "client_secret_post", "none"];

pub(super) fn answer(state: &mut State, call: Call) -> Reply {
    let endpoint = |name: &str| format!("{}/oauth2/{name}", call.endpoints);
    let own = state.world.scopes.iter().map(|one| one.scope.as_str());
    let scopes: Vec<&str> = STANDARD_SCOPES.into_iter().chain(own).collect();
    Ok(json!({
        "issuer": call.issuer,
        "authorization_endpoint": endpoint("authorize"),
        "token_endpoint": endpoint("token"),
        "userinfo_endpoint": endpoint("userinfo"),
        "introspection_endpoint": endpoint("introspect"),
        "revocation_endpoint": endpoint("revoke"),
        "registration_endpoint": endpoint("register"),
        "jwks_uri": format!("{}/.well-known/jwks.json", call.well_known),
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "scopes_supported": scopes,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": AUTH_METHODS,
        "authorization_response_iss_parameter_supported": true,
    })
    .into())
}
