"""The Python library of HTTP/2 as a client that keeps to the rules, and would say where the gateway did not."""

import json
import socket
import ssl

import h2.connection
import h2.events
import pytest

from scene import until
from stage import HOST, PATIENCE, revoke


class Client:
    """One connection. What comes is kept by stream: answers, bodies, trailers, and how they ended."""

    def __init__(self, gateway, pki):
        context = ssl.create_default_context(cafile=pki.ca)
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", gateway.secure), timeout=PATIENCE)
        self.socket = context.wrap_socket(plain, server_hostname=HOST)
        self.connection = h2.connection.H2Connection()
        self.connection.initiate_connection()
        self.heads, self.bodies, self.trailers, self.ends = {}, {}, {}, {}
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def flush(self):
        self.socket.sendall(self.connection.data_to_send())

    def ask(self, path, *more, method="GET", end=True, special=()):
        stream = self.connection.get_next_available_stream_id()
        head = [(":method", method), *special, (":scheme", "https"), (":authority", HOST), (":path", path), *more]
        self.connection.send_headers(stream, head, end_stream=end)
        self.flush()
        return stream

    def read(self):
        """Whatever comes next. The library raises where the gateway breaks a rule."""
        bytes_read = self.socket.recv(65536)
        assert bytes_read, "the connection is over"
        for event in self.connection.receive_data(bytes_read):
            match event:
                case h2.events.ResponseReceived():
                    self.heads[event.stream_id] = dict(event.headers)
                case h2.events.DataReceived():
                    self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.TrailersReceived():
                    self.trailers[event.stream_id] = dict(event.headers)
                case h2.events.StreamEnded():
                    self.ends[event.stream_id] = "ended"
                case h2.events.StreamReset():
                    self.ends[event.stream_id] = event.error_code
        self.flush()

    def until(self, condition):
        while not condition():
            self.read()

    def answer(self, stream):
        self.until(lambda: stream in self.ends)
        return int(self.heads[stream][b":status"]), self.bodies.get(stream, b"")

    def send(self, stream, body, end=False):
        """As much at a time as the gateway's windows allow."""
        while body:
            self.until(lambda: self.connection.local_flow_control_window(stream) > 0)
            room = min(self.connection.local_flow_control_window(stream), self.connection.max_outbound_frame_size)
            self.connection.send_data(stream, body[:room], end_stream=end and len(body) <= room)
            body = body[room:]
            self.flush()


@pytest.fixture
def client(gateway, pki):
    with Client(gateway, pki) as client:
        yield client


def test_streams_that_run_beside_each_other(client):
    streams = [client.ask(f"/public/download/{number * 1000}") for number in range(60)]
    for number, stream in enumerate(streams):
        assert client.answer(stream) == (200, b"x" * number * 1000)


def test_an_upload_keeps_to_the_windows(client):
    body = bytes(range(256)) * 20_000
    stream = client.ask("/public/upload", method="POST", end=False)
    client.send(stream, body, end=True)
    status, answer = client.answer(stream)
    assert status == 200 and json.loads(answer)["length"] == len(body)


def test_a_reset_ends_one_stream(client):
    reset, other = client.ask("/public/upload", method="POST", end=False), client.ask("/public/x")
    client.connection.reset_stream(reset)
    client.flush()
    assert client.answer(other)[0] == 200


def frame(opcode, payload):
    """A client's frame of a WebSocket, masked by nothing."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + b"\0" * 4 + payload


def test_a_websocket_on_a_stream(client, gateway, emulator, session):
    """RFC 8441, beside other streams. It ends with its session."""
    client.until(lambda: client.connection.remote_settings.enable_connect_protocol == 1)
    stream = client.ask(
        "/ws", ("sec-websocket-version", "13"), ("authorization", f"Bearer {session['session_token']}"),
        method="CONNECT", special=[(":protocol", "websocket")], end=False)
    client.until(lambda: stream in client.heads)
    assert client.heads[stream][b":status"] == b"200"
    client.send(stream, frame(1, b"said"))
    client.until(lambda: client.bodies.get(stream) == b"\x81\x04said")
    assert client.answer(client.ask("/public/x"))[0] == 200
    revoke(emulator, session)
    client.until(lambda: stream in client.ends)
    assert client.bodies[stream] == b"\x81\x04said" + b"\x88\x14\x03\xf0invalid_credential"
    assert client.answer(client.ask("/public/x"))[0] == 200, "the others go on"
    until(lambda: gateway.metric("stytch_gateway_upgraded_connections") == 0, "nothing is left open")
