//! What was read from a socket and not taken yet.
//!
//! What holds: memory is held only while something is unread; what is short is read through one piece
//! of memory that all connections of a worker share, since of all of them one has its turn, and
//! memory that was used last is still in the cache.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

/// Bytes read at a stroke. What a stalled reader can pin is a few of these (see ARCHITECTURE.md, Memory).
/// Whole pages: the kernel copies what it gets where it left off, and from or
/// to an odd place three times as slowly.
pub const READ_SIZE: usize = 32 * 1024;

/// What is read at a stroke from here on is a long body, and is not worth copying.
const LONG: usize = READ_SIZE / 4;

/// See the module.
#[derive(Debug, Default)]
pub struct Intake {
    pub held: BytesMut,
    is_long: bool,
}

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into());
}

impl Intake {
    /// With what was read before.
    #[must_use]
    pub fn with(held: &[u8]) -> Self {
        Self { held: BytesMut::from(held), is_long: false }
    }

    /// Reads more into what is held. Zero bytes are the end of the connection.
    pub fn poll_fill(
        &mut self,
        stream: Pin<&mut impl AsyncRead>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let filled = if self.is_long {
            self.held.reserve(READ_SIZE);
            poll_read_buf(stream, cx, &mut self.held)
        } else {
            READ.with_borrow_mut(|read| {
                let mut read = ReadBuf::new(read);
                ready!(stream.poll_read(cx, &mut read))?;
                // The allocator has powers of two at hand; what lies between is cut out of more.
                if !read.filled().is_empty() {
                    self.held.reserve(read.filled().len().next_power_of_two());
                }
                self.held.extend_from_slice(read.filled());
                Poll::Ready(Ok(read.filled().len()))
            })
        };
        match &filled {
            Poll::Ready(Ok(bytes)) => self.is_long = *bytes >= LONG,
            Poll::Pending if self.held.is_empty() => self.held = BytesMut::new(),
            _ => {}
        }
        filled
    }

    /// Gives the memory back when nothing is held.
    pub fn shrink(&mut self) {
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }
}
