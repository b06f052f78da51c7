//! Access tokens: what clients carry instead of sessions.
//!
//! They are JWTs under the same keys, audience and header as session JWTs, so only their claims
//! tell them apart: neither kind has the session claim, and only a Connected App's names a
//! `client_id` beside the person it acts for.

use serde_json::{Map, Value, json};

use crate::error::Refusal;
use crate::grant::Grant;
use crate::keys::Key;
use crate::session::Subject;
use crate::state::State;
use crate::world::{M2mClient, MemberStatus};
use crate::{ids, jwt};

/// How long a machine's token is good for.
pub(crate) const M2M_SECONDS: i64 = 3600;

impl State {
    /// The token of a client that acts for itself.
    pub(crate) fn m2m_token(
        &self,
        client: &M2mClient,
        issuer: &str,
        scopes: &[String],
        custom_claims: &Map<String, Value>,
    ) -> String {
        let claims = self.access_claims(&client.id, issuer, scopes, M2M_SECONDS);
        self.signed(custom_claims.clone(), claims)
    }

    /// The token of an app that acts for a person, and how many seconds it is good for.
    pub(crate) fn app_token(
        &mut self,
        grant: &Grant,
        issuer: &str,
        custom_claims: &Map<String, Value>,
    ) -> Result<(String, i64), Refusal> {
        let app = self.world.connected_app(&grant.client_id).ok_or(Refusal::ConnectedAppNotFound)?;
        let seconds = i64::from(app.access_token_expiry_minutes) * 60;
        let audience = app.access_token_custom_audience.clone();
        let person = self.person(&grant.subject)?;
        let mut claims = self.access_claims(&person.id, issuer, &grant.scopes, seconds);
        if let Some(audience) = audience {
            claims.insert("aud".into(), json!([self.world.project_id, audience]));
        }
        claims.insert("client_id".into(), grant.client_id.clone().into());
        let id = ids::fresh("access-token");
        claims.insert("jti".into(), id.clone().into());
        claims.extend(person.organization);
        self.grants.issued(&id, grant);
        Ok((self.signed(custom_claims.clone(), claims), seconds))
    }

    /// Tells the app, and nobody else, who has signed in.
    pub(crate) fn id_token(&self, grant: &Grant, issuer: &str, seconds: i64) -> Result<String, Refusal> {
        let mut claims = self.about(&grant.subject, &grant.scopes)?;
        let issued = self.now().as_second();
        claims.extend([
            ("iss".into(), json!(issuer)),
            ("aud".into(), json!([grant.client_id])),
            ("iat".into(), json!(issued)),
            ("exp".into(), json!(issued + seconds)),
        ]);
        claims.extend(grant.nonce.iter().map(|nonce| ("nonce".into(), json!(nonce))));
        Ok(self.signed(Map::new(), claims))
    }

    /// What the scopes let an app know about a person, under the names OpenID Connect gives it.
    pub(crate) fn about(&self, subject: &Subject, scopes: &[String]) -> Result<Map<String, Value>, Refusal> {
        let person = self.person(subject)?;
        let mut claims = Map::from_iter([("sub".into(), json!(person.id))]);
        claims.extend(person.organization);
        for scope in scopes {
            match scope.as_str() {
                "email" => claims.extend(person.email.clone()),
                "phone" => claims.extend(person.phone.clone()),
                "profile" => claims.extend([("name".into(), json!(person.name))]),
                _ => {}
            }
        }
        Ok(claims)
    }

    /// The claims of an access token of an app that is still good: not expired, not revoked, its
    /// app and its person still there.
    pub(crate) fn living_app_token(&self, token: &str) -> Option<Map<String, Value>> {
        let claims = jwt::read(token, &self.keys)?;
        let expires_at = claims.get("exp")?.as_i64()?;
        let living = expires_at > self.now().as_second()
            && self.grants.is_living(claims.get("jti")?.as_str()?)
            && self.world.connected_app(claims.get("client_id")?.as_str()?).is_some()
            && self.person(&subject_of(claims.get("sub")?.as_str()?)).is_ok();
        living.then_some(claims)
    }

    fn access_claims(
        &self,
        subject: &str,
        issuer: &str,
        scopes: &[String],
        seconds: i64,
    ) -> Map<String, Value> {
        let issued = self.now().as_second();
        Map::from_iter([
            ("sub".into(), json!(subject)),
            ("iss".into(), json!(issuer)),
            ("aud".into(), json!([self.world.project_id])),
            ("scope".into(), json!(scopes.join(" "))),
            ("iat".into(), json!(issued)),
            ("nbf".into(), json!(issued)),
            ("exp".into(), json!(issued + seconds)),
        ])
    }

    /// Signs custom claims together with the token's own, which win.
    fn signed(&self, mut custom: Map<String, Value>, own: Map<String, Value>) -> String {
        custom.extend(own);
        let key = self.keys.get(Key::Current);
        jwt::sign(&jwt::header(key), &Value::Object(custom), key)
    }

    fn person(&self, subject: &Subject) -> Result<Person, Refusal> {
        match subject {
            Subject::Member(id) => {
                let member = self.world.member(id)?;
                if member.status == MemberStatus::Deleted {
                    return Err(Refusal::MemberNotFound);
                }
                let organization = self.world.organization(&member.organization_id)?;
                let claim = json!({ "organization_id": organization.id, "slug": organization.slug });
                let phone = member.mfa.phone.as_ref();
                Ok(Person {
                    id: member.id.clone(),
                    name: member.name.clone(),
                    email: email_claims(&member.email_address, member.email_address_verified),
                    phone: phone.map(|one| phone_claims(&one.number, one.verified)).unwrap_or_default(),
                    organization: Map::from_iter([(jwt::ORGANIZATION_CLAIM.into(), claim)]),
                })
            }
            Subject::User(id) => {
                let user = self.world.user(id)?;
                let (email, phone) = (user.email.as_ref(), user.phone.as_ref());
                Ok(Person {
                    id: user.id.clone(),
                    name: user.name.clone().unwrap_or_default(),
                    email: email.map(|one| email_claims(&one.address, one.verified)).unwrap_or_default(),
                    phone: phone.map(|one| phone_claims(&one.number, one.verified)).unwrap_or_default(),
                    organization: Map::new(),
                })
            }
        }
    }
}

/// Somebody an app acts for, each part as claims.
struct Person {
    id: String,
    name: String,
    email: Map<String, Value>,
    phone: Map<String, Value>,
    organization: Map<String, Value>,
}

/// Whom a token is about: the two verticals' ids begin differently.
pub(crate) fn subject_of(id: &str) -> Subject {
    match id.starts_with("user-") {
        true => Subject::User(id.into()),
        false => Subject::Member(id.into()),
    }
}

fn email_claims(address: &str, verified: bool) -> Map<String, Value> {
    Map::from_iter([("email".into(), json!(address)), ("email_verified".into(), json!(verified))])
}

fn phone_claims(number: &str, verified: bool) -> Map<String, Value> {
    Map::from_iter([
        ("phone_number".into(), json!(number)),
        ("phone_number_verified".into(), json!(verified)),
    ])
}
