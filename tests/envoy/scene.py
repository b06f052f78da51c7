"""What the tests of Envoy stand on: processes on ports of their own, an upstream that keeps what it
was sent, and a client that sends exactly the bytes it is given.
"""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVOY = pathlib.Path(sys.executable).with_name("envoy")
PATIENCE = 30


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def until(condition, what):
    give_up = time.monotonic() + PATIENCE
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < give_up, f"not in time: {what}"
        time.sleep(0.05)


def is_open(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Process:
    """A program, its output in a file; ended when it is left."""

    def __init__(self, name, folder, command, environment=None):
        self.log = folder / f"{name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )

    def is_listening(self, port):
        assert self.process.poll() is None, self.log.read_text()
        return is_open(port)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Emulator(Process):
    def __init__(self, folder):
        port = free_port()
        super().__init__("emulator", folder, [os.environ["EMULATOR_BIN"], "--listen", f"127.0.0.1:{port}"])
        self.url = f"http://127.0.0.1:{port}"
        until(lambda: self.is_listening(port), "the emulator listens")
        self.project = self.control("GET", "project")

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/emulator/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            text = response.read()
        return json.loads(text) if text else None

    def code(self, to):
        """The newest that was sent there."""
        return self.control("GET", f"outbox?to={urllib.parse.quote(to)}")[0]["code"]

    def session(self, email="ben@acme.example", organization="acme"):
        return self.control("POST", "sessions", {"email": email, "organization": organization})

    def is_down(self):
        self.control("PUT", "faults", [{"path": "/v1", "status": 503}])

    def is_up(self):
        self.control("DELETE", "faults")


class Upstream:
    """An application: keeps the head of every request, and echoes what comes over a WebSocket."""

    def __init__(self):
        self.heads = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    def _serve(self, stream):
        with stream, contextlib.suppress(OSError):
            held = b""
            while True:
                while b"\r\n\r\n" not in held:
                    more = stream.recv(65536)
                    if not more:
                        return
                    held += more
                head, held = held.split(b"\r\n\r\n", 1)
                self.heads.append(head)
                if re.search(rb"(?im)^upgrade: *websocket", head):
                    stream.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
                    while more := stream.recv(65536):
                        stream.sendall(b"echo " + more)
                    return
                length = re.search(rb"(?im)^content-length: *(\d+)", head)
                wanted = int(length[1]) if length else 0
                while len(held) < wanted:
                    held += stream.recv(65536)
                held = held[wanted:]
                stream.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Stytch-Assertion: echoed\r\n"
                    b"Set-Cookie: app=1; Path=/\r\n\r\nok")

    def last(self):
        return Head(self.heads[-1])

    def close(self):
        self.listener.close()


class Head:
    """A request's head, or a response."""

    def __init__(self, head, body=b""):
        first, *lines = head.decode("latin-1").split("\r\n")
        self.first, self.body = first, body
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]

    @property
    def status(self):
        return int(self.first.split(" ")[1])

    @property
    def target(self):
        return self.first.split(" ")[1]

    def all(self, name):
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def get(self, name):
        values = self.all(name)
        assert len(values) <= 1, (name, values)
        return values[0] if values else None

    def named(self, pattern):
        """Every header whose name, its marks folded, matches."""
        fold = lambda name: re.sub(r"[^a-z0-9]", "-", name.lower())
        return sorted((name.lower(), value) for name, value in self.headers if re.match(pattern, fold(name)))

    def json(self):
        return json.loads(self.body)


def connect(port):
    """As a client, whose address is not Envoy's."""
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE, source_address=("127.0.0.2", 0))


def exchange(port, request):
    """Sends these bytes, and reads one response, by its length or to the end."""
    with connect(port) as stream:
        stream.sendall(request)
        return read_response(stream, request.startswith(b"HEAD "))


def read_response(stream, is_head=False):
    held = b""
    while b"\r\n\r\n" not in held:
        more = stream.recv(65536)
        if not more:
            raise ConnectionError(f"closed after {held!r}")
        held += more
    head, body = held.split(b"\r\n\r\n", 1)
    response = Head(head)
    length = response.get("content-length")
    chunked = response.get("transfer-encoding") == "chunked"
    if is_head or response.status == 101:
        wanted = 0
    elif length is not None:
        wanted = int(length)
    else:
        wanted = float("inf")
    while len(body) < wanted and not (chunked and body.endswith(b"0\r\n\r\n")):
        more = stream.recv(65536)
        if not more:
            break
        body += more
    response.body = body
    return response


class Scene:
    """Envoy with one of the published configurations, the gateway behind it, and both their peers."""

    def __init__(self, folder, emulator, configuration, settings, change=lambda text: text):
        self.folder, self.emulator, self.settings = folder, emulator, settings
        self.upstream = Upstream()
        self.port, self.http, self.grpc, self.admin = (free_port() for _ in range(4))
        self.gateway = self.envoy = None
        try:
            self._start(change((ROOT / "config/front" / configuration).read_text()))
        except BaseException:
            self.close()
            raise

    def _start(self, text):
        self.start_gateway()
        places = {10000: self.port, 3000: self.upstream.port, 9191: self.grpc, 8080: self.http, 9090: self.admin}
        for known, port in places.items():
            text = text.replace(f"port_value: {known} ", f"port_value: {port} ")
        # Tests do not wait as long as operators do.
        text = re.sub(r"(?m)^( +(?:no_traffic_)?interval:) \w+$", r"\1 0.2s", text)
        (self.folder / "envoy.yaml").write_text(text)
        self.envoy = Process("envoy", self.folder, [
            ENVOY, "-c", self.folder / "envoy.yaml", "--concurrency", "1", "--disable-hot-restart", "-l", "warning",
        ])
        until(lambda: self.envoy.is_listening(self.port), "Envoy listens")
        until(lambda: self.send("GET", "/public/ready").status == 200, "Envoy asks")

    def write_settings(self, more=""):
        """As published, with this scene's places over it."""
        (self.folder / "secret").write_text(self.emulator.project["secret"])
        places = f"""
[stytch]
project_id = "{self.emulator.project["project_id"]}"
secret_file = "{self.folder}/secret"
api_url = "{self.emulator.url}"
[server]
listen = "127.0.0.1:{self.http}"
workers = 1
[admin]
listen = "127.0.0.1:{self.admin}"
[signin]
enabled = true
[rate_limit]
sign_in = "off"
[telemetry]
access_log = "{self.folder}/access.log"
"""
        if "[ext_authz]" in (ROOT / "config/front" / self.settings).read_text():
            places += f'[ext_authz]\nlisten = "127.0.0.1:{self.grpc}"\n'
        (self.folder / "places.toml").write_text(places)
        (self.folder / "more.toml").write_text(more)

    def start_gateway(self):
        self.write_settings()
        files = [ROOT / "config/front" / self.settings, self.folder / "places.toml", self.folder / "more.toml"]
        command = [os.environ["GATEWAY_BIN"], "run"]
        for file in files:
            command += ["-c", file]
        self.gateway = Process("gateway", self.folder, command)
        until(lambda: self.gateway.is_listening(self.admin), "the gateway listens")
        until(self.is_ready, "the gateway is ready")

    def is_ready(self):
        with contextlib.suppress(urllib.error.URLError):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=5) as response:
                return response.status == 200
        return False

    def restart_gateway(self):
        self.start_gateway()
        until(lambda: self.send("GET", "/public/ready").status == 200, "Envoy asks again")

    def send(self, method, target, *headers, body=b"", host="app.test"):
        lines = [f"{method} {target} HTTP/1.1".encode(), f"Host: {host}".encode()]
        lines += [header if isinstance(header, bytes) else header.encode() for header in headers]
        if body:
            lines.append(f"Content-Length: {len(body)}".encode())
        return exchange(self.port, b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def logged(self):
        written, _, _ = (self.folder / "access.log").read_text().rpartition("\n")
        return [json.loads(line) for line in written.splitlines()]

    def close(self):
        for process in (self.envoy, self.gateway):
            if process:
                process.stop()
        self.upstream.close()
