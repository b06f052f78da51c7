//! Creating an organization, for whoever has proved an address (REFERENCE.md 7.4).
//!
//! What holds: it is done only where `signin.create_organizations` allows it, once for each proved
//! address, and never unasked.

use super::form::{self, Fields};
use super::login::Next;
use super::redirect::login_path;
use super::state::{Create, Step};
use super::texts::Key;
use super::{Desk, Trouble, choice, device, member};
use crate::identity::Kind;
use crate::stytch::types::Discovered;
use crate::telemetry::audit_log::{Event, Who};

/// Whether a link asks for it, and it may be.
pub(super) fn is_asked_for(desk: &Desk<'_>, query: &Fields<'_>) -> bool {
    desk.signin.create_organizations && query.get("create").is_some()
}

/// Where whoever is signed in proves the address again in order to create one; none where nobody
/// may. Stytch lets no session create.
pub(super) fn path(desk: &Desk<'_>, return_to: &str) -> Option<String> {
    let login = login_path(&desk.signin.base_path, return_to);
    let separator = if login.contains('?') { '&' } else { '?' };
    desk.signin.create_organizations.then(|| format!("{login}{separator}create"))
}

/// An address was proved that opens nothing, or by somebody who wants another organization.
pub(super) fn begin(desk: &Desk<'_>, found: Discovered) -> Next {
    let others = !choice::Choice::all(&found).is_empty();
    if !desk.signin.create_organizations {
        return Next::End(Key::NoOrganization, desk.spoken.get(Key::NoOrganizationText).to_owned());
    }
    found.intermediate_session_token.map_or(Next::Stale, |intermediate| named(intermediate, others))
}

/// From the choice among others.
pub(super) fn ask(desk: &Desk<'_>, intermediate: &str) -> Next {
    if !desk.signin.create_organizations {
        return Next::Stale;
    }
    named(intermediate.to_owned(), true)
}

fn named(intermediate: String, others: bool) -> Next {
    Next::Step(Step::Create(Create { intermediate, name: String::new(), slug: String::new(), others }), None)
}

/// Creates it, and lets its creator in.
pub(super) async fn create(desk: &Desk<'_>, asked: &Create, form: &Fields<'_>) -> Next {
    if !desk.signin.create_organizations {
        return Next::Stale;
    }
    let (name, slug) = (form.text("name"), form.text("slug").trim());
    let again = |notice| {
        // A state has to fit into a cookie, so what is far from right is not kept.
        let name = form::organization_name(name).unwrap_or_default().to_owned();
        let slug = Some(slug).filter(|slug| slug.len() <= 128 && !slug.contains(char::is_control));
        let asked = Create { name, slug: slug.unwrap_or_default().to_owned(), ..asked.clone() };
        Next::Step(Step::Create(asked), Some(notice))
    };
    let Some(name) = form::organization_name(name) else { return again(Key::InvalidName) };
    if !slug.is_empty() && form::organization(slug).is_none() {
        return again(Key::InvalidSlug);
    }
    let (client, minutes) = (device::client(desk), desk.signin.session_minutes);
    let slug_given = Some(slug).filter(|slug| !slug.is_empty());
    let call = client.organization_create(&asked.intermediate, name, slug_given, minutes);
    match desk.common.ask("b2b_discovery_organizations_create", call).await {
        Ok(login) => {
            let who = Who {
                kind: Some(Kind::Session.as_str()),
                subject: Some(login.member_id.clone()),
                organization_id: Some(login.organization.organization_id.clone()),
                ..Who::default()
            };
            desk.tell(Event::OrganizationCreated, who, "");
            member::after(desk, login, "discovery")
        }
        Err(Trouble::Refused(reason)) => {
            desk.audit(Event::OrganizationRefused, None, &reason);
            match reason.as_str() {
                "intermediate_session_not_found" | "invalid_session_token" => Next::Stale,
                "organization_slug_already_used" => again(Key::SlugTaken),
                "invalid_organization_slug" => again(Key::InvalidSlug),
                "invalid_organization_name"
                | "organization_name_missing"
                | "organization_name_includes_banned_words" => again(Key::InvalidName),
                _ => again(Key::CreateFailed),
            }
        }
        Err(trouble) => Next::Again(trouble),
    }
}
