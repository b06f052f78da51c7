"""Measures what a check costs a request; see scripts/bench-ext-authz.

Envoy answers by itself what may pass, so that no application's time is in the figures. Its access
log says in microseconds how long it took from the first byte of a request to the first of its
answer, and how long of that it waited for the check; without the checks the first is Envoy alone.
The gateway's own log says how long each check took from its arrival to its answer. The rate is kept
whatever the answers take.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/envoy"))

from scene import Emulator, Scene

# Each keeps a time of its own: the connections of one client would all send in the same moment.
CLIENTS = 4
WARM_UP = 2
# Envoy writes its log every ten seconds.
FLUSHED = 11
FILTER = "envoy.filters.http.ext_authz"
LOG = """
                access_log:
                  - name: envoy.access_loggers.file
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
                      path: {path}
                      log_format:
                        text_format_source: {{ inline_string: "%RESPONSE_CODE% %COMMON_DURATION(DS_RX_BEG:DS_TX_BEG:us)% %FILTER_STATE({filter}:FIELD:latency_us)%\\n" }}
"""


def main():
    arguments = argparse.ArgumentParser(description="Measures ext_authz through Envoy.")
    arguments.add_argument("--rate", type=int, default=2000, help="requests a second")
    arguments.add_argument("--seconds", type=int, default=10, help="of a run")
    arguments.add_argument("--runs", type=int, default=5, help="with the checks, each with an Envoy and a gateway of its own")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="stytch-gateway-bench-") as folder:
        folder = pathlib.Path(folder)
        emulator = Emulator(folder)
        try:
            token = emulator.session()["session_jwt"]
            print(f"{options.rate} requests a second for {options.seconds} s; milliseconds\n")
            print(f"{'':<40}{'requests':>10}{'p50':>9}{'p99':>9}{'p99.9':>9}", flush=True)
            show("Envoy alone: to its answer", measure(folder / "alone", emulator, token, options, False).answers)
            runs = [run(folder / f"run-{number}", emulator, token, options) for number in range(options.runs)]
        finally:
            emulator.stop()
    print(f"\nMedian p99 of {len(runs)} runs: Envoy's wait for the check {statistics.median(p99(run.checks) for run in runs):.3f}, "
          f"to its answer {statistics.median(p99(run.answers) for run in runs):.3f}")


def run(folder, emulator, token, options):
    measured = measure(folder, emulator, token, options, True)
    show("to Envoy's answer", measured.answers)
    show("of it, Envoy's wait for the check", measured.checks)
    show("of it, in the gateway", measured.gateway)
    print(f"CPU time of the gateway for a check: {measured.used * 1e6:.0f} µs", flush=True)
    return measured


@dataclasses.dataclass
class Measured:
    """Times in milliseconds, one for each request; `used` is seconds of CPU time for each."""

    answers: list
    checks: list
    gateway: list
    used: float


def measure(folder, emulator, token, options, checked):
    folder.mkdir()
    envoy_log = folder / "envoy-access.log"

    def answers_by_itself(text):
        text = text.replace("route: { cluster: app }", "direct_response: { status: 200 }")
        text = re.sub(r"(?m)^( +)(transport_api_version: V3)$", r"\1\2\n\1emit_filter_state_stats: true", text)
        log = LOG.format(path=envoy_log, filter=FILTER)
        text = re.sub(r"(?m)^( +stat_prefix: clients)$", lambda line: line[1] + log, text)
        if not checked:
            text = re.sub(rf"(?s) +- name: {FILTER}.*?(?= +- name: envoy.filters.http.router)", "", text)
        return text

    scene = Scene(folder, emulator, "envoy-grpc.yaml", "envoy-grpc.toml", answers_by_itself)
    try:
        load(scene.port, token, options.rate, WARM_UP)
        time.sleep(FLUSHED)
        before = len(envoy_log.read_text().splitlines()), len(scene.logged())
        used = cpu(scene.gateway.process.pid)
        load(scene.port, token, options.rate, options.seconds)
        used = cpu(scene.gateway.process.pid) - used
        time.sleep(FLUSHED)
        lines = [line.split() for line in envoy_log.read_text().splitlines()[before[0]:]]
        # The last of each client may be cut off when the time is over.
        passed = [times for status, *times in lines if status == "200"]
        if len(lines) - len(passed) > CLIENTS:
            sys.exit(f"not every request passed: {len(passed)} of {len(lines)}")
        return Measured(
            answers=[int(micros) / 1000 for micros, _ in passed],
            checks=[int(micros) / 1000 for _, micros in passed if checked],
            gateway=[line["total_ms"] for line in scene.logged()[before[1]:]],
            used=used / len(passed),
        )
    finally:
        scene.close()


def cpu(pid):
    """Seconds of CPU time that a process has taken."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(port, token, rate, seconds):
    command = ["h2load", "--h1", "-c", "1", f"--rps={rate // CLIENTS}", "-D", str(seconds),
               "-H", f"cookie: theme=dark; stytch_session_jwt={token}", f"http://127.0.0.1:{port}/reports"]
    clients = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(CLIENTS)]
    if any(client.wait(timeout=seconds + 60) for client in clients):
        sys.exit("a client failed")


def show(name, times):
    cuts = statistics.quantiles(times, n=1000)
    print(f"{name:<40}{len(times):>10}{cuts[499]:>9.3f}{cuts[989]:>9.3f}{cuts[998]:>9.3f}", flush=True)


def p99(times):
    return statistics.quantiles(times, n=100)[98]


if __name__ == "__main__":
    main()
