//! One access log line: a JSON object with the same fields in the same order every time.
//!
//! Written by hand into the worker's buffer: this runs for every request, and copying literal
//! pieces costs less than a serializer that looks at each. Absent values are `null`. Only
//! `reason` comes and goes: it is there when the request was refused or failed.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::identity::Identity;
use crate::metrics::{Decision, Verification};

/// Longer hosts and paths are cut here, and end in `…`: a client chooses them.
const LONGEST: usize = 4096;

/// What is known when a request arrives.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// When its head was complete.
    pub time: SystemTime,
    pub request_id: &'a str,
    pub trace_id: &'a str,
    /// None for a Unix socket.
    pub client: Option<IpAddr>,
    pub method: &'a str,
    pub host: &'a str,
    /// Without the query, which may hold a credential.
    pub path: &'a str,
}

/// What is known when it has ended.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    pub route: Option<&'a str>,
    pub decision: Decision,
    /// Of the answer the client got.
    pub status: u16,
    /// See [`who`]; [`NOBODY`] where nobody was proved.
    pub who: &'a [u8],
    pub verification: Verification,
    /// None where it came to no decision.
    pub decision_took: Option<Duration>,
    /// None where no upstream was asked.
    pub upstream_took: Option<Duration>,
    pub took: Duration,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Why not, in our words; the client is not told.
    pub reason: Option<&'a str>,
}

/// The first part of a line, up to and with the path.
pub(super) fn begin(line: &mut Vec<u8>, clock: &mut Clock, request: &Request<'_>) {
    line.extend_from_slice(b"{\"time\":\"");
    clock.write(line, request.time);
    // Ids are made or checked by us, and need no escape.
    word(line, b"\",\"request_id\":\"", request.request_id);
    word(line, b"\",\"trace_id\":\"", request.trace_id);
    line.extend_from_slice(b"\",\"client\":");
    address(line, request.client);
    line.extend_from_slice(b",\"method\":");
    string(line, request.method);
    line.extend_from_slice(b",\"host\":");
    bounded(line, request.host);
    line.extend_from_slice(b",\"path\":");
    bounded(line, request.path);
}

/// The first part of a line that is about no request.
pub(in crate::telemetry) fn without_request(line: &mut Vec<u8>, clock: &mut Clock, time: SystemTime) {
    line.extend_from_slice(b"{\"time\":\"");
    clock.write(line, time);
    line.extend_from_slice(
        br#"","request_id":null,"trace_id":null,"client":null,"method":null,"host":null,"path":null"#,
    );
}

/// The rest, with the line feed.
pub(super) fn end(line: &mut Vec<u8>, outcome: &Outcome<'_>) {
    line.extend_from_slice(b",\"route\":");
    optional(line, outcome.route);
    // These values are words of our own, none of which needs an escape.
    word(line, b",\"decision\":\"", outcome.decision.as_str());
    word(line, b"\",\"code\":\"", outcome.decision.code());
    line.extend_from_slice(b"\",\"status\":");
    number(line, outcome.status);
    line.push(b',');
    line.extend_from_slice(outcome.who);
    word(line, b",\"verification\":\"", outcome.verification.as_str());
    line.extend_from_slice(b"\",\"decision_ms\":");
    milliseconds(line, outcome.decision_took);
    line.extend_from_slice(b",\"upstream_ms\":");
    milliseconds(line, outcome.upstream_took);
    line.extend_from_slice(b",\"total_ms\":");
    milliseconds(line, Some(outcome.took));
    line.extend_from_slice(b",\"bytes_in\":");
    number(line, outcome.bytes_in);
    line.extend_from_slice(b",\"bytes_out\":");
    number(line, outcome.bytes_out);
    if let Some(reason) = outcome.reason {
        line.extend_from_slice(b",\"reason\":");
        string(line, reason);
    }
    line.extend_from_slice(b"}\n");
}

/// Whose a request was, as its line says it: made once for all requests of a session.
pub fn who(line: &mut Vec<u8>, identity: &Identity) {
    let subject = |of: &str| Some(identity.subject.as_str()).filter(|subject| subject.starts_with(of));
    line.extend_from_slice(b"\"kind\":");
    string(line, identity.kind.as_str());
    line.extend_from_slice(b",\"member_id\":");
    optional(line, subject("member-"));
    line.extend_from_slice(b",\"user_id\":");
    optional(line, subject("user-"));
    line.extend_from_slice(b",\"client_id\":");
    optional(line, identity.client.as_ref().map(|client| client.id.as_str()));
    line.extend_from_slice(b",\"organization_id\":");
    optional(line, identity.organization.as_ref().map(|organization| organization.id.as_str()));
}

/// [`who`] of nobody.
pub const NOBODY: &[u8] =
    br#""kind":null,"member_id":null,"user_id":null,"client_id":null,"organization_id":null"#;

/// Formats times, remembering the second it formatted last.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct Clock {
    second: Option<i64>,
    /// `2026-11-21T12:34:56.`
    formatted: Vec<u8>,
}

impl Clock {
    /// RFC 3339 in UTC with milliseconds.
    fn write(&mut self, line: &mut Vec<u8>, time: SystemTime) {
        // Nothing is logged before 1970; a clock that says so may be logged as 1970.
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let second = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
        if self.second != Some(second) {
            self.remember(second);
        }
        line.extend_from_slice(&self.formatted);
        three_digits(line, since_epoch.subsec_millis());
        line.push(b'Z');
    }

    fn remember(&mut self, second: i64) {
        let timestamp = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX);
        let formatted = timestamp.to_string();
        self.formatted.clear();
        self.formatted.extend_from_slice(formatted.as_bytes().get(..19).unwrap_or_default());
        self.formatted.push(b'.');
        self.second = Some(second);
    }
}

pub(in crate::telemetry) fn optional(line: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => string(line, value),
        None => line.extend_from_slice(b"null"),
    }
}

pub(in crate::telemetry) fn bounded(line: &mut Vec<u8>, value: &str) {
    if value.len() <= LONGEST {
        return string(line, value);
    }
    string(line, &value[..value.floor_char_boundary(LONGEST)]);
    line.pop();
    line.extend_from_slice("…\"".as_bytes());
}

/// A JSON string. Nearly none needs an escape, and the compiler checks 16 bytes at a time for it.
pub(in crate::telemetry) fn string(line: &mut Vec<u8>, value: &str) {
    line.push(b'"');
    let plain = value.bytes().fold(true, |plain, byte| plain & !needs_escape(byte));
    if plain {
        line.extend_from_slice(value.as_bytes());
    } else {
        escaped(line, value);
    }
    line.push(b'"');
}

const fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == 0x7f)
}

#[cold]
fn escaped(line: &mut Vec<u8>, value: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            control if needs_escape(control) => {
                line.extend_from_slice(b"\\u00");
                line.extend_from_slice(&[HEX[usize::from(control >> 4)], HEX[usize::from(control & 15)]]);
            }
            plain => line.push(plain),
        }
    }
}

fn word(line: &mut Vec<u8>, key: &[u8], word: &str) {
    line.extend_from_slice(key);
    line.extend_from_slice(word.as_bytes());
}

fn number(line: &mut Vec<u8>, number: impl itoa::Integer) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// With three decimals, rounded down.
fn milliseconds(line: &mut Vec<u8>, duration: Option<Duration>) {
    let Some(duration) = duration else {
        return line.extend_from_slice(b"null");
    };
    let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    number(line, microseconds / 1000);
    line.push(b'.');
    three_digits(line, (microseconds % 1000) as u32);
}

fn three_digits(line: &mut Vec<u8>, value: u32) {
    let digit = |value: u32| b'0' + (value % 10) as u8;
    line.extend_from_slice(&[digit(value / 100), digit(value / 10), digit(value)]);
}

fn address(line: &mut Vec<u8>, address: Option<IpAddr>) {
    match address {
        None => line.extend_from_slice(b"null"),
        Some(IpAddr::V4(v4)) => {
            let [a, b, c, d] = v4.octets();
            line.push(b'"');
            for octet in [a, b, c] {
                number(line, octet);
                line.push(b'.');
            }
            number(line, d);
            line.push(b'"');
        }
        Some(IpAddr::V6(v6)) => {
            // Writing to a Vec does not fail.
            let _infallible = write!(line, "\"{v6}\"");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::access::rejection::Code;
    use crate::identity::{Client, Kind};

    const REQUEST: Request<'_> = Request {
        time: SystemTime::UNIX_EPOCH,
        request_id: "4f1c",
        trace_id: "0af7651916cd43dd8448eb211c80319c",
        client: Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10))),
        method: "GET",
        host: "app.example.com",
        path: "/reports/7",
    };

    const OUTCOME: Outcome<'_> = Outcome {
        route: Some("/reports/*"),
        decision: Decision::Allowed,
        status: 200,
        who: br#""kind":"session","member_id":"member-test-1","user_id":null,"client_id":null,"organization_id":"organization-test-1""#,
        verification: Verification::Local,
        decision_took: Some(Duration::from_nanos(41_999)),
        upstream_took: Some(Duration::from_millis(1_200)),
        took: Duration::from_micros(1_200_345),
        bytes_in: 0,
        bytes_out: 5_120,
        reason: None,
    };

    fn line(request: &Request<'_>, outcome: &Outcome<'_>) -> String {
        let mut line = Vec::new();
        begin(&mut line, &mut Clock::default(), request);
        end(&mut line, outcome);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_has_fixed_fields_in_a_fixed_order() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_264_496_007);
        assert_eq!(
            line(&Request { time, ..REQUEST }, &OUTCOME),
            concat!(
                r#"{"time":"2026-11-21T12:34:56.007Z","request_id":"4f1c","#,
                r#""trace_id":"0af7651916cd43dd8448eb211c80319c","client":"192.0.2.10","method":"GET","#,
                r#""host":"app.example.com","path":"/reports/7","route":"/reports/*","decision":"allowed","#,
                r#""code":"ok","status":200,"kind":"session","member_id":"member-test-1","user_id":null,"#,
                r#""client_id":null,"organization_id":"organization-test-1","verification":"local","#,
                r#""decision_ms":0.041,"upstream_ms":1200.000,"total_ms":1200.345,"bytes_in":0,"#,
                r#""bytes_out":5120}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_refusal_says_why() {
        let outcome = Outcome {
            route: None,
            decision: Decision::Refused(Code::InvalidCredential),
            verification: Verification::None,
            decision_took: None,
            upstream_took: None,
            reason: Some("the signature is not \"ours\""),
            ..OUTCOME
        };
        let request = Request { client: Some("2001:db8::1".parse().unwrap()), ..REQUEST };
        let value: Value = serde_json::from_str(&line(&request, &outcome)).unwrap();
        assert_eq!(value["reason"], "the signature is not \"ours\"");
        assert_eq!(value["decision"], "refused");
        assert_eq!(value["code"], "invalid_credential");
        assert_eq!(value["client"], "2001:db8::1");
        assert!(["route", "decision_ms", "upstream_ms"].iter().all(|absent| value[absent].is_null()));
    }

    #[test]
    fn what_a_client_chose_is_bounded() {
        let path = "é".repeat(LONGEST);
        let value: Value =
            serde_json::from_str(&line(&Request { path: &path, ..REQUEST }, &OUTCOME)).unwrap();
        assert_eq!(value["path"], format!("{}…", "é".repeat(LONGEST / 2)));
    }

    #[test]
    fn whose_a_request_was_is_said_alike() {
        let client = Client { id: "connected-app-test-\"1\"".to_owned(), scopes: Vec::new() };
        let identity = Identity {
            kind: Kind::ConnectedApp,
            subject: "user-test-1".to_owned(),
            organization: None,
            session: None,
            client: Some(client),
            claims: serde_json::Map::new(),
            profile: None,
        };
        let mut said = Vec::new();
        who(&mut said, &identity);
        assert_eq!(
            String::from_utf8(said).unwrap(),
            r#""kind":"connected_app","member_id":null,"user_id":"user-test-1","client_id":"connected-app-test-\"1\"","organization_id":null"#
        );
        let keys = |text: &[u8]| {
            let text = format!("{{{}}}", str::from_utf8(text).unwrap());
            serde_json::from_str::<serde_json::Map<String, Value>>(&text)
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(NOBODY), keys(OUTCOME.who));
    }

    #[test]
    fn the_clock_follows_the_second() {
        let mut clock = Clock::default();
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (999, "1970-01-01T00:00:00.999Z"),
            (1_000, "1970-01-01T00:00:01.000Z"),
            (951_782_400_050, "2000-02-29T00:00:00.050Z"),
        ] {
            let mut line = Vec::new();
            clock.write(&mut line, SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(String::from_utf8(line).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_reads_back_as_it_was(text in "(\\PC|[\\x00-\\x20\"\\\\\\x7f\u{2028}]){0,40}") {
            let line = line(&Request { path: &text, ..REQUEST }, &Outcome { route: Some(&text), ..OUTCOME });
            prop_assert_eq!(line.bytes().filter(|byte| *byte < 0x20 || *byte == 0x7f).count(), 1, "only the line feed");
            let value: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(value["path"].as_str(), Some(&*text));
            prop_assert_eq!(value["route"].as_str(), Some(&*text));
        }
    }
}
