//! Sessions that go on while they are used (`session.sliding`).
//!
//! What holds: only a request that carries the session prolongs it, and only once less than half of
//! the time it would be given is left; so a session is prolonged at most once in that time, however
//! busy it is. A session in which somebody impersonates another ends when Stytch said it would.

use crate::identity::Identity;

/// Between two attempts for one credential, in milliseconds: Stytch may refuse to go on longer.
pub(super) const PAUSE: i64 = 60_000;
const IMPERSONATED: &str = "impersonated";

/// How far an active session is prolonged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sliding {
    pub(super) minutes: u32,
}

impl Sliding {
    /// Unix milliseconds from which on a session is prolonged; never for some.
    pub(super) fn due_from(self, identity: &Identity) -> i64 {
        match &identity.session {
            Some(session) if !session.has_factor(IMPERSONATED) => {
                let half = i64::from(self.minutes) * 30_000;
                session.expires_at.map_or(i64::MAX, |ends| ends.saturating_mul(1000).saturating_sub(half))
            }
            _ => i64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;
    use serde_json::value::RawValue;

    use super::*;
    use crate::identity::{Factor, Kind, Session};

    fn of(factors: &[&str], expires_at: Option<i64>) -> Identity {
        let factor = |kind: &&str| Factor { kind: (*kind).to_owned(), last_authenticated_at: None };
        let factors = factors.iter().map(factor).collect();
        let id = "member-session-test-1".to_owned();
        Identity {
            kind: Kind::Session,
            subject: "member-test-1".to_owned(),
            organization: None,
            session: Some(Session {
                id,
                roles: Vec::new(),
                factors,
                object: RawValue::NULL.to_owned(),
                expires_at,
            }),
            client: None,
            claims: Map::new(),
            profile: None,
        }
    }

    #[test]
    fn in_the_second_half_and_never_for_impersonators() {
        let sliding = Sliding { minutes: 60 };
        assert_eq!(sliding.due_from(&of(&["email_otp"], Some(10_000))), (10_000 - 1800) * 1000);
        assert_eq!(sliding.due_from(&of(&["email_otp"], None)), i64::MAX);
        assert_eq!(sliding.due_from(&of(&["impersonated"], Some(10_000))), i64::MAX);
        assert_eq!(sliding.due_from(&Identity { session: None, ..of(&[], None) }), i64::MAX);
    }
}
