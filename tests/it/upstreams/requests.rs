//! What an upstream is sent, to the byte, and what becomes of a request's body when the upstream has
//! something to say before it came.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::scripted::{Far, GET, Stage, plain};
use crate::client::{Connection, Response};
use crate::world::until;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What every request of these says in addition, in the order of names.
const REST: &str = "forwarded: for=127.0.0.1;host=app.test;proto=http
host: app.test
traceparent: …
via: …
x-forwarded-for: 127.0.0.1
x-forwarded-host: app.test
x-forwarded-proto: http
x-request-id: …
";

#[tokio::test]
async fn a_request_without_a_body_says_so() {
    let stage = Stage::set().await;
    for (method, framing) in [
        ("GET", ""),
        ("HEAD", ""),
        ("OPTIONS", ""),
        ("DELETE", ""),
        ("POST", ""),
        ("PUT", ""),
        ("PATCH", ""),
        ("QUERY", ""),
    ] {
        let (mut client, mut far, head) =
            stage.ask(format!("{method} /a/b?c=d HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        assert_eq!(plain(&head), format!("{method} /a/b?c=d HTTP/1.1\n{framing}{REST}"));
        far.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        client.response_to(method).await.unwrap().expect(200);
        assert!(stage.is_kept(far, &mut client).await, "something followed the head");
        // The client said itself that there is none.
        let (mut client, mut far, head) =
            stage.ask(format!("{method} /a HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\n\r\n")).await;
        let framing = head
            .lines()
            .filter(|line| line.starts_with("content-length") || line.starts_with("transfer-encoding"));
        assert!(
            framing.clone().count() <= 1 && framing.clone().all(|line| line == "content-length: 0"),
            "{head}"
        );
        far.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        client.response_to(method).await.unwrap().expect(200);
        assert!(stage.is_kept(far, &mut client).await);
    }
}

#[tokio::test]
async fn headers_are_passed_on_as_they_came() {
    let stage = Stage::set().await;
    let request = b"GET /x HTTP/1.1\r\nHost: app.test\r\nX-One: a\r\nAccept:\r\nx-ONE: b \xc3\xa9 \xff\r\n\
        Cookie: a=b\r\nCookie: c=d\r\nConnection: keep-alive, X-Hop\r\nX-Hop: h\r\nKeep-Alive: 5\r\nTE: trailers\r\n\r\n";
    let (_client, _far, head) = stage.ask(request).await;
    let named = |name: &str| {
        let lines = head.lines().filter_map(move |line| line.split_once(": "));
        lines.filter(move |(known, _)| *known == name).map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(named("x-one"), ["a", "b é \u{fffd}"]);
    assert!(head.contains("\r\naccept: \r\n"), "{head}");
    assert_eq!(named("cookie").join("; "), "a=b; c=d");
    for name in ["connection", "x-hop", "keep-alive", "content-length", "transfer-encoding"] {
        assert!(named(name).is_empty(), "{name}: {head}");
    }
}

#[tokio::test]
async fn a_body_of_a_length_is_sent_as_it_is() {
    let stage = Stage::set().await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET"] {
        let head = format!("{method} /x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\n");
        for pieces in [&["0123456789"][..], &["0", "12345678", "9"], &["01234", "56789"]] {
            let (mut client, mut far, head) = stage.ask(&head).await;
            assert_eq!(plain(&head), format!("{method} /x HTTP/1.1\ncontent-length: 10\n{REST}"));
            for piece in pieces {
                client.send(piece).await;
                // It goes on as it comes.
                assert_eq!(far.bytes(piece.len()).await, piece.as_bytes());
            }
            far.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            client.response().await.unwrap().expect(200);
            assert!(stage.is_kept(far, &mut client).await);
        }
    }
}

#[tokio::test]
async fn a_chunked_body_stays_one() {
    let stage = Stage::set().await;
    for method in ["POST", "PUT", "DELETE", "GET"] {
        let (mut client, mut far, head) = stage
            .ask(format!("{method} /x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n"))
            .await;
        let rest = REST.replace("via: ", "transfer-encoding: chunked\nvia: ");
        assert_eq!(plain(&head), format!("{method} /x HTTP/1.1\n{rest}"));
        client.send("5;ext=1\r\nhello\r\n").await;
        assert_eq!(far.until(b"hello\r\n").await, "5\r\nhello\r\n");
        // A chunk that comes in pieces may go on in several.
        client.send("000A\r\n01234").await;
        assert_eq!(far.until(b"01234\r\n").await, "5\r\n01234\r\n");
        client.send("56789\r\n").await;
        assert_eq!(far.until(b"56789\r\n").await, "5\r\n56789\r\n");
        client.send("0\r\n\r\n").await;
        assert_eq!(far.until(b"0\r\n\r\n").await, "0\r\n\r\n");
        far.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        client.response().await.unwrap().expect(200);
        assert!(stage.is_kept(far, &mut client).await);
    }
}

#[tokio::test]
async fn trailers_follow_the_last_chunk() {
    let stage = Stage::set().await;
    let head =
        "POST /x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nTrailer: Sum, Other\r\n\r\n";
    let (mut client, mut far, asked) = stage.ask(head).await;
    assert!(asked.to_lowercase().contains("\r\ntrailer: sum, other\r\n"), "{asked}");
    client
        .send("5\r\nhello\r\n0\r\nSum: 7\r\nOther: 8\r\nHost: evil.test\r\nX-Stytch-Member-Id: evil\r\n\r\n")
        .await;
    let body = far.until(b"\r\n\r\n").await;
    let (chunks, trailers) = body.split_once("0\r\n").unwrap();
    assert_eq!(chunks, "5\r\nhello\r\n");
    let mut trailers: Vec<_> = trailers.trim_end().split("\r\n").map(str::to_lowercase).collect();
    trailers.sort_unstable();
    assert_eq!(trailers, ["other: 8", "sum: 7"]);
    far.say(OK).await;
    client.response().await.unwrap().expect(200);
    assert!(stage.is_kept(far, &mut client).await);
}

/// The gateway confirms what the client expects, and says nothing of it to the upstream. What an upstream
/// confirms all the same is not passed on.
#[tokio::test]
async fn an_expectation_is_the_gateways_to_meet() {
    let stage = Stage::set().await;
    for framing in ["Content-Length: 4", "Transfer-Encoding: chunked"] {
        let (mut client, mut far, head) = stage
            .ask(format!("POST /x HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\n{framing}\r\n\r\n"))
            .await;
        assert!(!head.to_lowercase().contains("expect"), "{head}");
        assert_eq!(client.bytes(25).await, b"HTTP/1.1 100 Continue\r\n\r\n");
        client.send(if framing.starts_with('C') { "body" } else { "4\r\nbody\r\n0\r\n\r\n" }).await;
        far.until(b"body").await;
        far.say(format!("HTTP/1.1 100 Continue\r\n\r\n{OK}")).await;
        assert_eq!(client.bytes(13).await, b"HTTP/1.1 200 ");
    }
}

async fn upload(stage: &Stage, length: usize) -> (Connection, Far) {
    let (client, far, _) = stage
        .ask(format!("POST /x HTTP/1.1\r\nHost: app.test\r\nContent-Length: {length}\r\n\r\nbegin"))
        .await;
    (client, far)
}

/// More than all buffers on the way hold.
const LARGE: usize = 32 * 1024 * 1024;

/// A client that goes on sending its large body while it reads what comes back, and whether it has sent it
/// or found out that nobody takes it.
async fn pour(stage: &Stage) -> (Connection, Far, JoinHandle<()>) {
    let socket = std::net::TcpStream::connect(stage.world.address()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut writing = TcpStream::from_std(socket.try_clone().unwrap()).unwrap();
    let client = Connection::over(TcpStream::from_std(socket).unwrap());
    let head = format!("POST /x HTTP/1.1\r\nHost: app.test\r\nContent-Length: {LARGE}\r\n\r\n");
    let pouring = tokio::spawn(async move {
        let _gone = writing.write_all(&[head.into_bytes(), vec![b'x'; LARGE]].concat()).await;
    });
    let mut far = stage.accept().await;
    far.head().await;
    (client, far, pouring)
}

#[tokio::test]
async fn an_upstream_may_answer_first_and_read_on() {
    let stage = Stage::set().await;
    let (mut client, mut far) = upload(&stage, 15).await;
    assert_eq!(far.bytes(5).await, b"begin");
    far.say(OK).await;
    assert_eq!(client.response().await.unwrap().expect(200).text(), "ok");
    client.send("0123456789").await;
    assert_eq!(far.bytes(10).await, b"0123456789");
    assert!(stage.is_kept(far, &mut client).await);
}

#[tokio::test]
async fn an_upstream_may_answer_first_and_read_a_large_body_on() {
    let stage = Stage::set().await;
    let (mut client, mut far, pouring) = pour(&stage).await;
    far.say(OK).await;
    assert_eq!(client.response().await.unwrap().expect(200).text(), "ok");
    assert_eq!(far.bytes(LARGE).await.len(), LARGE);
    pouring.await.unwrap();
    assert!(stage.is_kept(far, &mut client).await);
}

/// As servers do that have seen enough of a head: they answer, read nothing, and close, which resets.
#[tokio::test]
async fn an_upstream_may_refuse_a_body_and_close() {
    let stage = Stage::set().await;
    for round in 0..10 {
        let (mut client, mut far, pouring) = pour(&stage).await;
        if round % 2 == 0 {
            far.bytes(200_000).await;
        }
        far.say("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig").await;
        drop(far);
        let response = client.response().await.expect("the upstream's answer");
        assert_eq!((response.status, response.text().as_str(), response.complete), (413, "big", true));
        client.rest().await;
        pouring.await.unwrap();
    }
}

/// An upstream that answers and then neither reads nor closes does not keep the client sending for ever.
#[tokio::test]
async fn an_upstream_may_answer_and_read_no_further() {
    let stage = Stage::set().await;
    let (mut client, mut far, pouring) = pour(&stage).await;
    far.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let response = client.response().await.expect("the upstream's answer");
    assert_eq!((response.status, response.text().as_str(), response.complete), (403, "no", true));
    // Its body can go nowhere, so the connection is over, long before any timeout.
    assert!(client.rest().await.is_empty());
    pouring.await.unwrap();
    // What the socket had taken may still be there.
    far.ended().await;
}

#[tokio::test]
async fn an_upstream_that_closes_before_it_answers_is_502() {
    let stage = Stage::set().await;
    for resets in [false, true] {
        let (mut client, mut far) = upload(&stage, 15).await;
        far.bytes(5).await;
        if resets {
            far.reset()
        } else {
            drop(far)
        }
        is_told(client.response().await);
        let (mut client, mut far, pouring) = pour(&stage).await;
        far.bytes(200_000).await;
        if resets {
            far.reset()
        } else {
            drop(far)
        }
        is_told(client.response().await);
        client.rest().await;
        pouring.await.unwrap();
    }
}

#[track_caller]
fn is_told(response: Option<Response>) {
    let response = response.expect("a word");
    let code = response.code();
    assert!(response.status == 502 && code.is_some_and(|code| code.starts_with("upstream_")), "{response:?}");
}

/// Closed by halves: it says that nothing will come, so that nothing is waited for.
#[tokio::test]
async fn an_upstream_that_will_not_answer_is_not_waited_for() {
    let stage = Stage::set().await;
    let (mut client, mut far) = upload(&stage, 15).await;
    far.bytes(5).await;
    far.finish().await;
    assert_eq!(client.response().await.unwrap().status, 502);
    far.ended().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_ends_the_upstreams_connection() {
    let stage = Stage::set().await;
    for (framing, begin) in
        [("Content-Length: 100", "begin"), ("Transfer-Encoding: chunked", "5\r\nbegin\r\n")]
    {
        let head = format!("POST /x HTTP/1.1\r\nHost: app.test\r\n{framing}\r\n\r\n{begin}");
        for answered in [false, true] {
            let (mut client, mut far, _) = stage.ask(&head).await;
            far.until(b"begin").await;
            if answered {
                far.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
                client.until(b"first").await;
            }
            drop(client);
            let (_, rest) = far.ended().await;
            assert!(!String::from_utf8_lossy(&rest).contains("0\r\n\r\n"), "{framing} {answered}");
        }
        // The same where what the client sends is malformed.
        if framing.starts_with('T') {
            let (mut client, mut far, _) = stage.ask(&head).await;
            far.until(b"begin").await;
            client.send("zz\r\n").await;
            let (_, rest) = far.ended().await;
            assert!(!String::from_utf8_lossy(&rest).contains("0\r\n\r\n"), "{framing}");
            assert_eq!(client.response().await.unwrap().status, 400);
        }
    }
    let idle = "stytch_gateway_upstream_connections{upstream=\"app\",state=\"idle\"}";
    until("no idle connection", async || stage.world.metric(idle).await == 0.0).await;
    let (..) = stage.ask(GET).await;
}
