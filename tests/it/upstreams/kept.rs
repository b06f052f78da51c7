//! Connections that are kept for the next request, and what upstreams do to them meanwhile.

use super::scripted::{Ended, Far, GET, Stage};
use crate::client::Connection;
use crate::world::until;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn post(body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: app.test\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A client, and a connection that has served it and is idle.
async fn idle(stage: &Stage) -> (Connection, Far) {
    let (mut client, mut far, _) = stage.ask(GET).await;
    far.say(OK).await;
    client.response().await.unwrap().expect(200);
    (client, far)
}

async fn none_is_idle(stage: &Stage) {
    let idle = "stytch_gateway_upstream_connections{upstream=\"app\",state=\"idle\"}";
    until("no idle connection", async || stage.world.metric(idle).await == 0.0).await;
}

async fn is_answered_elsewhere(stage: &Stage, client: &mut Connection, request: &str) {
    client.send(request).await;
    let mut next = stage.accept().await;
    next.head().await;
    next.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnext").await;
    assert_eq!(client.response().await.unwrap().expect(200).text(), "next", "{request}");
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_no_request() {
    let stage = Stage::set().await;
    for request in [GET, &post(""), &post("body")] {
        let (mut client, mut far) = idle(&stage).await;
        far.finish().await;
        assert_eq!(far.ended().await, (Ended::Closed, Vec::new()), "the gateway closes its half too");
        is_answered_elsewhere(&stage, &mut client, request).await;
        let (mut client, far) = idle(&stage).await;
        far.reset();
        none_is_idle(&stage).await;
        is_answered_elsewhere(&stage, &mut client, request).await;
    }
}

/// As servers do that have waited long enough, or gone mad.
#[tokio::test]
async fn what_an_idle_connection_says_is_nobodys_answer() {
    let stage = Stage::set().await;
    for said in [
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled",
        "garbage",
        "\r\n",
        "\0",
    ] {
        let (mut client, mut far) = idle(&stage).await;
        far.say(said).await;
        assert!(far.ended().await.1.is_empty(), "{said:?}");
        is_answered_elsewhere(&stage, &mut client, &post("body")).await;
    }
}

/// Closed just as a request was on its way: it may have been acted upon, so that only what is harmless
/// twice is sent twice, and once at that.
#[tokio::test]
async fn a_request_that_met_a_closing_connection_is_sent_again_only_if_it_may_be() {
    let stage = Stage::set().await;
    for (method, resets) in
        [("GET", false), ("GET", true), ("HEAD", false), ("OPTIONS", false), ("PUT", false), ("DELETE", true)]
    {
        let (mut client, mut far) = idle(&stage).await;
        client.send(format!("{method} /again HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        let first = far.head().await;
        if resets {
            far.reset()
        } else {
            drop(far)
        }
        let mut next = stage.accept().await;
        assert_eq!(next.head().await, first, "it is the same request");
        next.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        client.response_to(method).await.unwrap().expect(200);
    }
    for request in [post(""), post("body"), GET.replace("GET", "POST"), post("body").replace("POST", "PUT")] {
        for resets in [false, true] {
            let (mut client, mut far) = idle(&stage).await;
            client.send(&request).await;
            let head = far.head().await;
            if head.contains("content-length: 4\r\n") {
                far.bytes(4).await;
            }
            if resets {
                far.reset()
            } else {
                drop(far)
            }
            let response = client.response().await.unwrap();
            assert_eq!(
                (response.status, response.code().as_deref()),
                (502, Some("upstream_unreachable")),
                "{request}"
            );
        }
    }
}

/// Whoever has begun to answer has looked at the request.
#[tokio::test]
async fn nothing_is_sent_again_once_an_answer_began() {
    let stage = Stage::set().await;
    for begin in ["H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let (mut client, mut far) = idle(&stage).await;
        client.send(GET).await;
        far.head().await;
        far.say(begin).await;
        far.finish().await;
        assert_eq!(client.response().await.unwrap().status, 502, "{begin:?}");
    }
}

/// The connection that was used last is used next, so that the others grow old.
#[tokio::test]
async fn the_connection_that_was_used_last_is_used_next() {
    let stage = Stage::set().await;
    let (mut one, mut far_one, _) = stage.ask(GET).await;
    let (mut two, mut far_two, _) = stage.ask(GET).await;
    far_two.say(OK).await;
    two.response().await.unwrap().expect(200);
    far_one.say(OK).await;
    one.response().await.unwrap().expect(200);
    for _ in 0..3 {
        two.send(GET).await;
        far_one.head().await;
        far_one.say(OK).await;
        two.response().await.unwrap().expect(200);
    }
}
