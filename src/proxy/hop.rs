//! Headers that concern one hop alone (RFC 9110 section 7.6.1), and trailers.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Names that a `Connection` header may not take away: they frame the message, or are ours.
const NEVER_NOMINATED: [HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::TE];
/// More than a `Connection` header has any use for.
const MAX_NOMINATED: usize = 32;

/// Whether a header never goes further than this hop. Each side is framed, and `Expect` answered, by
/// itself.
#[must_use]
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "expect"
    )
}

/// Whether a header names a scheme that authenticates a connection rather than a request (RFC 4559):
/// whoever was given that connection next would pass for somebody else.
#[must_use]
pub fn binds_connection(headers: &HeaderMap, name: HeaderName) -> bool {
    let begins = |challenge: &[u8], scheme: &[u8]| {
        challenge.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let bound = |challenge: &[u8]| begins(challenge, b"ntlm") || begins(challenge, b"negotiate");
    headers.get_all(name).iter().any(|value| tokens(value).any(bound))
}

/// Whether a response says in one way, which everyone reads alike, where it ends. hyper reads
/// further ones; what it makes of them is not what the client, given the same headers, would.
#[must_use]
pub fn is_plainly_framed(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (lengths.next(), encodings.next()) {
        (None, None) => true,
        (Some(length), None) => lengths.next().is_none() && length.as_bytes().iter().all(u8::is_ascii_digit),
        (None, Some(encoding)) => {
            encodings.next().is_none() && encoding.as_bytes().eq_ignore_ascii_case(b"chunked")
        }
        (Some(_), Some(_)) => false,
    }
}

/// Whether the sender takes trailers (RFC 9110 section 10.1.4), as every client of gRPC says.
#[must_use]
pub fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().flat_map(tokens).any(|token| token.eq_ignore_ascii_case(b"trailers"))
}

/// Whether `Connection` holds an option that is not about connections: a header that its sender
/// wants removed.
#[must_use]
pub fn nominates(connection: &HeaderValue) -> bool {
    tokens(connection).any(|token| !is_connection_option(token))
}

fn is_connection_option(token: &[u8]) -> bool {
    [b"keep-alive".as_slice(), b"close", b"upgrade", b"te"]
        .iter()
        .any(|option| token.eq_ignore_ascii_case(option))
}

/// Whether a `Connection` header holds this option.
#[must_use]
pub fn has_option(connection: &HeaderValue, option: &[u8]) -> bool {
    tokens(connection).any(|token| token.eq_ignore_ascii_case(option))
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// The headers that a message's `Connection` headers name, but for those that frame or route it:
/// they concern one hop too. Looked for before anything of ours is set, so that nothing of ours can
/// be named away.
#[must_use]
pub fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let named = headers.get_all(header::CONNECTION).iter().flat_map(tokens);
    named
        .filter(|token| !is_connection_option(token))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !NEVER_NOMINATED.contains(name))
        .take(MAX_NOMINATED)
        .collect()
}

/// Removes the hop-by-hop headers of a message, and those its `Connection` headers name.
///
/// One pass over the names, and nothing more for a message without such headers.
pub fn strip(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    let nominated = nominated(headers);
    let gone: Vec<_> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    for name in gone.into_iter().chain(nominated) {
        headers.remove(name);
    }
}

/// Removes from trailers what would frame, route or authenticate the message had it been a header
/// (RFC 9110 section 6.5.1).
pub fn strip_trailers(trailers: &mut HeaderMap) {
    strip(trailers);
    for name in [
        header::CONTENT_LENGTH,
        header::HOST,
        header::AUTHORIZATION,
        header::COOKIE,
        header::SET_COOKIE,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
        header::CACHE_CONTROL,
        header::EXPECT,
        header::MAX_FORWARDS,
        header::TRAILER,
        header::FORWARDED,
        header::VIA,
    ] {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn hop_by_hop_headers_and_those_nominated_go() {
        let mut headers = map(&[
            ("connection", "close, X-One"),
            ("connection", "x-two"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("accept", "*/*"),
        ]);
        strip(&mut headers);
        assert_eq!(headers, map(&[("accept", "*/*")]));
    }

    #[test]
    fn schemes_that_bind_a_connection_are_known() {
        for (value, bound) in [
            ("NTLM", true),
            ("negotiate YII=", true),
            ("Basic realm=\"a\", Negotiate", true),
            ("Bearer ntlm", false),
            ("Basic bnRsbQ==", false),
        ] {
            assert_eq!(
                binds_connection(&map(&[("authorization", value)]), header::AUTHORIZATION),
                bound,
                "{value}"
            );
        }
    }

    #[test]
    fn only_plain_framing_of_a_response_is_taken() {
        for (pairs, plain) in [
            (&[][..], true),
            (&[("content-length", "5")], true),
            (&[("transfer-encoding", "Chunked")], true),
            (&[("content-length", "5, 5")], false),
            (&[("content-length", "5"), ("content-length", "5")], false),
            (&[("content-length", "5"), ("transfer-encoding", "chunked")], false),
            (&[("transfer-encoding", "gzip, chunked")], false),
            (&[("transfer-encoding", "identity")], false),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false),
        ] {
            assert_eq!(is_plainly_framed(&map(pairs)), plain, "{pairs:?}");
        }
    }

    #[test]
    fn the_framing_cannot_be_nominated_away() {
        let mut headers =
            map(&[("connection", "host, content-length"), ("host", "a"), ("content-length", "1")]);
        strip(&mut headers);
        assert_eq!(headers, map(&[("host", "a"), ("content-length", "1")]));
    }

    #[test]
    fn every_hop_by_hop_header_is_known_as_one() {
        for name in ["connection", "keep-alive", "proxy-authorization", "te", "transfer-encoding", "upgrade"]
        {
            let mut headers = map(&[(name, "x")]);
            assert!(is_hop_by_hop(headers.keys().next().unwrap()));
            strip(&mut headers);
            assert!(headers.is_empty(), "{name}");
        }
    }

    #[test]
    fn trailers_cannot_frame_or_authenticate() {
        let mut trailers = map(&[
            ("content-length", "9"),
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("host", "evil"),
            ("checksum", "1"),
        ]);
        strip_trailers(&mut trailers);
        assert_eq!(trailers, map(&[("checksum", "1")]));
    }
}
