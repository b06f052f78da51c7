//! Whose is it? Known already, else verified here, else asked of Stytch.
//!
//! What holds: a cached word is used only while its token, the key set it was verified with, its
//! session and its age all still allow it; only authentication is cached, never a decision;
//! a JWT reaches Stytch only with a good signature of this project; an access token proves nothing
//! where only sessions may come from; what could not be checked is neither a pass nor a refusal.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use http::HeaderName;
use quick_cache::unsync::Cache;

use self::answer::SessionState;
use self::changes::{Change, Taken};
use self::memory::{Key, Sought, grown_as_needed};
pub(super) use self::remote::session_question;
use self::sliding::{PAUSE, Sliding};
pub use self::word::{Fresh, Word};
use self::word::{Heard, Said};
use super::authz::policies;
use super::credential::{MAX_PRESENTED, Presented, Source, Token};
use super::rejection::{Code, Rejection};
use crate::clock;
use crate::config;
use crate::fields::Names;
use crate::identity::assertion;
use crate::identity::template::Template;
use crate::identity::{Identity, Kind};
use crate::limiter::Limiter;
use crate::metrics;
pub use crate::metrics::Verification;

pub mod answer;
pub mod changes;
pub mod checker;
pub mod fetcher;
pub mod jwt;
pub mod keys;
mod memory;
pub mod registry;
mod remote;
mod sliding;
mod verdict;
mod word;

/// Credentials whose signature failed, remembered by each worker.
const REFUSED: usize = 10_000;
/// Part of its allowed age at which a word is refreshed in the background, and the spread that
/// keeps sessions that began together apart.
const REFRESH_AT: f64 = 0.7;
const REFRESH_SPREAD: f64 = 0.2;
const RETRY_AFTER: Duration = Duration::from_secs(1);
const ENDED: &str = "Stytch refused the session a moment ago";

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
    pub changes: Arc<changes::Changes>,
    pub limiter: Arc<Limiter>,
    /// None where no route is judged by a copy of the policy.
    pub policies: Option<policies::Handle>,
}

/// One worker's authentication. Made anew with each configuration, caches included.
pub struct Authn {
    settings: config::Session,
    expected: jwt::Expected,
    templates: Vec<(HeaderName, Template)>,
    header_names: Names,
    needs_profile: bool,
    profile_ttl: i64,
    sliding: Option<Sliding>,
    shared: Shared,
    known: RefCell<Cache<Key, Rc<Word>>>,
    /// Until when (unix milliseconds), and by whom.
    refused: RefCell<Cache<u64, (i64, RefusedBy)>>,
    hasher: RandomState,
    metrics: Arc<metrics::Worker>,
}

/// What could be said of a credential without asking.
enum Local {
    Proved(Rc<Word>, Verification),
    /// It is whose the word says, but Stytch must be asked whether it still is.
    Old(Rc<Word>),
    /// Stytch said no a moment ago: it proves nothing any more.
    Ended,
    /// Nothing is known of this token.
    Unknown,
}

/// Who said no to a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RefusedBy {
    /// What was presented is forged, or none of this project's.
    Us,
    Stytch,
}

impl Authn {
    #[must_use]
    pub fn new(config: &config::Config, shared: Shared, metrics: Arc<metrics::Worker>) -> Rc<Self> {
        let templates = config.identity.headers.clone();
        Rc::new(Self {
            header_names: templates.iter().map(|(name, _)| name.clone()).collect(),
            expected: jwt::Expected {
                issuers: config.stytch.issuers.clone(),
                audience: config.stytch.project_id.clone(),
                vertical: config.stytch.vertical,
                leeway: i64::try_from(config.session.leeway.as_secs()).unwrap_or(i64::MAX),
            },
            templates,
            needs_profile: config.needs_profile(),
            profile_ttl: clock::span(config.identity.profile_ttl),
            sliding: config.session.sliding.then_some(Sliding { minutes: config.signin.session_minutes }),
            known: RefCell::new(grown_as_needed(config.session.capacity)),
            refused: RefCell::new(grown_as_needed(REFUSED)),
            hasher: RandomState::new(),
            settings: config.session.clone(),
            shared,
            metrics,
        })
    }

    /// What permissions are judged by here, if any route asks for it.
    #[must_use]
    pub const fn policies(&self) -> Option<&policies::Handle> {
        self.shared.policies.as_ref()
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
            && word.may_come_from(credential.source).is_ok()
        {
            self.refresh_ahead(&word, credential.token, now);
            return Ok(Proved { word, verification: Verification::Cache, source: credential.source });
        }
        self.verify_all(presented, client, now).await.map_err(|rejection| self.counted(rejection, client))
    }

    /// Ends a session on this replica, through whichever credential it comes.
    pub fn end(&self, identity: &Identity) {
        if identity.kind == Kind::Session {
            self.shared.registry.revoke(identity, "");
        }
    }

    /// Counts a refused credential against its client, who has had enough of them at some point.
    #[must_use]
    pub fn counted(&self, rejection: Rejection, client: IpAddr) -> Rejection {
        if rejection.code != Code::InvalidCredential {
            return rejection;
        }
        self.shared.limiter.refused(client).map_or(rejection, rate_limited)
    }

    /// Why nothing of this client is looked at for now, if so.
    #[must_use]
    pub fn limited(&self, client: IpAddr) -> Option<Rejection> {
        self.shared.limiter.exceeded(client).map(rate_limited)
    }

    /// How many changes were told of: whoever was judged at another count is to be judged anew.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.shared.changes.count()
    }

    /// Takes down a change that Stytch has told of, for all workers: whatever was heard before it
    /// counts no longer.
    pub fn hear(&self, delivery: &str, change: &Change<'_>, now: i64) -> Taken {
        let counts_for = self.settings.max_staleness + self.settings.outage_grace;
        self.shared.changes.take(delivery, change, clock::span(counts_for), now)
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
        let mut failed = None;
        for credential in presented {
            let source = credential.source;
            match self.locally(credential.token, now).await? {
                Local::Proved(word, verification) => {
                    word.may_come_from(source)?;
                    if proved.is_none() {
                        self.refresh_ahead(&word, credential.token, now);
                    }
                    proved = Some(agreeing(proved, Proved { word, verification, source })?);
                }
                Local::Old(word) => {
                    word.may_come_from(source)?;
                    word.may_be_asked_about(now)?;
                    open.push((credential, Some(word)));
                }
                Local::Ended => failed = worse(failed, Rejection::new(Code::InvalidCredential, ENDED)),
                Local::Unknown => open.push((credential, None)),
            }
        }
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
        match self.refused_by(token.as_bytes(), now) {
            Some(RefusedBy::Us) => {
                return Err(Rejection::new(Code::InvalidCredential, "refused a moment ago"));
            }
            Some(RefusedBy::Stytch) => return Ok(Local::Ended),
            None => {}
        }
        let Token::Jwt(jwt) = token else { return Ok(Local::Unknown) };
        let Ok(jwt) = std::str::from_utf8(jwt) else {
            return Err(Rejection::new(Code::InvalidCredential, "the JWT is not ASCII"));
        };
        let (verified, keys) = self.verify_jwt(jwt, now).await?;
        let word = self.remember_local(jwt, verified, keys, now)?;
        Ok(if self.passes(&word, now) { Local::Proved(word, Verification::Local) } else { Local::Old(word) })
    }

    /// Verifies a JWT, and says with which generation of the keys.
    async fn verify_jwt(&self, jwt: &str, now: i64) -> Result<(jwt::Verified, u64), Rejection> {
        // The keys are looked at again whatever comes of a fetch: it need not be the only one.
        let mut fetched = None;
        loop {
            let Some(keys) = self.shared.keys.current() else {
                return Err(Rejection::new(Code::KeysUnavailable, "no verification keys yet")
                    .retry_after(RETRY_AFTER));
            };
            match (jwt::verify(jwt, &keys, &self.expected, now / 1000), fetched) {
                (Ok(verified), _) => return Ok((verified, keys.generation)),
                (Err(jwt::Error::UnknownKey), None) => fetched = Some(self.shared.fetcher.fetch().await),
                (Err(jwt::Error::UnknownKey), Some(fetcher::Outcome::Fetched)) => {
                    let reason = "the key id is not in the key set";
                    return Err(Rejection::new(Code::InvalidCredential, reason));
                }
                (Err(jwt::Error::UnknownKey), Some(fetcher::Outcome::Failed)) => {
                    let reason = "the key set could not be fetched";
                    return Err(Rejection::new(Code::KeysUnavailable, reason).retry_after(RETRY_AFTER));
                }
                (Err(jwt::Error::Refused(reason)), _) => {
                    self.remember_refused(jwt.as_bytes(), now, RefusedBy::Us);
                    return Err(Rejection::new(Code::InvalidCredential, reason));
                }
            }
        }
    }

    /// Everything that must hold for a remembered word to let its bearer pass.
    fn passes(&self, word: &Word, now: i64) -> bool {
        now < word.passes_until
            && !self.is_revoked(word)
            && self.keys_still_hold(word)
            && (!self.waits_for_profile(word.kind) || now - word.profile_at < self.profile_ttl)
            && self.is_latest(word)
    }

    /// Asks the session itself only when any has ended since: of many in turn each is cold.
    fn is_revoked(&self, word: &Word) -> bool {
        let revocations = self.shared.registry.revocations();
        if word.alive_at.get() == revocations {
            return false;
        }
        let is_revoked = word.state.is_revoked();
        if !is_revoked {
            word.alive_at.set(revocations);
        }
        is_revoked
    }

    /// Whether nothing that it speaks of has changed since, as far as events tell.
    fn is_latest(&self, word: &Word) -> bool {
        let changes = self.shared.changes.count();
        if word.looked_at.get() == changes {
            return true;
        }
        let Some(latest) = self.shared.changes.latest(&word.identity) else {
            word.looked_at.set(changes);
            return true;
        };
        let said_at = if self.waits_for_profile(word.kind) {
            word.heard_at.min(word.profile_at)
        } else {
            word.heard_at
        };
        if said_at >= latest {
            word.looked_at.set(changes);
        }
        said_at >= latest
    }

    /// Of whom an access token is, no answer tells more than the token: headers that need a profile
    /// are left out.
    fn waits_for_profile(&self, kind: Kind) -> bool {
        self.needs_profile && kind == Kind::Session
    }

    fn keys_still_hold(&self, word: &Word) -> bool {
        word.keys == 0 || word.keys == self.shared.keys.generation()
    }

    /// DESIGN.md section 4, `outage_grace`: never past the end of the session, never after a change,
    /// never without the profile that a header needs.
    fn within_grace(&self, word: &Word, now: i64) -> bool {
        self.may_still_count(word, now)
            && word.is_alive(now)
            && self.is_latest(word)
            && (!self.waits_for_profile(word.kind) || word.identity.profile.is_some())
    }

    fn remembered(&self, token: &[u8]) -> Option<Rc<Word>> {
        self.known.borrow_mut().get(&Sought(token)).map(Rc::clone)
    }

    /// Takes down a JWT that was verified here: Stytch's word as of its `iat`.
    fn remember_local(
        &self,
        jwt: &str,
        verified: jwt::Verified,
        keys: u64,
        now: i64,
    ) -> Result<Rc<Word>, Rejection> {
        let leeway = clock::span(self.settings.leeway);
        let expires = verified.expires_at.saturating_mul(1000).saturating_add(leeway);
        let mut identity = verified.identity;
        if identity.kind != Kind::Session && now >= expires {
            return Err(Rejection::new(Code::InvalidCredential, word::EXPIRED));
        }
        let state = self.shared.registry.state(&identity, jwt);
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
        self.known.borrow_mut().insert(Key(jwt.as_bytes().into()), Rc::clone(&word));
        Ok(word)
    }

    fn word(&self, identity: Arc<Identity>, state: Arc<SessionState>, heard: Heard) -> Word {
        let session_ends = match &identity.session {
            Some(session) => session.expires_at.map_or(i64::MAX, |at| at.saturating_mul(1000)),
            None => heard.expires,
        };
        let share = REFRESH_AT + REFRESH_SPREAD * clock::jitter();
        let after = |from: i64, span: i64| from.saturating_add((span as f64 * share) as i64);
        let staleness = clock::span(self.settings.max_staleness);
        let kind = identity.kind;
        let oldest = match kind {
            Kind::Session | Kind::ConnectedApp => heard.at.saturating_add(staleness),
            Kind::M2m => i64::MAX,
        };
        // A token that ends before its word gets old has nothing to be refreshed for.
        let ends_first = kind != Kind::Session && session_ends <= oldest;
        let mut refresh_from = if ends_first { i64::MAX } else { after(heard.at, staleness) };
        if self.waits_for_profile(kind) {
            refresh_from = refresh_from.min(after(heard.profile_at, self.profile_ttl));
        }
        let slide_from = self.sliding.map_or(i64::MAX, |sliding| sliding.due_from(&identity));
        // An answer that did not prolong the session is not asked for again at once.
        let is_answer = heard.expires == i64::MAX;
        let slide_from = if is_answer { slide_from.max(heard.at.saturating_add(PAUSE)) } else { slide_from };
        let said = Said::of(&identity, &self.templates, &self.header_names);
        Word {
            identity,
            kind,
            said,
            state,
            heard_at: heard.at,
            passes_until: oldest.min(heard.expires).min(session_ends),
            refresh_from: refresh_from.min(slide_from),
            slide_from,
            session_ends,
            token_ends: heard.expires,
            keys: heard.keys,
            profile_at: heard.profile_at,
            refreshing: Cell::new(false),
            looked_at: Cell::new(0),
            alive_at: Cell::new(u64::MAX),
            fresh: RefCell::new(None),
            verdicts: RefCell::default(),
            assertions: assertion::Kept::default(),
        }
    }

    fn remember_refused(&self, token: &[u8], now: i64, by: RefusedBy) {
        let until = now + clock::span(self.settings.negative_ttl);
        self.refused.borrow_mut().insert(self.hasher.hash_one(token), (until, by));
    }

    fn refused_by(&self, token: &[u8], now: i64) -> Option<RefusedBy> {
        let refused = self.refused.borrow();
        if refused.is_empty() {
            return None;
        }
        refused.get(&self.hasher.hash_one(token)).filter(|(until, _)| now < *until).map(|(_, by)| *by)
    }
}

/// Two credentials of one request must speak of one identity.
fn agreeing(first: Option<Proved>, next: Proved) -> Result<Proved, Rejection> {
    let Some(first) = first else { return Ok(next) };
    let (one, other) = (&first.word.identity, &next.word.identity);
    let same_person = one.subject == other.subject && one.organization == other.organization;
    if one.kind == other.kind && same_person && one.client == other.client {
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
