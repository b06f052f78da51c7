"""The emulator, the MCP server, and the gateway between clients and that server."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

BUILT = pathlib.Path(os.environ["BUILT"])
HERE = pathlib.Path(__file__).parent
PATIENCE = 30

SETTINGS = """
[stytch]
project_id = "{project_id}"
secret = "{secret}"
api_url = "{stytch}"
domain = "{stytch}"

[server]
listen = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}"
workers = 1

[admin]
listen = "127.0.0.1:{admin_port}"

[session]
max_staleness = "1s"
negative_ttl = "0s"

[telemetry]
access_log = "{log}"

[upstreams.reports]
url = "http://127.0.0.1:{server}"

[[routes]]
path = "/mcp"
upstream = "reports"
kinds = ["connected_app"]
allow.scopes = ["openid"]

[[routes]]
path = "/mail/mcp"
strip_prefix = "/mail"
upstream = "reports"
kinds = ["connected_app"]
allow.scopes = ["email"]

[[routes]]
path = "/machines/mcp"
strip_prefix = "/machines"
upstream = "reports"
kinds = ["m2m"]

[[routes]]
path = "/*"
upstream = "reports"
"""


def call(url, body=None, method=None, headers=None):
    """Status, headers and text of an answer, whatever the status."""
    request = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


class Emulator:
    def __init__(self, url):
        self.url = url
        project = self.control("GET", "project")
        self.project_id, self.secret = project["project_id"], project["secret"]

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        status, _, text = call(f"{self.url}/emulator/{path}", data, method)
        assert status < 300, text
        return json.loads(text) if text else None

    def calls(self, path):
        return len([one for one in self.control("GET", "requests?path=/") if one["path"].endswith(path)])


class Gateway:
    def __init__(self, url, log):
        self.url, self.log = url, log

    def lines(self, enough):
        """The access log, once `enough` says of its lines that they are: it is written after the answers."""
        deadline = time.monotonic() + PATIENCE
        while True:
            written, _, _ = self.log.read_text().rpartition("\n")
            lines = [json.loads(line) for line in written.splitlines()]
            if enough(lines):
                return lines
            assert time.monotonic() < deadline, lines
            time.sleep(0.02)


def started(arguments, pattern):
    """A program, and what follows `pattern` on the first line of its output that begins with it."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith(pattern):
            return process, line.removeprefix(pattern).strip()
    raise RuntimeError(f"{arguments[0]} did not start: {process.wait(PATIENCE)}")


def stop(process):
    process.terminate()
    process.wait(PATIENCE)


@pytest.fixture(scope="session")
def emulator():
    arguments = [BUILT / "stytch-emulator", "--listen", "127.0.0.1:0"]
    process, url = started(arguments, "STYTCH_GATEWAY_STYTCH__API_URL=")
    yield Emulator(url)
    stop(process)


@pytest.fixture(scope="session")
def mcp_server():
    process, port = started([sys.executable, HERE / "server.py"], "")
    yield int(port)
    stop(process)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def gateway(emulator, mcp_server, tmp_path_factory):
    """The metadata names the gateway's port, so it has to be known before the gateway has it."""
    directory = tmp_path_factory.mktemp("gateway")
    for _ in range(5):
        port, admin_port, log = free_port(), free_port(), directory / "access.log"
        settings = SETTINGS.format(project_id=emulator.project_id, secret=emulator.secret, stytch=emulator.url,
                                   port=port, admin_port=admin_port, log=log, server=mcp_server)
        (directory / "settings.toml").write_text(settings)
        process = subprocess.Popen([BUILT / "stytch-gateway", "run", "-c", directory / "settings.toml"])
        if is_ready(process, f"http://127.0.0.1:{admin_port}/readyz"):
            yield Gateway(f"http://127.0.0.1:{port}", log)
            stop(process)
            return
    raise RuntimeError("the gateway did not start")


def is_ready(process, url):
    until = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < until:
        try:
            if call(url)[0] == 200:
                return True
        except OSError:
            pass
        time.sleep(0.05)
    if process.poll() is None:
        stop(process)
    return False
