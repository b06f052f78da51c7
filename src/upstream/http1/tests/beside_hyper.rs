//! What a response is, however it is cut; and what is taken for one, hyper takes for the same.

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use bytes::BytesMut;

use super::*;
use crate::upstream::http1::decoder::Piece;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
}

#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// And so many bytes behind it.
    Whole(Box<Message>, usize),
    Malformed,
    BreaksOff,
}

fn read<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Read {
    let (mut held, mut heads) = (BytesMut::new(), Heads::of(false));
    let (mut response, mut body, mut fed, mut is_whole) = (None, Vec::new(), 0, false);
    let mut trailers = HeaderMap::new();
    for piece in pieces {
        fed += piece.len();
        if is_whole {
            continue;
        }
        held.extend_from_slice(piece);
        if response.is_none() {
            match heads.next(&mut held) {
                Ok(head) => response = head.map(|head| head.response),
                Err(_) => return Read::Malformed,
            }
        }
        let Some(response) = &mut response else { continue };
        loop {
            match response.body_mut().next(&mut held) {
                Ok(Piece::Data(data)) => body.extend_from_slice(&data),
                Ok(Piece::Trailers(read)) => trailers = read,
                Ok(Piece::More) => break,
                Ok(Piece::End) => {
                    (is_whole, fed) = (true, held.len());
                    break;
                }
                Err(_) => return Read::Malformed,
            }
        }
    }
    let Some(response) = response else { return Read::BreaksOff };
    if !is_whole && !response.body().ends_with_connection() {
        return Read::BreaksOff;
    }
    let (status, headers) = (response.status(), response.headers().clone());
    Read::Whole(Message { status, headers, body, trailers }.into(), if is_whole { fed } else { 0 })
}

/// The same as hyper's client reads it.
fn read_by_hyper(bytes: &[u8]) -> Option<Message> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (near, mut far) = duplex(64 * 1024);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        let driven = tokio::spawn(connection);
        let answering = async {
            let mut head = [0; 1024];
            assert!(far.read(&mut head).await.unwrap() > 0);
            far.write_all(bytes).await.unwrap();
            far.shutdown().await.unwrap();
            far
        };
        let request = Request::get("/").header("host", "a").body(Empty::<Bytes>::new()).unwrap();
        let asking = async {
            let response = sender.send_request(request).await.ok()?;
            let (parts, body) = response.into_parts();
            let collected = body.collect().await.ok()?;
            let trailers = collected.trailers().cloned().unwrap_or_default();
            let body = collected.to_bytes().to_vec();
            Some(Message { status: parts.status, headers: parts.headers, body, trailers })
        };
        let (_far, read) = tokio::join!(answering, asking);
        driven.abort();
        read
    })
}

/// Pieces that make responses, and nearly so.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 404 \r\n",
        "\r\nHTTP/1.1 200 OK\r\n",
        "\r\n\r\nHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\n",
        "HTTP/1.1 200\r\n",
        "HTTP/1.1 200 O\rK\r\n",
        "HTTP/1.1 200\tOK\r\n",
        "HTTP/1.1  200 OK\r\n",
        "HTTP/1.1 2000 OK\r\n",
        "HTTP/1.1 099 OK\r\n",
        "HTTP/1.1 200 \u{e4}\r\n",
        "HTTP/2.0 200 OK\r\n",
    ]);
    let field = prop::sample::select(vec![
        "Content-Length: 3\r\n",
        "Content-Length: 03\r\n",
        "content-length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding: Chunked\r\n",
        "Connection: close\r\n",
        "A: b\r\n",
        "A: b\n",
        "A:\r\n",
        "A : b\r\n",
        "A:\t b \t\r\n",
        "A: \u{e4}\r\n",
        "A: \u{c}b\r\n",
        "A: b\rXC: d\r\n",
        "A: b\r\r\n",
        " b\r\n",
        ": b\r\n",
        "A\r\n",
    ]);
    let part = prop::sample::select(vec![
        "3\r\nabc\r\n",
        "0\r\n",
        "\r\n",
        "0\r\n\r\n",
        "1;x=y\r\na\r\n",
        "2 \r\nab\r\n",
        "a",
        "abc",
        "\n",
        "B: c\r\n",
        "3\r\nab",
        "FFFFFFFFFFFFFFFFF\r\n",
        "+1\r\na\r\n",
    ]);
    let parts = (start, prop::collection::vec(field, 0..3), prop::collection::vec(part, 0..5));
    parts.prop_map(|(start, fields, parts)| {
        [start, &fields.concat(), "\r\n", &parts.concat()].concat().into_bytes()
    })
}

proptest! {
    #[test]
    fn how_it_is_cut_makes_no_difference(bytes in bytes(), size in 1..9usize) {
        let whole = read([bytes.as_slice()]);
        let cut = read(bytes.chunks(size));
        match (&whole, &cut) {
            // What comes later is behind it, and not looked at.
            (Read::Whole(message, _), Read::Whole(same, _)) => prop_assert_eq!(message, same),
            _ => prop_assert_eq!(whole, cut),
        }
    }

    #[test]
    fn what_is_a_response_is_the_same_to_hyper(bytes in bytes()) {
        if let Read::Whole(message, _) = read([bytes.as_slice()]) {
            prop_assert_eq!(read_by_hyper(&bytes), Some(*message));
        }
    }
}
