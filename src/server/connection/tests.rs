//! Taking connections back, however their bytes come.

use std::future::ready;

use tokio::io::DuplexStream;
use tokio::sync::Notify;

use super::*;
use crate::server::framing::Framing;

const REQUESTS: usize = 400;
const HEAD: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn record() -> Rc<Record> {
    Rc::new(Record::new([127, 0, 0, 1].into(), Framing::new(8192, 100), 0))
}

/// Serves, and takes the connection back whenever it may. Returns how often that was.
async fn serve_and_take_back(stream: DuplexStream, record: Rc<Record>) -> usize {
    let clock = Rc::new(CoarseClock::default());
    let mut from = Remains { stream, read: Vec::new() };
    for taken_back in 0.. {
        let answered = Rc::clone(&record);
        let answer = move |_: Request<Incoming>| {
            answered.begin_request();
            answered.end_request(0);
            ready(Ok(Response::new(Reply::switch())))
        };
        record.set_parking(Parking::Able);
        match serve(from, Rc::clone(&record), Rc::clone(&clock), answer, |_| Vec::new()).await {
            Next::Idle(left) => from = left,
            Next::Over | Next::Switched(_) => return taken_back,
        }
    }
    unreachable!("it ends with the client")
}

/// The pipe takes a few bytes at a time, heads come in pieces and several at once, and the
/// connection is asked for all the time.
#[tokio::test]
async fn no_byte_is_lost_however_often_it_is_taken_back() {
    for room in [16, 61, 4096] {
        let local = tokio::task::LocalSet::new();
        let (near, far) = tokio::io::duplex(room);
        let record = record();
        let asked = Rc::clone(&record);
        local.spawn_local(async move {
            loop {
                if asked.parking() == Parking::Able {
                    asked.set_parking(Parking::Asked);
                    asked.wake();
                }
                tokio::task::yield_now().await;
            }
        });
        let (mut answers, mut asks) = tokio::io::split(far);
        let all_answered = Rc::new(Notify::new());
        let told = Rc::clone(&all_answered);
        local.spawn_local(async move {
            let heads = HEAD.repeat(REQUESTS).into_bytes();
            let mut at = 0;
            for step in [26, 1, 25, 52, 7, 19, 78, 13, 13, 27, 51].iter().cycle() {
                let end = heads.len().min(at + step);
                asks.write_all(&heads[at..end]).await.unwrap();
                // Often between two requests, and then for long enough to be idle.
                for _ in 0..if end % HEAD.len() == 0 { 100 } else { step % 5 } {
                    tokio::task::yield_now().await;
                }
                at = end;
                if at == heads.len() {
                    break;
                }
            }
            // Whoever closes one half has lost interest in what is under way.
            all_answered.notified().await;
        });
        local.spawn_local(async move {
            let mut text = String::new();
            while text.matches("\r\n\r\n").count() < REQUESTS {
                let mut piece = [0; 512];
                let count = answers.read(&mut piece).await.unwrap();
                assert!(count > 0, "only {} are answered", text.matches("\r\n\r\n").count());
                text.push_str(str::from_utf8(&piece[..count]).unwrap());
            }
            assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), REQUESTS);
            assert!(text.ends_with("\r\n\r\n"), "more than was asked for");
            told.notify_one();
        });
        let serving = local.run_until(serve_and_take_back(near, Rc::clone(&record)));
        let taken_back = tokio::time::timeout(Duration::from_secs(20), serving).await.expect("it ends");
        assert!(taken_back > 10, "taken back {taken_back} times only, with room for {room}");
    }
}
