"""What the README shows is what comes out."""

import pathlib
import re
import signal
import socket
import subprocess

import pytest
from conftest import built

# What differs from one run to the next, and how the README writes it.
VARYING = [
    (r"((?:member|organization|member-session)-test-)[0-9a-f-]{36}", r"\1…"),
    (r'("request_id":)"[0-9a-f]{32}"', r'\1"…"'),
    (r"(?m)^date: .*$", "date: …"),
    (r"jwk-test-[0-9a-f-]{36}", "jwk-test-…"),
    (r"issued [^,]* ago", "issued … ago"),
    (r"expires in \d+ \w+( \d+ \w+)?", "expires in …"),
]
# Where the demo leaves the gateway's settings, and how the README calls the gateway.
SETTINGS = "/tmp/stytch-gateway-demo.toml"
PROGRAM = "cargo run -q --release -- "
DEFAULTS = {"--gateway": 8080, "--admin": 9090, "--emulator": 4010, "--app": 3000}


def free_ports(count):
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


@pytest.fixture
def demo(tmp_path):
    """The demo on ports of its own, with its settings: what the README says to what is in its place."""
    program = built("examples/demo")
    ports = dict(zip(DEFAULTS.values(), free_ports(len(DEFAULTS))))
    arguments = [word for option, port in DEFAULTS.items() for word in (option, f"127.0.0.1:{ports[port]}")]
    settings = tmp_path / "demo.toml"
    running = subprocess.Popen([program, *arguments, "--settings", settings], stdout=subprocess.PIPE, text=True)
    try:
        # It says so when it is up; then only its access log follows.
        for line in running.stdout:
            if "access log" in line:
                break
        assert running.poll() is None, "the demo did not start"
        yield {f"127.0.0.1:{port}": f"127.0.0.1:{instead}" for port, instead in ports.items()} | {SETTINGS: str(settings)}
    finally:
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0


def transcripts(text):
    """The commands of the README that talk to the demo, each with what it shows to come out."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    steps = []
    for block in blocks:
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            if "http://127.0.0.1:" in command:
                steps.append((command, output))
    return steps


def test_the_transcripts_are_what_comes_out(root, gateway, demo):
    steps = transcripts((root / "README.md").read_text())
    assert len(steps) >= 9
    mark = "\x1e"
    # One shell for all, so that what one command remembers the next one knows.
    script = f"; printf '{mark}'; ".join(command for command, _ in steps)
    for shown, instead in (demo | {PROGRAM: f"{gateway} "}).items():
        script = script.replace(shown, instead)
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    came_out = run.stdout.replace("\r\n", "\n").split(mark)
    for (command, expected), actual in zip(steps, came_out, strict=True):
        for pattern, instead in VARYING:
            actual = re.sub(pattern, instead, actual)
        assert lines(actual) == lines(expected), command


def lines(text):
    """Without what an editor would take off their ends."""
    return [line.rstrip() for line in text.rstrip("\n").split("\n")]


def test_the_smallest_settings_serve(root, gateway, tmp_path):
    [settings] = re.findall(r"^```toml\n(.*?)^```", (root / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    secret = tmp_path / "secret"
    secret.write_text("secret-test-0000")
    config = tmp_path / "gateway.toml"
    config.write_text(settings.replace("/run/secrets/stytch", str(secret)))
    checked = subprocess.run([gateway, "check", "-c", config], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_links_lead_somewhere(root):
    """In every document: a link within the repository leads to a file that is there."""
    documents = [*root.glob("*.md"), *root.glob("docs/*.md")]
    assert len(documents) >= 6
    for document in documents:
        text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
        links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
        for target in [*links, *re.findall(r'\bsrc(?:set)?="([^"]+)"', text)]:
            if "://" not in target:
                assert pathlib.Path(document.parent, target).exists(), f"{document.name}: {target}"


def test_pictures_are_small(root):
    pictures = list(root.glob("docs/images/*.png"))
    assert {picture.name for picture in pictures} == {"sign-in.png", "sign-in-dark.png"}
    for picture in pictures:
        assert picture.stat().st_size < 100 * 1024, picture
