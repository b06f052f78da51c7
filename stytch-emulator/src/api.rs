//! Stytch's API: which function answers which call.
//!
//! The functions take their arguments as one struct, wherever a call carries them (path, query or
//! body), and return the answer's own fields; what every answer has besides is added here. A body
//! on a GET is not looked at, and JSON `null` is the same as nothing: both happen in real clients.

mod b2b_magic_links;
mod b2b_oauth;
mod b2b_otps;
mod b2b_sessions;
mod b2b_totps;
mod debug;
mod discovery;
mod jwks;
mod magic_links;
mod oauth;
mod oauth2;
mod organizations;
mod otps;
mod rbac;
mod sandbox;
mod sessions;
mod sso;
mod start;
mod totps;
mod users;

use std::collections::HashMap;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Query, RawPathParams, Request, State as Extract};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodFilter, MethodRouter, get};
use axum::{Json, RequestPartsExt as _, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::error::{ApiError, Refusal};
use crate::ids;
use crate::state::{Shared, State};

/// Far more than any call of the API needs.
const BODY_LIMIT: usize = 1 << 20;

/// The calls of both verticals, and an error in Stytch's form for everything else.
pub(crate) fn router(shared: Shared) -> Router {
    let with_credentials = Router::new()
        .route("/v1/debug/whoami", on_get(debug::whoami))
        .merge(b2b())
        .merge(consumer())
        .route_layer(middleware::from_fn_with_state(shared.clone(), require_credentials));
    let public = Router::new()
        .route("/v1/sessions/jwks/{project_id}", get(jwks::answer))
        .route("/v1/b2b/sessions/jwks/{project_id}", get(jwks::answer))
        .route("/v1/public/{project_id}/.well-known/jwks.json", get(jwks::answer))
        .route("/v1/public/oauth/{provider}/start", on_get(start::user_oauth))
        .route("/v1/b2b/public/oauth/{provider}/start", on_get(start::member_oauth))
        .route("/v1/b2b/public/oauth/{provider}/discovery/start", on_get(start::discovery_oauth))
        .route("/v1/public/sso/start", on_get(start::sso));
    with_credentials
        .merge(public)
        .merge(oauth2::router())
        .fallback(async || ApiError::from(Refusal::RouteNotFound))
        .method_not_allowed_fallback(async || ApiError::from(Refusal::MethodNotAllowed))
        .with_state(shared)
}

fn b2b() -> Router<Shared> {
    Router::new()
        .route("/v1/b2b/sessions", on_get(b2b_sessions::list))
        .route("/v1/b2b/sessions/authenticate", on_post(b2b_sessions::authenticate))
        .route("/v1/b2b/sessions/revoke", on_post(b2b_sessions::revoke))
        .route("/v1/b2b/sessions/exchange", on_post(b2b_sessions::exchange))
        .route("/v1/b2b/otps/email/login_or_signup", on_post(b2b_otps::login_or_signup))
        .route("/v1/b2b/otps/email/authenticate", on_post(b2b_otps::email_authenticate))
        .route("/v1/b2b/otps/email/discovery/send", on_post(b2b_otps::discovery_send))
        .route("/v1/b2b/otps/email/discovery/authenticate", on_post(b2b_otps::discovery_authenticate))
        .route("/v1/b2b/otps/sms/send", on_post(b2b_otps::sms_send))
        .route("/v1/b2b/otps/sms/authenticate", on_post(b2b_otps::sms_authenticate))
        .route("/v1/b2b/magic_links/email/login_or_signup", on_post(b2b_magic_links::login_or_signup))
        .route("/v1/b2b/magic_links/email/invite", on_post(b2b_magic_links::invite))
        .route("/v1/b2b/magic_links/authenticate", on_post(b2b_magic_links::authenticate))
        .route("/v1/b2b/magic_links/email/discovery/send", on_post(b2b_magic_links::discovery_send))
        .route("/v1/b2b/magic_links/discovery/authenticate", on_post(b2b_magic_links::discovery_authenticate))
        .route("/v1/b2b/oauth/authenticate", on_post(b2b_oauth::authenticate))
        .route("/v1/b2b/oauth/discovery/authenticate", on_post(b2b_oauth::discovery_authenticate))
        .route("/v1/b2b/totp", on_post(b2b_totps::create))
        .route("/v1/b2b/totp/authenticate", on_post(b2b_totps::authenticate))
        .route("/v1/b2b/recovery_codes/recover", on_post(b2b_totps::recover))
        .route("/v1/b2b/recovery_codes/rotate", on_post(b2b_totps::rotate_recovery_codes))
        .route("/v1/b2b/recovery_codes/{organization_id}/{member_id}", on_get(b2b_totps::recovery_codes))
        .route("/v1/b2b/sso/authenticate", on_post(sso::authenticate))
        .route("/v1/b2b/sso/{organization_id}", on_get(sso::connections))
        .route("/v1/b2b/discovery/organizations", on_post(discovery::organizations))
        .route("/v1/b2b/discovery/organizations/create", on_post(discovery::create))
        .route("/v1/b2b/discovery/intermediate_sessions/exchange", on_post(discovery::exchange))
        .route("/v1/b2b/organizations/{organization_id}", on_get(organizations::get))
        .route("/v1/b2b/organizations/{organization_id}/member", on_get(organizations::get_member))
        .route("/v1/b2b/rbac/policy", on_get(rbac::b2b_policy))
        .route(
            "/v1/b2b/rbac/organizations/{organization_id}",
            on_get(rbac::organization_policy).merge(on_put(rbac::set_organization_policy)),
        )
}

fn consumer() -> Router<Shared> {
    Router::new()
        .route("/v1/sessions", on_get(sessions::list))
        .route("/v1/sessions/authenticate", on_post(sessions::authenticate))
        .route("/v1/sessions/revoke", on_post(sessions::revoke))
        .route("/v1/otps/authenticate", on_post(otps::authenticate))
        .route("/v1/otps/email/login_or_create", on_post(otps::email_login_or_create))
        .route("/v1/otps/email/send", on_post(otps::email_send))
        .route("/v1/otps/sms/login_or_create", on_post(otps::sms_login_or_create))
        .route("/v1/otps/sms/send", on_post(otps::sms_send))
        .route("/v1/otps/whatsapp/login_or_create", on_post(otps::whatsapp_login_or_create))
        .route("/v1/otps/whatsapp/send", on_post(otps::whatsapp_send))
        .route("/v1/totps", on_post(totps::create))
        .route("/v1/totps/authenticate", on_post(totps::authenticate))
        .route("/v1/totps/recover", on_post(totps::recover))
        .route("/v1/oauth/authenticate", on_post(oauth::authenticate))
        .route("/v1/magic_links/authenticate", on_post(magic_links::authenticate))
        .route("/v1/magic_links/email/login_or_create", on_post(magic_links::login_or_create))
        .route("/v1/magic_links/email/send", on_post(magic_links::send))
        .route("/v1/users/{user_id}", on_get(users::get))
        .route("/v1/rbac/policy", on_get(rbac::policy))
}

/// The fields of a successful answer.
pub(crate) type Reply = Result<Answer, ApiError>;

/// A successful answer: an object, to which `status_code` and `request_id` are added.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    fields: Map<String, Value>,
}

impl Answer {
    /// Something is there that was not before.
    fn created(fields: Map<String, Value>) -> Self {
        Self { status: StatusCode::CREATED, fields }
    }

    fn insert(&mut self, name: &str, value: Value) {
        self.fields.insert(name.into(), value);
    }
}

impl From<Value> for Answer {
    fn from(fields: Value) -> Self {
        match fields {
            Value::Object(fields) => fields.into(),
            other => unreachable!("an answer is an object, not {other}"),
        }
    }
}

impl From<Map<String, Value>> for Answer {
    fn from(fields: Map<String, Value>) -> Self {
        Self { status: StatusCode::OK, fields }
    }
}

impl IntoResponse for Answer {
    fn into_response(mut self) -> Response {
        self.insert("status_code", json!(self.status.as_u16()));
        self.insert("request_id", ids::fresh("request-id").into());
        (self.status, Json(self.fields)).into_response()
    }
}

fn on_get<T, R>(answer: fn(&mut State, T) -> R) -> MethodRouter<Shared>
where
    T: DeserializeOwned + Send + 'static,
    R: IntoResponse + 'static,
{
    on(MethodFilter::GET, answer)
}

fn on_post<T: DeserializeOwned + Send + 'static>(answer: fn(&mut State, T) -> Reply) -> MethodRouter<Shared> {
    on(MethodFilter::POST, answer)
}

fn on_put<T: DeserializeOwned + Send + 'static>(answer: fn(&mut State, T) -> Reply) -> MethodRouter<Shared> {
    on(MethodFilter::PUT, answer)
}

fn on<T, R>(method: MethodFilter, answer: fn(&mut State, T) -> R) -> MethodRouter<Shared>
where
    T: DeserializeOwned + Send + 'static,
    R: IntoResponse + 'static,
{
    routing::on(method, move |Extract(shared): Extract<Shared>, Arguments(it): Arguments<T>| async move {
        answer(&mut shared.lock(), it)
    })
}

/// Everything a call says, from its path, its query and its JSON body together; in that order,
/// should they disagree.
struct Arguments<T>(T);

impl<T: DeserializeOwned> FromRequest<Shared> for Arguments<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, _: &Shared) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let mut fields = match parts.method {
            Method::GET => Map::new(),
            _ => body_fields(body).await?,
        };
        if let Ok(Query(query)) = Query::<HashMap<String, String>>::try_from_uri(&parts.uri) {
            fields.extend(query.into_iter().map(|(name, value)| (name, value.into())));
        }
        if let Ok(path) = parts.extract::<RawPathParams>().await {
            fields.extend(path.iter().map(|(name, value)| (name.to_owned(), value.into())));
        }
        serde_json::from_value(Value::Object(fields)).map(Self).map_err(unreadable)
    }
}

async fn body_fields(body: Body) -> Result<Map<String, Value>, ApiError> {
    let body = to_bytes(body, BODY_LIMIT).await.map_err(unreadable)?;
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&body).map_err(unreadable)? {
        Value::Null => Ok(Map::new()),
        Value::Object(fields) => Ok(fields.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        _ => Err(ApiError::explained(Refusal::BadRequest, "The request body has to be a JSON object.")),
    }
}

/// A revocation names what it revokes in one way only.
fn exactly_one<const N: usize>(given: [&Option<String>; N]) -> Result<(), Refusal> {
    match given.iter().filter(|one| one.is_some()).count() {
        0 => Err(Refusal::NoSessionRevokeArguments),
        1 => Ok(()),
        _ => Err(Refusal::TooManySessionRevokeArguments),
    }
}

fn unreadable(error: impl std::fmt::Display) -> ApiError {
    ApiError::explained(Refusal::BadRequest, format!("The request could not be read: {error}."))
}

async fn require_credentials(Extract(shared): Extract<Shared>, request: Request, next: Next) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let expected = {
        let world = &shared.lock().world;
        format!("{}:{}", world.project_id, world.secret)
    };
    if authorization.and_then(basic_credentials).as_deref() == Some(expected.as_bytes()) {
        next.run(request).await
    } else {
        ApiError::from(Refusal::UnauthorizedCredentials).into_response()
    }
}

fn basic_credentials(authorization: &str) -> Option<Vec<u8>> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(credentials.trim()).ok())?
}
