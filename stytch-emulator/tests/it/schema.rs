//! Which schema each answer has to meet.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::published::{Others, answer_schema, mistakes};

/// What Stytch publishes no schema for: RFC 7009, RFC 7591 and OpenID Connect shape the first three,
/// SDKs the last.
const WITHOUT_SCHEMA: [&str; 4] = ["/oauth2/revoke", "/oauth2/register", "/oauth2/userinfo", "/v1/totps"];

/// Panics unless an answer of the API has the shape that Stytch documents for it.
pub(crate) fn check_answer(method: &str, path: &str, status: u16, body: &Value) {
    assert_eq!(body["status_code"], status, "the status in the body of {method} {path}: {body}");
    let request_id = body["request_id"].as_str().unwrap_or_default();
    assert!(request_id.starts_with("request-id-test-"), "the request id of {method} {path}: {body}");
    let good = (200..300).contains(&status);
    if !good && path.contains("/oauth2/") {
        return check("OAuth2Error", body);
    }
    if good && WITHOUT_SCHEMA.iter().any(|end| path.ends_with(end)) {
        return;
    }
    if !good {
        check("Error", body);
        let name = body["error_type"].as_str().unwrap_or_default();
        assert!(ERROR_TYPES.iter().any(|known| known == name), "Stytch has no error called {name}");
        return;
    }
    check(answer_schema(method, path), body);
    match body["session_jwt"].as_str() {
        None | Some("") => {}
        Some(jwt) => check_session_jwt(jwt),
    }
    if let Some(jwt) = body["access_token"].as_str() {
        check_access_token(jwt);
    }
}

/// Panics unless `value` meets the schema of that name.
pub(crate) fn check(schema: &str, value: &Value) {
    let mistakes = mistakes(schema, Others::Allowed, value);
    assert!(mistakes.is_empty(), "not {schema}:\n{}\n{value:#}", mistakes.join("\n"));
}

/// Panics unless an access token has the header and the payload of its kind.
pub(crate) fn check_access_token(jwt: &str) {
    let (header, claims) = decoded(jwt);
    check("JwsHeader", &header);
    let of_machine = claims["sub"].as_str().is_some_and(|subject| subject.starts_with("m2m-client-"));
    check(if of_machine { "M2MAccessTokenPayload" } else { "ConnectedAppAccessTokenPayload" }, &claims);
    assert_eq!(of_machine, claims["client_id"].is_null(), "only an app's token names the app: {claims}");
}

/// Panics unless a session JWT has the header and the payload of its vertical.
pub(crate) fn check_session_jwt(jwt: &str) {
    let (header, claims) = decoded(jwt);
    check("JwsHeader", &header);
    let of_member = claims["sub"].as_str().is_some_and(|subject| subject.starts_with("member-"));
    check(if of_member { "B2BSessionJwtPayload" } else { "ConsumerSessionJwtPayload" }, &claims);
    let issued = claims["iat"].as_i64().unwrap();
    assert_eq!(claims["nbf"], issued);
    assert_eq!(claims["exp"], issued + 300);
}

/// The header and the claims of a token, unverified.
pub(crate) fn decoded(jwt: &str) -> (Value, Value) {
    let mut parts = jwt.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (next(), next())
}

static ERROR_TYPES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let list: Value = serde_json::from_str(include_str!("../schemas/error_types.json")).unwrap();
    serde_json::from_value(list["all"].clone()).unwrap()
});
