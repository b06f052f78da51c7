//! Which schema each answer has to meet.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonschema::Validator;
use serde_json::{Value, json};

/// The schema of a successful answer, by method and path.
const ANSWERS: &[(&str, &str, &str)] = &[
    ("GET", "/v1/debug/whoami", "api_debug_v1_WhoamiResponse"),
    ("GET", "/v1/sessions", "api_session_v1_GetResponse"),
    ("POST", "/v1/sessions/authenticate", "api_session_v1_AuthenticateResponse"),
    ("POST", "/v1/sessions/revoke", "api_session_v1_RevokeResponse"),
    ("GET", "/v1/sessions/jwks/*", "api_session_v1_GetJWKSResponse"),
    ("GET", "/v1/public/*/.well-known/jwks.json", "api_session_v1_GetJWKSResponse"),
    ("POST", "/v1/otps/authenticate", "api_otp_v1_AuthenticateResponse"),
    ("POST", "/v1/otps/email/login_or_create", "api_otp_v1_otp_email_LoginOrCreateResponse"),
    ("POST", "/v1/otps/email/send", "api_otp_v1_otp_email_SendResponse"),
    ("POST", "/v1/otps/sms/login_or_create", "api_otp_v1_otp_sms_LoginOrCreateResponse"),
    ("POST", "/v1/otps/sms/send", "api_otp_v1_otp_sms_SendResponse"),
    // The published document leaves WhatsApp out; SDKs give it the shape of a text message.
    ("POST", "/v1/otps/whatsapp/login_or_create", "api_otp_v1_otp_sms_LoginOrCreateResponse"),
    ("POST", "/v1/otps/whatsapp/send", "api_otp_v1_otp_sms_SendResponse"),
    ("POST", "/v1/magic_links/authenticate", "ConsumerMagicLinksAuthenticateResponse"),
    ("POST", "/v1/magic_links/email/login_or_create", "api_magic_v1_magic_links_email_LoginOrCreateResponse"),
    ("POST", "/v1/magic_links/email/send", "api_magic_v1_magic_links_email_SendResponse"),
    ("POST", "/v1/totps/authenticate", "api_totp_v1_AuthenticateResponse"),
    ("POST", "/v1/totps/recover", "api_totp_v1_RecoverResponse"),
    ("POST", "/v1/oauth/authenticate", "api_oauth_v1_AuthenticateResponse"),
    ("GET", "/v1/users/*", "api_user_v1_GetResponse"),
    ("GET", "/v1/rbac/policy", "api_consumer_rbac_v1_PolicyResponse"),
    ("GET", "/v1/b2b/sessions", "api_b2b_session_v1_GetResponse"),
    ("POST", "/v1/b2b/sessions/authenticate", "api_b2b_session_v1_AuthenticateResponse"),
    ("POST", "/v1/b2b/sessions/revoke", "api_b2b_session_v1_RevokeResponse"),
    ("POST", "/v1/b2b/sessions/exchange", "api_b2b_session_v1_ExchangeResponse"),
    ("GET", "/v1/b2b/sessions/jwks/*", "api_b2b_session_v1_GetJWKSResponse"),
    ("POST", "/v1/b2b/otps/email/login_or_signup", "api_b2b_otp_v1_b2b_otp_email_LoginOrSignupResponse"),
    ("POST", "/v1/b2b/otps/email/authenticate", "api_b2b_otp_v1_b2b_otp_email_AuthenticateResponse"),
    ("POST", "/v1/b2b/otps/email/discovery/send", "api_b2b_otp_v1_b2b_otp_email_discovery_SendResponse"),
    (
        "POST",
        "/v1/b2b/otps/email/discovery/authenticate",
        "api_b2b_otp_v1_b2b_otp_email_discovery_AuthenticateResponse",
    ),
    ("POST", "/v1/b2b/otps/sms/send", "api_b2b_otp_v1_b2b_otp_sms_SendResponse"),
    ("POST", "/v1/b2b/otps/sms/authenticate", "api_b2b_otp_v1_b2b_otp_sms_AuthenticateResponse"),
    (
        "POST",
        "/v1/b2b/magic_links/email/login_or_signup",
        "api_magic_v1_b2b_magic_links_email_LoginOrSignupResponse",
    ),
    ("POST", "/v1/b2b/magic_links/email/invite", "api_magic_v1_b2b_magic_links_email_InviteResponse"),
    ("POST", "/v1/b2b/magic_links/authenticate", "api_magic_v1_AuthenticateResponse"),
    (
        "POST",
        "/v1/b2b/magic_links/email/discovery/send",
        "api_magic_v1_b2b_magic_links_email_discovery_SendResponse",
    ),
    (
        "POST",
        "/v1/b2b/magic_links/discovery/authenticate",
        "api_magic_v1_b2b_magic_links_discovery_AuthenticateResponse",
    ),
    ("POST", "/v1/b2b/oauth/authenticate", "api_b2b_oauth_v1_AuthenticateResponse"),
    (
        "POST",
        "/v1/b2b/oauth/discovery/authenticate",
        "api_b2b_oauth_v1_b2b_oauth_discovery_AuthenticateResponse",
    ),
    ("POST", "/v1/b2b/totp", "api_b2b_totp_v1_CreateResponse"),
    ("POST", "/v1/b2b/totp/authenticate", "api_b2b_totp_v1_AuthenticateResponse"),
    ("POST", "/v1/b2b/recovery_codes/recover", "api_b2b_recovery_codes_v1_RecoverResponse"),
    ("POST", "/v1/b2b/recovery_codes/rotate", "api_b2b_recovery_codes_v1_RotateResponse"),
    ("GET", "/v1/b2b/recovery_codes/*/*", "api_b2b_recovery_codes_v1_GetResponse"),
    ("POST", "/v1/b2b/sso/authenticate", "api_sso_v1_AuthenticateResponse"),
    ("GET", "/v1/b2b/sso/*", "api_sso_v1_GetConnectionsResponse"),
    ("POST", "/v1/b2b/discovery/organizations", "api_discovery_v1_discovery_ListResponse"),
    (
        "POST",
        "/v1/b2b/discovery/organizations/create",
        "api_discovery_v1_discovery_organizations_CreateResponse",
    ),
    (
        "POST",
        "/v1/b2b/discovery/intermediate_sessions/exchange",
        "api_discovery_v1_discovery_intermediate_sessions_ExchangeResponse",
    ),
    ("GET", "/v1/b2b/organizations/*", "api_organization_v1_GetResponse"),
    ("GET", "/v1/b2b/organizations/*/member", "api_organization_v1_organizations_members_GetResponse"),
    ("GET", "/v1/b2b/rbac/policy", "api_b2b_rbac_v1_PolicyResponse"),
    ("GET", "/v1/b2b/rbac/organizations/*", "api_b2b_rbac_v1_b2b_rbac_organizations_GetOrgPolicyResponse"),
    ("PUT", "/v1/b2b/rbac/organizations/*", "api_b2b_rbac_v1_b2b_rbac_organizations_SetOrgPolicyResponse"),
    ("POST", "/v1/public/*/oauth2/token", "OAuth2TokenResponse"),
    ("POST", "/v1/oauth2/token", "OAuth2TokenResponse"),
    ("POST", "/v1/public/*/oauth2/introspect", "IntrospectResponse"),
    ("POST", "/v1/oauth2/introspect", "IntrospectResponse"),
    ("GET", "/.well-known/jwks.json", "api_session_v1_GetJWKSResponse"),
    ("GET", "/.well-known/openid-configuration", "OpenIdConfiguration"),
    ("GET", "/.well-known/oauth-authorization-server", "OpenIdConfiguration"),
    ("GET", "/v1/public/*/.well-known/openid-configuration", "OpenIdConfiguration"),
    ("GET", "/v1/public/*/.well-known/oauth-authorization-server", "OpenIdConfiguration"),
];

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
    let schema = ANSWERS.iter().find(|(of, pattern, _)| *of == method && matches(pattern, path));
    let (_, _, schema) = schema.unwrap_or_else(|| panic!("no schema is known for {method} {path}"));
    check(schema, body);
    match body["session_jwt"].as_str() {
        None | Some("") => {}
        Some(jwt) => check_session_jwt(jwt),
    }
    if let Some(jwt) = body["access_token"].as_str() {
        check_access_token(jwt);
    }
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

/// Panics unless `value` meets the schema of that name.
pub(crate) fn check(schema: &'static str, value: &Value) {
    let validator =
        Arc::clone(VALIDATORS.lock().unwrap().entry(schema).or_insert_with(|| Arc::new(validator(schema))));
    let mistakes: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path)).collect();
    assert!(mistakes.is_empty(), "not {schema}:\n{}\n{value:#}", mistakes.join("\n"));
}

static VALIDATORS: LazyLock<Mutex<HashMap<&str, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// The two files' definitions as one set: the supplement refers to the bundle by its file's name.
static DEFINITIONS: LazyLock<Value> = LazyLock::new(|| {
    let bundle: Value = serde_json::from_str(include_str!("../schemas/json-schema.bundle.json")).unwrap();
    let supplement =
        include_str!("../schemas/supplement.schema.json").replace("json-schema.bundle.json#", "#");
    let supplement: Value = serde_json::from_str(&supplement).unwrap();
    let mut definitions = bundle["$defs"].as_object().unwrap().clone();
    definitions.extend(supplement["$defs"].as_object().unwrap().clone());
    Value::Object(definitions)
});

static ERROR_TYPES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let list: Value = serde_json::from_str(include_str!("../schemas/error_types.json")).unwrap();
    serde_json::from_value(list["all"].clone()).unwrap()
});

fn validator(schema: &str) -> Validator {
    let document = json!({ "$ref": format!("#/$defs/{schema}"), "$defs": *DEFINITIONS });
    jsonschema::validator_for(&document).unwrap()
}

/// Whether a path is one of the pattern's, in which `*` stands for one segment.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.split('/'), path.split('/'));
    pattern.clone().count() == path.clone().count()
        && pattern.zip(path).all(|(one, other)| one == "*" || one == other)
}
