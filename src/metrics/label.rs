//! The closed sets that label values come from.
//!
//! Labels are bounded because they are these enums, a route's or an upstream's configured name, an
//! address that an upstream has now, or a name written in our own source: never an id, a path, a host or a method a client chose.

use crate::access::rejection::Code;

/// An enum whose variants are label values, countable by position.
macro_rules! labels {
    ($(#[$about:meta])* $name:ident { $($(#[$each:meta])* $variant:ident => $label:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$each])* $variant,)* }

        impl $name {
            /// In the order of their discriminants.
            pub const ALL: [Self; [$($label),*].len()] = [$(Self::$variant),*];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

/// What became of a request. A code belongs to exactly those that were turned back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Passed with an identity.
    Allowed,
    /// Passed on a route that asks for none.
    Public,
    /// Passed without a credential where one is optional.
    Anonymous,
    /// Passed because the route is in observe, which would have refused it.
    Observed(Code),
    /// Turned back before it reached the upstream.
    Refused(Code),
    /// Let pass, and then the gateway or the upstream failed it.
    Failed(Code),
}

impl Decision {
    pub(super) const COUNT: usize = 3 + 3 * Code::ALL.len();

    /// In the order of [`Decision::index`].
    pub(super) fn all() -> impl Iterator<Item = Self> {
        [Self::Allowed, Self::Public, Self::Anonymous]
            .into_iter()
            .chain(Code::ALL.map(Self::Refused))
            .chain(Code::ALL.map(Self::Failed))
            .chain(Code::ALL.map(Self::Observed))
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Allowed => 0,
            Self::Public => 1,
            Self::Anonymous => 2,
            Self::Refused(code) => 3 + code as usize,
            Self::Failed(code) => 3 + Code::ALL.len() + code as usize,
            Self::Observed(code) => 3 + 2 * Code::ALL.len() + code as usize,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Public => "public",
            Self::Anonymous => "anonymous",
            Self::Observed(_) => "observed",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }

    /// The rejection's code, or `ok`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Allowed | Self::Public | Self::Anonymous => "ok",
            Self::Observed(code) | Self::Refused(code) | Self::Failed(code) => code.as_str(),
        }
    }
}

labels! {
    /// Whose word about the credential the decision rests on.
    Verification {
        /// No credential was looked at.
        None => "none",
        /// Known already.
        Cache => "cache",
        /// A signature checked here.
        Local => "local",
        /// Stytch was asked, by this request or one it shared the call with.
        Stytch => "stytch",
        /// Stytch could not be asked, and `outage_grace` let an older word count.
        Stale => "stale",
    }
}

impl Verification {
    /// The label values of decision durations.
    pub(super) const SOURCES: [&str; 3] = ["cache", "local", "stytch"];

    /// The position in [`Verification::SOURCES`]. A stale word is one that Stytch was, or would
    /// have been, asked about.
    pub(super) const fn source(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Cache => Some(0),
            Self::Local => Some(1),
            Self::Stytch | Self::Stale => Some(2),
        }
    }
}

labels! {
    /// Why a token that could have been verified here had to be asked about.
    LocalFallback {
        /// Stytch's word in it is older than `max_staleness`.
        Stale => "stale",
        Expired => "expired",
        /// An event told of a change since.
        Changed => "changed",
    }
}

labels! {
    /// Why a client connection was not served, or not served on.
    ConnectionRefusal {
        /// `limits.connections` is reached.
        Limit => "limit",
        /// `limits.connections_per_address` is reached.
        AddressLimit => "address_limit",
        /// The head did not arrive in `timeouts.header`.
        HeaderTimeout => "header_timeout",
        MalformedHead => "malformed_head",
        /// Descriptors are short.
        Descriptors => "descriptors",
        /// No header of the PROXY protocol where there must be one, or a malformed one.
        ProxyHeader => "proxy_header",
        /// No TLS came about.
        TlsHandshake => "tls_handshake",
        /// More control frames or resets than anybody has a use for.
        Http2Flood => "http2_flood",
    }
}

labels! {
    /// How a client's TLS connection began.
    Handshake {
        Full => "full",
        /// With a ticket of an earlier one.
        Resumed => "resumed",
    }
}

labels! {
    /// Why a request that had begun was cut short.
    StreamEnd {
        /// Its session was ended.
        Revoked => "revoked",
        /// Its session or token came to its time.
        Expired => "expired",
        /// A rule says no by now.
        Forbidden => "forbidden",
        /// Stytch could not be asked, and its last word is too old.
        Unchecked => "unchecked",
        /// Nothing came or went for too long.
        Idle => "idle",
        /// The client sends or reads too slowly.
        Slow => "slow",
        /// The gateway stops.
        Drained => "drained",
    }
}

labels! {
    /// What an upstream made of a request.
    UpstreamOutcome {
        /// A 1xx answer that ends the exchange, such as 101.
        Informational => "1xx",
        Success => "2xx",
        Redirection => "3xx",
        ClientError => "4xx",
        ServerError => "5xx",
        Unreachable => "unreachable",
        Timeout => "timeout",
        /// Its answer was not HTTP, or broke off.
        Protocol => "protocol",
        /// The client left before it answered.
        Cancelled => "cancelled",
    }
}

impl From<http::StatusCode> for UpstreamOutcome {
    fn from(status: http::StatusCode) -> Self {
        match status.as_u16() {
            ..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

labels! {
    /// Whether a connection to an upstream carries a request.
    ConnectionState {
        Active => "active",
        Idle => "idle",
    }
}

labels! {
    /// How a call to Stytch ended.
    CallOutcome {
        Ok => "ok",
        /// Stytch says no to the credential.
        Refused => "refused",
        /// The session is good, and may not do what was asked about.
        NotPermitted => "not_permitted",
        /// 429.
        RateLimited => "rate_limited",
        /// Our own secret is not accepted.
        SecretRefused => "secret_refused",
        Timeout => "timeout",
        /// No connection, or a 5xx.
        Unavailable => "unavailable",
        /// An answer that is not Stytch's.
        Malformed => "malformed",
    }
}

impl From<&crate::stytch::Error> for CallOutcome {
    fn from(error: &crate::stytch::Error) -> Self {
        use crate::stytch::Error;
        match error {
            Error::Refused { .. } => Self::Refused,
            Error::NotPermitted { .. } => Self::NotPermitted,
            Error::OwnCredentials { .. } => Self::SecretRefused,
            Error::RateLimited { .. } => Self::RateLimited,
            Error::Timeout => Self::Timeout,
            Error::Transport(_) | Error::Request(_) => Self::Unavailable,
            Error::Status { status } if status.is_server_error() => Self::Unavailable,
            Error::Status { .. } | Error::Unexpected { .. } | Error::Body(_) | Error::Shape(_) => {
                Self::Malformed
            }
        }
    }
}

labels! {
    /// What became of an event that Stytch, or somebody in its name, sent.
    WebhookEvent {
        Taken => "taken",
        /// No session can be touched by it.
        Ignored => "ignored",
        /// The same delivery came before.
        Repeated => "repeated",
        /// Without a good signature or date.
        Refused => "refused",
        Malformed => "malformed",
        /// Of another project or vertical.
        Foreign => "foreign",
        /// There was no room to remember it.
        Full => "full",
    }
}

labels! {
    KeysFetch {
        Fetched => "fetched",
        Failed => "failed",
    }
}

labels! {
    ConfigReload {
        Applied => "applied",
        /// Invalid: the old configuration stays.
        Rejected => "rejected",
    }
}

labels! {
    /// What is written by a thread of its own.
    Log {
        Access => "access",
        Audit => "audit",
    }
}

labels! {
    /// Why lines of a log were lost.
    LogLoss {
        /// The writer did not keep up.
        QueueFull => "queue_full",
        /// The file or pipe did not take them.
        WriteFailed => "write_failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decision_has_its_own_place() {
        let places: Vec<usize> = Decision::all().map(Decision::index).collect();
        assert_eq!(places, (0..Decision::COUNT).collect::<Vec<_>>());
    }

    #[test]
    fn positions_are_discriminants() {
        assert!(Code::ALL.iter().enumerate().all(|(position, code)| *code as usize == position));
        assert!(UpstreamOutcome::ALL.iter().enumerate().all(|(position, each)| *each as usize == position));
    }

    #[test]
    fn an_upstreams_status_chooses_its_class() {
        for (status, class) in [(101, "1xx"), (204, "2xx"), (304, "3xx"), (499, "4xx"), (503, "5xx")] {
            let status = http::StatusCode::from_u16(status).unwrap();
            assert_eq!(UpstreamOutcome::from(status).as_str(), class);
        }
    }
}
