"""Keeps a gateway busy for a long time while everything around it changes; see scripts/soak.

Clients of many kinds each know what must come of every request they make, and anything else is
written down. Beside them, in turns: settings are reloaded, an instance of the upstream is killed and
comes back, Stytch answers wrongly, late or not at all, keys are rotated, a second gateway takes part of
the port and leaves again. The gateway's memory is looked at throughout.
"""

import argparse
import asyncio
import collections
import contextlib
import os
import pathlib
import random
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

from rig import Processes, Project, certify, free_address, wait_for
from soak_clients import CLIENTS, Client, Unexpected

ANY_CORE = f"0-{os.cpu_count() - 1}"
# Seconds between two changes of what is around the gateway.
BETWEEN = 6
# How much more the gateway may hold in the last fifth of the time than in the second, in KiB, and from how
# many minutes on that says anything.
MORE_MEMORY, SETTLED = (1.10, 4 * 1024), 15
MOST_TOLD = 40


def main():
    arguments = argparse.ArgumentParser(description="A soak of the gateway.")
    arguments.add_argument("--gateway", required=True)
    arguments.add_argument("--emulator", required=True)
    arguments.add_argument("--minutes", type=float, default=60)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="stytch-gateway-soak-") as folder, Processes() as processes:
        os.chmod(folder, 0o755)
        sys.exit(asyncio.run(Soak(pathlib.Path(folder), processes, options).run()))


class Soak:
    def __init__(self, folder, processes, options):
        self.folder, self.processes, self.seconds = folder, processes, options.minutes * 60
        self.project = Project(options.emulator, folder, processes)
        self.binary, self.address, self.tls = options.gateway, free_address(), free_address()
        self.instances = [self.upstream() for _ in range(3)]
        self.steady = self.upstream()
        certify(folder)
        self.generation = 0
        self.gateway, self.admin = self.start(folder / "gateway.toml")
        self.counts, self.memory, self.unexpected, self.end = collections.Counter(), [], [], 0
        self.latest = []
        # What Stytch has not answered cannot be expected of the gateway.
        self.stytch_answers = asyncio.Event()
        self.stytch_answers.set()

    def upstream(self, address=None):
        address = address or free_address()
        place = self.folder / f"upstream-{address.partition(':')[2]}"
        place.mkdir(exist_ok=True)
        server = pathlib.Path(__file__).with_name("soak_upstream.py")
        process = self.processes.start([sys.executable, server, address], ANY_CORE, place)
        wait_for(address, process, place)
        return address, process

    def configure(self, path, admin):
        """The same settings each time, but for a comment and a limit nobody meets."""
        self.generation += 1
        path.write_text(CONFIG.format(
            project=self.project, address=self.address, tls=self.tls, admin=admin, folder=self.folder,
            urls=", ".join(f'"http://{address}"' for address, _ in self.instances), steady=self.steady[0],
            generation=self.generation, name=path.stem))

    def start(self, path):
        admin = free_address()
        self.configure(path, admin)
        place = self.folder / f"{path.stem}-{self.generation}"
        place.mkdir()
        process = self.processes.start([self.binary, "run", "-c", path], ANY_CORE, place)
        wait_for(admin, process, place)
        wait_for(self.address, process, place)
        return process, admin

    async def run(self):
        await self.is_ready(self.admin)
        self.end = end = time.monotonic() + self.seconds
        running = [asyncio.create_task(self.client(kind, end)) for kind in CLIENTS for _ in range(kind.AT_ONCE)]
        running += [asyncio.create_task(job(end)) for job in (self.change, self.watch, self.http2)]
        await asyncio.gather(*running)
        self.gateway.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(self.gateway.wait, 60)
        return self.report(code)

    async def client(self, kind, end):
        """One client of a kind after the other, so that connections come and go."""
        while time.monotonic() < end:
            client = Client(self.address, self.tls, tls_context(), self.project, self.stytch_answers)
            try:
                for _ in range(random.randint(20, 200)):
                    if time.monotonic() > end:
                        break
                    await kind.once(client)
                    self.counts[kind.__name__] += 1
                    await asyncio.sleep(kind.PAUSE * random.uniform(0.5, 1.5))
            except Unexpected as error:
                self.note(kind.__name__, error)
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
                self.note(kind.__name__, repr(error))
            finally:
                self.counts["kept connections that had closed"] += client.retried
                client.close()

    def note(self, who, what):
        at = round(self.seconds - (self.end - time.monotonic()))
        self.unexpected.append(f"{at} s: {who}: {what}; last changes: {', '.join(self.latest[-3:])}")
        if len(self.unexpected) <= MOST_TOLD:
            print(self.unexpected[-1], flush=True)

    async def change(self, end):
        turns = [self.reload, self.kill_an_instance, self.trouble_stytch, self.rotate_keys, self.take_over]
        number = 0
        while time.monotonic() < end - 3 * BETWEEN:
            await asyncio.sleep(BETWEEN)
            turn = turns[number % len(turns)]
            number += 1
            try:
                await turn()
                self.latest.append(turn.__name__)
            except Exception as error:
                self.note(turn.__name__, repr(error))

    async def reload(self):
        before = await self.metric('config_reloads_total{outcome="applied"}')
        self.configure(self.folder / "gateway.toml", self.admin)
        self.gateway.send_signal(signal.SIGHUP)
        for _ in range(200):
            if await self.metric('config_reloads_total{outcome="applied"}') > before:
                return
            await asyncio.sleep(0.1)
        raise Unexpected("the settings were not reloaded")

    async def kill_an_instance(self):
        which = random.randrange(len(self.instances))
        address, process = self.instances[which]
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)
        await asyncio.sleep(random.uniform(0.5, 4))
        self.processes.running.remove(process)
        self.instances[which] = await asyncio.to_thread(self.upstream, address)

    async def trouble_stytch(self):
        self.stytch_answers.clear()
        # Those that began while it answered still may.
        await asyncio.sleep(2)
        paths = ["/v1/b2b/sessions/authenticate", "/v1/b2b/sessions/jwks", "/v1/b2b/"]
        kinds = [{"status": 503}, {"status": 429}, {"status": 500, "body": "<html>"}, {"drop": True}, {"latency_ms": 4000}]
        try:
            fault = {"path": random.choice(paths), **random.choice(kinds)}
            await asyncio.to_thread(self.project.ask, "/emulator/faults", [fault], "PUT")
            await asyncio.sleep(random.uniform(2, 8))
            await asyncio.to_thread(self.project.ask, "/emulator/faults", None, "DELETE")
            await self.is_asked_again()
        finally:
            self.stytch_answers.set()

    async def is_asked_again(self):
        """After 429 the gateway leaves Stytch alone for a while, the longer the oftener it was told."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            session = await asyncio.to_thread(self.project.ask, "/emulator/sessions", WHO)
            answer = await fetch(self.address, "/page/1", f"Authorization: Bearer {session['session_token']}\r\n")
            if answer.split()[1] == "200":
                return
            await asyncio.sleep(0.5)
        raise Unexpected("Stytch is not asked again")

    async def rotate_keys(self):
        await asyncio.to_thread(self.project.ask, "/emulator/keys/rotate", {})

    async def take_over(self):
        """A second gateway listens on the same port, serves its part, and leaves."""
        process, admin = await asyncio.to_thread(self.start, self.folder / "second.toml")
        await self.is_ready(admin)
        await asyncio.sleep(4)
        process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(process.wait, 60)
        self.processes.running.remove(process)
        if code != 0:
            raise Unexpected(f"the second gateway ended with {code}")

    async def http2(self, end):
        while (left := end - time.monotonic()) > 12:
            jwt = self.project.ask("/emulator/sessions", WHO)["session_jwt"]
            command = ["h2load", "-c4", "-m8", "-D10", "--rps=25", "-H", f"cookie: stytch_session_jwt={jwt}"]
            run = await asyncio.create_subprocess_exec(
                *command, f"https://{self.tls}/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            report = (await run.communicate())[0].decode()
            statuses = next((line for line in report.splitlines() if line.startswith("status codes")), report)
            self.counts["http2"] += int(statuses.split()[2]) if statuses.startswith("status") else 0
            if not statuses.endswith("0 3xx, 0 4xx, 0 5xx"):
                self.note("http2", statuses)

    async def watch(self, end):
        while time.monotonic() < end - 1:
            rollup = pathlib.Path(f"/proc/{self.gateway.pid}/smaps_rollup").read_text()
            pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            descriptors = len(os.listdir(f"/proc/{self.gateway.pid}/fd"))
            self.memory.append((pss, descriptors))
            await asyncio.sleep(min(5, self.seconds / 40))

    async def is_ready(self, admin):
        for _ in range(300):
            with contextlib.suppress(OSError, IndexError):
                if (await fetch(admin, "/readyz")).split()[1] == "200":
                    return
            await asyncio.sleep(0.1)
        raise Unexpected("the gateway did not become ready")

    async def metric(self, name):
        text = await fetch(self.admin, "/metrics")
        found = [line for line in text.splitlines() if line.startswith(f"stytch_gateway_{name} ")]
        return float(found[0].split()[-1]) if found else 0

    def report(self, code):
        fifth = max(len(self.memory) // 5, 1)
        warm = statistics.median(pss for pss, _ in self.memory[fifth:2 * fifth])
        late = statistics.median(pss for pss, _ in self.memory[-fifth:])
        print(f"\n{self.seconds / 60:.0f} minutes")
        for kind, count in sorted(self.counts.items()):
            print(f"  {kind:<36}{count:>9}")
        changes = collections.Counter(self.latest).items()
        print("changes: " + ", ".join(f"{name} {count}" for name, count in changes))
        print(f"memory, KiB: {warm:.0f} once warm, {late:.0f} at the end, {max(self.memory)[0]} at most; "
              f"descriptors: {self.memory[-1][1]}, {max(held for _, held in self.memory)} at most")
        factor, more = MORE_MEMORY
        if self.seconds / 60 >= SETTLED and late > warm * factor + more:
            self.unexpected.append("memory grew")
        if code != 0:
            self.unexpected.append(f"the gateway ended with {code}")
        print(f"unexpected: {len(self.unexpected)}")
        for line in self.unexpected[:MOST_TOLD]:
            print("  " + line)
        if self.unexpected:
            kept = pathlib.Path(".cache/soak")
            kept.mkdir(parents=True, exist_ok=True)
            for log in self.folder.glob("*.log"):
                shutil.copy(log, kept)
            print(f"the gateways' access logs are in {kept}")
        return 1 if self.unexpected else 0


WHO = {"email": "ana@acme.example", "organization": "acme"}


def tls_context():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def fetch(address, path, headers=""):
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n".encode())
    text = (await asyncio.wait_for(reader.read(), 20)).decode()
    writer.close()
    return text


CONFIG = """
# {generation}
[stytch]
project_id = "{project.id}"
secret = "{project.secret}"
api_url = "{project.api}"
timeout = "3s"

[server]
listen = "{address}"
reuse_port = true
workers = 2
tls = {{ listen = "{tls}", cert = "{folder}/tls.crt", key = "{folder}/tls.key" }}
[server.timeouts]
lame_duck = "2s"
drain = "20s"

[admin]
listen = "{admin}"

[session]
max_staleness = "2s"
outage_grace = "10m"
# Every look gives a session a new token; so many are remembered that memory is full before it is looked at.
capacity = 1000

[rate_limit]
failures = "{generation}00000/min"

[telemetry]
access_log = "{folder}/{name}.log"

[upstreams.app]
urls = [{urls}]
retries = 2
[upstreams.app.health]
path = "/health"
interval = "1s"

[upstreams.steady]
url = "http://{steady}"

[[routes]]
path = "/steady/*"
upstream = "steady"

[[routes]]
path = "/public/*"
upstream = "app"
auth = "none"

[[routes]]
path = "/admin/*"
upstream = "app"
[routes.allow]
roles = ["nobody_has_it"]

[[routes]]
path = "/*"
upstream = "app"
"""

main()
