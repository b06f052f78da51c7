"""Measures proxies side by side; see scripts/bench.

Each round starts every proxy anew, one after the other: one start of a program differs from the
next by more than the measurement does. The figure is CPU time of the proxy's processes, from
/proc, divided by the requests that were answered: on a shared machine it moves far less than
throughput does, and ratios within one run less still.

All authenticating proxies do the same work: verify the RS256 session JWT in a cookie, check `exp`,
`iss` and `aud`, and replace two identity headers. The gateway also writes its access log and counts
its metrics, and remembers tokens it has verified; HAProxy verifies each time, for it has no cache.
"""

import argparse
import base64
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PROXY_CORE, LOAD_CORE = "0", "1"
CONNECTIONS = 64
TOKENS = 2000
PER_SECOND = os.sysconf("SC_CLK_TCK")


def main():
    arguments = argparse.ArgumentParser(description="Compares the gateway with HAProxy and nginx.")
    arguments.add_argument("--gateway", required=True)
    arguments.add_argument("--emulator", required=True)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=5, help="how long each proxy is measured in a round")
    arguments.add_argument("--quick", action="store_true", help="one short round: shows that it works")
    options = arguments.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 2
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("needs two cores: one for the proxy, one for the load")
    with tempfile.TemporaryDirectory(prefix="stytch-gateway-bench-") as folder, Processes() as processes:
        os.chmod(folder, 0o755)
        bench(pathlib.Path(folder), processes, options)


def bench(folder, processes, options):
    project = Project(options.emulator, folder, processes)
    upstream = nginx_upstream(folder / "upstream", processes)
    (folder / "rotate.lua").write_text(ROTATE.format(file=folder / "tokens"))
    (folder / "tokens").write_text("\n".join(project.tokens))
    peers = [
        Peer("haproxy, no authentication", False, haproxy_plain),
        Peer("nginx, no authentication", False, nginx_plain),
        Peer("haproxy, jwt_verify", True, haproxy_jwt),
        Peer("stytch-gateway", True, gateway(options.gateway)),
    ]
    for number in range(1, options.rounds + 1):
        for peer in peers:
            place = folder / "peer"
            place.mkdir()
            address = free_address()
            started = processes.start(peer.command(place, address, upstream, project), PROXY_CORE, place)
            wait_for(address, started, place)
            check(peer, address, project)
            load(folder, address, 1)
            before = cpu(started.pid)
            requests = load(folder, address, options.seconds)
            peer.figures.append((cpu(started.pid) - before) / requests * 1e6)
            processes.stop(started)
            shutil.rmtree(place)
            print(f"round {number}: {peer.name:<28} {peer.figures[-1]:6.2f} µs a request", flush=True)
    base = statistics.median(peers[0].figures)
    print(f"\nCPU time per request in µs, median of {options.rounds} starts:\n")
    for peer in peers:
        median = statistics.median(peer.figures)
        print(f"  {peer.name:<28} {median:6.2f}   {median / base:5.2f} x {peers[0].name}")
    verified = statistics.median(peers[2].figures)
    print(f"\n  stytch-gateway / haproxy, jwt_verify: {statistics.median(peers[3].figures) / verified:.2f}")


class Peer:
    def __init__(self, name, authenticates, command):
        self.name, self.authenticates, self.command, self.figures = name, authenticates, command, []


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

    def ask(self, path, body=None):
        request = urllib.request.Request(self.api + path, headers={"Content-Type": "application/json"})
        if body is not None:
            request.data = json.dumps(body).encode()
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


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


def get(address, path, **headers):
    request = urllib.request.Request(f"http://{address}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def check(peer, address, project):
    """That all do the same work: what passes, what does not, and what the upstream is told."""

    def cookie(token):
        return f"theme=dark; stytch_session_jwt={token}"

    deadline = time.monotonic() + 5
    while (good := get(address, "/", Cookie=cookie(project.tokens[0])))[0] != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    if good != (200, BODY):
        sys.exit(f"{peer.name}: a good token gets {good}")
    headers = {"Cookie": cookie(project.tokens[0]), "X-Stytch-Member-Id": "forged"}
    told = get(address, "/who", **headers)[1]
    if told != (project.member if peer.authenticates else ""):
        sys.exit(f"{peer.name}: the upstream is told {told!r}")
    refused = [get(address, "/")[0]] + [
        get(address, "/", Cookie=cookie(token))[0] for token in (project.forged, project.expired)
    ]
    if peer.authenticates and set(refused) != {401}:
        sys.exit(f"{peer.name}: no token, a forged and an expired one get {refused}")


def load(folder, address, seconds):
    """Requests answered with 200 in that time; anything else ends the run."""
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    command += ["-s", folder / "rotate.lua", f"http://{address}/"]
    report = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in report or "Socket errors" in report:
        sys.exit(report)
    return int(re.search(r"(\d+) requests in", report)[1])


def cpu(pid):
    """Seconds of CPU time, user and system, of a process and its children."""
    children = {}
    times = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        number = int(stat.parent.name)
        children.setdefault(int(fields[1]), []).append(number)
        times[number] = int(fields[11]) + int(fields[12])
    family, total = [pid], 0
    while family:
        number = family.pop()
        total += times.get(number, 0)
        family += children.get(number, [])
    return total / PER_SECOND


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


def nginx_plain(folder, address, upstream, _project):
    return nginx(folder, f"""upstream app {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
      listen {address} backlog=4096;
      location / {{
        proxy_pass http://app;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header X-Stytch-Member-Id "";
        proxy_set_header X-Stytch-Organization-Id "";
      }}
    }}""")


def haproxy(folder, address, upstream, rules):
    config = folder / "haproxy.cfg"
    config.write_text(f"""global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  http-reuse always
frontend clients
  bind {address} backlog 4096
  {rules}
  default_backend app
backend app
  server app {upstream} pool-max-conn -1
""")
    return ["haproxy", "-db", "-f", config]


def haproxy_plain(folder, address, upstream, _project):
    rules = ["http-request del-header X-Stytch-Member-Id", "http-request del-header X-Stytch-Organization-Id"]
    return haproxy(folder, address, upstream, "\n  ".join(rules))


def haproxy_jwt(folder, address, upstream, project):
    """The payload is decoded once for all claims."""
    deny = "http-request deny deny_status 401"
    rules = [
        "http-request set-var(txn.jwt) req.cook(stytch_session_jwt)",
        f"{deny} unless {{ var(txn.jwt) -m found }}",
        f"{deny} unless {{ var(txn.jwt),jwt_header_query('$.alg') -m str RS256 }}",
        f'{deny} unless {{ var(txn.jwt),jwt_verify(RS256,"{project.public_key}") -m int 1 }}',
        "http-request set-var(txn.claims) var(txn.jwt),word(2,.),ub64dec",
        "http-request set-var(txn.now) date()",
        "http-request set-var(txn.exp) var(txn.claims),json_query('$.exp','int')",
        f"{deny} if {{ var(txn.exp),sub(txn.now) -m int le 0 }}",
        f"{deny} unless {{ var(txn.claims),json_query('$.iss') -m str {project.issuer} }}",
        f"{deny} unless {{ var(txn.claims),json_query('$.aud[0]') -m str {project.id} }}",
        "http-request set-header X-Stytch-Member-Id %[var(txn.claims),json_query('$.sub')]",
        "http-request set-header X-Stytch-Organization-Id %[var(txn.claims),json_query('$.organization_id')]",
    ]
    return haproxy(folder, address, upstream, "\n  ".join(rules))


def gateway(binary):
    def command(folder, address, upstream, project):
        config = folder / "gateway.toml"
        config.write_text(f"""
[stytch]
project_id = "{project.id}"
secret = "{project.secret}"
api_url = "{project.api}"

[server]
listen = "{address}"
workers = 1

[admin]
listen = "{free_address()}"

[session]
# The tokens live a day; a real project would have newer ones.
max_staleness = "24h"

[telemetry]
access_log = "{folder}/access.log"

[upstreams.app]
url = "http://{upstream}"

[[routes]]
path = "/*"
upstream = "app"
""")
        return [binary, "run", "-c", config]

    return command


main()
