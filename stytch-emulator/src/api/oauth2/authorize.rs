//! `GET …/oauth2/authorize`: the page where a person lets an app act for them.
//!
//! At Stytch this page is the customer's own. Here it asks who to be, which is consent enough;
//! `as=ADDRESS` in the query answers at once, with `organization=SLUG` where an address is in
//! several. A request that names no known app, or a place that is not the app's, is never answered
//! with a redirect.

use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use url::{Url, form_urlencoded};

use super::metadata::STANDARD_SCOPES;
use super::register::is_loopback;
use super::{Call, redirect};
use crate::error::OAuth2Error;
use crate::grant::Grant;
use crate::page::{self, Choice};
use crate::pkce;
use crate::session::Subject;
use crate::state::{Shared, State};
use crate::world::{ConnectedApp, MemberStatus, Role};

const USUAL_SCOPES: [&str; 3] = ["openid", "profile", "email"];

pub(super) async fn answer(Extract(shared): Extract<Shared>, call: Call) -> Response {
    let state = &mut *shared.lock();
    let (app, redirect_url) = match app_and_redirect_url(state, &call) {
        Ok(found) => found,
        Err(error) => return error.into_response(),
    };
    let outcome = asked_scopes(state, &app, &call).and_then(|scopes| match call.field("as") {
        None => Ok(None),
        Some(address) => {
            let subject = somebody(state, address, call.field("organization"))?;
            let scopes = state.grantable(&subject, scopes);
            let nonce = call.field("nonce").map(str::to_owned);
            let grant = Grant { nonce, ..Grant::new(&app.id, subject, scopes) };
            let challenge = call.field("code_challenge").map(str::to_owned);
            Ok(Some(state.authorization_code(grant, redirect_url.as_str(), challenge)))
        }
    });
    let outcome = match outcome {
        Ok(None) => return choose(state, &app, &call),
        Ok(Some(code)) => vec![("code", code)],
        Err(error) => vec![("error", error.name.into()), ("error_description", error.description)],
    };
    redirected(redirect_url, outcome, &call)
}

/// Back to the app, which recognises its own `state` and the issuer (RFC 9207).
fn redirected(mut url: Url, outcome: Vec<(&str, String)>, call: &Call) -> Response {
    let told = call.field("state").map(|state| ("state", state.to_owned()));
    url.query_pairs_mut().extend_pairs(outcome).extend_pairs(told).append_pair("iss", &call.issuer);
    redirect(url.as_str())
}

fn app_and_redirect_url(state: &State, call: &Call) -> Result<(ConnectedApp, Url), OAuth2Error> {
    let app = state.world.connected_app(call.required("client_id")?);
    let app = app.ok_or_else(OAuth2Error::invalid_client)?;
    let wanted = match (call.field("redirect_uri"), app.redirect_urls.as_slice()) {
        (Some(wanted), _) => wanted,
        (None, [only]) => only,
        (None, _) => call.required("redirect_uri")?,
    };
    let foreign = || OAuth2Error::invalid_request("redirect_uri is not one of the app's");
    let url = Url::parse(wanted).map_err(|_| foreign())?;
    let known = app.redirect_urls.iter().any(|one| one == wanted || is_same_but_port(one, &url));
    if known { Ok((app.clone(), url)) } else { Err(foreign()) }
}

/// Native apps take whatever loopback port is free (RFC 8252, section 7.3).
fn is_same_but_port(registered: &str, wanted: &Url) -> bool {
    let Ok(mut registered) = Url::parse(registered) else { return false };
    is_loopback(wanted) && registered.set_port(wanted.port()).is_ok() && registered == *wanted
}

fn asked_scopes(state: &State, app: &ConnectedApp, call: &Call) -> Result<Vec<String>, OAuth2Error> {
    if call.required("response_type")? != "code" {
        return Err(OAuth2Error::new("unsupported_response_type", "only code is supported"));
    }
    match (call.field("code_challenge"), call.field("code_challenge_method")) {
        (Some(challenge), Some("S256")) if pkce::is_challenge(challenge) => {}
        (None, None) if app.secret.is_some() => {}
        _ => return Err(OAuth2Error::invalid_request("a code_challenge with the method S256 is required")),
    }
    let Some(asked) = call.field("scope") else {
        return Ok(USUAL_SCOPES.map(str::to_owned).to_vec());
    };
    let known = |scope: &str| {
        STANDARD_SCOPES.contains(&scope) || state.world.scopes.iter().any(|one| one.scope == scope)
    };
    match asked.split_ascii_whitespace().find(|scope| !known(scope)) {
        Some(other) => Err(OAuth2Error::new("invalid_scope", format!("there is no scope {other}"))),
        None => Ok(asked.split_ascii_whitespace().map(str::to_owned).collect()),
    }
}

fn somebody(state: &State, address: &str, organization: Option<&str>) -> Result<Subject, OAuth2Error> {
    let world = &state.world;
    let member = match organization {
        Some(locator) => {
            world.organization(locator).and_then(|it| world.member_by_email(&it.id, address)).ok()
        }
        None => world.memberships(address).next(),
    };
    let member = member.map(|member| Subject::Member(member.id.clone()));
    let user = || world.user_by_email(address).map(|user| Subject::User(user.id.clone()));
    let nobody = || OAuth2Error::new("access_denied", format!("nobody has the address {address}"));
    member.or_else(user).ok_or_else(nobody)
}

fn choose(state: &State, app: &ConnectedApp, call: &Call) -> Response {
    let choice = |address: &str, name: &str, organization: Option<&str>| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&call.fields).append_pair("as", address);
        query.extend_pairs(organization.map(|slug| ("organization", slug)));
        Choice {
            label: address.into(),
            detail: [name, organization.unwrap_or_default()].join(" "),
            href: format!("?{}", query.finish()),
        }
    };
    let world = &state.world;
    let members = world.members.iter().filter(|one| one.status != MemberStatus::Deleted).filter_map(|one| {
        let slug = &world.organization(&one.organization_id).ok()?.slug;
        Some(choice(&one.email_address, &one.name, Some(slug)))
    });
    let users = world.users.iter().filter_map(|one| {
        Some(choice(&one.email.as_ref()?.address, one.name.as_deref().unwrap_or_default(), None))
    });
    let choices: Vec<Choice> = members.chain(users).collect();
    let name = if app.name.is_empty() { &app.id } else { &app.name };
    let scopes = call.field("scope").unwrap_or("your name and address");
    let lead = format!("{name} wants to act for you, with: {scopes}. Who are you?");
    (
        StatusCode::OK,
        page::chooser("Let this app in?", &lead, &choices, &call.fields.iter().collect::<Vec<_>>()),
    )
        .into_response()
}

impl State {
    /// The scopes this person can grant: of the policy's own, those whose every permission they
    /// have themselves.
    fn grantable(&self, subject: &Subject, asked: Vec<String>) -> Vec<String> {
        let roles = self.roles_of(subject);
        let grantable = |scope: &String| {
            let own = self.world.scopes.iter().find(|one| one.scope == *scope);
            own.is_none_or(|own| {
                own.permissions.iter().all(|needed| {
                    let mut actions = needed.actions.iter();
                    actions.all(|action| roles.iter().any(|role| role.allows(&needed.resource_id, action)))
                })
            })
        };
        asked.into_iter().filter(grantable).collect()
    }

    fn roles_of(&self, subject: &Subject) -> Vec<&Role> {
        match subject {
            Subject::Member(id) => {
                let Ok(member) = self.world.member(id) else { return Vec::new() };
                let Ok(organization) = self.world.organization(&member.organization_id) else {
                    return Vec::new();
                };
                let mine = member.effective_roles();
                self.world.roles_in(organization).filter(|role| mine.contains(&role.role_id)).collect()
            }
            Subject::User(id) => {
                let mine = self.world.user(id).map(|user| user.effective_roles()).unwrap_or_default();
                self.world.consumer_roles().filter(|role| mine.contains(&role.role_id)).collect()
            }
        }
    }
}
