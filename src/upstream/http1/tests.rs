//! A connection against a far end that says exactly what it is told to.

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::LazyLock;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::*;
use crate::fields::{Fields, Headers as _};
use crate::intake::READ_SIZE;
use crate::upstream::body::Outgoing;

mod beside_hyper;

/// What a connection makes of these bytes, as the answer to a request without a body, and whether it
/// may carry another one.
struct Heard {
    head: Response<()>,
    body: Vec<u8>,
    trailers: HeaderMap,
    is_kept: bool,
}

struct Reading<'c>(&'c mut Connection, Decoder);

impl Body for Reading<'_> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Self(connection, decoder) = self.get_mut();
        connection.poll_frame(cx, decoder)
    }
}

fn ask(method: &Method) -> Option<Outbound<'_>> {
    static TARGET: LazyLock<PathAndQuery> = LazyLock::new(|| PathAndQuery::from_static("/a?b"));
    let mut headers = Fields::default();
    headers.add(Cow::Owned(header::HOST), Cow::Owned(HeaderValue::from_static("app.test")));
    Some(Outbound { method, target: Some(&TARGET), headers, body: Outgoing::empty() })
}

/// Pieces are sent one after another, each when the one before was read; then the connection ends.
async fn hear(method: Method, pieces: &[&[u8]]) -> Result<Heard, Error> {
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut connection = Connection::new(Socket::Unix(near), None);
    let mut request = ask(&method);
    let sending = async {
        let _request = far.read(&mut [0; 1000]).await.unwrap();
        for piece in pieces {
            far.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        far.shutdown().await.unwrap();
        far
    };
    let reading = async {
        let response = poll_fn(|cx| connection.poll_exchange(cx, &mut request)).await?;
        assert!(request.is_none());
        let (head, decoder) = response.into_parts();
        let body = Reading(&mut connection, decoder).collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok::<_, Error>((Response::from_parts(head, ()), body.to_bytes().to_vec(), trailers))
    };
    let (_far, read) = tokio::join!(sending, reading);
    let (head, body, trailers) = read?;
    Ok(Heard { head, body, trailers, is_kept: connection.may_be_kept() })
}

async fn hears(text: &str) -> Result<Heard, Error> {
    hear(Method::GET, &[text.as_bytes()]).await
}

#[tokio::test(flavor = "local")]
async fn a_response_is_read_alike_however_it_is_cut() {
    let texts = [
        "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 4\r\n\r\nbody",
        "\r\nHTTP/1.1 200 \r\nTransfer-Encoding: Chunked\r\n\r\n3;a=b\r\nbod\r\n01\r\ny\r\n0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: c\r\n\r\nHTTP/1.1 404 Gone Fishing\r\n\r\nbody",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\ncontent-length: 4\r\n\r\nbody",
    ];
    for text in texts {
        let whole = hears(text).await.unwrap();
        assert_eq!(whole.body, b"body", "{text:?}");
        for cut in 1..text.len() {
            let (one, other) = text.as_bytes().split_at(cut);
            let heard = hear(Method::GET, &[one, other]).await.unwrap();
            assert_eq!(heard.head.headers(), whole.head.headers(), "{text:?} cut at {cut}");
            assert_eq!(
                (heard.body, heard.is_kept),
                (whole.body.clone(), whole.is_kept),
                "{text:?} cut at {cut}"
            );
        }
        let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
        assert_eq!(hear(Method::GET, &bytes).await.unwrap().body, b"body", "{text:?} byte by byte");
    }
}

#[tokio::test(flavor = "local")]
async fn a_connection_is_kept_only_when_nothing_is_left_over() {
    for (text, kept) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 1\r\n\r\na", true),
        ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na", false),
        ("HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 1\r\n\r\na", false),
        ("HTTP/1.0 200 OK\r\nconnection: keep-alive, close\r\ncontent-length: 1\r\n\r\na", false),
        ("HTTP/1.1 200 OK\r\n\r\na", false),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab", false),
        ("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n\r\n", false),
    ] {
        assert_eq!(hears(text).await.unwrap().is_kept, kept, "{text:?}");
    }
}

#[tokio::test(flavor = "local")]
async fn what_is_no_response_is_told_from_one_that_breaks_off() {
    for text in [
        "HTTP/1.1 200 OK\nA: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\n\nbody",
        "\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
        "HTTP/1.1 099 Odd\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1, 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\na",
        "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ] {
        assert!(matches!(hears(text).await, Err(Error::Malformed(_))), "{text:?}");
    }
    for text in
        ["", "HTTP/1.1 200", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na"]
    {
        assert!(matches!(hears(text).await, Err(Error::Incomplete)), "{text:?}");
    }
}

#[tokio::test(flavor = "local")]
async fn heads_have_an_end() {
    let head = |size: usize| format!("HTTP/1.1 204 No Content\r\nA: {}\r\n\r\n", "x".repeat(size));
    assert!(hears(&head(READ_SIZE - 100)).await.is_ok());
    assert!(matches!(hears(&head(READ_SIZE)).await, Err(Error::Malformed(_))));
    let fields = |count| format!("HTTP/1.1 204 No Content\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert!(hears(&fields(100)).await.is_ok());
    assert!(matches!(hears(&fields(101)).await, Err(Error::Malformed(_))));
    let interim = |count| {
        format!("{}HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(count))
    };
    assert!(hears(&interim(32)).await.is_ok());
    assert!(matches!(hears(&interim(33)).await, Err(Error::Malformed(_))));
}

#[tokio::test(flavor = "local")]
async fn the_answer_to_head_has_no_body() {
    let heard = hear(Method::HEAD, &[b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"]).await.unwrap();
    assert!(heard.body.is_empty() && heard.is_kept);
    assert_eq!(heard.head.headers()["content-length"], "5");
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    assert!(hear(Method::HEAD, &[chunked]).await.unwrap().is_kept);
}

#[tokio::test(flavor = "local")]
async fn chunks_are_read_strictly() {
    let chunked = |body: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
    for (body, expected) in [
        ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("A ; x=\"y\" \r\n0123456789\r\n000 \t\r\n\r\n", "0123456789"),
        ("0000000000000001\r\na\r\n0;z\r\n\r\n", "a"),
    ] {
        assert_eq!(hears(&chunked(body)).await.unwrap().body, expected.as_bytes(), "{body:?}");
    }
    let many = format!("1;{}\r\na\r\n", "x".repeat(4000)).repeat(5);
    for body in [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\na\r\n",
        "0x1\r\na\r\n",
        " 1\r\na\r\n",
        "1 1\r\na\r\n",
        "1\na\r\n",
        "1;a\nb\r\na\r\n",
        "1;\0\r\na\r\n",
        "1\r\nab\r\n",
        "1\r\na\n0\r\n\r\n",
        "10000000000000000\r\n",
        "0\r\nA: b\n\r\n\r\n",
        "0\r\nA b\r\n\r\n",
        &many,
        &format!("1;{}", "x".repeat(5000)),
        &format!("0\r\nA: {}", "x".repeat(17000)),
    ] {
        assert!(matches!(hears(&chunked(body)).await, Err(Error::Malformed(_))), "{body:?}");
    }
    for body in ["", "1\r\n", "2\r\na", "1\r\na", "1\r\na\r", "1\r\na\r\n", "0\r\n", "0\r\nA: b\r\n"] {
        assert!(matches!(hears(&chunked(body)).await, Err(Error::Incomplete)), "{body:?}");
    }
}

#[tokio::test(flavor = "local")]
async fn trailers_come_behind_the_body() {
    let text =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nGrpc-Status: 0\r\nx: \r\n\r\n";
    let heard = hears(text).await.unwrap();
    assert_eq!(heard.trailers.len(), 2);
    assert_eq!(
        (&*heard.body, &heard.trailers["grpc-status"], heard.is_kept),
        (&b"a"[..], &"0".parse().unwrap(), true)
    );
}

#[tokio::test(flavor = "local")]
async fn a_long_body_is_read_whole() {
    let body = "0123456789abcdef".repeat(READ_SIZE);
    let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let heard = hears(&text).await.unwrap();
    assert!(heard.body == body.as_bytes() && heard.is_kept);
}

#[tokio::test(flavor = "local")]
async fn a_request_is_written_once_and_plainly() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut connection = Connection::new(Socket::Unix(near), None);
    for (method, length, expected) in [
        (Method::GET, None, "GET /a?b HTTP/1.1\r\nhost: app.test\r\n\r\n"),
        (Method::POST, Some("0"), "POST /a?b HTTP/1.1\r\nhost: app.test\r\ncontent-length: 0\r\n\r\n"),
        (Method::POST, Some("7"), "POST /a?b HTTP/1.1\r\nhost: app.test\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let mut request = ask(&method);
        if let (Some(length), Some(request)) = (length, &mut request) {
            let length = HeaderValue::from_static(length);
            request.headers.add(Cow::Owned(header::CONTENT_LENGTH), Cow::Owned(length));
        }
        let answering = async {
            let mut read = vec![0; 1000];
            let count = far.read(&mut read).await.unwrap();
            far.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            String::from_utf8_lossy(&read[..count]).into_owned()
        };
        let exchange = poll_fn(|cx| connection.poll_exchange(cx, &mut request));
        let (answered, read) = tokio::join!(exchange, answering);
        assert_eq!((answered.unwrap().status(), &*read), (StatusCode::NO_CONTENT, expected));
        assert!(request.is_none());
        assert!(connection.may_be_kept() && connection.is_silent());
    }
    far.write_all(b"x").await.unwrap();
    // The system has to tell first.
    while connection.is_silent() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_has_ended_takes_no_request() {
    let (near, far) = UnixStream::pair().unwrap();
    let mut connection = Connection::new(Socket::Unix(near), None);
    assert!(connection.is_silent());
    drop(far);
    let mut request = ask(&Method::GET);
    let failed = poll_fn(|cx| connection.poll_exchange(cx, &mut request)).await;
    assert!(matches!(failed, Err(Error::Io(_))) && request.is_some());
}
