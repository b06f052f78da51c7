"""h2load: many streams on many connections, all of them answered, and counted once everywhere.

How fast is not looked at.
"""

import re

import pytest

from scene import until
from stage import HOST, run

REQUESTS = 1000


@pytest.mark.parametrize("how", [
    ["-c", "1", "-m", "100"],
    ["-c", "20", "-m", "20"],
    ["-c", "100", "-m", "1"],
    ["-c", "20", "-m", "1", "--h1"],
], ids=" ".join)
def test_every_request_is_answered_and_counted_once(gateway, session, how, app):
    path = f"/load/{'-'.join(how).replace('--', '')}"
    url = f"https://{HOST}:{gateway.secure}{path}"
    before = gateway.metric("stytch_gateway_requests_total")
    done = run(
        "h2load", "-n", REQUESTS, "--connect-to", f"127.0.0.1:{gateway.secure}", *how,
        "-H", f"Authorization: Bearer {session['session_token']}", url)
    told = done.stdout.decode()
    assert re.search(rf"{REQUESTS} done, {REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout", told), told
    assert f"status codes: {REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx" in told, told
    assert ("Application protocol: http/1.1" if "--h1" in how else "Application protocol: h2") in told
    assert len(app.asked(path)) == REQUESTS
    until(lambda: gateway.metric("stytch_gateway_requests_total") == before + REQUESTS, "all are counted")
    until(lambda: len(gateway.logged(path=path)) == REQUESTS, "all are logged")
    assert {line["status"] for line in gateway.logged(path=path)} == {200}
    assert len({line["request_id"] for line in gateway.logged(path=path)}) == REQUESTS


def test_bodies_are_all_there(gateway, session, app, tmp_path):
    (tmp_path / "body").write_bytes(b"x" * 30_000)
    url = f"https://{HOST}:{gateway.secure}/load/bodies"
    done = run(
        "h2load", "-n", 500, "-c", 5, "-m", 20, "-d", tmp_path / "body", "--connect-to", f"127.0.0.1:{gateway.secure}",
        "-H", f"Authorization: Bearer {session['session_token']}", url)
    assert "status codes: 500 2xx" in done.stdout.decode(), done.stdout.decode()
    asked = app.asked("/load/bodies")
    assert len(asked) == 500 and {one["length"] for one in asked} == {30_000}
