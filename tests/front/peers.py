"""Processes and sockets: everything said over HTTP is said by hand, so that it stays as it is."""

import base64
import hashlib
import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request

PATIENCE = 20
HOST = "app.test"
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
FRONTS = ["nginx", "caddy", "haproxy"]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class Process:
    """A program that listens on a port, until the end of the `with`."""

    def start(self, command, port, directory, **more):
        self.log = directory / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory, **more)
        until(f"{command[0]}: {self.log.read_text()}", lambda: self.process.poll() is not None or answers(port))
        assert self.process.poll() is None, self.log.read_text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Emulator:
    """Stytch."""

    def __init__(self, binary):
        command = [binary, "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.environment = {}
        for line in self.process.stdout:
            name, equals, value = line.strip().partition("=")
            if equals:
                self.environment[name] = value
            if name == "STYTCH_GATEWAY_STYTCH__API_URL":
                break
        self.url = self.environment["STYTCH_GATEWAY_STYTCH__API_URL"]

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/emulator/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            text = response.read()
        return json.loads(text) if text else None

    def session(self, email="ben@acme.example", **more):
        return self.call("POST", "sessions", {"email": email, "organization": "acme", **more})

    def code(self, to):
        """The newest that was sent there."""
        return self.call("GET", f"outbox?to={urllib.parse.quote(to)}")[0]["code"]

    def questions(self):
        """How often the gateway asked about a session."""
        return len(self.call("GET", "requests?path=/v1/b2b/sessions/authenticate"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


GATEWAY = """
[server]
listen = "127.0.0.1:{port}"
workers = 2
trusted_proxies = ["127.0.0.1"]

[admin]
listen = "127.0.0.1:{admin}"

[forward_auth]
enabled = true

[session]
max_staleness = "10m"

[rate_limit]
failures = "off"
sign_in = "off"

[signin]
enabled = true

[[routes]]
path = "/public/*"
auth = "none"

[[routes]]
path = "/optional/*"
auth = "optional"

[[routes]]
path = "/mfa"
allow.mfa = true

[[routes]]
path = "/*"
"""


class Gateway(Process):
    def __init__(self, binary, emulator, directory):
        self.port, self.admin = free_port(), free_port()
        settings = directory / "gateway.toml"
        settings.write_text(GATEWAY.format(port=self.port, admin=self.admin))
        self.start([binary, "run", "-c", settings], self.port, directory, env=emulator.environment)
        until("readiness", lambda: answers(self.admin) and ask(self.admin, "GET", "/readyz").status == 200)

    def identity(self, cookies):
        """What the gateway itself says of a session."""
        said = [("X-Original-Method", "GET"), ("X-Original-URL", f"http://{HOST}/x"), ("Cookie", cookies)]
        answer = ask(self.port, "GET", "/_stytch/auth", said)
        assert answer.status == 200, answer
        return sorted((name.lower(), value) for name, value in answer.headers if is_identity(name))


def is_identity(name):
    """Whether an application could take a header for the gateway's word."""
    return re.sub("[^a-z0-9]", "-", name.lower()).startswith("x-stytch-")


class Front(Process):
    """A front proxy with its published configuration, but for the addresses."""

    def __init__(self, kind, published, directory, gateway, application):
        self.kind, self.port = kind, free_port()
        name = {"nginx": "nginx.conf", "caddy": "Caddyfile", "haproxy": "haproxy.cfg"}[kind]
        text = (published / name).read_text()
        listens, instead = {
            "nginx": ("listen 80;", f"listen 127.0.0.1:{self.port};"),
            "caddy": ("\n:80 {", f"\nhttp://:{self.port} {{\n\tbind 127.0.0.1"),
            "haproxy": ("bind :80\n", f"bind 127.0.0.1:{self.port}\n"),
        }[kind]
        assert text.count(listens) == 1
        text = text.replace(listens, instead)
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{gateway}")
        text = text.replace("127.0.0.1:3000", f"127.0.0.1:{application}")
        for script in published.glob("*.lua"):
            shutil.copy(script, directory)
        if kind == "caddy":
            text = "{\n\tadmin off\n}\n" + text
        settings = directory / name
        settings.write_text(text)
        own = "daemon off; pid nginx.pid; error_log stderr;"
        command = {
            "nginx": ["nginx", "-p", directory, "-c", settings, "-e", "stderr", "-g", own],
            "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config", settings],
            "haproxy": ["haproxy", "-db", "-f", settings],
        }[kind]
        home = {"HOME": str(directory), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        self.start(command, self.port, directory, env=home)


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def all(self, name):
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def first(self, name):
        return next(iter(self.all(name)), None)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:500]}"


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.reader = self.socket.makefile("rb")

    def send(self, method, target, headers=(), body=b"", host=HOST):
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
        if body or method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def head(self):
        line = self.reader.readline().decode()
        assert line, "the connection was closed"
        status = int(line.split(" ")[1])
        headers = []
        while (line := self.reader.readline().decode().rstrip("\r\n")):
            name, _, value = line.partition(":")
            headers.append((name, value.strip()))
        return Response(status, headers, b"")

    def response(self, method="GET"):
        response = self.head()
        if method == "HEAD" or response.status in (101, 204, 304):
            return response
        if response.first("transfer-encoding") == "chunked":
            while (size := int(self.reader.readline(), 16)):
                response.body += self.reader.read(size)
                self.reader.readline()
            self.reader.readline()
        elif (length := response.first("content-length")) is not None:
            response.body = self.reader.read(int(length))
        else:
            response.body = self.reader.read()
        return response

    def close(self):
        self.reader.close()
        self.socket.close()


def ask(port, method, target, headers=(), body=b"", host=HOST):
    connection = Connection(port)
    try:
        connection.send(method, target, headers, body, host)
        return connection.response(method)
    finally:
        connection.close()


class Received:
    """A request as the application got it."""

    def __init__(self, line, headers):
        self.line, self.headers = line, headers

    def all(self, name):
        return [value for known, value in self.headers if known.lower() == name.lower()]

    def identity(self):
        return sorted((name.lower(), value) for name, value in self.headers if is_identity(name))


class Application:
    """Answers everything, remembers every request, and echoes what a WebSocket brings."""

    def __init__(self):
        self.received = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.converse, args=[connection], daemon=True).start()

    def converse(self, connection):
        with connection:
            try:
                self.serve(connection)
            except OSError:
                pass  # The proxy has closed it.

    def serve(self, connection):
        reader = connection.makefile("rb")
        while (line := reader.readline().decode("latin-1").strip()):
            headers = []
            while (field := reader.readline().decode("latin-1").rstrip("\r\n")):
                name, _, value = field.partition(":")
                headers.append((name, value.strip()))
            received = Received(line, headers)
            reader.read(int(next(iter(received.all("content-length")), 0)))
            self.received.append(received)
            if received.all("upgrade") == ["websocket"]:
                key = received.all("sec-websocket-key")[0].encode()
                accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest())
                connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
                )
                while (data := connection.recv(4096)):
                    connection.sendall(data)
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: theme=dark\r\n\r\nhello")

    def last(self):
        assert self.received, "the application was asked"
        return self.received[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
