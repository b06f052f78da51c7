//! The page a person sees who is turned back: plain HTML, and the style that all pages share.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::access::rejection::{Code, StepUp};

/// What is common to all pages of the gateway's own.
pub(crate) const STYLE: &str = include_str!("page.css");

/// No script, no request to anywhere, no frame; the one style sheet by its digest.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        BASE64_STANDARD.encode(digest)
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The page for a code, with the headers that go with any page of ours.
pub(super) fn response(
    code: Code,
    status: StatusCode,
    request_id: &str,
    wanted: Option<&StepUp>,
) -> Response<Bytes> {
    let mut response = Response::new(refusal(code, status, request_id, wanted));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    *response.status_mut() = status;
    response
}

/// Every value comes from our own tables and settings, but the request id, which is hexadecimal or
/// checked.
fn refusal(code: Code, status: StatusCode, request_id: &str, wanted: Option<&StepUp>) -> Bytes {
    let title = code.title();
    let what = status.canonical_reason().unwrap_or_default();
    let request_id = escape(request_id);
    let wanted = wanted.map(|wanted| format!("<p>{}</p>\n", escape(&in_words(wanted)))).unwrap_or_default();
    Bytes::from(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <p class=\"soft\">{status_code} {what}</p>\n<h1>{title}</h1>\n{wanted}\
         <dl class=\"facts\"><dt>Code</dt><dd><code>{code}</code></dd><dt>Request</dt><dd><code>{request_id}</code></dd></dl>\n\
         </main>\n</body>\n</html>\n",
        status_code = status.as_u16(),
        code = code.as_str(),
    ))
}

/// What the session lacks, for the person whose it is.
fn in_words(wanted: &StepUp) -> String {
    if let Some(age) = wanted.max_auth_age {
        return format!("Your last sign-in must be no more than {age} seconds ago.");
    }
    if wanted.device {
        return "A sign-in from a device and a place that you are known by is needed.".to_owned();
    }
    if wanted.factors.is_empty() {
        return "Two different factors are needed.".to_owned();
    }
    format!("Needed: {}.", wanted.factors.join(", "))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_allows_exactly_this_style() {
        let page = response(Code::NoRoute, StatusCode::NOT_FOUND, "id", None);
        let text = String::from_utf8_lossy(page.body());
        let style = text.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains(&format!("'sha256-{}'", BASE64_STANDARD.encode(digest))), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn a_request_id_cannot_become_markup() {
        let page = refusal(Code::NoRoute, StatusCode::NOT_FOUND, "<script>alert(1)</script>", None);
        assert!(!String::from_utf8_lossy(&page).contains("<script"));
    }

    #[test]
    fn a_page_says_what_a_session_lacks() {
        for (wanted, words) in [
            (
                StepUp { factors: vec!["totp".to_owned(), "sso".to_owned()], ..StepUp::default() },
                "Needed: totp, sso.",
            ),
            (StepUp { mfa: true, ..StepUp::default() }, "Two different factors are needed."),
            (StepUp { max_auth_age: Some(600), ..StepUp::default() }, "no more than 600 seconds ago."),
        ] {
            let page = refusal(Code::StepUpRequired, StatusCode::FORBIDDEN, "id", Some(&wanted));
            assert!(String::from_utf8_lossy(&page).contains(words), "{words}");
        }
    }
}
