//! Where the messages of a call end: a byte of flags, four of length, and so many more.
//!
//! What holds: nothing is kept but how much of the message under way is left; wherever the bytes
//! were split, the messages are the same; text that is no base64 has no more ends.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::TRAILERS;

const HEAD: usize = 5;
/// Characters of base64 that stand for whole bytes.
const GROUP: usize = 4;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Messages {
    head: [u8; HEAD],
    /// Bytes of the head that have come.
    filled: usize,
    /// Bytes of the message that are to come.
    left: u32,
    /// The last one has begun: it holds trailers.
    closed: bool,
    /// The characters of a group that have come, where the messages are written in base64.
    text: Option<Group>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Group {
    characters: [u8; GROUP],
    filled: usize,
    is_broken: bool,
}

impl Messages {
    pub(super) fn new(in_text: bool) -> Self {
        Self { text: in_text.then(Group::default), ..Self::default() }
    }

    pub(super) fn is_between(&self) -> bool {
        let whole = self.text.as_ref().is_none_or(|group| group.filled == 0 && !group.is_broken);
        whole && self.filled == 0 && self.left == 0
    }

    /// The last message is over.
    pub(super) fn have_ended(&self) -> bool {
        self.closed && self.is_between()
    }

    /// These bytes were passed on.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            at += self.finish(&bytes[at..]);
        }
    }

    /// The same up to the end of the message under way, or of the first. Says how many bytes that are.
    pub(super) fn finish(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            at += if self.text.is_some() { self.step_text(&bytes[at..]) } else { self.step(&bytes[at..]) };
            if self.is_between() {
                break;
            }
        }
        at
    }

    /// Takes at least one byte.
    fn step(&mut self, rest: &[u8]) -> usize {
        if self.left > 0 {
            let taken = rest.len().min(self.left as usize);
            // No more than `left`.
            self.left -= taken as u32;
            return taken;
        }
        self.head[self.filled] = rest[0];
        self.filled += 1;
        if self.filled == HEAD {
            let [flags, length @ ..] = self.head;
            self.filled = 0;
            self.left = u32::from_be_bytes(length);
            self.closed |= flags & TRAILERS != 0;
        }
        1
    }

    /// Takes what makes a group whole.
    fn step_text(&mut self, rest: &[u8]) -> usize {
        let Some(group) = self.text.as_mut().filter(|group| !group.is_broken) else { return rest.len() };
        let taken = rest.len().min(GROUP - group.filled);
        group.characters[group.filled..group.filled + taken].copy_from_slice(&rest[..taken]);
        group.filled += taken;
        if group.filled < GROUP {
            return taken;
        }
        group.filled = 0;
        let mut bytes = [0; 3];
        match BASE64_STANDARD.decode_slice(group.characters, &mut bytes) {
            Ok(count) => {
                let mut at = 0;
                while at < count {
                    at += self.step(&bytes[at..count]);
                }
            }
            Err(_) => group.is_broken = true,
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(flags: u8, length: usize) -> Vec<u8> {
        let mut message = vec![flags];
        message.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        message.resize(HEAD + length, 0x80);
        message
    }

    #[test]
    fn a_message_is_over_with_its_last_byte_and_not_before() {
        for length in [0, 1, 300] {
            for in_text in [false, true] {
                let message = message(0, length);
                let bytes = if in_text { BASE64_STANDARD.encode(message).into_bytes() } else { message };
                let mut messages = Messages::new(in_text);
                messages.pass(&bytes[..bytes.len() - 1]);
                assert!(!messages.is_between(), "{length} {in_text}");
                messages.pass(&bytes[bytes.len() - 1..]);
                assert!(messages.is_between() && !messages.have_ended(), "{length} {in_text}");
            }
        }
    }

    #[test]
    fn the_last_message_is_known_by_its_flag() {
        let mut messages = Messages::new(false);
        messages.pass(&message(1, 9));
        assert!(!messages.have_ended());
        let last = message(TRAILERS, 9);
        messages.pass(&last[..10]);
        assert!(!messages.have_ended());
        messages.pass(&last[10..]);
        assert!(messages.have_ended());
    }

    #[test]
    fn what_is_no_base64_never_ends() {
        let mut messages = Messages::new(true);
        messages.pass(b"AAAA!!!!");
        assert_eq!(messages.finish(b"AAAAAAAAAAA="), 12);
        assert!(!messages.is_between());
    }

    proptest! {
        #[test]
        fn however_bytes_are_split_the_messages_are_the_same(
            lengths in prop::collection::vec(0..200usize, 1..8),
            cuts in prop::collection::vec(0..2000usize, 0..8),
            in_text: bool,
        ) {
            // Each is encoded by itself, as those who speak it do.
            let bytes: Vec<u8> = lengths.iter().flat_map(|length| match in_text {
                true => BASE64_STANDARD.encode(message(0, *length)).into_bytes(),
                false => message(0, *length),
            }).collect();
            let mut whole = Messages::new(in_text);
            let (mut count, mut at) = (0, 0);
            while at < bytes.len() {
                at += whole.finish(&bytes[at..]);
                count += 1;
            }
            prop_assert_eq!(count, lengths.len());
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % bytes.len()).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut split = Messages::new(in_text);
            cuts.windows(2).for_each(|pair| split.pass(&bytes[pair[0]..pair[1]]));
            prop_assert!(split.is_between());
            prop_assert_eq!((whole.left, whole.filled), (split.left, split.filled));
        }
    }
}
