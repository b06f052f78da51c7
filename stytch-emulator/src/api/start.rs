//! The pages where a browser leaves for a provider: instead of one, they ask who to be.
//!
//! `as=ADDRESS` in the query answers at once, with any address at all. What a page cannot do, it
//! says in the form of an API error.

use std::collections::HashMap;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use url::{Url, form_urlencoded};

use crate::error::{ApiError, Refusal};
use crate::page::{self, Choice};
use crate::passcode::checked_email;
use crate::provider::Provider;
use crate::redirect::{Arrival, OauthProof, SsoProof, checked_challenge};
use crate::state::State;
use crate::world::Organization;

type Answered = Result<Response, ApiError>;

/// The query of a start page, and what its path names.
pub(super) type Visit = HashMap<String, String>;

pub(super) fn user_oauth(state: &mut State, visit: Visit) -> Answered {
    let provider = Provider::for_users(given(&visit, "provider").unwrap_or_default())?;
    let challenge = check(state, &visit, "code_challenge")?;
    let foreign = Refusal::NoMatchForProvidedOauthUrl;
    state.redirect_url(given(&visit, "login_redirect_url"), foreign)?;
    let Some(address) = whom(&visit)? else {
        let everyone =
            state.world.users.iter().filter_map(|user| Some(user.email.as_ref()?.address.as_str()));
        return Ok(ask(&visit, provider.name, everyone));
    };
    let known = state.world.user_by_email(address).is_some();
    let (kind, url) = login_or_signup(state, &visit, known, foreign)?;
    let proof = OauthProof::new(provider, address, &visit);
    let by = state.back_by();
    let token = state.redirects.user_oauth.issue(proof, challenge, by);
    Ok(back(url, &Arrival { token_type: "oauth", token: &token, redirect_type: kind, slug: None }))
}

pub(super) fn member_oauth(state: &mut State, visit: Visit) -> Answered {
    let provider = Provider::for_members(given(&visit, "provider").unwrap_or_default())?;
    let challenge = check(state, &visit, "pkce_code_challenge")?;
    let foreign = Refusal::NoMatchForProvidedOauthUrl;
    state.redirect_url(given(&visit, "login_redirect_url"), foreign)?;
    let organization = match (given(&visit, "organization_id"), given(&visit, "slug")) {
        (Some(_), Some(_)) => return Err(Refusal::TooManyOauthOrganizationLocators.into()),
        (Some(locator), None) | (None, Some(locator)) => state.world.organization(locator)?.clone(),
        (None, None) => return Err(Refusal::MissingOauthOrganizationLocator.into()),
    };
    let Some(address) = whom(&visit)? else {
        return Ok(ask(&visit, provider.name, members(state, &organization)));
    };
    let known = state.world.member_by_email(&organization.id, address).is_ok();
    let (kind, url) = login_or_signup(state, &visit, known, foreign)?;
    let proof = OauthProof::new(provider, address, &visit);
    let by = state.back_by();
    let token = state.redirects.member_oauth.issue((organization.id, proof), challenge, by);
    let slug = Some(organization.slug.as_str());
    Ok(back(url, &Arrival { token_type: "oauth", token: &token, redirect_type: kind, slug }))
}

pub(super) fn discovery_oauth(state: &mut State, visit: Visit) -> Answered {
    let provider = Provider::for_members(given(&visit, "provider").unwrap_or_default())?;
    let challenge = check(state, &visit, "pkce_code_challenge")?;
    let url =
        state.redirect_url(given(&visit, "discovery_redirect_url"), Refusal::NoMatchForProvidedOauthUrl)?;
    let Some(address) = whom(&visit)? else {
        let mut everyone: Vec<&str> =
            state.world.members.iter().map(|member| member.email_address.as_str()).collect();
        everyone.sort_unstable();
        everyone.dedup();
        return Ok(ask(&visit, provider.name, everyone.into_iter()));
    };
    let proof = OauthProof::new(provider, address, &visit);
    let by = state.back_by();
    let token = state.redirects.discovery_oauth.issue(proof, challenge, by);
    let arrival =
        Arrival { token_type: "discovery_oauth", token: &token, redirect_type: "discovery", slug: None };
    Ok(back(url, &arrival))
}

pub(super) fn sso(state: &mut State, visit: Visit) -> Answered {
    let challenge = check(state, &visit, "pkce_code_challenge")?;
    let foreign = Refusal::NoMatchForProvidedSsoUrl;
    state.redirect_url(given(&visit, "login_redirect_url"), foreign)?;
    let (organization, connection) =
        state.world.sso_connection(given(&visit, "connection_id").unwrap_or_default())?;
    let (organization, connection) = (organization.clone(), connection.clone());
    let Some(address) = whom(&visit)? else {
        return Ok(ask(&visit, &connection.display_name, members(state, &organization)));
    };
    let known = state.world.member_by_email(&organization.id, address).is_ok();
    let (kind, url) = login_or_signup(state, &visit, known, foreign)?;
    let proof = SsoProof { connection_id: connection.id, address: address.into() };
    let by = state.back_by();
    let token = state.redirects.sso.issue(proof, challenge, by);
    let slug = Some(organization.slug.as_str());
    Ok(back(url, &Arrival { token_type: "sso", token: &token, redirect_type: kind, slug }))
}

fn given<'a>(visit: &'a Visit, name: &str) -> Option<&'a str> {
    visit.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// Checks that the project is meant, and returns the challenge that goes by that name.
fn check(state: &State, visit: &Visit, challenge: &str) -> Result<Option<String>, Refusal> {
    match given(visit, "public_token") {
        None => Err(Refusal::PublicTokenRequired),
        Some(token) if token != state.world.public_token => Err(Refusal::PublicTokenNotFound),
        Some(_) => checked_challenge(given(visit, challenge)),
    }
}

fn whom(visit: &Visit) -> Result<Option<&str>, Refusal> {
    given(visit, "as").map(checked_email).transpose()
}

fn members<'a>(state: &'a State, organization: &'a Organization) -> impl Iterator<Item = &'a str> {
    let inside = state.world.members.iter().filter(|member| member.organization_id == organization.id);
    inside.map(|member| member.email_address.as_str())
}

fn login_or_signup(
    state: &State,
    visit: &Visit,
    known: bool,
    foreign: Refusal,
) -> Result<(&'static str, Url), ApiError> {
    let login = given(visit, "login_redirect_url");
    if known {
        return Ok(("login", state.redirect_url(login, foreign)?));
    }
    let signup = given(visit, "signup_redirect_url").or(login);
    Ok(("signup", state.redirect_url(signup, foreign)?))
}

fn ask<'a>(visit: &Visit, provider: &str, people: impl Iterator<Item = &'a str>) -> Response {
    let query: Vec<_> = visit.iter().filter(|(name, _)| *name != "provider").collect();
    let choice = |address: &str| {
        let mut link = form_urlencoded::Serializer::new(String::new());
        let href = format!("?{}", link.extend_pairs(&query).append_pair("as", address).finish());
        Choice { label: address.into(), detail: String::new(), href }
    };
    let choices: Vec<Choice> = people.map(choice).collect();
    let title = format!("Sign in with {provider}");
    let lead = "The emulator stands in for the provider. Who are you?";
    page::chooser(&title, lead, &choices, &query).into_response()
}

fn back(url: Url, arrival: &Arrival<'_>) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, arrival.at(url))]).into_response()
}
