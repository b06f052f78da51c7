"""What gets through Envoy, and what of it arrives."""

import socket
import subprocess
import time

import pytest

from scene import read_response, until
from visitor import Visitor

DEFAULTS = ["x-stytch-member-id", "x-stytch-organization-id", "x-stytch-organization-slug", "x-stytch-roles",
            "x-stytch-session-id"]


def identity(head):
    return head.named("x-stytch-")


def honest(front, bearer):
    assert front.send("GET", "/honest", bearer).status == 200
    headers = identity(front.upstream.last())
    assert [name for name, _ in headers] == DEFAULTS
    return headers


def test_a_session_passes_with_exactly_its_identity(front, session, bearer):
    headers = dict(honest(front, bearer))
    assert headers["x-stytch-organization-slug"] == "acme"
    assert headers["x-stytch-session-id"] == session["session_id"]
    assert headers["x-stytch-member-id"].startswith("member-")
    assert "editor" in headers["x-stytch-roles"].split(",")
    head = front.upstream.last()
    assert head.get("host") == "app.test"
    request_id = head.get("x-request-id")
    until(lambda: any(line["request_id"] == request_id for line in front.logged()), "our log has Envoy's id")


@pytest.mark.parametrize("target", ["/", "/reports?x=/public/", "/public2/x", "/public"])
def test_nobody_passes_without_a_session(front, target):
    response = front.send("GET", target)
    if target == "/public":
        assert response.status == 200
        return
    assert response.status == 401
    assert response.get("www-authenticate") == "Bearer"
    assert response.get("cache-control") == "no-store"
    assert response.get("content-type") == "application/problem+json"
    assert response.json()["code"] == "unauthenticated"
    assert front.upstream.heads == []


def test_a_forged_token_does_not_pass(front, emulator, session):
    forged = emulator.control("POST", "tokens", {"claims": {"sub": "member-forged"}, "key": "foreign"})["token"]
    response = front.send("GET", "/reports", f"Cookie: stytch_session_jwt={forged}")
    assert response.status == 401
    assert response.json()["code"] == "invalid_credential"
    cleared = response.all("set-cookie")
    assert len(cleared) == 2 and all("Max-Age=0" in cookie for cookie in cleared)
    assert front.upstream.heads == []


SPOOFED = [
    "X-Stytch-Member-Id: member-forged",
    "x-stytch-member-id: member-forged",
    "X_Stytch_Member_Id: member-forged",
    "X-Stytch_Member-Id: member-forged",
    "X.Stytch.Member.Id: member-forged",
    "x~stytch~member~id: member-forged",
    "X!Stytch|Roles: admin",
    "X-Stytch-Anything: x",
    "X-Stytch-Assertion: eyJ.e30.x",
    "X-Stytch-Roles: admin\r\nX-Stytch-Roles: owner",
]


@pytest.mark.parametrize("spoofed", SPOOFED)
def test_spoofed_headers_do_not_arrive(front, bearer, spoofed):
    expected = honest(front, bearer)
    assert front.send("GET", "/reports", spoofed, bearer).status == 200
    assert identity(front.upstream.last()) == expected
    assert front.send("GET", "/public/x", spoofed).status == 200
    assert identity(front.upstream.last()) == []
    front.upstream.heads.clear()
    assert front.send("GET", "/reports", spoofed).status == 401
    assert front.upstream.heads == []


@pytest.mark.parametrize("connection", ["X-Stytch-Member-Id", "close, x-stytch-roles", "keep-alive, x-stytch-session-id"])
def test_identity_cannot_be_nominated_away(front, bearer, connection):
    expected = honest(front, bearer)
    response = front.send("GET", "/reports", bearer, f"Connection: {connection}")
    if response.status == 200:
        head = front.upstream.last()
        assert identity(head) == expected
        assert "stytch" not in (head.get("connection") or "").lower()
    else:
        assert response.status == 400


def test_credentials_stay_at_the_door(over_grpc, session):
    front = over_grpc
    cookie = f"a=1; stytch_session_jwt={session['session_jwt']}; b=2; stytch_session={session['session_token']}"
    response = front.send("GET", "/reports", f"Cookie: {cookie}")
    assert response.status == 200
    assert front.upstream.last().get("cookie") == "a=1; b=2"
    assert response.get("x-stytch-assertion") is None
    assert response.get("cache-control") == "private"
    assert front.send("GET", "/reports", "Authorization: Basic YTpi",
                      f"Cookie: stytch_session_jwt={session['session_jwt']}").status == 200
    assert front.upstream.last().get("authorization") == "Basic YTpi"
    assert front.upstream.last().get("cookie") is None


def test_renewed_credentials_reach_the_browser(front, emulator):
    session = emulator.session()
    response = front.send("GET", "/reports", f"Cookie: stytch_session={session['session_token']}")
    assert response.status == 200
    names = sorted(cookie.split("=")[0] for cookie in response.all("set-cookie"))
    assert names == ["app", "stytch_session", "stytch_session_jwt"]


TRICKS = [
    "/public/../admin", "/public/%2e%2e/admin", "/public/..%2fadmin", "/public/..%5cadmin", "/public/..\\admin",
    "/public/..;/admin", "/public/%252e%252e/admin", "/public//../admin", "//admin", "/public/.%2e/admin",
    "/%70ublic/../admin", "/public/..%00/admin", "/public;/../admin", "/public/%", "/public/x#/../../admin",
    "/admin?/public/", "/ADMIN/../public/../admin", "http://app.test/admin", "http://other.test/public/../admin",
    "/public/./../admin", "/public/.//../../admin", "/public/a/../../admin", "*", "/public%2f..%2fadmin",
]


@pytest.mark.parametrize("target", TRICKS)
def test_path_tricks_reach_no_application(front, target):
    response = front.send("GET", target)
    if response.status == 200:
        # Envoy read it before anyone, and what it made of it is public, and plainly so.
        assert front.upstream.last().target == "/public/admin"
    else:
        assert response.status in (400, 401, 403, 404), response.first
        assert front.upstream.heads == []


def test_what_was_judged_is_what_arrives(over_grpc):
    front = over_grpc
    assert front.send("GET", "/%70ublic/%7euser/a%20b?q=%7e").status == 200
    assert front.upstream.last().target == "/public/~user/a%20b?q=%7e"


@pytest.mark.parametrize("header", [
    "X-Original-URL: /public/x", "X-Rewrite-URL: /public/x", "X-Envoy-Original-Path: /public/x",
    "X-Forwarded-Uri: /public/x", "X-HTTP-Method-Override: DELETE", "Forwarded: for=1.2.3.4", "X_Forwarded_For: 1.2.3.4",
])
def test_another_target_in_a_header_neither_counts_nor_arrives(front, bearer, header):
    assert front.send("GET", "/admin", header).status == 401
    assert front.upstream.heads == []
    assert front.send("GET", "/reports", header, bearer).status == 200
    assert header.split(": ")[1] not in [value for _, value in front.upstream.last().headers]


def test_addresses_that_a_client_claims_do_not_arrive(front, bearer):
    assert front.send("GET", "/reports", bearer, "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: evil.test").status == 200
    head = front.upstream.last()
    assert head.get("x-forwarded-host") != "evil.test"
    if front.speaks == "grpc":
        assert head.get("x-forwarded-for") == "127.0.0.2"


def test_bytes_that_are_not_utf8_do_not_open_the_door(front, bearer):
    for name in ("X-Custom", "X-Stytch-Roles", "Cookie"):
        response = front.send("GET", "/reports", f"{name}: ".encode() + b"a\xffb")
        assert response.status in (400, 401, 403), response.first
        assert front.upstream.heads == []


def upgrade(front, target, *headers):
    stream = socket.create_connection(("127.0.0.1", front.port), timeout=30)
    lines = [f"GET {target} HTTP/1.1", "Host: app.test", "Connection: Upgrade", "Upgrade: websocket",
             "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *headers]
    stream.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
    return stream, read_response(stream)


def test_a_websocket_is_opened_for_a_session(front, bearer):
    expected = honest(front, bearer)
    stream, response = upgrade(front, "/ws", bearer, "X-Stytch-Roles: admin", "X_Stytch_Roles: admin")
    with stream:
        assert response.status == 101
        assert identity(front.upstream.last()) == expected
        stream.sendall(b"hello")
        assert stream.recv(100) == b"echo hello"


def test_a_websocket_is_not_opened_without_one(front, session):
    cookie = f"Cookie: stytch_session_jwt={session['session_jwt']}"
    for headers, status in (((), 401), ((cookie, "Origin: https://evil.test"), 403)):
        stream, response = upgrade(front, "/ws", *headers)
        stream.close()
        assert response.status == status
    assert front.upstream.heads == []
    stream, response = upgrade(front, "/ws", cookie, "Origin: http://app.test")
    stream.close()
    assert response.status == 101


def test_identity_cannot_be_nominated_away_from_a_websocket(over_grpc, bearer):
    front = over_grpc
    expected = honest(front, bearer)
    lines = ["GET /ws HTTP/1.1", "Host: app.test", "Connection: Upgrade, X-Stytch-Member-Id", "Upgrade: websocket",
             "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", bearer]
    with socket.create_connection(("127.0.0.1", front.port), timeout=30) as stream:
        stream.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        response = read_response(stream)
    if response.status == 101:
        head = front.upstream.last()
        assert identity(head) == expected
        assert "stytch" not in head.get("connection").lower()
    else:
        assert response.status == 400


def test_a_credential_in_the_query_of_a_handshake_does_not_arrive(over_grpc, session):
    front = over_grpc
    front.write_settings('[session]\nwebsocket_query = "token"\n')
    token = session["session_jwt"]

    def opens(path):
        stream, response = upgrade(front, path)
        stream.close()
        return response.status == 101

    try:
        until(lambda: opens(f"/ws?room=1&token={token}"), "the setting is in force")
        assert front.upstream.last().target == "/ws?room=1"
        assert opens(f"/%77s?token={token}&room=%7e")
        assert front.upstream.last().target == "/ws?room=%7e"
        assert front.send("GET", f"/ws?token={token}").status == 401
    finally:
        front.write_settings()
        until(lambda: not opens(f"/ws?token={token}"), "the old settings are in force")


def test_requests_with_bodies_pass(front, bearer):
    response = front.send("POST", "/reports", bearer, "Origin: http://app.test", body=b"x" * 100_000)
    assert response.status == 200
    assert identity(front.upstream.last()) == honest(front, bearer)


def test_a_browser_gets_a_page(front):
    cookie = "Cookie: stytch_session=a; stytch_session=b; stytch_session=c; stytch_session=d; stytch_session=e"
    response = front.send("GET", "/reports", "Accept: text/html", cookie)
    assert response.status == 401
    assert response.get("content-type").startswith("text/html")
    assert "frame-ancestors 'none'" in response.get("content-security-policy")
    assert b"<!doctype html>" in response.body


def test_a_browser_signs_in_and_lands_where_it_was_going(front, emulator, bearer):
    target = "/reports/5?month=5&q=a%20b"
    for method in ("GET", "HEAD"):
        first = front.send(method, target, "Accept: text/html")
        assert first.status == 303
        login = "http://app.test/_stytch/login?return_to=%2Freports%2F5%3Fmonth%3D5%26q%3Da%2520b"
        assert first.all("location") == [login]
        assert first.get("cache-control") == "no-store"

    def send(method, target, headers, body):
        return front.send(method, target, *(f"{name}: {value}" for name, value in headers), body=body)

    visitor = Visitor(send, "app.test")
    at, page = visitor.visit(target)
    assert page.status == 200 and at.startswith("/_stytch/login")
    assert front.upstream.heads == []
    at, page = visitor.sign_in(page, "ben@acme.example", emulator.code)
    assert (at, page.status, page.body) == (target, 200, b"ok")
    head = front.upstream.last()
    assert head.target == target
    differs = "x-stytch-session-id"
    assert [pair for pair in identity(head) if pair[0] != differs] == [
        pair for pair in honest(front, bearer) if pair[0] != differs]
    until(lambda: any(line["route"] == "_login" and line["client"] == "127.0.0.2" for line in front.logged()),
          "the pages know who the client is")


@pytest.mark.parametrize("path", [
    "/_stytch/auth", "/_stytch/auth/redirect", "/_stytch/auth/ext_authz/public/x", "/_stytch/%61uth/redirect",
    "/_stytch/auth%2fredirect", "/%5fstytch/auth", "/_stytch/./auth", "/_stytch//auth", "/_STYTCH/auth", "/_stytch/x/../auth",
    "/_stytch;/auth", "/_stytch/",
])
def test_nobody_asks_from_outside(front, path):
    asked = ["X-Original-Method: GET", "X-Original-URL: http://app.test/public/x", "X-Forwarded-Method: GET",
             "X-Forwarded-Uri: /public/x", "X-Forwarded-Host: app.test", "X-Forwarded-Proto: http"]
    response = front.send("GET", path, *asked)
    assert response.status in (400, 401, 403, 404), response.first
    assert front.upstream.heads == []


def test_the_pages_say_nothing_that_a_client_put_in(front, session):
    """They are asked without a check, so the gateway sees to it alone."""
    response = front.send("GET", "/_stytch/session", "X-Stytch-Member-Id: member-forged")
    assert (response.status, response.json()["code"]) == (401, "unauthenticated")
    cookie = f"Cookie: stytch_session_jwt={session['session_jwt']}"
    response = front.send("GET", "/_stytch/session", cookie, "X-Stytch-Member-Id: member-forged")
    assert response.status == 200 and response.json()["session_id"] == session["session_id"]
    assert b"forged" not in response.body


def test_grpc_gets_a_status_of_its_own(front, emulator):
    content = "Content-Type: application/grpc"
    response = front.send("POST", "/reports.Reports/List", content)
    assert (response.status, response.get("grpc-status")) == (200, "16")
    if front.speaks == "grpc":
        assert response.get("grpc-message") == "unauthenticated"
    assert front.upstream.heads == []


def over_http2(front, target, *headers):
    """With curl: what it sends is split, spelt and named as HTTP/2 has it."""
    command = ["curl", "-sS", "--http2-prior-knowledge", "--path-as-is", "-o", "-", "-w", "%{http_code}", "-m", "30"]
    for header in headers:
        command += ["-H", header]
    told = subprocess.run([*command, f"http://127.0.0.1:{front.port}{target}"], capture_output=True, text=True)
    return int(told.stdout[-3:])


def test_http2_is_judged_alike(front, session, bearer):
    expected = honest(front, bearer)
    host = "Host: app.test"
    assert over_http2(front, "/reports", host, bearer, "X_Stytch_Roles: admin", "x-stytch-roles: admin") == 200
    assert identity(front.upstream.last()) == expected
    cookie = f"Cookie: a=1; stytch_session_jwt={session['session_jwt']}; b=2"
    assert over_http2(front, "/reports", host, cookie) == 200
    if front.speaks == "grpc":
        assert front.upstream.last().get("cookie") == "a=1; b=2"
    front.upstream.heads.clear()
    assert over_http2(front, "/reports", host) == 401
    assert over_http2(front, "/public/..%2fadmin", host) in (400, 401, 403)
    assert over_http2(front, "/reports", host, "X-Stytch-Roles: admin") == 401
    assert front.upstream.heads == []


def test_stytch_down_is_neither_a_pass_nor_a_logout(front, emulator, bearer):
    session = emulator.session()
    assert front.send("GET", "/reports", bearer).status == 200
    emulator.is_down()
    front.upstream.heads.clear()
    response = front.send("GET", "/reports", f"Cookie: stytch_session={session['session_token']}")
    assert response.status == 503
    # By HTTP, Envoy takes any 5xx for a failure of the asking, and answers by itself.
    if front.speaks == "grpc":
        assert response.json()["code"] == "stytch_unavailable"
        assert response.get("retry-after") is not None
    assert response.all("set-cookie") == []
    assert front.upstream.heads == []
    assert front.send("GET", "/reports", bearer).status == 200


def test_a_reload_is_in_force_without_a_request_lost(front):
    assert front.send("GET", "/news").status == 401
    front.write_settings('[[routes]]\npath = "/*"\n[[routes]]\npath = "/public/*"\n'
                         'auth = "none"\n[[routes]]\npath = "/news"\nauth = "none"\n')
    seen = []

    def passes():
        seen.append(front.send("GET", "/news").status)
        assert front.send("GET", "/public/x").status == 200
        return seen[-1] == 200

    until(passes, "the new route is in force")
    assert set(seen) == {200, 401}
    front.write_settings()
    until(lambda: front.send("GET", "/news").status == 401, "the old routes are in force")


def test_no_gateway_no_pass(front, bearer):
    """`failure_mode_allow` is off: Envoy refuses what nobody can be asked about."""
    front.gateway.stop()
    front.upstream.heads.clear()
    try:
        for _ in range(5):
            for target, headers in (("/reports", [bearer]), ("/public/x", []), ("/reports", [])):
                assert front.send("GET", target, *headers).status in (403, 503)
            time.sleep(0.1)
        assert front.upstream.heads == []
    finally:
        front.restart_gateway()
    assert front.send("GET", "/reports", bearer).status == 200
