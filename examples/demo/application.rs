//! A sample application of the kind the gateway is put in front of: it believes what its request
//! headers say about the caller, and checks nothing.

use std::convert::Infallible;
use std::fmt::Write as _;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

pub(crate) async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let what = format!("{} {}", request.method(), request.uri().path());
    let identity: Vec<_> = identity(request.headers()).collect();
    let for_a_browser = request
        .headers()
        .get(ACCEPT)
        .is_some_and(|accept| accept.to_str().is_ok_and(|kinds| kinds.contains("text/html")));
    let (kind, body) = if for_a_browser {
        ("text/html; charset=utf-8", page(&what, &identity))
    } else {
        ("text/plain; charset=utf-8", text(&what, &identity))
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    Ok(response)
}

/// The headers by which it knows its users.
fn identity(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .iter()
        .filter(|(name, _)| *name == "remote-user" || name.as_str().starts_with("x-stytch-"))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("(not text)")))
}

fn text(what: &str, identity: &[(&str, &str)]) -> String {
    let mut text = format!("This is the legacy application. {what} came from ");
    if identity.is_empty() {
        text.push_str("nobody in particular.\n");
        return text;
    }
    text.push_str("\n\n");
    for (name, value) in identity {
        // Writing to a String does not fail.
        let _infallible = writeln!(text, "  {name}: {value}");
    }
    text
}

fn page(what: &str, identity: &[(&str, &str)]) -> String {
    let rows: String = identity
        .iter()
        .map(|(name, value)| {
            format!("<tr><th align=\"left\" style=\"padding-right: 1.5rem\">{name}<td>{}\n", escape(value))
        })
        .collect();
    let who =
        if rows.is_empty() { "nobody in particular.".to_owned() } else { format!("<table>{rows}</table>") };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Legacy application</title>\n\
         <body style=\"font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto\">\n\
         <h1>This is the legacy application</h1>\n<p><code>{}</code> came from {who}\n",
        escape(what)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
