"""The shape of the image, as far as it can be told without building it."""

import json
import re
import shutil
import subprocess

import pytest


@pytest.fixture(scope="module")
def stages(root):
    """Each stage's instructions in order, as (name, rest); the first is its FROM."""
    text = (root / "Dockerfile").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", " ", text)
    instructions = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    stages = []
    for name, rest in instructions:
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, rest))
    return stages


def only(stage, name):
    found = [rest for instruction, rest in stage if instruction == name]
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def test_the_builder_has_the_project_s_rust(root, stages):
    builder, _ = stages
    version = re.search(r'^rust-version = "(.+)"', (root / "Cargo.toml").read_text(), re.MULTILINE)[1]
    assert only(builder, "FROM") == f"rust:{version}-slim-bookworm AS builder"


def test_the_image_holds_the_binary_alone(stages):
    _, final = stages
    assert only(final, "COPY") == "--from=builder /build/target/release/stytch-gateway /stytch-gateway"
    assert {name for name, _ in final}.isdisjoint({"RUN", "ADD", "VOLUME", "SHELL", "ARG", "ENV"})


def test_the_image_has_no_shell_and_no_root(stages):
    _, final = stages
    assert "distroless" in only(final, "FROM") and only(final, "FROM").endswith(":nonroot")
    user, _, group = only(final, "USER").partition(":")
    assert int(user) > 0 and int(group) > 0, "Kubernetes can only tell numbers from root"


def test_nothing_is_run_through_a_shell(stages):
    _, final = stages
    healthcheck = only(final, "HEALTHCHECK").split("CMD ", 1)[1]
    for command in [only(final, "ENTRYPOINT"), only(final, "CMD"), healthcheck]:
        assert all(isinstance(word, str) for word in json.loads(command)), command
    assert json.loads(only(final, "ENTRYPOINT")) == ["/stytch-gateway"]
    run, check = json.loads(only(final, "CMD")), json.loads(healthcheck)
    assert run == ["run", "-c", "/etc/stytch-gateway/config.toml"]
    assert check == ["/stytch-gateway", "healthcheck", *run[1:]]


def test_the_stand_ins_make_a_workspace(root, stages, tmp_path):
    """The dependencies' layer is built before our code is there: cargo must be content with it."""
    builder, _ = stages
    steps = builder[: next(i for i, (name, _) in enumerate(builder) if name == "RUN") + 1]
    for name, rest in steps:
        if name == "COPY":
            *sources, place = rest.split()
            for source in sources:
                to = tmp_path / place
                to = to / source if place.endswith("/") else to
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / source, to)
        elif name == "RUN":
            command, build = rest.split("&& cargo build")
            assert "--locked" in build
            subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True)
    told = subprocess.run(
        ["cargo", "metadata", "--locked", "--no-deps", "--format-version=1"],
        cwd=tmp_path, check=True, capture_output=True,
    )
    names = {package["name"] for package in json.loads(told.stdout)["packages"]}
    assert names == {"stytch-gateway", "stytch-gateway-proto", "stytch-emulator"}


def test_what_is_copied_is_sent(root, stages):
    builder, _ = stages
    wanted = {source for name, rest in builder if name == "COPY" for source in rest.split()[:-1]}
    lines = (root / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*" and sent == wanted
