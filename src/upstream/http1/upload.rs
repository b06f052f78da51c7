//! A request with what is left of it to be sent.
//!
//! What holds: no more of a body is taken from the client than the upstream takes; a body that breaks
//! off is not ended.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::Error;
use super::request::write_head;
use crate::outbox::Recipient;
use crate::sending::{Broken, Sending};
use crate::upstream::body::{self, Outgoing};
use crate::upstream::form::Outbound;
use crate::upstream::io::Socket;

/// An upstream that has answered, and then takes nothing for so long, reads no further.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is left of a request.
pub(super) type Upload = Sending<Outgoing>;

/// How far a request is.
pub(super) enum Progress {
    /// All of it is out.
    Done,
    /// Whoever waits for the head of the response sends it.
    Here(Box<Upload>),
    /// The response is read meanwhile: neither waits for the other.
    Elsewhere(Elsewhere),
    /// It broke off.
    Failed,
}

/// A request that is sent by a task of its own, which ends with this.
pub(in crate::upstream) struct Elsewhere {
    task: JoinHandle<()>,
    waits: Rc<Waits>,
}

/// What the task tells of itself.
#[derive(Default)]
struct Waits {
    is_through: Cell<bool>,
    /// The upstream takes nothing.
    is_blocked: Cell<bool>,
    /// Times that it took something.
    writes: Cell<u64>,
    /// The body broke off, and with it the response: whoever reads that is told.
    broken: RefCell<Option<Error>>,
    reader: RefCell<Option<Waker>>,
}

impl Progress {
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Done => true,
            Self::Elsewhere(elsewhere) => elsewhere.waits.is_through.get(),
            Self::Here(_) | Self::Failed => false,
        }
    }

    /// Sends on what is to be sent here. Ready when nothing is.
    pub(super) fn poll_here(
        &mut self,
        cx: &mut Context<'_>,
        recipient: &Recipient<Socket>,
    ) -> Poll<Result<(), Error>> {
        let Self::Here(upload) = self else { return Poll::Ready(Ok(())) };
        let sent = ready!(upload.poll(cx, &mut *recipient.socket.borrow_mut()));
        *self = if sent.is_ok() { Self::Done } else { Self::Failed };
        Poll::Ready(sent.map_err(Error::from))
    }

    /// The response has begun: what is still to be sent goes on beside it.
    pub(super) fn goes_on(&mut self, recipient: &Rc<Recipient<Socket>>) {
        let Self::Here(mut upload) = std::mem::replace(self, Self::Done) else { return };
        let waits = Rc::new(Waits::default());
        let (told, recipient) = (Rc::clone(&waits), Rc::clone(recipient));
        let task = tokio::task::spawn_local(async move {
            let sent = poll_fn(|cx| {
                let sent = upload.poll(cx, &mut *recipient.socket.borrow_mut());
                told.is_blocked.set(sent.is_pending() && !upload.is_out());
                told.writes.set(upload.writes());
                sent
            });
            let sent = sent.await;
            told.is_through.set(sent.is_ok());
            if let Err(error @ Error::Body(_)) = sent.map_err(Error::from) {
                told.broken.replace(Some(error));
                if let Some(reader) = told.reader.take() {
                    reader.wake();
                }
            }
        });
        *self = Self::Elsewhere(Elsewhere { task, waits });
    }

    /// Why there will be no more of the response, when the request's body has broken off meanwhile.
    pub(super) fn broken(&self, cx: &Context<'_>) -> Option<Error> {
        let Self::Elsewhere(Elsewhere { waits, .. }) = self else { return None };
        let broken = waits.broken.take();
        if broken.is_none() {
            waits.reader.replace(Some(cx.waker().clone()));
        }
        broken
    }

    /// What is still sent by a task, now that the response is over. It counts as done.
    pub(super) fn take_rest(&mut self) -> Option<Elsewhere> {
        match std::mem::replace(self, Self::Done) {
            Self::Elsewhere(elsewhere) if !elsewhere.waits.is_through.get() => Some(elsewhere),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Elsewhere {
    /// Waits until all is sent. False when it broke off, or the upstream reads no further.
    pub(in crate::upstream) async fn finish(mut self) -> bool {
        loop {
            let before = self.waits.writes.get();
            match tokio::time::timeout(PATIENCE, &mut self.task).await {
                Ok(_) => return self.waits.is_through.get(),
                Err(_) if self.waits.is_blocked.get() && self.waits.writes.get() == before => return false,
                Err(_) => {}
            }
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request with a body.
pub(super) fn of(request: Outbound<'_>) -> Upload {
    let mut out = Vec::new();
    let framing = write_head(&request, &mut out);
    Sending::new(out, framing, request.body)
}

impl From<Broken<body::Error>> for Error {
    fn from(broken: Broken<body::Error>) -> Self {
        match broken {
            Broken::Io(error) => Self::Io(error),
            Broken::Body(error) => Self::Body(error),
            Broken::WrongLength => Self::Body(body::Error::WrongLength),
        }
    }
}
