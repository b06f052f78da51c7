//! Short messages, which a busy worker sends together when everybody else has had a turn.
//!
//! What holds: messages go out in the order they were posted in; what could not be written at a
//! stroke is its sender's to go on with; a message that is withdrawn is not sent. Whoever is on the
//! same machine, an upstream or another proxy, is woken once for all of them instead of falling
//! asleep after each. Where few are posted in a turn nobody waits for another (see ARCHITECTURE.md,
//! Speed).

use std::cell::RefCell;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::AsyncWrite;

/// As many wait at most, so that the first is not kept long.
const AT_ONCE: usize = 64;
/// As many in a turn are a busy worker's.
const BUSY: usize = 8;
/// Room that is kept for the next ones, in bytes.
const KEPT: usize = 256 * 1024;

/// A socket, and where the message is that was posted to it.
pub struct Recipient<S> {
    pub socket: RefCell<S>,
    posted: RefCell<Posted>,
}

/// How far a message is.
#[derive(Debug, Default)]
pub enum Posted {
    /// There is none.
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
    /// Posted in this turn.
    posted: usize,
    /// The most in a turn, of the last few.
    peak: usize,
}

struct Letter {
    to: Rc<dyn Deliver>,
    /// Where it ends in the text, and the next one begins.
    end: usize,
    sender: Waker,
}

trait Deliver {
    /// Sends what waits, and wakes the sender unless that was all of it.
    fn deliver(&self, text: &[u8], sender: &Waker);
}

thread_local! {
    static OUTBOX: RefCell<Outbox> = RefCell::default();
}

/// Sends everything that was posted.
pub fn send_all() {
    let (mut text, mut letters) =
        OUTBOX.with_borrow_mut(|outbox| (mem::take(&mut outbox.text), mem::take(&mut outbox.letters)));
    let mut begin = 0;
    for letter in letters.drain(..) {
        letter.to.deliver(&text[begin..letter.end], &letter.sender);
        begin = letter.end;
    }
    text.clear();
    text.shrink_to(KEPT);
    OUTBOX.with_borrow_mut(|outbox| (outbox.text, outbox.letters) = (text, letters));
}

fn end_turn() {
    OUTBOX.with_borrow_mut(|outbox| {
        let faded = outbox.peak - outbox.peak.div_ceil(8);
        outbox.peak = faded.max(mem::take(&mut outbox.posted));
    });
    send_all();
}

impl<S: AsyncWrite + Unpin + 'static> Recipient<S> {
    #[must_use]
    pub const fn new(socket: S) -> Self {
        Self { socket: RefCell::new(socket), posted: RefCell::new(Posted::Nothing) }
    }

    /// Has what `write` writes sent with the others. The sender is woken only when something is left
    /// of it. One message at a time: the one before was told to be out.
    pub fn post(self: &Rc<Self>, sender: &Waker, write: impl FnOnce(&mut Vec<u8>)) {
        self.posted.replace(Posted::Waiting);
        let (is_first, goes_now) = OUTBOX.with_borrow_mut(|outbox| {
            write(&mut outbox.text);
            let to: Rc<dyn Deliver> = Rc::clone(self) as _;
            outbox.letters.push(Letter { to, end: outbox.text.len(), sender: sender.clone() });
            outbox.posted += 1;
            (outbox.posted == 1, outbox.peak < BUSY || outbox.letters.len() == AT_ONCE)
        });
        if is_first {
            drop(tokio::task::spawn_local(async { end_turn() }));
        }
        if goes_now {
            send_all();
        }
    }

    /// How far the message is. The end of it is told once.
    pub fn posted(&self) -> Posted {
        if self.is_waiting() { Posted::Waiting } else { self.posted.take() }
    }

    pub fn is_waiting(&self) -> bool {
        matches!(*self.posted.borrow(), Posted::Waiting)
    }

    /// What waits is not to be sent any more.
    pub fn withdraw(&self) {
        self.posted.replace(Posted::Nothing);
    }

    fn written(&self, text: &[u8], sender: &Waker) -> Posted {
        let mut cx = Context::from_waker(sender);
        let mut socket = self.socket.borrow_mut();
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

impl<S: AsyncWrite + Unpin + 'static> Deliver for Recipient<S> {
    fn deliver(&self, text: &[u8], sender: &Waker) {
        if !self.is_waiting() {
            return;
        }
        let posted = self.written(text, sender);
        let is_settled = matches!(posted, Posted::Out(None));
        self.posted.replace(posted);
        if !is_settled {
            sender.wake_by_ref();
        }
    }
}

#[cfg(test)]
pub(crate) use self::tests::be_busy;
#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;

    fn recipient(room: usize) -> (Rc<Recipient<DuplexStream>>, DuplexStream) {
        let (near, far) = duplex(room);
        (Rc::new(Recipient::new(near)), far)
    }

    fn post(to: &Rc<Recipient<DuplexStream>>, text: &str) {
        to.post(Waker::noop(), |out| out.extend_from_slice(text.as_bytes()));
    }

    async fn read(from: &mut DuplexStream) -> String {
        let mut read = vec![0; 1000];
        let count = from.read(&mut read).await.unwrap();
        String::from_utf8(read[..count].to_vec()).unwrap()
    }

    /// Makes the next turns those of a busy worker.
    pub(crate) async fn be_busy() {
        for _ in 1..AT_ONCE {
            let (somebody, _far) = recipient(100);
            post(&somebody, "m");
        }
        tokio::task::yield_now().await;
    }

    #[tokio::test(flavor = "local")]
    async fn a_message_of_few_goes_at_once() {
        let (one, mut far_of_one) = recipient(100);
        post(&one, "to one");
        assert!(matches!(one.posted(), Posted::Out(None)));
        assert_eq!(read(&mut far_of_one).await, "to one");
    }

    #[tokio::test(flavor = "local")]
    async fn many_are_no_longer_many_after_some_turns() {
        be_busy().await;
        let (one, _far) = recipient(100);
        let mut waited = 0;
        loop {
            post(&one, "m");
            if !one.is_waiting() {
                break;
            }
            waited += 1;
            tokio::task::yield_now().await;
            assert!(matches!(one.posted(), Posted::Out(None)));
        }
        assert!((2..AT_ONCE).contains(&waited), "{waited}");
    }

    #[tokio::test(flavor = "local")]
    async fn messages_of_many_wait_for_the_end_of_the_turn() {
        be_busy().await;
        let (one, mut far_of_one) = recipient(100);
        let (two, mut far_of_two) = recipient(100);
        post(&one, "to one");
        post(&two, "to two");
        assert!(one.is_waiting() && matches!(two.posted(), Posted::Waiting));
        assert_eq!((&*read(&mut far_of_one).await, &*read(&mut far_of_two).await), ("to one", "to two"));
        assert!(matches!(one.posted(), Posted::Out(None)));
        assert!(matches!(one.posted(), Posted::Nothing), "told once");
    }

    #[tokio::test(flavor = "local")]
    async fn very_many_do_not_wait() {
        be_busy().await;
        let pairs: Vec<_> = (0..AT_ONCE).map(|_| recipient(100)).collect();
        for (recipient, _) in &pairs {
            assert!(pairs.iter().all(|(recipient, _)| !matches!(recipient.posted(), Posted::Out(_))));
            post(recipient, "m");
        }
        assert!(pairs.iter().all(|(recipient, _)| matches!(recipient.posted(), Posted::Out(None))));
    }

    #[tokio::test(flavor = "local")]
    async fn what_is_withdrawn_is_not_sent() {
        be_busy().await;
        let (gone, mut far_of_gone) = recipient(100);
        let (kept, mut far_of_kept) = recipient(100);
        post(&gone, "gone");
        post(&kept, "kept");
        gone.withdraw();
        assert_eq!(read(&mut far_of_kept).await, "kept");
        drop(gone);
        assert_eq!(read(&mut far_of_gone).await, "");
    }

    #[tokio::test(flavor = "local")]
    async fn what_does_not_fit_is_the_senders_again() {
        let (recipient, mut far) = recipient(4);
        let woken = std::future::poll_fn(|cx| match recipient.posted() {
            Posted::Nothing => {
                recipient.post(cx.waker(), |out| out.extend_from_slice(b"too long"));
                Poll::Pending
            }
            posted => Poll::Ready(posted),
        });
        assert!(matches!(woken.await, Posted::Out(Some(rest)) if rest == b"long"));
        assert_eq!(read(&mut far).await, "too ");
    }

    #[tokio::test(flavor = "local")]
    async fn what_nobody_takes_has_failed() {
        let (recipient, far) = recipient(4);
        drop(far);
        post(&recipient, "m");
        send_all();
        assert!(matches!(recipient.posted(), Posted::Failed(_)));
    }
}
