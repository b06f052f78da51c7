//! Envoy as the gateway sees it: asks over gRPC, and does to a request what it is told.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use stytch_emulator::Session;
use stytch_gateway::ext_authz::proto::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use stytch_gateway::ext_authz::proto::envoy::config::core::v3::{
    Address, HeaderMap, HeaderValue, HeaderValueOption, SocketAddress,
};
use stytch_gateway::ext_authz::proto::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer, Request,
};
use stytch_gateway::ext_authz::proto::envoy::service::auth::v3::check_response::HttpResponse;
use stytch_gateway::ext_authz::proto::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use tonic::Status;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::Service;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use crate::client::PATIENCE;

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Headers as they go to an upstream, in order of their names.
pub(crate) type Pairs = Vec<(String, String)>;

/// One connection of Envoy's.
#[derive(Clone)]
pub(crate) struct Envoy(SendRequest<Body>);

impl Service<http::Request<Body>> for Envoy {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let uri = format!("http://gateway{}", request.uri().path());
        *request.uri_mut() = uri.parse().unwrap();
        Box::pin(self.0.send_request(request))
    }
}

impl Envoy {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.expect("somebody listens");
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2 is spoken");
        tokio::spawn(async move {
            let _closed = connection.await;
        });
        Self(sender)
    }

    /// Calls any method.
    pub(crate) async fn call<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Status>
    where
        Q: prost::Message + Default + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut client = Grpc::new(self.clone());
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        let called = client.unary(tonic::Request::new(message), path, codec);
        let answered = tokio::time::timeout(PATIENCE, called).await.expect("an answer in time");
        Ok(answered?.into_inner())
    }

    pub(crate) async fn ask(&self, check: impl Into<CheckRequest>) -> Result<Answer, Status> {
        self.call::<_, CheckResponse>(CHECK, check.into()).await.map(Answer)
    }

    pub(crate) async fn check(&self, check: impl Into<CheckRequest>) -> Answer {
        self.ask(check).await.expect("a check is answered")
    }
}

/// A check as Envoy makes it: everything said twice and alike.
#[derive(Clone)]
pub(crate) struct Check {
    pub(crate) http: HttpRequest,
    pub(crate) headers: Vec<HeaderValue>,
    pub(crate) source: Option<String>,
    raw: bool,
}

pub(crate) fn pair(name: &str, value: impl AsRef<[u8]>) -> HeaderValue {
    let raw_value = value.as_ref().to_vec().into();
    HeaderValue { key: name.to_owned(), raw_value, ..HeaderValue::default() }
}

impl Check {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        let http = HttpRequest {
            method: method.to_owned(),
            path: path.to_owned(),
            host: "app.test".to_owned(),
            scheme: "http".to_owned(),
            ..HttpRequest::default()
        };
        Self { http, headers: Vec::new(), source: Some("127.0.0.1".to_owned()), raw: true }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.http.host);
        self
    }

    pub(crate) fn from(mut self, source: &str) -> Self {
        self.source = Some(source.to_owned());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push(pair(name, value));
        self
    }

    /// The session's JWT as a bearer token.
    pub(crate) fn with(self, session: &Session) -> Self {
        self.header("authorization", format!("Bearer {}", session.session_jwt))
    }

    /// As Envoy does without `encode_raw_headers`.
    pub(crate) fn joined(mut self) -> Self {
        self.raw = false;
        self
    }

    /// What the client sent.
    fn pairs(&self) -> Pairs {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        self.headers.iter().map(|pair| (pair.key.clone(), text(&pair.raw_value))).collect()
    }
}

impl From<Check> for CheckRequest {
    fn from(check: Check) -> Self {
        let mut http = check.http;
        let pseudo = [
            (":method", &http.method),
            (":path", &http.path),
            (":authority", &http.host),
            (":scheme", &http.scheme),
        ];
        let mut headers: Vec<_> = pseudo.iter().map(|(name, value)| pair(name, value.as_bytes())).collect();
        headers.extend(check.headers);
        if check.raw {
            http.header_map = Some(HeaderMap { headers });
        } else {
            http.headers = headers;
        }
        let address = |address| Address { socket_address: Some(SocketAddress { address }) };
        let source = check.source.map(|source| Peer { address: Some(address(source)) });
        let request = Some(Request { http: Some(http) });
        Self { attributes: Some(AttributeContext { source, request }) }
    }
}

/// What the gateway said.
#[derive(Debug)]
pub(crate) struct Answer(pub(crate) CheckResponse);

impl Answer {
    pub(crate) fn allowed(&self) -> &OkHttpResponse {
        let code = self.0.status.as_ref().expect("an answer has a status").code;
        match &self.0.http_response {
            Some(HttpResponse::OkResponse(ok)) if code == 0 => ok,
            _ => panic!("not allowed: {:?}", self.0),
        }
    }

    /// Refused, with this status and code.
    pub(crate) fn refused(&self, status: i32, code: &str) -> &DeniedHttpResponse {
        let denied = self.denied(code);
        let given = denied.status.as_ref().expect("a refusal has a status").code;
        assert_eq!(given, status);
        assert!(denied.body.contains(code), "{}", denied.body);
        denied
    }

    /// Not passed on, with this code, whatever the client is answered.
    pub(crate) fn denied(&self, code: &str) -> &DeniedHttpResponse {
        let said = self.0.status.as_ref().expect("an answer has a status");
        let Some(HttpResponse::DeniedResponse(denied)) = &self.0.http_response else {
            panic!("not refused: {:?}", self.0)
        };
        assert_ne!(said.code, 0, "{:?}", self.0);
        assert_eq!(said.message, code);
        denied
    }

    /// What Envoy forwards of a request, but for `Host`: the headers are set and joined, then removed.
    pub(crate) fn applied(&self, check: &Check) -> Pairs {
        let ok = self.allowed();
        let mut pairs = check.pairs();
        for option in &ok.headers {
            let header = option.header.as_ref().expect("an option has a header");
            if !joins(option) {
                pairs.retain(|(name, _)| *name != header.key);
            }
            pairs.push((header.key.clone(), header.value.clone()));
        }
        pairs.retain(|(name, _)| !ok.headers_to_remove.contains(name));
        pairs.sort();
        pairs
    }
}

pub(crate) fn joins(option: &HeaderValueOption) -> bool {
    option.append_action == i32::from(HeaderAppendAction::AppendIfExistsOrAdd)
}

/// The values of one header among options.
pub(crate) fn values<'o>(options: &'o [HeaderValueOption], name: &str) -> Vec<&'o str> {
    let headers = options.iter().filter_map(|option| option.header.as_ref());
    headers.filter(|header| header.key == name).map(|header| header.value.as_str()).collect()
}
