//! What the sweep finds of clients that are slow.

use super::*;

const LEAST: Option<u64> = Some(100);

/// A request whose head has come and says this of its body.
fn request(body: &str) -> Record {
    let mut framing = Framing::new(8192, 100);
    framing.judge(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}\r\n\r\n").as_bytes());
    let record = Record::new([127, 0, 0, 1].into(), framing, 0);
    record.begin_request();
    record
}

/// What the sweeps of a minute find, of a client that lets `each` bytes pass between two of them.
fn found(record: &Record, each: usize, pass: impl Fn(&Record, Option<usize>)) -> Option<Found> {
    (1..600).find_map(|tick| {
        pass(record, Some(each));
        pass(record, None);
        record.sweep(tick, 100, 100, LEAST)
    })
}

#[test]
fn whoever_is_waited_for_must_keep_up() {
    for pass in [Record::read, Record::wrote] {
        assert_eq!(found(&request("Content-Length: 100000"), 9, pass), Some(Found::Stuck(SLOW)));
        assert_eq!(found(&request("Content-Length: 100000"), 10, pass), None);
    }
    assert_eq!(found(&request("Transfer-Encoding: chunked"), 0, Record::read), Some(Found::Stuck(SLOW)));
}

#[test]
fn whoever_is_not_waited_for_may_be_slow() {
    // All was read, and the upstream is slow; or what comes is another protocol.
    assert_eq!(found(&request("Content-Length: 0"), 0, Record::read), None);
    let tunnel = request("Content-Length: 0");
    tunnel.framing.borrow_mut().tunnel();
    assert_eq!(found(&tunnel, 0, Record::read), None);
    let events = request("Content-Length: 0");
    let found = (1..600).find_map(|tick| {
        events.wrote(Some(1));
        events.sweep(tick, 100, 100, LEAST)
    });
    assert_eq!(found, None);
}

#[test]
fn a_pace_is_measured_of_the_time_alone_in_which_a_client_is_waited_for() {
    let record = request("Content-Length: 100000");
    for tick in 1..4000 {
        // The upstream takes nothing for most of the time.
        if tick % 10 == 0 {
            record.read(Some(10));
            record.read(None);
        } else if tick % 10 == 1 {
            record.read(Some(0));
        }
        assert_eq!(record.sweep(tick, 100, 100, LEAST), None, "{tick}");
    }
}

#[test]
fn the_body_of_an_answered_request_may_go_on_and_must_not_stand_still() {
    let record = request("Content-Length: 100000");
    record.end_request(0);
    for tick in 1..1000 {
        record.received(1);
        record.sweep(tick, 100, 100, LEAST);
    }
    assert_eq!(record.end(), None);
    for tick in 1000..1200 {
        record.sweep(tick, 100, 100, LEAST);
    }
    assert_eq!(record.end(), Some(End::Abruptly));
}
