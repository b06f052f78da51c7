"""Stytch's Python SDK signs members in."""

import pytest
from jwt.exceptions import PyJWKClientError
from stytch import B2BClient
from stytch.b2b.models.sessions import AuthorizationCheck
from stytch.core.response_base import StytchError
from stytch.shared.rbac_local import RBACPermissionError, TenancyError


@pytest.fixture
def stytch(emulator):
    return B2BClient(**emulator.credentials())


def sign_in(stytch, emulator, address, **extra):
    stytch.otps.email.login_or_signup(organization_id="acme", email_address=address)
    return stytch.otps.email.authenticate(
        organization_id="acme", email_address=address, code=emulator.code(address), **extra
    )


def test_sign_in_authenticate_list_and_revoke(stytch, emulator):
    signed_in = sign_in(stytch, emulator, "ana@acme.example", session_custom_claims={"plan": "pro"})
    assert signed_in.member_authenticated
    seen = stytch.sessions.authenticate(session_token=signed_in.session_token)
    assert seen.member_session.roles == ["stytch_member", "admin"]
    assert seen.member_session.custom_claims == {"plan": "pro"}
    listed = stytch.sessions.get(organization_id="acme", member_id=signed_in.member_id)
    assert seen.member_session.member_session_id in [one.member_session_id for one in listed.member_sessions]
    stytch.sessions.revoke(session_jwt=seen.session_jwt)
    with pytest.raises(StytchError) as error:
        stytch.sessions.authenticate(session_token=signed_in.session_token)
    assert error.value.details.error_type == "session_not_found"


def test_a_jwt_is_verified_locally(stytch, emulator):
    signed_in = sign_in(stytch, emulator, "ben@acme.example")
    before = emulator.calls("/v1/b2b/sessions/authenticate")
    session = stytch.sessions.authenticate_jwt_local(signed_in.session_jwt)
    assert session.member_id == signed_in.member_id
    assert session.organization_slug == "acme"
    assert emulator.calls("/v1/b2b/sessions/authenticate") == before


def test_roles_are_checked_locally(stytch, emulator):
    jwt = sign_in(stytch, emulator, "ben@acme.example").session_jwt

    def check(organization_id, resource, action):
        check = AuthorizationCheck(organization_id=organization_id, resource_id=resource, action=action)
        return stytch.sessions.authenticate_jwt_local(jwt, authorization_check=check)

    acme, globex = emulator.organization_id("acme"), emulator.organization_id("globex")
    assert check(acme, "documents", "write")
    with pytest.raises(RBACPermissionError):
        check(acme, "billing", "pay")
    with pytest.raises(TenancyError):
        check(globex, "documents", "write")


def test_roles_are_checked_remotely(stytch, emulator):
    jwt = sign_in(stytch, emulator, "ben@acme.example").session_jwt
    check = AuthorizationCheck(organization_id="acme", resource_id="documents", action="write")
    seen = stytch.sessions.authenticate(session_jwt=jwt, authorization_check=check)
    assert seen.verdict.granting_roles == ["editor"]
    check = AuthorizationCheck(organization_id="acme", resource_id="billing", action="pay")
    with pytest.raises(StytchError) as error:
        stytch.sessions.authenticate(session_jwt=jwt, authorization_check=check)
    assert error.value.details.status_code == 403


def test_a_foreign_jwt_is_refused(stytch, emulator):
    claims = {"iss": f"stytch.com/{emulator.project_id}", "aud": [emulator.project_id], "sub": "member-test-x"}
    token = emulator.control("POST", "tokens", {"claims": claims, "key": "foreign"})["token"]
    with pytest.raises(PyJWKClientError, match="Unable to find a signing key"):
        stytch.sessions.authenticate_jwt(token)


def test_discovery_and_a_second_factor(stytch, emulator):
    address = "cho@acme.example"
    stytch.otps.email.discovery.send(email_address=address)
    found = stytch.otps.email.discovery.authenticate(email_address=address, code=emulator.code(address))
    assert [one.organization.organization_slug for one in found.discovered_organizations] == ["acme"]
    first = stytch.discovery.intermediate_sessions.exchange(
        intermediate_session_token=found.intermediate_session_token, organization_id="acme"
    )
    assert not first.member_authenticated
    second = stytch.otps.sms.authenticate(
        organization_id="acme",
        member_id=first.member_id,
        code=emulator.code(first.mfa_required.member_options.mfa_phone_number),
        intermediate_session_token=first.intermediate_session_token,
    )
    assert len(second.member_session.authentication_factors) == 2
