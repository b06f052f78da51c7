"""Stytch's Python SDK signs members in."""

import pytest
from conftest import CALLBACK, CHALLENGE, VERIFIER, totp
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


def test_machines_get_tokens_that_are_verified_locally(stytch, emulator):
    (client,) = emulator.control("GET", "world")["m2m_clients"]
    issued = stytch.m2m.token(client["client_id"], client["client_secret"], ["read:reports"])
    assert issued.expires_in == 3600
    claims = stytch.m2m.authenticate_token(issued.access_token, required_scopes=["read:reports"])
    assert (claims.client_id, claims.scopes) == ("m2m-client-test-reports", ["read:reports"])
    assert stytch.m2m.authenticate_token(issued.access_token, required_scopes=["write:reports"]) is None


def test_an_app_gets_a_token_that_is_introspected(stytch, emulator):
    app = emulator.post("/v1/oauth2/register", redirect_uris=[CALLBACK], token_endpoint_auth_method="none")
    asked = {"response_type": "code", "client_id": app["client_id"], "scope": "openid email",
             "code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    at = f"/v1/public/{emulator.project_id}/oauth2"
    told = emulator.visit(f"{at}/authorize", **asked, **{"as": "ben@acme.example"})
    token = emulator.post(f"{at}/token", grant_type="authorization_code", code=told["code"],
                          client_id=app["client_id"], code_verifier=VERIFIER)["access_token"]
    for seen in [
        stytch.idp.introspect_access_token_local(token),
        stytch.idp.introspect_token_network(token, app["client_id"]),
    ]:
        assert (seen.scope, seen.organization_claim["slug"]) == ("openid email", "acme")
        assert seen.audience == [emulator.project_id]
    emulator.post(f"{at}/revoke", token=token, client_id=app["client_id"])
    assert stytch.idp.introspect_token_network(token, app["client_id"]) is None


def test_magic_links(stytch, emulator):
    address = "ana@acme.example"
    stytch.magic_links.email.login_or_signup(
        organization_id="acme", email_address=address, login_redirect_url=CALLBACK, pkce_code_challenge=CHALLENGE
    )
    link = emulator.link(address)
    assert link["stytch_token_type"] == "multi_tenant_magic_links"
    signed_in = stytch.magic_links.authenticate(link["token"], pkce_code_verifier=VERIFIER)
    assert signed_in.member_session.authentication_factors[0].type == "magic_link"
    stytch.magic_links.email.discovery.send(email_address=address, discovery_redirect_url=CALLBACK)
    found = stytch.magic_links.discovery.authenticate(emulator.link(address)["token"])
    assert len(found.discovered_organizations) == 2


def test_oauth_and_sso(stytch, emulator):
    who = {"public_token": emulator.public_token, "login_redirect_url": CALLBACK, "as": "ben@acme.example"}
    told = emulator.visit("/v1/b2b/public/oauth/google/start", slug="acme", pkce_code_challenge=CHALLENGE, **who)
    signed_in = stytch.oauth.authenticate(told["token"], pkce_code_verifier=VERIFIER)
    assert (signed_in.provider_type, signed_in.member_authenticated) == ("Google", True)
    told = emulator.visit("/v1/b2b/public/oauth/google/discovery/start", **who)
    found = stytch.oauth.discovery.authenticate(told["token"])
    assert found.email_address == "ben@acme.example"
    (connection,) = stytch.sso.get_connections("acme").saml_connections
    told = emulator.visit("/v1/public/sso/start", connection_id=connection.connection_id, **who)
    signed_in = stytch.sso.authenticate(told["token"])
    assert signed_in.member_session.authentication_factors[0].delivery_method == "sso_saml"


def test_an_authenticator_app_and_recovery_codes(stytch, emulator):
    first = sign_in(stytch, emulator, "ana@acme.example")
    who = {"organization_id": "acme", "member_id": first.member_id}
    made = stytch.totps.create(**who, session_token=first.session_token)
    second = stytch.totps.authenticate(**who, code=totp(made.secret), session_token=first.session_token)
    assert [one.type for one in second.member_session.authentication_factors] == ["email_otp", "totp"]
    assert stytch.recovery_codes.get(**who).recovery_codes == made.recovery_codes
    recovered = stytch.recovery_codes.recover(
        **who, recovery_code=made.recovery_codes[0], session_token=first.session_token
    )
    assert recovered.recovery_codes_remaining == 9
