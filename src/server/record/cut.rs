//! Why a request that has begun is cut short.

use crate::access::rejection::Code;
use crate::metrics::StreamEnd;

/// Why a request that was let pass is cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub why: StreamEnd,
    /// What a request that comes now would be told; none where it would pass.
    pub code: Option<Code>,
    /// For the log.
    pub reason: &'static str,
}

pub(super) const SLOW: Cut = Cut {
    why: StreamEnd::Slow,
    code: Some(Code::RequestTimeout),
    reason: "the client sends or reads too slowly",
};

pub(super) const STUCK: Cut = Cut {
    why: StreamEnd::Idle,
    code: Some(Code::UpstreamTimeout),
    reason: "nothing came or went within timeouts.idle",
};

/// What a sweep found that is to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    SlowHead,
    /// A request to be cut short.
    Stuck(Cut),
}
