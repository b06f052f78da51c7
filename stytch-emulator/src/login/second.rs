//! The second step of a member's sign-in, whichever factor it is.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Carried, LoginArguments, Outstanding, carried_factors, outstanding};
use crate::error::{ApiError, Refusal};
use crate::session::{Factor, Subject};
use crate::state::State;
use crate::world::{Member, MfaMethod};

/// The arguments that every second factor takes besides its own proof.
#[derive(Debug, Deserialize)]
pub(crate) struct SecondStep {
    organization_id: String,
    member_id: String,
    set_mfa_enrollment: Option<String>,
    set_default_mfa: Option<bool>,
    #[serde(flatten)]
    login: LoginArguments,
}

impl State {
    /// Who takes a second step, and what they have from the first.
    pub(crate) fn second_step(&mut self, request: &SecondStep) -> Result<(Member, Carried), Refusal> {
        let organization_id = self.world.organization(&request.organization_id)?.id.clone();
        let member = self.member_in(&organization_id, &request.member_id)?.clone();
        let carried = self.carried(&request.login)?;
        self.check_first_factor(&carried, &member)?;
        Ok((member, carried))
    }

    /// Whether the organization takes that second factor.
    pub(crate) fn check_second_factor(
        &self,
        organization_id: &str,
        method: MfaMethod,
    ) -> Result<(), Refusal> {
        let allowed = self.world.organization(organization_id)?.allows_second_factor(method);
        if allowed { Ok(()) } else { Err(Refusal::OperationRestrictedByOrganizationMfaMethods) }
    }

    /// Lets the member in, and remembers what they want for the next time.
    pub(crate) fn second_step_taken(
        &mut self,
        member: &Member,
        factor: Factor,
        method: Option<MfaMethod>,
        carried: Carried,
        request: SecondStep,
    ) -> Result<Map<String, Value>, ApiError> {
        let mfa = &mut self.world.member_mut(&member.id)?.mfa;
        match request.set_mfa_enrollment.as_deref() {
            Some("enroll") => mfa.enrolled = true,
            Some("unenroll") => mfa.enrolled = false,
            _ => {}
        }
        if request.set_default_mfa == Some(true) {
            mfa.default_method = method.or(mfa.default_method);
        }
        self.sign_in(&member.id, vec![factor], carried, request.login)
    }

    /// A second factor is worth something only to whoever has given the first that the organization
    /// wants.
    pub(crate) fn check_first_factor(&self, carried: &Carried, member: &Member) -> Result<(), Refusal> {
        match carried {
            Carried::Nothing => return Err(Refusal::NoSessionArguments),
            Carried::Session(session) if session.subject != Subject::Member(member.id.clone()) => {
                return Err(Refusal::MemberSessionMemberIdMismatch);
            }
            Carried::Session(_) => return Ok(()),
            Carried::Intermediate(_) => {}
        }
        let factors = &carried_factors(carried, member)?;
        let organization = self.world.organization(&member.organization_id)?;
        let primary = matches!(outstanding(member, organization, factors), Outstanding::Primary(_));
        if primary || factors.iter().all(Factor::is_second_step) {
            return Err(Refusal::ActionAvailableOnlyOncePrimaryAuthenticationIsMet);
        }
        Ok(())
    }
}
