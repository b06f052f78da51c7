//! Why an upstream gave no response, and what that says of the request.
//!
//! What holds: a request counts as not processed only where that is certain.

use std::error::Error as _;
use std::io::ErrorKind;

use super::http1;
use crate::metrics::UpstreamOutcome;

/// What went wrong on a connection to an upstream.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Http1(#[from] http1::Error),
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

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
    Silent(#[source] Error),
    /// The upstream, or what became of its connection, says that nobody has looked at the request.
    #[error("the request was not processed")]
    Unprocessed(#[source] Error),
    #[error("the exchange broke off")]
    Exchange(#[source] Error),
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
            Self::Silent(error) | Self::Exchange(error) if error.is_malformed() || error.is_incomplete() => {
                Some(UpstreamOutcome::Protocol)
            }
            Self::Silent(_) | Self::Exchange(_) => Some(UpstreamOutcome::Unreachable),
        }
    }
}

impl Error {
    /// The connection turned out dead: not a byte of an answer came.
    pub(super) fn gave_no_answer(&self) -> bool {
        let is_gone = match self {
            Self::Http1(error) => matches!(error, http1::Error::Incomplete),
            Self::Http2(error) => error.is_incomplete_message() || error.is_canceled(),
        };
        is_gone || matches!(self.io_kind(), Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
    }

    /// Whether an HTTP/2 upstream has said that it did not look at a request (RFC 9113 section 8.7):
    /// the stream was refused, or came after the last one that a connection about to end will answer.
    pub(super) fn was_not_processed(&self) -> bool {
        let Some(error) = self.of_http2() else { return false };
        let reason = error.reason();
        reason == Some(h2::Reason::REFUSED_STREAM)
            || error.is_go_away() && error.is_remote() && reason == Some(h2::Reason::NO_ERROR)
    }

    /// Whether a response came that is none.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        let is_none = match self {
            Self::Http1(error) => matches!(error, http1::Error::Malformed(_)),
            Self::Http2(error) => error.is_parse(),
        };
        is_none
            || self.io_kind() == Some(ErrorKind::InvalidData)
            || self.of_http2().is_some_and(|error| !error.is_io())
    }

    /// Whether the connection ended before the response did.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        match self {
            Self::Http1(error) => matches!(error, http1::Error::Incomplete),
            Self::Http2(error) => error.is_incomplete_message(),
        }
    }

    /// Whether it was the request's own body that broke off.
    #[must_use]
    pub const fn is_of_the_request(&self) -> bool {
        matches!(self, Self::Http1(http1::Error::Body(_)))
    }

    fn of_http2(&self) -> Option<&h2::Error> {
        let Self::Http2(error) = self else { return None };
        error.source()?.downcast_ref()
    }

    /// None for an alert of TLS, by which an upstream turns down the certificate it is presented.
    fn io_kind(&self) -> Option<ErrorKind> {
        let error = match self {
            Self::Http1(http1::Error::Io(error)) => error,
            Self::Http1(_) => return None,
            Self::Http2(error) => match self.of_http2() {
                Some(error) => error.get_io()?,
                None => error.source()?.downcast_ref()?,
            },
        };
        let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        (!is_tls).then(|| error.kind())
    }
}
