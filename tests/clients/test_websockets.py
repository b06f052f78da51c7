"""WebSockets over TLS, by the library that Python's users take."""

import base64
import socket
import ssl

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from scene import until
from stage import HOST, PATIENCE, revoke


def opened(gateway, pki, session, **how):
    context = ssl.create_default_context(cafile=pki.ca)
    # One thread of the client reads while another writes, which OpenSSL does not allow: now and then, while the
    # tickets of TLS 1.3 are read, the request is lost before it is sent. TLS 1.2 has none of them.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    headers = {"Authorization": f"Bearer {session['session_token']}"} if session else {}
    headers.update(how.pop("headers", {}))
    return connect(
        f"wss://{HOST}/ws", sock=socket.create_connection(("127.0.0.1", gateway.secure)), ssl=context, server_hostname=HOST,
        additional_headers=headers, open_timeout=PATIENCE, max_size=8 << 20, **how)


@pytest.fixture(params=["deflate", None])
def chat(request, gateway, pki, session):
    with opened(gateway, pki, session, compression=request.param) as chat:
        names = [extension.name for extension in chat.protocol.extensions]
        assert names == (["permessage-deflate"] if request.param else [])
        yield chat


def test_what_is_said_comes_back(chat):
    for message in ["said ü", b"\0\xff", "", b"", "x" * 100_000, bytes(range(256)) * 20_000]:
        chat.send(message)
        assert chat.recv(timeout=PATIENCE) == message


def test_fragments_are_one_message(chat):
    chat.send(["in ", "three ", "pieces"])
    assert chat.recv(timeout=PATIENCE) == "in three pieces"
    chat.send([b"\0"] * 500)
    assert chat.recv(timeout=PATIENCE) == b"\0" * 500
    # Between two of them the others may speak.
    pieces = iter(["one", "two"])

    def with_a_ping():
        yield next(pieces)
        ponged.append(chat.ping())
        yield next(pieces)

    ponged = []
    chat.send(with_a_ping())
    assert chat.recv(timeout=PATIENCE) == "onetwo"
    assert ponged[0].wait(PATIENCE)


def test_pings_are_answered_by_the_other_end(chat):
    for payload in [b"", b"1234", b"x" * 125]:
        assert chat.ping(payload).wait(PATIENCE)
        chat.send("between")
        assert chat.recv(timeout=PATIENCE) == "between"


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_who_closes_says_why(gateway, pki, session, code):
    with opened(gateway, pki, session) as chat:
        chat.send(f"close {code} said ü")
        with pytest.raises(ConnectionClosed) as closed:
            chat.recv(timeout=PATIENCE)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, "said ü")
    with opened(gateway, pki, session) as chat:
        chat.close(code, "said here")
        assert chat.close_code == code, "it is said back"


def test_the_handshake_is_the_servers(gateway, pki, session):
    with opened(gateway, pki, session, subprotocols=["none.v1", "chat.v1"]) as chat:
        assert chat.subprotocol == "chat.v1"
        chat.send("headers")
        lines = chat.recv(timeout=PATIENCE).splitlines()
        assert f"X-Stytch-Session-Id: {session['session_id']}".lower() in [line.lower() for line in lines]
        assert not any(line.lower().startswith("authorization:") for line in lines)


def test_handshakes_that_are_refused(gateway, pki, session):
    cookie = {"Cookie": f"stytch_session={session['session_token']}"}
    for asked, headers, status in [
        (None, {}, 401), (None, {"Authorization": "Bearer " + base64.b64encode(b"x" * 33).decode()}, 401),
        (None, {**cookie, "Origin": "https://evil.test"}, 403), (None, {**cookie, "Origin": f"https://{HOST}"}, 101),
        (session, {}, 101),
    ]:
        try:
            with opened(gateway, pki, asked, headers=headers):
                assert status == 101, headers
        except InvalidStatus as refused:
            assert refused.response.status_code == status, (headers, refused)


def test_a_socket_ends_with_its_session(gateway, pki, emulator, session):
    with opened(gateway, pki, session) as silent, opened(gateway, pki, session) as busy:
        revoke(emulator, session)
        for chat in silent, busy:
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    if chat is busy:
                        chat.send("still there")
                    chat.recv(timeout=PATIENCE)
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "invalid_credential")
    until(lambda: gateway.metric("stytch_gateway_upgraded_connections") == 0, "nothing is left open")


def test_what_is_no_frame_is_the_servers_to_refuse(gateway, pki, session):
    """The gateway follows frames, and changes none."""
    with opened(gateway, pki, session) as chat:
        # A ping may not be this long (RFC 6455 section 5.5).
        chat.socket.sendall(b"\x89\xfe\0\x7e" + b"\0" * 4 + b"x" * 126)
        with pytest.raises(ConnectionClosed) as closed:
            chat.recv(timeout=PATIENCE)
        assert closed.value.rcvd.code == 1002
