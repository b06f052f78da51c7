//! The audit log: one JSON line for each sign-in, sign-out, refusal and change of settings.
//!
//! What holds: it is written as the access log is, by a thread of its own from a bounded queue, so
//! nobody waits for it; a line about a request begins with the same fields as that request's line in
//! the access log; no address of a person, number, code or token is in it, nor a header or a query.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::access_log::{self, AccessLog, Opened, Record, line};
use crate::access::rejection::Code;
use crate::config::LogTarget;
use crate::identity::Identity;
use crate::metrics::{Log, Metrics};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    SignIn,
    SignOut,
    /// A code or a choice was refused.
    SignInRefused,
    /// No code was sent, which the person is not told.
    SendRefused,
    /// A member has set up a second factor.
    Enrolled,
    /// An authenticator app could not be set up.
    EnrolmentRefused,
    /// A member's recovery codes have given place to new ones.
    RecoveryCodesMade,
    RecoveryCodesRefused,
    OrganizationCreated,
    OrganizationRefused,
    /// Too many attempts, from one address or for one recipient.
    Limited,
    /// A request was refused for its credential, or by a rule.
    Refused,
    /// One would have been, on a route in observe.
    Observed,
    ConfigApplied,
    ConfigRejected,
}

impl Event {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::SignOut => "sign_out",
            Self::SignInRefused => "sign_in_refused",
            Self::SendRefused => "send_refused",
            Self::Enrolled => "enrolled",
            Self::EnrolmentRefused => "enrolment_refused",
            Self::RecoveryCodesMade => "recovery_codes_made",
            Self::RecoveryCodesRefused => "recovery_codes_refused",
            Self::OrganizationCreated => "organization_created",
            Self::OrganizationRefused => "organization_refused",
            Self::Limited => "limited",
            Self::Refused => "refused",
            Self::Observed => "observed",
            Self::ConfigApplied => "config_applied",
            Self::ConfigRejected => "config_rejected",
        }
    }
}

/// Whom it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    pub kind: Option<&'static str>,
    /// `member-…`, `user-…` or `m2m-client-…`.
    pub subject: Option<String>,
    pub client_id: Option<String>,
    pub organization_id: Option<String>,
    pub session_id: Option<String>,
}

impl From<&Identity> for Who {
    fn from(identity: &Identity) -> Self {
        Self {
            kind: Some(identity.kind.as_str()),
            subject: Some(identity.subject.clone()),
            client_id: identity.client.as_ref().map(|client| client.id.clone()),
            organization_id: identity.organization.as_ref().map(|organization| organization.id.clone()),
            session_id: identity.session.as_ref().map(|session| session.id.clone()),
        }
    }
}

/// The device of a sign-in, as Stytch tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub visitor_id: String,
    /// Whether the person had not signed in from it before.
    pub is_new: bool,
    /// Of the address, as Stytch's script saw it.
    pub country: Option<String>,
    pub city: Option<String>,
}

/// What is told of one event.
#[derive(Debug, Clone)]
pub struct Told {
    pub event: Event,
    pub code: Option<Code>,
    pub who: Who,
    /// The factors, or why not, in our words or Stytch's names.
    pub detail: String,
    /// Of a sign-in, where it is known.
    pub device: Option<Seen>,
}

/// The audit log of this process.
#[derive(Debug)]
pub struct AuditLog(AccessLog);

impl AuditLog {
    /// Opens the target and starts the thread that writes to it.
    ///
    /// # Errors
    /// When the file cannot be opened, or no thread started.
    pub fn start(target: &LogTarget, metrics: Arc<Metrics>) -> io::Result<Self> {
        AccessLog::start_as(Log::Audit, target, metrics).map(Self)
    }

    /// A buffer for one thread.
    #[must_use]
    pub fn lines(&self) -> Lines {
        Lines(self.0.lines())
    }

    /// Has lines of the access log begun for this log's sake, too.
    #[must_use]
    pub fn beside(&self, lines: access_log::Lines) -> access_log::Lines {
        lines.beside(&self.0)
    }

    /// As [`AccessLog::go_on_with`].
    pub fn go_on_with(&self, opened: Opened) {
        self.0.go_on_with(opened);
    }

    /// As [`AccessLog::finish`].
    pub fn finish(self, patience: Duration) -> bool {
        self.0.finish(patience)
    }
}

/// One thread's lines.
#[derive(Debug)]
pub struct Lines(access_log::Lines);

impl Lines {
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_on()
    }

    /// What came of a request, whose own line in the access log begins alike.
    pub fn about(&self, request: &Record, route: Option<&str>, told: &Told) {
        if !self.is_on() {
            return;
        }
        self.0.add(|line, clock| {
            match request.begun() {
                [] => line::without_request(line, clock, SystemTime::now()),
                begun => line.extend_from_slice(begun),
            }
            happened(line, route, told);
            changed(line, None, None);
        });
    }

    /// A change of settings, from one hash of who may reach what to another.
    pub fn settings(&self, event: Event, access: &str, before: Option<&str>, detail: &str) {
        if !self.is_on() {
            return;
        }
        let (who, detail) = (Who::default(), detail.to_owned());
        let told = Told { event, code: None, who, detail, device: None };
        self.0.add(|line, clock| {
            line::without_request(line, clock, SystemTime::now());
            happened(line, None, &told);
            changed(line, Some(access), before);
        });
        self.flush();
    }

    /// As [`access_log::Lines::flush`].
    pub fn flush(&self) {
        self.0.flush();
    }
}

fn happened(line: &mut Vec<u8>, route: Option<&str>, told: &Told) {
    let subject = |of: &str| told.who.subject.as_deref().filter(|subject| subject.starts_with(of));
    line.extend_from_slice(b",\"event\":");
    line::string(line, told.event.as_str());
    line.extend_from_slice(b",\"route\":");
    line::optional(line, route);
    line.extend_from_slice(b",\"code\":");
    line::optional(line, told.code.map(Code::as_str));
    line.extend_from_slice(b",\"kind\":");
    line::optional(line, told.who.kind);
    line.extend_from_slice(b",\"member_id\":");
    line::optional(line, subject("member-"));
    line.extend_from_slice(b",\"user_id\":");
    line::optional(line, subject("user-"));
    line.extend_from_slice(b",\"client_id\":");
    line::optional(line, told.who.client_id.as_deref());
    line.extend_from_slice(b",\"organization_id\":");
    line::optional(line, told.who.organization_id.as_deref());
    line.extend_from_slice(b",\"session_id\":");
    line::optional(line, told.who.session_id.as_deref());
    line.extend_from_slice(b",\"detail\":");
    line::bounded(line, &told.detail);
    let device = told.device.as_ref();
    line.extend_from_slice(b",\"visitor_id\":");
    line::optional(line, device.map(|device| device.visitor_id.as_str()));
    line.extend_from_slice(b",\"device_is_new\":");
    line.extend_from_slice(match device.map(|device| device.is_new) {
        None => b"null",
        Some(true) => b"true",
        Some(false) => b"false",
    });
    line.extend_from_slice(b",\"device_country\":");
    line::optional(line, device.and_then(|device| device.country.as_deref()));
    line.extend_from_slice(b",\"device_city\":");
    line::optional(line, device.and_then(|device| device.city.as_deref()));
}

fn changed(line: &mut Vec<u8>, access: Option<&str>, before: Option<&str>) {
    line.extend_from_slice(b",\"access\":");
    line::optional(line, access);
    line.extend_from_slice(b",\"access_before\":");
    line::optional(line, before);
    line.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{IpAddr, Ipv4Addr};

    use serde_json::Value;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn request() -> access_log::Request<'static> {
        access_log::Request {
            time: SystemTime::UNIX_EPOCH,
            request_id: "4f1c",
            trace_id: "0af7",
            client: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            method: "POST",
            host: "app.example.com",
            path: "/_stytch/login",
        }
    }

    fn told() -> Told {
        let who = Who { subject: Some("member-test-1".to_owned()), ..Who::default() };
        let detail = "email_otp \"\n".to_owned();
        Told { event: Event::SignIn, code: None, who, detail, device: None }
    }

    fn written(access: &LogTarget) -> Vec<Value> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("audit.log");
        let metrics = Metrics::new(1);
        let access = AccessLog::start(access, Arc::clone(&metrics)).unwrap();
        let audit = AuditLog::start(&LogTarget::File(file.clone()), metrics).unwrap();
        let (lines, own) = (audit.beside(access.lines()), audit.lines());
        let record = lines.begin(&request());
        own.about(&record, Some("_login"), &told());
        own.settings(Event::ConfigApplied, "0123", None, "");
        drop((lines, own, record));
        assert!(audit.finish(PATIENCE));
        let text = fs::read_to_string(&file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn all_lines_have_the_same_fields() {
        let lines = written(&LogTarget::Off);
        let names = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&lines[0]), names(&lines[1]));
        assert_eq!(lines[0]["path"], "/_stytch/login", "also while there is no access log");
        assert_eq!(lines[0]["member_id"], "member-test-1");
        assert_eq!(lines[0]["detail"], "email_otp \"\n");
        assert_eq!((&lines[1]["access"], &lines[1]["host"]), (&Value::from("0123"), &Value::Null));
    }

    #[test]
    fn where_it_is_off_nothing_is_kept() {
        let metrics = Metrics::new(1);
        let access = AccessLog::start(&LogTarget::Off, Arc::clone(&metrics)).unwrap();
        let audit = AuditLog::start(&LogTarget::Off, metrics).unwrap();
        let record = audit.beside(access.lines()).begin(&request());
        assert!(record.begun().is_empty());
        audit.lines().about(&record, None, &told());
    }
}
