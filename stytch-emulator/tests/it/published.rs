//! What Stytch publishes of its calls: which schema an answer has to meet, and which a request.
//!
//! Compiled into the tests of the gateway as well, which sends the requests. What holds: of a
//! request every field has to be known, since a schema of this kind lets anything else pass.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

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

/// The schema of a successful answer. Panics for a call that is in no list.
pub(crate) fn answer_schema(method: &str, path: &str) -> &'static str {
    let found = ANSWERS.iter().find(|(of, pattern, _)| *of == method && matches(pattern, path));
    found.unwrap_or_else(|| panic!("no schema is known for {method} {path}")).2
}

/// The schema of a request: Stytch names both of a call alike.
pub(crate) fn request_schema(method: &str, path: &str) -> String {
    let answer = answer_schema(method, path);
    format!("{}Request", answer.strip_suffix("Response").unwrap_or(answer))
}

/// What else an object may hold than the fields that its schema names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Others {
    /// Anything, as in answers: Stytch may add to them.
    Allowed,
    /// Nothing, as in requests: what Stytch does not know it passes over in silence.
    Wrong,
}

/// What is wrong with a value by the schema of that name.
pub(crate) fn mistakes(schema: &str, others: Others, value: &Value) -> Vec<String> {
    let mut validators = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = validators.entry((schema.to_owned(), others));
    let validator = Arc::clone(known.or_insert_with(|| Arc::new(validator(schema, others))));
    drop(validators);
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path)).collect()
}

type Validators = HashMap<(String, Others), Arc<Validator>>;

static VALIDATORS: LazyLock<Mutex<Validators>> = LazyLock::new(Mutex::default);

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

/// The same, where an object of which fields are named may have no others.
static CLOSED: LazyLock<Value> = LazyLock::new(|| {
    let mut definitions = DEFINITIONS.clone();
    definitions.as_object_mut().unwrap().values_mut().for_each(close);
    definitions
});

fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object) {
                fields.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(close),
        _ => {}
    }
}

fn validator(schema: &str, others: Others) -> Validator {
    let definitions = match others {
        Others::Allowed => &DEFINITIONS,
        Others::Wrong => &CLOSED,
    };
    let document = json!({ "$ref": format!("#/$defs/{schema}"), "$defs": **definitions });
    jsonschema::validator_for(&document).unwrap()
}

/// Whether a path is one of the pattern's, in which `*` stands for one segment.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.split('/'), path.split('/'));
    pattern.clone().count() == path.clone().count()
        && pattern.zip(path).all(|(one, other)| one == "*" || one == other)
}
