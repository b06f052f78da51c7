"""What several of these tests need: the repository, and the gateway as cargo built it."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def built(name: str) -> pathlib.Path:
    subprocess.run([ROOT / "scripts/lib/build"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "debug" / name


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    return ROOT


@pytest.fixture(scope="session")
def gateway() -> pathlib.Path:
    return built("stytch-gateway")
