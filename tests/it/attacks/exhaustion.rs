//! Class N, as far as it takes more than a connection: what others make us read, and count.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::json;

use crate::outages::{http, with_an_odd_stytch};
use crate::world::World;

/// An answer is read to its end up to a mebibyte, and is no answer beyond.
#[tokio::test]
async fn n05_an_answer_without_end() {
    let (answer, size) = (Arc::new(OnceLock::<String>::new()), Arc::new(AtomicUsize::new(1 << 20)));
    let (told, wanted) = (Arc::clone(&answer), Arc::clone(&size));
    let world = with_an_odd_stytch("[session]\nmax_staleness = \"0s\"", move || {
        // White space behind it leaves its meaning as it is.
        let genuine = told.get().unwrap();
        let padding = " ".repeat(wanted.load(Ordering::Relaxed) - genuine.len());
        http("200 OK", "application/json", &[genuine.as_str(), &padding].concat())
    })
    .await;
    let session = world.session();
    let body = json!({ "session_token": session.session_token });
    let genuine = world.ask_stytch("/v1/b2b/sessions/authenticate", &body).await.expect(200).text();
    answer.set(genuine).unwrap();
    world.get("/x").opaque(&session).expect(200).await;
    for too_large in [(1 << 20) + 1, 8 << 20] {
        size.store(too_large, Ordering::Relaxed);
        let refused = world.get("/x").opaque(&session).expect(503).await;
        assert_eq!(refused.code().as_deref(), Some("stytch_unavailable"), "{too_large}");
        assert!(refused.all("set-cookie").is_empty(), "an outage is no logout");
    }
    assert_eq!(world.upstream.requests().len(), 1);
}

/// However many paths, hosts, methods and people there are, there are as many series as before.
#[tokio::test]
async fn n11_requests_of_all_kinds_are_counted_alike() {
    let world = World::start().await;
    let ask = async |number: usize| {
        let method = ["GET", "POST", "PURGE", "MKCOL", "X-ODD"][number % 5];
        let host = ["app.test", "deep.app.test", "other.test"][number % 3];
        let request = world.request(method, &format!("/public/{number}?{number}")).host(host);
        request.send().await;
        let (email, organization) =
            [("ana@acme.example", "acme"), ("ben@acme.example", "acme"), ("gil@globex.example", "globex")]
                [number % 3];
        world.get(&format!("/{number}")).jwt(&world.session_of(email, organization)).send().await;
        world.get("/").header("Authorization", format!("Bearer {number}")).send().await;
    };
    let series = async || -> BTreeSet<String> {
        let text = world.admin("/metrics").await.expect(200).text();
        let names = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.rsplit_once(' ').unwrap().0.to_owned());
        names.collect()
    };
    for number in 0..15 {
        ask(number).await;
    }
    let before = series().await;
    for number in 15..60 {
        ask(number).await;
    }
    let after = series().await;
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new());
}
