"""What the tests of clients stand on: a gateway with https, its certificates, and applications behind it."""

import base64
import contextlib
import hashlib
import http.server
import json
import os
import socket
import subprocess
import threading
import urllib.request

from scene import Process, free_port, until

HOST = "app.test"
# A test that waits longer than this waits in vain.
PATIENCE = 30


class Application:
    """An application of HTTP/1.1: tells what it was asked, and keeps it."""

    def __init__(self):
        self.requests = []
        kept = self.requests

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # One write for an answer.
            wbufsize = -1

            def answer(self):
                body = self.body()
                told = {
                    "method": self.command, "path": self.path, "headers": [list(pair) for pair in self.headers.items()],
                    "length": len(body), "sha256": hashlib.sha256(body).hexdigest(),
                }
                kept.append(told)
                if self.path.startswith("/public/download/"):
                    answer = b"x" * int(self.path.rsplit("/", 1)[1])
                else:
                    answer = json.dumps(told).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)
                self.wfile.flush()

            do_GET = do_HEAD = do_POST = do_PUT = answer

            def body(self):
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                pieces = []
                while size := int(self.rfile.readline(), 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                while self.rfile.readline() != b"\r\n":
                    pass
                return b"".join(pieces)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            # As many may connect at once as there are streams.
            request_queue_size = 1024

            def handle_error(self, *_):
                """Whoever breaks off is part of some tests."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def asked(self, path):
        return [request for request in self.requests if request["path"] == path]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Gateway:
    """The gateway, with these settings beyond what every test needs. Places in them are written `$NAME`."""

    def __init__(self, folder, emulator, places, settings):
        self.folder, self.emulator = folder, emulator
        self.plain, self.secure, self.admin = free_port(), free_port(), free_port()
        self.socket = folder / "gateway.sock"
        (folder / "secret").write_text(emulator.project["secret"])
        for name, place in {**places, "FOLDER": folder}.items():
            settings = settings.replace(f"${name}", str(place))
        (folder / "settings.toml").write_text(f"""
[stytch]
project_id = "{emulator.project["project_id"]}"
secret_file = "{folder}/secret"
api_url = "{emulator.url}"
[admin]
listen = "127.0.0.1:{self.admin}"
[telemetry]
access_log = "{folder}/access.log"
[rate_limit]
failures = "off"
{settings.replace("$PLAIN", str(self.plain)).replace("$SECURE", str(self.secure))}
""")
        self.process = Process("gateway", folder, [os.environ["GATEWAY_BIN"], "run", "-c", folder / "settings.toml"])
        try:
            until(self._is_ready, "the gateway is ready")
        except BaseException:
            self.stop()
            raise

    def _is_ready(self):
        assert self.process.process.poll() is None, self.process.log.read_text()
        with contextlib.suppress(OSError):
            return self._admin("readyz") is not None
        return False

    def _admin(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/{path}", timeout=10) as response:
            return response.read().decode()

    def metric(self, name):
        """The sum of all that begin so."""
        lines = [line for line in self._admin("metrics").splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def logged(self, **having):
        written, _, _ = (self.folder / "access.log").read_text().rpartition("\n")
        lines = [json.loads(line) for line in written.splitlines()]
        return [line for line in lines if all(line.get(key) == value for key, value in having.items())]

    def panics(self):
        return self.metric("stytch_gateway_panics_total")

    def stop(self):
        self.process.stop()


def revoke(emulator, session):
    """Through the API, as an application would."""
    project = emulator.project
    basic = base64.b64encode(f"{project['project_id']}:{project['secret']}".encode()).decode()
    body = json.dumps({"session_token": session["session_token"]}).encode()
    request = urllib.request.Request(
        f"{emulator.url}/v1/b2b/sessions/revoke", body,
        {"Content-Type": "application/json", "Authorization": f"Basic {basic}"})
    urllib.request.urlopen(request, timeout=10).close()


def run(*command, **more):
    """Runs a program to its end."""
    command = [str(part) for part in command]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE * 2, check=False, **more)


def has_ipv6():
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False
