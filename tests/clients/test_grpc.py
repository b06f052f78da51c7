"""gRPC, by the library that is written in C: client and server of all four kinds of call, over TLS."""

import json
import queue

import grpc
import pytest

from stage import HOST, PATIENCE, revoke

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def channel(gateway, pki):
    credentials = grpc.ssl_channel_credentials(pki.ca.read_bytes())
    options = [
        ("grpc.ssl_target_name_override", HOST), ("grpc.max_receive_message_length", -1),
        # What fails is seen to fail.
        ("grpc.enable_retries", 0),
    ]
    with grpc.secure_channel(f"127.0.0.1:{gateway.secure}", credentials, options) as channel:
        yield channel


@pytest.fixture
def bearer(session):
    return [("authorization", f"Bearer {session['session_jwt']}")]


@pytest.fixture(params=["echo.Echo", "secured.Echo"])
def service(request):
    """Reached in clear text, and over TLS."""
    return request.param


def failure(call):
    """How a call ends that does not end well."""
    with pytest.raises(grpc.RpcError) as raised:
        list(call())
    return raised.value


def test_one_for_one(channel, service, session, bearer):
    metadata = [*bearer, ("x-text", "said"), ("x-bytes-bin", b"\0\xff"), ("x-stytch-member-id", "member-forged")]
    message, call = channel.unary_unary(f"/{service}/Unary").with_call(b"hello", metadata=metadata, timeout=PATIENCE)
    assert message == b"hello" and call.code() == grpc.StatusCode.OK
    assert dict(call.initial_metadata())["x-initial"] == "first"
    trailing = dict(call.trailing_metadata())
    assert trailing["x-bytes-bin"] == b"\0\xff"
    # Timeouts are rounded up on their way.
    assert 0 < float(trailing["x-remaining"]) < 2 * PATIENCE, "the server knows how long the client waits"
    arrived = json.loads(trailing["x-metadata"])
    assert ["x-text", "said"] in arrived
    assert [value for name, value in arrived if name == "x-stytch-session-id"] == [session["session_id"]]
    assert ["x-stytch-member-id", "member-forged"] not in arrived
    assert "authorization" not in dict(arrived)


def test_many_for_one(channel, service, bearer):
    call = channel.unary_stream(f"/{service}/Down")(b"1000", metadata=bearer, timeout=PATIENCE)
    assert list(call) == [str(number).encode() for number in range(1000)]
    assert dict(call.trailing_metadata())["x-last"] == "said" and call.code() == grpc.StatusCode.OK


def test_one_for_many(channel, service, bearer):
    messages = (b"x" * number for number in range(500))
    answer = channel.stream_unary(f"/{service}/Up")(messages, metadata=bearer, timeout=PATIENCE)
    assert answer == f"500 {sum(range(500))}".encode()


def test_many_for_many_in_turn(channel, service, bearer):
    """Each message is answered before the next is sent, so nothing of either way may wait for the other."""
    sent = queue.SimpleQueue()
    answers = channel.stream_stream(f"/{service}/Both")(iter(sent.get, None), metadata=bearer, timeout=PATIENCE)
    for number in range(100):
        sent.put(str(number).encode())
        assert next(answers) == f"echo {number}".encode()
    sent.put(None)
    assert list(answers) == [] and answers.code() == grpc.StatusCode.OK


def test_large_messages(channel, bearer):
    message = b"x" * (12 * MEBIBYTE)
    assert channel.unary_unary("/echo.Echo/Unary")(message, metadata=bearer, timeout=PATIENCE) == message
    answer = channel.stream_unary("/echo.Echo/Up")(iter([message] * 3), metadata=bearer, timeout=PATIENCE)
    assert answer == f"3 {len(message) * 3}".encode()


def test_a_message_beyond_the_limit(channel, bearer):
    """This route takes ten mebibytes."""
    error = failure(lambda: [channel.unary_unary("/secured.Echo/Unary")(
        b"x" * (12 * MEBIBYTE), metadata=bearer, timeout=PATIENCE)])
    assert error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED), error
    assert channel.unary_unary("/secured.Echo/Unary")(b"x", metadata=bearer, timeout=PATIENCE) == b"x"


def test_a_call_that_the_server_fails(channel, service, bearer):
    error = failure(lambda: [channel.unary_unary(f"/{service}/Fail")(b"", metadata=bearer, timeout=PATIENCE)])
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "said ü %")
    assert dict(error.trailing_metadata())["x-why"] == "because"


def test_a_method_that_is_not_there(channel, service, bearer):
    error = failure(lambda: [channel.unary_unary(f"/{service}/Nothing")(b"", metadata=bearer, timeout=PATIENCE)])
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


def begun(channel, called, service, **how):
    called.cancelled.clear()
    called.waiting.clear()
    call = channel.unary_stream(f"/{service}/Wait")(b"", **how)
    assert next(call) == b"waiting"
    return call


def test_who_cancels_cancels_all_the_way(channel, called, service, bearer):
    call = begun(channel, called, service, metadata=bearer)
    call.cancel()
    assert called.cancelled.wait(PATIENCE)


def test_a_deadline_ends_the_call_at_both_ends(channel, called, service, bearer):
    call = begun(channel, called, service, metadata=bearer, timeout=2)
    error = failure(lambda: call)
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert called.cancelled.wait(PATIENCE)


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream"])
def test_calls_that_are_refused(channel, emulator, gateway, kind):
    def refused(service, metadata):
        call = getattr(channel, kind)(f"/{service}/Unary")
        answer = lambda: call(b"", metadata=metadata, timeout=PATIENCE)
        return failure(answer if kind == "unary_stream" else lambda: [answer()])

    error = refused("echo.Echo", [])
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")
    error = refused("echo.Echo", [("authorization", "Bearer x.y.z")])
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAUTHENTICATED, "invalid_credential")
    editor = [("authorization", f"Bearer {emulator.session('ben@acme.example')['session_jwt']}")]
    error = refused("admin.Echo", editor)
    assert (error.code(), error.details()) == (grpc.StatusCode.PERMISSION_DENIED, "role_not_allowed")
    admin = [("authorization", f"Bearer {emulator.session('ana@acme.example')['session_jwt']}")]
    assert channel.unary_unary("/admin.Echo/Unary")(b"x", metadata=admin, timeout=PATIENCE) == b"x"


def test_a_stream_ends_with_its_session(channel, called, emulator, session, bearer, service):
    call = begun(channel, called, service, metadata=bearer)
    revoke(emulator, session)
    error = failure(lambda: call)
    assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
    assert called.cancelled.wait(PATIENCE), "the server learns that nobody listens"
