//! What Stytch says a session may do, asked with the session itself (REFERENCE.md 2.2).
//!
//! What holds: a verdict counts for what was asked, and no longer than Stytch's word about the
//! session does; its roles are Stytch's; that a session may not says nothing against the session.

use std::rc::Rc;

use http::HeaderValue;

use super::answer::Answer;
use super::checker::{NotPermitted, Verdict};
use super::remote::{question, token_in};
use super::word::Word;
use super::{Authn, Proved, REFRESH_AT, Verification};
use crate::access::authz::permission::denied;
use crate::access::authz::rules::Permission;
use crate::access::credential::{Presented, Token};
use crate::access::rejection::{Code, Rejection};
use crate::clock;
use crate::identity::template;
use crate::stytch::types::AuthorizationCheck;

/// That a session may do something. Remembered with its word.
#[derive(Clone)]
pub(super) struct Granted {
    permission: Permission,
    /// As `X-Stytch-Granting-Roles` has them; none where Stytch names none.
    roles: Option<HeaderValue>,
    /// Unix milliseconds.
    heard_at: i64,
    is_refreshing: bool,
}

impl Authn {
    /// The roles that grant it, where Stytch said so lately enough.
    pub(in crate::access) fn known_to_permit(
        self: &Rc<Self>,
        permission: &Permission,
        proved: &Proved,
        presented: &Presented<'_>,
        now: i64,
    ) -> Option<Option<HeaderValue>> {
        let granted = proved.word.granted(permission)?;
        if now >= granted.heard_at.saturating_add(clock::span(self.settings.max_staleness)) {
            return None;
        }
        self.permits_ahead(&granted, &proved.word, presented, now);
        Some(granted.roles)
    }

    /// Asks Stytch whether a session may.
    ///
    /// # Errors
    /// `permission_denied`, `stytch_unavailable`, and `invalid_credential` where the session is over.
    pub(in crate::access) async fn permits(
        self: &Rc<Self>,
        permission: &Permission,
        proved: &mut Proved,
        presented: &Presented<'_>,
        now: i64,
    ) -> Result<Option<HeaderValue>, Rejection> {
        let staleness = clock::span(self.settings.max_staleness);
        let known = proved.word.granted(permission);
        let token = self.token_of(&proved.word, presented);
        let asked = self.shared.checker.ask_whether(
            question(token, Some(&proved.word)),
            check(permission, &proved.word),
            now - staleness + 1,
        );
        proved.verification = Verification::Stytch;
        match asked.await {
            Ok(Verdict::Live(answer)) => {
                proved.word = self.take_verdict(token, &answer, &proved.word, permission);
                if clock::unix_millis() >= proved.word.session_ends {
                    return Err(Rejection::new(Code::InvalidCredential, "the session has ended"));
                }
                Ok(template::list(&answer.granting_roles))
            }
            Err(NotPermitted) => {
                proved.word.no_longer(permission);
                Err(denied("Stytch says that the session may not"))
            }
            Ok(Verdict::Refused) => {
                self.refused_by_stytch(token, Some(&proved.word), now);
                Err(Rejection::new(Code::InvalidCredential, "Stytch refuses the session"))
            }
            Ok(Verdict::Unavailable { retry_after }) => {
                let grace = clock::span(self.settings.outage_grace);
                match known.filter(|granted| now - granted.heard_at < staleness.saturating_add(grace)) {
                    Some(granted) if proved.word.is_alive(now) => {
                        proved.verification = Verification::Stale;
                        Ok(granted.roles)
                    }
                    _ => Err(Rejection::new(Code::StytchUnavailable, "Stytch could not be asked")
                        .retry_after(retry_after)),
                }
            }
        }
    }

    /// Asks again before what is known gets too old, so that no request has to wait.
    fn permits_ahead(
        self: &Rc<Self>,
        granted: &Granted,
        word: &Rc<Word>,
        presented: &Presented<'_>,
        now: i64,
    ) {
        let staleness = clock::span(self.settings.max_staleness) as f64;
        let is_time = now >= granted.heard_at.saturating_add((staleness * REFRESH_AT) as i64);
        if !is_time || granted.is_refreshing || !self.settings.refresh_ahead {
            return;
        }
        word.grant(Granted { is_refreshing: true, ..granted.clone() });
        let (this, word, permission) = (Rc::clone(self), Rc::clone(word), granted.permission.clone());
        let question = question(self.token_of(&word, presented), Some(&word));
        let not_before = granted.heard_at + 1;
        tokio::task::spawn_local(async move {
            let asked = question.clone();
            let check = check(&permission, &word);
            match this.shared.checker.ask_whether(question, check, not_before).await {
                Ok(Verdict::Live(answer)) => {
                    this.take_verdict(token_in(&asked), &answer, &word, &permission);
                }
                Err(NotPermitted) => word.no_longer(&permission),
                Ok(Verdict::Refused) => {
                    this.refused_by_stytch(token_in(&asked), Some(&word), clock::unix_millis());
                }
                Ok(Verdict::Unavailable { retry_after }) => {
                    tokio::time::sleep(retry_after).await;
                    if let Some(granted) = word.granted(&permission) {
                        word.grant(Granted { is_refreshing: false, ..granted });
                    }
                }
            }
        });
    }

    /// An answer that says what a session may is a word about the session as well.
    fn take_verdict(
        &self,
        token: Token<'_>,
        answer: &Answer,
        known: &Rc<Word>,
        permission: &Permission,
    ) -> Rc<Word> {
        let is_newer = answer.heard_at > known.heard_at;
        let newer = is_newer.then(|| self.remember_answer(token, answer, Some(known)).ok()).flatten();
        if let Some(word) = &newer {
            let known = known.verdicts.borrow();
            known.iter().for_each(|granted| word.grant(Granted { is_refreshing: false, ..granted.clone() }));
        }
        let word = newer.unwrap_or_else(|| Rc::clone(known));
        word.grant(Granted {
            permission: permission.clone(),
            roles: template::list(&answer.granting_roles),
            heard_at: answer.heard_at,
            is_refreshing: false,
        });
        word
    }

    /// The credential that a word is about. Where another word has taken its place meanwhile, it is
    /// about the same session.
    fn token_of<'h>(&self, word: &Rc<Word>, presented: &Presented<'h>) -> Token<'h> {
        let session = |word: &Word| word.identity.session.as_ref().map(|session| session.id.clone());
        let is_of = |token: Token<'_>| {
            self.remembered(token.as_bytes())
                .is_some_and(|known| Rc::ptr_eq(&known, word) || session(&known) == session(word))
        };
        let found = presented.iter().find(|credential| presented.len() == 1 || is_of(credential.token));
        found.unwrap_or(&presented[0]).token
    }
}

fn check(permission: &Permission, word: &Word) -> AuthorizationCheck {
    AuthorizationCheck {
        organization_id: word.identity.organization.as_ref().map(|organization| organization.id.clone()),
        resource_id: permission.resource.clone(),
        action: permission.action.clone(),
    }
}

impl Word {
    fn granted(&self, permission: &Permission) -> Option<Granted> {
        self.verdicts.borrow().iter().find(|granted| granted.permission == *permission).cloned()
    }

    /// As many are kept as routes ask for different ones.
    fn grant(&self, granted: Granted) {
        self.no_longer(&granted.permission);
        self.verdicts.borrow_mut().push(granted);
    }

    fn no_longer(&self, permission: &Permission) {
        self.verdicts.borrow_mut().retain(|granted| granted.permission != *permission);
    }
}
