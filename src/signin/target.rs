//! Where a person goes after signing in or out: a place on this host, or on one that is allowed.
//!
//! What holds: a target is read once, into parts, and what goes out is put together from those
//! parts. A path begins with exactly one slash; no byte of it is a control character, a space, a
//! backslash or beyond ASCII; a host is one that the settings or the request itself name. What
//! does not read as such a target, in whatever spelling, is `/` (ATTACKS.md section 11).

use std::borrow::Cow;

use crate::access::host::{self, Authority};
use crate::access::path;
use crate::config::Signin;

/// Longer ones would not fit into a cookie beside the rest.
pub const MAX_LENGTH: usize = 2000;

/// What a target may be relative to, and where it may lead.
pub struct Allowed<'a> {
    /// The request's own host, as it was routed.
    pub host: &'a str,
    pub port: Option<u16>,
    pub signin: &'a Signin,
    /// Whether a target may be plain http on another host: where session cookies may be sent so.
    pub plain: bool,
}

/// A place to go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `https://reports.example.com`; none for a place on the request's own host.
    origin: Option<String>,
    /// With its query. Begins with one slash.
    path: String,
}

impl Default for Target {
    fn default() -> Self {
        Self { origin: None, path: "/".to_owned() }
    }
}

impl Target {
    /// The target that `text` names, or `/`.
    #[must_use]
    pub fn read(text: &str, allowed: &Allowed<'_>) -> Self {
        Self::parse(text, allowed).unwrap_or_default()
    }

    fn parse(text: &str, allowed: &Allowed<'_>) -> Option<Self> {
        if text.len() > MAX_LENGTH || !text.bytes().all(may_stand) {
            return None;
        }
        if text.starts_with('/') {
            return Some(Self { origin: None, path: local(text, allowed)? });
        }
        let (scheme, rest) = text.split_once("://")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let authority = host::parse(authority.as_bytes()).ok()?;
        let path = if rest.starts_with('/') { Cow::Borrowed(rest) } else { Cow::Owned(format!("/{rest}")) };
        let path = local(&path, allowed)?;
        if authority.host == allowed.host && same_port(authority.port, allowed.port, https) {
            return Some(Self { origin: None, path });
        }
        let listed = |known: &Authority<'_>| {
            known.host == authority.host && same_port(authority.port, known.port, https)
        };
        if !(https || allowed.plain) || !allowed.signin.redirects.iter().any(listed) {
            return None;
        }
        let port = authority.port.map(|port| format!(":{port}")).unwrap_or_default();
        let scheme = if https { "https" } else { "http" };
        Some(Self { origin: Some(format!("{scheme}://{}{port}", authority.host)), path })
    }

    /// For `Location`.
    #[must_use]
    pub fn location(&self) -> String {
        format!("{}{}", self.origin.as_deref().unwrap_or_default(), self.path)
    }

    /// The origin, where it is not the request's own.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }
}

/// Visible ASCII without what no URL holds unescaped, and without the backslash that browsers take
/// for a slash.
fn may_stand(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte)
}

/// Path and query of a place on one host, in normal form. The fragment is the browser's own.
fn local(text: &str, allowed: &Allowed<'_>) -> Option<String> {
    let text = text.split('#').next().unwrap_or_default();
    let (raw, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let normal = path::normalise(raw).ok()?.path;
    let second = normal.strip_prefix('/')?;
    if second.starts_with('/') || second.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%2f")) {
        return None;
    }
    let base = &allowed.signin.base_path;
    if let Some(own) =
        normal.strip_prefix(base.as_str()).filter(|own| own.is_empty() || own.starts_with(['/', ';']))
        && !["/session", "/organizations"].contains(&own)
    {
        // To sign in is no place to go to after signing in, and signing out must be one's own wish.
        return None;
    }
    Some(query.map_or_else(|| normal.to_string(), |query| format!("{normal}?{query}")))
}

/// A port that is left out is the scheme's own.
fn same_port(one: Option<u16>, other: Option<u16>, https: bool) -> bool {
    let usual = if https { 443 } else { 80 };
    one.unwrap_or(usual) == other.unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Brand;
    use crate::signin::texts::Texts;

    fn signin() -> Signin {
        let host = |host: &'static str, port| Authority { host: host.into(), port };
        Signin {
            enabled: true,
            base_path: "/_stytch".to_owned(),
            methods: Vec::new(),
            oauth_providers: Vec::new(),
            round_trips: None,
            create_organizations: false,
            session_minutes: 60,
            custom_claims: serde_json::Map::new(),
            brand: Brand::default(),
            device: None,
            texts: Arc::new(Texts::built_in()),
            redirects: vec![host("reports.test", None), host("odd.test", Some(8443))],
            state_key: None,
        }
    }

    fn read(text: &str) -> String {
        let signin = signin();
        let allowed = Allowed { host: "app.test", port: None, signin: &signin, plain: false };
        Target::read(text, &allowed).location()
    }

    #[test]
    fn places_on_this_host_and_on_allowed_ones() {
        for (text, expected) in [
            ("/", "/"),
            ("/reports", "/reports"),
            ("/reports?x=1&y=%2F#part", "/reports?x=1&y=%2F"),
            ("/%61", "/a"),
            ("/search?q=https://evil.test", "/search?q=https://evil.test"),
            ("https://app.test/a", "/a"),
            ("HTTPS://APP.test:443/a", "/a"),
            ("http://app.test/a", "/a"),
            ("https://app.test", "/"),
            ("https://app.test?x=1", "/?x=1"),
            ("https://reports.test/a?b=c", "https://reports.test/a?b=c"),
            ("https://odd.test:8443/a", "https://odd.test:8443/a"),
            ("/_stytch/session", "/_stytch/session"),
            ("/_stytchy", "/_stytchy"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn everything_else_is_the_root() {
        for text in [
            "",
            "reports",
            "//evil.test",
            "///evil.test",
            "////evil.test/%2e%2e%2f",
            "/.//evil.test",
            "/a/..//evil.test",
            "/%2fevil.test",
            "/%2Fevil.test",
            "/\\evil.test",
            "\\\\evil.test",
            "/%5cevil.test",
            "/\t/evil.test",
            "/\n/evil.test",
            "/\r\n/evil.test",
            "/\u{b}/evil.test",
            "/%09/evil.test",
            "/%0a/evil.test",
            " //evil.test",
            "https:evil.test",
            "https:/evil.test",
            "https:///evil.test",
            "https://evil.test",
            "https://app.test@evil.test",
            "https://app.test%40evil.test",
            "https://app.test:8443",
            "https://app.test.evil.test",
            "https://app.test\u{3002}evil.test",
            "https://app.test\u{2100}evil",
            "https://evil.test\u{ff0f}app.test",
            "https://reports.test:444/",
            "https://odd.test/",
            "http://reports.test/",
            "ftp://app.test/",
            "javascript:alert(1)",
            "javascript://app.test/%0aalert(1)",
            "data:text/html,x",
            "/a\u{e9}",
            "/a b",
            "/_stytch/login?return_to=/",
            "/_stytch/logout",
            "/_stytch;x/login",
            "/%5fstytch/login",
            "/x/../_stytch/login",
        ] {
            assert_eq!(read(text), "/", "{text:?}");
        }
        assert_eq!(read(&format!("/{}", "a".repeat(MAX_LENGTH))), "/");
    }

    fn piece() -> impl Strategy<Value = String> {
        let known = [
            "/",
            "//",
            "\\",
            "https:",
            "http:",
            "://",
            "app.test",
            "evil.test",
            "reports.test",
            "@",
            ":",
            ":443",
            ":8443",
            "%2f",
            "%5c",
            "%09",
            "\t",
            "\n",
            "?",
            "#",
            ".",
            "..",
            ";",
            "%2e",
            "%00",
            "\u{3002}",
            "\u{ff0f}",
            " ",
            "_stytch",
            "a",
            "%40",
            "[",
            "]",
            "[::1]",
        ];
        prop_oneof![4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)]
    }

    proptest! {
        #[test]
        fn no_spelling_leaves_the_allowed_hosts(pieces in prop::collection::vec(piece(), 0..10)) {
            let text = pieces.concat();
            let location = read(&text);
            prop_assert!(location.bytes().all(may_stand), "{text:?} {location:?}");
            let path = ["https://reports.test", "https://odd.test:8443"]
                .iter()
                .find_map(|origin| location.strip_prefix(origin))
                .unwrap_or(&location);
            prop_assert!(path.starts_with('/') && !path.starts_with("//"), "{text:?} {location:?}");
            prop_assert_eq!(read(&location), location, "read again it is the same");
        }
    }
}
