//! An event of Stytch's (REFERENCE.md section 11), as far as it concerns sessions.

use jiff::Timestamp;
use serde::Deserialize;

use crate::config::Vertical;

/// Longer than any id of Stytch's.
const LONGEST_ID: usize = 128;

/// What every event says. More may be in it.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub(super) project_id: String,
    vertical: String,
    object_type: String,
    action: String,
    /// Of what has changed.
    pub(super) id: String,
    #[serde(default)]
    timestamp: Option<String>,
}

impl Event {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let event: Self = serde_json::from_slice(body).ok()?;
        (1..=LONGEST_ID).contains(&event.id.len()).then_some(event)
    }

    pub(super) fn is_of(&self, vertical: Vertical) -> bool {
        self.vertical.eq_ignore_ascii_case(vertical.as_str())
    }

    /// Whether what it is about has been deleted rather than changed; `None` when no session can be
    /// touched by it. Kinds of events that we know nothing of are none of our business.
    pub(super) fn touches_sessions(&self) -> Option<bool> {
        let is = |text: &str, word: &str| text.eq_ignore_ascii_case(word);
        if !["member", "organization", "user"].iter().any(|kind| is(&self.object_type, kind)) {
            return None;
        }
        match &self.action {
            action if is(action, "UPDATE") => Some(false),
            action if is(action, "DELETE") => Some(true),
            _ => None,
        }
    }

    /// Unix milliseconds before which whatever was heard is too old. That is now, when the change lies
    /// behind Stytch. A JWT, though, is dated by Stytch's clock, and where that is ahead the event's
    /// own date counts, as far as clocks may differ.
    pub(super) fn at(&self, now: i64, leeway: i64) -> i64 {
        let dated = self.timestamp.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
        dated.map_or(now, |at| at.as_millisecond().clamp(now, now.saturating_add(leeway)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(object: &str, action: &str) -> Event {
        let body = format!(
            r#"{{"project_id":"project-test-1","event_id":"webhook-event-1","action":"{action}",
                "object_type":"{object}","source":"DIRECT","id":"member-1","vertical":"B2B",
                "timestamp":"2026-11-21T12:00:00.25Z","member":{{}}}}"#
        );
        Event::read(body.as_bytes()).unwrap()
    }

    #[test]
    fn what_can_touch_a_session_is_known() {
        for (object, action, expected) in [
            ("member", "UPDATE", Some(false)),
            ("MEMBER", "DELETE", Some(true)),
            ("organization", "UPDATE", Some(false)),
            ("user", "DELETE", Some(true)),
            ("member", "CREATE", None),
            ("sso_connection", "UPDATE", None),
            ("member", "MERGE", None),
        ] {
            assert_eq!(event(object, action).touches_sessions(), expected, "{object} {action}");
        }
    }

    #[test]
    fn an_event_is_of_one_vertical() {
        assert!(event("member", "UPDATE").is_of(Vertical::B2b));
        assert!(!event("member", "UPDATE").is_of(Vertical::Consumer));
    }

    #[test]
    fn what_lacks_a_part_is_no_event() {
        for body in
            ["", "[]", "{}", r#"{"project_id":"p","vertical":"B2B","object_type":"m","action":"a","id":""}"#]
        {
            assert!(Event::read(body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn a_clock_ahead_counts_as_far_as_clocks_may_differ() {
        let dated: i64 = 1_795_262_400_250;
        assert_eq!(event("member", "UPDATE").at(dated - 1000, 5000), dated);
        assert_eq!(event("member", "UPDATE").at(dated + 1000, 5000), dated + 1000);
        assert_eq!(event("member", "UPDATE").at(dated - 9000, 5000), dated - 4000);
    }
}
