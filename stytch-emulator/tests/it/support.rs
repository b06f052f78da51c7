//! An emulator, a client, and what tests say about answers.

use std::collections::HashMap;

use reqwest::Url;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use serde_json::{Map, Value, json};
use stytch_emulator::{Emulator, World};

use crate::schema;

/// RFC 7636, appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A running emulator and someone who calls it over HTTP.
pub(crate) struct Scene {
    pub(crate) emulator: Emulator,
    client: reqwest::Client,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Scene {
    pub(crate) async fn start() -> Self {
        Self::of(World::built_in()).await
    }

    pub(crate) async fn seeded(toml: &str) -> Self {
        Self::of(World::from_toml(toml).unwrap()).await
    }

    async fn of(world: World) -> Self {
        let client = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        Self { emulator: Emulator::start(world).await.unwrap(), client }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("POST", path).body(body.to_string())).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("PUT", path).body(body.to_string())).await
    }

    /// A form, sent without the project's credentials.
    pub(crate) async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(self.bare_request("POST", path).form(fields)).await
    }

    /// A call with the project's credentials, for a test to make odd before it is sent.
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let (project_id, secret) = (self.emulator.project_id(), self.emulator.secret());
        self.bare_request(method, path).basic_auth(project_id, Some(secret))
    }

    /// A call without credentials.
    pub(crate) fn bare_request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.emulator.url()))
    }

    /// Sends a call of the API and holds the answer against the schemas.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.build().unwrap();
        let (method, path) = (request.method().to_string(), request.url().path().to_owned());
        let answer = Answer::of(self.client.execute(request).await.unwrap()).await;
        schema::check_answer(&method, &path, answer.status, &answer.body);
        answer
    }

    /// A browser's visit to a page, which is no call of the API.
    pub(crate) async fn visit(&self, path: &str, query: &[(&str, &str)]) -> Answer {
        Answer::of(self.bare_request("GET", path).query(query).send().await.unwrap()).await
    }

    /// A call of the control API.
    pub(crate) async fn control(&self, method: &str, path: &str, body: Value) -> Answer {
        let request = self.bare_request(method, &format!("/emulator{path}"));
        let request = if body.is_null() { request } else { request.body(body.to_string()) };
        Answer::of(request.send().await.unwrap()).await
    }

    /// The newest code sent to an address or a number.
    pub(crate) fn code(&self, to: &str) -> String {
        self.emulator.outbox(to).into_iter().find_map(|message| message.code).expect("a code was sent")
    }

    /// The newest link sent to an address, taken apart.
    pub(crate) fn link(&self, to: &str) -> (String, HashMap<String, String>) {
        let link = self.emulator.outbox(to).into_iter().find_map(|message| message.url);
        taken_apart(&link.expect("a link was sent"))
    }

    pub(crate) fn organization_id(&self, slug: &str) -> String {
        self.emulator.organization_id(slug).unwrap()
    }

    pub(crate) fn member_id(&self, address: &str) -> String {
        self.emulator.member_id("acme", address).unwrap()
    }

    /// What the API says about a member's session.
    pub(crate) async fn authenticate(&self, token: &str) -> Answer {
        self.post("/v1/b2b/sessions/authenticate", json!({ "session_token": token })).await
    }
}

impl Answer {
    async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(text.into()) };
        Self { status, headers, body }
    }

    /// The body of an answer that has to be good.
    #[track_caller]
    pub(crate) fn good(self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {:#}", self.status, self.body);
        self.body
    }

    /// Where a redirect leads: the URL without its query, and the query.
    #[track_caller]
    pub(crate) fn redirected(self) -> (String, HashMap<String, String>) {
        assert_eq!(self.status, 302, "{:#}", self.body);
        taken_apart(self.headers[LOCATION].to_str().unwrap())
    }

    /// The answer has to be this error, in the words of OAuth.
    #[track_caller]
    pub(crate) fn oauth_refused(self, status: u16, name: &str) {
        let said = (self.status, self.body["error"].as_str().unwrap_or_default());
        assert_eq!(said, (status, name), "{:#}", self.body);
    }

    /// The answer has to be this error.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, name: &str) {
        let said = (self.status, self.body["error_type"].as_str().unwrap_or_default());
        assert_eq!(said, (status, name), "{:#}", self.body);
    }
}

/// A URL without its query, and the query.
pub(crate) fn taken_apart(url: &str) -> (String, HashMap<String, String>) {
    let mut url = Url::parse(url).unwrap();
    let query = url.query_pairs().into_owned().collect();
    url.set_query(None);
    (url.into(), query)
}

#[track_caller]
pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no text in {field}: {value:#}")).to_owned()
}

/// A JSON object, for the builders that take one.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}
