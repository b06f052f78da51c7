"""docs/verify.md's code, run against a gateway that signs: what it takes, and what it does not."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
NODE = pathlib.Path(os.environ["VERIFY_NODE"])
ADDRESS = "https://app.example.com"
PATIENCE = 20


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def code(language):
    """The one block of that language in the document."""
    text = (ROOT / "docs/verify.md").read_text()
    [block] = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return block


def started(arguments, wanted, stream, **options):
    """A process, and the lines it wrote up to the wanted one."""
    process = subprocess.Popen(arguments, text=True, **{stream: subprocess.PIPE}, **options)
    written = queue.Queue()
    threading.Thread(target=lambda: [written.put(line) for line in getattr(process, stream)], daemon=True).start()
    lines = []
    try:
        while not lines or wanted not in lines[-1]:
            lines.append(written.get(timeout=PATIENCE))
    except queue.Empty:
        process.kill()
        raise AssertionError(f"{arguments[0]} did not start: {lines}") from None
    return process, lines


class Upstream(http.server.ThreadingHTTPServer):
    """Remembers the assertions it is sent."""

    def __init__(self):
        received = self.received = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                received.append(self.headers.get("X-Stytch-Assertion"))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class World:
    """The emulator, two upstreams behind one gateway, and a session."""

    def __init__(self, directory):
        self.key, self.upstream = new_key(), Upstream()
        self.emulator, lines = started(
            [BUILT / "stytch-emulator", "--listen", "127.0.0.1:0"], "API_URL=", "stdout"
        )
        environment = dict(line.strip().split("=", 1) for line in lines if "=" in line)
        self.stytch = environment["STYTCH_GATEWAY_STYTCH__API_URL"]
        self.keys = directory / "keys.pem"
        self.keys.write_text(pem(self.key))
        config = directory / "gateway.toml"
        config.write_text(f"""
            [server]
            listen = "127.0.0.1:0"
            public_url = "{ADDRESS}"
            [admin]
            listen = "127.0.0.1:0"
            [telemetry]
            access_log = "off"
            [identity.assertion]
            key_file = "{self.keys}"
            [upstreams.app]
            url = "{self.upstream.url}"
            [upstreams.other]
            url = "{self.upstream.url}"
            [[routes]]
            path = "/*"
            upstream = "app"
            [[routes]]
            path = "/other/*"
            upstream = "other"
        """)
        try:
            self.gateway, lines = started(
                [BUILT / "stytch-gateway", "run", "-c", config], '"serving"', "stderr", env=environment
            )
        except BaseException:
            self.emulator.kill()
            raise
        listen = re.search(r'"listen":"([^"]+)"', lines[-1])[1]
        self.address = f"http://{listen}"

    def session(self):
        body = json.dumps({"email": "ana@acme.example", "organization": "acme"}).encode()
        request = urllib.request.Request(
            f"{self.stytch}/emulator/sessions", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["session_jwt"]

    def assertion(self, path="/"):
        """What an upstream is given."""
        headers = {"Authorization": f"Bearer {self.session()}"}
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(
                    urllib.request.Request(self.address + path, headers=headers), timeout=PATIENCE
                ).close()
                return self.upstream.received[-1]
            except urllib.error.HTTPError as error:
                # Until the signing keys of sessions are there.
                assert error.code == 503 and time.monotonic() < deadline, error
                time.sleep(0.1)

    def end(self):
        for process in (self.gateway, self.emulator):
            process.send_signal(signal.SIGTERM)
        for process in (self.gateway, self.emulator):
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
        self.upstream.shutdown()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("gateway"))
    yield world
    world.end()


def local(source, world):
    """The document's code with the gateway of this test in the place of its address."""
    keys = f"{ADDRESS}/_stytch/keys"
    assert source.count(keys) == 1 and source.count('"app"') == 1 and source.count(ADDRESS) == 2
    return source.replace(keys, f"{world.address}/_stytch/keys")


def python(world, assertions):
    names = {}
    exec(compile(local(code("python"), world), "docs/verify.md", "exec"), names)
    outcomes = []
    for assertion in assertions:
        try:
            outcomes.append({"claims": names["verified"](assertion)})
        except jwt.PyJWTError as error:
            outcomes.append({"error": repr(error)})
    return outcomes


def node(world, assertions):
    (NODE / "verified.js").write_text(local(code("js"), world))
    judged = subprocess.run(
        ["node", NODE / "judge.js"], input=json.dumps(assertions), capture_output=True, text=True, timeout=60
    )
    assert judged.returncode == 0, judged.stderr
    return json.loads(judged.stdout)


@pytest.fixture(params=[python, node], ids=["python", "node"])
def judge(request, world):
    return lambda *assertions: request.param(world, list(assertions))


def test_what_the_gateway_signs_is_taken(world, judge):
    [outcome] = judge(world.assertion())
    claims = outcome["claims"]
    assert claims["sub"].startswith("member-") and claims["organization_slug"] == "acme"
    assert "admin" in claims["roles"] and claims["exp"] - claims["iat"] == 60


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_nothing_else_is(world, judge):
    good = world.assertion()
    header, claims = jwt.get_unverified_header(good), jwt.decode(good, options={"verify_signature": False})
    head, payload, signature = good.split(".")

    def signed(key=world.key, algorithm="ES256", kid=header["kid"], **changes):
        changed = {name: value for name, value in (claims | changes).items() if value is not None}
        return jwt.encode(changed, key, algorithm, {"kid": kid})

    public = world.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    confused = f'{encoded(json.dumps({"alg": "HS256", "typ": "JWT", "kid": header["kid"]}).encode())}.{payload}'
    confused += "." + encoded(hmac.digest(public, confused.encode(), hashlib.sha256))
    unsigned = encoded(json.dumps({"alg": "none", "typ": "JWT", "kid": header["kid"]}).encode())
    now = int(time.time())
    refused = {
        "of another upstream": world.assertion("/other/x"),
        "of another audience": signed(aud="elsewhere"),
        "of no audience": signed(aud=None),
        "of another issuer": signed(iss="https://elsewhere.example.com"),
        "expired": signed(iat=now - 120, exp=now - 60),
        "without an end": signed(exp=None),
        "of nobody": signed(sub=None),
        "signed by another key": signed(new_key()),
        "signed by an unknown key": signed(new_key(), kid="unknown"),
        "signed with the public key": confused,
        "not signed": f"{unsigned}.{payload}.",
        "without its signature": f"{head}.{payload}.",
        "changed": f"{head}.{encoded(json.dumps(claims | {'roles': ['owner']}).encode())}.{signature}",
        "a session": world.session(),
        "not there": "",
    }
    # What makes the others wrong is what the table says, and not how they were made.
    outcomes = dict(zip(["good", "made here", *refused], judge(good, signed(), *refused.values())))
    assert "claims" in outcomes.pop("good") and "claims" in outcomes.pop("made here")
    assert {name for name, outcome in outcomes.items() if "claims" in outcome} == set()


def test_a_rolled_key_is_taken(world, judge):
    """The steps of the document, as an application sees them that has just started."""
    before, new = world.assertion(), new_key()
    for file in (pem(world.key) + pem(new), pem(new) + pem(world.key)):
        world.keys.write_text(file)
        world.gateway.send_signal(signal.SIGHUP)
        first = jwt.PyJWKClient(f"{world.address}/_stytch/keys", cache_jwk_set=False)
        deadline = time.monotonic() + PATIENCE
        wanted = new if file.startswith(pem(new)) else world.key
        while first.get_signing_keys()[0].key.public_numbers() != wanted.public_key().public_numbers() or len(
            first.get_signing_keys()
        ) < 2:
            assert time.monotonic() < deadline, "the changed file is not in force"
            time.sleep(0.1)
    after = world.assertion()
    assert jwt.get_unverified_header(after)["kid"] != jwt.get_unverified_header(before)["kid"]
    assert all("claims" in outcome for outcome in judge(before, after))
    world.key = new
