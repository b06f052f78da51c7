//! The thread that writes, and what it shares with the workers.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Batch, HAND_OVER_AT, Message, QUEUE};
use crate::config::LogTarget;
use crate::metrics::{Log, LogLoss, Metrics};

/// A full buffer, and the line that filled it.
const BUFFER_BYTES: usize = HAND_OVER_AT + 4 * 1024;

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    Off,
    Stdout,
    File(File),
}

impl Sink {
    /// A file is appended to, and made for its owner and group alone: it tells who did what.
    pub(super) fn open(target: &LogTarget) -> io::Result<Self> {
        Ok(match target {
            LogTarget::Off => Self::Off,
            LogTarget::Stdout => Self::Stdout,
            LogTarget::File(path) => {
                Self::File(OpenOptions::new().append(true).create(true).mode(0o640).open(path)?)
            }
        })
    }

    pub(super) const fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Off => Ok(()),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Self::File(file) => file.write_all(bytes),
        }
    }
}

/// What the workers, the writer and the control thread all see.
#[derive(Debug)]
pub(super) struct Shared {
    log: Log,
    on: AtomicBool,
    /// Buffers on their way back to the workers.
    spares: Mutex<Vec<Vec<u8>>>,
    /// The sink to go on with.
    next: Mutex<Option<Sink>>,
    pub(super) metrics: Arc<Metrics>,
}

impl Shared {
    pub(super) fn new(log: Log, on: bool, metrics: Arc<Metrics>) -> Self {
        Self { log, on: AtomicBool::new(on), spares: Mutex::default(), next: Mutex::default(), metrics }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    pub(super) fn replace_sink(&self, sink: Sink) {
        self.on.store(sink.is_on(), Relaxed);
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(sink);
    }

    /// A buffer to fill. A worker does not wait for the lock: it makes a new one instead.
    pub(super) fn spare(&self) -> Vec<u8> {
        let spare = self.spares.try_lock().ok().and_then(|mut spares| spares.pop());
        spare.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < QUEUE && buffer.capacity() <= 2 * BUFFER_BYTES {
            buffer.clear();
            spares.push(buffer);
        }
    }

    pub(super) fn lost(&self, why: LogLoss, lines: u64) {
        if lines > 0 {
            self.metrics.log_lost(self.log, why, lines);
        }
    }
}

/// How long the writer rests after a batch. Whoever hands over the next one meanwhile need not
/// wake it, which would cost a worker more than its lines did; the queue holds enough for as long.
const REST: Duration = Duration::from_millis(10);

/// Writes what is handed over until nobody is left to hand over anything.
pub(super) fn run(sink: Sink, batches: &Receiver<Message>, shared: &Shared) {
    let mut writer = Writer { log: shared.log, sink, failing: false };
    for message in batches {
        if let Some(next) = shared.next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            writer.sink = next;
        }
        if let Message::Lines(batch) = message {
            if !writer.write(&batch) {
                shared.lost(LogLoss::WriteFailed, batch.lines);
            }
            shared.give_back(batch.bytes);
            std::thread::sleep(REST);
        }
    }
}

struct Writer {
    log: Log,
    sink: Sink,
    /// The last write failed, perhaps in the middle of a line.
    failing: bool,
}

impl Writer {
    /// Says whether the batch was written. The log says so once when that stops, and once when it
    /// works again.
    fn write(&mut self, batch: &Batch) -> bool {
        let healed = if self.failing { self.sink.write(b"\n") } else { Ok(()) };
        match healed.and_then(|()| self.sink.write(&batch.bytes)) {
            Ok(()) => {
                if self.failing {
                    tracing::info!("{} log lines are written again", self.log.as_str());
                }
                self.failing = false;
                true
            }
            Err(error) => {
                if !self.failing {
                    tracing::error!(%error, "{} log lines are being lost", self.log.as_str());
                }
                self.failing = true;
                false
            }
        }
    }
}
