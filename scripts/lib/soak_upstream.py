"""The application behind a soak: short and long answers, events, uploads, WebSockets that echo."""

import asyncio
import base64
import hashlib
import sys

BODY = b"x" * 1024
LONG = 1024 * 1024
EVENTS, EVENT_PAUSE = 12, 0.5


async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            _, target, _ = head[0].split(" ")
            fields = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
            if fields.get("upgrade") == "websocket":
                key = next(line.split(": ", 1)[1] for line in head if line.lower().startswith("sec-websocket-key"))
                await echo(reader, writer, key)
                return
            received = await body(reader, fields)
            if target.endswith("/events"):
                await events(writer)
            elif target.endswith("/long"):
                await answer(writer, b"y" * LONG)
            elif target.endswith("/who"):
                await answer(writer, fields.get("x-stytch-member-id", "").encode())
            elif received:
                await answer(writer, str(received).encode())
            else:
                await answer(writer, BODY)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def body(reader, fields):
    if "content-length" in fields:
        return len(await reader.readexactly(int(fields["content-length"])))
    if fields.get("transfer-encoding") != "chunked":
        return 0
    total = 0
    while size := int(await reader.readuntil(b"\r\n"), 16):
        total += len(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return total


async def answer(writer, content):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
    await writer.drain()


async def events(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(EVENTS):
        event = b"data: %d\n\n" % number
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(EVENT_PAUSE)
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def echo(reader, writer, key):
    accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                 b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    while True:
        first, second = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        content = bytes(byte ^ mask[at % 4] for at, byte in enumerate(await reader.readexactly(second & 0x7F)))
        writer.write(bytes([first, len(content)]) + content)
        await writer.drain()
        if first & 0x0F == 8:
            return


async def main():
    host, _, port = sys.argv[1].partition(":")
    async with await asyncio.start_server(serve, host, int(port), backlog=1024) as server:
        await server.serve_forever()


asyncio.run(main())
