//! `/session`: who am I, for scripts as JSON and for people as a page. No credential is in it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use super::redirect::login_path;
use super::{Desk, see_other};
use crate::access::authn::answer::Answer;
use crate::access::rejection::Rejection;
use crate::identity::Identity;
use crate::stytch::{Along, Vertical};

pub(super) async fn show(desk: &Desk<'_>) -> Result<super::Answer, Rejection> {
    let who = desk.who().await?;
    let Some(who) = who else {
        if desk.is_navigation() {
            let base = &desk.signin.base_path;
            return Ok(super::Answer::fine(see_other(&login_path(base, &format!("{base}/session")))));
        }
        return Err(desk.nobody());
    };
    let identity = &who.word.identity;
    if desk.is_navigation() {
        let asked = with_profile(desk).await;
        let identity = asked.as_ref().unwrap_or(identity);
        let (person, organization) = (person(identity), organization(identity));
        return Ok(desk.page(&desk.view().session(&person, organization.as_deref())));
    }
    let mut response =
        Response::new(Bytes::from(described(identity, desk.config.stytch.vertical).to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Cookie"));
    Ok(super::Answer::fine(response))
}

/// The same identity with names that a person knows, which a JWT does not carry. Where Stytch gives
/// none, the page does without.
async fn with_profile(desk: &Desk<'_>) -> Option<Arc<Identity>> {
    let credential = desk.limited().is_none().then(|| desk.credential())??;
    let along = Along::default();
    let call = desk.common.client.authenticate(&credential, &along);
    let answer = desk.common.ask("sessions_authenticate", call).await.ok()?;
    Some(Answer::read(answer, desk.config.stytch.vertical, desk.now)?.identity)
}

/// A text of the profile's objects, where the profile is known and has it.
fn of_person(identity: &Identity, name: &str) -> Option<String> {
    let profile = identity.profile.as_ref()?;
    profile.person.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn person(identity: &Identity) -> String {
    let address = of_person(identity, "email_address").or_else(|| {
        let emails = identity.profile.as_ref()?.person.get("emails")?.as_array()?;
        emails.first()?.get("email")?.as_str().map(str::to_owned)
    });
    address.unwrap_or_else(|| identity.subject.clone())
}

fn organization(identity: &Identity) -> Option<String> {
    let own = identity.organization.as_ref()?;
    let profile = identity.profile.as_ref().map(|profile| &profile.organization);
    let name = profile.and_then(|organization| organization.get("organization_name")?.as_str());
    let name = name.filter(|name| !name.is_empty());
    Some(name.unwrap_or(if own.slug.is_empty() { &own.id } else { &own.slug }).to_owned())
}

fn described(identity: &Identity, vertical: Vertical) -> Value {
    let mut fields = Map::new();
    let subject = match vertical {
        Vertical::B2b => "member_id",
        Vertical::Consumer => "user_id",
    };
    fields.insert(subject.to_owned(), json!(identity.subject));
    if let Some(organization) = &identity.organization {
        fields.insert("organization_id".to_owned(), json!(organization.id));
        fields.insert("organization_slug".to_owned(), json!(organization.slug));
    }
    if let Some(session) = &identity.session {
        let expires_at = session.expires_at.and_then(|at| jiff::Timestamp::from_second(at).ok());
        let factors: Vec<&str> = session.factors.iter().map(|factor| factor.kind.as_str()).collect();
        fields.insert("session_id".to_owned(), json!(session.id));
        fields.insert("roles".to_owned(), json!(session.roles));
        fields.insert("factors".to_owned(), json!(factors));
        fields.insert("expires_at".to_owned(), json!(expires_at.map(|at| at.to_string())));
    }
    Value::Object(fields)
}
