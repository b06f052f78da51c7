"""RFC 9113 and RFC 7541, section by section: what is sent, and what must come of it.

What breaks the connection's state must end it with GOAWAY, what breaks a stream must end that stream alone,
and what must be ignored is. Whatever it was, nothing of it reaches an application, and the next client is served.
"""

import pytest
from hyperframe.frame import DataFrame, PingFrame, SettingsFrame

from frames import (
    ACK, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY,
    HEADERS, PADDED, PING, PREFACE, PRIORITIZED, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM, RST_STREAM,
    SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, Probe, asking, block, frame, request)
from scene import until

PATH = "/public/probed"
GET, POST = asking("GET", PATH), asking("POST", PATH)


def opened(stream=1):
    """A request whose body is still to come."""
    return frame(HEADERS, END_HEADERS, stream, POST)


def asked(stream=1):
    """A request that is whole."""
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, asking("GET", "/public/whole"))


def setting(key, value):
    return frame(SETTINGS, 0, 0, key.to_bytes(2) + value.to_bytes(4))


# Section, what is sent, and the errors that may come of it. Where a frame's own form is broken, PROTOCOL_ERROR
# may stand for what is more precise: the connection is over all the same.
OF_THE_CONNECTION = [
    ("4.2 a frame of data too large", opened() + frame(DATA, 0, 1, b"x" * 16385), FRAME_SIZE_ERROR),
    ("4.2 a field block too large", frame(HEADERS, END_HEADERS, 1, POST + b"\0" * 16384), FRAME_SIZE_ERROR),
    ("4.3 a block that does not decode", frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
     (COMPRESSION_ERROR, PROTOCOL_ERROR)),
    ("4.3 another frame within a block", frame(HEADERS, 0, 1, GET) + frame(PING, 0, 0, b"x" * 8), PROTOCOL_ERROR),
    ("4.3 another stream's block within a block", frame(HEADERS, 0, 1, GET) + asked(3), PROTOCOL_ERROR),
    ("5.1 data on an idle stream", frame(DATA, END_STREAM, 1, b"x"), (PROTOCOL_ERROR, STREAM_CLOSED)),
    ("5.1 a reset of an idle stream", frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), PROTOCOL_ERROR),
    ("5.1 a window of an idle stream", frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\x01"), PROTOCOL_ERROR),
    ("5.1 a continuation of an idle stream", frame(CONTINUATION, END_HEADERS, 1, GET), PROTOCOL_ERROR),
    ("5.1 a continuation of nothing", opened() + frame(CONTINUATION, END_HEADERS, 1, GET), PROTOCOL_ERROR),
    ("5.1.1 a stream of the server's", frame(HEADERS, END_HEADERS | END_STREAM, 2, GET), PROTOCOL_ERROR),
    ("5.1.1 a stream that goes back", asked(5) + frame(HEADERS, END_HEADERS | END_STREAM, 3, GET), PROTOCOL_ERROR),
    ("5.5 an unknown frame within a block", frame(HEADERS, 0, 1, GET) + frame(42, 0, 1, b"x"), PROTOCOL_ERROR),
    ("6.1 data of the connection", frame(DATA, END_STREAM, 0, b"x"), PROTOCOL_ERROR),
    ("6.1 more padding than frame", opened() + frame(DATA, PADDED, 1, b"\x05abcd"), PROTOCOL_ERROR),
    ("6.2 headers of the connection", frame(HEADERS, END_HEADERS | END_STREAM, 0, GET), PROTOCOL_ERROR),
    ("6.2 more padding than block", frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\xff" + GET), PROTOCOL_ERROR),
    ("6.3 a priority of the connection", frame(PRIORITY, 0, 0, b"\0" * 5), PROTOCOL_ERROR),
    ("6.4 a reset of the connection", frame(RST_STREAM, 0, 0, b"\0\0\0\x08"), PROTOCOL_ERROR),
    ("6.4 a reset of three bytes", opened() + frame(RST_STREAM, 0, 1, b"\0\0\x08"), (FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    ("6.5 settings acknowledged with more", frame(SETTINGS, ACK, 0, b"\0" * 6), (FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    ("6.5 settings of a stream", frame(SETTINGS, 0, 1, b"\0\3\0\0\0\x64"), PROTOCOL_ERROR),
    ("6.5 half a setting", frame(SETTINGS, 0, 0, b"\0\3\0"), (FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    ("6.5.2 push neither on nor off", setting(2, 2), PROTOCOL_ERROR),
    ("6.5.2 a window beyond all", setting(4, 1 << 31), (FLOW_CONTROL_ERROR, PROTOCOL_ERROR)),
    ("6.5.2 frames too small", setting(5, 16383), PROTOCOL_ERROR),
    ("6.5.2 frames too large", setting(5, 1 << 24), PROTOCOL_ERROR),
    ("6.6 a promise of the client's", opened() + frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02" + GET), PROTOCOL_ERROR),
    ("6.7 a ping of a stream", frame(PING, 0, 1, b"x" * 8), PROTOCOL_ERROR),
    ("6.7 a ping of seven bytes", frame(PING, 0, 0, b"x" * 7), (FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    ("6.8 a farewell of a stream", frame(GOAWAY, 0, 1, b"\0" * 8), PROTOCOL_ERROR),
    ("6.9 a window that grows by nothing", frame(WINDOW_UPDATE, 0, 0, b"\0" * 4), PROTOCOL_ERROR),
    ("6.9 a window of three bytes", frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"), (FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    ("6.9.1 a window beyond all", frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), FLOW_CONTROL_ERROR),
    ("6.10 a continuation behind the end", asked() + frame(CONTINUATION, END_HEADERS, 1, GET), PROTOCOL_ERROR),
    ("6.10 a continuation of the connection", frame(HEADERS, 0, 1, GET) + frame(CONTINUATION, END_HEADERS, 0, b""),
     PROTOCOL_ERROR),
    ("6.10 data before a continuation", frame(HEADERS, 0, 1, GET) + frame(DATA, 0, 1, b"x"), PROTOCOL_ERROR),
    ("HPACK 2.3.3 an index beyond the table", frame(HEADERS, END_HEADERS | END_STREAM, 1, GET + b"\xff\x80\x01"),
     (COMPRESSION_ERROR, PROTOCOL_ERROR)),
    ("HPACK 4.2 a table beyond what was agreed on", frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f\xe2\x1f" + GET),
     (COMPRESSION_ERROR, PROTOCOL_ERROR)),
    ("HPACK 4.2 a table that changes behind fields", frame(HEADERS, END_HEADERS | END_STREAM, 1, GET + b"\x20"),
     (COMPRESSION_ERROR, PROTOCOL_ERROR)),
    ("HPACK 5.2 Huffman padded with more than a byte",
     frame(HEADERS, END_HEADERS | END_STREAM, 1, GET + b"\0\x01x\x83\xf9\xff\xff"), (COMPRESSION_ERROR, PROTOCOL_ERROR)),
    ("HPACK 5.2 Huffman padded with zeros", frame(HEADERS, END_HEADERS | END_STREAM, 1, GET + b"\0\x01x\x81\x18"),
     (COMPRESSION_ERROR, PROTOCOL_ERROR)),
    ("HPACK 5.2 Huffman with an end in it",
     frame(HEADERS, END_HEADERS | END_STREAM, 1, GET + b"\0\x01x\x84\xff\xff\xff\xff"), (COMPRESSION_ERROR, PROTOCOL_ERROR)),
    ("HPACK 6.1 index zero", frame(HEADERS, END_HEADERS | END_STREAM, 1, GET + b"\x80"), (COMPRESSION_ERROR, PROTOCOL_ERROR)),
    ("6.3 a priority of four bytes", opened() + frame(PRIORITY, 0, 1, b"\0" * 4), (FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    ("6.9 a stream's window that grows by nothing", opened() + frame(WINDOW_UPDATE, 0, 1, b"\0" * 4), PROTOCOL_ERROR),
]

OF_A_STREAM = [
    ("5.3.1 a stream that depends on itself",
     frame(HEADERS, END_HEADERS | PRIORITIZED, 1, b"\0\0\0\x01\x10" + POST), PROTOCOL_ERROR),
    ("6.9.1 a stream's window beyond all", opened() + frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), FLOW_CONTROL_ERROR),
    ("8.1 a second head that does not end", opened() + frame(HEADERS, END_HEADERS, 1, block(("a", "b"))), PROTOCOL_ERROR),
    ("8.1.1 a body that is too long", frame(HEADERS, END_HEADERS, 1, asking("POST", PATH, ("content-length", "1")))
     + frame(DATA, END_STREAM, 1, b"xx"), PROTOCOL_ERROR),
    ("8.1.1 a body that is too short", frame(HEADERS, END_HEADERS, 1, asking("POST", PATH, ("content-length", "3")))
     + frame(DATA, 0, 1, b"x") + frame(DATA, END_STREAM, 1, b"x"), PROTOCOL_ERROR),
    ("8.1.1 no body where one was announced", request(1, "POST", PATH, ("content-length", "3")), PROTOCOL_ERROR),
]

METHOD, SCHEME, AUTHORITY, WHERE = (":method", "GET"), (":scheme", "https"), (":authority", "app.test"), (":path", PATH)
# Malformed requests (8.1.1): a stream error, or 400.
MALFORMED = {
    "8.2 an upper-case name": asking("GET", PATH, ("X-A", "b")),
    "8.2.1 a name with a space": asking("GET", PATH, ("x a", "b")),
    "8.2.1 a name with a colon": asking("GET", PATH, ("x:", "b")),
    "8.2.1 an empty name": asking("GET", PATH, ("", "b")),
    "8.2.1 a name beyond ASCII": asking("GET", PATH, (b"x\xfc", "b")),
    "8.2.1 a value with CR": asking("GET", PATH, ("x", "a\rb")),
    "8.2.1 a value with LF": asking("GET", PATH, ("x", "a\nb")),
    "8.2.1 a value with NUL": asking("GET", PATH, ("x", "a\0b")),
    "8.2.1 a value that begins with a space": asking("GET", PATH, ("x", " a")),
    "8.2.1 a value that ends with a tab": asking("GET", PATH, ("x", "a\t")),
    "8.2.2 connection": asking("GET", PATH, ("connection", "keep-alive")),
    "8.2.2 keep-alive": asking("GET", PATH, ("keep-alive", "1")),
    "8.2.2 proxy-connection": asking("GET", PATH, ("proxy-connection", "keep-alive")),
    "8.2.2 transfer-encoding": asking("GET", PATH, ("transfer-encoding", "chunked")),
    "8.2.2 upgrade": asking("GET", PATH, ("upgrade", "websocket")),
    "8.2.2 te": asking("GET", PATH, ("te", "trailers, deflate")),
    "8.3 an unknown pseudo-field": asking("GET", PATH, (":odd", "a")),
    "8.3 a pseudo-field of answers": asking("GET", PATH, (":status", "200")),
    "8.3 a pseudo-field behind others": block(METHOD, SCHEME, AUTHORITY, ("x", "a"), WHERE),
    "8.3 a method twice": block(METHOD, METHOD, SCHEME, AUTHORITY, WHERE),
    "8.3 a scheme twice": block(METHOD, SCHEME, SCHEME, AUTHORITY, WHERE),
    "8.3 an authority twice": block(METHOD, SCHEME, AUTHORITY, AUTHORITY, WHERE),
    "8.3 a path twice": block(METHOD, SCHEME, AUTHORITY, WHERE, WHERE),
    "8.3.1 no method": block(SCHEME, AUTHORITY, WHERE),
    "8.3.1 no scheme": block(METHOD, AUTHORITY, WHERE),
    "8.3.1 no path": block(METHOD, SCHEME, AUTHORITY),
    "8.3.1 an empty path": block(METHOD, SCHEME, AUTHORITY, (":path", "")),
    "8.3.1 a path without its slash": block(METHOD, SCHEME, AUTHORITY, (":path", PATH[1:])),
    "8.3.1 an asterisk for GET": block(METHOD, SCHEME, AUTHORITY, (":path", "*")),
    "8.3.1 no authority and no host": block(METHOD, SCHEME, WHERE),
    "8.3.1 an authority with a user": asking("GET", PATH, authority="me@app.test"),
    "8.3.1 an authority and another host": asking("GET", PATH, ("host", "other.test")),
    "8.3.1 two hosts": block(METHOD, SCHEME, WHERE, ("host", "app.test"), ("host", "app.test")),
    "8.5 a method that is none": asking("GE T", PATH),
}

IGNORED = {
    "4.1 an unknown frame": frame(42, 0xff, 0, b"x" * 100) + frame(0xfe, 0, 1, b""),
    "4.1 unknown flags": frame(PING, 0xfe, 0, b"x" * 8) + frame(SETTINGS, 0xfe, 0),
    "4.1 the reserved bit": frame(WINDOW_UPDATE, 0, 1 << 31, b"\x80\0\0\x01"),
    "5.1 a priority of an idle stream": frame(PRIORITY, 0, 7, b"\0\0\0\0\x10"),
    "5.1 a window of a closed stream": asked() + frame(RST_STREAM, 0, 1, b"\0\0\0\x08") + frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
    "5.1 a reset of a closed stream": asked() + frame(RST_STREAM, 0, 1, b"\0\0\0\x08") * 2,
    "6.5.2 an unknown setting": setting(0xff, 7) + setting(0, 7),
    "6.5.2 frames of any size there may be": setting(5, 16384) + setting(5, (1 << 24) - 1),
    "6.7 an answer to no ping": frame(PING, ACK, 0, b"x" * 8),
    "6.10 a block in four pieces": frame(HEADERS, END_STREAM, 1, asking("GET", "/public/whole")[:9])
    + frame(CONTINUATION, 0, 1, asking("GET", "/public/whole")[9:11]) + frame(CONTINUATION, 0, 1)
    + frame(CONTINUATION, END_HEADERS, 1, asking("GET", "/public/whole")[11:]),
}


@pytest.fixture(autouse=True)
def nothing_is_left_of_it(gateway, pki, app):
    """What was sent reached nobody, and whoever comes next is served."""
    yield
    with Probe(gateway, pki) as next_client:
        next_client.send(request(1, "GET", "/public/next"))
        assert next_client.answer(1)[0] == 200
    came, app.requests[:] = app.asked(PATH), []
    assert came == []
    assert gateway.panics() == 0


def cases(table):
    return pytest.mark.parametrize("case", table, ids=lambda case: case[0])


@cases(OF_THE_CONNECTION)
def test_errors_of_the_connection(gateway, pki, case):
    _, sent, error = case
    with Probe(gateway, pki) as probe:
        probe.send(sent)
        came = probe.what_comes()
        while came[0] in ("status", "nothing"):
            came = probe.what_comes()
        assert came in [("goaway", error) for error in (error if isinstance(error, tuple) else (error,))]
        assert probe.is_closed()


@cases(OF_A_STREAM)
def test_errors_of_a_stream(gateway, pki, case):
    _, sent, error = case
    with Probe(gateway, pki) as probe:
        probe.send(sent)
        assert probe.answer(1) == ("reset", error)
        probe.send(asked(3))
        assert probe.answer(3)[0] == 200, "the others go on"


@cases(list(MALFORMED.items()))
def test_malformed_requests(gateway, pki, case):
    with Probe(gateway, pki) as probe:
        probe.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, case[1]))
        came = probe.answer(1)
        if came == ("goaway", PROTOCOL_ERROR):
            # A stream's error may be treated as the connection's (5.4.1).
            assert probe.is_closed()
            return
        assert came == ("reset", PROTOCOL_ERROR) or came[0] == 400
        probe.send(asked(3))
        assert probe.answer(3)[0] == 200, "the others go on"


@cases(list(IGNORED.items()))
def test_what_is_ignored(gateway, pki, case):
    with Probe(gateway, pki) as probe:
        probe.send(case[1])
        while (came := probe.what_comes()) == ("status", 200):
            pass
        assert came == ("nothing",)
        probe.send(asked(9))
        assert probe.answer(9)[0] == 200


@pytest.mark.parametrize("preface", [
    b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + frame(SETTINGS, 0, 0), b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n",
    PREFACE[:-1] + b"\0",
], ids=["3.4 another", "3.4 another version", "3.4 another end"])
def test_prefaces(gateway, pki, preface):
    with Probe(gateway, pki, preface) as probe:
        came = probe.what_comes()
        assert came in [("goaway", PROTOCOL_ERROR), ("closed",)]
        assert probe.is_closed()


def test_streams_that_were_ended_take_no_more(gateway, pki):
    """5.1: half closed, and closed."""
    for more in [frame(DATA, END_STREAM, 1, b"x"), frame(HEADERS, END_HEADERS | END_STREAM, 1, block(("a", "b")))]:
        with Probe(gateway, pki) as probe:
            probe.send(asked(), more)
            came = probe.answer(1)
            while came[0] == 200:
                came = probe.answer(1)
            assert came in [("reset", STREAM_CLOSED), ("goaway", STREAM_CLOSED), ("goaway", PROTOCOL_ERROR)], more
        with Probe(gateway, pki) as probe:
            probe.send(asked())
            assert probe.answer(1)[0] == 200
            probe.send(more)
            came = probe.answer(1)
            assert came in [("reset", STREAM_CLOSED), ("goaway", STREAM_CLOSED), ("goaway", PROTOCOL_ERROR)], more


def test_no_more_streams_than_agreed_on(gateway, pki):
    """5.1.2"""
    with Probe(gateway, pki) as probe:
        settings = probe.until(SettingsFrame).settings
        most = settings[SettingsFrame.MAX_CONCURRENT_STREAMS]
        probe.send(frame(SETTINGS, ACK, 0))
        assert probe.what_comes() == ("nothing",)
        # Their bodies are still to come, so that they stay.
        probe.send(*(frame(HEADERS, END_HEADERS, 2 * number + 1, asking("POST", "/public/whole")) for number in range(most)))
        assert probe.what_comes() == ("nothing",)
        probe.send(opened(2 * most + 1))
        assert probe.answer(2 * most + 1) in [("reset", REFUSED_STREAM), ("reset", PROTOCOL_ERROR)]
        probe.send(frame(DATA, END_STREAM, 1))
        assert probe.answer(1)[0] == 200


def test_settings_and_pings_are_answered(gateway, pki):
    """6.5.3 and 6.7"""
    with Probe(gateway, pki) as probe:
        for _ in range(2):
            while "ACK" not in probe.until(SettingsFrame).flags:
                pass
            probe.send(setting(3, 50))
        probe.send(frame(PING, 0, 0, b"\0\1\2\3\4\5\6\7"))
        answer = probe.until(PingFrame)
        assert (answer.opaque_data, answer.flags) == (b"\0\1\2\3\4\5\6\7", {"ACK"})


def test_windows_are_kept_to(gateway, pki):
    """6.9: not a byte more than the client has room for, whenever it says how much that is."""
    wide = PREFACE + setting(4, 1)
    with Probe(gateway, pki, wide) as probe:
        probe.send(request(1, "GET", "/public/download/100"))
        assert probe.until(DataFrame).data == b"x"
        assert probe.what_comes() == ("nothing",)
        probe.send(frame(WINDOW_UPDATE, 0, 1, (9).to_bytes(4)))
        assert sum(len(probe.until(DataFrame).data) for _ in range(1)) == 9
        # Less than was sent already: the window is below nothing (6.9.2).
        probe.send(setting(4, 0), frame(WINDOW_UPDATE, 0, 1, (1).to_bytes(4)))
        assert probe.what_comes() == ("nothing",)
        probe.send(setting(4, 1000))
        rest = b""
        while True:
            read = probe.until(DataFrame)
            rest += read.data
            if "END_STREAM" in read.flags:
                break
        assert rest == b"x" * 90
    with Probe(gateway, pki, PREFACE + setting(4, (1 << 31) - 1)) as probe:
        # The connection's own window is not changed by settings.
        probe.send(request(1, "GET", "/public/download/200000"))
        came = 0
        while came < 65535:
            came += len(probe.until(DataFrame).data)
        assert came == 65535 and probe.what_comes() == ("nothing",)


def test_a_client_that_says_goodbye_is_served_to_the_end(gateway, pki):
    """6.8"""
    with Probe(gateway, pki) as probe:
        probe.send(request(1, "GET", "/public/download/50000"), frame(GOAWAY, 0, 0, b"\0" * 8))
        assert probe.answer(1) == (200, b"x" * 50000)


def test_pseudo_fields_of_trailers_go_nowhere(gateway, pki, app):
    """8.1: they make a request malformed. Taken or not, none of them is anything to the application."""
    with Probe(gateway, pki) as probe:
        probe.send(
            frame(HEADERS, END_HEADERS, 1, asking("POST", "/public/trailers")), frame(DATA, 0, 1, b"x"),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, block((":path", PATH), (":authority", "other.test"))))
        came = probe.answer(1)
        assert came == ("reset", PROTOCOL_ERROR) or came[0] == 200
    for one in app.asked("/public/trailers"):
        assert ["host", "app.test"] in [[name.lower(), value] for name, value in one["headers"]]


def test_trailers_and_padding_are_taken(gateway, pki, app):
    """6.1 and 8.1"""
    with Probe(gateway, pki) as probe:
        padded = b"\x03" + asking("POST", "/public/padded", ("te", "trailers")) + b"\0" * 3
        probe.send(
            frame(HEADERS, END_HEADERS | PADDED, 1, padded), frame(DATA, PADDED, 1, b"\x02abc\0\0"), frame(DATA, PADDED, 1, b"\0"),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, block(("checksum", "1"))))
        assert probe.answer(1)[0] == 200
    until(lambda: [one["length"] for one in app.asked("/public/padded")] == [3], "the body without its padding")
