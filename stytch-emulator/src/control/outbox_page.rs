//! What was "sent", for people: the outbox as a page.

use std::fmt::Write as _;

use axum::extract::State as Extract;
use axum::http::header;
use axum::response::IntoResponse;

use crate::outbox::Message;
use crate::page::{escaped, page};
use crate::state::Shared;

/// How many messages the page shows; `GET /emulator/outbox` has them all.
const SHOWN: usize = 100;

pub(super) async fn answer(Extract(shared): Extract<Shared>) -> impl IntoResponse {
    let mut messages = shared.lock().outbox.messages(None);
    messages.truncate(SHOWN);
    let body = if messages.is_empty() { "<p>Nothing was sent yet.</p>".into() } else { table(&messages) };
    // Somebody waiting for a code keeps the page open.
    ([(header::REFRESH, "3"), (header::CACHE_CONTROL, "no-store")], page("Outbox", &body))
}

fn table(messages: &[Message]) -> String {
    let mut rows = String::from("<table><tr><th>To<th>What<th>For<th>When");
    for message in messages {
        let (to, kind) = (escaped(&message.to), escaped(message.kind));
        let _ = write!(rows, "<tr><td>{to}<br><small>{}</small><td>", message.channel);
        if let Some(code) = &message.code {
            let _ = write!(rows, "<code>{}</code>", escaped(code));
        }
        // Whoever asked for the link chose where it leads.
        if let Some(url) = message.url.as_ref().filter(|url| url.starts_with("http")) {
            let _ = write!(rows, "<a href=\"{}\">Follow the link</a>", escaped(url));
        }
        let _ = write!(rows, "<td>{kind}<td>{}", message.at.strftime("%H:%M:%S"));
    }
    rows + "</table>"
}
