//! What only Stytch can tell: a credential that could be real, and whose word is unknown or too old.
//!
//! What holds: an answer counts for the credential it was asked about and what it names alone; it
//! makes the word of an access token younger and never prolongs the token; what Stytch ends is ended
//! for every worker.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::answer::{self, Answer, Renewed};
use super::checker::Verdict;
use super::memory::{Key, Sought};
use super::word::{Fresh, Heard, Word};
use super::{Authn, Proved, RETRY_AFTER, RefusedBy, Verification, rate_limited};
use crate::access::credential::{Credential, Token};
use crate::access::rejection::{Code, Rejection};
use crate::clock;
use crate::identity::Kind;
use crate::metrics::LocalFallback;
use crate::stytch;

impl Authn {
    /// Asks Stytch about a credential that could be real.
    pub(super) async fn ask(
        self: &Rc<Self>,
        credential: &Credential<'_>,
        known: Option<Rc<Word>>,
        client: IpAddr,
        now: i64,
    ) -> Result<Proved, Rejection> {
        let token = credential.token;
        if known.is_none()
            && let Some(wait) = self.shared.limiter.exceeded(client)
        {
            return Err(rate_limited(wait));
        }
        if let (Token::Jwt(_), Some(word)) = (token, &known) {
            self.metrics.local_fallback(self.why_not_locally(word, now));
        }
        match self.latest_verdict(token, known.as_deref(), now).await {
            Verdict::Live(answer) => {
                let word = self.remember_answer(token, &answer, known.as_deref())?;
                let source = credential.source;
                if clock::unix_millis() >= word.session_ends {
                    return Err(Rejection::new(Code::InvalidCredential, "the session has ended"));
                }
                Ok(Proved { word, verification: Verification::Stytch, source })
            }
            Verdict::Refused => {
                self.refused_by_stytch(token, known.as_deref(), now);
                Err(Rejection::new(Code::InvalidCredential, "Stytch refuses the credential"))
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

    /// Stytch's verdict as of `now`. Whoever shares a call that was under way may get a word from
    /// before a change that was told of before the request came: then it is asked once more.
    async fn latest_verdict(&self, token: Token<'_>, known: Option<&Word>, now: i64) -> Verdict {
        let changed = |identity| self.shared.changes.latest(identity).unwrap_or(i64::MIN);
        // A word that is as old as it may be is too old: see `passes`.
        let not_before = now - clock::span(self.settings.max_staleness) + 1;
        let not_before = not_before.max(known.map_or(i64::MIN, |word| changed(&word.identity)));
        let prolong = known.and_then(|word| self.prolongs(word, now));
        let verdict = self.shared.checker.ask(question(token, known), prolong, not_before).await;
        let Verdict::Live(answer) = &verdict else { return verdict };
        let changed_at = changed(&answer.identity);
        if answer.heard_at >= changed_at.min(now) {
            return verdict;
        }
        self.shared.checker.ask(question(token, known), None, changed_at).await
    }

    /// By how many minutes the session of a word is to be prolonged when Stytch is asked about it.
    fn prolongs(&self, word: &Word, now: i64) -> Option<u32> {
        self.sliding.filter(|_| now >= word.slide_from).map(|sliding| sliding.minutes)
    }

    fn why_not_locally(&self, word: &Word, now: i64) -> LocalFallback {
        if now >= word.heard_at.saturating_add(clock::span(self.settings.max_staleness)) {
            LocalFallback::Stale
        } else if self.is_latest(word) {
            LocalFallback::Expired
        } else {
            LocalFallback::Changed
        }
    }

    pub(super) fn refresh_ahead(self: &Rc<Self>, word: &Rc<Word>, token: Token<'_>, now: i64) {
        if now < word.refresh_from || word.refreshing.get() {
            return;
        }
        let prolong = self.prolongs(word, now);
        if prolong.is_none() && !self.settings.refresh_ahead {
            return;
        }
        word.refreshing.set(true);
        let (this, word, question) = (Rc::clone(self), Rc::clone(word), question(token, Some(word)));
        tokio::task::spawn_local(async move {
            let asked = question.clone();
            let token = token_in(&asked);
            match this.shared.checker.ask(question, prolong, word.heard_at + 1).await {
                Verdict::Live(answer) => drop(this.remember_answer(token, &answer, Some(&word))),
                Verdict::Refused => this.refused_by_stytch(token, Some(&word), clock::unix_millis()),
                Verdict::Unavailable { retry_after } => {
                    tokio::time::sleep(retry_after).await;
                    word.refreshing.set(false);
                }
            }
        });
    }

    /// Takes down an answer about a credential, of which so much was known before.
    pub(super) fn remember_answer(
        &self,
        token: Token<'_>,
        answer: &Answer,
        known: Option<&Word>,
    ) -> Result<Rc<Word>, Rejection> {
        let keys = known.map_or(0, |word| word.keys);
        let word = match (&answer.renewed, known) {
            (Some(renewed), _) => self.session_word(token, answer, renewed, keys),
            (None, Some(known)) => self.confirmed_word(answer, known),
            (None, None) => {
                let rejection = Rejection::new(Code::StytchUnavailable, "an answer about an unknown token");
                return Err(rejection.retry_after(RETRY_AFTER));
            }
        };
        let word = Rc::new(word);
        self.known.borrow_mut().insert(Key(token.as_bytes().into()), Rc::clone(&word));
        Ok(word)
    }

    /// An answer about a session is remembered under the opaque token it names as well, which
    /// proves the same.
    fn session_word(&self, token: Token<'_>, answer: &Answer, renewed: &Renewed, keys: u64) -> Word {
        let identity = &answer.identity;
        let state = self.shared.registry.state(identity, &text(token.as_bytes()));
        if let Some(profile) = &identity.profile {
            state.learn(Arc::clone(profile), answer.heard_at);
        }
        let heard = Heard { at: answer.heard_at, expires: i64::MAX, keys, profile_at: answer.heard_at };
        let same = renewed.session_token.expose().as_bytes();
        if same != token.as_bytes() {
            let word = self.word(Arc::clone(identity), Arc::clone(&state), Heard { keys: 0, ..heard });
            self.known.borrow_mut().insert(Key(same.into()), Rc::new(word));
        }
        let word = self.word(Arc::clone(identity), state, heard);
        word.fresh.replace(Some(Box::new(Fresh {
            session_token: renewed.session_token.clone(),
            session_jwt: renewed.session_jwt.clone(),
            expires_at: identity.session.as_ref().and_then(|session| session.expires_at),
        })));
        word
    }

    /// An answer about an access token makes its word younger, and never prolongs the token.
    fn confirmed_word(&self, answer: &Answer, known: &Word) -> Word {
        let identity = answer::confirmed(&known.identity, &answer.identity);
        let heard = Heard {
            at: answer.heard_at,
            expires: known.session_ends,
            keys: known.keys,
            profile_at: known.profile_at,
        };
        self.word(Arc::new(identity), Arc::clone(&known.state), heard)
    }

    /// Ends what the credential stands for, here and wherever else it is known.
    pub(super) fn refused_by_stytch(&self, token: Token<'_>, known: Option<&Word>, now: i64) {
        if let Some(word) = known {
            self.shared.registry.revoke(&word.identity, &text(token.as_bytes()));
        }
        self.known.borrow_mut().remove(&Sought(token.as_bytes()));
        self.remember_refused(token.as_bytes(), now, RefusedBy::Stytch);
    }
}

/// What Stytch is asked about a credential, of which so much is known.
pub(super) fn question(token: Token<'_>, known: Option<&Word>) -> stytch::Credential {
    let app = known.map(|word| &*word.identity).filter(|identity| identity.kind == Kind::ConnectedApp);
    let of_app = app.and_then(|identity| Some((identity, identity.client.as_ref()?)));
    match (token, of_app) {
        (Token::Jwt(jwt), Some((identity, client))) => stytch::Credential::AccessToken {
            token: text(jwt).into_owned(),
            client_id: client.id.clone(),
            subject: identity.subject.clone(),
            organization_id: identity.organization.as_ref().map(|organization| organization.id.clone()),
        },
        (Token::Jwt(jwt), None) => stytch::Credential::Jwt(text(jwt).into_owned()),
        (Token::Opaque(token), _) => stytch::Credential::Token(text(token).into_owned()),
    }
}

/// What Stytch is asked of a session by itself.
pub(in crate::access) fn session_question(token: Token<'_>) -> stytch::Credential {
    question(token, None)
}

/// The credential that a question is about.
pub(super) fn token_in(question: &stytch::Credential) -> Token<'_> {
    match question {
        stytch::Credential::Token(token) => Token::Opaque(token.as_bytes()),
        stytch::Credential::Jwt(jwt) | stytch::Credential::AccessToken { token: jwt, .. } => {
            Token::Jwt(jwt.as_bytes())
        }
    }
}

/// Only tokens whose bytes were checked get here, so nothing is lost.
fn text(token: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(token)
}
