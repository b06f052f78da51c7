//! Answers that are whole: each arrives as it was meant, however it was framed and cut into packets, and
//! its connection is used again where it may be.

use super::scripted::{Ended, Far, GET, Stage};
use crate::client::{Connection, Response};

/// What becomes of the upstream's connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Kept,
    /// The gateway closes it.
    Closed,
    /// The upstream closes it, which is the end of the body.
    Ends,
}

use Then::{Closed, Ends, Kept};

/// Method, answer, some of its headers, its body, and what follows.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, Then);

const ROWS: &[Row] = &[
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &[("content-length", "0")], "", Kept),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", &[("content-length", "5")], "hello", Kept),
    ("GET", "HTTP/1.1 200 OK\r\ncontent-length:5  \r\n\r\nhello", &[("content-length", "5")], "hello", Kept),
    ("GET", "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello", &[], "hello", Kept),
    (
        "POST",
        "HTTP/1.1 201 Created\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n",
        &[("location", "/y")],
        "",
        Kept,
    ),
    // No body, whatever is said of one.
    ("GET", "HTTP/1.1 204 No Content\r\n\r\n", &[], "", Kept),
    ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", &[], "", Kept),
    ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n", &[("etag", "\"1\"")], "", Kept),
    ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", &[], "", Kept),
    ("GET", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", &[], "", Kept),
    ("GET", "HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[], "", Kept),
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", &[("content-length", "1234")], "", Kept),
    ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &[], "", Kept),
    ("HEAD", "HTTP/1.1 200 OK\r\nX: a\r\n\r\n", &[("x", "a")], "", Kept),
    // Chunks.
    ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[], "", Kept),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        &[],
        "hello world",
        Kept,
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\nA\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
        &[],
        "01234567890123456789",
        Kept,
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0000005\r\nhello\r\n000\r\n\r\n",
        &[],
        "hello",
        Kept,
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=1;b=\"c\"\r\nhello\r\n0;last\r\n\r\n",
        &[],
        "hello",
        Kept,
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 ; a\r\nhello\r\n0\r\n\r\n",
        &[],
        "hello",
        Kept,
    ),
    // Old servers fill up sizes with spaces, and nginx and HAProxy let them.
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5  \r\nhello\r\n0  \r\n\r\n",
        &[],
        "hello",
        Kept,
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n\r\n0\r\n\r\n0\r\n\r\n",
        &[],
        "\r\n0\r\n",
        Kept,
    ),
    // Up to the end of the connection.
    ("GET", "HTTP/1.1 200 OK\r\n\r\nto the end", &[], "to the end", Ends),
    ("GET", "HTTP/1.1 200 OK\r\n\r\n", &[], "", Ends),
    ("GET", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", &[], "to the end", Ends),
    ("GET", "HTTP/1.0 200 OK\r\n\r\nto the end", &[], "to the end", Ends),
    ("GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nto the end", &[], "to the end", Ends),
    // Connections that are not to be used again.
    ("GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", &[], "hello", Closed),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 5\r\n\r\nhello",
        &[],
        "hello",
        Closed,
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        &[],
        "hello",
        Closed,
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[],
        "hello",
        Closed,
    ),
    ("GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", &[], "", Closed),
    (
        "HEAD",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n",
        &[("content-length", "5")],
        "",
        Closed,
    ),
    ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", &[], "hello", Closed),
    (
        "GET",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        &[],
        "hello",
        Kept,
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 5\r\n\r\nhello",
        &[],
        "hello",
        Kept,
    ),
    // Heads.
    ("GET", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", &[], "", Kept),
    ("GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", &[], "", Kept),
    ("GET", "HTTP/1.1 299 Something Of Our Own\r\nContent-Length: 0\r\n\r\n", &[], "", Kept),
    ("GET", "HTTP/1.1 999 Beyond\r\nContent-Length: 0\r\n\r\n", &[], "", Kept),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nX-Empty:\r\nX-Blank:  \t \r\nContent-Length: 0\r\n\r\n",
        &[("x-empty", ""), ("x-blank", "")],
        "",
        Kept,
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nX-Wide: \t a  b\t \r\nContent-Length: 0\r\n\r\n",
        &[("x-wide", "a  b")],
        "",
        Kept,
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\n!#$%&'*+-.^_`|~09: a\r\nContent-Length: 0\r\n\r\n",
        &[("!#$%&'*+-.^_`|~09", "a")],
        "",
        Kept,
    ),
    // Interim answers are the gateway's to hear.
    ("GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", &[], "ok", Kept),
    (
        "GET",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        &[],
        "ok",
        Kept,
    ),
];

/// The status of the last head.
fn status(answer: &str) -> u16 {
    let line = answer.split("\r\n").filter(|line| line.starts_with("HTTP/1.")).last().unwrap();
    line[9..12].parse().unwrap()
}

fn request(method: &str) -> String {
    format!("{method} /x HTTP/1.1\r\nHost: app.test\r\n\r\n")
}

#[tokio::test]
async fn answers_arrive_as_they_are_and_connections_are_used_again() {
    let stage = Stage::set().await;
    for (method, answer, headers, body, then) in ROWS {
        let (mut client, mut far, _) = stage.ask(request(method)).await;
        far.say(answer).await;
        if *then == Ends {
            far.finish().await;
        }
        let response = client.response_to(method).await.expect("an answer").expect(status(answer));
        assert_eq!((response.text().as_str(), response.complete), (*body, true), "{answer}");
        for (name, value) in *headers {
            assert_eq!(response.all(name), [*value], "{answer}");
        }
        for name in ["keep-alive", "connection"] {
            assert!(response.all(name).is_empty(), "{name} of {answer}");
        }
        assert_eq!(stage.is_kept(far, &mut client).await, *then == Kept, "{answer}");
    }
}

#[tokio::test]
async fn connections_that_are_not_to_be_used_again_are_closed() {
    let stage = Stage::set().await;
    let mut left = Vec::new();
    for (method, answer, _, _, then) in ROWS.iter().filter(|row| row.4 != Kept) {
        let (mut client, mut far, _) = stage.ask(request(method)).await;
        far.say(answer).await;
        if *then == Ends {
            far.finish().await;
        }
        client.response_to(method).await.expect("an answer").expect(200);
        left.push((answer, far));
    }
    for (answer, mut far) in left {
        assert_eq!(far.ended().await, (Ended::Closed, Vec::new()), "{answer}");
    }
}

/// What is compared: all but when it was.
fn shown(response: &Response) -> (u16, Vec<(String, String)>, String, Vec<String>, bool) {
    let headers = response.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
    (response.status, headers, response.text(), response.trailers.clone(), response.complete)
}

async fn ask_again(stage: &Stage, client: &mut Connection, far: Far) -> Far {
    client.send("GET /x HTTP/1.1\r\nHost: app.test\r\nTE: trailers\r\n\r\n").await;
    stage.next(far).await.0
}

#[tokio::test]
async fn however_an_answer_is_cut_into_packets_it_is_the_same() {
    let stage = Stage::set().await;
    for answer in [
        "HTTP/1.1 200 OK\r\nX-One: two\r\nSet-Cookie: a=b\r\nContent-Length: 11\r\n\r\nhello world",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n\
         5;x=\"y\"\r\nhello\r\n00A\r\n, \r\nworld!\r\n0;z\r\nSum: 7\r\nOther: 8\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n",
    ] {
        let bytes = answer.as_bytes();
        let (mut client, mut far, _) = stage.ask(GET.replace("\r\n\r\n", "\r\nTE: trailers\r\n\r\n")).await;
        far.say(bytes).await;
        let whole = shown(&client.response().await.unwrap());
        assert!(whole.4, "{answer}");
        for cut in 1..bytes.len() {
            far = ask_again(&stage, &mut client, far).await;
            far.say_in_pieces([&bytes[..cut], &bytes[cut..]]).await;
            assert_eq!(shown(&client.response().await.unwrap()), whole, "{answer} cut at {cut}");
        }
        far = ask_again(&stage, &mut client, far).await;
        far.say_in_pieces(bytes.chunks(1)).await;
        assert_eq!(shown(&client.response().await.unwrap()), whole, "{answer} byte by byte");
    }
}

#[tokio::test]
async fn after_trailers_a_connection_is_used_again() {
    let stage = Stage::set().await;
    for te in ["TE: trailers\r\n", ""] {
        let (mut client, mut far, _) =
            stage.ask(format!("GET /x HTTP/1.1\r\nHost: app.test\r\n{te}\r\n")).await;
        far.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nSum: 7\r\n\r\n")
            .await;
        let response = client.response().await.unwrap().expect(200);
        assert_eq!((response.text().as_str(), response.complete), ("hello", true));
        assert!(stage.is_kept(far, &mut client).await, "{te}");
    }
}

#[tokio::test]
async fn a_body_without_length_is_the_same_however_it_is_cut() {
    let stage = Stage::set().await;
    let bytes = b"HTTP/1.0 200 OK\r\nX-One: two\r\n\r\nto the end";
    for cut in 1..bytes.len() {
        let (mut client, mut far, _) = stage.ask(GET).await;
        far.say_in_pieces([&bytes[..cut], &bytes[cut..]]).await;
        far.finish().await;
        let response = client.response().await.unwrap().expect(200);
        assert_eq!((response.text().as_str(), response.header("x-one")), ("to the end", Some("two")));
        assert!(response.complete, "cut at {cut}");
    }
}

/// What is not ASCII is nobody's to change, and no reason to refuse an answer.
#[tokio::test]
async fn bytes_beyond_ascii_pass() {
    let stage = Stage::set().await;
    let (mut client, mut far, _) = stage.ask(GET).await;
    far.say(b"HTTP/1.1 200 Gr\xfc\xdfe\r\nX-Name: Fran\xe7ois \xc3\xa9\r\nContent-Length: 0\r\n\r\n").await;
    client.until(b"Fran\xe7ois \xc3\xa9\r\n").await;
    client.until(b"\r\n\r\n").await;
    assert!(stage.is_kept(far, &mut client).await);
}

#[tokio::test]
async fn headers_keep_their_number_and_order() {
    let stage = Stage::set().await;
    let cookies: Vec<_> = (0..60).map(|number| format!("c{number}={number}; Path=/; HttpOnly")).collect();
    let lines: String = cookies.iter().map(|cookie| format!("Set-Cookie: {cookie}\r\n")).collect();
    let answer = format!("HTTP/1.1 200 OK\r\n{lines}Vary: a\r\nVary: b\r\nContent-Length: 0\r\n\r\n");
    let (response, mut client, far) = stage.answer(answer.as_bytes(), false).await;
    let response = response.unwrap().expect(200);
    assert_eq!(response.all("set-cookie"), cookies);
    assert_eq!(response.all("vary"), ["a", "b"]);
    assert!(stage.is_kept(far, &mut client).await);
}

/// A head with a body of two bytes that is so many bytes long, in lines of a thousand.
fn head_of(bytes: usize) -> String {
    let begin = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n";
    let line = format!("X: {}\r\n", "x".repeat(995));
    let mut head = begin.to_owned();
    while head.len() + line.len() + 7 < bytes {
        head += &line;
    }
    let fill = bytes - head.len() - "Y: \r\n\r\n".len();
    head + &format!("Y: {}\r\n\r\n", "y".repeat(fill))
}

/// ARCHITECTURE.md, Memory: 32 KiB of it are read at a time, and no more are kept.
#[tokio::test]
async fn a_head_may_be_large_and_not_huge() {
    let stage = Stage::set().await;
    for (bytes, status) in [(30 * 1024, 200), (32 * 1024 - 2, 200), (32 * 1024 + 1, 502), (40 * 1024, 502)] {
        let head = head_of(bytes);
        assert_eq!(head.len(), bytes);
        for piece in [bytes, 1000] {
            let (mut client, mut far, _) = stage.ask(GET).await;
            for part in (head.clone() + "ok").as_bytes().chunks(piece) {
                // The gateway may have heard enough.
                let _ended = far.try_say(part).await;
            }
            let response = client.response().await.unwrap();
            assert_eq!(response.status, status, "{bytes} bytes, {piece} at a time");
            if status == 200 {
                assert_eq!(response.text(), "ok");
            } else {
                assert_eq!(response.code().as_deref(), Some("upstream_protocol"));
            }
        }
    }
}

#[tokio::test]
async fn headers_may_be_many_and_not_any_number() {
    let stage = Stage::set().await;
    for (count, status) in [(100, 200), (101, 502)] {
        let lines: String = (1..count).map(|number| format!("X-{number}: a\r\n")).collect();
        let answer = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n");
        let (response, ..) = stage.answer(answer.as_bytes(), false).await;
        assert_eq!(response.unwrap().status, status, "{count} headers");
    }
}

/// Two clients at once, and each piece goes to the one it is for.
#[tokio::test]
async fn slow_answers_do_not_meet() {
    let stage = Stage::set().await;
    let (mut one, mut far_one, _) = stage.ask(GET).await;
    let (mut two, mut far_two, _) = stage.ask(GET).await;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    far_one.say(head).await;
    far_two.say(head).await;
    for round in 0..20 {
        for (far, client, name) in [(&mut far_one, &mut one, "one"), (&mut far_two, &mut two, "two")] {
            let piece = format!("{name} {round:02}");
            far.say(format!("6\r\n{piece}\r\n")).await;
            client.until(piece.as_bytes()).await;
        }
    }
    for (far, client) in [(&mut far_one, &mut one), (&mut far_two, &mut two)] {
        far.say("0\r\n\r\n").await;
        client.until(b"0\r\n\r\n").await;
    }
    assert!(stage.is_kept(far_two, &mut one).await || stage.is_kept(far_one, &mut two).await);
}
