//! Authenticator apps: codes by the clock (RFC 6238: SHA-1, six digits, thirty seconds), and the
//! recovery codes that stand in for a lost one.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use qrcode::QrCode;
use qrcode::render::svg;

use crate::clock::minutes_after;
use crate::error::Refusal;
use crate::ids;

const STEP_SECONDS: i64 = 30;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const RECOVERY_CODES: usize = 10;

/// An app that was registered, or is about to be.
#[derive(Debug, Clone)]
pub(crate) struct Totp {
    pub(crate) id: String,
    secret: Vec<u8>,
    /// Whether it has shown a code; until then it has to do so before this time.
    pub(crate) verified: bool,
    pending_until: Timestamp,
    /// The last step whose code was taken: neither it nor an earlier one is taken again.
    last_step: i64,
    pub(crate) recovery_codes: Vec<String>,
}

impl Totp {
    pub(crate) fn pending(now: Timestamp, minutes: u32) -> Self {
        Self {
            id: ids::fresh("totp"),
            secret: ids::random_bytes::<20>().to_vec(),
            verified: false,
            pending_until: minutes_after(now, minutes),
            last_step: i64::MIN,
            recovery_codes: fresh_recovery_codes(),
        }
    }

    /// One that is in use already; `None` if the secret is not base32.
    pub(crate) fn in_use(secret: &str, recovery_codes: Vec<String>) -> Option<Self> {
        let secret = decoded(secret)?;
        Some(Self { secret, verified: true, recovery_codes, ..Self::pending(Timestamp::UNIX_EPOCH, 0) })
    }

    /// In base32, as a person would type it into the app.
    pub(crate) fn secret(&self) -> String {
        encoded(&self.secret)
    }

    /// The secret as a picture for the app to read: a data URI.
    pub(crate) fn qr_code(&self, account: &str) -> String {
        let account: String = url::form_urlencoded::byte_serialize(account.as_bytes()).collect();
        let issuer = "stytch-emulator";
        let uri = format!("otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}", self.secret());
        let code = QrCode::new(uri).expect("a short address fits in a QR code");
        let picture = code.render::<svg::Color<'_>>().min_dimensions(200, 200).build();
        format!("data:image/svg+xml;base64,{}", STANDARD.encode(picture))
    }

    /// Takes the code of this step or of one beside it, each once.
    pub(crate) fn check(&mut self, code: &str, now: Timestamp) -> Result<(), Refusal> {
        if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::InvalidTotpCode);
        }
        if !self.verified && self.pending_until <= now {
            return Err(Refusal::ExpiredTotp);
        }
        let step = step_at(now);
        let matching = (step - 1..=step + 1).find(|&step| code_of(&self.secret, step) == code);
        let step = matching.ok_or(Refusal::UnableToAuthenticateTotp)?;
        if step <= self.last_step {
            return Err(Refusal::TotpCodeAlreadyAuthenticated);
        }
        (self.last_step, self.verified) = (step, true);
        Ok(())
    }

    /// Uses a recovery code up.
    pub(crate) fn recover(&mut self, code: &str) -> Result<(), Refusal> {
        let at = self.recovery_codes.iter().position(|one| one == code);
        self.recovery_codes.remove(at.ok_or(Refusal::UnableToAuthenticateRecoveryCode)?);
        Ok(())
    }

    pub(crate) fn rotate_recovery_codes(&mut self) {
        self.recovery_codes = fresh_recovery_codes();
    }
}

/// What an app with this secret, in base32, shows now.
pub(crate) fn code_now(secret: &str, now: Timestamp) -> Option<String> {
    decoded(secret).map(|secret| code_of(&secret, step_at(now)))
}

fn step_at(now: Timestamp) -> i64 {
    now.as_second().div_euclid(STEP_SECONDS)
}

fn code_of(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 0xf);
    let number = u32::from_be_bytes([tag[at] & 0x7f, tag[at + 1], tag[at + 2], tag[at + 3]]);
    format!("{:06}", number % 1_000_000)
}

fn fresh_recovery_codes() -> Vec<String> {
    let fresh = || {
        let letters: Vec<u8> = ids::random_bytes::<12>().iter().map(|byte| b'a' + byte % 26).collect();
        let groups: Vec<_> = letters.chunks(4).map(String::from_utf8_lossy).collect();
        groups.join("-")
    };
    std::iter::repeat_with(fresh).take(RECOVERY_CODES).collect()
}

fn encoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(5) {
        let mut padded = [0; 8];
        padded[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(padded);
        let digits = (group.len() * 8).div_ceil(5);
        text.extend((0..digits).map(|at| char::from(BASE32[(bits >> (35 - 5 * at) & 31) as usize])));
    }
    text
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for letter in text.trim_end_matches('=').bytes() {
        let digit = BASE32.iter().position(|one| *one == letter.to_ascii_uppercase())?;
        bits = bits << 5 | u32::try_from(digit).ok()?;
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, the last six of its eight digits.
    #[test]
    fn codes_are_the_rfcs() {
        let secret = encoded(b"12345678901234567890");
        assert_eq!(secret, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        for (second, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            let now = Timestamp::from_second(second).unwrap();
            assert_eq!(code_now(&secret, now).as_deref(), Some(code), "{second}");
        }
    }

    /// RFC 4648, section 10.
    #[test]
    fn base32_goes_both_ways() {
        for (bytes, text) in [("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(encoded(bytes.as_bytes()), text);
            assert_eq!(decoded(text).as_deref(), Some(bytes.as_bytes()));
            assert_eq!(decoded(&format!("{}==", text.to_lowercase())).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!((decoded(""), decoded("1")), (None, None));
    }
}
