"""Stytch's Python SDK signs Consumer users in."""

import pytest
from conftest import CALLBACK, CHALLENGE, VERIFIER, totp
from stytch import Client
from stytch.consumer.models.sessions import AuthorizationCheck
from stytch.core.response_base import StytchError
from stytch.shared.rbac_local import RBACConsumerPermissionError


@pytest.fixture
def stytch(emulator):
    return Client(**emulator.credentials())


def sign_in(stytch, emulator, address):
    sent = stytch.otps.email.login_or_create(email=address)
    return stytch.otps.authenticate(
        method_id=sent.email_id, code=emulator.code(address), session_duration_minutes=60
    )


def test_sign_in_authenticate_list_and_revoke(stytch, emulator):
    signed_in = sign_in(stytch, emulator, "uma@example.com")
    seen = stytch.sessions.authenticate(session_token=signed_in.session_token)
    assert seen.user.emails[0].email == "uma@example.com"
    listed = stytch.sessions.get(user_id=seen.user.user_id)
    assert seen.session.session_id in [one.session_id for one in listed.sessions]
    assert stytch.users.get(user_id=seen.user.user_id).status == "active"
    stytch.sessions.revoke(session_id=seen.session.session_id)
    with pytest.raises(StytchError) as error:
        stytch.sessions.authenticate(session_jwt=seen.session_jwt)
    assert error.value.details.error_type == "session_not_found"


def test_a_jwt_is_verified_locally_and_its_roles_checked(stytch, emulator):
    jwt = sign_in(stytch, emulator, "vic@example.com").session_jwt
    before = emulator.calls("/v1/sessions/authenticate")
    check = AuthorizationCheck(resource_id="documents", action="read")
    session = stytch.sessions.authenticate_jwt_local(jwt, authorization_check=check)
    assert session.roles == ["stytch_user"]
    with pytest.raises(RBACConsumerPermissionError):
        check = AuthorizationCheck(resource_id="documents", action="write")
        stytch.sessions.authenticate_jwt_local(jwt, authorization_check=check)
    assert emulator.calls("/v1/sessions/authenticate") == before


def test_an_unknown_number_is_created(stytch, emulator):
    sent = stytch.otps.sms.login_or_create(phone_number="+15005550150")
    signed_in = stytch.otps.authenticate(
        method_id=sent.phone_id, code=emulator.code("+15005550150"), session_duration_minutes=5
    )
    assert signed_in.user.phone_numbers[0].verified


def test_wrong_credentials_are_refused(emulator):
    stytch = Client(**{**emulator.credentials(), "secret": "secret-test-wrong"})
    with pytest.raises(StytchError) as error:
        stytch.otps.email.login_or_create(email="uma@example.com")
    assert error.value.details.error_type == "unauthorized_credentials"


def test_magic_links_and_oauth(stytch, emulator):
    stytch.magic_links.email.login_or_create(
        "uma@example.com", login_magic_link_url=CALLBACK, code_challenge=CHALLENGE
    )
    link = emulator.link("uma@example.com")
    signed_in = stytch.magic_links.authenticate(
        link["token"], code_verifier=VERIFIER, session_duration_minutes=5
    )
    assert signed_in.user.emails[0].email == "uma@example.com"
    told = emulator.visit("/v1/public/oauth/github/start", public_token=emulator.public_token,
                          login_redirect_url=CALLBACK, code_challenge=CHALLENGE, **{"as": "uma@example.com"})
    signed_in = stytch.oauth.authenticate(told["token"], code_verifier=VERIFIER, session_duration_minutes=5)
    assert signed_in.provider_type == "GitHub"
    assert signed_in.user_session.authentication_factors[0].delivery_method == "oauth_github"
    assert signed_in.provider_values.access_token


def test_an_authenticator_app(stytch, emulator):
    user_id = sign_in(stytch, emulator, "uma@example.com").user_id
    made = stytch.totps.create(user_id)
    signed_in = stytch.totps.authenticate(user_id, totp(made.secret), session_duration_minutes=5)
    assert signed_in.totp_id == made.totp_id
    recovered = stytch.totps.recover(user_id, made.recovery_codes[0], session_duration_minutes=5)
    assert recovered.session.authentication_factors[0].type == "recovery_codes"
