//! Everything the emulator would have sent to people's mailboxes and phones.

use jiff::Timestamp;
use serde::Serialize;

/// How many messages are kept; older ones are forgotten.
const CAPACITY: usize = 10_000;

/// A message that was "sent".
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Message {
    /// The e-mail address or phone number.
    pub to: String,
    /// `email`, `sms` or `whatsapp`.
    pub channel: &'static str,
    /// What it is for: `login`, `signup`, `invite`, `discovery` or `mfa`.
    pub kind: &'static str,
    /// The passcode, if it carries one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The link, if it carries one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When, by the emulator's clock.
    pub at: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    messages: std::collections::VecDeque<Message>,
}

impl Outbox {
    pub(crate) fn send(&mut self, message: Message) {
        self.messages.truncate(CAPACITY - 1);
        self.messages.push_front(message);
    }

    /// Newest first; to anyone, or to one address only.
    pub(crate) fn messages(&self, to: Option<&str>) -> Vec<Message> {
        self.messages
            .iter()
            .filter(|one| to.is_none_or(|to| one.to.eq_ignore_ascii_case(to)))
            .cloned()
            .collect()
    }
}
