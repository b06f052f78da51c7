//! `[stytch]`: the project, its secret, and where its API is.

use std::path::PathBuf;

use super::urls::{Origin, quoted};
use super::{Findings, positive, secret};
use crate::config::problems::{KeyPath, Problems};
use crate::config::{Stytch, Vertical, raw};

const TEST_API: &str = "https://test.stytch.com";
const LIVE_API: &str = "https://api.stytch.com";

pub(super) fn stytch(raw: &raw::Stytch, findings: &mut Findings) -> Option<Stytch> {
    let project_id = project_id(raw, &mut findings.problems);
    let missing = "missing; set stytch.secret_file, stytch.secret or STYTCH_SECRET";
    let secret =
        secret::given("stytch.secret", raw.secret.as_ref(), raw.secret_file.as_ref(), missing, findings);
    let problems = &mut findings.problems;
    let api = api(raw, project_id.as_deref(), problems);
    let timeout = positive(raw.timeout, &KeyPath::of("stytch.timeout"), problems);
    let jwks_refresh = positive(raw.jwks_refresh, &KeyPath::of("stytch.jwks_refresh"), problems);
    let policy_refresh = positive(raw.policy_refresh, &KeyPath::of("stytch.policy_refresh"), problems);
    let domain = domain(raw, problems);
    check_issuers(raw, problems);
    let key_cache_file = key_cache_file(raw, problems);
    let public_token = public_token(raw, problems);

    let (project_id, api) = (project_id?, api?);
    let mut issuers = vec![format!("stytch.com/{project_id}")];
    let api_url = api.to_string();
    if api_url != TEST_API && api_url != LIVE_API {
        issuers.push(api_url);
    }
    issuers.extend(domain.clone());
    issuers.extend(raw.issuers.iter().cloned());
    issuers.dedup();
    Some(Stytch {
        project_id,
        secret: secret?,
        vertical: raw.vertical,
        api_url: api.uri().ok()?,
        issuers,
        public_token,
        timeout,
        jwks_refresh,
        policy_refresh,
        domain,
        key_cache_file,
    })
}

fn project_id(raw: &raw::Stytch, problems: &mut Problems) -> Option<String> {
    let key = KeyPath::of("stytch.project_id");
    let Some(id) = &raw.project_id else {
        problems.missing(&key, "missing; write the project's id here or set STYTCH_PROJECT_ID");
        return None;
    };
    // The id is not quoted: someone may have put the secret in its place.
    let rest = id.strip_prefix("project-test-").or_else(|| id.strip_prefix("project-live-"));
    match rest {
        None if id.starts_with("secret-") => problems.add(&key, "this is a secret, not a project id"),
        None => problems.add(&key, "a project id begins with project-test- or project-live-"),
        Some(rest) if rest.is_empty() || !rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => {
            problems.add(&key, "not a project id; after its prefix come letters, digits and hyphens alone");
        }
        Some(_) => return Some(id.clone()),
    }
    None
}

fn api(raw: &raw::Stytch, project_id: Option<&str>, problems: &mut Problems) -> Option<Origin> {
    let key = KeyPath::of("stytch.api_url");
    let Some(text) = &raw.api_url else {
        let live = project_id.is_some_and(|id| id.starts_with("project-live-"));
        return Origin::parse(if live { LIVE_API } else { TEST_API }).ok();
    };
    let origin = problems.keep(&key, Origin::parse(text))?;
    match origin.scheme.as_str() {
        "https" => {}
        "http" if origin.is_loopback() => {}
        "http" => {
            problems.add(&key, "must be https, or the secret would be sent readable to everyone on the way");
        }
        _ => problems.add(&key, "must begin with https://"),
    }
    Some(origin)
}

/// As an origin: a name alone stands for https, which the API's documents write too.
fn domain(raw: &raw::Stytch, problems: &mut Problems) -> Option<String> {
    let key = KeyPath::of("stytch.domain");
    let text = raw.domain.as_ref()?;
    let url = if text.contains("://") { text.clone() } else { format!("https://{text}") };
    let Ok(origin) = Origin::parse(&url) else {
        let message = format!("{} is not a domain; write one such as \"login.example.com\"", quoted(text));
        problems.add(&key, message);
        return None;
    };
    if origin.scheme != "https" && !(origin.scheme == "http" && origin.is_loopback()) {
        problems.add(&key, "must be https: people sign in there");
    }
    Some(origin.to_string().to_ascii_lowercase())
}

/// Public, but the secret next to it in the dashboard is not, so it is not quoted.
fn public_token(raw: &raw::Stytch, problems: &mut Problems) -> Option<String> {
    let token = raw.public_token.as_ref()?;
    let key = KeyPath::of("stytch.public_token");
    if token.starts_with("secret-") {
        problems.add(
            &key,
            "this is a secret, and would be shown to every browser; a public token begins with public-token-",
        );
    } else if token.is_empty()
        || !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    {
        problems.add(&key, "not a public token; one holds letters, digits, hyphens and underscores alone");
    }
    Some(token.clone())
}

fn check_issuers(raw: &raw::Stytch, problems: &mut Problems) {
    for (index, issuer) in raw.issuers.iter().enumerate() {
        let key = KeyPath::of("stytch.issuers").index(index);
        if issuer.is_empty() || issuer.chars().any(char::is_whitespace) {
            problems.add(&key, "an issuer is one word, such as \"https://login.example.com\"");
        }
    }
}

fn key_cache_file(raw: &raw::Stytch, problems: &mut Problems) -> Option<PathBuf> {
    let text = raw.key_cache_file.as_deref().filter(|text| *text != "off")?;
    if text.is_empty() || text.ends_with('/') {
        problems.add(&KeyPath::of("stytch.key_cache_file"), "must name a file");
    }
    Some(PathBuf::from(text))
}

impl Vertical {
    /// As it is written in a settings file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::B2b => "b2b",
            Self::Consumer => "consumer",
        }
    }
}
