"""One emulator, one set of certificates and one gateway for most tests."""

import pathlib
import sys
import types

import pytest

# The emulator and processes are the same as before Envoy.
sys.path.append(str(pathlib.Path(__file__).parents[1] / "envoy"))

import calls
import chat
from pki import Authority
from scene import Emulator
from stage import Application, Gateway

SETTINGS = """
[session]
max_staleness = "1s"
[server]
listen = ["127.0.0.1:$PLAIN", "unix:$FOLDER/gateway.sock"$MORE]
workers = 2
[server.tls]
listen = ["127.0.0.1:$SECURE"]
cert = "$CERTIFICATE"
key = "$KEY"
[upstreams.app]
url = "$APP"
[upstreams.calls]
url = "$CALLS"
http2 = true
[upstreams.secured]
url = "$SECURED"
http2 = true
tls = { ca = "$CA", server_name = "calls.test" }
[upstreams.chat]
url = "$CHAT"
[[routes]]
path = "/*"
upstream = "app"
[[routes]]
path = "/public/*"
upstream = "app"
auth = "none"
max_body = "64MiB"
[[routes]]
path = "/echo.Echo/*"
upstream = "calls"
max_body = "unlimited"
[[routes]]
path = "/secured.Echo/*"
upstream = "secured"
[[routes]]
path = "/admin.Echo/*"
upstream = "calls"
allow.roles = ["admin"]
[[routes]]
path = "/ws"
upstream = "chat"
"""


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    emulator = Emulator(tmp_path_factory.mktemp("emulator"))
    yield emulator
    emulator.stop()


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """Certificates of `ours`, and of an authority that the gateway does not know."""
    folder = tmp_path_factory.mktemp("pki")
    ours, foreign = Authority(folder, "ours"), Authority(folder, "foreign")
    return types.SimpleNamespace(
        ca=ours.file, server=ours.issue("server", "app.test", ["app.test", "other.test", "127.0.0.1"]),
        calls=ours.issue("calls", "calls.test", ["calls.test"]),
        client=ours.issue("client", "service", organization="Acme"),
        foreign=foreign.issue("foreign-client", "service", organization="Acme"))


@pytest.fixture(scope="session")
def app():
    app = Application()
    yield app
    app.close()


@pytest.fixture(scope="session")
def called(pki):
    """The server that gRPC calls reach, in clear text and over TLS."""
    called = calls.Server(pki)
    yield called
    called.stop()


@pytest.fixture(scope="session")
def places(pki, app, called):
    with chat.server() as url:
        yield {
            "APP": app.url, "CALLS": called.url, "SECURED": called.secure_url, "CHAT": url, "CA": pki.ca,
            "CERTIFICATE": pki.server[0], "KEY": pki.server[1],
        }


@pytest.fixture(scope="session")
def gateway(tmp_path_factory, emulator, places):
    gateway = Gateway(tmp_path_factory.mktemp("gateway"), emulator, places, SETTINGS.replace("$MORE", ""))
    yield gateway
    panics = gateway.panics()
    gateway.stop()
    assert panics == 0


@pytest.fixture
def session(emulator):
    return emulator.session()

