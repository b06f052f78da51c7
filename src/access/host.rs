//! The host a request is for, in the one spelling that is matched.
//!
//! What holds: two hosts are the same name exactly when their normal forms are the same bytes.
//! What only looks like a host is refused rather than guessed at (ATTACKS.md section 6).

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::rejection::{Code, Rejection};

/// A host and port as the request named them, in normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority<'a> {
    /// In lower case, without a trailing dot; an IPv6 address in brackets and in the form of RFC 5952.
    pub host: Cow<'a, str>,
    pub port: Option<u16>,
}

/// Something in the place of a host that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotAHost {
    /// For the log.
    pub reason: &'static str,
}

impl From<NotAHost> for Rejection {
    fn from(not: NotAHost) -> Self {
        Self::new(Code::BadRequest, not.reason)
    }
}

const NOT_ASCII: &str = "the host is not ASCII";

const fn no<T>(reason: &'static str) -> Result<T, NotAHost> {
    Err(NotAHost { reason })
}

/// Reads the value of a `Host` field or the authority of a target (RFC 9110 section 7.2).
///
/// Narrower than RFC 3986: letters, digits, `-`, `_` and dots, or an IPv6 address in brackets. A
/// port is one to five digits without leading zeros; `host:` is refused. Nothing is copied when
/// the name is in lower case already.
///
/// # Errors
/// When it is not exactly one host with at most one port.
pub fn parse(raw: &[u8]) -> Result<Authority<'_>, NotAHost> {
    if let Some(inside) = raw.strip_prefix(b"[") {
        return address(inside);
    }
    let (name, port) = match raw.iter().position(|&byte| byte == b':') {
        Some(colon) => (&raw[..colon], Some(read_port(&raw[colon + 1..])?)),
        None => (raw, None),
    };
    let name = name.strip_suffix(b".").unwrap_or(name);
    let has_upper_case = check_name(name)?;
    let Ok(name) = str::from_utf8(name) else { return no(NOT_ASCII) };
    let host = if has_upper_case { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) };
    Ok(Authority { host, port })
}

/// An IPv6 address from after its opening bracket. Zones and later versions are refused.
fn address(inside: &[u8]) -> Result<Authority<'_>, NotAHost> {
    let Ok(inside) = str::from_utf8(inside) else { return no(NOT_ASCII) };
    let Some((address, after)) = inside.split_once(']') else {
        return no("the address in the host has no closing bracket");
    };
    let Ok(address) = address.parse::<Ipv6Addr>() else {
        return no("what stands in brackets is not an IPv6 address");
    };
    let port = match after.strip_prefix(':') {
        Some(port) => Some(read_port(port.as_bytes())?),
        None if after.is_empty() => None,
        None => return no("something follows the address in the host"),
    };
    Ok(Authority { host: Cow::Owned(format!("[{address}]")), port })
}

fn read_port(digits: &[u8]) -> Result<u16, NotAHost> {
    if digits.is_empty() || digits[0] == b'0' || !digits.iter().all(u8::is_ascii_digit) {
        return no("the port is not a number");
    }
    let port =
        digits.iter().try_fold(0u16, |sum, digit| sum.checked_mul(10)?.checked_add(u16::from(digit - b'0')));
    port.ok_or(NotAHost { reason: "the port is too large" })
}

/// Whether the name holds upper-case letters, once it is known to be a name.
fn check_name(name: &[u8]) -> Result<bool, NotAHost> {
    if name.len() > 253 {
        return no("the host is too long");
    }
    let mut upper_case = false;
    let mut label = 0;
    for &byte in name {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            b'A'..=b'Z' => {
                upper_case = true;
                label += 1;
            }
            b'.' if label == 0 => return no("a label of the host is empty"),
            b'.' => label = 0,
            b'@' => return no("a user stands before the host"),
            b',' => return no("more than one host is named"),
            b'%' => return no("the host is escaped"),
            0x80.. => return no(NOT_ASCII),
            _ => return no("a character stands in the host that belongs in none"),
        }
        if label > 63 {
            return no("a label of the host is too long");
        }
    }
    if label == 0 {
        return no("the host is empty or ends in two dots");
    }
    Ok(upper_case)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_have_one_spelling() {
        for (raw, host, port) in [
            ("app.test", "app.test", None),
            ("App.TEST", "app.test", None),
            ("app.test.", "app.test", None),
            ("app.test:8080", "app.test", Some(8080)),
            ("APP.test.:443", "app.test", Some(443)),
            ("localhost", "localhost", None),
            ("my_service", "my_service", None),
            ("xn--pp-6kc.test", "xn--pp-6kc.test", None),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("[::1]", "[::1]", None),
            ("[0:0:0:0:0:0:0:1]:65535", "[::1]", Some(65535)),
            ("[2001:DB8::A]", "[2001:db8::a]", None),
        ] {
            let authority = parse(raw.as_bytes()).unwrap_or_else(|refused| panic!("{raw}: {refused}"));
            assert_eq!((authority.host.as_ref(), authority.port), (host, port), "{raw}");
        }
        assert!(matches!(parse(b"app.test:1").unwrap().host, Cow::Borrowed("app.test")));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for raw in [
            "",
            ".",
            "..",
            ":80",
            "a..b",
            ".a",
            "a..",
            "app.test:",
            "app.test:0",
            "app.test:080",
            "app.test:+80",
            "app.test:65536",
            "app.test:99999999999999999999",
            "app.test:80:80",
            "app.test@other.test",
            "user:pass@other.test",
            "app.test,other.test",
            "app.test other.test",
            " app.test",
            "app.test/",
            "app.test#",
            "app.test?",
            "app.test\\other",
            "app%2etest",
            "\u{430}pp.test",
            "app.test\0",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[::1%25eth0]",
            "[1.2.3.4]",
            "[v1.x]",
            "[]",
        ] {
            assert!(parse(raw.as_bytes()).is_err(), "{raw:?} passed");
        }
        assert!(parse(b"\xff").is_err());
        assert!(parse(format!("{}.test", "a".repeat(63)).as_bytes()).is_ok());
        assert!(parse(format!("{}.test", "a".repeat(64)).as_bytes()).is_err());
        assert!(parse("a.".repeat(126).as_bytes()).is_ok());
        assert!(parse("a.".repeat(128).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(raw in any::<Vec<u8>>()) {
            let _ = parse(&raw);
        }

        #[test]
        fn parsing_again_changes_nothing(raw in "[a-zA-Z0-9._:\\[\\]-]{1,24}") {
            if let Ok(first) = parse(raw.as_bytes()) {
                let again = parse(first.host.as_bytes()).unwrap();
                prop_assert_eq!(&again.host, &first.host);
                prop_assert_eq!(again.port, None);
            }
        }
    }
}
