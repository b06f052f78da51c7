//! Answers that are none, or not whole: refused while the client can be told, and after that broken off,
//! never ended as if they were complete.

use serde_json::json;

use super::scripted::{GET, Stage};

/// Before a byte of the body: the client is told, and the connection is used no more.
#[tokio::test]
async fn a_head_that_is_none_is_502() {
    let stage = Stage::set().await;
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nNo colon\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: \x01\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: \x7f\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\rContent-Length: 0\r\n\r\n",
        " HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        &format!("{}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", interim.repeat(33)),
    ] {
        let (response, mut client, far) = stage.answer(answer.as_bytes(), false).await;
        let response = response.unwrap_or_else(|| panic!("no answer for {answer:?}"));
        assert_eq!(
            (response.status, response.code().as_deref()),
            (502, Some("upstream_protocol")),
            "{answer:?}"
        );
        assert!(!stage.is_kept(far, &mut client).await);
    }
}

#[tokio::test]
async fn as_many_interim_answers_as_may_be_are_no_reason() {
    let stage = Stage::set().await;
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(32);
    let answer = format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let (response, mut client, far) = stage.answer(answer.as_bytes(), false).await;
    assert_eq!(response.unwrap().expect(200).text(), "ok");
    assert!(stage.is_kept(far, &mut client).await);
}

/// Chunks that are none, behind one that is.
const CHUNKS: &[&str] = &[
    "10000000000000000\r\nhello\r\n0\r\n\r\n",
    "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello!\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "\r\nhello\r\n0\r\n\r\n",
    "\r\n\r\n0\r\n\r\n",
    ";a\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5g\r\nhello\r\n0\r\n\r\n",
    "5 5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "5;a\rb\r\nhello\r\n0\r\n\r\n",
    "5\0\r\nhello\r\n0\r\n\r\n",
    "0\n\n",
    "0\r\nX : a\r\n\r\n",
];

/// What the client was given, once its connection has ended; whether it could think it whole.
async fn breaks_off(stage: &Stage, answer: &[u8], closes: bool) {
    let (response, mut client, far) = stage.answer(answer, closes).await;
    let shown = answer[..answer.len().min(200)].escape_ascii();
    assert!(response.is_none_or(|response| response.status == 200 && !response.complete), "{shown}");
    assert!(client.rest().await.is_empty(), "{shown}");
    let mut client = stage.client().await;
    assert!(!stage.is_kept(far, &mut client).await, "{shown}");
}

#[tokio::test]
async fn chunks_that_are_none_break_an_answer_off() {
    let stage = Stage::set().await;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in CHUNKS {
        breaks_off(&stage, format!("{head}5\r\nfirst\r\n{chunks}").as_bytes(), false).await;
        breaks_off(&stage, format!("{head}{chunks}").as_bytes(), false).await;
    }
}

#[tokio::test]
async fn chunks_that_are_mostly_framing_break_an_answer_off() {
    let stage = Stage::set().await;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = "x".repeat(40 * 1024);
    for chunks in [
        format!("5;{long}\r\nhello\r\n0\r\n\r\n"),
        format!("0\r\nX: {long}\r\n\r\n"),
        format!("0\r\n{}\r\n", "X: a\r\n".repeat(10_000)),
        // Each is small, and together they are many times what they carry.
        format!("1;{}\r\nx\r\n", "y".repeat(1000)).repeat(100) + "0\r\n\r\n",
    ] {
        breaks_off(&stage, format!("{head}5\r\nfirst\r\n{chunks}").as_bytes(), false).await;
    }
}

/// A line of trailers is held to what a line of a head is.
#[tokio::test]
async fn trailers_that_are_none_break_an_answer_off() {
    let stage = Stage::set().await;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n";
    for trailers in
        ["\n", "X: a\nY: b\r\n\r\n", "X: a\n\r\n", "X: a\0\r\n\r\n", "no colon\r\n\r\n", " folded: a\r\n\r\n"]
    {
        breaks_off(&stage, format!("{head}{trailers}").as_bytes(), false).await;
    }
}

#[tokio::test]
async fn answers_that_end_early_are_never_whole() {
    let stage = Stage::set().await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n";
    let head = chunked.find("\r\n\r\n").unwrap() + 4;
    for cut in head..chunked.len() {
        breaks_off(&stage, &chunked.as_bytes()[..cut], true).await;
    }
    let plain = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let head = plain.find("\r\n\r\n").unwrap() + 4;
    for cut in head..plain.len() {
        breaks_off(&stage, &plain.as_bytes()[..cut], true).await;
    }
}

/// Before the head has ended, the client can still be told; and what was sent is not sent again, since
/// the upstream has begun to answer.
#[tokio::test]
async fn heads_that_end_early_are_502() {
    let stage = Stage::set().await;
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    for cut in 1..head.len() {
        let (response, ..) = stage.answer(&head.as_bytes()[..cut], true).await;
        let response = response.unwrap();
        assert_eq!((response.status, response.code().as_deref()), (502, Some("upstream_protocol")), "{cut}");
    }
    for answer in ["", "HTTP/1.1 100 Continue\r\n\r\n", "\r\n"] {
        let (response, ..) = stage.answer(answer.as_bytes(), true).await;
        assert_eq!(response.unwrap().status, 502, "{answer:?}");
    }
}

#[tokio::test]
async fn a_reset_breaks_an_answer_off() {
    let stage = Stage::set().await;
    for framing in
        ["Content-Length: 10\r\n\r\nbegin", "Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n", "\r\nbegin"]
    {
        let (mut client, mut far, _) = stage.ask(GET).await;
        far.say(format!("HTTP/1.1 200 OK\r\n{framing}")).await;
        client.until(b"begin").await;
        far.reset();
        assert!(!String::from_utf8_lossy(&client.rest().await).contains("0\r\n\r\n"), "{framing}");
    }
}

/// The log tells an answer that broke off from one that was whole.
#[tokio::test]
async fn an_answer_that_broke_off_is_logged_as_failed() {
    let stage = Stage::set().await;
    for (number, framing) in
        ["Content-Length: 10\r\n\r\nbegin", "Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n"]
            .into_iter()
            .enumerate()
    {
        breaks_off(&stage, format!("HTTP/1.1 200 OK\r\n{framing}").as_bytes(), true).await;
        let line = stage.world.log(2 * number + 1).await.remove(2 * number);
        assert_eq!((&line["status"], &line["bytes_out"]), (&json!(200), &json!(5)), "{line}");
        assert_eq!(
            (&line["decision"], &line["code"]),
            (&json!("failed"), &json!("upstream_protocol")),
            "{line}"
        );
        assert!(line["reason"].is_string(), "{line}");
    }
}

/// What follows an answer is nobody's, whether it comes with it or later.
#[tokio::test]
async fn bytes_after_an_answer_are_not_the_next_one() {
    let stage = Stage::set().await;
    let more = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    for (method, answer) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
    ] {
        for (more, pieces) in [(more, 1), (more, 2), ("\r\n", 2), ("x", 1), ("x", 2)] {
            let (mut client, mut far, _) =
                stage.ask(format!("{method} /x HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
            if pieces == 1 {
                far.say(format!("{answer}{more}")).await;
            } else {
                far.say(answer).await;
            }
            let response = client.response_to(method).await.unwrap();
            assert!(matches!(response.text().as_str(), "" | "ok"), "{answer}");
            if pieces == 2 {
                far.say(more).await;
            }
            // It is closed without being asked for anything more.
            let (_, asked) = far.ended().await;
            assert!(asked.is_empty(), "{answer} and {more:?}");
            assert!(!stage.is_kept(far, &mut client).await, "{answer} and {more:?}");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_stops_is_given_up_and_its_connection_with_it() {
    let stage = Stage::with("timeouts.idle = \"300ms\"\ntimeouts.response = \"300ms\"").await;
    let (mut client, mut far, _) = stage.ask(GET).await;
    let response = client.response().await.unwrap();
    assert_eq!((response.status, response.code().as_deref()), (504, Some("upstream_timeout")));
    far.ended().await;
    for begin in ["HTTP/1.1 200 OK\r\nX: a", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let (mut client, mut far, _) = stage.ask(GET).await;
        far.say(begin).await;
        assert_eq!(client.response().await.unwrap().status, 504, "{begin}");
        far.ended().await;
    }
    let (mut client, mut far, _) = stage.ask(GET).await;
    far.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegin").await;
    assert!(!client.response().await.unwrap().expect(200).complete);
    assert!(client.rest().await.is_empty());
    assert_eq!(far.ended().await.1, b"");
    let line = stage.world.log(4).await.remove(3);
    assert_eq!((&line["status"], &line["code"]), (&json!(200), &json!("upstream_timeout")), "{line}");
}

/// A client that leaves is not answered any more, and its upstream is told at once.
#[tokio::test]
async fn a_client_that_leaves_takes_the_upstreams_connection_with_it() {
    let stage = Stage::set().await;
    for begin in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n",
    ] {
        let (mut client, mut far, _) = stage.ask(GET).await;
        far.say(begin).await;
        if !begin.is_empty() {
            client.until(b"begin").await;
        }
        drop(client);
        far.ended().await;
        let mut client = stage.client().await;
        assert!(!stage.is_kept(far, &mut client).await);
    }
    // Of the first, there was nothing to say to anybody.
    let line = stage.world.log(5).await.remove(0);
    assert_eq!(line["status"], 499, "{line}");
    let upload = "POST /x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100\r\n\r\nbegin";
    let (client, mut far, _) = stage.ask(upload).await;
    assert_eq!(far.bytes(5).await, b"begin");
    drop(client);
    assert!(far.ended().await.1.is_empty());
}
