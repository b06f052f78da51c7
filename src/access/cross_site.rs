//! Refuses what another site made a browser send with its user's cookies.
//!
//! A cookie travels with every request a browser makes to us, whoever asked for it. So a request
//! that may change something, and a WebSocket handshake (which CORS does not guard), must come
//! from our own site when its credential is a cookie. A bearer token proves intent by itself.

use http::{HeaderMap, Method, header};

use super::RequestHead;
use super::credential::Source;
use super::rejection::{Code, Rejection};

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// `public_authority` is the host (and port) of `server.public_url`.
pub(super) fn check(
    head: &RequestHead<'_>,
    source: Source,
    public_authority: Option<&str>,
) -> Result<(), Rejection> {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(head.method) && !head.is_websocket();
    if safe || source != Source::Cookie {
        return Ok(());
    }
    match comes_from(head.headers, public_authority) {
        Origin::Ours | Origin::NoBrowser => Ok(()),
        Origin::Another => {
            Err(Rejection::new(Code::CrossSiteRequest, "a cookie credential from another site"))
        }
    }
}

/// For forms of the gateway's own: from this very origin, where [`check`] is content with a
/// neighbour's.
///
/// # Errors
/// `cross_site_request`.
pub fn check_same_origin(headers: &HeaderMap, public_authority: Option<&str>) -> Result<(), Rejection> {
    let neighbour = headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-site");
    match comes_from(headers, public_authority) {
        Origin::Ours if !neighbour => Ok(()),
        Origin::NoBrowser => Ok(()),
        Origin::Ours | Origin::Another => {
            Err(Rejection::new(Code::CrossSiteRequest, "a form of another site"))
        }
    }
}

enum Origin {
    Ours,
    Another,
    /// Neither header: no current browser sends such a request.
    NoBrowser,
}

/// `Sec-Fetch-Site` cannot be set by a page; browsers without it send `Origin` with every request
/// that matters here.
fn comes_from(headers: &HeaderMap, public_authority: Option<&str>) -> Origin {
    let origins = headers.get_all(header::ORIGIN);
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return match site.as_bytes() {
            b"same-origin" | b"same-site" | b"none" => Origin::Ours,
            _ => Origin::Another,
        };
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let mut seen = Origin::NoBrowser;
    for origin in origins {
        let ours = origin.to_str().ok().and_then(authority).is_some_and(|authority| {
            [host, public_authority].into_iter().flatten().any(|own| same(authority, own))
        });
        if !ours {
            return Origin::Another;
        }
        seen = Origin::Ours;
    }
    seen
}

/// Host and port of an origin; `null` has none.
fn authority(origin: &str) -> Option<&str> {
    let (_, rest) = origin.split_once("://")?;
    Some(rest)
}

/// Default ports are left out by browsers, but perhaps not by whoever wrote the other one.
fn same(one: &str, other: &str) -> bool {
    let plain = |authority: &'_ str| {
        let without = authority.strip_suffix(":443").or_else(|| authority.strip_suffix(":80"));
        without.unwrap_or(authority).to_ascii_lowercase()
    };
    plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn judge(method: Method, pairs: &[(&'static str, &'static str)], source: Source) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "app.test".parse().unwrap());
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let head = RequestHead {
            method: &method,
            host: "app.test",
            path: "/",
            encoded_slash: false,
            query: None,
            headers: &headers,
            client: IpAddr::from([127, 0, 0, 1]),
            received_at: 0,
        };
        check(&head, source, Some("public.test")).is_ok()
    }

    /// Method, headers, and whether a cookie passes.
    type Case = (Method, &'static [(&'static str, &'static str)], bool);

    #[test]
    fn a_cookie_passes_only_from_our_own_site_when_something_may_change() {
        let cases: [Case; 12] = [
            (Method::POST, &[], true),
            (Method::POST, &[("origin", "https://app.test")], true),
            (Method::POST, &[("origin", "https://APP.test:443")], true),
            (Method::POST, &[("origin", "https://public.test")], true),
            (Method::POST, &[("origin", "https://evil.test")], false),
            (Method::POST, &[("origin", "null")], false),
            (Method::POST, &[("origin", "https://app.test"), ("origin", "https://evil.test")], false),
            (Method::POST, &[("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")], false),
            (Method::DELETE, &[("sec-fetch-site", "same-origin")], true),
            (Method::GET, &[("origin", "https://evil.test")], true),
            (Method::GET, &[("origin", "https://evil.test"), ("upgrade", "websocket")], false),
            (Method::GET, &[("origin", "https://app.test.evil.test"), ("upgrade", "WebSocket")], false),
        ];
        for (method, headers, passes) in cases {
            assert_eq!(judge(method.clone(), headers, Source::Cookie), passes, "{method} {headers:?}");
        }
    }

    #[test]
    fn a_bearer_token_proves_intent() {
        assert!(judge(Method::POST, &[("origin", "https://evil.test")], Source::Bearer));
    }
}
