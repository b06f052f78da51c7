//! The organizations that somebody with a proved address may choose among (REFERENCE.md 7.4).

use crate::stytch::types::{Discovered, Membership};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) standing: Standing,
}

/// What somebody is to an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Member,
    Invited,
    /// Somebody who has begun to join and not proved the address since.
    Pending,
    /// Nobody yet, with an address of a domain that may join.
    OfDomain,
    /// Nobody yet, from a tenant of an OAuth provider that may join.
    OfTenant,
}

impl Choice {
    pub(super) fn all(found: &Discovered) -> Vec<Self> {
        let named = found.discovered_organizations.iter().filter_map(|one| {
            let organization = one.organization.as_ref()?;
            let standing = one.membership.as_ref().map_or(Standing::Member, Standing::of);
            let (id, name) = (organization.organization_id.clone(), organization.organization_name.clone());
            Some(Self { id, name, standing })
        });
        named.collect()
    }
}

impl Standing {
    /// What Stytch may call it one day is shown like an organization one belongs to: whether it can
    /// be entered is Stytch's to say.
    fn of(membership: &Membership) -> Self {
        match membership.kind.as_str() {
            "invited_member" => Self::Invited,
            "pending_member" => Self::Pending,
            "eligible_to_join_by_email_domain" => Self::OfDomain,
            "eligible_to_join_by_oauth_tenant" => Self::OfTenant,
            _ => Self::Member,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_of_membership_is_known() {
        let one = |kind| {
            json!({
                "member_authenticated": false,
                "organization": { "organization_id": kind, "organization_name": "Acme" },
                "membership": { "type": kind, "details": { "domain": "acme.example" }, "member": null },
                "primary_required": { "allowed_auth_methods": ["sso"] },
                "mfa_required": null,
            })
        };
        let known = [
            ("active_member", Standing::Member),
            ("invited_member", Standing::Invited),
            ("pending_member", Standing::Pending),
            ("eligible_to_join_by_email_domain", Standing::OfDomain),
            ("eligible_to_join_by_oauth_tenant", Standing::OfTenant),
            ("one_of_tomorrow", Standing::Member),
        ];
        let mut organizations: Vec<_> = known.iter().map(|(kind, _)| one(kind)).collect();
        organizations.push(json!({ "member_authenticated": true, "organization": null }));
        let found = json!({ "discovered_organizations": organizations });
        let choices = Choice::all(&serde_json::from_value(found).unwrap());
        let standings: Vec<_> = choices.iter().map(|choice| (choice.id.as_str(), choice.standing)).collect();
        assert_eq!(standings, known);
    }
}
