//! Setting up an authenticator app, and the recovery codes that stand in for a lost one
//! (REFERENCE.md 7.2).
//!
//! What holds: one sign-in registers one app, however often its pages are loaded; secret and codes
//! are in the sealed state alone, and gone from it with the step that needs them; recovery codes
//! are shown to a browser in which their member is signed in, and to no other.

use qrcode::{Color, EcLevel, QrCode};

use super::login::Next;
use super::state::{Keep, Left, Second, Setup, Step, Using};
use super::texts::Key;
use super::{Desk, RETRY_AFTER, Trouble, form, member};
use crate::access::authn::Proved;
use crate::access::rejection::Rejection;
use crate::identity::Kind;
use crate::stytch::types::{MemberLogin, NewTotp};
use crate::telemetry::audit_log::{Event, Who};

/// How long a registration waits for its first code, in minutes: no longer than the sign-in may
/// take, so that one that was given up is not in the way of the next.
const PENDING_MINUTES: u32 = 10;
/// More than the ten there are. A state has to fit into a cookie.
const MAX_CODES: usize = 20;
const MAX_CODE_BYTES: usize = 400;
/// Characters of what the app is told of whose it is.
const MAX_ACCOUNT: usize = 64;
/// Clear modules around a QR code (ISO/IEC 18004 section 5.3.8).
const QUIET: usize = 4;
/// So few recovery codes left are worth a word.
pub(super) const FEW: u32 = 3;

/// Registers an app, or goes on with the one that this sign-in has registered already.
pub(super) async fn begin(desk: &Desk<'_>, step: &Second) -> Next {
    let Some(enrolment) = &step.enrolling else { return Next::Stale };
    let with = |setup| {
        let enrolling = Some(super::state::Enrolment { setup: Some(setup), ..enrolment.clone() });
        // A number that was named before must not be enrolled along with the app.
        let second = Second { using: Using::NewApp, enrolling, phone: None, sent_at: None, ..step.clone() };
        Next::Step(Step::Second(second), None)
    };
    if let Some(setup) = &enrolment.setup {
        return with(setup.clone());
    }
    if desk.was_sent_too_many(&step.member) {
        return Next::End(Key::Limited, desk.spoken.get(Key::LimitedText).to_owned());
    }
    let bare = Second { phone: None, ..step.clone() };
    // A session that is there gets no factor of its own this way; see `step_up`.
    let Some(member) = member::as_call(&bare, None, false) else { return Next::Stale };
    let call = desk.common.client.member_totp_create(&member, PENDING_MINUTES);
    match desk.common.ask("b2b_totp_create", call).await {
        Ok(made) => Setup::read(made).map_or_else(malformed, with),
        Err(Trouble::Refused(reason)) => {
            desk.audit(Event::EnrolmentRefused, None, &reason);
            Next::Step(Step::Second(step.clone()), Some(Key::AppFailed))
        }
        Err(trouble) => Next::Again(trouble),
    }
}

/// An answer that holds no key to show.
fn malformed() -> Next {
    tracing::error!("an authenticator app's secret or its recovery codes are not in Stytch's form");
    Next::Again(Trouble::Unavailable { limited: false, retry_after: RETRY_AFTER })
}

impl Setup {
    /// None where a part of it is not what it should be.
    fn read(made: NewTotp) -> Option<Self> {
        let secret = made.secret.trim_end_matches('=').to_ascii_uppercase();
        let base32 = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
        let sound = (16..=128).contains(&secret.len()) && secret.bytes().all(base32);
        let codes = kept(made.recovery_codes)?;
        let (address, organization) = (made.member.email_address, made.organization.organization_name);
        let whole = format!("{address} ({organization})");
        let account = if whole.chars().count() > MAX_ACCOUNT { address } else { whole };
        sound.then(|| Self { secret, account: account.chars().take(MAX_ACCOUNT).collect(), codes })
    }

    /// What a scan or a tap hands to the app: the key URI format that all of them read.
    pub(super) fn uri(&self, issuer: &str) -> String {
        let (issuer, account) = (escaped(issuer), escaped(&self.account));
        format!("otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}", self.secret)
    }

    /// The secret in groups that can be typed.
    pub(super) fn grouped(&self) -> String {
        let groups: Vec<_> =
            self.secret.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group)).collect();
        groups.join(" ")
    }
}

/// Recovery codes as they come, if they are such.
fn kept(codes: Vec<String>) -> Option<Vec<String>> {
    let fits = codes.len() <= MAX_CODES && codes.iter().map(String::len).sum::<usize>() <= MAX_CODE_BYTES;
    let sound = codes.iter().all(|code| form::recovery_code(code) == Some(code));
    (fits && sound && !codes.is_empty()).then_some(codes)
}

/// With `%20` for a space, which apps do not read out of a `+`.
fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A QR code as the path of an SVG picture, with the picture's width in modules. None where the text
/// is too long for one.
pub(super) fn drawn(text: &str) -> Option<(usize, String)> {
    use std::fmt::Write as _;
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let mut path = String::new();
    for (y, row) in code.to_colors().chunks(code.width()).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|one, other| one == other) {
            if run[0] == Color::Dark {
                let _ = write!(path, "M{} {}h{}v1h-{}z", x + QUIET, y + QUIET, run.len(), run.len());
            }
            x += run.len();
        }
    }
    Some((code.width() + 2 * QUIET, path))
}

/// Tells those who look after the gateway that a member has a second factor that was not there
/// before.
pub(super) fn note(desk: &Desk<'_>, step: &Second) {
    if step.enrolling.is_none() {
        return;
    }
    let who = Who {
        kind: Some(Kind::Session.as_str()),
        subject: Some(step.member.clone()),
        organization_id: Some(step.organization.clone()),
        ..Who::default()
    };
    desk.tell(Event::Enrolled, who, if step.using == Using::NewApp { "totp" } else { "sms_otp" });
}

/// What a member who got in by this factor has to see before going on.
pub(super) fn to_be_shown(step: &Second, login: &MemberLogin) -> Option<Step> {
    let setup = step.enrolling.as_ref().and_then(|enrolling| enrolling.setup.as_ref());
    match step.using {
        Using::NewApp => {
            let codes = setup?.codes.clone();
            Some(Step::Keep(Keep { member: step.member.clone(), codes }))
        }
        Using::RecoveryCode => {
            let (organization, member) = (step.organization.clone(), step.member.clone());
            Some(Step::Left(Left { organization, member, count: login.recovery_codes_remaining? }))
        }
        Using::Enrol | Using::Sms | Using::App => None,
    }
}

/// The same way on, with that first where somebody got in.
pub(super) fn showing(next: Next, first: Option<Step>) -> Next {
    match next {
        Next::In(mut signed_in) => {
            signed_in.first = first;
            Next::In(signed_in)
        }
        other => other,
    }
}

/// The page again, with what was wrong with the code. A registration that came to nothing is
/// forgotten.
pub(super) fn refused(step: Second, reason: &str) -> Next {
    let over = ["expired_totp", "totp_not_found"].contains(&reason);
    match step.using {
        Using::NewApp if over => {
            let enrolling = step.enrolling.clone().map(|it| super::state::Enrolment { setup: None, ..it });
            let again = Second { using: Using::Enrol, enrolling, ..step };
            Next::Step(Step::Second(again), Some(Key::AppFailed))
        }
        Using::App | Using::NewApp if reason == "totp_code_already_authenticated" => {
            Next::Step(Step::Second(step), Some(Key::UsedCode))
        }
        Using::Enrol | Using::Sms | Using::App | Using::NewApp | Using::RecoveryCode => {
            Next::Step(Step::Second(step), Some(Key::WrongCode))
        }
    }
}

/// That member, if this browser is the one in which they are signed in.
pub(super) async fn who_is_here(desk: &Desk<'_>, member: &str) -> Result<Option<Proved>, Rejection> {
    Ok(desk.who().await?.filter(|who| who.word.identity.subject == member))
}

/// Makes new recovery codes in the place of the old ones.
pub(super) async fn rotate(desk: &Desk<'_>, left: &Left) -> Result<Next, Rejection> {
    let Some(who) = who_is_here(desk, &left.member).await? else { return Ok(Next::Stale) };
    let call = desk.common.client.member_recovery_rotate(&left.organization, &left.member);
    Ok(match desk.common.ask("b2b_recovery_codes_rotate", call).await {
        Ok(made) => {
            desk.audit(Event::RecoveryCodesMade, Some(&who.word.identity), "in the place of the old ones");
            kept(made.recovery_codes).map_or_else(malformed, |codes| {
                Next::Step(Step::Keep(Keep { member: left.member.clone(), codes }), None)
            })
        }
        Err(Trouble::Refused(reason)) => {
            desk.audit(Event::RecoveryCodesRefused, Some(&who.word.identity), &reason);
            Next::Step(Step::Left(left.clone()), Some(Key::NewCodesFailed))
        }
        Err(trouble) => Next::Again(trouble),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stytch::types::{Addressed, Named};

    const SECRET: &str = "BTGNX5RKJRMQWQFRQKTG34JCF6XDRHZS";

    fn made(secret: &str, codes: &[&str]) -> NewTotp {
        NewTotp {
            secret: secret.to_owned(),
            recovery_codes: codes.iter().map(|&code| code.to_owned()).collect(),
            member: Addressed { email_address: "ana@acme.example".to_owned() },
            organization: Named { organization_name: "Acme & Söhne".to_owned(), ..Named::default() },
        }
    }

    #[test]
    fn what_the_app_is_told() {
        let setup = Setup::read(made(&format!("{}==", SECRET.to_lowercase()), &["ckss-2skx-ebow"])).unwrap();
        assert_eq!(setup.grouped(), "BTGN X5RK JRMQ WQFR QKTG 34JC F6XD RHZS");
        let account = "ana%40acme.example%20%28Acme%20%26%20S%C3%B6hne%29";
        assert_eq!(
            setup.uri("Our: shop"),
            format!("otpauth://totp/Our%3A%20shop:{account}?secret={SECRET}&issuer=Our%3A%20shop")
        );
    }

    #[test]
    fn nothing_else_is_shown_or_sealed() {
        let long = "x".repeat(64);
        for (secret, codes) in [
            ("", &["abcd-efgh"][..]),
            ("<svg onload=alert(1)>", &["abcd-efgh"]),
            ("BTGNX5RKJRMQWQFRQKTG34JCF6XDRHZ1", &["abcd-efgh"]),
            (SECRET, &[]),
            (SECRET, &["abcd efgh"]),
            (SECRET, &[&long, &long, &long, &long, &long, &long, &long]),
        ] {
            assert_eq!(Setup::read(made(secret, codes)), None, "{secret} {codes:?}");
        }
        let mut longer = made(SECRET, &["abcd-efgh"]);
        longer.organization.organization_name = "ü".repeat(200);
        assert_eq!(Setup::read(longer).unwrap().account, "ana@acme.example");
    }

    #[test]
    fn the_picture_is_the_code() {
        let text = "otpauth://totp/a:b?secret=BTGNX5RKJRMQWQFR&issuer=a";
        let (side, path) = drawn(text).unwrap();
        let code = QrCode::with_error_correction_level(text, EcLevel::M).unwrap();
        assert_eq!(side, code.width() + 8);
        let mut dark = vec![Color::Light; code.width() * code.width()];
        for run in path.split('M').skip(1) {
            let (at, shape) = run.split_once('h').unwrap();
            let (x, y) = at.split_once(' ').unwrap();
            let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
            let length: usize = shape.split('v').next().unwrap().parse().unwrap();
            assert_eq!(shape, format!("{length}v1h-{length}z"));
            let begin = (y - QUIET) * code.width() + x - QUIET;
            dark[begin..begin + length].fill(Color::Dark);
        }
        assert_eq!(dark, code.to_colors());
        assert_eq!(drawn(&"x".repeat(3000)), None);
    }
}
