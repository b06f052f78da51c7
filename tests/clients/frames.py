"""A client of HTTP/2 that sends whatever bytes it is told to, and reads what comes back."""

import contextlib
import socket
import ssl

import hpack
from hyperframe.frame import (
    DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame)

from stage import HOST, PATIENCE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
 REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM) = range(12)


def frame(kind, flags, stream, payload=b""):
    """The bytes of one (RFC 9113 section 4.1)."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def block(*fields):
    """A field block that leaves nothing behind in a table, so that it can be sent at any time. Written here,
    because hpack's own encoder mends what it is given."""
    return b"".join(_literal(part) for field in fields for part in (None, *field))


def _literal(text):
    if text is None:
        return b"\0"
    text = text if isinstance(text, bytes) else text.encode("latin-1")
    length, bytes_of_length = len(text), bytearray()
    if length < 127:
        return bytes([length]) + text
    length -= 127
    while length > 127:
        bytes_of_length.append(length % 128 + 128)
        length //= 128
    return b"\x7f" + bytes(bytes_of_length) + bytes([length]) + text


def asking(method="GET", path="/public/x", *more, authority=HOST, scheme="https"):
    return block((":method", method), (":scheme", scheme), (":authority", authority), (":path", path), *more)


def request(stream, *more, flags=END_STREAM, **how):
    return frame(HEADERS, END_HEADERS | flags, stream, asking(*more, **how))


class Probe:
    def __init__(self, gateway, pki, preface=PREFACE + frame(SETTINGS, 0, 0)):
        context = ssl.create_default_context(cafile=pki.ca)
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", gateway.secure), timeout=PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname=HOST)
        self.decoder = hpack.Decoder()
        self.held = b""
        self.send(preface)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *pieces):
        """What the gateway does not take any more is lost: its answer is what counts."""
        with contextlib.suppress(OSError):
            self.socket.sendall(b"".join(pieces))

    def next(self):
        """The next frame, or None at the end. Settings are answered by whoever asks for them."""
        try:
            return self._arrived()
        except TimeoutError:
            raise AssertionError("waited in vain for a frame") from None

    def _arrived(self):
        if not self._holds(9):
            return None
        read, length = Frame.parse_frame_header(memoryview(self.held[:9]))
        if not self._holds(9 + length):
            return None
        read.parse_body(memoryview(self.held[9:9 + length]))
        self.held = self.held[9 + length:]
        if isinstance(read, HeadersFrame):
            read.fields = dict(self.decoder.decode(read.data))
        return read

    def _holds(self, count):
        """Whether so many bytes come before the end."""
        while len(self.held) < count:
            try:
                more = self.socket.recv(65536)
            except TimeoutError:
                raise
            except OSError:
                more = b""
            if not more:
                return False
            self.held += more
        return True

    def until(self, *kinds):
        """The next frame of one of these kinds, or None at the end."""
        while (read := self.next()) is not None:
            if isinstance(read, kinds):
                return read
        return None

    def what_comes(self, token=b"a probe!"):
        """What becomes of the frames that were sent: ("goaway", error), ("reset", error), ("status", number), or
        ("nothing",) when a PING behind them is answered before anything else is. And ("closed",)."""
        self.send(frame(PING, 0, 0, token))
        while (read := self.until(GoAwayFrame, RstStreamFrame, HeadersFrame, PingFrame)) is not None:
            match read:
                case GoAwayFrame():
                    return "goaway", read.error_code
                case RstStreamFrame():
                    return "reset", read.error_code
                case HeadersFrame():
                    return "status", int(read.fields[":status"])
                case PingFrame() if read.opaque_data == token and "ACK" in read.flags:
                    return ("nothing",)
        return ("closed",)

    def what_has_come(self, wait=False):
        """The end of the connection, if it has come by now: ("goaway", error) or ("closed",)."""
        self.socket.settimeout(PATIENCE if wait else 0.001)
        try:
            while (read := self._arrived()) is not None:
                if isinstance(read, GoAwayFrame):
                    return "goaway", read.error_code
        except TimeoutError:
            return None
        finally:
            self.socket.settimeout(PATIENCE)
        return ("closed",)

    def answer(self, stream):
        """The status and the body of a request's answer. What it takes of the windows is given back."""
        status, body = None, b""
        while (read := self.until(HeadersFrame, DataFrame, RstStreamFrame, GoAwayFrame)) is not None:
            if isinstance(read, GoAwayFrame):
                return "goaway", read.error_code
            if read.stream_id != stream:
                continue
            if isinstance(read, RstStreamFrame):
                return "reset", read.error_code
            if isinstance(read, HeadersFrame):
                status = int(read.fields.get(":status", status or 0))
            else:
                body += read.data
                if read.flow_controlled_length:
                    given = read.flow_controlled_length.to_bytes(4)
                    self.send(frame(WINDOW_UPDATE, 0, stream, given), frame(WINDOW_UPDATE, 0, 0, given))
            if "END_STREAM" in read.flags:
                return status, body
        return ("closed",)

    def is_closed(self):
        """Reads to the end of the connection, which must come."""
        while self.next() is not None:
            pass
        return True


