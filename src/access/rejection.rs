//! Why a request does not pass, and the only mapping from a reason to a status.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use crate::identity::Identity;

/// The stable names of DESIGN.md section 7: in the response, the log line and the metric alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    Unauthenticated,
    InvalidCredential,
    AmbiguousCredential,
    OrganizationNotAllowed,
    EmailDomainNotAllowed,
    RoleNotAllowed,
    PermissionDenied,
    ScopeMissing,
    ClaimMismatch,
    StepUpRequired,
    KindNotAllowed,
    ImpersonationNotAllowed,
    CrossSiteRequest,
    SpoofedIdentity,
    UntrustedCaller,
    StytchUnavailable,
    KeysUnavailable,
    NoRoute,
    BadRequest,
    AmbiguousPath,
    MethodNotAllowed,
    MisdirectedRequest,
    HeaderTooLarge,
    BodyTooLarge,
    RequestTimeout,
    LoopDetected,
    RateLimited,
    UpstreamUnreachable,
    UpstreamProtocol,
    UpstreamTimeout,
    NoHealthyUpstream,
    Overloaded,
}

impl Code {
    /// Whether signing in, to the right organization where there is one, may change the answer.
    #[must_use]
    pub const fn asks_for_sign_in(self) -> bool {
        matches!(self, Self::Unauthenticated | Self::InvalidCredential)
    }

    /// Whether authentication or a rule said so, rather than that the request is malformed or that
    /// nothing is there: what a route in observe lets pass.
    #[must_use]
    pub const fn is_of_access(self) -> bool {
        matches!(
            self,
            Self::Unauthenticated
                | Self::InvalidCredential
                | Self::AmbiguousCredential
                | Self::OrganizationNotAllowed
                | Self::EmailDomainNotAllowed
                | Self::RoleNotAllowed
                | Self::PermissionDenied
                | Self::ScopeMissing
                | Self::ClaimMismatch
                | Self::StepUpRequired
                | Self::KindNotAllowed
                | Self::ImpersonationNotAllowed
                | Self::CrossSiteRequest
                | Self::StytchUnavailable
                | Self::KeysUnavailable
        )
    }

    /// Whether the audit log tells of it: somebody came with a credential, or claimed to be somebody,
    /// and was turned back. That nobody has signed in yet is no news, and an outage says nothing of
    /// anybody.
    #[must_use]
    pub const fn is_audited(self) -> bool {
        match self {
            Self::Unauthenticated | Self::StytchUnavailable | Self::KeysUnavailable => false,
            Self::SpoofedIdentity | Self::UntrustedCaller | Self::RateLimited => true,
            other => other.is_of_access(),
        }
    }

    /// Every code, in the order of their discriminants; metrics count by position in it.
    pub const ALL: [Self; 32] = [
        Self::Unauthenticated,
        Self::InvalidCredential,
        Self::AmbiguousCredential,
        Self::OrganizationNotAllowed,
        Self::EmailDomainNotAllowed,
        Self::RoleNotAllowed,
        Self::PermissionDenied,
        Self::ScopeMissing,
        Self::ClaimMismatch,
        Self::StepUpRequired,
        Self::KindNotAllowed,
        Self::ImpersonationNotAllowed,
        Self::CrossSiteRequest,
        Self::SpoofedIdentity,
        Self::UntrustedCaller,
        Self::StytchUnavailable,
        Self::KeysUnavailable,
        Self::NoRoute,
        Self::BadRequest,
        Self::AmbiguousPath,
        Self::MethodNotAllowed,
        Self::MisdirectedRequest,
        Self::HeaderTooLarge,
        Self::BodyTooLarge,
        Self::RequestTimeout,
        Self::LoopDetected,
        Self::RateLimited,
        Self::UpstreamUnreachable,
        Self::UpstreamProtocol,
        Self::UpstreamTimeout,
        Self::NoHealthyUpstream,
        Self::Overloaded,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::InvalidCredential => "invalid_credential",
            Self::AmbiguousCredential => "ambiguous_credential",
            Self::OrganizationNotAllowed => "organization_not_allowed",
            Self::EmailDomainNotAllowed => "email_domain_not_allowed",
            Self::RoleNotAllowed => "role_not_allowed",
            Self::PermissionDenied => "permission_denied",
            Self::ScopeMissing => "scope_missing",
            Self::ClaimMismatch => "claim_mismatch",
            Self::StepUpRequired => "step_up_required",
            Self::KindNotAllowed => "kind_not_allowed",
            Self::ImpersonationNotAllowed => "impersonation_not_allowed",
            Self::CrossSiteRequest => "cross_site_request",
            Self::SpoofedIdentity => "spoofed_identity",
            Self::UntrustedCaller => "untrusted_caller",
            Self::StytchUnavailable => "stytch_unavailable",
            Self::KeysUnavailable => "keys_unavailable",
            Self::NoRoute => "no_route",
            Self::BadRequest => "bad_request",
            Self::AmbiguousPath => "ambiguous_path",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::MisdirectedRequest => "misdirected_request",
            Self::HeaderTooLarge => "header_too_large",
            Self::BodyTooLarge => "body_too_large",
            Self::RequestTimeout => "request_timeout",
            Self::LoopDetected => "loop_detected",
            Self::RateLimited => "rate_limited",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamProtocol => "upstream_protocol",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::NoHealthyUpstream => "no_healthy_upstream",
            Self::Overloaded => "overloaded",
        }
    }

    /// No `_` arm: a new code must choose its status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated | Self::InvalidCredential | Self::AmbiguousCredential => {
                StatusCode::UNAUTHORIZED
            }
            Self::OrganizationNotAllowed
            | Self::EmailDomainNotAllowed
            | Self::RoleNotAllowed
            | Self::PermissionDenied
            | Self::ScopeMissing
            | Self::ClaimMismatch
            | Self::StepUpRequired
            | Self::KindNotAllowed
            | Self::ImpersonationNotAllowed
            | Self::CrossSiteRequest
            | Self::SpoofedIdentity
            | Self::UntrustedCaller => StatusCode::FORBIDDEN,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::BadRequest | Self::AmbiguousPath => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::MisdirectedRequest => StatusCode::MISDIRECTED_REQUEST,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::LoopDetected => StatusCode::LOOP_DETECTED,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::UpstreamUnreachable | Self::UpstreamProtocol => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::StytchUnavailable | Self::KeysUnavailable | Self::NoHealthyUpstream | Self::Overloaded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The status for a proxy that only asks whether a request may pass. Such proxies tell three
    /// refusals apart, and nginx takes any other status for a failure of the asking (DESIGN.md
    /// section 8): sign in, no, and not now.
    #[must_use]
    pub const fn verdict(self) -> StatusCode {
        match self.status() {
            StatusCode::UNAUTHORIZED => StatusCode::UNAUTHORIZED,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::FORBIDDEN,
        }
    }

    /// One sentence a person who meets this answer can act on. It never says which check failed.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Unauthenticated => "Sign-in is required",
            Self::InvalidCredential => "The session is not valid; sign in again",
            Self::AmbiguousCredential => "The request carries credentials of different identities",
            Self::OrganizationNotAllowed => "Your organization has no access here",
            Self::EmailDomainNotAllowed => "Your e-mail address has no access here",
            Self::RoleNotAllowed => "Your role has no access here",
            Self::PermissionDenied => "You do not have the permission that is needed here",
            Self::ScopeMissing => "The token lacks a scope that is needed here",
            Self::ClaimMismatch => "Your account has no access here",
            Self::StepUpRequired => "Sign in again with a further or more recent factor",
            Self::KindNotAllowed => "This kind of credential is not accepted here",
            Self::ImpersonationNotAllowed => "Impersonated sessions are not accepted here",
            Self::CrossSiteRequest => "The request came from another site",
            Self::SpoofedIdentity => "The request carries a header that only the gateway may set",
            Self::UntrustedCaller => "Only a trusted proxy may ask this",
            Self::StytchUnavailable => "The session could not be checked; try again shortly",
            Self::KeysUnavailable => "Sessions cannot be checked yet; try again shortly",
            Self::NoRoute => "Nothing is served at this address",
            Self::BadRequest => "The request is malformed",
            Self::AmbiguousPath => "The path can be read in more than one way",
            Self::MethodNotAllowed => "This method is not allowed",
            Self::MisdirectedRequest => "This connection was made for another host",
            Self::HeaderTooLarge => "The request head is too large",
            Self::BodyTooLarge => "The request body is too large",
            Self::RequestTimeout => "The request came too slowly",
            Self::LoopDetected => "The request has passed this gateway before",
            Self::RateLimited => "Too many requests; slow down",
            Self::UpstreamUnreachable => "The application cannot be reached",
            Self::UpstreamProtocol => "The application gave an answer that is not HTTP",
            Self::UpstreamTimeout => "The application did not answer in time",
            Self::NoHealthyUpstream => "No healthy instance of the application is left",
            Self::Overloaded => "The gateway is at its limit; try again shortly",
        }
    }
}

/// A request that is turned back: the code everybody sees and the reason only the log sees.
#[derive(Debug, Clone)]
pub struct Rejection {
    pub code: Code,
    /// For the log. Never holds a credential.
    pub reason: &'static str,
    pub retry_after: Option<Duration>,
    /// Index of the route it was refused on, when one was found.
    pub route: Option<usize>,
    /// How to sign in so that it passes, with [`Code::StepUpRequired`].
    pub step_up: Option<Arc<StepUp>>,
    /// Whom a rule turned back.
    pub who: Option<Arc<Identity>>,
    /// Id or slug of the organization that the route is for, where signing in there could help.
    pub organization: Option<Box<str>>,
}

/// What a session lacks that its owner can give it by signing in again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StepUp {
    /// Types of factor, all of which are wanted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub factors: Vec<String>,
    /// Factors of two types are wanted.
    #[serde(skip_serializing_if = "is_false")]
    pub mfa: bool,
    /// Seconds that the newest factor may be old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_auth_age: Option<u64>,
    /// A device that was recognised is wanted.
    #[serde(skip_serializing_if = "is_false")]
    pub device: bool,
}

const fn is_false(so: &bool) -> bool {
    !*so
}

impl Rejection {
    #[cold]
    #[must_use]
    pub const fn new(code: Code, reason: &'static str) -> Self {
        Self { code, reason, retry_after: None, route: None, step_up: None, who: None, organization: None }
    }

    #[must_use]
    pub fn step_up(mut self, wanted: &Arc<StepUp>) -> Self {
        self.step_up = Some(Arc::clone(wanted));
        self
    }

    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    #[must_use]
    pub fn of(mut self, who: &Arc<Identity>) -> Self {
        self.who = Some(Arc::clone(who));
        self
    }

    #[must_use]
    pub const fn on_route(mut self, index: usize) -> Self {
        self.route = Some(index);
        self
    }

    #[must_use]
    pub fn for_organization(mut self, organization: Option<&str>) -> Self {
        self.organization = organization.map(Box::from);
        self
    }
}
