//! `[signin]`: the pages on which people sign in.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Findings, device, logo, round_trips, secret};
use crate::access::host::{self, Authority};
use crate::config::problems::{KeyPath, Problems, did_you_mean};
use crate::config::{Brand, Secret, Signin, SigninMethod, Vertical, raw};
use crate::identity::device::CLAIM;
use crate::signin::texts::{Key, Texts};

/// Claims that say what a token is (RFC 7519 section 4.1).
const RESERVED_CLAIMS: [&str; 7] = ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"];
/// As JSON.
const MOST_CLAIMS: usize = 4096;
/// Of the claim about the device, with its name.
const MOST_OF_DEVICE: usize = 512;

/// What Stytch takes for a session's length (REFERENCE.md section 10).
const SESSION_MINUTES: std::ops::RangeInclusive<u64> = 5..=527_040;
/// Fewer characters could be guessed.
const LEAST_KEY: usize = 32;
/// The largest file of texts that is read.
const MAX_TEXTS: u64 = 1 << 20;

pub(super) fn signin(all: &raw::Raw, findings: &mut Findings) -> Option<Signin> {
    let raw = &all.signin;
    let base_path = base_path(&raw.base_path, &mut findings.problems);
    methods(raw, all.stytch.vertical, &mut findings.problems);
    let oauth_providers = round_trips::providers(raw, all.stytch.vertical, findings);
    if raw.create_organizations && all.stytch.vertical == Vertical::Consumer {
        let message = "users have no organizations; remove it";
        findings.problems.add(&KeyPath::of("signin.create_organizations"), message);
    }
    let session_minutes = session_minutes(raw, &mut findings.problems);
    let custom_claims = custom_claims(raw, &mut findings.problems);
    let brand = brand(&raw.brand, findings);
    let texts = texts(raw, findings);
    let device = device::script(all, findings);
    let redirects = redirects(raw, &mut findings.problems);
    let state_key = state_key(raw, findings);
    if raw.enabled && raw.state_key.is_none() && raw.state_key_file.is_none() {
        findings.notes.push(
            "signin.state_key is not set: a sign-in under way ends when the gateway restarts, and replicas \
             would not know each other's"
                .to_owned(),
        );
    }
    Some(Signin {
        enabled: raw.enabled,
        base_path: base_path?,
        methods: raw.methods.clone(),
        oauth_providers,
        round_trips: None,
        session_minutes: session_minutes?,
        custom_claims,
        create_organizations: raw.create_organizations,
        brand: brand?,
        device: device?,
        texts: Arc::new(texts?),
        redirects: redirects?,
        state_key: state_key?,
    })
}

fn base_path(text: &str, problems: &mut Problems) -> Option<String> {
    let key = KeyPath::of("signin.base_path");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let segment =
        |segment: &str| !segment.is_empty() && !matches!(segment, "." | "..") && segment.bytes().all(plain);
    match text.strip_prefix('/') {
        Some(rest) if rest.split('/').all(segment) => Some(text.to_owned()),
        _ => {
            let message = format!(
                "{text:?} is not a path of its own; write one such as \"/_stytch\", without a slash at the end"
            );
            problems.add(&key, message);
            None
        }
    }
}

fn methods(raw: &raw::Signin, vertical: Vertical, problems: &mut Problems) {
    let key = KeyPath::of("signin.methods");
    if raw.methods.is_empty() {
        problems.add(&key, "an empty list lets nobody sign in; name at least one method");
    }
    for (index, method) in raw.methods.iter().enumerate() {
        if raw.methods[..index].contains(method) {
            problems.add(&key.index(index), "listed twice");
        }
        let message = match (vertical, method) {
            (Vertical::B2b, SigninMethod::SmsOtp) => {
                "for members a text message is a second factor, never the first, and is asked for whenever it \
                 is due; remove it"
            }
            (Vertical::B2b, SigninMethod::WhatsappOtp) => {
                "members get no codes by WhatsApp; it is for Consumer projects alone"
            }
            (Vertical::Consumer, SigninMethod::Sso) => {
                "single sign-on is for members; users have no organization"
            }
            _ => continue,
        };
        problems.add(&key.index(index), message);
    }
}

fn session_minutes(raw: &raw::Signin, problems: &mut Problems) -> Option<u32> {
    let key = KeyPath::of("signin.session_duration");
    let period = raw.session_duration.0;
    let minutes = period.as_secs() / 60;
    if !SESSION_MINUTES.contains(&minutes) {
        problems.add(&key, "must be between 5m and 366d");
        return None;
    }
    if period != std::time::Duration::from_secs(minutes * 60) {
        problems.add(&key, "must be whole minutes");
    }
    u32::try_from(minutes).ok()
}

/// What Stytch takes (REFERENCE.md section 10): names that are not its own or a token's, and 4 KB in
/// all.
fn custom_claims(raw: &raw::Signin, problems: &mut Problems) -> serde_json::Map<String, serde_json::Value> {
    let key = KeyPath::of("signin.custom_claims");
    for (name, value) in &raw.custom_claims {
        if RESERVED_CLAIMS.contains(&name.as_str()) || name.starts_with("https://stytch.com/") {
            problems.add(&key.key(name), "a name that every token has already, which Stytch does not take");
        } else if name == "scope" {
            problems.add(&key.key(name), "a session that has scopes passes for a machine's token elsewhere");
        } else if name == CLAIM {
            problems.add(
                &key.key(name),
                "what Stytch says of the device stands there, where signin.device asks it",
            );
        } else if value.is_null() {
            problems.add(&key.key(name), "has no value");
        }
    }
    let claims: serde_json::Map<_, _> = raw.custom_claims.clone().into_iter().collect();
    let size = serde_json::to_string(&claims).map_or(usize::MAX, |text| text.len());
    let kept = if raw.device.script.is_some() { MOST_OF_DEVICE } else { 0 };
    if size > MOST_CLAIMS {
        problems.add(&key, format!("{size} bytes as JSON; Stytch takes 4096 in all"));
    } else if size > MOST_CLAIMS - kept {
        problems.add(
            &key,
            format!("{size} bytes as JSON; Stytch takes 4096 in all, {kept} of them for the device"),
        );
    }
    claims
}

fn brand(raw: &raw::Brand, findings: &mut Findings) -> Option<Brand> {
    let key = KeyPath::of("signin.brand");
    let logo = logo::logo(raw.logo.as_deref(), findings);
    let problems = &mut findings.problems;
    if raw.name.as_ref().is_some_and(|name| name.trim().is_empty()) {
        problems.add(&key.key("name"), "is empty; to show the host, leave the key out");
    }
    let accent = match &raw.accent {
        Some(text) => Some(problems.keep(&key.key("accent"), colour(text))?),
        None => None,
    };
    Some(Brand { name: raw.name.clone(), accent, logo: logo? })
}

fn colour(text: &str) -> Result<[u8; 3], String> {
    let wrong = || format!("{text:?} is not a colour; write six digits, such as \"#1a56db\"");
    let digits = text.strip_prefix('#').ok_or_else(wrong)?;
    let wide: String = match digits.len() {
        3 => digits.chars().flat_map(|digit| [digit, digit]).collect(),
        _ => digits.to_owned(),
    };
    if wide.len() != 6 || !wide.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let number = u32::from_str_radix(&wide, 16).map_err(|_| wrong())?;
    let [_, red, green, blue] = number.to_be_bytes();
    Ok([red, green, blue])
}

/// The built-in texts with those of the file over them.
fn texts(raw: &raw::Signin, findings: &mut Findings) -> Option<Texts> {
    let mut texts = Texts::built_in();
    let Some(path) = &raw.texts else { return Some(texts) };
    let key = KeyPath::of("signin.texts");
    findings.watched.push(PathBuf::from(path));
    let read = read_texts(path).and_then(|table| replace(&mut texts, table));
    findings.problems.keep(&key, read)?;
    Some(texts)
}

fn read_texts(path: &str) -> Result<toml::Table, String> {
    let cannot = |error: std::io::Error| format!("{path} cannot be read: {error}");
    if std::fs::metadata(path).map_err(cannot)?.len() > MAX_TEXTS {
        return Err(format!("{path} is larger than 1 MiB"));
    }
    let text = std::fs::read_to_string(path).map_err(cannot)?;
    text.parse().map_err(|error: toml::de::Error| format!("{path} is not valid TOML: {}", error.message()))
}

fn replace(texts: &mut Texts, table: toml::Table) -> Result<(), String> {
    for (language, entries) in table {
        let tag =
            |tag: &str| (2..=3).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_lowercase());
        let toml::Value::Table(entries) = entries else {
            return Err(format!(
                "{language:?} is not a table; texts stand in one for each language, such as [en]"
            ));
        };
        if !tag(&language) {
            return Err(format!("{language:?} is not a language; write two letters, such as [en]"));
        }
        for (name, text) in entries {
            let Some(key) = Key::named(&name) else {
                let hint = did_you_mean(&name, Key::ALL.into_iter().map(Key::name));
                return Err(format!("[{language}] {name:?} is no text there is{hint}"));
            };
            let toml::Value::String(text) = text else {
                return Err(format!("[{language}] {name:?} is not a text in quotes"));
            };
            texts.set(&language, key, text);
        }
    }
    Ok(())
}

fn redirects(raw: &raw::Signin, problems: &mut Problems) -> Option<Vec<Authority<'static>>> {
    let key = KeyPath::of("signin.redirects");
    let mut hosts = Vec::new();
    for (index, text) in raw.redirects.iter().enumerate() {
        let parsed = host::parse(text.as_bytes())
            .map(|authority| Authority { host: authority.host.into_owned().into(), port: authority.port });
        let told = parsed.map_err(|_| {
            format!("{text:?} is not a host; write one such as \"reports.example.com\", without https:// before it")
        });
        hosts.extend(problems.keep(&key.index(index), told));
    }
    (hosts.len() == raw.redirects.len()).then_some(hosts)
}

/// `None` where there is a problem; `Some(None)` where none is given.
fn state_key(raw: &raw::Signin, findings: &mut Findings) -> Option<Option<Secret>> {
    let (value, file) = (raw.state_key.as_ref(), raw.state_key_file.as_ref());
    if value.is_none() && file.is_none() {
        return Some(None);
    }
    let secret = secret::given("signin.state_key", value, file, "missing", findings)?;
    if secret.expose().len() < LEAST_KEY {
        let key = if value.is_some() { "signin.state_key" } else { "signin.state_key_file" };
        let message =
            "shorter than 32 characters, so it could be guessed; `openssl rand -base64 32` makes one";
        findings.problems.add(&KeyPath::of(key), message);
        return None;
    }
    Some(Some(secret))
}
