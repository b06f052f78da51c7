//! What a client's frames cost, counted before h2 sees them.
//!
//! h2 bounds what frames make it hold (headers, CONTINUATION, resets that were not looked at yet, resets
//! that the client provoked), but answers PING and SETTINGS for ever, and lets a client open and reset
//! streams that have reached an upstream as fast as it can. Here each such frame has a price.
//!
//! What holds: bytes pass unchanged; nothing is buffered; a client that moves data, or waits for
//! answers, earns more than its frames cost (RFC 9113 section 10.5).

use crate::clock::Ticks;

const PREFACE: u8 = 24;
const HEADER: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Frames that move nothing: PING, SETTINGS, PRIORITY, empty DATA, and those nobody knows.
const CONTROL: Purse = Purse { most: 1000, each_tick: 20 };
/// Streams given up: one for each reset, and one more where no answer had come. A browser that leaves a page gives up all that are open.
const RESETS: Purse = Purse { most: 400, each_tick: 4 };
/// Bytes that move earn a control frame: a client may measure the way with a PING for each.
const EARNING: u32 = 1024;

struct Purse {
    most: u32,
    each_tick: u32,
}

/// The frames of one connection.
#[derive(Debug)]
pub(super) struct Frames {
    preface_left: u8,
    header: [u8; HEADER],
    filled: usize,
    payload_left: u32,
    /// Between HEADERS and END_HEADERS.
    in_block: bool,
    /// The highest stream a client began.
    last_stream: u32,
    control: u32,
    resets: u32,
    /// Bytes moved that earned nothing yet.
    moved: u32,
    at: Ticks,
}

impl Frames {
    pub(super) const fn new(now: Ticks) -> Self {
        Self {
            preface_left: PREFACE,
            header: [0; HEADER],
            filled: 0,
            payload_left: 0,
            in_block: false,
            last_stream: 0,
            control: CONTROL.most,
            resets: RESETS.most,
            moved: 0,
            at: now,
        }
    }

    /// Whether a head has begun to come, or a frame, and not ended.
    pub(super) const fn in_head(&self) -> bool {
        self.in_block || self.filled > 0 || self.preface_left > 0
    }

    pub(super) const fn last_stream(&self) -> u32 {
        self.last_stream
    }

    /// A stream was answered.
    pub(super) const fn answered(&mut self) {
        if self.resets < RESETS.most {
            self.resets += 1;
        }
    }

    /// A stream was given up before it was answered, by whoever: what was done for it is lost. False
    /// when the client has had enough.
    pub(super) const fn unanswered(&mut self) -> bool {
        spend(&mut self.resets)
    }

    /// Bytes of content came or went.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.control = CONTROL.most.min(self.control + self.moved / EARNING);
        self.moved %= EARNING;
    }

    /// Looks at the next bytes. False when the client has had enough.
    pub(super) fn judge(&mut self, mut bytes: &[u8], now: Ticks) -> bool {
        let ticks = now.saturating_sub(self.at);
        self.at = now;
        self.control = CONTROL.most.min(self.control.saturating_add(ticks.saturating_mul(CONTROL.each_tick)));
        self.resets = RESETS.most.min(self.resets.saturating_add(ticks.saturating_mul(RESETS.each_tick)));
        while !bytes.is_empty() {
            if self.preface_left > 0 {
                let taken = bytes.len().min(usize::from(self.preface_left));
                // No more than 24.
                self.preface_left -= taken as u8;
                bytes = &bytes[taken..];
            } else if self.payload_left > 0 {
                let taken = bytes.len().min(self.payload_left as usize);
                self.payload_left -= taken as u32;
                bytes = &bytes[taken..];
            } else {
                let taken = bytes.len().min(HEADER - self.filled);
                self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
                self.filled += taken;
                bytes = &bytes[taken..];
                if self.filled == HEADER {
                    self.filled = 0;
                    if !self.frame() {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn frame(&mut self) -> bool {
        let [a, b, c, kind, flags, stream @ ..] = self.header;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.payload_left = length;
        match kind {
            DATA if length > 0 => {
                self.moved(length as usize);
                true
            }
            DATA => flags & END_STREAM != 0 || spend(&mut self.control),
            HEADERS => {
                self.in_block = flags & END_HEADERS == 0;
                self.last_stream = self.last_stream.max(u32::from_be_bytes(stream) & (u32::MAX >> 1));
                true
            }
            CONTINUATION => {
                self.in_block &= flags & END_HEADERS == 0;
                spend(&mut self.control)
            }
            RST_STREAM => spend(&mut self.resets),
            // Clients that read frame by frame send as many as there are frames of ours.
            WINDOW_UPDATE => true,
            _ => spend(&mut self.control),
        }
    }
}

const fn spend(purse: &mut u32) -> bool {
    let has = *purse > 0;
    *purse = purse.saturating_sub(1);
    has
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn begun() -> Frames {
        let mut frames = Frames::new(0);
        assert!(frames.in_head() && frames.judge(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0));
        assert!(!frames.in_head());
        frames
    }

    /// How many of a frame pass at one time.
    fn pass(frames: &mut Frames, frame: &[u8], now: Ticks) -> u32 {
        (0..).find(|_| !frames.judge(frame, now)).unwrap()
    }

    #[test]
    fn floods_end_and_time_forgives() {
        for (kind, flags, payload, most) in [
            (6, 0, &[0; 8][..], CONTROL.most),
            (4, 0, &[], CONTROL.most),
            (2, 0, &[0; 5], CONTROL.most),
            (0, 0, &[], CONTROL.most),
            (9, 0, &[0; 3], CONTROL.most),
            (42, 0, &[], CONTROL.most),
            (3, 0, &[0; 4], RESETS.most),
        ] {
            let mut frames = begun();
            let flood = frame(kind, flags, 1, payload);
            assert_eq!(pass(&mut frames, &flood, 0), most, "{kind}");
            assert!(pass(&mut frames, &flood, 10) > 10, "{kind}");
        }
    }

    #[test]
    fn who_moves_data_or_waits_for_answers_goes_on() {
        let mut frames = begun();
        let (ping, reset) = (frame(6, 0, 0, &[0; 8]), frame(3, 0, 1, &[0; 4]));
        for _ in 0..5 * CONTROL.most {
            assert!(frames.judge(&ping, 0));
            frames.moved(EARNING as usize);
            assert!(frames.judge(&reset, 0));
            frames.answered();
        }
        let data = frame(0, 0, 1, &[0; 16 * 1024]);
        assert!((0..5 * CONTROL.most).all(|_| frames.judge(&data, 0)));
        let ends = frame(0, END_STREAM, 1, &[]);
        assert!((0..5 * CONTROL.most).all(|_| frames.judge(&ends, 0)));
    }

    #[test]
    fn it_does_not_matter_where_bytes_are_split() {
        let mut frames = begun();
        let bytes = [frame(1, 0, 3, b"abc"), frame(9, 0, 3, b"d"), frame(9, END_HEADERS, 3, b"e")].concat();
        for (index, byte) in bytes.iter().enumerate() {
            assert!(frames.judge(&[*byte], 0));
            assert_eq!(frames.in_head(), index + 2 < bytes.len(), "{index}");
        }
        assert_eq!((frames.last_stream(), frames.control), (3, CONTROL.most - 2));
    }
}
