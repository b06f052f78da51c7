//! What roles and scopes permit, as Stytch's RBAC policy says (REFERENCE.md section 5).
//!
//! What holds: only what a policy names is permitted; `*` stands for every action and never for a
//! resource; an unknown role or scope permits nothing; an organization's own roles are looked up
//! beside the project's and never become part of them.

use hashbrown::HashMap;

use crate::stytch::types;

/// What a request wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub resource: &'a str,
    pub action: &'a str,
}

/// A project's policy, ready to be asked.
#[derive(Debug, Default)]
pub struct Policy {
    roles: Roles,
    scopes: HashMap<Box<str>, Permissions>,
    /// As it came, to be compared and to be written to `stytch.key_cache_file`.
    pub source: types::Policy,
}

/// The roles of a project, or those of one organization.
#[derive(Debug, Default)]
pub struct Roles(HashMap<Box<str>, Role>);

#[derive(Debug, Default)]
struct Role {
    /// Among those it was given with.
    position: usize,
    permissions: Permissions,
}

/// By resource.
#[derive(Debug, Default)]
struct Permissions(HashMap<Box<str>, Actions>);

#[derive(Debug, Default)]
struct Actions {
    all: bool,
    /// Few: looked through one by one.
    named: Vec<Box<str>>,
}

impl Policy {
    #[must_use]
    pub fn new(source: types::Policy) -> Self {
        let mut scopes = HashMap::<Box<str>, Permissions>::new();
        for scope in &source.scopes {
            scopes.entry(scope.scope.as_str().into()).or_default().add(&scope.permissions);
        }
        Self { roles: Roles::new(&source.roles), scopes, source }
    }

    /// Those of the `held` roles that grant what is wanted, each once, in the policy's order and the
    /// organization's own after it, as Stytch's verdict names them. Empty: nobody grants it.
    #[must_use]
    pub fn granting<'h>(&self, own: &Roles, held: &'h [String], wanted: Wanted<'_>) -> Vec<&'h str> {
        let place = |role: &str| {
            let project = self.roles.place(role, wanted);
            project.or_else(|| own.place(role, wanted).map(|position| self.roles.0.len() + position))
        };
        let mut granting: Vec<(usize, &str)> =
            held.iter().filter_map(|role| Some((place(role)?, role.as_str()))).collect();
        granting.sort_unstable();
        granting.dedup();
        granting.into_iter().map(|(_, role)| role).collect()
    }

    /// Whether one of an access token's scopes permits what is wanted. Scopes are the project's alone.
    #[must_use]
    pub fn permits_scopes(&self, scopes: &[String], wanted: Wanted<'_>) -> bool {
        let permissions = |scope: &String| self.scopes.get(scope.as_str());
        scopes.iter().filter_map(permissions).any(|permissions| permissions.hold(wanted))
    }
}

impl Roles {
    #[must_use]
    pub fn new(source: &[types::Role]) -> Self {
        let mut roles = HashMap::<Box<str>, Role>::new();
        for role in source {
            let position = roles.len();
            let known = roles.entry(role.role_id.as_str().into());
            let known = known.or_insert_with(|| Role { position, permissions: Permissions::default() });
            known.permissions.add(&role.permissions);
        }
        Self(roles)
    }

    /// Where the role stands, if it grants what is wanted.
    fn place(&self, role: &str, wanted: Wanted<'_>) -> Option<usize> {
        self.0.get(role).filter(|role| role.permissions.hold(wanted)).map(|role| role.position)
    }
}

impl Permissions {
    fn add(&mut self, source: &[types::Permission]) {
        for permission in source {
            let actions = self.0.entry(permission.resource_id.as_str().into()).or_default();
            for action in &permission.actions {
                match action.as_str() {
                    "*" => actions.all = true,
                    named => actions.named.push(named.into()),
                }
            }
        }
    }

    fn hold(&self, wanted: Wanted<'_>) -> bool {
        let actions = self.0.get(wanted.resource);
        actions.is_some_and(|actions| {
            actions.all || actions.named.iter().any(|action| **action == *wanted.action)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const READ: Wanted<'_> = Wanted { resource: "documents", action: "read" };

    fn policy() -> Policy {
        let source = json!({
            "roles": [
                { "role_id": "stytch_member", "permissions": [] },
                { "role_id": "admin", "permissions": [{ "resource_id": "documents", "actions": ["*"] }] },
                { "role_id": "reader", "permissions": [
                    { "resource_id": "documents", "actions": [] },
                    { "resource_id": "documents", "actions": ["list", "read"] },
                ] },
                { "role_id": "star", "permissions": [{ "resource_id": "*", "actions": ["*"] }] },
            ],
            "scopes": [
                { "scope": "read:documents", "permissions": [{ "resource_id": "documents", "actions": ["read"] }] },
            ],
        });
        Policy::new(serde_json::from_value(source).unwrap())
    }

    fn own(roles: serde_json::Value) -> Roles {
        Roles::new(&serde_json::from_value::<Vec<types::Role>>(roles).unwrap())
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn granting_roles_are_named_once_in_the_policys_order() {
        let held = owned(&["reader", "admin", "stytch_member", "reader"]);
        assert_eq!(policy().granting(&Roles::default(), &held, READ), ["admin", "reader"]);
        let delete = Wanted { action: "delete", ..READ };
        assert_eq!(policy().granting(&Roles::default(), &held, delete), ["admin"]);
    }

    #[test]
    fn what_is_not_named_is_not_granted() {
        for (held, resource, action) in [
            (&["unknown", "stytch_member"][..], "documents", "read"),
            (&[], "documents", "read"),
            (&["reader"], "documents", "delete"),
            (&["reader"], "documents", "*"),
            (&["reader"], "document", "read"),
            (&["reader"], "Documents", "read"),
            (&["Reader"], "documents", "read"),
            (&["star"], "documents", "read"),
            (&["read:documents"], "documents", "read"),
        ] {
            let (policy, held) = (policy(), owned(held));
            let granting = policy.granting(&Roles::default(), &held, Wanted { resource, action });
            assert!(granting.is_empty(), "{held:?} {resource} {action}");
        }
    }

    #[test]
    fn an_organizations_roles_come_after_the_projects_and_add_to_them() {
        let own = own(json!([
            { "role_id": "auditor", "permissions": [{ "resource_id": "documents", "actions": ["read"] }] },
            { "role_id": "stytch_member", "permissions": [{ "resource_id": "documents", "actions": ["read"] }] },
        ]));
        let held = owned(&["stytch_member", "auditor", "reader"]);
        assert_eq!(policy().granting(&own, &held, READ), ["reader", "auditor", "stytch_member"]);
    }

    #[test]
    fn scopes_are_compared_as_they_are() {
        let policy = policy();
        assert!(policy.permits_scopes(&owned(&["openid", "read:documents"]), READ));
        for scope in ["openid", "read:*", "admin", "READ:documents"] {
            assert!(!policy.permits_scopes(&owned(&[scope]), READ), "{scope}");
        }
        assert!(!policy.permits_scopes(&owned(&["read:documents"]), Wanted { action: "write", ..READ }));
    }

    #[test]
    fn a_policy_may_leave_lists_out_or_null() {
        let policy: types::Policy =
            serde_json::from_value(json!({ "roles": [{ "role_id": "a", "permissions": null }] })).unwrap();
        assert!(Policy::new(policy).granting(&Roles::default(), &owned(&["a"]), READ).is_empty());
    }
}
