//! A client for the few endpoints of Stytch's API that the gateway calls.
//!
//! What holds: every call has a deadline and a bounded answer; a redirect is not followed; only an
//! answer in Stytch's own form counts as a refusal, everything else is "could not be checked".

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::Secret;

pub mod error;
mod sign_in;
pub mod types;

pub use error::Error;
pub use sign_in::{Attributes, Brought, Linking, MemberStep, MemberToken, Proof, Returned};
use types::{
    Authenticated, AuthorizationCheck, ErrorBody, Introspected, Jwks, OrganizationPolicy, ProjectPolicy,
};

/// The largest answer that is read. A session with its member and organization is a few KiB.
const MAX_ANSWER: usize = 1024 * 1024;
const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// Stytch's two products have the same calls under different paths (REFERENCE.md 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Vertical {
    B2b,
    Consumer,
}

/// A credential that Stytch can be asked about.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// Of a session, as `sessions/authenticate` takes it.
    Jwt(String),
    /// Likewise.
    Token(String),
    /// Of a Connected App, as `oauth2/introspect` takes it, with what it says itself: an answer must
    /// agree.
    AccessToken { token: String, client_id: String, subject: String, organization_id: Option<String> },
}

impl Credential {
    /// As its bearer sent it.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Jwt(text) | Self::Token(text) | Self::AccessToken { token: text, .. } => text,
        }
    }
}

/// What a session is asked besides whether it lives (REFERENCE.md 2.2).
#[derive(Debug, Clone, Copy, Default)]
pub struct Along<'a> {
    pub check: Option<&'a AuthorizationCheck>,
    /// Has it end so many minutes from now.
    pub minutes: Option<u32>,
    /// Custom claims to set; those that are not named stay.
    pub claims: Option<&'a Map<String, Value>>,
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("stytch.project_id and stytch.secret cannot stand in a header")]
    Secret(#[source] header::InvalidHeaderValue),
    #[error("TLS is not to be had")]
    Tls(#[source] rustls::Error),
}

/// One project's connection to Stytch. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    project_id: String,
    authorization: HeaderValue,
    vertical: Vertical,
    timeout: Duration,
    /// What every session that is begun gets.
    custom_claims: Option<Arc<Map<String, Value>>>,
    /// By which Stytch recognises the device of whoever signs in.
    telemetry_id: Option<String>,
}

impl Client {
    /// `base` is the API's URL without a trailing slash. Connects on first use.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub fn new(
        base: &Uri,
        project_id: &str,
        secret: &Secret,
        vertical: Vertical,
        timeout: Duration,
    ) -> Result<Self, Unusable> {
        let basic = BASE64_STANDARD.encode(format!("{project_id}:{}", secret.expose()));
        let mut authorization = HeaderValue::try_from(format!("Basic {basic}")).map_err(Unusable::Secret)?;
        authorization.set_sensitive(true);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(timeout));
        tcp.set_nodelay(true);
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(Unusable::Tls)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .build(https);
        Ok(Self {
            http,
            base: base.to_string().trim_end_matches('/').to_owned(),
            project_id: project_id.to_owned(),
            authorization,
            vertical,
            timeout,
            custom_claims: None,
            telemetry_id: None,
        })
    }

    /// The same, with custom claims for every session that is begun through it.
    #[must_use]
    pub fn giving(mut self, claims: &Map<String, Value>) -> Self {
        self.custom_claims = (!claims.is_empty()).then(|| Arc::new(claims.clone()));
        self
    }

    /// The same for one person's sign-in, at the device that Stytch's script has named so.
    #[must_use]
    pub fn at_device(&self, telemetry_id: Option<&str>) -> Self {
        Self { telemetry_id: telemetry_id.map(str::to_owned), ..self.clone() }
    }

    /// The project's key set. Public: no credential is sent (REFERENCE.md 3).
    pub async fn jwks(&self) -> Result<Jwks, Error> {
        let path = match self.vertical {
            Vertical::B2b => "/v1/b2b/sessions/jwks/",
            Vertical::Consumer => "/v1/sessions/jwks/",
        };
        let request = Request::get(format!("{}{path}{}", self.base, self.project_id));
        self.call(request.body(Full::default())).await
    }

    /// Stytch's word, as of now, on a session, and on what it may do where that is asked
    /// (REFERENCE.md 2.2, 2.3).
    ///
    /// # Errors
    /// [`Error::NotPermitted`] where the check alone failed, of a session that is alive.
    pub async fn authenticate(
        &self,
        session: &Credential,
        along: &Along<'_>,
    ) -> Result<Authenticated, Error> {
        let (name, credential) = match session {
            Credential::Jwt(jwt) => ("session_jwt", jwt),
            Credential::Token(token) => ("session_token", token),
            Credential::AccessToken { .. } => {
                return Err(Error::Refused { error_type: "incompatible_session_type".to_owned() });
            }
        };
        let mut body = json!({ name: credential });
        if let Some(check) = along.check {
            body["authorization_check"] = json!(check);
        }
        if let Some(minutes) = along.minutes {
            body["session_duration_minutes"] = json!(minutes);
        }
        if let Some(claims) = along.claims {
            body["session_custom_claims"] = json!(claims);
        }
        let path = match self.vertical {
            Vertical::B2b => "/v1/b2b/sessions/authenticate",
            Vertical::Consumer => "/v1/sessions/authenticate",
        };
        let request = self.authorized(Method::POST, path);
        self.call(request.body(Full::from(body.to_string()))).await
    }

    /// Stytch's word on a Connected App's access token as of now (RFC 7662, REFERENCE.md 6.2). Both
    /// arguments come from a token that was verified, so neither holds a byte that a form escapes.
    /// The project's own credentials are not sent: they would be taken for the app's.
    pub async fn introspect(&self, token: &str, client_id: &str) -> Result<Introspected, Error> {
        let url = format!("{}/v1/public/{}/oauth2/introspect", self.base, self.project_id);
        let form = format!("token={token}&token_type_hint=access_token&client_id={client_id}");
        let request = Request::post(url)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.call(request.body(Full::from(form))).await
    }

    /// What the project's roles and scopes permit (REFERENCE.md section 5).
    pub async fn policy(&self) -> Result<ProjectPolicy, Error> {
        let path = match self.vertical {
            Vertical::B2b => "/v1/b2b/rbac/policy",
            Vertical::Consumer => "/v1/rbac/policy",
        };
        self.call(self.authorized(Method::GET, path).body(Full::default())).await
    }

    /// The roles of an organization's own (REFERENCE.md section 5). B2B alone, and not for every
    /// project: where there is no such thing there are no such roles.
    pub async fn organization_policy(&self, organization_id: &str) -> Result<OrganizationPolicy, Error> {
        let path = format!("/v1/b2b/rbac/organizations/{}", segment(organization_id));
        let request = self.authorized(Method::GET, &path);
        match self.call(request.body(Full::default())).await {
            Err(error) if error.is_absence() => Ok(OrganizationPolicy::default()),
            answer => answer,
        }
    }

    /// Whether project id and secret are good (REFERENCE.md 1, "credential check").
    pub async fn whoami(&self) -> Result<types::Whoami, Error> {
        let request = self.authorized(Method::GET, "/v1/debug/whoami");
        self.call(request.body(Full::default())).await
    }

    fn authorized(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, self.authorization.clone())
            .header(header::CONTENT_TYPE, "application/json")
    }

    async fn call<T: DeserializeOwned>(
        &self,
        request: Result<Request<Full<Bytes>>, http::Error>,
    ) -> Result<T, Error> {
        self.call_refusing(request, &error::OF_SESSIONS).await
    }

    /// `refusals` are the names of what is a refusal of this call.
    async fn call_refusing<T: DeserializeOwned>(
        &self,
        request: Result<Request<Full<Bytes>>, http::Error>,
        refusals: &[&str],
    ) -> Result<T, Error> {
        let mut request = request.map_err(Error::Request)?;
        request.headers_mut().insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("stytch-gateway/", env!("CARGO_PKG_VERSION"))),
        );
        let answer = async {
            let response = self.http.request(request).await.map_err(Error::Transport)?;
            let status = response.status();
            let retry_after = retry_after(response.headers());
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(Error::Body)?;
            Ok((status, retry_after, body.to_bytes()))
        };
        let (status, retry_after, body) =
            tokio::time::timeout(self.timeout, answer).await.map_err(|_| Error::Timeout)??;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(Error::Shape);
        }
        Err(Error::from_answer(
            status,
            retry_after,
            serde_json::from_slice::<ErrorBody>(&body).ok(),
            refusals,
        ))
    }
}

/// Text as one segment of a path (RFC 3986 section 3.3).
fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => drop(write!(out, "%{byte:02X}")),
        }
        out
    })
}

/// Seconds alone: the date form is not worth trusting two clocks.
fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
