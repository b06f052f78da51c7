//! What the API refuses, and how it says so.
//!
//! [`Refusal`] is the closed list of reasons; one match gives each its name, status and message.
//! [`ApiError`] is a refusal on its way out, with the five fields every SDK expects. Where Stytch
//! is an OAuth 2 server its errors are an [`OAuth2Error`] instead.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::ids;

/// Why a call was turned down. Names are Stytch's `error_type`s in camel case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    ActionAvailableOnlyOncePrimaryAuthenticationIsMet,
    ActiveTotpExists,
    BadRequest,
    ConnectedAppNotFound,
    ConsumerSessionAuthorizationError,
    CustomClaimsTooLarge,
    EmailJitProvisioningNotAllowed,
    EmailNotFound,
    ExpiredTotp,
    InsufficientFactors,
    IntermediateSessionNotFound,
    InternalServerError,
    InvalidCode,
    InvalidEmail,
    InvalidExpiration,
    InvalidExpirationOtp,
    InvalidIntermediateSessionTokenForOrganization,
    InvalidMemberGetFields,
    InvalidMethodId,
    InvalidOauthProvider,
    InvalidOrganizationName,
    InvalidOrganizationSlug,
    InvalidPhoneNumber,
    InvalidPkceCodeChallenge,
    InvalidSessionDurationMinutes,
    InvalidSessionToken,
    InvalidTotpCode,
    JwtInvalidAudience,
    JwtInvalidClaims,
    JwtInvalidIssuer,
    MagicLinkNotFound,
    MemberNotFound,
    MemberPhoneNumberNotFound,
    MemberSessionMemberIdMismatch,
    MethodNotAllowed,
    MissingOauthOrganizationLocator,
    NoMatchForProvidedMagicLinkUrl,
    NoMatchForProvidedOauthUrl,
    NoMatchForProvidedSsoUrl,
    NoSessionArguments,
    NoSessionRevokeArguments,
    OauthTokenNotFound,
    OperationRestrictedByOrganizationMfaMethods,
    OrganizationNotFound,
    OrganizationSlugAlreadyUsed,
    OtpCodeNotFound,
    PhoneNumberNotFound,
    PkceDidNotExpectCodeVerifier,
    PkceExpectedCodeVerifier,
    PkceMismatch,
    ProjectNotFound,
    PublicTokenNotFound,
    PublicTokenRequired,
    RecoveryCodesNotFound,
    ReservedClaimsInCustomClaims,
    RouteNotFound,
    SessionAuthorizationError,
    SessionAuthorizationTenancyError,
    SessionNotFound,
    SsoConnectionNotFound,
    SsoTokenNotFound,
    StytchClaimsInCustomClaims,
    TooManyOauthOrganizationLocators,
    TooManyRequests,
    TooManySessionArguments,
    TooManySessionRevokeArguments,
    TotpCodeAlreadyAuthenticated,
    TotpNotFound,
    UnableToAuthenticateRecoveryCode,
    UnableToAuthenticateTotp,
    UnableToAuthMagicLink,
    UnableToAuthOtpCode,
    UnableToParseSessionJwt,
    UnauthorizedCredentials,
    UserNotFound,
}

impl Refusal {
    pub(crate) fn message(self) -> &'static str {
        self.facts().2
    }

    /// The only place where a reason becomes a status. Messages are Stytch's where a source shows
    /// them; the rest are ours, because SDKs and gateways must not depend on them anyway.
    #[rustfmt::skip]
    fn facts(self) -> (StatusCode, &'static str, &'static str) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
        const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
        const ABSENT: StatusCode = StatusCode::NOT_FOUND;
        match self {
            Self::ActionAvailableOnlyOncePrimaryAuthenticationIsMet => (BAD, "action_available_only_once_primary_authentication_is_met", "You must complete the primary authentication requirements for an organization before completing an MFA flow."),
            Self::ActiveTotpExists => (BAD, "active_totp_exists", "There is an authenticator app in use already."),
            Self::BadRequest => (BAD, "bad_request", "The request could not be read."),
            Self::ConnectedAppNotFound => (ABSENT, "connected_app_not_found", "Connected App could not be found."),
            Self::ConsumerSessionAuthorizationError => (FORBIDDEN, "consumer_session_authorization_error", "The User is not authorized to perform the requested action on that resource."),
            Self::CustomClaimsTooLarge => (BAD, "custom_claims_too_large", "Custom claims may take 4 KB at most."),
            Self::EmailJitProvisioningNotAllowed => (FORBIDDEN, "email_jit_provisioning_not_allowed", "This address may not join the organization by its domain."),
            Self::EmailNotFound => (ABSENT, "email_not_found", "Email could not be found."),
            Self::ExpiredTotp => (BAD, "expired_totp", "The registration was not completed in time."),
            Self::InsufficientFactors => (FORBIDDEN, "insufficient_factors", "The member's second factor has to be used first."),
            Self::IntermediateSessionNotFound => (ABSENT, "intermediate_session_not_found", "Intermediate session could not be found."),
            Self::InternalServerError => (StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error", "Oops, something seems to have gone wrong, please reach out to support@stytch.com to let us know what went wrong."),
            Self::InvalidCode => (BAD, "invalid_code", "Code format is invalid."),
            Self::InvalidEmail => (BAD, "invalid_email", "Email format is invalid."),
            Self::InvalidExpiration => (BAD, "invalid_expiration", "The link cannot be given that lifetime."),
            Self::InvalidExpirationOtp => (BAD, "invalid_expiration_otp", "The passcode cannot be given that lifetime."),
            Self::InvalidIntermediateSessionTokenForOrganization => (BAD, "invalid_intermediate_session_token_for_organization", "The intermediate session belongs to another organization."),
            Self::InvalidMemberGetFields => (BAD, "invalid_member_get_fields", "Give either member_id or email_address."),
            Self::InvalidMethodId => (BAD, "invalid_method_id", "method_id format is invalid."),
            Self::InvalidOauthProvider => (BAD, "invalid_oauth_provider", "There is no such provider here."),
            Self::InvalidOrganizationName => (BAD, "invalid_organization_name", "A name has 1 to 128 characters."),
            Self::InvalidOrganizationSlug => (BAD, "invalid_organization_slug", "A slug has 2 to 128 letters, digits or any of - . _ ~"),
            Self::InvalidPhoneNumber => (BAD, "invalid_phone_number", "Phone number format is invalid: write it as E.164."),
            Self::InvalidPkceCodeChallenge => (BAD, "invalid_pkce_code_challenge", "A code challenge is a SHA-256 hash in base64url."),
            Self::InvalidSessionDurationMinutes => (BAD, "invalid_session_duration_minutes", "session_duration_minutes is invalid, should be between 5 to 527040 minutes."),
            Self::InvalidSessionToken => (BAD, "invalid_session_token", "Session token format is invalid."),
            Self::InvalidTotpCode => (BAD, "invalid_totp_code", "Code format is invalid."),
            Self::JwtInvalidAudience => (BAD, "jwt_invalid_audience", "The session JWT is meant for another project."),
            Self::JwtInvalidClaims => (BAD, "jwt_invalid_claims", "The JWT does not carry a session."),
            Self::JwtInvalidIssuer => (BAD, "jwt_invalid_issuer", "The session JWT was issued by someone else."),
            Self::MagicLinkNotFound => (ABSENT, "magic_link_not_found", "The magic link could not be authenticated, try sending another magic link to the user."),
            Self::MemberNotFound => (ABSENT, "member_not_found", "Member could not be found."),
            Self::MemberPhoneNumberNotFound => (ABSENT, "member_phone_number_not_found", "The member has no phone number."),
            Self::MemberSessionMemberIdMismatch => (BAD, "member_session_member_id_mismatch", "The session belongs to another member."),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This route does not take that method."),
            Self::MissingOauthOrganizationLocator => (BAD, "missing_oauth_organization_locator", "Give an organization_id or a slug."),
            Self::NoMatchForProvidedMagicLinkUrl => (BAD, "no_match_for_provided_magic_link_url", "The URL is not among the project's redirect URLs."),
            Self::NoMatchForProvidedOauthUrl => (BAD, "no_match_for_provided_oauth_url", "The URL is not among the project's redirect URLs."),
            Self::NoMatchForProvidedSsoUrl => (BAD, "no_match_for_provided_sso_url", "The URL is not among the project's redirect URLs."),
            Self::NoSessionArguments => (BAD, "no_session_arguments", "Give a session_token or a session_jwt."),
            Self::NoSessionRevokeArguments => (BAD, "no_session_revoke_arguments", "Say which session to revoke."),
            Self::OauthTokenNotFound => (BAD, "oauth_token_not_found", "The OAuth token could not be found."),
            Self::OperationRestrictedByOrganizationMfaMethods => (FORBIDDEN, "operation_restricted_by_organization_mfa_methods", "The organization does not take that second factor."),
            Self::OrganizationNotFound => (ABSENT, "organization_not_found", "Organization could not be found."),
            Self::OrganizationSlugAlreadyUsed => (BAD, "organization_slug_already_used", "Another organization has that slug."),
            Self::OtpCodeNotFound => (ABSENT, "otp_code_not_found", "The passcode provided was incorrect and could not be authenticated."),
            Self::PhoneNumberNotFound => (ABSENT, "phone_number_not_found", "Phone number could not be found."),
            Self::PkceDidNotExpectCodeVerifier => (BAD, "pkce_did_not_expect_code_verifier", "This flow was started without a code_challenge, so there is no code_verifier to it."),
            Self::PkceExpectedCodeVerifier => (BAD, "pkce_expected_code_verifier", "This flow was started using a code_challenge but the authentication call is missing the corresponding code_verifier."),
            Self::PkceMismatch => (BAD, "pkce_mismatch", "The submitted code_verifier does not match the code_challenge sent at the start of the flow."),
            Self::ProjectNotFound => (ABSENT, "project_not_found", "Project could not be found."),
            Self::PublicTokenNotFound => (ABSENT, "public_token_not_found", "No project has that public token."),
            Self::PublicTokenRequired => (BAD, "public_token_required", "Give the project's public_token."),
            Self::RecoveryCodesNotFound => (ABSENT, "recovery_codes_not_found", "Recovery codes could not be found."),
            Self::ReservedClaimsInCustomClaims => (BAD, "reserved_claims_in_custom_claims", "Custom claims may not use a registered claim's name."),
            Self::RouteNotFound => (ABSENT, "route_not_found", "The requested route could not be found."),
            Self::SessionAuthorizationError => (FORBIDDEN, "session_authorization_error", "The Member is not authorized to perform the requested action on that resource."),
            Self::SessionAuthorizationTenancyError => (FORBIDDEN, "session_authorization_tenancy_error", "OrganizationID in AuthorizationCheck request does not match session's Organization ID"),
            Self::SessionNotFound => (ABSENT, "session_not_found", "Session could not be found."),
            Self::SsoConnectionNotFound => (ABSENT, "sso_connection_not_found", "SSO connection could not be found."),
            Self::SsoTokenNotFound => (ABSENT, "sso_token_not_found", "The SSO token could not be found."),
            Self::StytchClaimsInCustomClaims => (BAD, "stytch_claims_in_custom_claims", "Custom claims may not begin with https://stytch.com/."),
            Self::TooManyOauthOrganizationLocators => (BAD, "too_many_oauth_organization_locators", "Give an organization_id or a slug, not both."),
            Self::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests have been made."),
            Self::TooManySessionArguments => (BAD, "too_many_session_arguments", "Please include at most one of session_token, session_jwt, or intermediate_session_token in an authenticate request, not multiple."),
            Self::TooManySessionRevokeArguments => (BAD, "too_many_session_revoke_arguments", "Say in one way only which session to revoke."),
            Self::TotpCodeAlreadyAuthenticated => (BAD, "totp_code_already_authenticated", "This TOTP code has already been authenticated. Please attempt with the next generated code."),
            Self::TotpNotFound => (ABSENT, "totp_not_found", "TOTP could not be found."),
            Self::UnableToAuthenticateRecoveryCode => (UNAUTHORIZED, "unable_to_authenticate_recovery_code", "The recovery code could not be authenticated."),
            Self::UnableToAuthenticateTotp => (UNAUTHORIZED, "unable_to_authenticate_totp", "The TOTP code could not be authenticated."),
            Self::UnableToAuthMagicLink => (UNAUTHORIZED, "unable_to_auth_magic_link", "The magic link could not be authenticated because it was either already used or expired. Send another magic link to this user."),
            Self::UnableToAuthOtpCode => (UNAUTHORIZED, "unable_to_auth_otp_code", "The passcode could not be authenticated because it was either already used or expired. Send another passcode to this user."),
            Self::UnableToParseSessionJwt => (BAD, "unable_to_parse_session_jwt", "The session JWT could not be read or its signature is not ours."),
            Self::UnauthorizedCredentials => (UNAUTHORIZED, "unauthorized_credentials", "Unauthorized credentials."),
            Self::UserNotFound => (ABSENT, "user_not_found", "User could not be found."),
        }
    }
}

/// A refusal, perhaps with a message that says more than the usual one.
#[derive(Debug)]
pub(crate) struct ApiError {
    refusal: Refusal,
    message: Option<String>,
}

impl ApiError {
    pub(crate) fn explained(refusal: Refusal, message: impl Into<String>) -> Self {
        Self { refusal, message: Some(message.into()) }
    }

    /// An error for a status that somebody ordered rather than one that came about.
    pub(crate) fn body_for(status: StatusCode) -> Value {
        let refusal = match status.as_u16() {
            401 => Refusal::UnauthorizedCredentials,
            403 => Refusal::SessionAuthorizationError,
            404 => Refusal::SessionNotFound,
            429 => Refusal::TooManyRequests,
            400..=499 => Refusal::BadRequest,
            _ => Refusal::InternalServerError,
        };
        let (_, name, message) = refusal.facts();
        error_body(status, name, message)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, message: None }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, name, usual) = self.refusal.facts();
        let message = self.message.as_deref().unwrap_or(usual);
        (status, Json(error_body(status, name, message))).into_response()
    }
}

/// A refusal in the words of RFC 6749, section 5.2.
#[derive(Debug)]
pub(crate) struct OAuth2Error {
    status: StatusCode,
    pub(crate) name: &'static str,
    pub(crate) description: String,
}

impl OAuth2Error {
    pub(crate) fn new(name: &'static str, description: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, name, description: description.into() }
    }

    pub(crate) fn invalid_request(description: impl Into<String>) -> Self {
        Self::new("invalid_request", description)
    }

    /// Stytch answers 400 even where the RFC would have 401.
    pub(crate) fn invalid_client() -> Self {
        Self::new("invalid_client", "no client has that id and that secret")
    }

    /// RFC 6750, section 3.1.
    pub(crate) fn invalid_token() -> Self {
        let error = Self::new("invalid_token", "the access token is missing, expired or revoked");
        Self { status: StatusCode::UNAUTHORIZED, ..error }
    }

    pub(crate) fn unknown_project() -> Self {
        Self { status: StatusCode::NOT_FOUND, ..Self::invalid_request("no project has that id") }
    }
}

impl IntoResponse for OAuth2Error {
    fn into_response(self) -> Response {
        let body = json!({
            "status_code": self.status.as_u16(),
            "request_id": ids::fresh("request-id"),
            "error": self.name,
            "error_description": self.description,
            "error_uri": "https://datatracker.ietf.org/doc/html/rfc6749#section-5.2",
        });
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

fn error_body(status: StatusCode, name: &str, message: &str) -> Value {
    let status = status.as_u16();
    json!({
        "status_code": status,
        "request_id": ids::fresh("request-id"),
        "error_type": name,
        "error_message": message,
        "error_url": format!("https://stytch.com/docs/api/errors/{status}#{name}"),
    })
}
