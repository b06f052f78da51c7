//! What a gateway of this kind has to survive: mechanisms that broke real proxies, one test a
//! mechanism, named after its row in the corpus. Odd rows are the corpus's own samples; even ones
//! are siblings of the same class, so that a defence against one spelling is not enough.
//!
//! Three invariants stand behind the rows: one view of a request, owned names, fail closed.

use std::path::Path;

use crate::echo::Received;
use crate::world::World;

mod access;
mod cache;
mod cookies;
mod exhaustion;
mod ext_authz;
mod forward_auth;
mod forwarded;
mod hop;
mod http2;
mod identity;
mod jwt;
mod kinds;
mod paths;
mod redirects;
mod storm;
mod tls;

/// The rows of each class, as far as they are this module's.
const CLASSES: [(char, u32); 11] = [
    ('a', 21),
    ('b', 9),
    ('c', 15),
    ('d', 27),
    ('e', 17),
    ('h', 27),
    ('i', 37),
    ('j', 21),
    ('k', 29),
    ('l', 27),
    ('m', 11),
];

/// Rows without a test here: each comes with the part that it is about.
const WITH_OTHER_PARTS: [(&str, &str); 9] = [
    ("a09", "nothing: no rule looks at request headers"),
    ("e15", "nothing: there are no regular expressions"),
    ("e17", "nothing: request bodies are not looked at, and so no rule matches a JSON-RPC method"),
    ("h15", "`wire::upgrades`"),
    ("h19", "`streams`"),
    ("h21", "`streams`"),
    ("h23", "`streams`"),
    ("i37", "nothing: what an attacker could time is local work of microseconds, and Stytch is not asked"),
    ("l19", "the shared cache; within one gateway, l18"),
];

/// The identity headers that arrived, in order of their names.
fn identity(received: &Received) -> Vec<(String, String)> {
    let folded =
        |name: &str| name.replace(|mark: char| !mark.is_ascii_alphanumeric(), "-").to_ascii_lowercase();
    let mut headers = received.headers();
    headers.retain(|(name, _)| folded(name).starts_with("x-stytch"));
    headers.sort();
    headers
}

/// What an honest request with this session is given as identity.
async fn honest(world: &World, session: &stytch_emulator::Session) -> Vec<(String, String)> {
    world.get("/honest").jwt(session).expect(200).await;
    let identity = identity(&world.upstream.last());
    let names: Vec<_> = identity.iter().map(|(name, _)| name.as_str()).collect();
    let ours = ["member-id", "organization-id", "organization-slug", "roles", "session-id"];
    assert_eq!(names, ours.map(|name| format!("x-stytch-{name}")), "each once, and no other");
    identity
}

/// A text with its escapes decoded once.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        let escaped =
            digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%');
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A row is tested, or it is known why not.
#[test]
fn no_row_is_forgotten() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/attacks");
    let files = std::fs::read_dir(directory).unwrap();
    let sources: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    for (class, last) in CLASSES {
        for number in (1..=last).step_by(2) {
            let row = format!("{class}{number:02}");
            let tested = sources.contains(&format!("fn {row}_"));
            let elsewhere = WITH_OTHER_PARTS.iter().any(|(known, _)| *known == row);
            assert!(tested != elsewhere, "{row} must be tested or named with its part, and not both");
        }
    }
}
