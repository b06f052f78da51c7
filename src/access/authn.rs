//! Whose is it? Known already, else verified here, else asked of Stytch.
//!
//! What holds: a cached word is used only while its token, the key set it was verified with, its
//! session and its age all still allow it; only authentication is cached, never a decision;
//! a JWT reaches Stytch only with a good signature of this project; what could not be checked is
//! neither a pass nor a refusal.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use http::HeaderName;
use quick_cache::unsync::Cache;

use self::answer::{Answer, SessionState};
use self::checker::Verdict;
use self::memory::{Key, Sought, grown_as_needed};
pub use self::word::{Fresh, Word};
use self::word::{Heard, Said};
use super::credential::{Credential, MAX_PRESENTED, Presented, Source, Token};
use super::rejection::{Code, Rejection};
use crate::clock;
use crate::config;
use crate::identity::template::Template;
use crate::identity::{Identity, Kind};
use crate::limiter::Limiter;
pub use crate::metrics::Verification;
use crate::metrics::{self, LocalFallback};
use crate::stytch;

pub mod answer;
pub mod checker;
pub mod fetcher;
pub mod jwt;
pub mod keys;
mod memory;
pub mod registry;
mod word;

/// Credentials whose signature failed, remembered by each worker.
const REFUSED: usize = 10_000;
/// Part of its allowed age at which a word is refreshed in the background, and the spread that
/// keeps sessions that began together apart.
const REFRESH_AT: f64 = 0.7;
const REFRESH_SPREAD: f64 = 0.2;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A proved identity, and how it was proved.
pub struct Proved {
    pub word: Rc<Word>,
    pub verification: Verification,
    pub source: Source,
}

impl Proved {
    /// Credentials to write back, once, to whoever came with a cookie.
    #[must_use]
    pub fn take_fresh(&self) -> Option<Box<Fresh>> {
        if self.source == Source::Cookie { self.word.fresh.take() } else { None }
    }
}

/// What all workers share.
#[derive(Clone)]
pub struct Shared {
    pub keys: keys::Keys,
    pub fetcher: fetcher::Handle,
    pub checker: checker::Handle,
    pub registry: Arc<registry::Registry>,
    pub limiter: Arc<Limiter>,
}

/// One worker's authentication. Made anew with each configuration, caches included.
pub struct Authn {
    settings: config::Session,
    expected: jwt::Expected,
    templates: Vec<(HeaderName, Template)>,
    needs_profile: bool,
    profile_ttl: i64,
    shared: Shared,
    known: RefCell<Cache<Key, Rc<Word>>>,
    refused: RefCell<Cache<u64, i64>>,
    hasher: RandomState,
    metrics: Arc<metrics::Worker>,
}

/// What could be said of a credential without asking.
enum Local {
    Proved(Rc<Word>, Verification),
    /// It is whose the word says, but Stytch must be asked whether it still is.
    Old(Rc<Word>),
    /// Nothing is known of this token.
    Unknown,
}

impl Authn {
    #[must_use]
    pub fn new(config: &config::Config, shared: Shared, metrics: Arc<metrics::Worker>) -> Rc<Self> {
        let templates = config.identity.headers.clone();
        let in_routes = config.routes.iter().flat_map(|route| &route.headers);
        let needs_profile = templates.iter().chain(in_routes).any(|(_, template)| template.needs_profile())
            || config.routes.iter().any(|route| route.rules.needs_profile());
        Rc::new(Self {
            expected: jwt::Expected {
                issuers: config.stytch.issuers.clone(),
                audience: config.stytch.project_id.clone(),
                vertical: config.stytch.vertical,
                leeway: i64::try_from(config.session.leeway.as_secs()).unwrap_or(i64::MAX),
            },
            templates,
            needs_profile,
            profile_ttl: clock::span(config.identity.profile_ttl),
            known: RefCell::new(grown_as_needed(config.session.capacity)),
            refused: RefCell::new(grown_as_needed(REFUSED)),
            hasher: RandomState::new(),
            settings: config.session.clone(),
            shared,
            metrics,
        })
    }

    /// Words remembered, for the gauge.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.borrow().len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Proves whose a request is. `now` is unix milliseconds.
    ///
    /// # Errors
    /// `invalid_credential`, `ambiguous_credential`, `rate_limited`, `stytch_unavailable` or
    /// `keys_unavailable`. Never called with nothing presented.
    pub async fn verify(
        self: &Rc<Self>,
        presented: &Presented<'_>,
        client: IpAddr,
        now: i64,
    ) -> Result<Proved, Rejection> {
        if let [credential] = presented.as_slice()
            && let Some(word) = self.remembered(credential.token.as_bytes())
            && self.passes(&word, now)
        {
            self.refresh_ahead(&word, credential.token, now);
            return Ok(Proved { word, verification: Verification::Cache, source: credential.source });
        }
        self.verify_all(presented, client, now).await.map_err(|rejection| self.counted(rejection, client))
    }

    /// Ends a session on this replica, through whichever credential it comes.
    pub fn end(&self, identity: &Identity) {
        self.shared.registry.revoke(identity);
    }

    /// Counts a refused credential against its client, who has had enough of them at some point.
    #[must_use]
    pub fn counted(&self, rejection: Rejection, client: IpAddr) -> Rejection {
        if rejection.code != Code::InvalidCredential {
            return rejection;
        }
        self.shared.limiter.refused(client).map_or(rejection, rate_limited)
    }

    /// Every credential presented must agree. Those that prove nothing any more (expired, ended)
    /// are passed over once another has proved an identity; a forged one never is.
    async fn verify_all(
        self: &Rc<Self>,
        presented: &Presented<'_>,
        client: IpAddr,
        now: i64,
    ) -> Result<Proved, Rejection> {
        let mut proved: Option<Proved> = None;
        let mut open = ArrayVec::<_, MAX_PRESENTED>::new();
        for credential in presented {
            let source = credential.source;
            match self.locally(credential.token, now).await? {
                Local::Proved(word, verification) => {
                    if proved.is_none() {
                        self.refresh_ahead(&word, credential.token, now);
                    }
                    proved = Some(agreeing(proved, Proved { word, verification, source })?);
                }
                Local::Old(word) => open.push((credential, Some(word))),
                Local::Unknown => open.push((credential, None)),
            }
        }
        let mut failed = None;
        for (credential, word) in open {
            let source = credential.source;
            let word = word.or_else(|| self.remembered(credential.token.as_bytes()));
            let outcome = match word {
                // Whose an old word is does not change: to agree, nobody needs to be asked.
                Some(word) if proved.is_some() && word.is_alive(now) => {
                    Ok(Proved { word, verification: Verification::Cache, source })
                }
                word => self.ask(credential, word, client, now).await,
            };
            match outcome {
                Ok(next) => proved = Some(agreeing(proved, next)?),
                Err(rejection) => failed = worse(failed, rejection),
            }
        }
        match (proved, failed) {
            (Some(proved), _) => Ok(proved),
            (None, Some(rejection)) => Err(rejection),
            (None, None) => Err(Rejection::new(Code::Unauthenticated, "no credential")),
        }
    }

    /// What the token itself and the memory say.
    async fn locally(self: &Rc<Self>, token: Token<'_>, now: i64) -> Result<Local, Rejection> {
        if let Some(word) = self.remembered(token.as_bytes())
            && self.keys_still_hold(&word)
        {
            if self.passes(&word, now) {
                return Ok(Local::Proved(word, Verification::Cache));
            }
            return Ok(Local::Old(word));
        }
        if self.is_refused(token.as_bytes(), now) {
            return Err(Rejection::new(Code::InvalidCredential, "refused a moment ago"));
        }
        let Token::Jwt(jwt) = token else { return Ok(Local::Unknown) };
        let (verified, keys) = self.verify_jwt(jwt, now).await?;
        let word = self.remember_local(jwt, verified, keys, now)?;
        Ok(if self.passes(&word, now) { Local::Proved(word, Verification::Local) } else { Local::Old(word) })
    }

    /// Verifies a JWT, and says with which generation of the keys.
    async fn verify_jwt(&self, jwt: &[u8], now: i64) -> Result<(jwt::Verified, u64), Rejection> {
        let Ok(text) = std::str::from_utf8(jwt) else {
            return Err(Rejection::new(Code::InvalidCredential, "the JWT is not ASCII"));
        };
        for may_fetch in [true, false] {
            let Some(keys) = self.shared.keys.current() else {
                return Err(Rejection::new(Code::KeysUnavailable, "no verification keys yet")
                    .retry_after(RETRY_AFTER));
            };
            match jwt::verify(text, &keys, &self.expected, now / 1000) {
                Ok(verified) => return Ok((verified, keys.generation)),
                Err(jwt::Error::UnknownKey) if may_fetch => match self.shared.fetcher.fetch().await {
                    fetcher::Outcome::Fetched => {}
                    fetcher::Outcome::CoolingDown => break,
                    fetcher::Outcome::Failed => {
                        return Err(Rejection::new(
                            Code::KeysUnavailable,
                            "the key set could not be fetched",
                        )
                        .retry_after(RETRY_AFTER));
                    }
                },
                Err(jwt::Error::UnknownKey) => break,
                Err(jwt::Error::Refused(reason)) => {
                    self.remember_refused(jwt, now);
                    return Err(Rejection::new(Code::InvalidCredential, reason));
                }
            }
        }
        Err(Rejection::new(Code::InvalidCredential, "the key id is not in the key set"))
    }

    /// Asks Stytch about a credential that could be real.
    async fn ask(
        self: &Rc<Self>,
        credential: &Credential<'_>,
        known: Option<Rc<Word>>,
        client: IpAddr,
        now: i64,
    ) -> Result<Proved, Rejection> {
        let token = credential.token;
        if known.as_ref().is_some_and(|word| word.identity.kind != Kind::Session) {
            return Err(Rejection::new(Code::InvalidCredential, "the access token has expired"));
        }
        if known.is_none()
            && let Some(wait) = self.shared.limiter.exceeded(client)
        {
            return Err(rate_limited(wait));
        }
        if let (Token::Jwt(_), Some(word)) = (token, &known) {
            let is_stale = now >= word.heard_at.saturating_add(clock::span(self.settings.max_staleness));
            self.metrics.local_fallback(if is_stale { LocalFallback::Stale } else { LocalFallback::Expired });
        }
        // As old as that is too old: see `passes`.
        let not_before = now - clock::span(self.settings.max_staleness) + 1;
        match self.shared.checker.ask(question(token), not_before).await {
            Verdict::Live(answer) => {
                let keys = known.map_or(0, |word| word.keys);
                let word = self.remember_answer(token, &answer, keys);
                let source = credential.source;
                if clock::unix_millis() >= word.session_ends {
                    return Err(Rejection::new(Code::InvalidCredential, "the session has ended"));
                }
                Ok(Proved { word, verification: Verification::Stytch, source })
            }
            Verdict::Refused => {
                if let Some(word) = known {
                    self.shared.registry.revoke(&word.identity);
                }
                self.forget(token, now);
                Err(Rejection::new(Code::InvalidCredential, "Stytch refuses the session"))
            }
            Verdict::Unavailable { retry_after } => match known {
                Some(word) if self.within_grace(&word, now) => {
                    let source = credential.source;
                    Ok(Proved { word, verification: Verification::Stale, source })
                }
                _ => Err(Rejection::new(Code::StytchUnavailable, "Stytch could not be asked")
                    .retry_after(retry_after)),
            },
        }
    }

    /// Everything that must hold for a remembered word to let its bearer pass.
    fn passes(&self, word: &Word, now: i64) -> bool {
        now < word.passes_until
            && !word.state.is_revoked()
            && self.keys_still_hold(word)
            && (!self.needs_profile || now - word.profile_at < self.profile_ttl)
    }

    fn keys_still_hold(&self, word: &Word) -> bool {
        word.keys == 0 || word.keys == self.shared.keys.generation()
    }

    /// DESIGN.md section 4, `outage_grace`: never past the end of the session, never without the
    /// profile that a header needs.
    fn within_grace(&self, word: &Word, now: i64) -> bool {
        let grace = clock::span(self.settings.outage_grace);
        let staleness = clock::span(self.settings.max_staleness);
        let recent_enough = if grace == 0 {
            now < word.passes_until
        } else {
            now < word.heard_at.saturating_add(staleness).saturating_add(grace)
        };
        recent_enough && word.is_alive(now) && (!self.needs_profile || word.identity.profile.is_some())
    }

    fn refresh_ahead(self: &Rc<Self>, word: &Rc<Word>, token: Token<'_>, now: i64) {
        if now < word.refresh_from || word.refreshing.get() || !self.settings.refresh_ahead {
            return;
        }
        word.refreshing.set(true);
        let (this, word, question) = (Rc::clone(self), Rc::clone(word), question(token));
        tokio::task::spawn_local(async move {
            let asked = question.clone();
            let token = match &asked {
                stytch::Credential::Jwt(jwt) => Token::Jwt(jwt.as_bytes()),
                stytch::Credential::Token(token) => Token::Opaque(token.as_bytes()),
            };
            match this.shared.checker.ask(question, word.heard_at + 1).await {
                Verdict::Live(answer) => drop(this.remember_answer(token, &answer, word.keys)),
                Verdict::Refused => {
                    this.shared.registry.revoke(&word.identity);
                    this.forget(token, clock::unix_millis());
                }
                Verdict::Unavailable { retry_after } => {
                    tokio::time::sleep(retry_after).await;
                    word.refreshing.set(false);
                }
            }
        });
    }

    fn remembered(&self, token: &[u8]) -> Option<Rc<Word>> {
        self.known.borrow_mut().get(&Sought(token)).map(Rc::clone)
    }

    /// Takes down a JWT that was verified here: Stytch's word as of its `iat`.
    fn remember_local(
        &self,
        jwt: &[u8],
        verified: jwt::Verified,
        keys: u64,
        now: i64,
    ) -> Result<Rc<Word>, Rejection> {
        let leeway = clock::span(self.settings.leeway);
        let expires = verified.expires_at.saturating_mul(1000).saturating_add(leeway);
        let mut identity = verified.identity;
        if identity.kind != Kind::Session && now >= expires {
            return Err(Rejection::new(Code::InvalidCredential, "the access token has expired"));
        }
        let state = self.shared.registry.state(&identity);
        let learned = state.profile().filter(|_| self.needs_profile);
        identity.profile = learned.as_ref().map(|learned| Arc::clone(&learned.profile));
        let word = Rc::new(self.word(
            Arc::new(identity),
            state,
            Heard {
                at: verified.issued_at.saturating_mul(1000),
                expires,
                keys,
                profile_at: learned.map_or(i64::MIN / 2, |learned| learned.at),
            },
        ));
        self.known.borrow_mut().insert(Key(jwt.into()), Rc::clone(&word));
        Ok(word)
    }

    /// Takes down an answer under the credential it was asked about and under the opaque token it
    /// names, which prove the same.
    fn remember_answer(&self, token: Token<'_>, answer: &Answer, keys: u64) -> Rc<Word> {
        let state = self.shared.registry.state(&answer.identity);
        if let Some(profile) = &answer.identity.profile {
            state.learn(Arc::clone(profile), answer.heard_at);
        }
        let heard = Heard { at: answer.heard_at, expires: i64::MAX, keys, profile_at: answer.heard_at };
        let mut known = self.known.borrow_mut();
        let same = answer.session_token.expose().as_bytes();
        if same != token.as_bytes() {
            let word =
                self.word(Arc::clone(&answer.identity), Arc::clone(&state), Heard { keys: 0, ..heard });
            known.insert(Key(same.into()), Rc::new(word));
        }
        let word = self.word(Arc::clone(&answer.identity), state, heard);
        word.fresh.replace(Some(Box::new(Fresh {
            session_token: answer.session_token.clone(),
            session_jwt: answer.session_jwt.clone(),
            expires_at: answer.identity.session.as_ref().and_then(|session| session.expires_at),
        })));
        let word = Rc::new(word);
        known.insert(Key(token.as_bytes().into()), Rc::clone(&word));
        word
    }

    fn word(&self, identity: Arc<Identity>, state: Arc<SessionState>, heard: Heard) -> Word {
        let session_ends = identity
            .session
            .as_ref()
            .and_then(|session| session.expires_at)
            .map_or(i64::MAX, |at| at.saturating_mul(1000));
        let share = REFRESH_AT + REFRESH_SPREAD * clock::jitter();
        let after = |from: i64, span: i64| from.saturating_add((span as f64 * share) as i64);
        let (oldest, mut refresh_from) = match identity.kind {
            Kind::Session => {
                let staleness = clock::span(self.settings.max_staleness);
                (heard.at.saturating_add(staleness), after(heard.at, staleness))
            }
            Kind::M2m | Kind::ConnectedApp => (i64::MAX, i64::MAX),
        };
        if self.needs_profile && identity.kind == Kind::Session {
            refresh_from = refresh_from.min(after(heard.profile_at, self.profile_ttl));
        }
        let said = Said::of(&identity, &self.templates);
        Word {
            identity,
            said,
            state,
            heard_at: heard.at,
            passes_until: oldest.min(heard.expires).min(session_ends),
            refresh_from,
            session_ends,
            keys: heard.keys,
            profile_at: heard.profile_at,
            refreshing: Cell::new(false),
            fresh: RefCell::new(None),
        }
    }

    fn forget(&self, token: Token<'_>, now: i64) {
        self.known.borrow_mut().remove(&Sought(token.as_bytes()));
        self.remember_refused(token.as_bytes(), now);
    }

    fn remember_refused(&self, token: &[u8], now: i64) {
        let until = now + clock::span(self.settings.negative_ttl);
        self.refused.borrow_mut().insert(self.hasher.hash_one(token), until);
    }

    fn is_refused(&self, token: &[u8], now: i64) -> bool {
        self.refused.borrow_mut().get(&self.hasher.hash_one(token)).is_some_and(|until| now < *until)
    }
}

/// Only tokens whose bytes were checked get here, so nothing is lost.
pub(super) fn question(token: Token<'_>) -> stytch::Credential {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    match token {
        Token::Jwt(jwt) => stytch::Credential::Jwt(text(jwt)),
        Token::Opaque(token) => stytch::Credential::Token(text(token)),
    }
}

/// Two credentials of one request must speak of one identity.
fn agreeing(first: Option<Proved>, next: Proved) -> Result<Proved, Rejection> {
    let Some(first) = first else { return Ok(next) };
    let (one, other) = (&first.word.identity, &next.word.identity);
    if one.kind == other.kind && one.subject == other.subject && one.organization == other.organization {
        return Ok(first);
    }
    Err(Rejection::new(Code::AmbiguousCredential, "two credentials prove different identities"))
}

/// Of two failures, the one that keeps cookies.
fn worse(first: Option<Rejection>, next: Rejection) -> Option<Rejection> {
    match first {
        Some(first) if first.code != Code::InvalidCredential => Some(first),
        _ => Some(next),
    }
}

fn rate_limited(wait: Duration) -> Rejection {
    Rejection::new(Code::RateLimited, "too many refused credentials from this address").retry_after(wait)
}
