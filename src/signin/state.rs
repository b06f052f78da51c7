//! What is known of a sign-in under way, sealed and kept by the browser.
//!
//! What holds: nobody but the gateway can read or make a state (AES-256-GCM); it counts for the
//! host and the cookie it was made for, for ten minutes, and for one step: a step that was taken
//! is remembered until its state would have ended, and not taken again. Intermediate session
//! tokens are nowhere else.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::device::Trace;
use super::needed::Needed;
use super::texts::Key;
use crate::clock;
use crate::config::Secret;

/// How long a step may take. An intermediate session lives as long (REFERENCE.md 7.3).
pub const LIFETIME: Duration = Duration::from_secs(600);
/// Steps remembered as taken. More than a gateway with its limits takes in ten minutes.
const MAX_TAKEN: usize = 200_000;
/// Bytes of what was typed, to be put right.
const MAX_TYPED: usize = 160;
/// Told apart from whatever else a key might be used for.
const PURPOSE: &[u8] = b"stytch-gateway sign-in state v1";

/// A sign-in between two of its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What a form must say to take this step, and what is remembered once it was taken.
    #[serde(rename = "t")]
    pub token: String,
    /// Unix milliseconds.
    #[serde(rename = "a")]
    pub made_at: i64,
    /// Where to go in the end; see [`super::target`].
    #[serde(rename = "r")]
    pub return_to: String,
    /// What to tell the person with the next page.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Key>,
    /// What was typed and is to be put right.
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<String>,
    #[serde(rename = "s")]
    pub step: Step,
    /// What is known of the device.
    #[serde(rename = "d", default, skip_serializing_if = "Trace::is_empty")]
    pub trace: Trace,
}

/// What is asked next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// An address.
    Start(Start),
    /// The code that was sent to an address.
    Code(Code),
    /// One of the organizations that the address opens.
    Choose { intermediate: String },
    /// The name of an organization to be created.
    Create(Create),
    /// A member's second factor.
    Second(Second),
    /// An organization to switch to.
    Switch,
    /// Away from the gateway, or waiting for a link; to come back with a token.
    Away(Away),
    /// One of an organization's several connections, each with its id and name.
    Connect { start: Start, connections: Vec<(String, String)> },
    /// How to show again that it is oneself.
    StepUp(StepUp),
    /// Recovery codes to be kept, of whoever has just signed in.
    Keep(Keep),
    /// What is left of recovery codes, after one of them let somebody in.
    Left(Left),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Id or slug of the organization to sign in to.
    pub organization: Option<String>,
    /// What was proved already, for an organization that wants another proof as well.
    pub intermediate: Option<String>,
    /// The connection to come from, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// What the organization asks for, as its `allowed_auth_methods` name it; empty: anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Whether an organization is to be created, once the address is proved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    pub intermediate: String,
    /// What was written before, where it was no good.
    pub name: String,
    pub slug: String,
    /// Whether there are organizations to choose among instead.
    pub others: bool,
}

/// A trip under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Away {
    pub trip: Trip,
    /// Of the challenge that Stytch was given (RFC 7636 section 4.1). Made for this flow alone.
    pub verifier: String,
    pub start: Start,
    /// The link that was sent, where that is the trip.
    pub mailed: Option<Mailed>,
}

/// How somebody comes back, which is which kind of token they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trip {
    /// From a provider, into one organization or as a user.
    Oauth,
    /// From a provider, into whichever organization there is.
    DiscoveryOauth,
    Sso,
    /// By a link, into one organization or as a user.
    Link,
    /// By a link, into whichever organization there is.
    DiscoveryLink,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailed {
    pub to: String,
    /// Unix milliseconds.
    pub sent_at: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// The e-mail address or phone number.
    pub to: String,
    pub by: By,
    /// Unix milliseconds.
    pub sent_at: i64,
    pub failures: u8,
}

/// What the code proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// A member's address, for one organization or any.
    Member(Start),
    /// A user's address, under this id. None where Stytch would send nothing there, which the
    /// person is not told.
    UserEmail(Option<String>),
    UserPhone(Option<String>),
    /// The same, sent by WhatsApp.
    UserWhatsapp(Option<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Second {
    /// None where it is the browser's own session that grows.
    pub intermediate: Option<String>,
    pub organization: String,
    pub member: String,
    pub phone: Option<String>,
    pub app: bool,
    /// What may become the second factor of a member who has none. None: there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolling: Option<Enrolment>,
    pub using: Using,
    /// When a code was texted, unix milliseconds.
    pub sent_at: Option<i64>,
    pub failures: u8,
}

/// What a session lacks, and what its owner can do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepUp {
    pub needed: Needed,
    /// Whose session it is.
    pub subject: String,
    /// The member's own, by id.
    pub organization: Option<String>,
    /// Where codes can be sent.
    pub email: Option<String>,
    pub phone: Option<String>,
    pub app: bool,
    /// What leaves the gateway, as an organization's `allowed_auth_methods` name it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Using {
    /// A number is still to be named, or an app to be set up.
    Enrol,
    Sms,
    App,
    RecoveryCode,
    /// The app that is being set up: its first code makes it the second factor.
    NewApp,
}

/// What the organization takes, and how far setting up has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    pub phone: bool,
    pub app: bool,
    /// Kept once it is there, so that no second app is registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<Setup>,
}

/// An app that is registered at Stytch and has not shown a code yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// In base32, without padding.
    pub secret: String,
    /// Whose it is, for the app's list.
    pub account: String,
    pub codes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// Whose they are: they are shown to nobody else.
    pub member: String,
    pub codes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub organization: String,
    pub member: String,
    pub count: u32,
}

impl State {
    /// A state that nobody has seen yet.
    #[must_use]
    pub fn new(return_to: String, step: Step) -> Self {
        let (token, made_at) = (random::<16>(), clock::unix_millis());
        Self { token, made_at, return_to, notice: None, typed: None, step, trace: Trace::default() }
    }

    /// The same step, to be taken once more.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.return_to.clone(), self.step.clone()).at(self.trace.clone())
    }

    #[must_use]
    pub fn at(mut self, trace: Trace) -> Self {
        self.trace = trace;
        self
    }

    #[must_use]
    pub fn telling(mut self, notice: Option<Key>) -> Self {
        self.notice = notice;
        self
    }

    /// With what was typed, where the cookie has room for it.
    #[must_use]
    pub fn recalling(mut self, typed: String) -> Self {
        let fits = typed.len() <= MAX_TYPED && !typed.contains(char::is_control);
        self.typed = fits.then_some(typed);
        self
    }
}

/// Bytes nobody can guess, in base64url.
#[must_use]
pub fn random<const N: usize>() -> String {
    let mut bytes = [0; N];
    if rand::fill(&mut bytes).is_err() {
        // Without randomness nothing here is safe, and nothing else in the program is either.
        std::process::abort();
    }
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Seals states and opens them again.
pub struct Sealer(RandomizedNonceKey);

/// Why a state does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Nobody's, another host's, another cookie's, or sealed with another key.
    Unreadable,
    Expired,
}

impl Sealer {
    /// From a secret of any length; without one, from randomness that ends with the process.
    ///
    /// # Errors
    /// When there is no randomness to be had.
    pub fn new(secret: Option<&Secret>) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut key = [0; 32];
        match secret {
            Some(secret) => {
                let mut context = digest::Context::new(&digest::SHA256);
                context.update(PURPOSE);
                context.update(secret.expose().as_bytes());
                key.copy_from_slice(context.finish().as_ref());
            }
            None => rand::fill(&mut key)?,
        }
        Ok(Self(RandomizedNonceKey::new(&AES_256_GCM, &key)?))
    }

    /// The state as the value of the cookie of that name, for that host. `None` when it cannot be
    /// sealed.
    #[must_use]
    pub fn seal(&self, state: &State, host: &str, cookie: &str) -> Option<String> {
        let mut bytes = serde_json::to_vec(state).ok()?;
        let nonce = self.0.seal_in_place_append_tag(Aad::from(context(host, cookie)), &mut bytes).ok()?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut bytes);
        Some(BASE64_URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The state in the cookie of that name, if it counts now (unix milliseconds).
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn open(&self, value: &[u8], host: &str, cookie: &str, now: i64) -> Result<State, Broken> {
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(value).map_err(|_| Broken::Unreadable)?;
        if bytes.len() < NONCE_LEN {
            return Err(Broken::Unreadable);
        }
        let mut sealed = bytes.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).map_err(|_| Broken::Unreadable)?;
        let opened = self.0.open_in_place(nonce, Aad::from(context(host, cookie)), &mut sealed);
        let state: State = serde_json::from_slice(opened.map_err(|_| Broken::Unreadable)?)
            .map_err(|_| Broken::Unreadable)?;
        let age = now.saturating_sub(state.made_at);
        if age >= clock::span(LIFETIME) {
            return Err(Broken::Expired);
        }
        Ok(state)
    }
}

/// Neither a host nor a cookie's name holds a NUL.
fn context(host: &str, cookie: &str) -> Vec<u8> {
    [host.as_bytes(), b"\0", cookie.as_bytes()].concat()
}

/// Steps that were taken on this replica. Beyond [`MAX_TAKEN`] the oldest are forgotten.
#[derive(Default)]
pub struct Taken(Mutex<Tokens>);

#[derive(Default)]
struct Tokens {
    known: HashSet<String>,
    /// The oldest first, with the unix milliseconds at which their states end.
    order: VecDeque<(i64, String)>,
}

impl Taken {
    /// Takes the step of a state. False when it was taken before.
    pub fn take(&self, state: &State, now: i64) -> bool {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tokens.order.front().is_some_and(|(ends, _)| *ends <= now) || tokens.order.len() >= MAX_TAKEN {
            let Some((_, token)) = tokens.order.pop_front() else { break };
            tokens.known.remove(&token);
        }
        if !tokens.known.insert(state.token.clone()) {
            return false;
        }
        // Steps are kept from when they were taken, so that the oldest always ends first.
        tokens.order.push_back((now + clock::span(LIFETIME), state.token.clone()));
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(Some(&Secret::new("a key that is known to this test alone"))).unwrap()
    }

    fn state() -> State {
        State::new("/reports?x=1".to_owned(), Step::Choose { intermediate: "token".to_owned() })
    }

    #[test]
    fn what_was_sealed_is_opened_where_it_belongs() {
        let state = state().telling(Some(Key::WrongCode));
        let sealed = sealer().seal(&state, "app.test", "flow_1").unwrap();
        let open = |host, cookie, now| sealer().open(sealed.as_bytes(), host, cookie, now);
        assert_eq!(open("app.test", "flow_1", state.made_at).unwrap(), state);
        assert_eq!(open("other.test", "flow_1", state.made_at), Err(Broken::Unreadable));
        assert_eq!(open("app.test", "flow_2", state.made_at), Err(Broken::Unreadable));
        let end = state.made_at + clock::span(LIFETIME);
        assert!(open("app.test", "flow_1", end - 1).is_ok());
        assert_eq!(open("app.test", "flow_1", end), Err(Broken::Expired));
    }

    #[test]
    fn another_key_opens_nothing() {
        let sealed = sealer().seal(&state(), "app.test", "flow_1").unwrap();
        for other in [Sealer::new(None).unwrap(), Sealer::new(Some(&Secret::new("another"))).unwrap()] {
            assert_eq!(other.open(sealed.as_bytes(), "app.test", "flow_1", 0), Err(Broken::Unreadable));
        }
    }

    #[test]
    fn nothing_of_it_can_be_read() {
        let sealed = sealer().seal(&state(), "app.test", "flow_1").unwrap();
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        assert!(memchr::memmem::find(&bytes, b"token").is_none());
        let again = sealer().seal(&state(), "app.test", "flow_1").unwrap();
        assert_ne!(sealed, again, "a nonce of its own each time");
    }

    #[test]
    fn a_step_is_taken_once() {
        let (taken, one, other) = (Taken::default(), state(), state());
        assert!(taken.take(&one, 0));
        assert!(!taken.take(&one, 1));
        assert!(taken.take(&other, 2));
        assert!(!taken.take(&one, clock::span(LIFETIME) - 1));
    }

    /// RFC 6265 section 6.1: browsers keep 4096 bytes of a cookie.
    #[test]
    fn the_largest_state_fits_into_a_cookie() {
        let id = |kind: &str| format!("{kind}-test-{}", "0".repeat(36));
        let setup = Setup {
            secret: "A".repeat(32),
            account: "a".repeat(64),
            codes: vec!["abcd-efgh-ijkl".to_owned(); 10],
        };
        let second = Second {
            intermediate: Some(random::<32>()),
            organization: id("organization"),
            member: id("member"),
            phone: None,
            app: false,
            enrolling: Some(Enrolment { phone: true, app: true, setup: Some(setup) }),
            using: Using::NewApp,
            sent_at: None,
            failures: 4,
        };
        let target = format!("/{}", "a".repeat(super::super::target::MAX_LENGTH - 1));
        let state = State::new(target, Step::Second(second)).telling(Some(Key::WrongCode));
        let sealed = sealer().seal(&state, "app.test", "stytch_gateway_flow_0123456789ab").unwrap();
        let attributes = "Path=/_stytch; HttpOnly; SameSite=Lax; Secure; Max-Age=600";
        let whole = format!("stytch_gateway_flow_0123456789ab={sealed}; {attributes}");
        assert!(whole.len() <= 4096, "{}", whole.len());
    }

    proptest! {
        #[test]
        fn a_changed_byte_breaks_it(at in 0usize..60, change in 1u8..=255) {
            let sealed = sealer().seal(&state(), "app.test", "flow_1").unwrap();
            let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(&sealed).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= change;
            let changed = BASE64_URL_SAFE_NO_PAD.encode(bytes);
            let opened = sealer().open(changed.as_bytes(), "app.test", "flow_1", 0);
            prop_assert_eq!(opened, Err(Broken::Unreadable));
        }

        #[test]
        fn whatever_comes_in_is_no_state(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let opened = sealer().open(&value, "app.test", "flow_1", 0);
            prop_assert_eq!(opened, Err(Broken::Unreadable));
        }
    }
}
