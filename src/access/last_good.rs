//! What a start during an outage needs: the last good keys and policy, in one file.
//!
//! What holds: a reader of the file sees the old or the new one, never a part; what another project
//! left in it is passed over; nothing in it is secret.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::stytch::types::{Jwk, Jwks, Policy, Role};

/// `stytch.key_cache_file`. Clones speak of the same file.
#[derive(Clone)]
pub struct LastGood(Rc<File>);

struct File {
    path: PathBuf,
    held: RefCell<Held>,
}

#[derive(Default, Serialize, Deserialize)]
struct Held {
    project_id: String,
    #[serde(default)]
    keys: Vec<Jwk>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<Policy>,
    /// The roles of organizations' own, by the organization's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    organizations: BTreeMap<String, Vec<Role>>,
}

impl LastGood {
    /// Reads the file, if there is one.
    #[must_use]
    pub fn open(path: PathBuf, project_id: &str) -> Self {
        let held = read(&path).filter(|held| held.project_id == project_id);
        let held = held.unwrap_or_else(|| Held { project_id: project_id.to_owned(), ..Held::default() });
        Self(Rc::new(File { path, held: RefCell::new(held) }))
    }

    #[must_use]
    pub fn keys(&self) -> Option<Jwks> {
        let keys = self.0.held.borrow().keys.clone();
        (!keys.is_empty()).then_some(Jwks { keys })
    }

    pub fn keep_keys(&self, keys: &[Jwk]) {
        self.0.held.borrow_mut().keys = keys.to_vec();
        self.store();
    }

    #[must_use]
    pub fn policy(&self) -> Option<Policy> {
        self.0.held.borrow().policy.clone()
    }

    pub fn keep_policy(&self, policy: &Policy) {
        self.0.held.borrow_mut().policy = Some(policy.clone());
        self.store();
    }

    #[must_use]
    pub fn organizations(&self) -> BTreeMap<String, Vec<Role>> {
        self.0.held.borrow().organizations.clone()
    }

    pub fn keep_organizations(&self, organizations: BTreeMap<String, Vec<Role>>) {
        self.0.held.borrow_mut().organizations = organizations;
        self.store();
    }

    fn store(&self) {
        let written = serde_json::to_vec(&*self.0.held.borrow())
            .map_err(std::io::Error::from)
            .and_then(|bytes| write_whole(&self.0.path, &bytes));
        if let Err(error) = written {
            tracing::warn!(%error, path = %self.0.path.display(), "stytch.key_cache_file could not be written");
        }
    }
}

fn read(path: &Path) -> Option<Held> {
    let bytes = std::fs::read(path).ok()?;
    let read = serde_json::from_slice(&bytes);
    read.inspect_err(|error| {
        tracing::warn!(%error, path = %path.display(), "stytch.key_cache_file is not readable");
    })
    .ok()
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_there_again_for_the_same_project() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last-good.json");
        let kept = LastGood::open(path.clone(), "project-test-1");
        assert!(kept.keys().is_none() && kept.policy().is_none());
        let role = Role { role_id: "auditor".to_owned(), permissions: Vec::new() };
        let policy = Policy { roles: vec![role.clone()], scopes: Vec::new() };
        kept.keep_policy(&policy);
        kept.keep_organizations(BTreeMap::from([("organization-test-1".to_owned(), vec![role])]));

        let again = LastGood::open(path.clone(), "project-test-1");
        assert_eq!(again.policy(), Some(policy));
        assert_eq!(again.organizations().len(), 1);
        assert!(LastGood::open(path, "project-test-2").policy().is_none());
    }

    #[test]
    fn a_file_from_before_policies_were_kept_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let key = r#"{"kty":"RSA","kid":"jwk-test-1","n":"AQAB","e":"AQAB"}"#;
        std::fs::write(&path, format!(r#"{{"project_id":"project-test-1","keys":[{key}]}}"#)).unwrap();
        assert_eq!(LastGood::open(path, "project-test-1").keys().unwrap().keys.len(), 1);
    }
}
