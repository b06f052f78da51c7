"""The clients of a soak: each does one thing, and knows what must come of it."""

import asyncio
import base64
import json
import os
import random
import time

WHO = {"email": "ana@acme.example", "organization": "acme"}
PATIENCE = 30
REVOCATION = 15
MESSAGES = 5


class Unexpected(Exception):
    pass


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def must_be(self, status, body=None, what=""):
        if self.status != status or (body is not None and self.body != body):
            raise Unexpected(f"{what} {self.status} with {self.body[:200]!r}, wanted {status}")


class Client:
    """One connection at a time, kept, and cookies like a browser's."""

    def __init__(self, address, tls, context, project, stytch_answers):
        self.address, self.tls, self.context = address, tls, context
        self.project, self.stytch_answers = project, stytch_answers
        self.reader = self.writer = None
        self.retried, self.cookies, self.since = 0, {}, 0
        self.secure = random.random() < 0.4

    async def sign_in(self, afresh=False):
        """Signs in now and then; in between it lives on what the gateway gives it."""
        if afresh or not self.cookies or time.monotonic() - self.since > 1200:
            # Who comes for the first time while Stytch fails is not let in, and that is right.
            await asyncio.wait_for(self.stytch_answers.wait(), 120)
            session = await asyncio.to_thread(self.project.ask, "/emulator/sessions", WHO)
            self.cookies = {"stytch_session": session["session_token"], "stytch_session_jwt": session["session_jwt"]}
            self.since = time.monotonic()

    def cookie(self):
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    async def connect(self):
        self.close()
        host, _, port = (self.tls if self.secure else self.address).partition(":")
        context = self.context if self.secure else None
        opened = asyncio.open_connection(host, int(port), ssl=context, limit=1 << 22)
        self.reader, self.writer = await asyncio.wait_for(opened, PATIENCE)

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None

    async def ask(self, method, path, headers=None, body=None):
        """A kept connection may close at any time between two requests: what was not answered by a byte is
        sent once more on a new one (RFC 9110 section 9.2.2), where that is safe."""
        kept = self.writer is not None
        try:
            return await asyncio.wait_for(self.exchange(method, path, headers or {}, body), PATIENCE)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            nothing_came = not isinstance(error, asyncio.IncompleteReadError) or not error.partial
            self.close()
            if not (kept and nothing_came):
                raise
            self.retried += 1
            return await asyncio.wait_for(self.exchange(method, path, headers or {}, body), PATIENCE)

    async def exchange(self, method, path, headers, body):
        if self.writer is None:
            await self.connect()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {'localhost' if self.secure else self.address}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if isinstance(body, bytes):
            lines.append(f"Content-Length: {len(body)}")
        elif body:
            lines.append("Transfer-Encoding: chunked")
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        for part in [body] if isinstance(body, bytes) else body or []:
            self.writer.write(part if isinstance(body, bytes) else b"%x\r\n%s\r\n" % (len(part), part))
            await self.writer.drain()
        if body and not isinstance(body, bytes):
            self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()
        return await self.answer()

    async def head(self):
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = [line.split(": ", 1) for line in lines[1:] if ": " in line]
        for name, value in fields:
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                if key in self.cookies and rest.partition(";")[0]:
                    self.cookies[key] = rest.partition(";")[0]
        return int(lines[0].split(" ")[1]), {name.lower(): value for name, value in fields}

    async def answer(self):
        status, headers = await self.head()
        if "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readuntil(b"\r\n")
        else:
            body = b""
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, headers, body)


class Kind:
    AT_ONCE, PAUSE = 1, 0.2


class Browser(Kind):
    """Somebody who stays signed in, whose short-lived token is renewed on the way."""

    AT_ONCE, PAUSE = 24, 0.12

    @staticmethod
    async def once(client):
        await client.sign_in()
        (await client.ask("GET", f"/page/{random.randint(1, 9)}", client.cookie())).must_be(200, b"x" * 1024, "page:")


class Program(Kind):
    AT_ONCE = 4

    @staticmethod
    async def once(client):
        await client.sign_in()
        sent = os.urandom(random.choice((10, 3000, 60_000)))
        headers = {"Authorization": f"Bearer {client.cookies['stytch_session']}", "Content-Type": "text/plain"}
        body = sent if random.random() < 0.5 else [sent[:5], sent[5:]]
        # Not sent again by itself: on a connection that is certainly open.
        client.close()
        (await client.ask("POST", "/steady/form", headers, body)).must_be(200, str(len(sent)).encode(), "form:")


class Identity(Kind):
    """Forged identity never arrives, the right one always does."""

    AT_ONCE = 2

    @staticmethod
    async def once(client):
        await client.sign_in()
        answer = await client.ask("GET", "/steady/who", {**client.cookie(), "X-Stytch-Member-Id": "forged"})
        answer.must_be(200, None, "who:")
        if not answer.body.startswith(b"member-test-"):
            raise Unexpected(f"the upstream was told of {answer.body!r}")


class Nobody(Kind):
    AT_ONCE = 2

    @staticmethod
    async def once(client):
        (await client.ask("GET", "/page/1")).must_be(401, None, "nobody:")
        (await client.ask("GET", "/public/page")).must_be(200, b"x" * 1024, "public:")


class Forger(Kind):
    @staticmethod
    async def once(client):
        claims = {"sub": "member-test-0", "exp": int(time.time()) + 300}
        forged = await asyncio.to_thread(client.project.sign, claims, key="foreign")
        (await client.ask("GET", "/page/1", {"Authorization": f"Bearer {forged}"})).must_be(401, None, "forged:")
        await client.sign_in()
        (await client.ask("GET", "/admin/users", client.cookie())).must_be(403, None, "no right:")


class Smuggler(Kind):
    @staticmethod
    async def once(client):
        client.close()
        answer = await client.ask("POST", "/page/1", {"Transfer-Encoding": "chunked", "Content-Length": "3"})
        answer.must_be(400, None, "two framings:")


class Reader(Kind):
    """Long answers, sometimes read slowly, sometimes left in the middle."""

    AT_ONCE, PAUSE = 2, 1

    @staticmethod
    async def once(client):
        await client.sign_in()
        if random.random() < 0.7:
            (await client.ask("GET", "/steady/long", client.cookie())).must_be(200, b"y" * 1024 * 1024, "long:")
            return
        await client.connect()
        cookie = client.cookie()["Cookie"]
        client.writer.write(f"GET /steady/long HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode())
        for _ in range(random.randint(0, 8)):
            await asyncio.wait_for(client.reader.read(16 * 1024), PATIENCE)
            await asyncio.sleep(0.2)
        client.close()


class Listener(Kind):
    """Events to their end, and a WebSocket that echoes."""

    AT_ONCE, PAUSE = 3, 1

    @staticmethod
    async def once(client):
        await client.sign_in()
        client.close()
        if random.random() < 0.5:
            answer = await client.ask("GET", "/steady/events", client.cookie())
            answer.must_be(200, b"".join(b"data: %d\n\n" % number for number in range(12)), "events:")
            return
        await websocket(client)


class Revoked(Kind):
    """Signs in, is let in, is signed out at Stytch, and is not let in any more."""

    AT_ONCE, PAUSE = 1, 3

    @staticmethod
    async def once(client):
        await client.sign_in(afresh=True)
        (await client.ask("GET", "/page/1", client.cookie())).must_be(200, None, "signed in:")
        await asyncio.to_thread(revoke, client.project, client.cookies["stytch_session"])
        deadline = time.monotonic() + REVOCATION
        # Whether it was revoked cannot be asked while Stytch fails.
        while (answer := await client.ask("GET", "/page/1", client.cookie())).status in (200, 503):
            if not client.stytch_answers.is_set():
                deadline = time.monotonic() + REVOCATION
            elif answer.status == 503:
                answer.must_be(401, None, "revoked:")
            if time.monotonic() > deadline:
                raise Unexpected("a revoked session goes on")
            await asyncio.sleep(0.5)
        answer.must_be(401, None, "revoked:")
        client.cookies = {}


async def websocket(client):
    await client.connect()
    cookie = client.cookie()["Cookie"]
    scheme, host = ("https", "localhost") if client.secure else ("http", client.address)
    client.writer.write(
        f"GET /steady/socket HTTP/1.1\r\nHost: {host}\r\nOrigin: {scheme}://{host}\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nCookie: {cookie}\r\n\r\n".encode())
    status, _ = await asyncio.wait_for(client.head(), PATIENCE)
    if status != 101:
        raise Unexpected(f"WebSocket: {status}")
    for number in range(MESSAGES):
        content = json.dumps({"number": number}).encode()
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))
        client.writer.write(bytes([0x81, 0x80 | len(content)]) + mask + masked)
        frame = await asyncio.wait_for(client.reader.readexactly(2 + len(content)), PATIENCE)
        if frame[2:] != content:
            raise Unexpected(f"WebSocket: {frame!r}")
        await asyncio.sleep(0.5)
    client.close()


def revoke(project, token):
    project.call("/v1/b2b/sessions/revoke", {"session_token": token})


CLIENTS = [Browser, Program, Identity, Nobody, Forger, Smuggler, Reader, Listener, Revoked]
