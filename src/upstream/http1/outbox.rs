//! Requests without a body, which go out together when everybody else has had a turn.
//!
//! What holds: nothing is written of a request that nobody waits for any more; what could not be
//! written at a stroke is its sender's to go on with. An upstream on the same machine is woken once
//! for all of them, instead of falling asleep after each: that wakes another processor, and costs as
//! much as the write itself.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::AsyncWrite as _;

use crate::upstream::io::Socket;

/// As many wait at most, so that the first is not kept long.
const AT_ONCE: usize = 64;
/// Room that is kept for the next ones, in bytes.
const KEPT: usize = 256 * 1024;

/// A connection's socket, and where the request is that was posted to it.
pub(super) struct Wire {
    pub(super) socket: RefCell<Socket>,
    posted: RefCell<Posted>,
}

/// See [`Wire`].
#[derive(Default)]
pub(super) enum Posted {
    #[default]
    Nothing,
    Waiting,
    /// It went out, but for what is left here. None: all of it.
    Out(Option<Vec<u8>>),
    /// Nothing of it went out.
    Failed(io::Error),
}

#[derive(Default)]
struct Outbox {
    text: Vec<u8>,
    letters: Vec<Letter>,
}

struct Letter {
    to: Rc<Wire>,
    /// Where it ends in the text, and the next one begins.
    end: usize,
    /// Who waits for the response.
    sender: Waker,
}

thread_local! {
    static OUTBOX: RefCell<Outbox> = RefCell::default();
}

impl Wire {
    pub(super) const fn new(socket: Socket) -> Self {
        Self { socket: RefCell::new(socket), posted: RefCell::new(Posted::Nothing) }
    }

    /// How far a posted request is; told once, unless it waits.
    pub(super) fn posted(&self) -> Posted {
        let mut posted = self.posted.borrow_mut();
        if matches!(*posted, Posted::Waiting) { Posted::Waiting } else { std::mem::take(&mut *posted) }
    }
}

/// Has what `write` writes sent with the others. The sender is woken only for what is left of it.
pub(super) fn post(to: &Rc<Wire>, sender: &Waker, write: impl FnOnce(&mut Vec<u8>)) {
    to.posted.replace(Posted::Waiting);
    let count = OUTBOX.with_borrow_mut(|outbox| {
        write(&mut outbox.text);
        let letter = Letter { to: Rc::clone(to), end: outbox.text.len(), sender: sender.clone() };
        outbox.letters.push(letter);
        outbox.letters.len()
    });
    match count {
        1 => drop(tokio::task::spawn_local(async { send_all() })),
        AT_ONCE => send_all(),
        _ => {}
    }
}

fn send_all() {
    let Outbox { mut text, mut letters } = OUTBOX.take();
    let mut begin = 0;
    for letter in letters.drain(..) {
        letter.send(&text[begin..letter.end]);
        begin = letter.end;
    }
    text.clear();
    text.shrink_to(KEPT);
    OUTBOX.set(Outbox { text, letters });
}

impl Letter {
    fn send(&self, text: &[u8]) {
        if Rc::strong_count(&self.to) == 1 {
            return;
        }
        let posted = self.written(text);
        let is_settled = matches!(posted, Posted::Out(None));
        self.to.posted.replace(posted);
        if !is_settled {
            self.sender.wake_by_ref();
        }
    }

    fn written(&self, text: &[u8]) -> Posted {
        let mut cx = Context::from_waker(&self.sender);
        let mut socket = self.to.socket.borrow_mut();
        let written = match Pin::new(&mut *socket).poll_write(&mut cx, text) {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(error)) => return Posted::Failed(error),
            Poll::Pending => 0,
        };
        if written < text.len() {
            return Posted::Out(Some(text[written..].to_vec()));
        }
        match Pin::new(&mut *socket).poll_flush(&mut cx) {
            Poll::Ready(Ok(())) => Posted::Out(None),
            Poll::Ready(Err(error)) => Posted::Failed(error),
            Poll::Pending => Posted::Out(Some(Vec::new())),
        }
    }
}
