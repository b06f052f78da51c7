"""The emulator, the gateway, an application, and one front proxy after the other before them."""

import os
import pathlib

import pytest

from peers import FRONTS, Application, Emulator, Front, Gateway, free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = pathlib.Path(os.environ.get("BINARIES", ROOT / "target/debug")).resolve()


@pytest.fixture(scope="session")
def emulator():
    with Emulator(BINARIES / "stytch-emulator") as emulator:
        yield emulator


@pytest.fixture(scope="session")
def gateway(emulator, tmp_path_factory):
    with Gateway(BINARIES / "stytch-gateway", emulator, tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def application():
    with Application() as application:
        yield application


@pytest.fixture(scope="session", params=FRONTS)
def front(request, gateway, application, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    with Front(request.param, ROOT / "config/front", directory, gateway.port, application.port) as front:
        yield front


@pytest.fixture(scope="session", params=FRONTS)
def front_alone(request, application, tmp_path_factory):
    """One whose gateway is not there."""
    directory = tmp_path_factory.mktemp(request.param)
    with Front(request.param, ROOT / "config/front", directory, free_port(), application.port) as front:
        yield front


@pytest.fixture(autouse=True)
def clean(emulator, application):
    emulator.call("DELETE", "faults")
    emulator.call("DELETE", "requests")
    application.received.clear()
