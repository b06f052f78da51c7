//! Which bytes may stand where.

use std::ops::RangeInclusive;

const UPPER: RangeInclusive<u8> = b'A'..=b'Z';

/// Methods are case-sensitive; every registered one is upper case (RFC 9110 section 16.1).
pub(super) const fn is_method(byte: u8) -> bool {
    byte >= *UPPER.start() && byte <= *UPPER.end() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
}

const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~", true);
/// RFC 3986 without a fragment; the few further bytes that browsers leave alone.
const TARGET: [bool; 256] = table(b"!$%&'()*+,-./:;=?@[\\]^_|~{}", true);

const fn table(punctuation: &[u8], alphanumeric: bool) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = alphanumeric && (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < punctuation.len() {
        table[punctuation[index] as usize] = true;
        index += 1;
    }
    table
}

pub(super) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

pub(super) const fn is_target(byte: u8) -> bool {
    TARGET[byte as usize]
}

/// Whether a name is another one but for the marks between its letters. Both are in lower case.
pub(super) fn is_alias(name: &[u8], known: &[u8]) -> bool {
    name.len() == known.len()
        && name
            .iter()
            .zip(known)
            .all(|(byte, known)| byte == known || (*known == b'-' && !byte.is_ascii_alphanumeric()))
}

/// Visible bytes, space, tab and bytes above ASCII (RFC 9110 section 5.5). Written so that the
/// compiler can look at many bytes at once.
pub(super) fn is_field_content(bytes: &[u8]) -> bool {
    let bad = |byte: u8| u8::from(byte < b' ') & u8::from(byte != b'\t') | u8::from(byte == 0x7f);
    bytes.iter().fold(0, |found, &byte| found | bad(byte)) == 0
}
