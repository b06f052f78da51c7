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
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from rig import (
    BODY, LOAD_CORE, PROXY_CORE, ROTATE, Processes, Project, free_address, get, nginx, nginx_upstream, wait_for,
)

CONNECTIONS = 64
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
