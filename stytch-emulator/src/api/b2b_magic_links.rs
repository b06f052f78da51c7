//! Magic links for members, by e-mail: into an organization, by invitation, or to discover some.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Reply;
use super::magic_links::{Link, lifetime};
use crate::error::Refusal;
use crate::login::LoginArguments;
use crate::passcode::checked_email;
use crate::redirect::{Arrival, Names, checked_challenge};
use crate::session::{Factor, Holder};
use crate::state::State;
use crate::wire;
use crate::world::{Member, MemberStatus, Organization};

const MEMBER: &str = "multi_tenant_magic_links";
const INVITE_MINUTES: u32 = 7 * 24 * 60;

#[derive(Debug, Deserialize)]
pub(super) struct LoginOrSignup {
    organization_id: String,
    email_address: String,
    login_redirect_url: Option<String>,
    signup_redirect_url: Option<String>,
    pkce_code_challenge: Option<String>,
    login_expiration_minutes: Option<i64>,
    signup_expiration_minutes: Option<i64>,
}

pub(super) fn login_or_signup(state: &mut State, request: LoginOrSignup) -> Reply {
    let address = checked_email(&request.email_address)?;
    let organization = state.world.organization(&request.organization_id)?.clone();
    let challenge = checked_challenge(request.pkce_code_challenge.as_deref())?;
    let known = state.world.member_by_email(&organization.id, address).cloned();
    let member_created = known.is_err();
    let (kind, url, asked) = if member_created {
        let url = request.signup_redirect_url.or(request.login_redirect_url);
        ("signup", url, request.signup_expiration_minutes)
    } else {
        ("login", request.login_redirect_url, request.login_expiration_minutes)
    };
    let url = state.redirect_url(url.as_deref(), Refusal::NoMatchForProvidedMagicLinkUrl)?;
    let link = Link { kind, url, challenge, minutes: lifetime(asked)? };
    let member = match known {
        Ok(member) => member,
        Err(_) => state.join_by_domain(&organization, address)?,
    };
    send_to_member(state, &member, &organization, link);
    Ok(json!({
        "member_id": member.id,
        "member_created": member_created,
        "member": wire::member(&member),
        "organization": wire::organization(&organization),
    })
    .into())
}

#[derive(Debug, Deserialize)]
pub(super) struct Invite {
    organization_id: String,
    email_address: String,
    invite_redirect_url: Option<String>,
    invite_expiration_minutes: Option<i64>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    trusted_metadata: Map<String, Value>,
    #[serde(default)]
    untrusted_metadata: Map<String, Value>,
}

/// Makes a member of somebody who is none yet, or asks again.
pub(super) fn invite(state: &mut State, request: Invite) -> Reply {
    let address = checked_email(&request.email_address)?;
    let organization = state.world.organization(&request.organization_id)?.clone();
    let given = request.invite_redirect_url.as_deref();
    let url = state.redirect_url(given, Refusal::NoMatchForProvidedMagicLinkUrl)?;
    let minutes =
        request.invite_expiration_minutes.map_or(Ok(INVITE_MINUTES), |asked| lifetime(Some(asked)))?;
    let member = match state.world.member_by_email(&organization.id, address) {
        Ok(member) => member.clone(),
        Err(_) => {
            let now = state.now();
            let member = Member {
                name: request.name,
                status: MemberStatus::Invited,
                roles: request.roles,
                trusted_metadata: request.trusted_metadata,
                untrusted_metadata: request.untrusted_metadata,
                created_at: now,
                updated_at: now,
                ..Member::new(&organization.id, address)
            };
            state.world.members.push(member.clone());
            member
        }
    };
    send_to_member(state, &member, &organization, Link { kind: "invite", url, challenge: None, minutes });
    Ok(json!({
        "member_id": member.id,
        "member": wire::member(&member),
        "organization": wire::organization(&organization),
    })
    .into())
}

fn send_to_member(state: &mut State, member: &Member, organization: &Organization, link: Link) {
    let expires_at = link.expires_at(state);
    let token = state.redirects.member_links.issue(member.id.clone(), link.challenge, expires_at);
    let slug = Some(organization.slug.as_str());
    let arrival = Arrival { token_type: MEMBER, token: &token, redirect_type: link.kind, slug };
    state.send_link(&member.email_address, link.kind, arrival.at(link.url));
}

#[derive(Debug, Deserialize)]
pub(super) struct Authenticate {
    magic_links_token: String,
    pkce_code_verifier: Option<String>,
    #[serde(flatten)]
    login: LoginArguments,
}

pub(super) fn authenticate(state: &mut State, request: Authenticate) -> Reply {
    let carried = state.carried(&request.login)?;
    let (token, verifier) = (&request.magic_links_token, request.pkce_code_verifier.as_deref());
    let now = state.clock.now();
    let member_id = state.redirects.member_links.redeem(token, verifier, now, Names::MAGIC_LINK)?;
    let member = state.world.member(&member_id)?.clone();
    let factor = Factor::email("magic_link", Holder::Member(&member), state.now());
    let mut fields = state.sign_in(&member.id, vec![factor], carried, request.login)?;
    fields.insert("method_id".into(), member.email_id.into());
    fields.insert("reset_sessions".into(), json!(false));
    Ok(fields.into())
}

#[derive(Debug, Deserialize)]
pub(super) struct DiscoverySend {
    email_address: String,
    discovery_redirect_url: Option<String>,
    pkce_code_challenge: Option<String>,
    discovery_expiration_minutes: Option<i64>,
}

pub(super) fn discovery_send(state: &mut State, request: DiscoverySend) -> Reply {
    let address = checked_email(&request.email_address)?;
    let given = request.discovery_redirect_url.as_deref();
    let url = state.redirect_url(given, Refusal::NoMatchForProvidedMagicLinkUrl)?;
    let challenge = checked_challenge(request.pkce_code_challenge.as_deref())?;
    let minutes = lifetime(request.discovery_expiration_minutes)?;
    let link = Link { kind: "discovery", url, challenge, minutes };
    let expires_at = link.expires_at(state);
    let token = state.redirects.discovery_links.issue(address.into(), link.challenge, expires_at);
    let arrival = Arrival { token_type: "discovery", token: &token, redirect_type: link.kind, slug: None };
    state.send_link(address, link.kind, arrival.at(link.url));
    Ok(json!({}).into())
}

#[derive(Debug, Deserialize)]
pub(super) struct DiscoveryAuthenticate {
    discovery_magic_links_token: String,
    pkce_code_verifier: Option<String>,
}

pub(super) fn discovery_authenticate(state: &mut State, request: DiscoveryAuthenticate) -> Reply {
    let (token, verifier) = (&request.discovery_magic_links_token, request.pkce_code_verifier.as_deref());
    let now = state.clock.now();
    let address = state.redirects.discovery_links.redeem(token, verifier, now, Names::MAGIC_LINK)?;
    let factor = Factor::email("magic_link", Holder::Address(&address), state.now());
    Ok(state.discover(&address, factor).into())
}
