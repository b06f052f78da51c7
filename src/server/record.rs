//! What a worker knows of one connection, in plain cells: its own task, its requests and the
//! worker's sweep all run on one thread.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Waker};

pub use self::cut::{Cut, Found};
use self::cut::{SLOW, STUCK};
pub use self::still::Parking;
use super::framing::{Framing, Malformed};
use super::tls::Secured;
use crate::clock::{TICK, Ticks};
use crate::proxy::lasting::Lasting;
use crate::proxy::tunnel;
use crate::site::Site;

mod cut;
mod still;
#[cfg(test)]
mod tests;

/// Why a connection is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// After the response under way, if any.
    Gracefully,
    /// Now, whatever is under way.
    Abruptly,
}

/// How long a request that is cut short may take over its end, where it has something to say: a
/// WebSocket its last frame, a call of gRPC its status, and one that was not answered yet its answer.
const LAST_WORDS: Ticks = 30;

/// How long a client must have been waited for before its pace is judged.
const PACE_MEASURED_OVER: Ticks = 300;

/// Shared by the connection's task, its IO and the request it is serving.
pub struct Record {
    pub peer: IpAddr,
    pub framing: RefCell<Framing>,
    /// What was wrong with what the client sent; nothing is read past it.
    malformed: Cell<Option<Malformed>>,
    end: Cell<Option<End>>,
    /// A request was handed to the service and its response is not yet written.
    in_flight: Cell<bool>,
    /// Everything given to the IO has been accepted by the kernel.
    flushed: Cell<bool>,
    requests: Cell<u32>,
    /// The far end of the tunnel that this connection becomes.
    upgraded: RefCell<Option<tunnel::Far>>,
    /// When the current phase (idle, reading a head) began.
    phase_since: Cell<Ticks>,
    was_in_head: Cell<bool>,
    /// When what is waited for must have come; zero for never.
    deadline: Cell<Ticks>,
    patience: Cell<Ticks>,
    /// The deadline passed: whoever waits gives up.
    timed_out: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Of whoever sends the request's body on.
    sender: RefCell<Option<Waker>>,
    /// The request under way, where it must be judged again while it lasts.
    lasting: RefCell<Option<Rc<Lasting>>>,
    /// Why the request under way is cut short, and when that is over with.
    cut: Cell<Option<Cut>>,
    cut_by: Cell<Ticks>,
    /// The head of its answer was handed over.
    answered: Cell<bool>,
    /// The answer can say why it is cut short.
    says_why: Cell<bool>,
    /// What the client was waited for, and for how long within one measure of its pace.
    awaits_read: Cell<bool>,
    awaits_write: Cell<bool>,
    awaited: Cell<Ticks>,
    /// Bytes that came and went on the connection, and how many when the measure began.
    moved: Cell<u64>,
    moved_before: Cell<u64>,
    /// Bytes of the current request's body.
    received: Cell<u64>,
    body: Cell<BodyState>,
    /// What the TLS handshake told; not there for clear text.
    secured: OnceCell<Rc<Secured>>,
    /// A piece of a body came or went since the last look.
    progressed: Cell<bool>,
    /// A head has begun to come in frames, and not ended.
    in_frames: Cell<bool>,
    parking: Cell<Parking>,
}

/// What became of the request body under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyState {
    Fine,
    TooLarge,
    /// Malformed, or the client went away.
    Broken,
}

impl Record {
    #[must_use]
    pub fn new(peer: IpAddr, framing: Framing, now: Ticks) -> Self {
        Self {
            peer,
            framing: RefCell::new(framing),
            malformed: Cell::new(None),
            end: Cell::new(None),
            in_flight: Cell::new(false),
            flushed: Cell::new(true),
            requests: Cell::new(0),
            upgraded: RefCell::new(None),
            phase_since: Cell::new(now),
            was_in_head: Cell::new(false),
            deadline: Cell::new(0),
            patience: Cell::new(0),
            timed_out: Cell::new(false),
            waker: RefCell::new(None),
            sender: RefCell::new(None),
            lasting: RefCell::new(None),
            cut: Cell::new(None),
            cut_by: Cell::new(0),
            answered: Cell::new(false),
            says_why: Cell::new(false),
            awaits_read: Cell::new(false),
            awaits_write: Cell::new(false),
            awaited: Cell::new(0),
            moved: Cell::new(0),
            moved_before: Cell::new(0),
            received: Cell::new(0),
            body: Cell::new(BodyState::Fine),
            secured: OnceCell::new(),
            progressed: Cell::new(false),
            in_frames: Cell::new(false),
            parking: Cell::new(Parking::Never),
        }
    }

    /// Remembers the connection's task, to be woken by [`Self::wake`].
    pub fn polled_by(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &*waker {
            Some(known) if known.will_wake(context.waker()) => {}
            _ => *waker = Some(context.waker().clone()),
        }
    }

    pub fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }

    /// Remembers who waits for more of the request's body, to be woken by [`Self::wake`].
    pub fn sent_on_by(&self, context: &Context<'_>) {
        let mut sender = self.sender.borrow_mut();
        match &*sender {
            Some(known) if known.will_wake(context.waker()) => {}
            _ => *sender = Some(context.waker().clone()),
        }
    }

    pub fn begin_request(&self) {
        self.in_flight.set(true);
        self.flushed.set(false);
        self.received.set(0);
        self.body.set(BodyState::Fine);
        self.answered.set(false);
        self.says_why.set(false);
        self.awaited.set(0);
        self.moved_before.set(self.moved.get());
        self.requests.set(self.requests.get() + 1);
    }

    /// The last byte of the response was handed over.
    pub fn end_request(&self, now: Ticks) {
        self.in_flight.set(false);
        self.deadline.set(0);
        self.cut.set(None);
        self.lasting.replace(None);
        self.phase_since.set(now);
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }

    /// The request under way is judged again while it lasts.
    pub fn lasts(&self, lasting: Rc<Lasting>) {
        self.lasting.replace(Some(lasting));
    }

    /// Whether the request under way is still this one.
    #[must_use]
    pub fn is_about(&self, lasting: &Rc<Lasting>) -> bool {
        self.lasting.borrow().as_ref().is_some_and(|known| Rc::ptr_eq(known, lasting))
    }

    /// The request under way, if it must be judged again. `now` is unix milliseconds.
    #[must_use]
    pub fn due(&self, now: i64, site: &Rc<Site>) -> Option<Rc<Lasting>> {
        let lasting = self.lasting.borrow();
        lasting.as_ref().filter(|lasting| self.cut.get().is_none() && lasting.is_due(now, site)).cloned()
    }

    /// Cuts the request under way short. What waits for an upstream's answer gives up and answers
    /// with the reason; a tunnel says goodbye; an answer that is under way says why, or breaks off.
    pub fn cut(&self, cut: Cut, now: Ticks) {
        let is_mute = self.answered.get() && !self.says_why.get() && !self.is_tunnel();
        let last_words = if is_mute { 0 } else { LAST_WORDS };
        self.cut.set(Some(cut));
        self.cut_by.set(now.saturating_add(last_words));
        self.timed_out.set(true);
        if last_words == 0 { self.end_with(End::Abruptly) } else { self.wake() }
    }

    /// Why the request under way is cut short, if it is.
    #[must_use]
    pub fn was_cut(&self) -> Option<Cut> {
        self.cut.get()
    }

    /// The head of the answer was handed over.
    pub fn answers(&self) {
        self.answered.set(true);
    }

    /// Its answer can say why, if it is cut short.
    pub fn may_say_why(&self) {
        self.says_why.set(true);
    }

    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.answered.get()
    }

    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        self.framing.borrow().is_tunnel()
    }

    /// Whether nothing was asked on it yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.requests.get() == 0
    }

    /// Whether the head of a request has begun and not ended.
    #[must_use]
    pub fn in_head(&self) -> bool {
        self.framing.borrow().in_head()
    }

    /// More was wanted from the client: so much came, or nothing did yet.
    pub fn read(&self, came: Option<usize>) {
        self.awaits_read.set(came.is_none());
        self.moved.set(self.moved.get() + came.unwrap_or(0) as u64);
    }

    /// The client was given something: it took so much, or nothing yet.
    pub fn wrote(&self, went: Option<usize>) {
        self.awaits_write.set(went.is_none());
        self.moved.set(self.moved.get() + went.unwrap_or(0) as u64);
    }

    /// Whether it is the client that is waited for: it does not send a body that is wanted, or take
    /// what it asked for.
    #[must_use]
    pub fn awaits_client(&self) -> bool {
        self.awaits_write.get() || (self.awaits_read.get() && self.framing.borrow().in_body())
    }

    /// Measures the client's pace, of the time alone in which it was waited for. `least` is in bytes a
    /// second.
    fn is_slow(&self, least: u64) -> bool {
        if !self.awaits_client() {
            return false;
        }
        self.awaited.set(self.awaited.get() + 1);
        if self.awaited.get() < PACE_MEASURED_OVER {
            return false;
        }
        let moved = self.moved.get() - self.moved_before.replace(self.moved.get());
        let seconds = u64::from(self.awaited.replace(0)) * TICK.as_millis() as u64 / 1000;
        moved < least.saturating_mul(seconds)
    }

    /// Counts bytes of the request body.
    pub fn received(&self, bytes: u64) {
        self.received.set(self.received.get() + bytes);
        self.progressed.set(true);
    }

    /// A piece of a body came or went, seen where no clock is at hand.
    pub fn progressed(&self) {
        self.progressed.set(true);
    }

    /// The handshake is done.
    pub fn secure(&self, secured: Rc<Secured>) {
        // Nobody shakes hands twice on one connection.
        let _first = self.secured.set(secured);
    }

    #[must_use]
    pub fn secured(&self) -> Option<&Rc<Secured>> {
        self.secured.get()
    }

    pub fn set_in_frames(&self, in_frames: bool) {
        self.in_frames.set(in_frames);
    }

    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.received.get()
    }

    pub fn body_too_large(&self) {
        self.body.set(BodyState::TooLarge);
    }

    pub fn body_broke(&self) {
        self.body.set(BodyState::Broken);
    }

    #[must_use]
    pub fn body(&self) -> BodyState {
        self.body.get()
    }

    /// The response under way switches protocols: what follows it is not HTTP.
    pub fn upgrade(&self, far: tunnel::Far) {
        self.framing.borrow_mut().tunnel();
        self.upgraded.replace(Some(far));
    }

    #[must_use]
    pub fn take_tunnel(&self) -> Option<tunnel::Far> {
        self.upgraded.take()
    }

    /// Whether a request is under way.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.in_flight.get()
    }

    /// Whether nothing is under way, waiting to begin or unwritten.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        !self.in_flight.get() && self.flushed.get() && self.framing.borrow().messages() == self.requests.get()
    }

    pub fn set_flushed(&self, flushed: bool) {
        self.flushed.set(flushed);
    }

    #[must_use]
    pub fn malformed(&self) -> Option<Malformed> {
        self.malformed.get()
    }

    #[cold]
    pub fn set_malformed(&self, why: Malformed) {
        self.malformed.set(Some(why));
    }

    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end.get()
    }

    pub fn end_with(&self, end: End) {
        self.end.set(Some(end));
        self.wake();
    }

    /// Allows `patience` until the next sign of progress; see [`Self::progress`].
    pub fn expect_within(&self, patience: Ticks, now: Ticks) {
        self.timed_out.set(false);
        self.patience.set(patience);
        self.deadline.set(now.saturating_add(patience));
    }

    /// Something came or went: the time allowed begins anew.
    pub fn progress(&self, now: Ticks) {
        if self.deadline.get() != 0 {
            self.deadline.set(now.saturating_add(self.patience.get()));
        }
    }

    /// Whether what is waited for did not come in time.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.timed_out.get()
    }

    /// One look by the worker's sweep: idle, slow and stuck connections are told to end.
    pub fn sweep(&self, now: Ticks, header: Ticks, idle: Ticks, min_rate: Option<u64>) -> Option<Found> {
        if self.in_flight.get() {
            return self.sweep_request(now, min_rate);
        }
        if self.progressed.take() {
            self.phase_since.set(now);
        }
        let in_head = self.framing.borrow().in_head() || self.in_frames.get();
        if in_head != self.was_in_head.replace(in_head) && in_head {
            self.phase_since.set(now);
        }
        let since = now.saturating_sub(self.phase_since.get());
        let first = self.requests.get() == 0;
        if (in_head || first) && since > header {
            self.end_with(End::Abruptly);
            return Some(Found::SlowHead);
        }
        if since > idle {
            // The body of a request that was answered already may never come to its end.
            let is_stuck = self.framing.borrow().in_body();
            self.end_with(if is_stuck { End::Abruptly } else { End::Gracefully });
        }
        None
    }

    fn sweep_request(&self, now: Ticks, min_rate: Option<u64>) -> Option<Found> {
        if self.cut.get().is_some() {
            if now >= self.cut_by.get() {
                self.end_with(End::Abruptly);
            }
            return None;
        }
        if min_rate.is_some_and(|least| self.is_slow(least)) {
            return Some(Found::Stuck(SLOW));
        }
        if self.progressed.take() {
            self.progress(now);
        }
        let deadline = self.deadline.get();
        if deadline == 0 || now < deadline {
            return None;
        }
        if self.awaits_client() {
            return Some(Found::Stuck(SLOW));
        }
        if self.answered.get() {
            return Some(Found::Stuck(STUCK));
        }
        if self.timed_out.replace(true) {
            self.end_with(End::Abruptly);
        } else {
            // Whoever waits gets one more tick to answer.
            self.deadline.set(now + 1);
            self.wake();
        }
        None
    }
}
