//! Row G: where a message ends. One reading, or none.

use super::{SMUGGLED, goes_on, nothing_smuggled, refused, refused_with, with};
use crate::echo::{Answer, Step};
use crate::world::World;

/// Every one of these lines, before a chunked body that hides a request.
async fn lines_are_refused(lines: &[&str]) {
    let world = World::start().await;
    for line in lines {
        refused(&world, with(&format!("{line}\r\n"), "0\r\n\r\n")).await;
    }
    nothing_smuggled(&world);
}

#[tokio::test]
async fn g01_both_framings() {
    let world = World::start().await;
    refused(&world, with("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG")).await;
    nothing_smuggled(&world);
}

#[tokio::test]
async fn g02_both_framings_in_other_orders_and_spellings() {
    lines_are_refused(&[
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "transfer-encoding: CHUNKED\r\nCONTENT-LENGTH: 5",
        "Transfer-Encoding: chunked\r\nContent_Length: 6",
        "Content-Length: 5\r\nTransfer_Encoding: chunked",
        "Content-Length: 5\r\nTransfer-Encoding: x",
    ])
    .await;
}

#[tokio::test]
async fn g03_a_body_of_get_stays_its_body() {
    let world = World::start().await;
    let mut connection = world.connect().await;
    let length = SMUGGLED.len();
    connection
        .send(format!(
            "GET /public/a HTTP/1.1\r\nHost: app.test\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"
        ))
        .await;
    connection.response().await.unwrap().expect(200);
    assert_eq!(world.upstream.last().body, SMUGGLED.as_bytes());
    goes_on(&world, &mut connection).await;
    nothing_smuggled(&world);
}

#[tokio::test]
async fn g04_a_chunked_body_of_get_stays_its_body() {
    let world = World::start().await;
    let mut connection = world.connect().await;
    let length = SMUGGLED.len();
    for method in ["GET", "HEAD", "POST"] {
        let head = format!("{method} /public/a HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n");
        connection.send(format!("{head}\r\n{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n")).await;
        connection.response_to(method).await.unwrap().expect(200);
        assert_eq!(world.upstream.last().body, SMUGGLED.as_bytes(), "{method}");
        goes_on(&world, &mut connection).await;
    }
    nothing_smuggled(&world);
}

#[tokio::test]
async fn g05_malformed_transfer_encoding() {
    lines_are_refused(&[
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunked, identity",
    ])
    .await;
}

#[tokio::test]
async fn g06_other_malformed_transfer_encodings() {
    lines_are_refused(&[
        "Transfer-Encoding:",
        "Transfer-Encoding: ,",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding:",
        "Transfer_Encoding: chunked",
        "Transfer.Encoding: chunked",
    ])
    .await;
}

#[tokio::test]
async fn g07_space_before_a_colon() {
    lines_are_refused(&["Transfer-Encoding : chunked"]).await;
}

#[tokio::test]
async fn g08_other_space_around_a_name() {
    lines_are_refused(&[
        "Transfer-Encoding\t: chunked",
        "Content-Length : 5",
        "Host : other.test",
        " Transfer-Encoding: chunked",
        "Transfer-\u{a0}Encoding: chunked",
    ])
    .await;
}

#[tokio::test]
async fn g09_odd_white_space_before_a_value() {
    lines_are_refused(&[
        "Transfer-Encoding:\u{b}chunked",
        "Transfer-Encoding:\u{c}chunked",
        "Transfer-Encoding:\0chunked",
    ])
    .await;
}

#[tokio::test]
async fn g10_folded_lines() {
    lines_are_refused(&[
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: x\r\n\tchunked",
        "X: a\r\n Transfer-Encoding: chunked",
        "Content-Length:\r\n 5",
    ])
    .await;
}

#[tokio::test]
async fn g11_an_http_10_body_ended_by_the_connection() {
    let world = World::start().await;
    for keep_alive in ["", "Connection: keep-alive\r\n"] {
        let head = format!("POST /public/a HTTP/1.0\r\nHost: app.test\r\n{keep_alive}\r\n");
        refused(&world, format!("{head}{SMUGGLED}")).await;
    }
    nothing_smuggled(&world);
}

#[tokio::test]
async fn g12_http_10_with_chunks_and_what_follows_a_closed_one() {
    let world = World::start().await;
    let chunks = "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    refused(&world, format!("POST /public/a HTTP/1.0\r\nHost: app.test\r\n{chunks}{SMUGGLED}")).await;
    for line in ["GET /public/a HTTP/1.0\r\n", "GET /public/a HTTP/1.1\r\nConnection: close\r\n"] {
        let mut connection = world.connect().await;
        connection.send(format!("{line}Host: app.test\r\n\r\n{SMUGGLED}")).await;
        connection.response().await.unwrap().expect(200);
        assert!(connection.rest().await.is_empty());
    }
    nothing_smuggled(&world);
}

#[tokio::test]
async fn g13_lengths_that_are_no_plain_number() {
    lines_are_refused(&[
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 5, 5",
        "Content-Length: 5,6",
        "Content-Length:",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
    ])
    .await;
}

#[tokio::test]
async fn g14_further_lengths_that_are_none() {
    lines_are_refused(&[
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 5.0",
        "Content-Length: 5e0",
        "Content-Length: 010",
        "Content-Length: 00",
        "Content-Length: \u{665}",
        "Content-Length: 5;a",
        "Content-Length: \"5\"",
        "Content-Length: 5\u{b}",
        "Content_Length: 5",
    ])
    .await;
}

#[tokio::test]
async fn g15_lengths_that_overflow() {
    lines_are_refused(&["Content-Length: 18446744073709551617"]).await;
}

#[tokio::test]
async fn g16_lengths_that_are_just_too_large() {
    lines_are_refused(&[
        "Content-Length: 9223372036854775808",
        "Content-Length: 18446744073709551615",
        "Content-Length: 1000000000000000000000000000000000000005",
    ])
    .await;
}

/// Bodies of chunks whose framing is broken, in front of a hidden request.
async fn chunks_are_refused(bodies: &[&str]) {
    let world = World::start().await;
    for body in bodies {
        let bytes = with("Transfer-Encoding: chunked\r\n", body);
        let raw = world.raw(&bytes).await;
        assert_eq!((raw.status(), raw.closed, raw.rest.len()), (Some(400), true, 0), "{body:?}");
        let response = raw.response.expect("it has a status");
        assert_eq!(response.code().as_deref(), Some("bad_request"), "{body:?}");
        assert_eq!(response.all("cache-control"), ["no-store"]);
    }
    nothing_smuggled(&world);
    assert!(
        world.upstream.requests().iter().all(|received| !received.complete),
        "a broken body came to an end"
    );
}

#[tokio::test]
async fn g17_chunk_sizes_that_overflow() {
    chunks_are_refused(&["fffffffffffffffff\r\n"]).await;
}

#[tokio::test]
async fn g18_chunk_sizes_that_are_none() {
    chunks_are_refused(&[
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n",
        "5,5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";a\r\nhello\r\n0\r\n\r\n",
        "0000000000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff0\r\n",
    ])
    .await;
}

#[tokio::test]
async fn g19_a_bare_lf_ends_a_chunk_size() {
    chunks_are_refused(&["5\nhello\r\n0\r\n\r\n"]).await;
}

#[tokio::test]
async fn g20_other_ends_of_a_chunk() {
    chunks_are_refused(&[
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "0\n\r\n",
        "0\r\n\n",
        "0\r\r\n",
    ])
    .await;
}

#[tokio::test]
async fn g21_huge_chunk_extensions() {
    let chunk = format!("1;{}\r\na\r\n", "x".repeat(8 * 1024));
    chunks_are_refused(&[&chunk.repeat(4)]).await;
}

#[tokio::test]
async fn g22_chunk_extensions_that_end_lines_or_add_up() {
    let many = format!("1;{}\r\na\r\n", "x".repeat(100)).repeat(100);
    chunks_are_refused(&[
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5;\u{e9}\r\nhello\r\n0\r\n\r\n",
        &many,
    ])
    .await;
}

#[tokio::test]
async fn g23_framing_and_identity_in_trailers() {
    let world = World::start().await;
    let mut connection = world.connect().await;
    let names = "Content-Length, Transfer-Encoding, Host, Authorization, Cookie, X-Stytch-Roles, X_Stytch_Roles, \
                 Connection, Sum";
    let trailers = "Content-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: other.test\r\nAuthorization: Bearer x\r\n\
                    Cookie: a=b\r\nX-Stytch-Roles: admin\r\nX_Stytch_Roles: admin\r\nConnection: close\r\nSum: 1\r\n";
    let head = format!("POST /public/a HTTP/1.1\r\nHost: app.test\r\nTE: trailers\r\nTrailer: {names}\r\n");
    connection.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n{trailers}\r\n")).await;
    connection.response().await.unwrap().expect(200);
    let received = world.upstream.last();
    let trailers: Vec<_> = received.trailers.iter().map(|line| line.to_ascii_lowercase()).collect();
    assert_eq!(
        (received.body.as_slice(), trailers.as_slice()),
        (b"ab".as_slice(), ["sum: 1".to_owned()].as_slice())
    );
    goes_on(&world, &mut connection).await;
}

#[tokio::test]
async fn g24_malformed_trailers() {
    let large = format!("0\r\nX: {}\r\n\r\n", "x".repeat(20 * 1024));
    let world = World::start().await;
    let raw = world.raw(with("Transfer-Encoding: chunked\r\n", &large)).await;
    assert!(matches!(raw.status(), Some(400 | 431)) && raw.closed);
    nothing_smuggled(&world);
    chunks_are_refused(&[
        "0\r\n X: a\r\n\r\n",
        "0\r\nX : a\r\n\r\n",
        "0\r\nX: a\r\n b\r\n\r\n",
        "0\r\nX: a\n\r\n",
        "0\r\nX: a\0\r\n\r\n",
        "0\r\nX\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn g25_control_bytes_in_a_value() {
    lines_are_refused(&["X: a\rb", "X: a\nY: b"]).await;
}

#[tokio::test]
async fn g26_control_bytes_elsewhere() {
    lines_are_refused(&[
        "X: a\0b",
        "X: a\u{7f}",
        "X: a\r\rY: b",
        "X\0: a",
        "X\u{e9}: a",
        "X: a\n\nGET /public/smuggled HTTP/1.1\r\nHost: app.test",
        "X: a\r\n\nGET /public/smuggled HTTP/1.1\r\nHost: app.test",
    ])
    .await;
}

#[tokio::test]
async fn g27_leading_white_space() {
    let world = World::start().await;
    refused(&world, format!(" {SMUGGLED}")).await;
    refused(&world, "GET /public/a HTTP/1.1\r\n X: a\r\nHost: app.test\r\n\r\n").await;
}

#[tokio::test]
async fn g28_leading_lines_and_other_protocols() {
    let world = World::start().await;
    for before in
        ["\r\n", "\n", "\t", "\0", "\r", "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", "\u{16}\u{3}\u{1}"]
    {
        refused(&world, format!("{before}{SMUGGLED}")).await;
    }
    refused(&world, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
}

#[tokio::test]
async fn g29_a_name_that_would_wrap() {
    let world = World::start().await;
    for length in [257, 65535, 65536 + 14, 70_000] {
        let line = format!("{}: 5\r\n", "x".repeat(length));
        refused_with(&world, with(&line, ""), 431, "header_too_large").await;
    }
}

#[tokio::test]
async fn g30_heads_that_are_too_large() {
    let world = World::start().await;
    let value = format!("X: {}\r\n", "x".repeat(33 * 1024));
    refused_with(&world, with(&value, ""), 431, "header_too_large").await;
    refused_with(&world, with(&"X: a\r\n".repeat(100), ""), 431, "header_too_large").await;
    refused(&world, format!("GET /{} HTTP/1.1\r\nHost: app.test\r\n\r\n", "a".repeat(9 * 1024))).await;
    refused(&world, format!("{} / HTTP/1.1\r\nHost: app.test\r\n\r\n", "G".repeat(25))).await;
}

#[tokio::test]
async fn g31_an_early_refusal_leaves_no_body_behind() {
    let world = World::start().await;
    let length = SMUGGLED.len();
    let whole =
        format!("POST /private HTTP/1.1\r\nHost: app.test\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}");
    for bytes in [whole.clone(), whole[..whole.len() - 5].to_owned()] {
        let mut connection = world.connect().await;
        connection.send(&bytes).await;
        connection.response().await.unwrap().expect(401);
        // Either the body was read to its end, or the connection is over.
        connection.send(world.get("/public/after").bytes()).await;
        if let Some(response) = connection.response().await {
            assert!(matches!(response.status, 200 | 400));
        }
    }
    nothing_smuggled(&world);
}

#[tokio::test]
async fn g32_an_early_answer_of_the_upstream_leaves_no_body_behind() {
    let world = World::start().await;
    world.upstream.on("/public/early", |_| {
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec();
        Answer::steps([Step::Send(answer)]).early()
    });
    for framing in
        [format!("Content-Length: {}\r\n\r\n", SMUGGLED.len()), "Transfer-Encoding: chunked\r\n\r\n".into()]
    {
        let mut connection = world.connect().await;
        connection.send(format!("POST /public/early HTTP/1.1\r\nHost: app.test\r\n{framing}")).await;
        connection.response().await.unwrap().expect(403);
        connection.send(format!("{:x}\r\n{SMUGGLED}", SMUGGLED.len())).await;
        world.get("/public/other").expect(200).await;
    }
    nothing_smuggled(&world);
}

#[tokio::test]
async fn g34_nothing_follows_a_refused_connect() {
    let world = World::start().await;
    let connect = "CONNECT app.test:443 HTTP/1.1\r\nHost: app.test:443\r\n";
    let framed = format!("{connect}Content-Length: {}\r\n\r\n", SMUGGLED.len());
    for head in [format!("{connect}\r\n"), framed] {
        let before = world.upstream_traffic();
        let raw = world.raw(format!("{head}{SMUGGLED}")).await;
        assert!(raw.closed && raw.rest.is_empty());
        world.check_refusal("CONNECT", &raw.response.unwrap(), 405, "method_not_allowed", before);
    }
    nothing_smuggled(&world);
}

#[tokio::test]
async fn g37_other_versions() {
    let world = World::start().await;
    for line in ["GET /", "GET / HTTP/2.0", "GET / HTTP/1.2", "GET / http/1.1"] {
        refused(&world, format!("{line}\r\nHost: app.test\r\n\r\n{SMUGGLED}")).await;
    }
    nothing_smuggled(&world);
}

#[tokio::test]
async fn g38_request_lines_with_a_second_reading() {
    let world = World::start().await;
    for line in [
        "",
        "GET",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.1 HTTP/1.1",
        "GET / HTTP/0.9",
        "GET / HTTP/1.10",
        "GET / HTTP/01.1",
        "GET / HTTP 1.1",
        "GET / ICY/1.1",
        "get / HTTP/1.1",
        "GE\0T / HTTP/1.1",
        "G(T / HTTP/1.1",
    ] {
        refused(&world, format!("{line}\r\nHost: app.test\r\n\r\n{SMUGGLED}")).await;
    }
    refused(&world, "GET / HTTP/1.1\nHost: app.test\n\n").await;
    nothing_smuggled(&world);
}

#[tokio::test]
async fn g39_a_connection_that_is_authenticated_is_nobody_elses() {
    let world = World::start().await;
    world.upstream.on("/public/challenged", |_| {
        Answer::bytes("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n")
    });
    let connection_of = |index: usize| world.upstream.requests()[index].connection;
    world.get("/public/challenged").expect(401).await;
    world.get("/public/a").header("Authorization", "Negotiate YII=").expect(200).await;
    world.get("/public/b").header("Authorization", "ntlm TlRM").expect(200).await;
    world.get("/public/c").header("Authorization", "Basic YTpi").expect(200).await;
    world.get("/public/d").expect(200).await;
    let connections: Vec<_> = (0..5).map(connection_of).collect();
    assert_eq!(connections, [0, 1, 2, 3, 3]);
}
