//! The path of a request, in the one spelling that is matched and forwarded.
//!
//! What holds: whatever [`normalise`] returns is the same path to every server behind us, however
//! often it decodes and whichever separators it knows. A path that two servers could read
//! differently is refused, never repaired (DESIGN.md section 3, ATTACKS.md section 4). Judged and
//! forwarded bytes are one value, and normalising them again changes nothing.

use std::borrow::Cow;

use super::rejection::{Code, Rejection};

/// A path in the only spelling that is matched and forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normal<'a> {
    pub path: Cow<'a, str>,
    /// Whether `%2F` stands in it, which only a route with `encoded_slashes = "keep"` allows.
    pub encoded_slash: bool,
}

/// A path that can be read in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Ambiguous {
    /// For the log.
    pub reason: &'static str,
}

impl From<Ambiguous> for Rejection {
    fn from(ambiguous: Ambiguous) -> Self {
        Self::new(Code::AmbiguousPath, ambiguous.reason)
    }
}

const fn no<T>(reason: &'static str) -> Result<T, Ambiguous> {
    Err(Ambiguous { reason })
}

/// Brings a path, without its query, into the spelling that is matched and forwarded.
///
/// Escaped unreserved characters are decoded and other escapes get upper-case digits (RFC 3986
/// section 6.2.2); nothing else is changed. A clean path is read once and not copied.
///
/// # Errors
/// When servers could disagree about what the path names.
pub fn normalise(path: &str) -> Result<Normal<'_>, Ambiguous> {
    if path.as_bytes().first() != Some(&b'/') {
        return no("the path does not begin with a slash");
    }
    if is_clean(path.as_bytes()) {
        return Ok(Normal { path: Cow::Borrowed(path), encoded_slash: false });
    }
    check_bytes(path.as_bytes())?;
    check_empty_segments(path.as_bytes())?;
    if !path.contains('%') {
        check_dot_segments(path)?;
        return Ok(Normal { path: Cow::Borrowed(path), encoded_slash: false });
    }
    let path = respell(path)?;
    let Ok(meaning) = String::from_utf8(decode(path.as_bytes())) else {
        return no("an escape is not UTF-8");
    };
    check_characters(&meaning)?;
    check_dot_segments(&meaning)?;
    check_blank_segments(&meaning)?;
    if meaning.contains('%') {
        check_further_decoding(&meaning)?;
    }
    Ok(Normal { encoded_slash: path.contains("%2F"), path })
}

/// Takes `prefix` off a normal path, for `strip_prefix`. What is left begins with a slash; a path
/// equal to the prefix leaves `/`.
///
/// # Errors
/// When the path is not the prefix or something under it, or when what is left is not normal
/// (ATTACKS.md D15).
pub fn cut_prefix<'a>(path: &'a str, prefix: &str) -> Result<&'a str, Ambiguous> {
    let mut rest = path;
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    for want in prefix.split('/').skip(1) {
        let Some(from_segment) = rest.strip_prefix('/') else {
            return no("the path is not under the prefix to strip");
        };
        let end = from_segment.find('/').unwrap_or(from_segment.len());
        let (segment, tail) = from_segment.split_at(end);
        if !means(segment, &decode(want.as_bytes())) {
            return no("the path is not under the prefix to strip");
        }
        rest = tail;
    }
    if rest.is_empty() {
        return Ok("/");
    }
    match normalise(rest)?.path {
        Cow::Borrowed(rest) => Ok(rest),
        Cow::Owned(_) => no("the path is not normal once its prefix is stripped"),
    }
}

/// Decodes every escape once. What is not an escape stays as it is.
pub(crate) fn decode(text: &[u8]) -> Vec<u8> {
    Decoded(text).collect()
}

/// Whether a segment says this once decoded, as the server behind us would read it.
pub(super) fn means(segment: &str, meaning: &[u8]) -> bool {
    Decoded(segment.as_bytes()).eq(meaning.iter().copied())
}

/// The bytes of a text with its escapes decoded once.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = match *self.0 {
            [b'%', high, low, ref rest @ ..] => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => (high << 4 | low, rest),
                _ => (b'%', &self.0[1..]),
            },
            [byte, ref rest @ ..] => (byte, rest),
            [] => return None,
        };
        self.0 = rest;
        Some(byte)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len() / 3, Some(self.0.len()))
    }
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const OTHER: u8 = 0;
const ORDINARY: u8 = 1;
const DOT: u8 = 2;
const SLASH: u8 = 3;

/// What the fast pass thinks of each byte: everything `OTHER` goes the slow way.
static CLASSES: [u8; 256] = {
    let mut classes = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        if is_unreserved(byte as u8) || matches!(byte as u8, b'!' | b'$' | b'&' | b'\'' | b'(' | b')') {
            classes[byte] = ORDINARY;
        }
        if matches!(byte as u8, b'*' | b'+' | b',' | b'=' | b':' | b'@') {
            classes[byte] = ORDINARY;
        }
        byte += 1;
    }
    classes[b'.' as usize] = DOT;
    classes[b'/' as usize] = SLASH;
    classes
};

/// Whether nothing in the path needs a second look. A segment that begins with a dot does.
fn is_clean(path: &[u8]) -> bool {
    let mut before = ORDINARY;
    for &byte in path {
        let class = CLASSES[usize::from(byte)];
        if class == OTHER || (before == SLASH && class >= DOT) {
            return false;
        }
        before = class;
    }
    true
}

/// Refuses what never stands in a path, whatever it would mean.
fn check_bytes(path: &[u8]) -> Result<(), Ambiguous> {
    for &byte in path {
        match byte {
            0..=0x1f | 0x7f => return no("a control character stands in the path"),
            b' ' => return no("a space stands in the path"),
            b'\\' => return no("a backslash stands in the path"),
            b'?' | b'#' => return no("a query or fragment stands in the path"),
            0x80.. => return no("the path is not ASCII"),
            _ => {}
        }
    }
    Ok(())
}

fn check_empty_segments(path: &[u8]) -> Result<(), Ambiguous> {
    if path.windows(2).any(|pair| pair == b"//") {
        return no("a segment of the path is empty");
    }
    Ok(())
}

/// Escapes as RFC 3986 wants them; refuses what is none.
fn respell(path: &str) -> Result<Cow<'_, str>, Ambiguous> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let digits = rest.as_bytes().get(at + 1..at + 3);
        let Some((Some(high), Some(low))) = digits.map(|digits| (hex(digits[0]), hex(digits[1]))) else {
            return no("an escape in the path is not `%` and two hexadecimal digits");
        };
        let byte = high << 4 | low;
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            push_escape(&mut out, byte);
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Ok(if out == path { Cow::Borrowed(path) } else { Cow::Owned(out) })
}

/// Writes a byte as `%XX`.
pub(crate) fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Refuses characters that some server takes for a separator, a dot or an end.
fn check_characters(meaning: &str) -> Result<(), Ambiguous> {
    for character in meaning.chars() {
        match character {
            '\\' => return no("an escaped backslash stands in the path"),
            // Full-width, small and leader forms that compatibility folding turns into `.`, `..`,
            // `/` and `\`, with the two slashes that best-fit conversion turns into `/`.
            '\u{ff0e}' | '\u{ff0f}' | '\u{ff3c}' | '\u{fe52}' | '\u{fe68}' | '\u{2024}' | '\u{2025}'
            | '\u{2044}' | '\u{2215}' => {
                return no("an escaped character stands in the path that folds into a dot or slash");
            }
            _ if character.is_control() => return no("an escaped control character stands in the path"),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses `.` and `..`, also with parameters or blanks that a server would drop. An escaped slash
/// counts as a separator here, since whoever decodes it would see a dot segment.
fn check_dot_segments(meaning: &str) -> Result<(), Ambiguous> {
    for segment in meaning.split('/') {
        if !segment.starts_with(|first: char| first == '.' || first.is_whitespace()) {
            continue;
        }
        let name = segment.split(';').next().unwrap_or_default().trim();
        if name == "." || name == ".." {
            return no("a dot segment stands in the path");
        }
    }
    Ok(())
}

fn check_blank_segments(meaning: &str) -> Result<(), Ambiguous> {
    if meaning.split('/').any(|segment| !segment.is_empty() && segment.trim().is_empty()) {
        return no("a segment of the path is blank");
    }
    Ok(())
}

/// Refuses escaped percent signs that hide something from us which a server that decodes more
/// than once would find. The rounds are bounded, so this stays linear.
fn check_further_decoding(meaning: &str) -> Result<(), Ambiguous> {
    const ROUNDS: usize = 8;
    let slashes = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'/').count();
    let mut bytes = meaning.as_bytes().to_vec();
    for _ in 0..ROUNDS {
        let further = decode(&bytes);
        if further == bytes {
            let wide = |at: &[u8]| {
                at[0] == b'%' && at[1] | 0x20 == b'u' && at[2..].iter().all(u8::is_ascii_hexdigit)
            };
            if slashes(&bytes) > slashes(meaning.as_bytes()) {
                return no("a doubly escaped slash stands in the path");
            }
            if bytes.windows(6).any(wide) || is_overlong(&bytes) {
                return no("a doubly escaped character stands in the path");
            }
            let text = String::from_utf8_lossy(&bytes);
            check_characters(&text)?;
            return check_dot_segments(&text);
        }
        bytes = further;
    }
    no("the path is escaped too many times")
}

/// Whether bytes hold a longer UTF-8 form than its character needs, which lax decoders accept.
fn is_overlong(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, 0xc0 | 0xc1))
        || bytes.windows(2).any(|pair| matches!(pair, [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]))
}

#[cfg(test)]
mod tests;
