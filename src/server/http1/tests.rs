//! Requests as they are read, beside hyper; answers as they are written; what becomes of the
//! connection.

use std::cell::RefCell;
use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Body, Frame};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::clock::CoarseClock;
use crate::sending::Framing as Sent;
use crate::server::connection::{self, Next, Remains};
use crate::server::framing::{Framing, Stop, generated};
use crate::server::record::{End, Record};

const HEAD: usize = 2048;
const FIELDS: usize = 100;
/// Turns after which nothing moves any more.
const TURNS: usize = 40;

/// A request as somebody read it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Read {
    line: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
    is_whole: bool,
}

type All = Rc<RefCell<Vec<Read>>>;

fn pairs(headers: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

/// Takes down a request, piece by piece.
async fn note<B>(request: Request<B>, all: All)
where
    B: Body<Data = Bytes> + Unpin,
{
    let (parts, mut body) = request.into_parts();
    let line = format!("{} {} {:?}", parts.method, parts.uri, parts.version);
    all.borrow_mut().push(Read { line, headers: pairs(&parts.headers), ..Read::default() });
    loop {
        let frame = body.frame().await;
        let mut all = all.borrow_mut();
        let read = all.last_mut().expect("just pushed");
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => read.body.extend_from_slice(&data),
                Err(frame) => {
                    read.trailers = frame.into_trailers().map(|map| pairs(&map)).unwrap_or_default()
                }
            },
            Some(Err(_)) => return,
            None => {
                read.is_whole = true;
                return;
            }
        }
    }
}

fn record() -> Rc<Record> {
    Rc::new(Record::new([127, 0, 0, 1].into(), Framing::new(HEAD, FIELDS), 0))
}

/// Feeds the bytes in pieces while `serving` goes on, until nothing moves any more.
async fn feed(mut far: DuplexStream, bytes: &[u8], cuts: &[usize], serving: impl Future<Output = ()>) {
    let feeding = async {
        let mut from = 0;
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            // Whoever closed takes nothing more.
            let _closed = far.write_all(&bytes[from..cut.max(from)]).await;
            from = cut.max(from);
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::select! {
        biased;
        () = feeding => {}
        () = async { serving.await; std::future::pending().await } => {}
    }
}

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build_local(Default::default())
        .unwrap()
        .block_on(future);
}

fn by_us(bytes: &[u8], cuts: &[usize]) -> Vec<Read> {
    let all = All::default();
    let noted = Rc::clone(&all);
    run(async move {
        let (near, far) = duplex(1 << 20);
        let (record, clock) = (record(), Rc::new(CoarseClock::default()));
        let about = Rc::clone(&record);
        let answer = move |request| {
            let (about, all) = (Rc::clone(&about), Rc::clone(&noted));
            about.begin_request();
            async move {
                note(request, all).await;
                about.end_request(0);
                Ok(Response::new(Reply::switch()))
            }
        };
        let from = Remains { stream: near, read: Vec::new() };
        let serving = async move {
            connection::serve(from, record, clock, answer, |_| Vec::new()).await;
        };
        feed(far, bytes, cuts, serving).await;
    });
    all.take()
}

fn by_hyper(bytes: &[u8], cuts: &[usize]) -> Vec<Read> {
    let all = All::default();
    let noted = Rc::clone(&all);
    run(async move {
        let (near, far) = duplex(1 << 20);
        let service = service_fn(move |request| {
            let all = Rc::clone(&noted);
            async move {
                let is_connect = request_is_connect(&request);
                note(request, all).await;
                let mut response = Response::new(Empty::<Bytes>::new());
                if is_connect {
                    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.header_read_timeout(None);
        let serving = async move {
            let _ended = builder.serve_connection(TokioIo::new(near), service).await;
        };
        feed(far, bytes, cuts, serving).await;
    });
    all.take()
}

fn request_is_connect<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT
}

/// As far as the framing lets them pass, up to what may be another protocol.
fn sound(bytes: &[u8]) -> &[u8] {
    let judged = Framing::new(HEAD, FIELDS).judge(bytes);
    &bytes[..judged.passed]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn requests_are_read_as_hyper_reads_them(
        bytes in generated::mutated(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let bytes = sound(&bytes);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let (ours, hypers) = (by_us(bytes, &cuts), by_hyper(bytes, &cuts));
        prop_assert_eq!(ours, hypers);
    }
}

#[test]
fn every_part_of_a_request_is_read() {
    let bytes = b"POST /a?b=c HTTP/1.1\r\nHost: app.test\r\nX-One:  1 \r\nX-one: 2\r\nX-Empty:\r\n\
        Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 9\r\n\r\n\
        GET http://app.test/x HTTP/1.0\r\n\r\n";
    for cuts in [Vec::new(), (0..bytes.len()).collect()] {
        let all = by_us(bytes, &cuts);
        let [first, second] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(first.line, "POST /a?b=c HTTP/1.1");
        let headers = [
            ("host", "app.test"),
            ("x-one", "1"),
            ("x-one", "2"),
            ("x-empty", ""),
            ("transfer-encoding", "chunked"),
        ];
        assert_eq!(first.headers, headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
        assert_eq!((first.body.as_slice(), first.is_whole), (b"abcde".as_slice(), true));
        assert_eq!(first.trailers, [("x-sum".to_owned(), b"9".to_vec())]);
        assert_eq!(second.line, "GET http://app.test/x HTTP/1.0");
    }
}

/// Serves with the same answer every time, which may read the body.
async fn answering(near: DuplexStream, record: Rc<Record>, reads: bool) {
    let about = Rc::clone(&record);
    let answer = move |request: Request<Incoming>| {
        let about = Rc::clone(&about);
        about.begin_request();
        async move {
            if reads {
                drop(request.into_body().collect().await);
            }
            about.end_request(0);
            Ok(Response::new(Reply::switch()))
        }
    };
    let from = Remains { stream: near, read: Vec::new() };
    let next = connection::serve(from, record, Rc::new(CoarseClock::default()), answer, |why| {
        format!("refused: {why:?}").into_bytes()
    });
    assert!(matches!(next.await, Next::Over));
}

/// What a client reads to the end of the connection, which it does not close.
async fn told(sent: &[&str], reads: bool) -> String {
    let (near, mut far) = duplex(1 << 16);
    let client = async {
        for piece in sent {
            far.write_all(piece.as_bytes()).await.unwrap();
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
        }
        let mut text = String::new();
        far.read_to_string(&mut text).await.unwrap();
        text
    };
    let ((), text) = tokio::join!(answering(near, record(), reads), client);
    text
}

const LAST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "local")]
async fn a_body_that_nobody_wants_is_taken_in_when_it_is_there() {
    let text = told(&["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", LAST], false).await;
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{text}");
    assert_eq!(text.matches("connection: close\r\n").count(), 1, "{text}");
}

#[tokio::test(flavor = "local")]
async fn an_answer_before_the_body_is_the_last_and_says_so() {
    for framing in
        ["Content-Length: 3", "Transfer-Encoding: chunked", "Content-Length: 3\r\nExpect: 100-continue"]
    {
        let text = told(&[&format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")], false).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("connection: close\r\n"), "{text}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_client_is_told_to_go_on_once_its_body_is_wanted() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let text = told(&[head, "abc", LAST], true).await;
    assert!(text.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{text}");
    let text = told(&[&format!("{head}abc"), LAST], true).await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "it is there already: {text}");
}

#[tokio::test(flavor = "local")]
async fn whoever_came_before_nonsense_is_answered_first() {
    let text = told(&["GET / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n"], false).await;
    let (answer, refusal) = text.split_once("\r\n\r\n").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && refusal.starts_with("refused: Syntax"), "{text}");
}

#[tokio::test(flavor = "local")]
async fn whoever_reads_on_after_the_answer_gets_all_of_the_body() {
    for (connection, after, answers) in [("close", "", 1), ("keep-alive", LAST, 2)] {
        let (near, mut far) = duplex(1 << 16);
        let read = Rc::new(RefCell::new(Vec::new()));
        let reading = Rc::clone(&read);
        let answer = move |request: Request<Incoming>| {
            let reading = Rc::clone(&reading);
            tokio::task::spawn_local(async move {
                let body = request.into_body().collect().await.map(|body| body.to_bytes());
                reading.borrow_mut().push(body.ok());
            });
            std::future::ready(Ok(Response::new(Reply::switch())))
        };
        let client = async {
            let head = format!(
                "POST / HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\nContent-Length: 3\r\n\r\n"
            );
            far.write_all(head.as_bytes()).await.unwrap();
            let mut text = vec![0; 1000];
            let count = far.read(&mut text).await.unwrap();
            text.truncate(count);
            far.write_all(format!("abc{after}").as_bytes()).await.unwrap();
            far.read_to_end(&mut text).await.unwrap();
            String::from_utf8(text).unwrap()
        };
        let from = Remains { stream: near, read: Vec::new() };
        let serving =
            connection::serve(from, record(), Rc::new(CoarseClock::default()), answer, |_| Vec::new());
        let (_, text) = tokio::join!(serving, client);
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), answers, "{text}");
        assert_eq!(read.borrow()[0].as_deref(), Some(b"abc".as_slice()), "{connection}");
    }
}

#[tokio::test(flavor = "local")]
async fn one_that_is_to_end_takes_no_further_request() {
    let (near, mut far) = duplex(1 << 16);
    let record = record();
    let client = async {
        far.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut text = vec![0; 1000];
        let count = far.read(&mut text).await.unwrap();
        assert!(!String::from_utf8_lossy(&text[..count]).contains("connection:"));
        record.end_with(End::Gracefully);
        assert_eq!(far.read(&mut text).await.unwrap(), 0, "it is closed");
    };
    tokio::join!(answering(near, Rc::clone(&record), false), client);
}

/// Method and version, status, what the answer's headers say, its content, and what is written of it.
type Case<'a> = (&'a str, u16, &'a [(&'a str, &'a str)], Content, &'a str, Sent, bool);

#[derive(Debug, Clone, Copy)]
enum Content {
    None,
    Known(&'static str),
    Unknown,
}

fn written(
    (asked, status, headers, content, ..): &Case<'_>,
    clock: &CoarseClock,
) -> (String, Sent, Persistence) {
    let (method, version) = asked.split_once(' ').unwrap();
    let version = if version == "1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let manner = Manner { keeps_alive: true, ..Manner::of(&method, version) };
    let mut response = Response::builder().status(*status);
    for (name, value) in *headers {
        response = response.header(*name, *value);
    }
    let (parts, ()) = response.body(()).unwrap().into_parts();
    let unknown = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let head = match content {
        Content::None => response::write_head(&parts, &Empty::<Bytes>::new(), &manner, true, clock),
        Content::Known(text) => {
            response::write_head(&parts, &Full::new(Bytes::from(*text)), &manner, true, clock)
        }
        Content::Unknown => response::write_head(&parts, &unknown, &manner, true, clock),
    };
    (String::from_utf8(head.out).unwrap(), head.framing, head.persistence)
}

#[test]
fn where_an_answer_ends_is_said_once() {
    let clock = CoarseClock::default();
    let cases: [Case<'_>; 15] = [
        ("GET 1.1", 200, &[], Content::Known("abc"), "content-length: 3", Sent::Length(3), true),
        (
            "GET 1.1",
            200,
            &[("content-length", "9")],
            Content::Known("abc"),
            "content-length: 3",
            Sent::Length(3),
            true,
        ),
        (
            "GET 1.1",
            200,
            &[("transfer-encoding", "gzip")],
            Content::Known("abc"),
            "content-length: 3",
            Sent::Length(3),
            true,
        ),
        ("GET 1.1", 200, &[], Content::None, "content-length: 0", Sent::Length(0), true),
        ("GET 1.1", 200, &[], Content::Unknown, "transfer-encoding: chunked", Sent::Chunked, true),
        ("GET 1.0", 200, &[], Content::Unknown, "", Sent::Close, false),
        (
            "GET 1.0",
            200,
            &[],
            Content::Known("abc"),
            "connection: keep-alive|content-length: 3",
            Sent::Length(3),
            true,
        ),
        (
            "HEAD 1.1",
            200,
            &[("content-length", "9")],
            Content::None,
            "content-length: 9",
            Sent::Length(0),
            true,
        ),
        ("HEAD 1.1", 200, &[], Content::Known("abc"), "content-length: 3", Sent::Length(0), true),
        ("HEAD 1.1", 200, &[], Content::Unknown, "", Sent::Length(0), true),
        ("GET 1.1", 204, &[("content-length", "0")], Content::None, "", Sent::Length(0), true),
        (
            "GET 1.1",
            304,
            &[("content-length", "9")],
            Content::None,
            "content-length: 9",
            Sent::Length(0),
            true,
        ),
        ("CONNECT 1.1", 200, &[], Content::None, "", Sent::Length(0), true),
        (
            "GET 1.1",
            200,
            &[("connection", "close")],
            Content::None,
            "connection: close|content-length: 0",
            Sent::Length(0),
            false,
        ),
        (
            "GET 1.1",
            200,
            &[("trailer", "x-sum")],
            Content::Known("abc"),
            "content-length: 3",
            Sent::Length(3),
            true,
        ),
    ];
    for case in &cases {
        let (text, framing, persistence) = written(case, &clock);
        let (line, rest) = text.split_once("\r\n").unwrap();
        let date = format!("date: {}", &*clock.date());
        let mut said: Vec<_> = rest.trim_end().split("\r\n").filter(|line| *line != date).collect();
        said.sort_unstable();
        let version = if case.0.ends_with("1.0") { "HTTP/1.0" } else { "HTTP/1.1" };
        assert!(line.starts_with(version) && text.ends_with("\r\n\r\n") && rest.contains(&date), "{text}");
        let expected = (case.4, case.5, case.6);
        assert_eq!((&*said.join("|"), framing, persistence == Persistence::Persists), expected, "{case:?}");
    }
}

#[test]
fn a_date_is_one_of_http() {
    let clock = CoarseClock::default();
    let date = clock.date();
    assert!(
        httpdate::parse_http_date(&date).is_ok() && date.len() == 29 && date.ends_with(" GMT"),
        "{}",
        &*date
    );
}

#[test]
fn trailers_go_to_those_who_take_them_as_announced() {
    let clock = CoarseClock::default();
    let unknown = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
    for (takes_trailers, expected) in [(true, vec!["x-one", "x-two"]), (false, Vec::new())] {
        let manner = Manner { takes_trailers, ..Manner::of(&Method::GET, Version::HTTP_11) };
        let (parts, ()) =
            Response::builder().header("trailer", "X-One, x-two").body(()).unwrap().into_parts();
        let head = response::write_head(&parts, &unknown, &manner, true, &clock);
        assert_eq!(head.trailers, expected);
    }
}

#[test]
fn what_may_be_another_protocol_is_not_read() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(Framing::new(HEAD, FIELDS).judge(bytes).stop, Stop::Hold);
    assert_eq!(by_us(bytes, &[]).len(), 2, "it was refused, and what follows is HTTP again");
}
