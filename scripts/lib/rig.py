"""What measuring and training have in common: programs that end with the script, a project whose
tokens live a day, nginx before and behind, and requests that carry one token after the other.
"""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

PROXY_CORE, LOAD_CORE = "0", "1"
TOKENS = 2000

BODY = "x" * 1024

ROTATE = """
local requests, number = {{}}, 0
function init()
  for token in io.lines("{file}") do
    requests[#requests + 1] = wrk.format("GET", "/", {{["Cookie"] = "theme=dark; stytch_session_jwt=" .. token}})
  end
end
function request()
  number = number % #requests + 1
  return requests[number]
end
"""

NGINX = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  default_type text/plain;
  {http}
}}
"""


class Processes:
    """What was started, each in a group of its own, so that all of it can be ended."""

    def __init__(self):
        self.running = []

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        return self

    def __exit__(self, *_):
        for process in reversed(self.running[:]):
            self.stop(process)

    def start(self, command, core, folder):
        with open(folder / "output", "ab") as output:
            process = subprocess.Popen(
                ["taskset", "-c", core, *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )
        self.running.append(process)
        return process

    def stop(self, process):
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(5)
                break
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self.running.remove(process)


class Project:
    """Keys and tokens, from the emulator."""

    def __init__(self, binary, folder, processes):
        address = free_address()
        place = folder / "emulator"
        place.mkdir()
        started = processes.start([binary, "--listen", address], LOAD_CORE, place)
        self.api = f"http://{address}"
        wait_for(address, started, place)
        project = self.ask("/emulator/project")
        self.id, self.secret = project["project_id"], project["secret"]
        person = {"email": "ana@acme.example", "organization": "acme"}
        claims = read_claims(self.ask("/emulator/sessions", person)["session_jwt"])
        self.issuer, self.member = claims["iss"], claims["sub"]
        # A day rather than five minutes, and a copy of the organization that HAProxy can name.
        claims |= {"exp": claims["iat"] + 86_400, "organization_id": organization(claims)}
        session = claims["https://stytch.com/session"]
        session["expires_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(claims["exp"]))
        self.tokens = [self.sign({**claims, "jti": f"bench-{number}"}) for number in range(TOKENS)]
        self.forged = self.sign(claims, key="foreign")
        # Of a session that nobody knows: the gateway exchanges an expired token of one that goes on.
        gone = {**session, "id": "member-session-test-00000000-0000-0000-0000-000000000000"}
        past = {"iat": claims["iat"] - 900, "exp": claims["iat"] - 600}
        self.expired = self.sign({**claims, **past, "https://stytch.com/session": gone})
        [key, *_] = self.ask(f"/v1/b2b/sessions/jwks/{self.id}")["keys"]
        self.public_key = folder / "signing.pem"
        self.public_key.write_text(pem(key))

    def sign(self, claims, **more):
        return self.ask("/emulator/tokens", {"claims": claims, **more})["token"]

    def ask(self, path, body=None, method=None, **headers):
        """What the emulator is told or asked outside of Stytch's API."""
        headers = {"Content-Type": "application/json", **headers}
        request = urllib.request.Request(self.api + path, headers=headers, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def call(self, path, body):
        """A call of Stytch's API."""
        secret = base64.b64encode(f"{self.id}:{self.secret}".encode()).decode()
        return self.ask(path, body, Authorization=f"Basic {secret}")


def organization(claims):
    return claims["https://stytch.com/organization"]["organization_id"]


def read_claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def pem(jwk):
    """An RSA key of a JWKS as HAProxy wants it."""

    def der(tag, content):
        length = len(content)
        if length < 128:
            return bytes([tag, length]) + content
        size = (length.bit_length() + 7) // 8
        return bytes([tag, 128 + size]) + length.to_bytes(size, "big") + content

    def integer(text):
        # With a zero in front, which keeps it positive.
        return der(0x02, b"\0" + base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).lstrip(b"\0"))

    def exponent(text):
        return der(0x02, base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).lstrip(b"\0"))

    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    key = der(0x30, integer(jwk["n"]) + exponent(jwk["e"]))
    body = base64.encodebytes(der(0x30, algorithm + der(0x03, b"\0" + key))).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{body}-----END PUBLIC KEY-----\n"


def free_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def wait_for(address, process, folder):
    host, _, port = address.partition(":")
    for _ in range(500):
        if process.poll() is not None:
            break
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit((folder / "output").read_text(errors="replace") + f"\nnothing listens on {address}")


def certify(folder):
    """A certificate for this machine: `tls.crt` and `tls.key`."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", folder / "tls.key", "-out", folder / "tls.crt"], check=True, capture_output=True)


def get(address, path, **headers):
    request = urllib.request.Request(f"http://{address}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def nginx(folder, http):
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, http=http))
    return ["nginx", "-p", folder, "-e", "stderr", "-c", config]


def nginx_upstream(folder, processes):
    folder.mkdir()
    address = free_address()
    http = f"""server {{
      listen {address} backlog=4096;
      location / {{ return 200 "{BODY}"; }}
      location = /who {{ return 200 $http_x_stytch_member_id; }}
    }}"""
    wait_for(address, processes.start(nginx(folder, http), LOAD_CORE, folder), folder)
    return address
