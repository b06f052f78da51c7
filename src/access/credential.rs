//! What the caller presents, and what is withheld from the upstream afterwards.
//!
//! What holds: a malformed credential is reported, never skipped over; the parsing work is bounded
//! by the head limits and a cap on cookies; nothing is copied.

use std::borrow::Cow;

use arrayvec::ArrayVec;
use http::{HeaderMap, HeaderValue, header};

use super::rejection::{Code, Rejection};
use crate::config;
use crate::fields::Headers;

/// Different values of one name that are looked at (DESIGN.md section 4).
const MAX_OF_ONE_NAME: usize = 4;
pub const MAX_PRESENTED: usize = 3 * MAX_OF_ONE_NAME;
/// Browsers keep fewer than 200 cookies a site.
const MAX_COOKIES: usize = 256;
/// A session JWT with the largest permitted custom claims (4 KiB) stays below it.
pub const MAX_JWT: usize = 8 * 1024;
/// REFERENCE.md section 10.
const OPAQUE_LENGTH: usize = 44;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Bearer,
    Header,
    Cookie,
    Query,
}

impl Source {
    /// Whether an access token may come this way. Browsers attach cookies by themselves, and a query
    /// stands in logs: both are for sessions (RFC 6750 section 5.3, RFC 9700 section 4.3.2).
    #[must_use]
    pub const fn takes_access_tokens(self) -> bool {
        match self {
            Self::Bearer | Self::Header => true,
            Self::Cookie | Self::Query => false,
        }
    }
}

/// The two forms a credential can have, in the bytes that the client sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    Jwt(&'a [u8]),
    Opaque(&'a [u8]),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential<'a> {
    pub source: Source,
    pub token: Token<'a>,
}

/// Everything presented, in the order of DESIGN.md section 4.
pub type Presented<'a> = ArrayVec<Credential<'a>, MAX_PRESENTED>;

/// Finds every credential of a request.
///
/// `query` is given for a WebSocket handshake alone.
///
/// # Errors
/// `invalid_credential` when one is malformed, `ambiguous_credential` when there are too many to
/// look at, `header_too_large` when there are too many cookies.
pub fn find<'a>(
    settings: &config::Session,
    headers: &'a HeaderMap,
    query: Option<&'a str>,
) -> Result<Presented<'a>, Rejection> {
    let mut presented = Presented::new();
    if settings.bearer {
        for value in headers.get_all(header::AUTHORIZATION) {
            if let Some(token) = bearer(value) {
                add(&mut presented, Source::Bearer, token)?;
            }
        }
    }
    if let Some(name) = &settings.header {
        for value in headers.get_all(name) {
            add(&mut presented, Source::Header, value.as_bytes())?;
        }
    }
    find_cookies(settings, headers, &mut presented)?;
    if let (Some(name), Some(query)) = (&settings.websocket_query, query) {
        for (key, value) in pairs(query) {
            if key == name {
                add(&mut presented, Source::Query, value.as_bytes())?;
            }
        }
    }
    Ok(presented)
}

/// JWT cookies first, whatever their order in the header: they can be verified without a call.
fn find_cookies<'a>(
    settings: &config::Session,
    headers: &'a HeaderMap,
    presented: &mut Presented<'a>,
) -> Result<(), Rejection> {
    let mut count = 0;
    let mut opaque = ArrayVec::<&[u8], MAX_OF_ONE_NAME>::new();
    for value in headers.get_all(header::COOKIE) {
        for pair in cookies(value.as_bytes()) {
            count += 1;
            if count > MAX_COOKIES {
                return Err(Rejection::new(Code::HeaderTooLarge, "more cookies than are looked at"));
            }
            let Some((name, value)) = split(pair) else { continue };
            if name == settings.jwt_cookie.as_bytes() {
                add(presented, Source::Cookie, value)?;
            } else if name == settings.cookie.as_bytes()
                && !opaque.contains(&value)
                && opaque.try_push(value).is_err()
            {
                return Err(too_many());
            }
        }
    }
    opaque.into_iter().try_for_each(|value| add(presented, Source::Cookie, value))
}

fn add<'a>(presented: &mut Presented<'a>, source: Source, value: &'a [u8]) -> Result<(), Rejection> {
    let token = Token::parse(value)?;
    let credential = Credential { source, token };
    if presented.contains(&credential) {
        return Ok(());
    }
    let of_this_source = presented.iter().filter(|other| other.source == source).count();
    let allowed = if source == Source::Cookie { 2 * MAX_OF_ONE_NAME } else { MAX_OF_ONE_NAME };
    if of_this_source == allowed {
        return Err(too_many());
    }
    presented.try_push(credential).map_err(|_| too_many())
}

const fn too_many() -> Rejection {
    Rejection::new(Code::AmbiguousCredential, "more credentials than are looked at")
}

impl<'a> Token<'a> {
    /// Tells the forms apart: a JWT has dots, a session token is 44 characters without.
    /// Whether a JWT is one is seen when it is verified.
    fn parse(value: &'a [u8]) -> Result<Self, Rejection> {
        let invalid = |reason| Rejection::new(Code::InvalidCredential, reason);
        if !value.is_ascii() {
            return Err(invalid("the credential is not ASCII"));
        }
        if memchr::memchr(b'.', value).is_some() {
            if value.len() > MAX_JWT {
                return Err(invalid("the JWT is too long"));
            }
            return Ok(Self::Jwt(value));
        }
        if is_opaque(value) {
            return Ok(Self::Opaque(value));
        }
        Err(invalid("the credential has the form of neither a JWT nor a session token"))
    }

    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Jwt(bytes) | Self::Opaque(bytes) => bytes,
        }
    }
}

fn is_opaque(value: &[u8]) -> bool {
    value.len() == OPAQUE_LENGTH
        && value.iter().enumerate().all(|(at, byte)| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'-' | b'_')
                || (*byte == b'=' && at + 1 == OPAQUE_LENGTH)
        })
}

/// The credential of `Authorization: Bearer`; `None` for other schemes, which are not ours to read.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, rest) = value.as_bytes().split_at_checked(b"bearer".len())?;
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return None;
    }
    match rest {
        [] => Some(rest),
        // A server that takes a tab for a space must not see what was neither read nor withheld.
        [b' ' | b'\t', ..] => Some(rest.trim_ascii()),
        _ => None,
    }
}

/// The pairs of a `Cookie` header, each with at most the one space taken off that RFC 6265
/// section 4.2.1 puts before it.
fn cookies(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let pair = match memchr::memchr(b';', bytes) {
            Some(end) => {
                rest = Some(&bytes[end + 1..]);
                &bytes[..end]
            }
            None => {
                rest = None;
                bytes
            }
        };
        Some(pair.strip_prefix(b" ").unwrap_or(pair))
    })
}

fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b'=', pair)?;
    Some((&pair[..at], &pair[at + 1..]))
}

/// The parameters of a query, undecoded: no credential needs an escape.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Removes from the headers what proves a session, so that an upstream cannot replay or leak it.
///
/// `bearer_is_ours` says whether the bearer credential is the gateway's (see [`could_be_ours`]).
pub fn withhold<'v>(settings: &config::Session, headers: &mut impl Headers<'v>, bearer_is_ours: bool) {
    withhold_cookies(settings, headers);
    if let Some(name) = &settings.header {
        headers.take_out(name);
    }
    if bearer_is_ours && headers.all(&header::AUTHORIZATION).any(|value| bearer(value).is_some()) {
        let others = headers.all(&header::AUTHORIZATION).filter(|value| bearer(value).is_none());
        let others: Vec<_> = others.cloned().collect();
        headers.take_out(&header::AUTHORIZATION);
        for value in others {
            headers.add(Cow::Owned(header::AUTHORIZATION), Cow::Owned(value));
        }
    }
}

/// A name that a lenient cookie parser could take for ours is ours here: stripping errs on the
/// other side than reading.
fn is_own_cookie(settings: &config::Session, pair: &[u8]) -> bool {
    let name = split(pair).map_or(pair, |(name, _)| name).trim_ascii();
    name.eq_ignore_ascii_case(settings.cookie.as_bytes())
        || name.eq_ignore_ascii_case(settings.jwt_cookie.as_bytes())
}

/// Whether any cookie of a request is, or could be taken for, one of the gateway's.
#[must_use]
pub fn names_own_cookie(settings: &config::Session, headers: &HeaderMap) -> bool {
    headers
        .get_all(header::COOKIE)
        .iter()
        .any(|value| cookies(value.as_bytes()).any(|pair| is_own_cookie(settings, pair)))
}

fn withhold_cookies<'v>(settings: &config::Session, headers: &mut impl Headers<'v>) {
    let ours = |pair: &&[u8]| is_own_cookie(settings, pair);
    let mut kept = Vec::new();
    let mut any = false;
    for value in headers.all(&header::COOKIE) {
        for pair in cookies(value.as_bytes()) {
            if ours(&pair) {
                any = true;
            } else if !pair.is_empty() {
                if !kept.is_empty() {
                    kept.extend_from_slice(b"; ");
                }
                kept.extend_from_slice(pair);
            }
        }
    }
    if !any {
        return;
    }
    match HeaderValue::from_maybe_shared(bytes::Bytes::from(kept)) {
        Ok(value) if !value.is_empty() => headers.set(Cow::Owned(header::COOKIE), Cow::Owned(value)),
        _ => headers.take_out(&header::COOKIE),
    }
}

/// The query without the parameter that carried a credential.
#[must_use]
pub fn withhold_query(name: &str, query: &str) -> String {
    let kept: Vec<_> = query.split('&').filter(|pair| pair.split('=').next() != Some(name)).collect();
    kept.join("&")
}

/// Whether a bearer credential on a public route may be one of this project: such a one is
/// withheld, while an application's own tokens pass.
#[must_use]
pub fn could_be_ours<'v>(headers: &impl Headers<'v>, issuers: &[String]) -> bool {
    headers.all(&header::AUTHORIZATION).filter_map(bearer).any(|value| {
        is_opaque(value)
            || std::str::from_utf8(value)
                .ok()
                .and_then(super::authn::jwt::unverified_issuer)
                .is_some_and(|issuer| issuers.contains(&issuer))
    })
}

#[cfg(test)]
mod tests;
