//! Why an upstream gave no response, and what that says of the request.
//!
//! What holds: a request counts as not processed only where that is certain.

use std::error::Error as _;
use std::io::ErrorKind;

use crate::metrics::UpstreamOutcome;

/// Why an upstream gave no response.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("its name has no address")]
    NoAddress,
    #[error("every instance fails its health checks")]
    NoneHealthy,
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    #[error("no connection within timeouts.connect")]
    ConnectTimeout,
    #[error("no response within timeouts.response")]
    ResponseTimeout,
    #[error("as many connections as max_connections allows")]
    Full,
    /// The request went out on a pooled connection that turned out dead: not a byte came back. It
    /// may be sent again if it is idempotent.
    #[error("the pooled connection was dead")]
    DeadLink,
    /// The same on a new connection.
    #[error("the connection ended without a byte of an answer")]
    Silent(#[source] hyper::Error),
    /// The upstream, or what became of its connection, says that nobody has looked at the request.
    #[error("the request was not processed")]
    Unprocessed(#[source] hyper::Error),
    #[error("the exchange broke off")]
    Exchange(#[source] hyper::Error),
}

impl Failure {
    /// What is counted; none for a request that was never sent.
    pub(super) fn outcome(&self) -> Option<UpstreamOutcome> {
        match self {
            Self::Connect(_) | Self::ConnectTimeout | Self::DeadLink | Self::Unprocessed(_) => {
                Some(UpstreamOutcome::Unreachable)
            }
            Self::ResponseTimeout => Some(UpstreamOutcome::Timeout),
            Self::Full | Self::NoAddress | Self::NoneHealthy => None,
            Self::Silent(error) | Self::Exchange(error)
                if error.is_parse() || error.is_incomplete_message() =>
            {
                Some(UpstreamOutcome::Protocol)
            }
            Self::Silent(_) | Self::Exchange(_) => Some(UpstreamOutcome::Unreachable),
        }
    }
}

/// The connection turned out dead: not a byte of an answer came.
pub(super) fn gave_no_answer(error: &hyper::Error) -> bool {
    error.is_incomplete_message()
        || error.is_canceled()
        || matches!(io_kind(error), Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
}

/// Whether an HTTP/2 upstream has said that it did not look at a request (RFC 9113 section 8.7): the
/// stream was refused, or came after the last one that a connection about to end will answer.
pub(super) fn was_not_processed(error: &hyper::Error) -> bool {
    let Some(error) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else {
        return false;
    };
    let reason = error.reason();
    reason == Some(h2::Reason::REFUSED_STREAM)
        || error.is_go_away() && error.is_remote() && reason == Some(h2::Reason::NO_ERROR)
}

/// Whether a response came that is none.
#[must_use]
pub fn is_malformed(error: &hyper::Error) -> bool {
    let of_http2 = || {
        let source = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
        source.is_some_and(|error| !error.is_io())
    };
    error.is_parse() || io_kind(error) == Some(ErrorKind::InvalidData) || of_http2()
}

/// None for an alert of TLS, by which an upstream turns down the certificate it is presented.
fn io_kind(error: &hyper::Error) -> Option<ErrorKind> {
    let source = error.source()?;
    let error = match source.downcast_ref::<h2::Error>() {
        Some(error) => error.get_io()?,
        None => source.downcast_ref::<std::io::Error>()?,
    };
    let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    (!is_tls).then(|| error.kind())
}
