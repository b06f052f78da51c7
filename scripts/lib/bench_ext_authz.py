"""Measures what a check costs a request; see scripts/bench-ext-authz.

Envoy answers by itself what may pass, so that no application's time is in the figures. Its access
log says in microseconds how long it took from the first byte of a request to the first of its
answer; without the checks that is Envoy alone. The gateway's own log says how long each check took
from its arrival to its answer. The rate is kept whatever the answers take.
"""

import argparse
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

# Requests on several connections tend to come at once; more of them would measure a queue.
CONNECTIONS = 4
WARM_UP = 2
# Envoy writes its log every ten seconds.
FLUSHED = 11
LOG = """
                access_log:
                  - name: envoy.access_loggers.file
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
                      path: {path}
                      log_format:
                        text_format_source: {{ inline_string: "%RESPONSE_CODE% %COMMON_DURATION(DS_RX_BEG:DS_TX_BEG:us)%\\n" }}
"""


def main():
    arguments = argparse.ArgumentParser(description="Measures ext_authz through Envoy.")
    arguments.add_argument("--rate", type=int, default=2000, help="requests a second")
    arguments.add_argument("--seconds", type=int, default=10)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="stytch-gateway-bench-") as folder:
        folder = pathlib.Path(folder)
        emulator = Emulator(folder)
        try:
            token = emulator.session()["session_jwt"]
            rows = [(name, *measure(folder / name.replace(" ", "-"), emulator, token, options, checked))
                    for name, checked in (("without checks", False), ("with checks", True))]
        finally:
            emulator.stop()
    print(f"\n{options.rate} requests a second for {options.seconds} s; milliseconds\n")
    print(f"{'':<34}{'requests':>10}{'p50':>9}{'p99':>9}{'p99.9':>9}")
    for name, envoy, gateway, used in rows:
        show(f"Envoy's answer, {name}", envoy)
        if gateway:
            show("the gateway's part of it", gateway)
            print(f"\nCPU time of the gateway for a check: {used * 1e6:.0f} µs")


def measure(folder, emulator, token, options, checked):
    folder.mkdir()
    envoy_log = folder / "envoy-access.log"

    def answers_by_itself(text):
        text = text.replace("route: { cluster: app }", "direct_response: { status: 200 }")
        text = re.sub(r"(?m)^( +stat_prefix: clients)$", lambda line: line[1] + LOG.format(path=envoy_log), text)
        if not checked:
            text = re.sub(r"(?s) +- name: envoy.filters.http.ext_authz.*?(?= +- name: envoy.filters.http.router)", "", text)
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
        # The last of each connection may be cut off when the time is over.
        envoy = [int(micros) / 1000 for status, micros in lines if status == "200"]
        if len(lines) - len(envoy) > CONNECTIONS:
            sys.exit(f"not every request passed: {len(envoy)} of {len(lines)}")
        return envoy, [line["total_ms"] for line in scene.logged()[before[1]:]], used / len(envoy)
    finally:
        scene.close()


def cpu(pid):
    """Seconds of CPU time that a process has taken."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(port, token, rate, seconds):
    command = ["h2load", "--h1", "-c", str(CONNECTIONS), f"--rps={rate // CONNECTIONS}", "-D", str(seconds),
               "-H", f"cookie: theme=dark; stytch_session_jwt={token}", f"http://127.0.0.1:{port}/reports"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=seconds + 60)


def show(name, times):
    cuts = statistics.quantiles(times, n=1000)
    print(f"{name:<34}{len(times):>10}{cuts[499]:>9.3f}{cuts[989]:>9.3f}{cuts[998]:>9.3f}")


if __name__ == "__main__":
    main()
