"""What clients of HTTP/2 can do without end: each is ended, in time and with little work, and others are served
meanwhile and afterwards (RFC 9113 section 10.5)."""

import pytest
from hyperframe.frame import DataFrame

from frames import (
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, NO_ERROR, PING, PREFACE, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, Probe, asking, block, frame, request)

PATH = "/public/flood"
CANCELLED = CANCEL.to_bytes(4)
FLOODED = 'stytch_gateway_connections_refused_total{reason="http2_flood"}'


def odd(numbers):
    return (2 * number + 1 for number in numbers)


def until_it_ends(probe, pieces):
    """Sends them until the gateway has had enough, and says what of: the error of its GOAWAY."""
    for number, piece in enumerate(pieces):
        probe.send(piece)
        # Between them what the gateway says is taken in, as it would wait with its answers otherwise.
        if number % 50 == 49 and (came := probe.what_has_come()):
            return came
    return probe.what_has_come(wait=True)


@pytest.fixture(autouse=True)
def others_are_served(gateway, pki):
    with Probe(gateway, pki) as other:
        other.send(request(1, "GET", "/public/before"))
        assert other.answer(1)[0] == 200
        yield
        other.send(request(3, "GET", "/public/after"))
        assert other.answer(3)[0] == 200, "who was there before"
    with Probe(gateway, pki) as other:
        other.send(request(1, "GET", "/public/after"))
        assert other.answer(1)[0] == 200, "who comes afterwards"
    assert gateway.panics() == 0


FLOODS = {
    "PING": frame(PING, 0, 0, b"x" * 8),
    "SETTINGS": frame(SETTINGS, 0, 0),
    "SETTINGS that change the table": frame(SETTINGS, 0, 0, b"\0\1\0\0\0\0" + b"\0\1\0\0\x10\0"),
    "PRIORITY": frame(PRIORITY, 0, 1, b"\0\0\0\0\1"),
    "frames that nobody knows": frame(42, 0, 0, b"x"),
    "empty DATA": frame(DATA, 0, 1),
    "empty DATA with padding": frame(DATA, 8, 1, b"\0"),
}


@pytest.mark.parametrize("flood", FLOODS, ids=str)
def test_frames_that_move_nothing(gateway, pki, flood):
    before = gateway.metric(FLOODED)
    with Probe(gateway, pki) as probe:
        probe.send(frame(HEADERS, END_HEADERS, 1, asking("POST", PATH)))
        assert until_it_ends(probe, (FLOODS[flood] * 100 for _ in range(1000))) == ("goaway", ENHANCE_YOUR_CALM)
        assert probe.is_closed()
    # Empty data may have been too much for the library below already, which does not count.
    assert gateway.metric(FLOODED) == before + 1 or "DATA" in flood


def test_rapid_reset(gateway, pki, app):
    """CVE-2023-44487"""
    with Probe(gateway, pki) as probe:
        pieces = (request(stream, "GET", PATH) + frame(RST_STREAM, 0, stream, CANCELLED) for stream in odd(range(50_000)))
        assert until_it_ends(probe, pieces) == ("goaway", ENHANCE_YOUR_CALM)
    assert len(app.asked(PATH)) < 500


def test_resets_that_the_client_provokes(gateway, pki, app):
    """CVE-2025-8671: whatever makes the gateway reset a stream, in each of its ways."""
    ways = {
        "a window beyond all": lambda stream: frame(WINDOW_UPDATE, 0, stream, b"\x7f\xff\xff\xff"),
        "a body of another length": lambda stream: frame(DATA, END_STREAM, stream, b"x"),
        "a second head": lambda stream: frame(HEADERS, END_HEADERS, stream, block(("a", "b"))),
        "data behind the end": lambda stream: frame(DATA, END_STREAM, stream) + frame(DATA, 0, stream, b"x"),
    }
    for way, provoke in ways.items():
        app.requests.clear()
        head = asking("POST", PATH, *([("content-length", "5")] if "length" in way else []))
        with Probe(gateway, pki) as probe:
            pieces = (frame(HEADERS, END_HEADERS, stream, head) + provoke(stream) for stream in odd(range(20_000)))
            came = until_it_ends(probe, pieces)
            assert came[0] in ("goaway", "closed") and came[-1] != NO_ERROR, (way, came)
        assert len(app.asked(PATH)) < 1100, way


@pytest.mark.parametrize("size", [0, 1, 1000, 16_000])
def test_continuation_flood(gateway, pki, size):
    """CVE-2024-27316"""
    fields = block(("x", "x" * 100)) * 200
    with Probe(gateway, pki) as probe:
        probe.send(frame(HEADERS, 0, 1, asking("GET", PATH)))
        came = until_it_ends(probe, (frame(CONTINUATION, 0, 1, fields[:size]) * 10 for _ in range(10_000)))
        assert came[0] in ("goaway", "closed") and came[-1] != NO_ERROR


def test_a_block_that_unfolds(gateway, pki, app):
    """A field of four kilobytes, named by a byte each time."""
    bomb = asking("GET", PATH) + b"\x40\x01x\x7f\xa1\x1e" + b"x" * 4000 + b"\xbe" * 10_000
    with Probe(gateway, pki) as probe:
        probe.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, bomb))
        came = probe.answer(1)
        assert came[0] in (431, 400, "reset", "goaway"), came
    assert app.asked(PATH) == []


def test_a_reader_of_one_byte_at_a_time(gateway, pki):
    """CVE-2019-9517 and its like: it is slow, and costs nobody else anything."""
    with Probe(gateway, pki, PREFACE + frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0")) as probe:
        for stream in odd(range(50)):
            probe.send(request(stream, "GET", "/public/download/100000"))
        for _ in range(200):
            for stream in odd(range(50)):
                probe.send(frame(WINDOW_UPDATE, 0, stream, b"\0\0\0\1"))
        came = 0
        while came < 200 * 50:
            read = probe.until(DataFrame)
            if read is None:
                break
            assert len(read.data) <= 200
            came += len(read.data)
        assert came <= 200 * 50
        with Probe(gateway, pki) as other:
            other.send(request(1, "GET", "/public/download/100000"))
            assert other.answer(1) == (200, b"x" * 100_000)


def test_streams_that_are_opened_and_left(gateway, pki):
    """CVE-2019-9514: more than there may be are refused, and the connection goes on within its limits."""
    with Probe(gateway, pki) as probe:
        came = until_it_ends(probe, (frame(HEADERS, END_HEADERS, stream, asking("POST", PATH)) for stream in odd(range(5000))))
        assert came[0] in ("goaway", "closed") and came[-1] != NO_ERROR, came
