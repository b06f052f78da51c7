"""An MCP client finds Stytch by itself: from a 401 to a tool's answer, with nothing configured but
the server's address."""

import json
import time
import urllib.parse

import anyio
import httpx2
import pytest
from conftest import call
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

CALLBACK = "http://127.0.0.1:8123/callback"


class Person:
    """Keeps an app's tokens, and consents in the browser's place."""

    def __init__(self, address, organization):
        self.who = {"as": address, "organization": organization}
        self.tokens, self.client_info, self.redirected, self.consents = None, None, None, 0

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client_info

    async def set_client_info(self, client_info):
        self.client_info = client_info

    async def consent(self, url):
        self.consents += 1
        async with httpx2.AsyncClient() as browser:
            answer = await browser.get(f"{url}&{urllib.parse.urlencode(self.who)}")
        assert answer.status_code == 302, answer.text
        self.redirected = answer.headers["location"]
        assert self.redirected.startswith(CALLBACK)

    async def callback(self):
        told = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.redirected).query))
        return AuthorizationCodeResult(code=told["code"], state=told["state"], iss=told.get("iss"))


@pytest.fixture
def person():
    return Person("ana@acme.example", "acme")


def asked(url, person, times=1):
    """What the server was told of the caller, each time the tool was called."""

    async def calls():
        app = OAuthClientMetadata(client_name="Assistant", redirect_uris=[CALLBACK],
                                  token_endpoint_auth_method="none",
                                  grant_types=["authorization_code", "refresh_token"])
        auth = OAuthClientProvider(url, app, person, person.consent, person.callback)
        async with httpx2.AsyncClient(auth=auth, timeout=30) as http:
            async with Client(streamable_http_client(url, http_client=http)) as client:
                results = [await client.call_tool("whoami", {}) for _ in range(times)]
        assert not any(result.is_error for result in results), results
        return [json.loads(result.content[0].text) for result in results]

    return anyio.run(calls)


def ids(emulator):
    world = emulator.control("GET", "world")
    organization = next(one for one in world["organizations"] if one["organization_slug"] == "acme")
    member = next(one for one in world["members"] if one["email_address"] == "ana@acme.example"
                  and one["organization_id"] == organization["organization_id"])
    return member["member_id"], organization["organization_id"]


def test_a_client_finds_stytch_and_the_server_learns_who_calls(emulator, gateway, person):
    emulator.control("DELETE", "requests")
    [identity] = asked(f"{gateway.url}/mcp", person)
    member_id, organization_id = ids(emulator)
    # The library adds offline_access where the server offers it.
    assert identity == {
        "x-stytch-client-id": person.client_info.client_id,
        "x-stytch-scopes": "openid,offline_access",
        "x-stytch-member-id": member_id,
        "x-stytch-organization-id": organization_id,
        "x-stytch-organization-slug": "acme",
    }
    assert person.consents == 1
    for step in ["/.well-known/oauth-authorization-server", "/oauth2/register", "/oauth2/authorize", "/oauth2/token"]:
        assert emulator.calls(step) == 1, step
    lines = gateway.lines(lambda lines: len(lines) > 2)
    assert (lines[0]["path"], lines[0]["code"]) == ("/mcp", "unauthenticated")
    assert (lines[1]["path"], lines[1]["status"]) == ("/.well-known/oauth-protected-resource/mcp", 200)
    assert {line["kind"] for line in lines[2:]} == {"connected_app"}


def test_a_client_asks_for_the_scope_that_is_missing(gateway, person):
    asked(f"{gateway.url}/mcp", person)
    [identity] = asked(f"{gateway.url}/mail/mcp", person)
    assert set(identity["x-stytch-scopes"].split(",")) == {"openid", "email", "offline_access"}
    assert person.consents == 2
    gateway.lines(lambda lines: "scope_missing" in {line["code"] for line in lines})


def test_a_revoked_token_is_out_and_the_client_asks_again(emulator, gateway, person):
    asked(f"{gateway.url}/mcp", person)
    form = {"token": person.tokens.access_token, "client_id": person.client_info.client_id}
    status, _, text = call(f"{emulator.url}/v1/oauth2/revoke", urllib.parse.urlencode(form).encode())
    assert status == 200, text
    # Stytch's last word may be that old and no older: see max_staleness.
    time.sleep(1.1)
    headers = {"Authorization": f"Bearer {person.tokens.access_token}"}
    status, told, text = call(f"{gateway.url}/mcp", b"{}", headers=headers)
    assert (status, json.loads(text)["code"]) == (401, "invalid_credential")
    assert 'error="invalid_token"' in told["WWW-Authenticate"]
    asked(f"{gateway.url}/mcp", person)
    assert person.consents == 2


def test_many_calls_cost_few_questions(emulator, gateway, person):
    asked(f"{gateway.url}/mcp", person)
    emulator.control("DELETE", "requests")
    began = time.monotonic()
    asked(f"{gateway.url}/mcp", person, times=20)
    # At most one question a second, and one more in the background.
    assert emulator.calls("/oauth2/introspect") <= 2 * (time.monotonic() - began) + 2


def test_other_kinds_stay_out_however_they_are_dressed(emulator, gateway):
    session = emulator.control("POST", "sessions", {
        "email": "ana@acme.example", "organization": "acme",
        "custom_claims": {"scope": "openid email", "client_id": "connected-app-test-1"},
    })
    machine = emulator.control("GET", "world")["m2m_clients"][0]
    form = {"grant_type": "client_credentials", "client_id": machine["client_id"],
            "client_secret": machine["client_secret"]}
    url = f"{emulator.url}/v1/public/{emulator.project_id}/oauth2/token"
    token = json.loads(call(url, urllib.parse.urlencode(form).encode())[2])["access_token"]

    def turned_away(path, credential):
        status, _, text = call(f"{gateway.url}{path}", b"{}", headers={"Authorization": f"Bearer {credential}"})
        return status, json.loads(text)["code"]

    assert turned_away("/mcp", session["session_jwt"]) == (403, "kind_not_allowed")
    assert turned_away("/machines/mcp", session["session_jwt"]) == (403, "kind_not_allowed")
    assert turned_away("/mcp", token) == (403, "kind_not_allowed")
    assert turned_away("/other", token) == (403, "kind_not_allowed")


def test_the_metadata_is_for_the_gateways_own_addresses(emulator, gateway):
    _, _, text = call(f"{gateway.url}/.well-known/oauth-protected-resource")
    document = json.loads(text)
    assert document["resource"] == gateway.url
    assert document["authorization_servers"] == [emulator.url]
    assert document["scopes_supported"] == ["email", "openid"]
    hostile = call(f"{gateway.url}/.well-known/oauth-protected-resource", headers={"Host": "evil.example"})
    assert "evil.example" not in hostile[2]
