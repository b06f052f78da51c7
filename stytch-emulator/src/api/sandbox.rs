//! The session token that test projects always accept. Its counterpart, which they never do, needs
//! nothing here: it is a well-formed token that nobody has.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, json};

use super::Reply;
use crate::jwt;
use crate::keys::Key;
use crate::session::{Factor, Holder, Session, Subject};
use crate::state::State;
use crate::wire;
use crate::world::{Email, User};

pub(super) const SESSION_TOKEN: &str = "WJtR5BCy38Szd5AfoDpf0iqFKEt4EE5JhjlWUY7l3FtY";

pub(super) fn authenticated(state: &State) -> Reply {
    let now = state.now();
    let user = user();
    let started_at = Timestamp::constant(1_630_111_318, 935_673_000);
    let session = Session {
        id: "session-test-fe6c042b-6286-479f-8a4f-b046a6c46509".into(),
        token: SESSION_TOKEN.into(),
        subject: Subject::User(user.id.clone()),
        started_at,
        last_accessed_at: now,
        expires_at: now.saturating_add(SignedDuration::from_hours(1)).unwrap_or(now),
        factors: vec![Factor::email("magic_link", Holder::User(&user), started_at)],
        custom_claims: Map::new(),
    };
    let key = state.keys.get(Key::Current);
    let claims = wire::user_claims(&session, &user, &state.world.project_id);
    Ok(json!({
        "session": wire::user_session(&session, &user),
        "session_token": SESSION_TOKEN,
        "session_jwt": jwt::sign(&jwt::header(key), &claims, key),
        "user": wire::user(&user),
        "verdict": null,
    })
    .into())
}

fn user() -> User {
    User {
        id: "user-test-e3795c81-f849-4167-bfda-e4a6e9c280fd".into(),
        email: Some(Email {
            id: "email-test-sandbox".into(),
            address: "sandbox@stytch.com".into(),
            verified: true,
        }),
        ..User::new()
    }
}
