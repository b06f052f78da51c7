//! Secrets: given by value or in a file, never both.
//!
//! What holds: no message repeats a secret, and a file that was named is watched, also where it
//! cannot be read.

use std::path::{Path, PathBuf};

use super::Findings;
use crate::config::Secret;
use crate::config::problems::KeyPath;

/// No secret is larger.
const LARGEST: u64 = 64 << 10;

/// The secret of `key`, which is given as `value` or in `file`. `missing` is said where it is given
/// in neither. None where there is a problem.
pub(super) fn given(
    key: &str,
    value: Option<&String>,
    file: Option<&String>,
    missing: &str,
    findings: &mut Findings,
) -> Option<Secret> {
    let file_name = format!("{key}_file");
    let (value_key, file_key) = (KeyPath::of(key), KeyPath::of(&file_name));
    let (key, text) = match (value, file) {
        (Some(_), Some(_)) => {
            // Both places are named: one of them may be a variable that nobody remembers.
            let problems = &mut findings.problems;
            problems.add(&value_key, format!("given together with {file_name}; keep one of the two"));
            problems.add(&file_key, format!("given together with {key}; keep one of the two"));
            return None;
        }
        (None, None) => {
            if !findings.problems.covers(&file_key) {
                findings.problems.missing(&value_key, missing);
            }
            return None;
        }
        (Some(value), None) => (value_key, value.clone()),
        (None, Some(path)) => {
            let text = file_text(path, findings);
            (file_key.clone(), findings.problems.keep(&file_key, text)?)
        }
    };
    if text.is_empty() {
        findings.problems.add(&key, "the secret is empty");
        return None;
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        findings.problems.add(&key, "the secret holds a space or a control character; it is one word");
        return None;
    }
    Some(Secret::new(text))
}

/// What a file with a secret holds.
pub(super) fn file(path: &str, findings: &mut Findings) -> Result<Vec<u8>, String> {
    findings.watched.push(PathBuf::from(path));
    let path = Path::new(path);
    let unreadable = |error| format!("{} cannot be read: {error}", path.display());
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > LARGEST {
        return Err(format!("{} is larger than 64 KiB, which no secret is", path.display()));
    }
    std::fs::read(path).map_err(unreadable)
}

/// The same as text, without the line break that editors leave at its end.
fn file_text(path: &str, findings: &mut Findings) -> Result<String, String> {
    let text = String::from_utf8(file(path, findings)?).map_err(|_| format!("{path} is not text"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(format!("{path} is empty")) } else { Ok(text.to_owned()) }
}
