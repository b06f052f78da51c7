"""Sends a gateway the traffic that a profile-guided build goes by; see scripts/release.

What is measured elsewhere is a part of it. The rest is there so that the compiler does not take
what no benchmark does for something that never happens: browsers with all their headers, other
routes and rules, refusals, bodies in both directions, connections that come and go, TLS, HTTP/2,
questions of proxies in front, sessions that Stytch is asked about, a reload.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from rig import BODY, ROTATE, Processes, Project, certify, free_address, get, nginx, wait_for

# Which core does what does not matter: nothing is measured.
ANY_CORE = "0-1"
CONNECTIONS = 64
LARGE = 256 * 1024
# How many requests may end before their answer: those under way when the time is over do.
MOST_BROKEN = 2 * CONNECTIONS


def main():
    arguments = argparse.ArgumentParser(description="Trains an instrumented gateway.")
    arguments.add_argument("--gateway", required=True)
    arguments.add_argument("--emulator", required=True)
    arguments.add_argument("--seconds", type=float, default=3, help="how long each kind of traffic goes on")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="stytch-gateway-train-") as folder, Processes() as processes:
        os.chmod(folder, 0o755)
        train(pathlib.Path(folder), processes, options)


def train(folder, processes, options):
    project = Project(options.emulator, folder, processes)
    gateway = Gateway(folder, processes, options.gateway, project, upstream(folder / "upstream", processes))
    (folder / "tokens").write_text("\n".join(project.tokens))
    (folder / "rotate.lua").write_text(ROTATE.format(file=folder / "tokens"))
    token = project.tokens[0]
    opaque = project.ask("/emulator/sessions", {"email": "ana@acme.example", "organization": "acme"})
    wrk = Wrk(folder, gateway, int(options.seconds))

    wrk.run("the first look at each token, then the second", "rotate.lua", seconds=3)
    wrk.run("one connection", "rotate.lua", connections=1)
    wrk.run("browsers", wrk.script(BROWSER, token=token), seconds=2)
    wrk.run("programs", wrk.script(PROGRAM, token=token, opaque=opaque["session_token"], path="/api/reports"))
    wrk.run("over a unix socket", wrk.script(PROGRAM, token=token, opaque=opaque["session_token"], path="/local/"))
    wrk.run("refusals", wrk.script(REFUSED, token=token, forged=project.forged), refused=True)
    wrk.run("a connection each", wrk.script(CLOSING, token=token), breaks=True)
    wrk.run("large answers", wrk.script(LARGE_ANSWERS, token=token))
    wrk.run("TLS", "rotate.lua", tls=True, seconds=2)
    wrk.run("browsers over TLS", wrk.script(BROWSER, token=token), tls=True)
    wrk.run("large answers over TLS", wrk.script(LARGE_ANSWERS, token=token), tls=True)
    wrk.run("a TLS connection each", wrk.script(CLOSING, token=token), tls=True, breaks=True)
    for number in range(3):
        h2load(gateway, project.tokens[number], "/", options.seconds)
    h2load(gateway, token, "/assets/large", options.seconds)
    h2load(gateway, token, "/api/reports", options.seconds, body=folder / "tokens")
    for size in ("1M", "64M"):
        curl(gateway, token, size)
    gateway.believe_proxies()
    wrk.run("behind a proxy", wrk.script(FORWARDED, token=token))
    gateway.stop()


class Gateway:
    def __init__(self, folder, processes, binary, project, upstream):
        self.address, self.tls, self.processes = free_address(), free_address(), processes
        certify(folder)
        self.config = folder / "gateway.toml"
        self.config.write_text(CONFIG.format(
            project=project, address=self.address, tls=self.tls, folder=folder,
            admin=free_address(), log=folder / "access.log", app=upstream[0], local=upstream[1]))
        self.process = processes.start([binary, "run", "-c", self.config], ANY_CORE, folder)
        wait_for(self.address, self.process, folder)
        cookie = f"stytch_session_jwt={project.tokens[0]}"
        for _ in range(100):
            answer = get(self.address, "/", Cookie=cookie)
            if answer == (200, BODY):
                return
            time.sleep(0.1)
        sys.exit(f"a good token gets {answer}\n" + (folder / "output").read_text(errors="replace"))

    def believe_proxies(self):
        """From here on the load comes from a trusted proxy, after a reload."""
        text = self.config.read_text()
        text = text.replace("trusted_proxies = []", 'trusted_proxies = ["127.0.0.1"]')
        self.config.write_text(text + "\n[forward_auth]\nenabled = true\n")
        self.process.send_signal(signal.SIGHUP)
        time.sleep(1)

    def stop(self):
        """It writes its profile when it ends by itself."""
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60) != 0:
            sys.exit(f"the gateway ended with {self.process.returncode}")


class Wrk:
    def __init__(self, folder, gateway, seconds):
        self.folder, self.gateway, self.seconds, self.scripts = folder, gateway, seconds, 0

    def script(self, text, **values):
        self.scripts += 1
        name = f"script-{self.scripts}.lua"
        (self.folder / name).write_text(text % values)
        return name

    def run(self, what, script, connections=CONNECTIONS, seconds=1, tls=False, refused=False, breaks=False):
        url = f"https://{self.gateway.tls}/" if tls else f"http://{self.gateway.address}/"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{int(seconds * self.seconds)}s", "-s", script, url]
        report = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True).stdout
        print(f"{what}: " + next(line.strip() for line in report.splitlines() if "requests in" in line), flush=True)
        if ("Non-2xx" in report) != refused or ("Socket errors" in report and not breaks):
            sys.exit(report)


def h2load(gateway, token, path, seconds, body=None):
    command = ["h2load", "-c16", "-m8", f"-D{int(seconds)}", "-H", f"cookie: theme=dark; stytch_session_jwt={token}"]
    command += ["-d", body] if body else []
    report = subprocess.run([*command, f"https://{gateway.tls}{path}"], capture_output=True, text=True, check=True)
    statuses = next(line for line in report.stdout.splitlines() if line.startswith("status codes"))
    print(f"HTTP/2, {path}: {statuses}", flush=True)
    if not statuses.endswith("0 3xx, 0 4xx, 0 5xx"):
        sys.exit(report.stdout)


def curl(gateway, token, size):
    """An upload whose length is not told."""
    for url in (f"http://{gateway.address}", f"https://{gateway.tls}"):
        command = f"head -c {size} /dev/zero | curl -sfk -o /dev/null -T - -b stytch_session_jwt={token} {url}/api/upload"
        subprocess.run(["sh", "-c", command], check=True, timeout=120)


def upstream(folder, processes):
    """An application at an address and at a socket: short answers, long ones, and some of unknown length."""
    folder.mkdir()
    address, local = free_address(), folder / "socket"
    (folder / "large").write_text("x" * LARGE)
    (folder / "page").write_text("<p>" + BODY * 16)
    http = f"""server {{
      listen {address} backlog=4096;
      listen unix:{local} backlog=4096;
      client_max_body_size 0;
      location / {{ return 200 "{BODY}"; }}
      location /assets/ {{ alias {folder}/; etag on; }}
      location /pages/ {{ alias {folder}/; ssi on; ssi_types *; add_header Set-Cookie "theme=dark"; }}
      location /api/ {{ client_body_buffer_size 64k; proxy_request_buffering on; proxy_pass http://{address}/; }}
    }}"""
    wait_for(address, processes.start(nginx(folder, http), ANY_CORE, folder), folder)
    return address, local


CONFIG = """
[stytch]
project_id = "{project.id}"
secret = "{project.secret}"
api_url = "{project.api}"

[server]
listen = "{address}"
workers = 1
trusted_proxies = []
tls = {{ listen = "{tls}", cert = "{folder}/tls.crt", key = "{folder}/tls.key" }}

[admin]
listen = "{admin}"

[session]
# The tokens live a day; a real project would have newer ones.
max_staleness = "24h"

[telemetry]
access_log = "{log}"

[upstreams.app]
url = "http://{app}"

[upstreams.local]
url = "unix:{local}"

[[routes]]
path = "/api/*"
upstream = "app"
methods = ["GET", "POST", "PUT"]
max_body = "unlimited"

[[routes]]
path = "/assets/*"
upstream = "app"
auth = "none"

[[routes]]
path = "/pages/*"
upstream = "app"
auth = "optional"

[[routes]]
path = "/reports/{{year}}/*"
upstream = "app"
[routes.allow]
roles = ["stytch_member"]

[[routes]]
path = "/admin/*"
upstream = "app"
[routes.allow]
roles = ["nobody_has_it"]

[[routes]]
path = "/local/*"
upstream = "local"

[[routes]]
path = "/*"
upstream = "app"
"""

# wrk asks for the next request of a list, over and over.
LIST = """
local requests, number = {}, 0
local function add(method, path, headers, body) requests[#requests + 1] = {method, path, headers, body} end
local made = {}
function init()
  for at, one in ipairs(requests) do made[at] = wrk.format(one[1], one[2], one[3], one[4]) end
end
function request()
  number = number %% #made + 1
  return made[number]
end
"""

BROWSER = LIST + """
local function browse(path, accept, more)
  local headers = {
    ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ["Accept"] = accept, ["Accept-Language"] = "de-DE,de;q=0.9,en;q=0.8", ["Accept-Encoding"] = "gzip, deflate, br, zstd",
    ["Referer"] = "http://localhost/pages/page", ["Sec-Fetch-Site"] = "same-origin", ["Sec-Fetch-Mode"] = "navigate",
    ["Sec-Fetch-Dest"] = "document", ["Upgrade-Insecure-Requests"] = "1", ["Cache-Control"] = "max-age=0", ["DNT"] = "1",
    ["Cookie"] = "theme=dark; _ga=GA1.1.123456789.1700000000; consent=all; stytch_session_jwt=%(token)s; last=42",
  }
  for name, value in pairs(more or {}) do headers[name] = value end
  add("GET", path, headers)
end
local html = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
browse("/pages/page", html)
browse("/assets/page", "*/*", {["Cookie"] = "theme=dark"})
browse("/reports/2026/november?sort=name&page=2&q=caf%%C3%%A9", html)
browse("/", html)
browse("/some/longer/path/with/segments-and_marks~1.html", html, {["If-None-Match"] = '"abc"'})
"""

PROGRAM = LIST + """
local function call(method, headers, body)
  headers["User-Agent"] = "client/1.2.3"
  headers["Accept"] = "application/json"
  if body then headers["Content-Type"] = "application/json" end
  add(method, "%(path)s", headers, body)
end
call("GET", {["Authorization"] = "Bearer %(token)s"})
call("POST", {["Authorization"] = "Bearer %(token)s"}, '{"a":1,"b":"' .. string.rep("x", 200) .. '"}')
call("GET", {["Cookie"] = "stytch_session=%(opaque)s"})
call("PUT", {["Authorization"] = "Bearer %(opaque)s", ["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
     string.rep("x", 20000))
"""

REFUSED = LIST + """
add("GET", "/", {["Accept"] = "text/html"})
add("GET", "/", {["Accept"] = "application/json"})
add("GET", "/admin/", {["Cookie"] = "stytch_session_jwt=%(token)s"})
add("DELETE", "/api/reports", {["Cookie"] = "stytch_session_jwt=%(token)s"})
add("GET", "/", {["Cookie"] = "stytch_session_jwt=%(forged)s"})
add("GET", "/", {["Cookie"] = "stytch_session_jwt=junk"})
add("GET", "/a/%%2e%%2e/b", {["Cookie"] = "stytch_session_jwt=%(token)s"})
add("GET", "/", {["Cookie"] = "stytch_session_jwt=%(token)s", ["X-Stytch-Member-Id"] = "forged"})
"""

FORWARDED = LIST + """
add("GET", "/", {["Cookie"] = "stytch_session_jwt=%(token)s", ["X-Forwarded-For"] = "203.0.113.7",
    ["X-Forwarded-Proto"] = "https", ["X-Forwarded-Host"] = "app.example.com", ["X-Request-Id"] = "a-1"})
add("GET", "/_stytch/auth", {["Cookie"] = "stytch_session_jwt=%(token)s", ["X-Original-Method"] = "GET",
    ["X-Original-URL"] = "https://app.example.com/reports/2026/november", ["X-Forwarded-For"] = "203.0.113.7"})
"""

CLOSING = LIST + """
add("GET", "/", {["Cookie"] = "stytch_session_jwt=%(token)s", ["Connection"] = "close"})
"""

LARGE_ANSWERS = LIST + """
add("GET", "/assets/large", {["Cookie"] = "stytch_session_jwt=%(token)s"})
add("GET", "/pages/large", {["Cookie"] = "stytch_session_jwt=%(token)s"})
"""

main()
