//! What passes over one connection, in order: pipelines, bodies, interim answers.

use super::{SMUGGLED, goes_on, nothing_smuggled};
use crate::echo::{Answer, Step};
use crate::world::World;

#[tokio::test]
async fn two_requests_in_one_packet_are_answered_in_order() {
    let world = World::start().await;
    let mut connection = world.connect().await;
    let get = |path: &str| String::from_utf8(world.get(path).bytes()).unwrap();
    connection.send(format!("{}{}", get("/public/one"), get("/public/two"))).await;
    for path in ["/public/one", "/public/two"] {
        let response = connection.response().await.unwrap().expect(200);
        assert!(response.text().starts_with(&format!("GET {path} ")));
    }
}

#[tokio::test]
async fn a_good_request_before_a_bad_one_is_answered_first() {
    let world = World::start().await;
    for (good, status) in [("/public/one", 200), ("/private", 401)] {
        let good = String::from_utf8(world.get(good).bytes()).unwrap();
        for count in [1, 40] {
            let raw_bytes =
                format!("{}GET /public/smuggled HTTP/1.1\r\nHost : app.test\r\n\r\n", good.repeat(count));
            let mut connection = world.connect().await;
            connection.send(raw_bytes).await;
            for _ in 0..count {
                connection.response().await.unwrap().expect(status);
            }
            let refusal = connection.response().await.unwrap().expect(400);
            assert_eq!(refusal.header("connection"), Some("close"));
            assert!(connection.rest().await.is_empty());
        }
    }
    nothing_smuggled(&world);
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let world = World::start().await;
    let mut connection = world.connect().await;
    for byte in world.post("/public/a").body("body").bytes() {
        connection.send([byte]).await;
    }
    connection.response().await.unwrap().expect(200);
    assert_eq!(world.upstream.last().body, b"body");
    goes_on(&world, &mut connection).await;
}

#[tokio::test]
async fn a_client_is_told_to_continue_only_once_it_may() {
    let world = World::start().await;
    let ask = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
    };
    let raw = {
        let mut connection = world.connect().await;
        connection.send(ask("/private")).await;
        connection.bytes(13).await
    };
    assert!(raw.starts_with(b"HTTP/1.1 401 "), "{}", raw.escape_ascii());
    let mut connection = world.connect().await;
    connection.send(ask("/public/a")).await;
    assert_eq!(connection.bytes(25).await, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.send("body").await;
    connection.response().await.unwrap().expect(200);
    assert_eq!(world.upstream.last().body, b"body");
    assert_eq!(world.upstream.last().header("expect"), None);
    goes_on(&world, &mut connection).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_whole_upstream() {
    let world = World::start().await;
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let mut connection = world.connect().await;
        connection
            .send(format!("POST /public/a HTTP/1.1\r\nHost: app.test\r\n{framing}\r\n\r\n5\r\nhello\r\n"))
            .await;
        let before = world.upstream.requests().len();
        world.upstream.wait_for(before.max(1)).await;
        drop(connection);
        world.get("/public/after").expect(200).await;
    }
    let whole = world.upstream.requests().iter().filter(|received| received.complete).count();
    assert_eq!(whole, 2, "only the requests that ended");
}

#[tokio::test]
async fn early_bytes_of_a_next_request_wait_for_their_turn() {
    let world = World::start().await;
    world.upstream.on("/public/slow", |_| {
        let wait = Step::Wait(std::time::Duration::from_millis(100));
        Answer::steps([wait, Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec())])
    });
    let mut connection = world.connect().await;
    let slow = String::from_utf8(world.get("/public/slow").bytes()).unwrap();
    connection.send(format!("{slow}{}", &SMUGGLED[..20])).await;
    connection.response().await.unwrap().expect(200);
    connection.send(&SMUGGLED[20..]).await;
    connection.response().await.unwrap().expect(200);
    let paths: Vec<_> = world.upstream.requests().iter().map(crate::echo::Received::path).collect();
    assert_eq!(paths, ["/public/slow", "/public/smuggled"]);
}
