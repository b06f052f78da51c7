//! Discovery: from an address that was proved to the organizations behind it, and into one.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Reply;
use crate::error::Refusal;
use crate::login::{Carried, LoginArguments, Outstanding, mfa_required, outstanding, primary_required};
use crate::session::Factor;
use crate::state::State;
use crate::wire;
use crate::world::{ADMIN_ROLE, Member, MemberStatus, MfaMethod, Organization};

pub(super) fn organizations(state: &mut State, request: LoginArguments) -> Reply {
    let (address, factors) = match state.carried(&request)? {
        Carried::Nothing => return Err(Refusal::NoSessionArguments.into()),
        Carried::Intermediate(one) => (one.email, one.factors),
        Carried::Session(session) => {
            let member = state.session_member(&session.id)?.1;
            (member.email_address.clone(), session.factors)
        }
    };
    Ok(json!({
        "email_address": address,
        "discovered_organizations": state.discovered(&address, &factors),
        "organization_id_hint": null,
    })
    .into())
}

#[derive(Debug, Deserialize)]
pub(super) struct Exchange {
    organization_id: String,
    #[serde(flatten)]
    login: LoginArguments,
}

pub(super) fn exchange(state: &mut State, request: Exchange) -> Reply {
    let token = request.login.intermediate_session_token.as_deref().unwrap_or_default();
    let intermediate = state.intermediate(token)?;
    let organization = state.world.organization(&request.organization_id)?.clone();
    let member_id = match state.world.member_by_email(&organization.id, &intermediate.email) {
        Ok(member) => member.id.clone(),
        Err(_) => state.join_by_domain(&organization, &intermediate.email)?.id,
    };
    let carried = Carried::Intermediate(intermediate);
    Ok(state.sign_in(&member_id, Vec::new(), carried, request.login)?.into())
}

#[derive(Debug, Deserialize)]
pub(super) struct Create {
    organization_name: Option<String>,
    organization_slug: Option<String>,
    organization_logo_url: Option<String>,
    organization_external_id: Option<String>,
    email_allowed_domains: Option<Vec<String>>,
    /// Without it, or with an `auth_methods` of `ALL_ALLOWED`, every method is allowed.
    allowed_auth_methods: Option<Vec<String>>,
    auth_methods: Option<String>,
    mfa_policy: Option<String>,
    /// Without it, or with an `mfa_methods` of `ALL_ALLOWED`, every second factor is allowed.
    allowed_mfa_methods: Option<Vec<MfaMethod>>,
    mfa_methods: Option<String>,
    #[serde(default)]
    trusted_metadata: Map<String, Value>,
    #[serde(flatten)]
    login: LoginArguments,
}

pub(super) fn create(state: &mut State, request: Create) -> Reply {
    let token = request.login.intermediate_session_token.as_deref().unwrap_or_default();
    let intermediate = state.intermediate(token)?;
    let name = request.organization_name.unwrap_or_else(|| format!("{}'s organization", intermediate.email));
    if !Organization::is_name(&name) {
        return Err(Refusal::InvalidOrganizationName.into());
    }
    let slug = request.organization_slug.unwrap_or_else(|| slug_of(&name));
    if !Organization::is_slug(&slug) {
        return Err(Refusal::InvalidOrganizationSlug.into());
    }
    if state.world.organization(&slug).is_ok() {
        return Err(Refusal::OrganizationSlugAlreadyUsed.into());
    }
    let restricted = request.auth_methods.as_deref() == Some("RESTRICTED");
    let organization = Organization {
        slug,
        name,
        logo_url: request.organization_logo_url.unwrap_or_default(),
        external_id: request.organization_external_id,
        email_allowed_domains: request.email_allowed_domains.unwrap_or_default(),
        allowed_auth_methods: restricted.then_some(request.allowed_auth_methods).flatten(),
        allowed_mfa_methods: request
            .allowed_mfa_methods
            .filter(|_| request.mfa_methods.as_deref() == Some("RESTRICTED")),
        mfa_required_for_all: request.mfa_policy.as_deref() == Some("REQUIRED_FOR_ALL"),
        trusted_metadata: request.trusted_metadata,
        created_at: state.now(),
        ..Organization::new()
    };
    let mut creator = Member::new(&organization.id, &intermediate.email);
    creator.roles.push(ADMIN_ROLE.into());
    let member_id = creator.id.clone();
    state.world.organizations.push(organization);
    state.world.members.push(creator);
    let carried = Carried::Intermediate(intermediate);
    Ok(state.sign_in(&member_id, Vec::new(), carried, request.login)?.into())
}

fn slug_of(name: &str) -> String {
    let slug: String = name.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '-' }).collect();
    slug.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

impl State {
    /// What somebody who has just proved an address is told.
    pub(super) fn discover(&mut self, address: &str, factor: Factor) -> Map<String, Value> {
        let kept = self.remember(None, address, None, vec![factor]);
        Map::from_iter([
            ("discovered_organizations".into(), json!(self.discovered(address, &kept.factors))),
            ("email_address".into(), json!(address)),
            ("intermediate_session_token".into(), json!(kept.token)),
            ("intermediate_session_token_expires_at".into(), json!(kept.expires_at)),
        ])
    }

    /// The organizations open to whoever has proved this much about this address.
    pub(super) fn discovered(&self, address: &str, factors: &[Factor]) -> Vec<Value> {
        let discovered = |organization: &Organization| {
            if let Ok(member) = self.world.member_by_email(&organization.id, address) {
                return Some(self.membership(organization, member, factors));
            }
            let domain = address.rsplit_once('@')?.1;
            organization.admits_domain_of(address).then(|| {
                json!({
                    "member_authenticated": false,
                    "organization": wire::organization(organization),
                    "membership": {
                        "type": "eligible_to_join_by_email_domain",
                        "details": { "domain": domain },
                        "member": null,
                    },
                    "primary_required": null,
                    "mfa_required": null,
                })
            })
        };
        self.world.organizations.iter().filter_map(discovered).collect()
    }

    fn membership(&self, organization: &Organization, member: &Member, factors: &[Factor]) -> Value {
        let kind = match member.status {
            MemberStatus::Active => "active_member",
            MemberStatus::Invited => "invited_member",
            MemberStatus::Pending | MemberStatus::Deleted => "pending_member",
        };
        let outstanding = outstanding(member, organization, factors);
        json!({
            "member_authenticated": matches!(outstanding, Outstanding::Nothing),
            "organization": wire::organization(organization),
            "membership": { "type": kind, "details": null, "member": wire::member(member) },
            "primary_required": primary_required(&outstanding),
            "mfa_required": mfa_required(&outstanding, member, false),
        })
    }

    /// Makes a member of somebody whose address's domain the organization lets in.
    pub(super) fn join_by_domain(
        &mut self,
        organization: &Organization,
        address: &str,
    ) -> Result<Member, Refusal> {
        if !organization.admits_domain_of(address) {
            return Err(Refusal::EmailJitProvisioningNotAllowed);
        }
        let now = self.now();
        let member = Member { created_at: now, updated_at: now, ..Member::new(&organization.id, address) };
        self.world.members.push(member.clone());
        Ok(member)
    }
}
