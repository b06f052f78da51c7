"""The emulator that `tests/sdk/run` started, and ways to give it orders."""

import json
import os
import urllib.parse
import urllib.request

import pytest


class Emulator:
    def __init__(self, url):
        self.url = url
        project = self.control("GET", "project")
        self.project_id, self.secret = project["project_id"], project["secret"]

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/emulator/{path}", data, method=method)
        with urllib.request.urlopen(request) as response:
            text = response.read()
        return json.loads(text) if text else None

    def code(self, to):
        """The newest code sent to an address or a number."""
        return self.control("GET", f"outbox?to={urllib.parse.quote(to)}")[0]["code"]

    def calls(self, path):
        return len(self.control("GET", f"requests?path={path}"))

    def organization_id(self, slug):
        organizations = self.control("GET", "world")["organizations"]
        return next(one["organization_id"] for one in organizations if one["organization_slug"] == slug)

    def credentials(self):
        """Arguments for a client. `custom_base_url` insists on https, `environment` does not."""
        return {"project_id": self.project_id, "secret": self.secret, "environment": f"{self.url}/",
                "suppress_warnings": True}


@pytest.fixture
def emulator():
    return Emulator(os.environ["EMULATOR_URL"])
