"""One emulator for all tests, and one scene for each way in which Envoy can ask."""

import pathlib
import sys

import pytest

from scene import Emulator, Scene

# Browsers are the same before every proxy.
sys.path.append(str(pathlib.Path(__file__).parents[1] / "front"))

FRONTS = {"grpc": ("envoy-grpc.yaml", "envoy-grpc.toml"), "http": ("envoy-http.yaml", "envoy-http.toml")}


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    emulator = Emulator(tmp_path_factory.mktemp("emulator"))
    yield emulator
    emulator.stop()


@pytest.fixture(scope="session", params=sorted(FRONTS))
def front(request, emulator, tmp_path_factory):
    front = Scene(tmp_path_factory.mktemp(request.param), emulator, *FRONTS[request.param])
    front.speaks = request.param
    yield front
    front.close()


@pytest.fixture
def over_grpc(front):
    """For what Envoy can be told over gRPC alone."""
    if front.speaks != "grpc":
        pytest.skip("over gRPC alone")
    return front


@pytest.fixture(autouse=True)
def anew(front):
    front.upstream.heads.clear()
    front.emulator.is_up()
    yield


@pytest.fixture
def session(emulator):
    return emulator.session()


@pytest.fixture
def bearer(session):
    return f"Authorization: Bearer {session['session_jwt']}"
