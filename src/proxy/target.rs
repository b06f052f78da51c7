//! Host, path and query of a request, read once.

use std::borrow::Cow;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri, header};

use crate::access::credential;
use crate::access::host;
use crate::access::path;
use crate::access::rejection::{Code, Rejection};
use crate::config::Config;
use crate::endpoints::Visit;

/// What routes are found by and upstreams are asked for.
pub(crate) struct Target<'a> {
    /// See [`host::parse`]; empty when an HTTP/1.0 client named none.
    pub host: Cow<'a, str>,
    pub path: Cow<'a, str>,
    pub encoded_slash: bool,
    pub query: Option<&'a str>,
}

/// Reads the target of a request (RFC 9112 section 3.2).
///
/// # Errors
/// `bad_request` or `ambiguous_path`.
pub(crate) fn read<'a>(
    method: &Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
) -> Result<Target<'a>, Rejection> {
    let named = match headers.get(header::HOST) {
        Some(value) => Some(host::parse(value.as_bytes())?),
        None => None,
    };
    if let (Some(authority), Some(named)) = (uri.authority(), &named)
        && host::parse(authority.as_str().as_bytes())? != *named
    {
        return Err(Rejection::new(Code::BadRequest, "the target and Host name different hosts"));
    }
    let raw = uri.path();
    if raw == "*" && method != Method::OPTIONS {
        return Err(Rejection::new(Code::BadRequest, "the target `*` of a method other than OPTIONS"));
    }
    let normal = if raw == "*" {
        path::Normal { path: raw.into(), encoded_slash: false }
    } else {
        path::normalise(raw)?
    };
    Ok(Target {
        host: named.map_or(Cow::Borrowed(""), |named| named.host),
        path: normal.path,
        encoded_slash: normal.encoded_slash,
        query: uri.query(),
    })
}

impl Target<'_> {
    /// The visit to one of the gateway's own endpoints that this is, if it is one.
    #[must_use]
    pub(crate) fn visit(&self, config: &Config) -> Option<Visit> {
        Visit::of(&self.host, &self.path, config)
    }

    /// What the upstream is asked for, when that is not the target exactly as it came.
    ///
    /// # Errors
    /// `ambiguous_path` when what is left of the path is no path.
    pub(crate) fn rewritten(
        &self,
        uri: &Uri,
        strip_prefix: Option<&str>,
        hidden_parameter: Option<&str>,
    ) -> Result<Option<PathAndQuery>, Rejection> {
        let path = match strip_prefix {
            Some(prefix) => path::cut_prefix(&self.path, prefix)?,
            None => &self.path,
        };
        let query = match (hidden_parameter, self.query) {
            (Some(name), Some(query)) => Some(credential::withhold_query(name, query)),
            _ => None,
        };
        if uri.authority().is_none() && path == uri.path() && query.is_none() {
            return Ok(None);
        }
        let query = query.as_deref().or(self.query).filter(|query| !query.is_empty());
        let text = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let rewritten = PathAndQuery::try_from(text)
            .map_err(|_| Rejection::new(Code::AmbiguousPath, "the rewritten path is no path"))?;
        Ok(Some(rewritten))
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(target: &str, host: Option<&str>) -> Request<()> {
        let mut request = Request::builder().uri(target);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        request.body(()).unwrap()
    }

    fn parsed(request: &Request<()>) -> Result<Target<'_>, Rejection> {
        read(request.method(), request.uri(), request.headers())
    }

    #[test]
    fn the_target_and_host_must_agree() {
        for (target, host, passes) in [
            ("http://app.test/a", "app.test", true),
            ("http://APP.test/a", "app.test", true),
            ("http://app.test:80/a", "app.test", false),
            ("http://other.test/a", "app.test", false),
            ("http://app.test@other.test/", "app.test@other.test", false),
            ("/a", "app.test.", true),
            ("/a", "app test", false),
        ] {
            assert_eq!(parsed(&request(target, Some(host))).is_ok(), passes, "{target} {host}");
        }
    }

    #[test]
    fn only_what_changed_is_rewritten() {
        let cases = [
            ("/a?x=1", None, None, None),
            ("/%61?x=1", None, None, Some("/a?x=1")),
            ("http://h.test/a?x=1", None, None, Some("/a?x=1")),
            ("/app/a?x=1", Some("/app"), None, Some("/a?x=1")),
            ("/app", Some("/app"), None, Some("/")),
            ("/ws?token=t&x=1", None, Some("token"), Some("/ws?x=1")),
            ("/ws?token=t", None, Some("token"), Some("/ws")),
        ];
        for (target, prefix, hidden, expected) in cases {
            let request = request(target, Some("h.test"));
            let read = parsed(&request).unwrap();
            let rewritten = read.rewritten(request.uri(), prefix, hidden).unwrap();
            assert_eq!(rewritten.as_ref().map(PathAndQuery::as_str), expected, "{target}");
        }
    }
}
