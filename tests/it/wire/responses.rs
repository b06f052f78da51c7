//! Row G from the other side: what an upstream may not do to a client, or to the next one.

use super::{goes_on, nothing_smuggled};
use crate::echo::{Answer, Step};
use crate::world::World;

/// Every answer is a 502, and no other request is sent on a connection that gave one.
async fn answers_are_refused(answers: &[&[u8]]) {
    let world = World::start().await;
    for (number, bytes) in answers.iter().enumerate() {
        let (path, bytes) = (format!("/public/{number}/"), bytes.to_vec());
        world.upstream.on(&path, move |_| Answer::bytes(&bytes));
        let mut connection = world.connect().await;
        let response = world.get(&path).send_on(&mut connection).await;
        let shown = answers[number].escape_ascii();
        assert_eq!(
            (response.status, response.code().as_deref()),
            (502, Some("upstream_protocol")),
            "{shown}"
        );
        assert_eq!(response.all("cache-control"), ["no-store"], "{shown}");
        let used = world.upstream.last().connection;
        goes_on(&world, &mut connection).await;
        assert_ne!(world.upstream.last().connection, used, "used again after {shown}");
    }
}

#[tokio::test]
async fn g35_control_bytes_in_a_response() {
    answers_are_refused(&[
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\0: a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b=c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nX: a\nContent-Length: 0\n\n",
    ])
    .await;
}

#[tokio::test]
async fn g36_a_response_framed_in_two_ways_or_an_odd_one() {
    answers_are_refused(&[
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551617\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
        b"hello\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn g40_a_body_that_breaks_off_is_broken_off() {
    let world = World::start().await;
    let bodies: [&[u8]; 5] = [
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX : a\r\n\r\n",
        b"Content-Length: 5\r\n\r\nab",
    ];
    for (number, bytes) in bodies.iter().enumerate() {
        let path = format!("/public/{number}/");
        let answer = [b"HTTP/1.1 200 OK\r\n".as_slice(), bytes].concat();
        world.upstream.on(&path, move |_| Answer::steps([Step::Send(answer.clone()), Step::Close]));
        let mut connection = world.connect().await;
        let response = world.get(&path).send_on(&mut connection).await;
        assert!(!response.complete, "{} seemed whole", bytes.escape_ascii());
        assert!(connection.rest().await.is_empty());
        world.get("/public/after").expect(200).await;
    }
}

#[tokio::test]
async fn g42_bytes_after_the_end_are_nobody_elses_answer() {
    let world = World::start().await;
    let extra = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    for (number, (steps, body)) in [
        (
            vec![Step::Send([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".as_slice(), extra].concat())],
            "ok",
        ),
        (
            vec![
                Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
                Step::Wait(std::time::Duration::from_millis(20)),
                Step::Send(extra.to_vec()),
            ],
            "ok",
        ),
        (
            vec![Step::Send(
                [
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".as_slice(),
                    extra,
                ]
                .concat(),
            )],
            "ok",
        ),
        (vec![Step::Send([b"HTTP/1.1 204 No Content\r\n\r\n".as_slice(), extra].concat())], ""),
        (
            vec![Step::Send(
                [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\n".as_slice(), extra].concat(),
            )],
            "",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/public/{number}/");
        world.upstream.on(&path, move |_| Answer::steps(steps.clone()));
        let mut connection = world.connect().await;
        assert_eq!(world.get(&path).send_on(&mut connection).await.text(), body);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let response = world.get("/public/after").send_on(&mut connection).await;
        assert!(response.text().starts_with("GET /public/after "), "{number}: {}", response.text());
    }
    let head =
        |_: &crate::echo::Received| Answer::bytes("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled");
    world.upstream.on("/public/head", head);
    let mut connection = world.connect().await;
    assert_eq!(world.request("HEAD", "/public/head").send_on(&mut connection).await.status, 200);
    goes_on(&world, &mut connection).await;
    nothing_smuggled(&world);
}

#[tokio::test]
async fn g44_interim_answers_without_end() {
    answers_are_refused(&[&b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100)]).await;
    let world = World::with("[upstreams.app.timeouts]\nresponse = \"1s\"\n").await;
    world.upstream.on("/public/slow", |_| {
        let once = [
            Step::Send(b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec()),
            Step::Wait(std::time::Duration::from_millis(200)),
        ];
        Answer::steps(std::iter::repeat_n(once, 20).flatten().collect::<Vec<_>>())
    });
    let response = world.get("/public/slow").send().await;
    assert_eq!((response.status, response.code().as_deref()), (504, Some("upstream_timeout")));
    world.upstream.on("/public/few", |_| {
        Answer::bytes("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    assert_eq!(world.get("/public/few").expect(200).await.text(), "ok");
}

#[tokio::test]
async fn g46_an_upstream_that_closes_or_says_nothing() {
    let world = World::with("[upstreams.app.timeouts]\nresponse = \"500ms\"\n").await;
    world.upstream.on("/public/closes", |_| Answer::steps([Step::Close]));
    world
        .upstream
        .on("/public/half", |_| Answer::steps([Step::Send(b"HTTP/1.1 200 OK\r\nX: ".to_vec()), Step::Close]));
    world.upstream.on("/public/holds", |_| Answer::steps([Step::Hold]));
    for (path, status, code) in [
        ("/public/closes", 502, "upstream_protocol"),
        ("/public/half", 502, "upstream_protocol"),
        ("/public/holds", 504, "upstream_timeout"),
    ] {
        let mut connection = world.connect().await;
        let response = world.post(path).body("body").send_on(&mut connection).await;
        assert_eq!((response.status, response.code().as_deref()), (status, Some(code)), "{path}");
        goes_on(&world, &mut connection).await;
    }
}

#[tokio::test]
async fn a_huge_head_of_a_response_is_refused() {
    let line = format!("X: {}\r\n", "x".repeat(1000));
    let large = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", line.repeat(1000));
    let many = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "X: a\r\n".repeat(1000));
    answers_are_refused(&[large.as_bytes(), many.as_bytes()]).await;
}

#[tokio::test]
async fn connections_are_used_again_after_whole_answers() {
    let world = World::start().await;
    world.upstream.on("/public/chunked", |_| {
        Answer::bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    });
    for path in ["/public/chunked", "/public/chunked", "/public/a", "/public/b"] {
        world.get(path).expect(200).await;
    }
    assert_eq!(world.upstream.traffic().0, 1, "one connection would have done");
}
