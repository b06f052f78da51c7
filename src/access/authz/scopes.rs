//! Scopes of an access token, compared as the official SDKs do (REFERENCE.md 6.1).

/// Whether what a token was granted covers a scope: by having it, or by having its action on every
/// resource. `write:*` covers `write:reports`, but not a bare `write`; there is no wildcard of
/// actions. A scope without a colon is an action on a resource of its own.
pub(super) fn satisfied(granted: &[String], wanted: &str) -> bool {
    let (action, resource) = split(wanted);
    granted.iter().any(|granted| {
        let (granted_action, granted_resource) = split(granted);
        granted_action == action
            && (granted_resource == resource || (granted_resource == Some("*") && resource.is_some()))
    })
}

fn split(scope: &str) -> (&str, Option<&str>) {
    match scope.split_once(':') {
        Some((action, resource)) => (action, Some(resource)),
        None => (scope, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_resources_and_never_actions() {
        for (granted, wanted, holds) in [
            ("write:reports", "write:reports", true),
            ("write:*", "write:reports", true),
            ("write:*", "write:a:b", true),
            ("write:a", "write:a:b", false),
            ("write:*", "write", false),
            ("write", "write", true),
            ("write", "write:reports", false),
            ("*:reports", "write:reports", false),
            ("*", "write:reports", false),
            ("read:*", "write:reports", false),
            ("", "write:reports", false),
        ] {
            assert_eq!(satisfied(&[granted.to_owned()], wanted), holds, "{granted:?} for {wanted:?}");
        }
        assert!(!satisfied(&[], "read"));
    }
}
