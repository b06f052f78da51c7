//! What Envoy is told: what to change about a request that passes, or what to answer instead.
//!
//! What holds: after the changes Envoy has the headers that the proxy would have sent. Names that
//! are the gateway's are set or removed in every answer, also where the check shows none of them
//! or already the right value: Envoy may know more than it showed.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::Rewritten;
use super::proto::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use super::proto::envoy::config::core::v3::{HeaderValue as Pair, HeaderValueOption};
use super::proto::envoy::service::auth::v3::check_response::HttpResponse;
use super::proto::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use super::proto::envoy::r#type::v3::HttpStatus;
use super::proto::google::rpc::Status;
use crate::access::Grant;
use crate::identity::owned::Owned;
use crate::proxy::cookies;
use crate::refusal::TurnedBack;
use crate::reply::{self, Form};
use crate::site::Site;

/// Lets a request pass that came with the headers `before`, and is to go on with those `after`.
pub(super) fn allowed(
    site: &Site,
    grant: &Grant,
    before: &HeaderMap,
    after: &HeaderMap,
    rewritten: Rewritten,
) -> CheckResponse {
    let mut answer = changes(&site.owned, before, after);
    answer.headers.extend(rewritten.path.map(|path| text_option(":path", path.as_str(), Existing::Replace)));
    answer.query_parameters_to_remove.extend(rewritten.hidden);
    if let Some(proved) = grant.proved() {
        answer.response_headers_to_add.push(text_option("cache-control", "private", Existing::Keep));
        if let Some(fresh) = proved.take_fresh() {
            let mut cookies = HeaderMap::new();
            cookies::write_back(&site.config.session, &fresh, &mut cookies);
            let cookies = cookies.iter();
            answer
                .response_headers_to_add
                .extend(cookies.map(|(name, value)| option(name, value, Existing::Join)));
        }
    }
    CheckResponse { status: Some(Status::default()), http_response: Some(HttpResponse::OkResponse(answer)) }
}

fn changes(owned: &Owned, before: &HeaderMap, after: &HeaderMap) -> OkHttpResponse {
    let gone = |name: &&HeaderName| !after.contains_key(*name);
    let mut headers_to_remove: Vec<_> = before.keys().filter(gone).map(ToString::to_string).collect();
    let unseen = |name: &&HeaderName| gone(name) && !before.contains_key(*name);
    headers_to_remove.extend(owned.names().iter().filter(unseen).map(ToString::to_string));
    let mut headers = Vec::new();
    for name in after.keys() {
        let values = after.get_all(name);
        if owned.is_alias(name) || values != before.get_all(name) {
            let existing = std::iter::once(Existing::Replace).chain(std::iter::repeat(Existing::Join));
            headers
                .extend(values.iter().zip(existing).map(|(value, existing)| option(name, value, existing)));
        }
    }
    OkHttpResponse { headers, headers_to_remove, ..OkHttpResponse::default() }
}

/// Has Envoy answer in the place of the upstream, in the form that the client understands: to sign
/// in where that is the answer. The status is that of the answer.
pub(super) fn denied(turned: &TurnedBack<'_>) -> (CheckResponse, StatusCode) {
    let (rejection, came) = (turned.rejection, &turned.came);
    let form = Form::of(came.method, came.headers);
    let refusal = || turned.refusal(rejection.code.status(), form);
    let mut response = turned.to_sign_in().unwrap_or_else(refusal);
    let mut body = String::from_utf8_lossy(response.body()).into_owned();
    let is_grpc = matches!(form, Form::Grpc(_));
    if is_grpc {
        // Envoy makes the status of the call from that of HTTP, and its message from the body.
        for name in [header::CONTENT_TYPE, reply::GRPC_STATUS, reply::GRPC_MESSAGE] {
            response.headers_mut().remove(name);
        }
        rejection.code.as_str().clone_into(&mut body);
    }
    let answered = if is_grpc { rejection.code.status() } else { response.status() };
    // Of these, Envoy sets each beside the others, and leaves out what is to be joined.
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| option(name, value, Existing::Replace)).collect();
    let status = Status {
        code: reply::grpc_status(rejection.code).into(),
        message: rejection.code.as_str().to_owned(),
    };
    let denied =
        DeniedHttpResponse { status: Some(HttpStatus { code: i32::from(answered.as_u16()) }), headers, body };
    let http_response = Some(HttpResponse::DeniedResponse(denied));
    (CheckResponse { status: Some(status), http_response }, answered)
}

/// What becomes of values that are there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    /// They stay, and this one is left out.
    Keep,
    Replace,
    Join,
}

/// What came in with a check is UTF-8, and what is ours is ASCII.
fn option(name: &HeaderName, value: &HeaderValue, existing: Existing) -> HeaderValueOption {
    text_option(name.as_str(), str::from_utf8(value.as_bytes()).unwrap_or_default(), existing)
}

/// `append` says again, to versions of Envoy that know nothing else, when values are joined.
fn text_option(name: &str, value: &str, existing: Existing) -> HeaderValueOption {
    let append_action = match existing {
        Existing::Keep => HeaderAppendAction::AddIfAbsent,
        Existing::Replace => HeaderAppendAction::OverwriteIfExistsOrAdd,
        Existing::Join => HeaderAppendAction::AppendIfExistsOrAdd,
    };
    HeaderValueOption {
        header: Some(Pair { key: name.to_owned(), value: value.to_owned(), ..Pair::default() }),
        append: (existing == Existing::Join).then_some(true),
        append_action: append_action.into(),
    }
}
