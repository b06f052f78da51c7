//! Why a call to Stytch gave no answer: refused, misconfigured, or not to be had.

use std::time::Duration;

use http::StatusCode;

use super::types::{ErrorBody, Verdict};

type Boxed = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Stytch says no to the credential itself. The only kind that is a refusal.
    #[error("Stytch refused the credential: {error_type}")]
    Refused { error_type: String },
    /// The session is good, and may not do what was asked about.
    #[error("Stytch does not permit what was asked: {error_type}")]
    NotPermitted { error_type: String },
    /// Our project id or secret is wrong: the operator's fault, not the caller's.
    #[error("Stytch refused this gateway's own project id or secret: {error_type}")]
    OwnCredentials { error_type: String },
    #[error("Stytch's rate limit is reached")]
    RateLimited { retry_after: Option<Duration> },
    #[error("Stytch answered {status}")]
    Status { status: StatusCode },
    /// In Stytch's own form, but nothing that the call is known to answer with.
    #[error("Stytch answered {status}: {error_type}")]
    Unexpected { status: StatusCode, error_type: String },
    #[error("no answer from Stytch within stytch.timeout")]
    Timeout,
    #[error("the connection to Stytch failed")]
    Transport(#[source] hyper_util::client::legacy::Error),
    #[error("Stytch's answer broke off or is too large")]
    Body(#[source] Boxed),
    #[error("the answer is not in Stytch's form")]
    Shape(#[source] serde_json::Error),
    #[error("the request to Stytch could not be built")]
    Request(#[source] http::Error),
}

/// Refusals of a session (REFERENCE.md section 8). A name that is not here is not understood, and
/// what is not understood is never a refusal.
pub(super) const OF_SESSIONS: [&str; 12] = [
    "session_not_found",
    "invalid_session_token",
    "unable_to_parse_session_jwt",
    "jwt_invalid_issuer",
    "jwt_invalid_audience",
    "jwt_invalid_claims",
    "user_unauthenticated",
    "user_not_found",
    "member_not_found",
    "organization_not_found",
    "incompatible_session_type",
    // Of introspection: the token's app is gone, or is one that Stytch talks to with its own secret
    // alone. In either case no answer about the token is ever to be had.
    "invalid_client",
];

/// The answers of an authorization check that failed (REFERENCE.md section 8).
const NOT_PERMITTED: [&str; 3] = [
    "session_authorization_error",
    "session_authorization_tenancy_error",
    "consumer_session_authorization_error",
];

/// Refusals of what a person proves, or has not proved yet, when signing in (REFERENCE.md section 8).
pub(super) const OF_SIGN_IN: [&str; 61] = [
    "action_available_only_once_primary_authentication_is_met",
    "action_not_allowed_email_domain_is_claimed",
    "active_totp_exists",
    "email_in_denylist",
    "email_jit_provisioning_not_allowed",
    "email_not_found",
    "email_not_in_allowlist",
    "expired_totp",
    "inactive_email",
    "insufficient_factors",
    "insufficient_factors_for_session_exchange",
    "intermediate_session_not_found",
    "invalid_code",
    "invalid_email",
    "invalid_email_domain",
    "invalid_email_for_jit_provisioning",
    "invalid_intermediate_session_token_for_organization",
    "invalid_method_id",
    "invalid_oauth_tenant_for_jit_provisioning",
    "invalid_organization_name",
    "invalid_organization_slug",
    "invalid_phone_number",
    "invalid_phone_number_country_code",
    "invalid_recovery_code",
    "invalid_session_token",
    "invalid_totp_code",
    "magic_link_not_found",
    "member_not_found",
    "member_phone_number_not_found",
    "no_active_recovery_code_backed_factor",
    "oauth_tenant_jit_provisioning_not_allowed",
    "oauth_token_not_found",
    "oauth_unverified_email",
    "operation_restricted_by_organization_auth_methods",
    "operation_restricted_by_organization_mfa_methods",
    "organization_name_includes_banned_words",
    "organization_name_missing",
    "organization_not_found",
    "organization_slug_already_used",
    "otp_code_not_found",
    "pending_totp_exists",
    "phone_number_not_found",
    "pkce_did_not_expect_code_verifier",
    "pkce_expected_code_verifier",
    "pkce_mismatch",
    "recovery_code_used_as_totp_code",
    "recovery_codes_not_found",
    "retired_member_email",
    "session_not_found",
    "sso_connection_not_found",
    "sso_token_not_found",
    "totp_code_already_authenticated",
    "totp_code_used_as_recovery_code",
    "totp_not_found",
    "unable_to_auth_magic_link",
    "unable_to_auth_otp_code",
    "unable_to_authenticate_recovery_code",
    "unable_to_authenticate_totp",
    "unable_to_parse_session_jwt",
    "unsubscribed_phone_number",
    "user_not_found",
];

const OWN_CREDENTIALS: [&str; 7] = [
    "unauthorized_credentials",
    "invalid_secret_authentication",
    "invalid_project_id_authentication",
    "invalid_project_id",
    "project_not_found",
    "unauthorized_project_id_live",
    "unauthorized_project_id_test",
];

impl Error {
    pub(super) fn from_answer(
        status: StatusCode,
        retry_after: Option<Duration>,
        body: Option<ErrorBody>,
        refusals: &[&str],
    ) -> Self {
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Self::RateLimited { retry_after };
        }
        match body {
            Some(body) if status.is_client_error() && body.status_code == status.as_u16() => {
                let known = |names: &[&str]| names.contains(&body.error_type.as_str());
                if known(refusals) {
                    Self::Refused { error_type: body.error_type }
                } else if known(&OWN_CREDENTIALS) {
                    Self::OwnCredentials { error_type: body.error_type }
                } else if known(&NOT_PERMITTED) {
                    Self::NotPermitted { error_type: body.error_type }
                } else {
                    Self::Unexpected { status, error_type: body.error_type }
                }
            }
            _ => Self::Status { status },
        }
    }
}

impl Error {
    /// Whether what was asked for does not exist: the object, or the call for this project.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::NotPermitted { .. } => true,
            Self::Unexpected { status, .. } => {
                matches!(*status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN)
            }
            Self::Status { status } => *status == StatusCode::NOT_FOUND,
            _ => false,
        }
    }
}

/// What came back to an authorization check. Without a verdict it was not made: that is no pass.
pub fn checked(verdict: Option<&Verdict>) -> Result<(), Error> {
    match verdict {
        Some(verdict) if verdict.authorized => Ok(()),
        Some(_) => Err(Error::NotPermitted { error_type: "not authorized".to_owned() }),
        None => Err(Error::Shape(serde::de::Error::custom("the verdict that was asked for is missing"))),
    }
}

/// An answer that lacks what it must have.
#[must_use]
pub fn incomplete() -> Error {
    Error::Shape(serde::de::Error::custom(
        "an id, a subject or an organization is missing, or another than was asked about",
    ))
}

/// Introspection has no error for a token that is over: it says so (RFC 7662 section 2.2).
#[must_use]
pub fn inactive() -> Error {
    Error::Refused { error_type: "inactive".to_owned() }
}
