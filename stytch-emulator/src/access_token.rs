//! Access tokens: what clients carry instead of sessions.
//!
//! They are JWTs under the same keys, audience and header as session JWTs, so only their claims
//! tell them apart: neither kind has the session claim, and only a Connected App's names a
//! `client_id` beside the person it acts for.

use serde_json::{Map, Value, json};

use crate::jwt;
use crate::keys::Key;
use crate::state::State;
use crate::world::M2mClient;

/// How long a machine's token is good for.
pub(crate) const M2M_SECONDS: i64 = 3600;

impl State {
    /// The token of a client that acts for itself.
    pub(crate) fn m2m_token(
        &self,
        client: &M2mClient,
        issuer: &str,
        scopes: &[String],
        custom_claims: &Map<String, Value>,
    ) -> String {
        let claims = self.access_claims(&client.id, issuer, scopes, M2M_SECONDS);
        self.signed(custom_claims.clone(), claims)
    }

    fn access_claims(&self, subject: &str, issuer: &str, scopes: &[String], seconds: i64) -> Value {
        let issued = self.now().as_second();
        json!({
            "sub": subject,
            "iss": issuer,
            "aud": [self.world.project_id],
            "scope": scopes.join(" "),
            "iat": issued,
            "nbf": issued,
            "exp": issued + seconds,
        })
    }

    /// Signs custom claims together with the token's own, which win.
    fn signed(&self, mut custom: Map<String, Value>, own: Value) -> String {
        if let Value::Object(own) = own {
            custom.extend(own);
        }
        let key = self.keys.get(Key::Current);
        jwt::sign(&jwt::header(key), &Value::Object(custom), key)
    }
}
