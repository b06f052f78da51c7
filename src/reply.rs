//! Answers: those that are passed on from an upstream, and the gateway's own.
//!
//! A refusal is told alike everywhere: its code, title, status and request id, as
//! problem+json, as a page for a browser's navigation, or as a status of gRPC or gRPC-Web (DESIGN.md
//! section 7).
//! Why a credential was refused is for the log alone.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};

use crate::access::rejection::{Code, Rejection, StepUp};
use crate::exchange::Exchange;
use crate::proxy::hop;
use crate::server::framing::Malformed;
use crate::upstream;
use crate::upstream::answer::Answer;

mod grpc;
mod page;

pub use self::grpc::{Dialect, LastWords};
pub(crate) use self::grpc::{GRPC_MESSAGE, GRPC_STATUS, status as grpc_status};
pub(crate) use self::page::STYLE as PAGE_STYLE;

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
/// What is ever forwarded, for `Allow`.
pub const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The body of an answer. Dropping it ends the exchange.
pub struct Reply {
    content: Content,
    exchange: Option<Box<Exchange>>,
}

enum Content {
    Own(Bytes),
    Upstream { body: Answer, last_words: Option<Box<LastWords>> },
}

impl Reply {
    /// An upstream's answer. Where there are last words, they end it when it is cut short.
    #[must_use]
    pub fn pass_on(body: Answer, exchange: Box<Exchange>, last_words: Option<Box<LastWords>>) -> Self {
        if last_words.is_some() {
            exchange.arrival.record.may_say_why();
        }
        Self { content: Content::Upstream { body, last_words }, exchange: Some(exchange) }
    }

    /// The head of a switch of protocols; the exchange goes on in the tunnel.
    #[must_use]
    pub const fn switch() -> Self {
        Self { content: Content::Own(Bytes::new()), exchange: None }
    }

    /// An answer of the gateway's own.
    #[must_use]
    pub const fn own(body: Bytes, exchange: Box<Exchange>) -> Self {
        Self { content: Content::Own(body), exchange: Some(exchange) }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = upstream::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, upstream::Error>>> {
        let Self { content, exchange } = self.get_mut();
        if let Some(last) = last_words(content, exchange.as_deref()) {
            // What the upstream has still to say is heard by nobody.
            *content = Content::Own(Bytes::new());
            return Poll::Ready(Some(Ok(last)));
        }
        let frame = match content {
            Content::Own(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Content::Own(bytes) => Frame::data(std::mem::take(bytes)),
            Content::Upstream { body, last_words } => match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => match last_words {
                    Some(words) => {
                        followed(passed_on(frame, exchange.as_deref()), words, exchange.as_deref())
                    }
                    None => passed_on(frame, exchange.as_deref()),
                },
                Some(Err(error)) => {
                    if let Some(exchange) = exchange {
                        broke_off(exchange, &error);
                    }
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(None),
            },
        };
        if let (Some(exchange), Some(data)) = (exchange, frame.data_ref()) {
            exchange.sent(data.len());
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(bytes) => bytes.is_empty(),
            Content::Upstream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Upstream { body, .. } => body.size_hint(),
        }
    }
}

/// The status is out; for the log, and for whoever counts, the request has failed all the same.
fn broke_off(exchange: &mut Exchange, error: &upstream::Error) {
    if error.is_malformed() || error.is_incomplete() {
        exchange.failed(Code::UpstreamProtocol, "the response broke off");
    } else if !error.is_of_the_request() {
        exchange.failed(Code::UpstreamUnreachable, "the connection to the upstream broke");
    }
}

/// How an answer ends that is cut short, once it can be said.
fn last_words(content: &Content, exchange: Option<&Exchange>) -> Option<Frame<Bytes>> {
    let Content::Upstream { last_words: Some(words), .. } = content else { return None };
    let cut = exchange?.arrival.record.was_cut()?;
    words.may_be_said().then(|| words.said(cut.code.unwrap_or(Code::Overloaded)))
}

/// The next piece of an answer that may end with last words: of one that is cut short, what is left
/// of the message under way.
fn followed(frame: Frame<Bytes>, words: &mut LastWords, exchange: Option<&Exchange>) -> Frame<Bytes> {
    let mut data = match frame.into_data() {
        Ok(data) => data,
        Err(trailers) => return trailers,
    };
    if exchange.is_some_and(|exchange| exchange.arrival.record.was_cut().is_some()) {
        data.truncate(words.finish(&data));
    } else {
        words.pass(&data);
    }
    Frame::data(data)
}

/// Trailers are held to the same as headers: what is the gateway's own does not come from an
/// upstream (ATTACKS.md A21).
fn passed_on(frame: Frame<Bytes>, exchange: Option<&Exchange>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            hop::strip_trailers(&mut trailers);
            if let Some(exchange) = exchange {
                exchange.arrival.site.withhold_assertion(&mut trailers);
            }
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}

/// How a refusal is told to whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Problem,
    Page,
    Grpc(Dialect),
}

impl Form {
    /// The form that the sender of these headers understands.
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        if let Some(dialect) = Dialect::of(headers) {
            Self::Grpc(dialect)
        } else if is_navigation(method, headers) {
            Self::Page
        } else {
            Self::Problem
        }
    }
}

/// A refusal in the form its caller understands. The body still has to be given its exchange.
#[must_use]
pub fn refusal(rejection: &Rejection, form: Form, request_id: &str) -> Response<Bytes> {
    refusal_with(rejection.code.status(), rejection, form, request_id)
}

/// The same with another status, for callers that understand few (see [`Code::verdict`]).
#[must_use]
pub fn refusal_with(
    status: StatusCode,
    rejection: &Rejection,
    form: Form,
    request_id: &str,
) -> Response<Bytes> {
    let code = rejection.code;
    let mut response = match form {
        Form::Grpc(dialect) => grpc::refusal(code, dialect),
        Form::Page => page::response(code, status, request_id, rejection.step_up.as_deref()),
        Form::Problem => {
            let mut response = Response::new(problem(code, status, request_id, rejection.step_up.as_deref()));
            response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM);
            *response.status_mut() = status;
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(wanted) = &rejection.step_up {
        headers.insert(header::WWW_AUTHENTICATE, insufficient(wanted));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, METHODS);
    }
    if let Some(wait) = rejection.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs_f64().ceil().max(1.0) as u64));
    }
    response
}

/// RFC 9470 section 3.
fn insufficient(wanted: &StepUp) -> HeaderValue {
    let challenge = "Bearer error=\"insufficient_user_authentication\"";
    let challenge = match wanted.max_auth_age {
        Some(age) => HeaderValue::try_from(format!("{challenge}, max_age=\"{age}\"")).ok(),
        None => None,
    };
    challenge.unwrap_or(HeaderValue::from_static("Bearer error=\"insufficient_user_authentication\""))
}

/// RFC 9457, with the code as a member of its own, and what is wanted where one can do something
/// about it.
fn problem(code: Code, status: StatusCode, request_id: &str, wanted: Option<&StepUp>) -> Bytes {
    let mut body = serde_json::json!({
        "code": code.as_str(),
        "title": code.title(),
        "status": status.as_u16(),
        "request_id": request_id,
    });
    if let Some(wanted) = wanted {
        body["required"] = serde_json::json!(wanted);
    }
    Bytes::from(body.to_string())
}

/// A refusal of what was no request, whole, for a connection that closes after it.
#[must_use]
pub fn raw(code: Code, request_id: &str) -> Vec<u8> {
    let status = code.status();
    let body = problem(code, status, request_id, None);
    let mut response = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or_default(),
        body.len()
    )
    .into_bytes();
    response.extend_from_slice(&body);
    response
}

impl Malformed {
    #[must_use]
    pub const fn rejection(self) -> Rejection {
        match self {
            Self::Syntax(reason) => Rejection::new(Code::BadRequest, reason),
            Self::TooLarge(reason) => Rejection::new(Code::HeaderTooLarge, reason),
        }
    }
}

/// Whether a person's browser is going somewhere, rather than a script fetching something.
#[must_use]
pub fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    if ![Method::GET, Method::HEAD].contains(method) {
        return false;
    }
    let is = |name: &str, wanted: &[u8]| headers.get(name).is_none_or(|value| value.as_bytes() == wanted);
    accepts_html(headers)
        && !headers.contains_key("x-requested-with")
        && is("sec-fetch-mode", b"navigate")
        && is("sec-fetch-dest", b"document")
}

/// `text/html` named outright and not with a quality of zero: `*/*` is what scripts send.
fn accepts_html(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    // Scripts say `*/*`: hardly any value is worth taking apart.
    values.filter(|value| value.len() >= "text/html".len()).any(|value| {
        value.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"))
                && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method, headers, and whether a page is the answer.
    type Case = (Method, &'static [(&'static str, &'static str)], bool);

    #[test]
    fn only_a_navigation_gets_a_page() {
        let cases: [Case; 11] = [
            (Method::GET, &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")], true),
            (Method::HEAD, &[("accept", "text/html")], true),
            (Method::POST, &[("accept", "text/html")], false),
            (Method::GET, &[("accept", "*/*")], false),
            (Method::GET, &[], false),
            (Method::GET, &[("accept", "application/json")], false),
            (Method::GET, &[("accept", "text/html;q=0, application/json")], false),
            (Method::GET, &[("accept", "text/html"), ("sec-fetch-mode", "cors")], false),
            (Method::GET, &[("accept", "text/html"), ("sec-fetch-dest", "iframe")], false),
            (Method::GET, &[("accept", "text/html"), ("x-requested-with", "XMLHttpRequest")], false),
            (
                Method::GET,
                &[("accept", "text/html"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
                true,
            ),
        ];
        for (method, pairs, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(is_navigation(&method, &headers), expected, "{method} {pairs:?}");
        }
    }

    #[test]
    fn a_refusal_of_each_code_is_well_formed() {
        for code in Code::ALL {
            let text = String::from_utf8(raw(code, "id")).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {}", code.status().as_u16())));
            assert_eq!(body["code"], code.as_str());
        }
    }
}
