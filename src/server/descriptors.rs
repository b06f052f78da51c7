//! How many files the process may have open, and when new connections are turned away for it.
//!
//! What holds: whoever is turned away is told so, and what is open goes on: descriptors are kept back
//! for upstreams, logs and those who are turned away.

use std::os::fd::{AsRawFd, RawFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than any gateway uses; some systems set no limit at all.
const MOST: u64 = 1 << 20;
/// The part that is kept back, and its bounds.
const KEPT_BACK: u64 = 8;
const LEAST_KEPT_BACK: u64 = 8;
const MOST_KEPT_BACK: u64 = 1024;

/// Raises the limit to what the process may raise it to, as servers do: the usual one of 1024 is for
/// programs that wait with `select`.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(MOST).min(MOST);
    if limit.current.is_some_and(|current| current < wanted) {
        // Refused only where some policy forbids it; then the limit is what it was.
        let _refused = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit });
    }
}

/// The first descriptor that is kept back. The system always gives the lowest one that is free, so a
/// connection that was given it tells how many are open.
#[must_use]
pub fn kept_back_from() -> RawFd {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(MOST).min(MOST);
    let kept_back = (most / KEPT_BACK).clamp(LEAST_KEPT_BACK, MOST_KEPT_BACK);
    RawFd::try_from(most.saturating_sub(kept_back)).unwrap_or(RawFd::MAX)
}

/// Whether a connection got one of those that are kept back.
#[must_use]
pub fn are_short(connection: &impl AsRawFd, kept_back_from: RawFd) -> bool {
    connection.as_raw_fd() >= kept_back_from
}

/// Whether an error says that there are no more descriptors, here or in the whole system.
#[must_use]
pub fn is_shortage(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE]
        .map(Errno::raw_os_error)
        .iter()
        .any(|code| error.raw_os_error() == Some(*code))
}
