//! A credential in words that do not give it away.

use http::{HeaderMap, header};
use memchr::memmem;

use super::report::Report;
use crate::access::authn::Proved;
use crate::access::authn::jwt;
use crate::access::credential::{Credential, Source, Token};
use crate::config::Session;
use crate::identity::{Identity, Kind};
use crate::metrics::Verification;

/// What was presented and where. Of a JWT also what it says of itself, which is not verified yet;
/// `now` is unix seconds.
pub(super) fn presented(
    report: &mut Report,
    credential: &Credential<'_>,
    session: &Session,
    headers: &HeaderMap,
    now: i64,
) {
    let place = place(credential, session, headers);
    let Token::Jwt(bytes) = credential.token else {
        return report.ok("credential", format!("session token in {place}"));
    };
    let Some(said) = str::from_utf8(bytes).ok().and_then(jwt::unverified) else {
        return report.ok("credential", format!("in {place}, with the dots of a JWT, and none"));
    };
    report.ok("credential", format!("{} in {place}", if said.session { "session JWT" } else { "JWT" }));
    let issued = said.issued_at.map(|at| format!("issued {}", ago(now, at)));
    let expires = said.expires_at.map(|at| expiry(now, at));
    let key = format!("key id {}", if said.key_id.is_empty() { "absent" } else { &said.key_id });
    let all: Vec<String> = [Some(key), issued, expires].into_iter().flatten().collect();
    report.note("credential", format!("it says: {}", all.join(", ")));
}

fn place(credential: &Credential<'_>, session: &Session, headers: &HeaderMap) -> String {
    match credential.source {
        Source::Bearer => "Authorization: Bearer".to_owned(),
        Source::Header => {
            let name = session.header.as_ref().map_or("", http::HeaderName::as_str);
            format!("the header {name}")
        }
        Source::Query => {
            format!("the query parameter {}", session.websocket_query.as_deref().unwrap_or_default())
        }
        Source::Cookie => {
            let carries = |name: &&String| {
                let pair = [name.as_bytes(), b"=", credential.token.as_bytes()].concat();
                headers
                    .get_all(header::COOKIE)
                    .iter()
                    .any(|value| memmem::find(value.as_bytes(), &pair).is_some())
            };
            let name = [&session.jwt_cookie, &session.cookie].into_iter().find(carries);
            format!("the cookie {}", name.unwrap_or(&session.cookie))
        }
    }
}

/// On whose word, and whose it is.
pub(super) fn proved(report: &mut Report, proved: &Proved, now: i64) {
    let how = match proved.verification {
        Verification::Local => "verified here with the project's keys",
        Verification::Stytch => "Stytch was asked, and says yes",
        Verification::Stale => "Stytch could not be asked; outage_grace lets it go on",
        Verification::Cache | Verification::None => "known already",
    };
    report.ok("verification", how);
    let identity = &proved.word.identity;
    report.note("identity", whose(identity));
    if let Some(session) = &identity.session {
        let expires = session.expires_at.map(|at| format!(", {}", expiry(now, at))).unwrap_or_default();
        report.note("identity", format!("session {}{expires}", session.id));
    }
    if let Some(organization) = &identity.organization {
        report.note("identity", format!("organization {} ({})", organization.slug, organization.id));
    }
}

fn whose(identity: &Identity) -> String {
    match (identity.kind, &identity.client) {
        (Kind::ConnectedApp, Some(client)) => format!("Connected App {} for {}", client.id, identity.subject),
        (Kind::Session | Kind::M2m | Kind::ConnectedApp, _) => identity.subject.clone(),
    }
}

fn ago(now: i64, at: i64) -> String {
    match now.saturating_sub(at) {
        seconds @ 0.. => format!("{} ago", span(seconds)),
        ahead => format!("{} from now", span(ahead.saturating_neg())),
    }
}

fn expiry(now: i64, at: i64) -> String {
    match at.saturating_sub(now) {
        seconds @ 1.. => format!("expires in {}", span(seconds)),
        over => format!("expired {} ago", span(over.saturating_neg())),
    }
}

/// Seconds as somebody would say them, to two units.
fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        7200..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_two_units_at_most() {
        for (at, issued, expires) in [
            (1000, "0 s ago", "expired 0 s ago"),
            (900, "100 s ago", "expired 100 s ago"),
            (1300, "5 min 0 s from now", "expires in 5 min 0 s"),
            (1000 - 7260, "2 h 1 min ago", "expired 2 h 1 min ago"),
            (1000 + 864_000, "10 days from now", "expires in 10 days"),
        ] {
            assert_eq!((ago(1000, at).as_str(), expiry(1000, at).as_str()), (issued, expires));
        }
        let _no_overflow = (ago(i64::MAX, i64::MIN), expiry(i64::MIN, i64::MAX), ago(0, i64::MAX));
    }
}
