//! `kinds` and `allow` of a route: who may come.
//!
//! What holds: a rule that is written is a rule that is judged. What would hold for nobody, or
//! for everybody without saying so, is a mistake.

use std::sync::Arc;

use serde_json::Value;

use super::{Findings, positive};
use crate::access::authz::rules::{Allowed, Permission, PermissionCheck, Rule, Rules};
use crate::access::rejection::StepUp;
use crate::config::problems::{KeyPath, Problems, did_you_mean};
use crate::config::raw::{self, Kind};
use crate::config::{Auth, Vertical};
use crate::identity::{self, FACTORS};

/// One route's rules, in the light of what it captures.
pub(super) struct Reader<'a> {
    pub(super) route: &'a raw::Route,
    pub(super) key: &'a KeyPath,
    pub(super) vertical: Vertical,
    /// The names that host and path capture, in their order.
    pub(super) captured: Vec<&'a str>,
}

impl Reader<'_> {
    pub(super) fn rules(&self, findings: &mut Findings) -> Rules {
        let problems = &mut findings.problems;
        let kinds = self.kinds(problems);
        let mut first = vec![Rule::Kinds(kinds.clone())];
        let mut rules = Rules::default();
        if self.route.auth == Auth::None {
            self.nobody(problems);
        } else if let Some(allow) = &self.route.allow {
            let key = self.key.key("allow");
            first.extend(self.who(allow, &key, problems));
            rules.permission = permission(allow, &key.key("permission"), problems);
            rules.step_up = self.step_up(allow, &key, problems).into();
            if first.len() == 1
                && rules.permission.is_none()
                && rules.step_up.is_empty()
                && problems.is_empty()
            {
                problems.add(
                    &key,
                    "holds no rule; write one, or leave it out to let everyone with a session pass",
                );
            }
            self.fit(allow, &kinds, findings);
        }
        rules.first = first.into();
        rules
    }

    fn kinds(&self, problems: &mut Problems) -> Vec<identity::Kind> {
        let key = self.key.key("kinds");
        if self.route.kinds.is_empty() {
            problems.add(&key, "an empty list lets nobody pass; to let sessions pass, leave the key out");
        }
        let mut kinds = Vec::new();
        for (index, kind) in self.route.kinds.iter().enumerate() {
            let kind = match kind {
                Kind::Session => identity::Kind::Session,
                Kind::M2m => identity::Kind::M2m,
                Kind::ConnectedApp => identity::Kind::ConnectedApp,
            };
            if kinds.contains(&kind) {
                problems.add(&key.index(index), format!("\"{}\" is listed twice", kind.as_str()));
            } else {
                kinds.push(kind);
            }
        }
        kinds
    }

    /// Rules on a route that asks for nobody would look like protection.
    fn nobody(&self, problems: &mut Problems) {
        let why =
            "the route asks for nobody (auth = \"none\"), so this is never judged; remove it, or the auth";
        if self.route.allow.is_some() {
            problems.add(&self.key.key("allow"), why);
        }
        if self.route.kinds != [Kind::Session] {
            problems.add(&self.key.key("kinds"), why);
        }
    }

    fn who(&self, allow: &raw::Allow, key: &KeyPath, problems: &mut Problems) -> Vec<Rule> {
        let mut rules = Vec::new();
        if let Some(texts) = listed(&allow.organizations, &key.key("organizations"), problems) {
            let key = key.key("organizations");
            let allowed = texts
                .iter()
                .enumerate()
                .filter_map(|(at, text)| self.organization(text, &key.index(at), problems));
            rules.push(Rule::Organizations(allowed.collect()));
        }
        if let Some(domains) = listed(&allow.email_domains, &key.key("email_domains"), problems) {
            let key = key.key("email_domains");
            for (at, domain) in domains.iter().enumerate() {
                email_domain(domain, &key.index(at), problems);
            }
            rules
                .push(Rule::EmailDomains(domains.iter().map(|domain| domain.to_ascii_lowercase()).collect()));
        }
        if let Some(roles) = listed(&allow.roles, &key.key("roles"), problems) {
            rules.push(Rule::Roles(roles.to_vec()));
        }
        if let Some(scopes) = listed(&allow.scopes, &key.key("scopes"), problems) {
            let key = key.key("scopes");
            for (at, scope) in
                scopes.iter().enumerate().filter(|(_, scope)| scope.contains(char::is_whitespace))
            {
                problems
                    .add(&key.index(at), format!("{scope:?} holds a space, and so is more than one scope"));
            }
            rules.push(Rule::Scopes(scopes.to_vec()));
        }
        if let Some(claims) = &allow.claims {
            let key = key.key("claims");
            if claims.is_empty() {
                problems.add(&key, "an empty table asks for nothing; leave the key out");
            }
            rules.extend(claims.iter().map(|(name, value)| claim(name, value, &key, problems)));
        }
        if allow.impersonated == Some(false) {
            rules.push(Rule::NotImpersonated);
        }
        rules
    }

    fn organization(&self, text: &str, key: &KeyPath, problems: &mut Problems) -> Option<Allowed> {
        let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
            if text.contains(['{', '}', '*']) {
                problems.add(
                    key,
                    format!("{text:?} is neither an id, a slug nor one \"{{name}}\" that the route captures"),
                );
            }
            return Some(Allowed::Named(text.to_owned()));
        };
        let index = self.captured.iter().position(|captured| *captured == name);
        if index.is_none() {
            let hint = did_you_mean(name, self.captured.iter().copied());
            problems.add(key, format!("neither host nor path of the route captures {{{name}}}{hint}"));
        }
        Some(Allowed::Captured(index?, name.to_owned()))
    }

    fn step_up(&self, allow: &raw::Allow, key: &KeyPath, problems: &mut Problems) -> Vec<Rule> {
        let mut rules = Vec::new();
        if let Some(factors) = listed(&allow.factors, &key.key("factors"), problems) {
            let key = key.key("factors");
            for (at, factor) in
                factors.iter().enumerate().filter(|(_, factor)| !FACTORS.contains(&factor.as_str()))
            {
                let hint = did_you_mean(factor, FACTORS);
                problems.add(
                    &key.index(at),
                    format!("{factor:?} is no type of factor{hint}; there is {}", FACTORS.join(", ")),
                );
            }
            let wanted = StepUp { factors: factors.to_vec(), ..StepUp::default() };
            rules.push(Rule::Factors(factors.to_vec(), Arc::new(wanted)));
        }
        if allow.mfa == Some(true) {
            rules.push(Rule::Mfa(Arc::new(StepUp { mfa: true, ..StepUp::default() })));
        }
        if let Some(age) = allow.max_auth_age {
            let age = positive(age, &key.key("max_auth_age"), problems);
            let wanted = StepUp { max_auth_age: Some(age.as_secs()), ..StepUp::default() };
            rules.push(Rule::MaxAuthAge(age, Arc::new(wanted)));
        }
        if let Some(device) = &allow.device {
            rules.extend(self::device(device, &key.key("device"), problems));
        }
        rules
    }

    /// Rules that nobody the route takes could meet.
    fn fit(&self, allow: &raw::Allow, kinds: &[identity::Kind], findings: &mut Findings) {
        let key = self.key.key("allow");
        let problems = &mut findings.problems;
        if self.vertical == Vertical::Consumer && allow.organizations.is_some() {
            problems.add(&key.key("organizations"), "a Consumer project has no organizations");
        }
        let takes_sessions = kinds.contains(&identity::Kind::Session);
        let takes_tokens = kinds.iter().any(|kind| *kind != identity::Kind::Session);
        if allow.scopes.is_some() && !takes_tokens {
            problems.add(
                &key.key("scopes"),
                "a session has no scopes; kinds must name \"m2m\" or \"connected_app\"",
            );
        } else if allow.scopes.is_some() && takes_sessions {
            let name = self.key.key("allow").key("scopes");
            findings.notes.push(format!(
                "{name}: a session has no scopes, so none passes; a route of its own would let it"
            ));
        }
        if allow.permission.is_some() && kinds == [identity::Kind::M2m] {
            let why = "a machine has no role, so nobody would pass; allow.scopes is for machines";
            problems.add(&key.key("permission"), why);
        }
        let of_sessions = [
            ("roles", allow.roles.is_some()),
            ("factors", allow.factors.is_some()),
            ("mfa", allow.mfa == Some(true)),
            ("max_auth_age", allow.max_auth_age.is_some()),
            ("device", allow.device.is_some()),
            ("email_domains", allow.email_domains.is_some()),
        ];
        for (name, _) in of_sessions.iter().filter(|(_, given)| *given && !takes_sessions) {
            findings.problems.add(&key.key(name), "only a session has this, and kinds takes none");
        }
        if allow.email_domains.is_some() {
            let name = key.key("email_domains");
            findings.notes.push(format!(
                "{name}: an address can change hands, and asking for it costs a call for each session; organizations or roles are the better rule"
            ));
        }
    }
}

/// What is asked of the device.
fn device(device: &raw::DeviceRules, key: &KeyPath, problems: &mut Problems) -> Vec<Rule> {
    let wanted = Arc::new(StepUp { device: true, ..StepUp::default() });
    let mut rules = Vec::new();
    if device.known == Some(true) {
        rules.push(Rule::KnownDevice(Arc::clone(&wanted)));
    }
    if let Some(period) = device.known_for {
        let least = positive(period, &key.key("known_for"), problems);
        rules.push(Rule::DeviceKnownFor(least, Arc::clone(&wanted)));
    }
    if let Some(countries) = listed(&device.countries, &key.key("countries"), problems) {
        let key = key.key("countries");
        let is_code = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        for (at, country) in countries.iter().enumerate().filter(|(_, country)| !is_code(country)) {
            problems
                .add(&key.index(at), format!("{country:?} is no country; write two letters, as in \"DE\""));
        }
        rules.push(Rule::DeviceCountries(countries.to_vec(), wanted));
    }
    if rules.is_empty() && device.known.is_none() {
        problems.add(key, "asks for nothing; write known, known_for or countries, or leave it out");
    }
    rules
}

/// A list that is given must name something.
fn listed<'l>(list: &'l Option<Vec<String>>, key: &KeyPath, problems: &mut Problems) -> Option<&'l [String]> {
    let list = list.as_deref()?;
    if list.is_empty() {
        problems.add(key, "an empty list lets nobody pass; to ask for nothing, leave the key out");
    }
    for (index, text) in list.iter().enumerate() {
        if text.trim().is_empty() {
            problems.add(&key.index(index), "is empty");
        } else if list[..index].contains(text) {
            problems.add(&key.index(index), format!("{text:?} is listed twice"));
        }
    }
    Some(list)
}

fn claim(name: &str, value: &Value, key: &KeyPath, problems: &mut Problems) -> Rule {
    let values = match value {
        Value::Array(values) => {
            if values.is_empty() {
                problems.add(&key.key(name), "an empty list lets nobody pass; name the values that may come");
            }
            values.clone()
        }
        value => vec![value.clone()],
    };
    Rule::Claim(name.to_owned(), values)
}

fn email_domain(domain: &str, key: &KeyPath, problems: &mut Problems) {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
    };
    if domain.contains('@') {
        problems.add(key, format!("{domain:?} is an address; write what stands behind the @"));
    } else if domain.contains('*') {
        problems
            .add(key, format!("{domain:?} holds a *; write each domain out, they are compared as a whole"));
    } else if !domain.split('.').all(is_label) {
        problems
            .add(key, format!("{domain:?} is no domain; write it as in \"example.com\", in its ASCII form"));
    }
}

fn permission(allow: &raw::Allow, key: &KeyPath, problems: &mut Problems) -> Option<Permission> {
    let raw = allow.permission.as_ref()?;
    let mut named = |name, text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        if text.trim().is_empty() {
            problems.add(&key.key(name), format!("missing; write the {name} as the RBAC policy names it"));
        }
        text.to_owned()
    };
    let (resource, action) = (named("resource", &raw.resource), named("action", &raw.action));
    if resource == "*" {
        let why = "a policy has no wildcard for resources, so nobody would pass; name one";
        problems.add(&key.key("resource"), why);
    }
    let check = match raw.check {
        None | Some(raw::PermissionCheck::Local) => PermissionCheck::Local,
        Some(raw::PermissionCheck::Remote) => PermissionCheck::Remote,
    };
    Some(Permission { resource, action, check })
}
