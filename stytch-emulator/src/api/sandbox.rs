//! The tokens that test projects always accept, and whose they are. Their counterparts, which are
//! never found, need nothing here: nobody has them.

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

const EMAIL_ID: &str = "email-test-sandbox";
pub(super) const MAGIC_LINK: &str = "DOYoip3rvIMMW5lgItikFK-Ak1CfMsgjuiCyI7uuU94=";
pub(super) const OAUTH_TOKEN: &str = "hdPVZHHX0UoRa7hJTuuPHi1vlddffSnoweRbVFf5-H8g";
pub(super) const ADDRESS: &str = "sandbox@stytch.com";

impl State {
    /// The user whom the sandbox's links and tokens sign in, and the id of their address. They
    /// appear in the world when they first do.
    pub(super) fn sandbox_email_id(&mut self) -> String {
        let user = user();
        if self.world.user(&user.id).is_err() {
            self.world.users.push(user);
        }
        EMAIL_ID.into()
    }
}

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
        email: Some(Email { id: EMAIL_ID.into(), address: ADDRESS.into(), verified: true }),
        ..User::new()
    }
}
