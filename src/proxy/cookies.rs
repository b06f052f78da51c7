//! The gateway's own cookies in responses: written back when Stytch renewed them, cleared when it
//! refused them, and never an upstream's to set.

use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;

use crate::access::authn::Fresh;
use crate::access::credential;
use crate::config::{SameSite, Session};

/// Whether a request carries one of them.
#[must_use]
pub fn has_own(session: &Session, headers: &HeaderMap) -> bool {
    credential::names_own_cookie(session, headers)
}

/// Removes what an upstream would set under our names.
pub fn drop_own(session: &Session, headers: &mut HeaderMap) {
    let ours = |value: &HeaderValue| {
        let name = value.as_bytes().split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default();
        [&session.cookie, &session.jwt_cookie].iter().any(|own| name.trim_ascii() == own.as_bytes())
    };
    if !headers.get_all(header::SET_COOKIE).iter().any(ours) {
        return;
    }
    let others: Vec<_> =
        headers.get_all(header::SET_COOKIE).iter().filter(|value| !ours(value)).cloned().collect();
    headers.remove(header::SET_COOKIE);
    for value in others {
        headers.append(header::SET_COOKIE, value);
    }
}

/// Sets both cookies to what Stytch returned, until the session ends.
pub fn write_back(session: &Session, fresh: &Fresh, headers: &mut HeaderMap) {
    let expires = fresh
        .expires_at
        .and_then(|at| Timestamp::from_second(at).ok())
        .map(|at| at.strftime("; Expires=%a, %d %b %Y %H:%M:%S GMT").to_string())
        .unwrap_or_default();
    let attributes = attributes(session);
    for (name, value) in [(&session.cookie, &fresh.session_token), (&session.jwt_cookie, &fresh.session_jwt)]
    {
        let cookie = format!("{name}={}; Path=/{attributes}{expires}", value.expose());
        if let Ok(mut cookie) = HeaderValue::try_from(cookie) {
            cookie.set_sensitive(true);
            headers.append(header::SET_COOKIE, cookie);
        }
    }
}

/// Sets both cookies to those of another session, and clears what may stand beside them: with a
/// `Domain`, cookies of the same names that belong to the host alone.
pub fn replace(session: &Session, fresh: &Fresh, headers: &mut HeaderMap) {
    if session.cookies.domain.is_some() {
        for name in [&session.cookie, &session.jwt_cookie] {
            if let Ok(cookie) = HeaderValue::try_from(format!("{name}=; Path=/; Max-Age=0")) {
                headers.append(header::SET_COOKIE, cookie);
            }
        }
    }
    write_back(session, fresh, headers);
}

/// Makes the browser forget both cookies, in both variants it may hold (REFERENCE.md section 9: a
/// host-only and a domain cookie of one name can exist side by side).
pub fn forget(session: &Session, headers: &mut HeaderMap) {
    let domain = session.cookies.domain.as_ref().map(|domain| format!("; Domain={domain}"));
    for name in [&session.cookie, &session.jwt_cookie] {
        for variant in [Some(""), domain.as_deref()].into_iter().flatten() {
            if let Ok(cookie) = HeaderValue::try_from(format!("{name}=; Path=/{variant}; Max-Age=0")) {
                headers.append(header::SET_COOKIE, cookie);
            }
        }
    }
}

fn attributes(session: &Session) -> String {
    let cookies = &session.cookies;
    let domain = cookies.domain.as_ref().map(|domain| format!("; Domain={domain}")).unwrap_or_default();
    let same_site = match cookies.same_site {
        SameSite::Lax => "Lax",
        SameSite::Strict => "Strict",
        SameSite::None => "None",
    };
    let secure = if cookies.secure { "; Secure" } else { "" };
    let http_only = if cookies.http_only { "; HttpOnly" } else { "" };
    format!("{domain}{secure}{http_only}; SameSite={same_site}")
}
