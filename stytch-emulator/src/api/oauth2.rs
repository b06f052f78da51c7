//! The project as an OAuth 2 authorization server: for machines, and for Connected Apps.
//!
//! Its endpoints stand twice: on the project's own domain, which here is the emulator's address,
//! and under `/v1/public/{project_id}`. Tokens name as their issuer whichever was addressed. They
//! take forms and JSON alike, and every error has OAuth's names instead of Stytch's.

mod authorize;
mod inspect;
mod metadata;
mod register;
mod token;

use std::collections::HashMap;

use axum::RequestPartsExt as _;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, RawPathParams, Request, State as Extract};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{self, MethodFilter, MethodRouter, get};
use serde_json::Value;
use url::form_urlencoded;

use super::{Answer, BODY_LIMIT, basic_credentials, jwks};
use crate::error::OAuth2Error;
use crate::jwt;
use crate::state::{Shared, State};
use crate::world::ConnectedApp;

pub(super) fn router() -> Router<Shared> {
    let about_itself = || on_get(metadata::answer);
    Router::new()
        .merge(endpoints("/v1"))
        .merge(endpoints("/v1/public/{project_id}"))
        .route("/.well-known/jwks.json", get(jwks::answer_on_domain))
        .route("/.well-known/openid-configuration", about_itself())
        .route("/.well-known/oauth-authorization-server", about_itself())
        .route("/v1/public/{project_id}/.well-known/openid-configuration", about_itself())
        .route("/v1/public/{project_id}/.well-known/oauth-authorization-server", about_itself())
}

fn endpoints(at: &str) -> Router<Shared> {
    Router::new()
        .route(&format!("{at}/oauth2/authorize"), get(authorize::answer))
        .route(&format!("{at}/oauth2/token"), on_post(token::answer))
        .route(&format!("{at}/oauth2/register"), on_post(register::answer))
        .route(&format!("{at}/oauth2/introspect"), on_post(inspect::introspect))
        .route(&format!("{at}/oauth2/revoke"), on_post(inspect::revoke))
        .route(&format!("{at}/oauth2/userinfo"), on_get(inspect::userinfo).merge(on_post(inspect::userinfo)))
}

type Reply = Result<Answer, OAuth2Error>;

fn on_get(answer: fn(&mut State, Call) -> Reply) -> MethodRouter<Shared> {
    on(MethodFilter::GET, answer)
}

fn on_post(answer: fn(&mut State, Call) -> Reply) -> MethodRouter<Shared> {
    on(MethodFilter::POST, answer)
}

fn on(method: MethodFilter, answer: fn(&mut State, Call) -> Reply) -> MethodRouter<Shared> {
    routing::on(method, move |Extract(shared): Extract<Shared>, call: Call| async move {
        let answer = answer(&mut shared.lock(), call);
        (AppendHeaders([(header::CACHE_CONTROL, "no-store")]), answer.into_response())
    })
}

fn redirect(url: &str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, url)]).into_response()
}

/// A call of an endpoint: whom it addresses, what it says, and what its `Authorization` proves.
#[derive(Debug)]
struct Call {
    /// The issuer as the caller addressed it.
    issuer: String,
    /// Where its endpoints are, without the `/oauth2/`.
    endpoints: String,
    /// Where its `/.well-known/` is.
    well_known: String,
    /// The form, the JSON object or, on a GET, the query. Lists are joined with spaces.
    fields: HashMap<String, String>,
    /// Who it claims to be, by Basic credentials.
    basic: Option<(String, String)>,
    /// The token it bears.
    bearer: Option<String>,
}

impl Call {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &str) -> Result<&str, OAuth2Error> {
        self.field(name).ok_or_else(|| OAuth2Error::invalid_request(format!("{name} is missing")))
    }

    /// A client's id and, if it has one, its secret: from the header, else from the body. Some SDKs
    /// attach the project's own credentials to every call; those say nothing about a client.
    fn client<'a>(&'a self, project_id: &str) -> Result<(&'a str, Option<&'a str>), OAuth2Error> {
        match &self.basic {
            Some((id, secret)) if id != project_id => Ok((id, Some(secret))),
            _ => Ok((self.required("client_id")?, self.field("client_secret"))),
        }
    }

    /// The Connected App that calls: with its secret, if it has one.
    fn app<'a>(&self, state: &'a State) -> Result<&'a ConnectedApp, OAuth2Error> {
        let (id, secret) = self.client(&state.world.project_id)?;
        let proven = |app: &&ConnectedApp| app.secret.is_none() || app.secret.as_deref() == secret;
        state.world.connected_app(id).filter(proven).ok_or_else(OAuth2Error::invalid_client)
    }
}

impl FromRequest<Shared> for Call {
    type Rejection = OAuth2Error;

    async fn from_request(request: Request<Body>, shared: &Shared) -> Result<Self, OAuth2Error> {
        let (mut parts, body) = request.into_parts();
        let project_id = shared.lock().world.project_id.clone();
        let unreadable = |error: &dyn std::fmt::Display| OAuth2Error::invalid_request(error.to_string());
        let path = parts.extract::<RawPathParams>().await.map_err(|error| unreadable(&error))?;
        let addressed = path.iter().find(|(name, _)| *name == "project_id").map(|(_, id)| id.to_owned());
        if addressed.as_ref().is_some_and(|id| *id != project_id) {
            return Err(OAuth2Error::unknown_project());
        }
        let base = base_url(&parts.headers);
        let (issuer, endpoints, well_known) = match addressed {
            None => (base.clone(), format!("{base}/v1"), base),
            Some(id) => {
                let at = format!("{base}/v1/public/{id}");
                (jwt::issuer(&id), at.clone(), at)
            }
        };
        let fields = if parts.method == Method::GET {
            form_fields(parts.uri.query().unwrap_or_default().as_bytes())
        } else {
            let body = to_bytes(body, BODY_LIMIT).await.map_err(|error| unreadable(&error))?;
            if body.starts_with(b"{") {
                let body: Value = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
                json_fields(&body)
            } else {
                form_fields(&body)
            }
        };
        let (basic, bearer) = (client_credentials(&parts.headers), bearer(&parts.headers));
        Ok(Self { issuer, endpoints, well_known, fields, basic, bearer })
    }
}

/// Where the emulator is, as far as this caller is concerned.
fn base_url(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("http://{host}")
}

fn form_fields(form: &[u8]) -> HashMap<String, String> {
    form_urlencoded::parse(form).into_owned().collect()
}

fn json_fields(body: &Value) -> HashMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
        _ => None,
    };
    let fields = body.as_object().into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// A client's Basic credentials, whose two parts are form-encoded (RFC 6749, 2.3.1).
fn client_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let credentials = basic_credentials(headers.get(header::AUTHORIZATION)?.to_str().ok()?)?;
    let at = credentials.iter().position(|&byte| byte == b':')?;
    // As the value of a form's field, so that a padded secret's `=` is itself.
    let decoded = |part: &[u8]| form_fields(&[b"it=", part].concat()).remove("it");
    Some((decoded(&credentials[..at])?, decoded(&credentials[at + 1..])?))
}
