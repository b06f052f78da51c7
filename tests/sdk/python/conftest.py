"""The emulator that `tests/sdk/run` started, and ways to give it orders."""

import base64
import hashlib
import hmac
import json
import os
import struct
import time
import urllib.parse
import urllib.request

import pytest
import requests

# RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
CALLBACK = "http://127.0.0.1:9/callback"


class Emulator:
    def __init__(self, url):
        self.url = url
        project = self.control("GET", "project")
        self.project_id, self.secret = project["project_id"], project["secret"]
        self.public_token = project["public_token"]

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/emulator/{path}", data, method=method)
        with urllib.request.urlopen(request) as response:
            text = response.read()
        return json.loads(text) if text else None

    def code(self, to):
        """The newest code sent to an address or a number."""
        return self.control("GET", f"outbox?to={urllib.parse.quote(to)}")[0]["code"]

    def link(self, to):
        """What the newest link sent to an address says in its query."""
        return query_of(self.control("GET", f"outbox?to={urllib.parse.quote(to)}")[0]["url"])

    def visit(self, path, **query):
        """Where a page redirects a browser to, as the query it arrives with."""
        answer = requests.get(f"{self.url}{path}", query, allow_redirects=False, timeout=10)
        assert answer.status_code == 302, answer.text
        return query_of(answer.headers["location"])

    def post(self, path, **fields):
        return requests.post(f"{self.url}{path}", json=fields, timeout=10).json()

    def calls(self, path):
        return len(self.control("GET", f"requests?path={path}"))

    def organization_id(self, slug):
        organizations = self.control("GET", "world")["organizations"]
        return next(one["organization_id"] for one in organizations if one["organization_slug"] == slug)

    def credentials(self):
        """Arguments for a client. `custom_base_url` insists on https, `environment` does not."""
        return {"project_id": self.project_id, "secret": self.secret, "environment": f"{self.url}/",
                "suppress_warnings": True}


def query_of(url):
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))


def totp(secret):
    """What an authenticator app shows now (RFC 6238)."""
    digest = hmac.digest(base64.b32decode(secret), struct.pack(">Q", int(time.time()) // 30), hashlib.sha1)
    (number,) = struct.unpack_from(">I", digest, digest[19] & 15)
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06}"


@pytest.fixture
def emulator():
    return Emulator(os.environ["EMULATOR_URL"])
