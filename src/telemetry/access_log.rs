//! One JSON line for each request, without a worker ever waiting for the disk.
//!
//! Each worker appends to a buffer of its own ([`Lines`]) and hands it over when it is full, or at
//! its next tick, to the one thread that writes. The queue between them is short and a worker
//! never waits on it: when the writer does not keep up, a full buffer is dropped and its lines are
//! counted. A line never holds a query, a header or a credential.

use std::cell::RefCell;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::Duration;

use crate::config::LogTarget;
use crate::metrics::{Log, LogLoss, Metrics};

pub(super) mod line;
mod writer;

pub use line::{NOBODY, Outcome, Request, who};

use line::Clock;
use writer::{Shared, Sink};

/// How often a worker calls [`Lines::flush`].
pub const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// A buffer that holds this much is handed over.
const HAND_OVER_AT: usize = 64 * 1024;

/// Batches that may wait for the writer: 2 MiB, which a disk takes in a moment.
const QUEUE: usize = 32;

/// Room for a line that begins when its request arrives and ends with it.
const RECORD_BYTES: usize = 1024;

/// Records that a worker keeps for its next requests.
const RECORDS_KEPT: usize = 256;

/// The access log of this process.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
    /// Closed when the writer has ended.
    writing: Receiver<()>,
}

/// A target that is open, and that nothing was written to yet.
#[derive(Debug)]
pub struct Opened(Sink);

#[derive(Debug)]
enum Message {
    Lines(Batch),
    /// There is a new sink to take.
    Wake,
}

#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
}

impl AccessLog {
    /// Opens the target and starts the thread that writes to it.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or no thread started.
    pub fn start(target: &LogTarget, metrics: Arc<Metrics>) -> io::Result<Self> {
        Self::start_as(Log::Access, target, metrics)
    }

    /// The same for another log that is written in the same way.
    pub(super) fn start_as(log: Log, target: &LogTarget, metrics: Arc<Metrics>) -> io::Result<Self> {
        Self::start_with(log, Sink::open(target)?, metrics)
    }

    fn start_with(log: Log, sink: Sink, metrics: Arc<Metrics>) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(log, sink.is_on(), metrics));
        let (queue, batches) = mpsc::sync_channel(QUEUE);
        let (ended, writing) = mpsc::channel();
        std::thread::Builder::new().name(format!("{}-log", log.as_str())).spawn({
            let shared = Arc::clone(&shared);
            move || {
                writer::run(sink, &batches, &shared);
                drop::<mpsc::Sender<()>>(ended);
            }
        })?;
        Ok(Self { shared, queue, writing })
    }

    /// A buffer for one worker.
    #[must_use]
    pub fn lines(&self) -> Lines {
        Lines {
            shared: Arc::clone(&self.shared),
            queue: self.queue.clone(),
            beside: None,
            clock: RefCell::default(),
            batch: RefCell::default(),
            records: RefCell::default(),
        }
    }

    /// Opens a target to go on with.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn open(target: &LogTarget) -> io::Result<Opened> {
        Sink::open(target).map(Opened)
    }

    /// Goes on with this target: the same file after it was rotated, or what a reload says. Lines
    /// handed over but not written yet go to the new one.
    pub fn go_on_with(&self, Opened(sink): Opened) {
        self.shared.replace_sink(sink);
        // A full queue wakes the writer just as well.
        let _full = self.queue.try_send(Message::Wake);
    }

    /// Waits until everything handed over is written, which needs every [`Lines`] to be gone.
    /// Says false when that takes longer than `patience`, so that a stuck pipe cannot keep the
    /// process alive.
    pub fn finish(self, patience: Duration) -> bool {
        drop(self.queue);
        self.writing.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected)
    }
}

/// One worker's lines. What is not handed over yet is when this is dropped.
#[derive(Debug)]
pub struct Lines {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
    /// Another log, whose lines begin as these do.
    beside: Option<Arc<Shared>>,
    clock: RefCell<Clock>,
    batch: RefCell<Batch>,
    /// Buffers of earlier records.
    records: RefCell<Vec<Vec<u8>>>,
}

/// A line whose request has not ended yet. It owns what it needs of the request, so that nothing
/// has to be kept for the log until the last byte of the answer.
#[derive(Debug)]
#[must_use = "the line is written by `Lines::end`"]
pub struct Record(Vec<u8>);

impl Record {
    /// What the line begins with; nothing where neither log is on.
    pub(super) fn begun(&self) -> &[u8] {
        &self.0
    }
}

impl Lines {
    /// Begins lines also while only the other log is on.
    #[must_use]
    pub(super) fn beside(mut self, other: &AccessLog) -> Self {
        self.beside = Some(Arc::clone(&other.shared));
        self
    }

    pub(super) fn is_on(&self) -> bool {
        self.shared.is_on()
    }

    /// Begins a line, at the request's arrival.
    pub fn begin(&self, request: &Request<'_>) -> Record {
        if !self.is_on() && !self.beside.as_ref().is_some_and(|other| other.is_on()) {
            return Record(Vec::new());
        }
        let spare = self.records.borrow_mut().pop();
        let mut record = spare.unwrap_or_else(|| Vec::with_capacity(RECORD_BYTES));
        line::begin(&mut record, &mut self.clock.borrow_mut(), request);
        Record(record)
    }

    /// Ends a line, with its request.
    pub fn end(&self, record: Record, outcome: &Outcome<'_>) {
        let Record(mut record) = record;
        if record.is_empty() {
            return;
        }
        if self.is_on() {
            self.add(|batch, _| {
                batch.extend_from_slice(&record);
                line::end(batch, outcome);
            });
        }
        let mut records = self.records.borrow_mut();
        if records.len() < RECORDS_KEPT && record.capacity() <= 2 * RECORD_BYTES {
            record.clear();
            records.push(record);
        }
    }

    /// A whole line, for a request whose answer is there at once.
    pub fn append(&self, request: &Request<'_>, outcome: &Outcome<'_>) {
        if self.is_on() {
            self.add(|batch, clock| {
                line::begin(batch, clock, request);
                line::end(batch, outcome);
            });
        }
    }

    /// Hands over what is there, so that a line is not late on a quiet gateway.
    pub fn flush(&self) {
        let mut batch = self.batch.borrow_mut();
        if batch.lines > 0 {
            self.hand_over(&mut batch);
        }
    }

    pub(super) fn add(&self, write: impl FnOnce(&mut Vec<u8>, &mut Clock)) {
        let mut batch = self.batch.borrow_mut();
        if batch.bytes.capacity() == 0 {
            batch.bytes = self.shared.spare();
        }
        write(&mut batch.bytes, &mut self.clock.borrow_mut());
        batch.lines += 1;
        if batch.bytes.len() >= HAND_OVER_AT {
            self.hand_over(&mut batch);
        }
    }

    /// Never waits. While the queue is full the lines stay here, until there are too many.
    fn hand_over(&self, batch: &mut Batch) {
        let Err(refused) = self.queue.try_send(Message::Lines(mem::take(batch))) else { return };
        if let TrySendError::Full(Message::Lines(kept)) | TrySendError::Disconnected(Message::Lines(kept)) =
            refused
        {
            *batch = kept;
        }
        if batch.bytes.len() >= HAND_OVER_AT {
            self.shared.lost(LogLoss::QueueFull, mem::take(&mut batch.lines));
            batch.bytes.clear();
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.flush();
        // Whatever the queue did not take now is lost.
        self.shared.lost(LogLoss::QueueFull, self.batch.get_mut().lines);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read;
    use std::net::{IpAddr, Ipv4Addr};
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Instant, SystemTime};

    use super::*;
    use crate::metrics::{Decision, Verification};

    const PATIENCE: Duration = Duration::from_secs(10);

    fn request(path: &str) -> Request<'_> {
        Request {
            time: SystemTime::UNIX_EPOCH,
            request_id: "4f1c",
            trace_id: "0af7",
            client: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            method: "GET",
            host: "app.example.com",
            path,
        }
    }

    fn outcome() -> Outcome<'static> {
        Outcome {
            route: Some("/*"),
            decision: Decision::Public,
            status: 200,
            who: NOBODY,
            verification: Verification::None,
            decision_took: None,
            upstream_took: None,
            took: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
            reason: None,
        }
    }

    fn paths(log: &str) -> Vec<String> {
        let values = log
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        values.map(|value| value["path"].as_str().unwrap().to_owned()).collect()
    }

    fn lost(metrics: &Arc<Metrics>, why: &str) -> u64 {
        let name = format!("stytch_gateway_access_log_lost_lines_total{{reason=\"{why}\"}} ");
        metrics.exposition().lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap()
    }

    #[test]
    fn lines_of_all_workers_reach_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("access.log");
        let log = AccessLog::start(&LogTarget::File(file.clone()), Metrics::new(2)).unwrap();
        let workers = ["/one", "/two"].map(|path| {
            let lines = log.lines();
            std::thread::spawn(move || {
                for _ in 0..1_000 {
                    let record = lines.begin(&request(path));
                    lines.append(&request("/refused"), &outcome());
                    lines.end(record, &outcome());
                }
            })
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert!(log.finish(PATIENCE));
        let mut paths = paths(&fs::read_to_string(&file).unwrap());
        paths.sort_unstable();
        let runs: Vec<_> = paths.chunk_by(|a, b| a == b).map(|run| (&*run[0], run.len())).collect();
        assert_eq!(runs, [("/one", 1_000), ("/refused", 2_000), ("/two", 1_000)]);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_rotated_file_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (file, rotated) = (directory.path().join("access.log"), directory.path().join("access.log.1"));
        let target = LogTarget::File(file.clone());
        let log = AccessLog::start(&target, Metrics::new(1)).unwrap();
        let lines = log.lines();
        lines.append(&request("/before"), &outcome());
        lines.flush();
        while fs::metadata(&file).unwrap().len() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        fs::rename(&file, &rotated).unwrap();
        log.go_on_with(AccessLog::open(&target).unwrap());
        lines.append(&request("/after"), &outcome());
        AccessLog::open(&LogTarget::File(directory.path().join("no/such/folder"))).unwrap_err();
        drop(lines);
        assert!(log.finish(PATIENCE));
        assert_eq!(paths(&fs::read_to_string(&rotated).unwrap()), ["/before"]);
        assert_eq!(paths(&fs::read_to_string(&file).unwrap()), ["/after"]);
    }

    #[test]
    fn a_stuck_writer_costs_lines_and_no_time() {
        let metrics = Metrics::new(1);
        let (reader, stuck) = io::pipe().unwrap();
        let sink = Sink::File(File::from(OwnedFd::from(stuck)));
        let log = AccessLog::start_with(Log::Access, sink, Arc::clone(&metrics)).unwrap();
        let lines = log.lines();
        let path = "x".repeat(2_000);
        let began = Instant::now();
        for _ in 0..4_000 {
            lines.append(&request(&path), &outcome());
            lines.flush();
        }
        assert!(began.elapsed() < PATIENCE, "nothing waited for the reader that never came");
        drop(lines);
        assert!(!log.finish(Duration::from_millis(50)));

        let read = io::read_to_string(reader).unwrap();
        let written = paths(&read).len() as u64;
        assert!(lost(&metrics, "queue_full") > 0);
        assert_eq!(lost(&metrics, "queue_full") + written, 4_000);
    }

    #[test]
    fn what_a_full_disk_did_not_take_is_counted() {
        let metrics = Metrics::new(1);
        let log = AccessLog::start(&LogTarget::File("/dev/full".into()), Arc::clone(&metrics)).unwrap();
        let lines = log.lines();
        lines.append(&request("/"), &outcome());
        drop(lines);
        assert!(log.finish(PATIENCE));
        assert_eq!(lost(&metrics, "write_failed"), 1);
    }

    #[test]
    fn lines_after_a_failed_write_are_whole() {
        let (mut reader, writer) = io::pipe().unwrap();
        let log = AccessLog::start(&LogTarget::File("/dev/full".into()), Metrics::new(1)).unwrap();
        let lines = log.lines();
        lines.append(&request("/lost"), &outcome());
        lines.flush();
        while lost(&log.shared.metrics, "write_failed") == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        log.shared.replace_sink(Sink::File(File::from(OwnedFd::from(writer))));
        lines.append(&request("/kept"), &outcome());
        drop(lines);
        assert!(log.finish(PATIENCE));
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(paths(&read), ["/kept"]);
    }

    #[test]
    fn a_log_that_is_off_can_be_switched_on() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("access.log");
        let log = AccessLog::start(&LogTarget::Off, Metrics::new(1)).unwrap();
        let lines = log.lines();
        lines.append(&request("/off"), &outcome());
        let off = lines.begin(&request("/off"));
        log.go_on_with(AccessLog::open(&LogTarget::File(file.clone())).unwrap());
        lines.end(off, &outcome());
        lines.append(&request("/on"), &outcome());
        drop(lines);
        assert!(log.finish(PATIENCE));
        assert_eq!(paths(&fs::read_to_string(&file).unwrap()), ["/on"]);
    }
}
