//! Stytch's word about a session or an access token: read from an API answer, or from a claim.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::config::Secret;
use crate::identity::{Client, Factor, Identity, Kind, Organization, Profile, Session};
use crate::stytch::types::{Authenticated, Introspected};
use crate::stytch::{Credential, Vertical};

/// What is known of a session beyond one credential; shared by all that speak of it.
#[derive(Debug, Default)]
pub struct SessionState {
    revoked: AtomicBool,
    profile: ArcSwapOption<Learned>,
}

/// A profile and when it was learned, in unix milliseconds.
#[derive(Debug)]
pub struct Learned {
    pub profile: Arc<Profile>,
    pub at: i64,
}

impl SessionState {
    /// The profile last learned of this session, through whichever credential.
    #[must_use]
    pub fn profile(&self) -> Option<Arc<Learned>> {
        self.profile.load_full()
    }

    pub fn learn(&self, profile: Arc<Profile>, at: i64) {
        self.profile.store(Some(Arc::new(Learned { profile, at })));
    }

    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Relaxed);
    }

    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }
}

/// An answer of `sessions/authenticate` or of `oauth2/introspect`.
#[derive(Debug)]
pub struct Answer {
    pub identity: Arc<Identity>,
    /// Unix milliseconds at which the question was put: the word is at least that young.
    pub heard_at: i64,
    /// The session's credentials as of now; none where there is no session.
    pub renewed: Option<Renewed>,
    /// The roles that permit what was asked about; empty where nothing was.
    pub granting_roles: Vec<String>,
}

/// Credentials of a session, as Stytch returned them.
#[derive(Debug)]
pub struct Renewed {
    pub session_token: Secret,
    pub session_jwt: Secret,
}

impl Answer {
    /// `None` when the answer lacks what an identity needs.
    #[must_use]
    pub fn read(authenticated: Authenticated, vertical: Vertical, heard_at: i64) -> Option<Self> {
        let Authenticated { session, member, organization, session_token, session_jwt, verdict } =
            authenticated;
        let text = |name: &str| session.get(name).and_then(Value::as_str).map(str::to_owned);
        let (subject, of) = match vertical {
            Vertical::B2b => {
                let id = text("organization_id").filter(|id| !id.is_empty())?;
                let slug = text("organization_slug").unwrap_or_default();
                (text("member_id")?, Some(Organization { id, slug }))
            }
            Vertical::Consumer => (text("user_id")?, None),
        };
        let claims = match session.get("custom_claims") {
            Some(Value::Object(claims)) => claims.clone(),
            _ => Map::new(),
        };
        let identity = Identity {
            kind: Kind::Session,
            subject,
            organization: of,
            session: Some(read_session(to_raw_value(&session).ok()?)?),
            client: None,
            claims,
            profile: Some(Arc::new(Profile { person: member, organization })),
        };
        Some(Self {
            identity: Arc::new(identity),
            heard_at,
            renewed: Some(Renewed {
                session_token: Secret::new(session_token),
                session_jwt: Secret::new(session_jwt),
            }),
            granting_roles: verdict.map(|verdict| verdict.granting_roles).unwrap_or_default(),
        })
    }

    /// What introspection says of an active token. Custom claims are in the token alone. `None` when
    /// it is about somebody else than `asked` says. An answer may leave the organization unsaid, as
    /// Stytch's own examples do.
    #[must_use]
    pub fn introspected(told: Introspected, asked: &Credential, heard_at: i64) -> Option<Self> {
        let Credential::AccessToken { client_id, subject, organization_id, .. } = asked else { return None };
        let organization = read_organization(&told.organization);
        let same = organization.as_ref().is_none_or(|told| organization_id.as_ref() == Some(&told.id));
        if told.client_id != *client_id || told.sub != *subject || !same {
            return None;
        }
        let identity = Identity {
            kind: Kind::ConnectedApp,
            subject: told.sub,
            organization,
            session: None,
            client: Some(Client { id: told.client_id, scopes: scopes(&told.scope) }),
            claims: Map::new(),
            profile: None,
        };
        Some(Self { identity: Arc::new(identity), heard_at, renewed: None, granting_roles: Vec::new() })
    }
}

/// The identity of an access token, with those of its scopes that an answer about it names too.
pub(super) fn confirmed(token: &Identity, answer: &Identity) -> Identity {
    let mut identity = token.clone();
    if let Some(client) = &mut identity.client {
        let still = answer.client.as_ref().map_or(&[][..], |client| &client.scopes);
        client.scopes.retain(|scope| still.contains(scope));
    }
    identity
}

/// The words of a `scope` claim (RFC 6749 section 3.3).
pub(super) fn scopes(claim: &str) -> Vec<String> {
    claim.split_ascii_whitespace().map(str::to_owned).collect()
}

/// The organization claim of a token or an answer; `None` without an id.
pub(super) fn read_organization(claim: &Value) -> Option<Organization> {
    let text = |name| claim.get(name).and_then(Value::as_str);
    let id = text("organization_id").filter(|id| !id.is_empty())?;
    Some(Organization { id: id.to_owned(), slug: text("slug").unwrap_or_default().to_owned() })
}

/// What is read of a session. Texts and lists of another type than is expected are as good as none;
/// factors that are no list of objects, and fields that are repeated, make it unreadable.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    member_session_id: Value,
    #[serde(default)]
    session_id: Value,
    #[serde(default)]
    roles: Value,
    #[serde(default)]
    expires_at: Value,
    #[serde(default)]
    authentication_factors: Option<Vec<ToldFactor>>,
}

#[derive(Deserialize)]
struct ToldFactor {
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default)]
    last_authenticated_at: Value,
}

/// The session claim of a JWT, or the session object of an answer: they differ in the id's name.
/// `None` without an id.
pub(super) fn read_session(object: Box<RawValue>) -> Option<Session> {
    let told: Told = serde_json::from_str(object.get()).ok()?;
    let ids = [told.id, told.member_session_id, told.session_id];
    let id = ids.into_iter().find_map(text).filter(|id| !id.is_empty())?;
    let roles = match told.roles {
        Value::Array(roles) => roles.into_iter().filter_map(text).collect(),
        _ => Vec::new(),
    };
    let expires_at = match text(told.expires_at) {
        Some(at) => Some(at.parse::<Timestamp>().ok()?.as_second()),
        None => None,
    };
    let factors = told.authentication_factors.unwrap_or_default();
    let factors = factors.into_iter().filter_map(read_factor).collect();
    Some(Session { id, roles, factors, object, expires_at })
}

/// `None` without a type: such a one proves nothing.
fn read_factor(told: ToldFactor) -> Option<Factor> {
    let at = text(told.last_authenticated_at).and_then(|at| at.parse::<Timestamp>().ok());
    Some(Factor { kind: text(told.kind)?, last_authenticated_at: at.map(Timestamp::as_millisecond) })
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}
