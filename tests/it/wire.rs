//! HTTP/1.1 as attackers write it, and as broken upstreams answer it.
//!
//! Rows of the corpus's classes F (targets), G (framing), H (upgrades) and N (exhaustion), each a
//! test named after it; even numbers are siblings of the same class. What is smuggled is a request
//! to a public route, so that nothing but framing keeps it from the upstream.

use crate::client::Connection;
use crate::world::World;

mod connections;
mod exhaustion;
mod framing;
mod responses;
mod targets;
mod upgrades;

const SMUGGLED: &str = "GET /public/smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n";

/// Answered with 400 and nothing else, closed, logged, and no upstream was asked.
async fn refused(world: &World, bytes: impl AsRef<[u8]>) {
    refused_with(world, bytes, 400, "bad_request").await;
}

async fn refused_with(world: &World, bytes: impl AsRef<[u8]>, status: u16, code: &str) {
    let bytes = bytes.as_ref();
    let shown = bytes[..bytes.len().min(300)].escape_ascii().to_string();
    let before = world.upstream_traffic();
    let raw = world.raw(bytes).await;
    let response = raw.response.unwrap_or_else(|| panic!("no answer to {shown}"));
    world.check_refusal(&shown, &response, status, code, before);
    assert!(raw.closed, "left open: {shown}");
    assert!(raw.rest.is_empty(), "more than one answer to {shown}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{shown}");
    let problem = response.json();
    assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(status.into()), Some(code)));
    assert!(problem["title"].is_string() && problem["request_id"].is_string(), "{problem}");
}

/// A request to a public route with these lines, and what is smuggled behind it.
fn with(lines: &str, body: &str) -> String {
    format!("POST /public/a HTTP/1.1\r\nHost: app.test\r\n{lines}\r\n{body}{SMUGGLED}")
}

/// What is smuggled arrived, if at all, as the body of something else.
fn nothing_smuggled(world: &World) {
    for received in world.upstream.requests() {
        assert!(!received.target().contains("smuggled"), "{}", received.head.escape_ascii());
    }
}

/// The connection serves another request as if nothing had been.
async fn goes_on(world: &World, connection: &mut Connection) {
    let response = world.get("/public/after").send_on(connection).await;
    assert_eq!((response.status, world.upstream.last().path()), (200, "/public/after".to_owned()));
}

/// In `attacks` are those of these classes which take HTTP/2, TLS or more than a connection.
#[test]
fn no_row_is_forgotten() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let files =
        ["tests/it/wire", "tests/it/attacks"].map(|directory| std::fs::read_dir(root.join(directory)));
    let files = files.into_iter().flat_map(Result::unwrap).map(|file| file.unwrap().path());
    // A panic cannot be asked for from outside, so that row is beside what contains it.
    let files = files.chain([root.join("src/server/worker.rs")]);
    let sources: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    for (class, last) in [('f', 17), ('g', 39), ('n', 17)] {
        for number in (1..=last).step_by(2) {
            let row = format!("{class}{number:02}");
            assert!(sources.contains(&format!("fn {row}_")), "{row}");
        }
    }
    for row in ["h11", "h15"] {
        assert!(sources.contains(&format!("fn {row}_")), "{row}");
    }
}
