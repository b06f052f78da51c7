//! Sessions: who is signed in, since when, until when, and by what proof.
//!
//! A session keeps no role and no name: they are looked up in the world each time it is shown, so
//! a change to a member is seen at the very next authenticate.

mod factor;

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

pub(crate) use factor::{Factor, Holder};

use crate::clock::minutes_after;
use crate::error::Refusal;
use crate::ids;

const SHORTEST_MINUTES: i64 = 5;
const LONGEST_MINUTES: i64 = 527_040;
const CUSTOM_CLAIMS_LIMIT: usize = 4096;
const REGISTERED_CLAIMS: [&str; 7] = ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    Member(String),
    User(String),
}

#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) subject: Subject,
    pub(crate) started_at: Timestamp,
    pub(crate) last_accessed_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) factors: Vec<Factor>,
    pub(crate) custom_claims: Map<String, Value>,
}

impl Session {
    pub(crate) fn new(subject: Subject, factors: Vec<Factor>, minutes: u32, now: Timestamp) -> Self {
        let kind = match subject {
            Subject::Member(_) => "member-session",
            Subject::User(_) => "session",
        };
        Self {
            id: ids::fresh(kind),
            token: ids::token(),
            subject,
            started_at: now,
            last_accessed_at: now,
            expires_at: minutes_after(now, minutes),
            factors,
            custom_claims: Map::new(),
        }
    }

    /// The same step twice is one factor, proved anew.
    pub(crate) fn add_factor(&mut self, factor: Factor) {
        self.factors.retain(|one| !one.is_like(&factor));
        self.factors.push(factor);
    }
}

/// All living sessions. Expired ones are dropped when they are next looked at.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_id: HashMap<String, Session>,
    id_by_token: HashMap<String, String>,
}

impl Sessions {
    pub(crate) fn insert(&mut self, session: Session) {
        self.id_by_token.insert(session.token.clone(), session.id.clone());
        self.by_id.insert(session.id.clone(), session);
    }

    pub(crate) fn by_id(&mut self, id: &str, now: Timestamp) -> Result<&mut Session, Refusal> {
        if self.by_id.get(id).is_some_and(|session| session.expires_at <= now) {
            self.remove(id);
        }
        self.by_id.get_mut(id).ok_or(Refusal::SessionNotFound)
    }

    pub(crate) fn by_token(&mut self, token: &str, now: Timestamp) -> Result<&mut Session, Refusal> {
        let id = self.id_by_token.get(token).ok_or(Refusal::SessionNotFound)?.clone();
        self.by_id(&id, now)
    }

    /// The subject's living sessions, the oldest first.
    pub(crate) fn of(&self, subject: &Subject, now: Timestamp) -> Vec<&Session> {
        let living = |session: &&Session| session.subject == *subject && session.expires_at > now;
        let mut sessions: Vec<_> = self.by_id.values().filter(living).collect();
        sessions.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
        sessions
    }

    pub(crate) fn remove(&mut self, id: &str) {
        if let Some(session) = self.by_id.remove(id) {
            self.id_by_token.remove(&session.token);
        }
    }

    pub(crate) fn remove_all_of(&mut self, subject: &Subject) {
        self.by_id.retain(|_, session| session.subject != *subject);
        self.id_by_token.retain(|_, id| self.by_id.contains_key(id));
    }
}

/// A session's length as a caller asked for it.
pub(crate) fn minutes(asked: i64) -> Result<u32, Refusal> {
    match u32::try_from(asked) {
        Ok(minutes) if (SHORTEST_MINUTES..=LONGEST_MINUTES).contains(&asked) => Ok(minutes),
        _ => Err(Refusal::InvalidSessionDurationMinutes),
    }
}

/// Custom claims after a caller's changes: values set, `null` deletes, and so on inside.
pub(crate) fn patched_claims(
    claims: &Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, Refusal> {
    for name in patch.keys() {
        if name.starts_with("https://stytch.com/") {
            return Err(Refusal::StytchClaimsInCustomClaims);
        }
        if REGISTERED_CLAIMS.contains(&name.as_str()) {
            return Err(Refusal::ReservedClaimsInCustomClaims);
        }
    }
    let mut patched = claims.clone();
    merge(&mut patched, patch);
    let size = serde_json::to_vec(&patched).map_or(usize::MAX, |text| text.len());
    if size > CUSTOM_CLAIMS_LIMIT {
        return Err(Refusal::CustomClaimsTooLarge);
    }
    Ok(patched)
}

fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(inner) => {
                let slot = target.entry(name).or_insert_with(|| Value::Object(Map::new()));
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(slot) = slot {
                    merge(slot, inner);
                }
            }
            value => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
}
