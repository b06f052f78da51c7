//! Where the frames of a WebSocket end (RFC 6455 section 5.2), and its last one.
//!
//! What holds: nothing is looked at but the heads of frames, and nothing is kept of them but how much
//! of the one under way is left; wherever the bytes were split, the frames are the same.

use crate::access::rejection::Code;
use crate::metrics::StreamEnd;
use crate::server::record::Cut;

const CLOSE: u8 = 0x8;
/// The bits of a head's second byte: whether a mask follows, and a length or what is in its place.
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;

/// Who sends the frames of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Masks what it sends.
    Client,
    Server,
}

/// The frames of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Frames {
    state: State,
    /// The last one of this direction has begun.
    closed: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Between two frames.
    #[default]
    Start,
    /// The second byte of a head comes next.
    Length,
    /// So many bytes of an extended length, then so many of a mask.
    Extended { left: u8, length: u64, mask: u8 },
    /// So many bytes of a mask and a payload.
    Rest(u64),
}

impl Frames {
    /// Whether a frame may be put in here.
    pub(super) const fn is_between(self) -> bool {
        matches!(self.state, State::Start)
    }

    /// Whether the side that sends these frames has said its last.
    pub(super) const fn is_closed(self) -> bool {
        self.closed
    }

    /// These bytes were passed on.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            at += self.pass_frame(&bytes[at..]);
        }
    }

    /// The same up to the end of the frame under way, or of the first. Says how many bytes that are.
    pub(super) fn pass_frame(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            at += self.step(&bytes[at..]);
            if self.is_between() {
                break;
            }
        }
        at
    }

    /// Takes at least one byte.
    fn step(&mut self, rest: &[u8]) -> usize {
        let byte = rest[0];
        match self.state {
            State::Start => {
                self.closed |= byte & 0xf == CLOSE;
                self.state = State::Length;
            }
            State::Length => {
                let mask = if byte & MASKED == 0 { 0 } else { 4 };
                self.state = match byte & LENGTH {
                    126 => State::Extended { left: 2, length: 0, mask },
                    127 => State::Extended { left: 8, length: 0, mask },
                    length => rest_of(u64::from(length), mask),
                };
            }
            State::Extended { left, length, mask } => {
                let length = length << 8 | u64::from(byte);
                self.state = match left {
                    1 => rest_of(length, mask),
                    _ => State::Extended { left: left - 1, length, mask },
                };
            }
            State::Rest(left) => {
                let taken = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                self.state = rest_of(left - taken as u64, 0);
                return taken;
            }
        }
        1
    }
}

const fn rest_of(length: u64, mask: u8) -> State {
    match length.saturating_add(mask as u64) {
        0 => State::Start,
        left => State::Rest(left),
    }
}

/// The frame that ends a WebSocket which is cut short: a status of RFC 6455 section 7.4.1 and our
/// code, as if the side had sent it.
pub(super) fn close(cut: Cut, from: Side) -> Vec<u8> {
    let status: u16 = match cut.why {
        StreamEnd::Revoked | StreamEnd::Expired | StreamEnd::Forbidden | StreamEnd::Slow => 1008,
        StreamEnd::Unchecked => 1013,
        StreamEnd::Idle | StreamEnd::Drained => 1001,
    };
    // An application has no use for why its client leaves.
    let (mask, reason): (&[u8], &str) = match from {
        Side::Client => (&[0; 4], ""),
        Side::Server => (&[], cut.code.map_or("", Code::as_str)),
    };
    // A code is a word: far shorter than the 123 bytes there are.
    let length = (2 + reason.len()) as u8;
    let masked = if mask.is_empty() { 0 } else { MASKED };
    let head = [0x80 | CLOSE, masked | length];
    [&head, mask, &status.to_be_bytes(), reason.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame with a payload of so many bytes.
    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            ..126 => frame.push(mask | length as u8),
            126..0x1_0000 => {
                frame.push(mask | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0x81; 4][..if masked { 4 } else { 0 }]);
        frame.resize(frame.len() + length, 0x88);
        frame
    }

    #[test]
    fn a_frame_is_over_with_its_last_byte_and_not_before() {
        for length in [0, 1, 125, 126, 127, 0xffff, 0x1_0000] {
            for masked in [false, true] {
                let bytes = frame(2, length, masked);
                let mut frames = Frames::default();
                frames.pass(&bytes[..bytes.len() - 1]);
                assert!(!frames.is_between(), "{length} {masked}");
                frames.pass(&bytes[bytes.len() - 1..]);
                assert!(frames.is_between() && !frames.is_closed(), "{length} {masked}");
            }
        }
    }

    #[test]
    fn the_last_frame_is_known_by_its_opcode() {
        let mut frames = Frames::default();
        frames.pass(&frame(1, 10, false));
        assert!(!frames.is_closed());
        frames.pass(&frame(CLOSE, 2, false));
        assert!(frames.is_closed() && frames.is_between());
    }

    #[test]
    fn a_goodbye_is_a_whole_frame() {
        let cut = Cut { why: StreamEnd::Revoked, code: Some(Code::InvalidCredential), reason: "" };
        for side in [Side::Client, Side::Server] {
            let bytes = close(cut, side);
            let mut frames = Frames::default();
            assert_eq!(frames.pass_frame(&bytes), bytes.len());
            assert!(frames.is_between() && frames.is_closed());
        }
        assert_eq!(close(cut, Side::Server), b"\x88\x14\x03\xf0invalid_credential");
        assert_eq!(close(cut, Side::Client), b"\x88\x82\0\0\0\0\x03\xf0");
    }

    #[test]
    fn a_length_that_no_frame_has_overflows_nothing() {
        let mut frames = Frames::default();
        frames.pass(&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
        assert!(!frames.is_between());
    }

    proptest! {
        #[test]
        fn however_bytes_are_split_the_frames_are_the_same(
            lengths in prop::collection::vec((0..300usize, any::<bool>()), 1..8),
            cuts in prop::collection::vec(0..2000usize, 0..8),
        ) {
            let bytes: Vec<u8> = lengths.iter().flat_map(|(length, masked)| frame(2, *length, *masked)).collect();
            let mut whole = Frames::default();
            let mut count = 0;
            let mut at = 0;
            while at < bytes.len() {
                at += whole.pass_frame(&bytes[at..]);
                count += 1;
            }
            prop_assert_eq!(count, lengths.len());
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % bytes.len()).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut split = Frames::default();
            cuts.windows(2).for_each(|pair| split.pass(&bytes[pair[0]..pair[1]]));
            prop_assert_eq!(whole, split);
        }
    }
}
