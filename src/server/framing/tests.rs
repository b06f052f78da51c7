//! The framing guard, by table and beside hyper.

use proptest::prelude::*;

use super::body::*;
use super::*;

mod beside_hyper;
pub(in crate::server) mod generated;
mod told;

const HEAD: usize = 2048;
const FIELDS: usize = 8;

fn judge(bytes: &[u8]) -> Judged {
    Framing::new(HEAD, FIELDS).judge(bytes)
}

/// A request that is good but for what is put in.
fn with_field(line: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: app.test\r\n{line}\r\n\r\n").into_bytes()
}

fn with_target(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    let mut request = with_field("Transfer-Encoding: chunked");
    request.extend_from_slice(body.as_bytes());
    request
}

#[track_caller]
fn accepts(bytes: &[u8]) {
    let judged = judge(bytes);
    assert_eq!(judged, Judged { passed: bytes.len(), stop: Stop::None }, "{}", bytes.escape_ascii());
}

/// Refused, and never to the end of the head: hyper must not see it.
#[track_caller]
fn refuses(bytes: &[u8]) {
    let judged = judge(bytes);
    assert!(
        matches!(judged.stop, Stop::Malformed(Malformed::Syntax(_))),
        "{} {judged:?}",
        bytes.escape_ascii()
    );
    assert!(judged.passed < bytes.len());
}

#[track_caller]
fn too_large(bytes: &[u8]) {
    assert!(matches!(judge(bytes).stop, Stop::Malformed(Malformed::TooLarge(_))));
}

/// Both are whole: the next byte begins a message.
#[track_caller]
fn accepts_whole(bytes: &[u8]) {
    let mut framing = Framing::new(HEAD, FIELDS);
    let judged = framing.judge(bytes);
    assert_eq!(judged, Judged { passed: bytes.len(), stop: Stop::None }, "{}", bytes.escape_ascii());
    assert!(framing.between_messages(), "{} is not over", bytes.escape_ascii());
}

#[test]
fn ordinary_requests_pass() {
    for request in [
        "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n",
        "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab",
        "OPTIONS * HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "M-SEARCH /a HTTP/1.1\r\nHost:app.test\r\n\r\n",
        "CONNECT app.test:443 HTTP/1.1\r\nHost: app.test:443\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.test\r\nX: a\tb\u{e9}\r\nEmpty:\r\nBlank: \t \r\n\r\n",
        "GET / HTTP/1.1\r\nhost:\tapp.test \t\r\n!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\n0123\r\n\r\n\0\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length:  5  \r\nExpect: 100-continue\r\n\r\nhello",
        "GET / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
    ] {
        accepts_whole(request.as_bytes());
    }
}

#[test]
fn targets_are_in_one_of_the_four_forms() {
    for target in [
        "/",
        "/a/b;c=d?e=f&g=[h]|{i}",
        "/%zz", // An escape is judged with the path, where the answer can say so.
        "//a",
        "/a?b?c",
        "http://app.test",
        "HTTP://APP.TEST/",
        "https://app.test:8443/a?b",
        "http://app.test?a",
        "http://[::1]:80/",
        "http://[1:2:3:4:5:6:7:8]",
        "http://127.0.0.1/",
    ] {
        accepts_whole(&with_target(target));
    }
    for target in [
        "",
        "*",
        "a",
        "?a",
        "app.test",
        "app.test:80",
        "http:http://internal/admin",
        "http:/app.test/",
        "http//app.test/",
        "ftp://app.test/",
        "httpx://app.test/",
        "http://",
        "http:///a",
        "http://?a",
        "http://:80/",
        "http://app.test:/",
        "http://app.test:80:80/",
        "http://app.test:8o/",
        "http://user@app.test/",
        "http://app.test@other.test/",
        "http://app%2etest/",
        "http://app.test\\@other.test/",
        "http://app.test,other.test/",
        "http://[::1/",
        "http://[::1]x/",
        "http://[1:2:3:4:5:6:7:8:9]",
        "http://::1/",
        "http://\u{430}pp.test/",
        "http://app.test#/",
        "/#",
        "/a#b",
        "/a b",
        "/a\tb",
        "/a\0b",
        "/\u{7f}",
        "/\u{e9}",
        "/\"<>`",
        " /",
        "/ ",
    ] {
        refuses(&with_target(target));
    }
}

#[test]
fn connect_names_an_authority_and_options_alone_an_asterisk() {
    for line in
        ["CONNECT / HTTP/1.1", "CONNECT http://a/ HTTP/1.1", "CONNECT a:1/b HTTP/1.1", "CONNECT * HTTP/1.1"]
    {
        refuses(format!("{line}\r\nHost: a\r\n\r\n").as_bytes());
    }
    for line in ["OPTIONS ** HTTP/1.1", "OPTIONS */ HTTP/1.1", "GET * HTTP/1.1", "PRI * HTTP/2.0"] {
        refuses(format!("{line}\r\nHost: a\r\n\r\n").as_bytes());
    }
}

#[test]
fn the_request_line_has_one_spelling() {
    for line in [
        "",
        "GET",
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        " GET / HTTP/1.1",
        "\tGET / HTTP/1.1",
        "\r\nGET / HTTP/1.1",
        "\nGET / HTTP/1.1",
        "\0GET / HTTP/1.1",
        "get / HTTP/1.1",
        "Get / HTTP/1.1",
        "G!T / HTTP/1.1",
        "GET\0 / HTTP/1.1",
        "GETGETGETGETGETGETGETGETG / HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / HTTP/0.9",
        "GET / HTTP/1.10",
        "GET / HTTP/1",
        "GET / http/1.1",
        "GET / HTTP/01.1",
        "GET / HTTP/1,1",
        "GET / HTTPS/1.1",
        "GET / HTTP/1.1\r",
        "GET / HTTP/1.1\0",
        "GET / HTTP/1.1\n",
        "PROXY TCP4 127.0.0.1 127.0.0.1 1 2",
        "\u{16}\u{3}\u{1}",
    ] {
        refuses(format!("{line}\r\nHost: app.test\r\n\r\n").as_bytes());
    }
    refuses(b"GET / HTTP/1.1\nHost: app.test\r\n\r\n");
}

#[test]
fn fields_are_held_to_their_syntax() {
    for line in [
        "X : a",
        "X\t: a",
        " X: a",
        "\tX: a",
        "X: a\r\n folded",
        "X: a\r\n\tfolded",
        ": a",
        "X",
        "X\0: a",
        "X(: a",
        "X\u{e9}: a",
        "X/Y: a",
        "X: a\rb",
        "X: a\nY: b",
        "X: a\r\rY: b",
        "X: a\0b",
        "X: \u{b}b",
        "X: a\u{c}",
        "X: a\u{7f}",
        "X: a\u{1b}[0m",
        "X: \n",
        "\n",
        "\r",
    ] {
        refuses(&with_field(line));
    }
    refuses(b"GET / HTTP/1.1\r\nHost: a\r\n\n");
    refuses(b"GET / HTTP/1.1\r\nHost: a\n\r\n");
    refuses(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n");
}

#[test]
fn host_stands_there_once() {
    refuses(b"GET / HTTP/1.1\r\n\r\n");
    refuses(b"GET http://app.test/ HTTP/1.1\r\n\r\n");
    refuses(&with_field("Host: app.test"));
    refuses(&with_field("HOST: other.test"));
    refuses(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n");
}

#[test]
fn content_length_is_one_plain_number() {
    for value in [
        "",
        " ",
        "+5",
        "-5",
        "-0",
        "0x5",
        "5 5",
        "5, 5",
        "5,6",
        "5;",
        "5.0",
        "5e0",
        "1_0",
        "05",
        "00",
        "0005",
        "\u{665}",
        "\"5\"",
        "five",
        "18446744073709551617",
        "9223372036854775808",
        "1000000000000000000",
        "99999999999999999999999999999999",
    ] {
        refuses(&with_field(&format!("Content-Length: {value}")));
    }
    refuses(&with_field("Content-Length: 5\r\nContent-Length: 5"));
    refuses(&with_field("Content-Length: 5\r\ncontent-length: 6"));
    refuses(&with_field("Content-Length : 5"));
    for alias in ["Content_Length: 5", "content.length: 5", "CONTENT~LENGTH: 5"] {
        refuses(&with_field(alias));
    }
    accepts(&with_field("Content-Length: 999999999999999999"));
    accepts(&with_field("Content-Lengths: 5"));
}

#[test]
fn transfer_encoding_is_chunked_and_nothing_else() {
    for value in [
        "",
        "xchunked",
        "chunked;q=1",
        "chunked, identity",
        "identity",
        "gzip, chunked",
        "chunked,",
        ", chunked",
        "chunked chunked",
        "\"chunked\"",
        "chunke",
        "chunkedd",
        "chunked\u{e9}",
        "\u{b}chunked",
        "\u{c}chunked",
        "\0chunked",
        "chunked\u{b}",
    ] {
        refuses(&with_field(&format!("Transfer-Encoding: {value}")));
    }
    for lines in [
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding:\r\n chunked",
        "Transfer_Encoding: chunked",
        "transfer.encoding: chunked",
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
    ] {
        refuses(&with_field(lines));
    }
    refuses(b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
}

#[test]
fn a_body_of_http_10_has_a_length() {
    for method in ["POST", "PUT", "PATCH", "PROPFIND"] {
        refuses(format!("{method} / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\nx").as_bytes());
    }
    for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
        accepts_whole(format!("{method} / HTTP/1.0\r\nHost: a\r\n\r\n").as_bytes());
    }
}

#[test]
fn chunks_are_held_to_their_syntax() {
    for body in [
        "0\r\n\r\n",
        "000\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "A\r\n0123456789\r\n9\r\n0\n\r\0 6789\r\n0\r\n\r\n",
        "5;a=b;c=\"d e\"\r\nhello\r\n0;last\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nChecksum: 1\r\nOther:\r\n\r\n",
        "000000000000005\r\nhello\r\n0\r\n\r\n",
    ] {
        accepts_whole(&chunked(body));
    }
    for body in [
        "\r\n",
        ";a\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t;a\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5,5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5;\u{e9}\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "0000000000000005\r\nhello\r\n0\r\n\r\n",
        "0\r\n\n",
        "0\r\n\r\r",
        "0\r\n X: a\r\n\r\n",
        "0\r\nX : a\r\n\r\n",
        "0\r\nX: a\r\n b\r\n\r\n",
        "0\r\nX: a\n\r\n",
        "0\r\nX\r\n\r\n",
    ] {
        refuses(&chunked(body));
    }
}

#[test]
fn extensions_of_all_chunks_together_are_limited() {
    let chunks = |each: usize, count: usize| format!("1;{}\r\na\r\n", "x".repeat(each - 1)).repeat(count);
    accepts(&chunked(&chunks(MAX_EXTENSIONS, 1)));
    refuses(&chunked(&chunks(MAX_EXTENSIONS + 1, 1)));
    accepts(&chunked(&chunks(MAX_EXTENSIONS / 16, 16)));
    refuses(&chunked(&chunks(MAX_EXTENSIONS / 16, 17)));
    let two =
        [chunked(&(chunks(MAX_EXTENSIONS, 1) + "0\r\n\r\n")), chunked(&chunks(MAX_EXTENSIONS, 1))].concat();
    accepts(&two);
}

#[test]
fn heads_names_targets_and_trailers_are_limited() {
    let head = |size: usize| {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(size));
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(2 * size - head.len())).into_bytes()
    };
    assert_eq!(head(HEAD).len(), HEAD);
    accepts_whole(&head(HEAD));
    too_large(&head(HEAD + 1));
    assert_eq!(judge(&head(HEAD + 1)).passed, HEAD);

    accepts(&with_field(&format!("{}: a", "x".repeat(MAX_NAME))));
    too_large(&with_field(&format!("{}: a", "x".repeat(MAX_NAME + 1))));

    accepts(&with_field("X: a\r\n".repeat(FIELDS - 1).trim_end()));
    too_large(&with_field("X: a\r\n".repeat(FIELDS).trim_end()));

    let target = |size: usize| {
        let target = format!("/{}", "a".repeat(size - 1));
        Framing::new(1 << 20, FIELDS).judge(&with_target(&target)).stop
    };
    assert_eq!(target(MAX_TARGET), Stop::None);
    assert_eq!(target(MAX_TARGET + 1), Stop::Malformed(Malformed::Syntax("the request target is too long")));

    let trailers = |value: usize| {
        let body = format!("0\r\nX: {}\r\n\r\n", "x".repeat(value));
        Framing::new(1 << 20, FIELDS).judge(&chunked(&body)).stop
    };
    assert_eq!(trailers(MAX_TRAILERS - 7), Stop::None);
    assert!(matches!(trailers(MAX_TRAILERS), Stop::Malformed(Malformed::TooLarge(_))));
    too_large(&chunked(&format!("0\r\n{}\r\n", "X: a\r\n".repeat(FIELDS + 1))));
}

#[test]
fn every_byte_of_a_target_that_passes_is_one_that_hyper_takes() {
    for byte in 0..=u8::MAX {
        for (before, after) in [
            ("/", ""),
            ("/a", "b"),
            ("/?", ""),
            ("/a?b", "c"),
            ("http://a/", ""),
            ("http://a", ""),
            ("http://", "a"),
            ("http://a:", ""),
            ("http://[", "::]"),
            ("", ""),
        ] {
            let target = [before.as_bytes(), &[byte], after.as_bytes()].concat();
            let request = [b"GET ", target.as_slice(), b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            if judge(&request).stop == Stop::None {
                assert!(http::Uri::try_from(target.as_slice()).is_ok(), "{}", target.escape_ascii());
            }
        }
    }
}

#[test]
fn what_follows_a_message_is_the_next_one() {
    let one = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let two =
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n";
    let three = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let all = [one.as_slice(), two, three, one].concat();
    let mut framing = Framing::new(HEAD, FIELDS);
    assert_eq!(framing.judge(&all), Judged { passed: all.len(), stop: Stop::None });
    assert_eq!(framing.messages(), 4);
    assert!(framing.between_messages());
    let bad = [all.as_slice(), b"GET /smuggled HTTP/1.1\r\n\r\n"].concat();
    let judged = judge(&bad);
    assert!(matches!(judged.stop, Stop::Malformed(_)));
    assert!((all.len()..bad.len()).contains(&judged.passed));
    refuses(&[all.as_slice(), b"\r\n", three].concat());
}

const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[test]
fn what_follows_a_wish_to_upgrade_waits() {
    let mut framing = Framing::new(HEAD, FIELDS);
    let bytes = [UPGRADE, b"\x81\x05"].concat();
    assert_eq!(framing.judge(&bytes), Judged { passed: UPGRADE.len(), stop: Stop::Hold });
    assert!(framing.is_held() && !framing.between_messages() && !framing.in_head());
    assert_eq!(framing.judge(b"\x81\x05"), Judged { passed: 0, stop: Stop::Hold });
    framing.tunnel();
    assert_eq!(framing.judge(b"\x81\x05\r\n\0"), Judged { passed: 5, stop: Stop::None });
}

#[test]
fn after_a_refused_upgrade_it_is_http_again() {
    let mut framing = Framing::new(HEAD, FIELDS);
    framing.judge(UPGRADE);
    framing.resume();
    assert!(framing.between_messages());
    assert!(matches!(framing.judge(b"\x81\x05").stop, Stop::Malformed(_)));
    let mut framing = Framing::new(HEAD, FIELDS);
    framing.judge(UPGRADE);
    framing.resume();
    assert_eq!(framing.judge(UPGRADE), Judged { passed: UPGRADE.len(), stop: Stop::None });
    assert_eq!(framing.messages(), 2);
}

#[test]
fn with_a_body_or_in_http_10_nothing_is_held() {
    accepts_whole(b"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab");
    accepts_whole(
        b"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    accepts_whole(b"GET / HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\n\r\n");
}

#[test]
fn hyper_reads_what_the_guard_read() {
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET".as_slice(),
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nabc",
        &[UPGRADE, UPGRADE].concat(),
    ] {
        beside_hyper::compare(bytes);
    }
    assert_eq!(
        beside_hyper::by_hyper(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").contents,
        [3]
    );
}

proptest! {
    #[test]
    fn nothing_panics(bytes in any::<Vec<u8>>()) {
        beside_hyper::compare(&bytes);
    }

    #[test]
    fn generated_requests_read_the_same_beside_hyper(bytes in generated::mutated()) {
        beside_hyper::compare(&bytes);
    }

    #[test]
    fn splits_change_nothing(bytes in generated::mutated(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let whole = judge(&bytes);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([bytes.len()]).collect();
        cuts.sort_unstable();
        let mut framing = Framing::new(HEAD, FIELDS);
        let (mut passed, mut stop) = (0, Stop::None);
        for cut in cuts {
            let judged = framing.judge(&bytes[passed..cut.max(passed)]);
            passed += judged.passed;
            stop = judged.stop;
            if stop != Stop::None {
                break;
            }
        }
        prop_assert_eq!(Judged { passed, stop }, whole);
    }
}
