"""What holds with each front proxy and its published configuration."""

import base64
import json
import time

import pytest

from peers import HOST, Connection, ask
from visitor import PAGE, Visitor, link

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def cookie(session):
    return f"theme=dark; stytch_session_jwt={session['session_jwt']}"


def opaque(session):
    return f"stytch_session={session['session_token']}"


@pytest.fixture
def session(emulator):
    return emulator.session()


def test_a_session_passes_and_its_identity_arrives_exactly(front, gateway, application, session):
    for method, body in [("GET", b""), ("POST", b"a body"), ("DELETE", b"")]:
        answer = ask(front.port, method, "/reports/5?month=5", [("Cookie", cookie(session))], body)
        assert (answer.status, answer.body, answer.all("set-cookie")) == (200, b"hello", ["theme=dark"]), answer
        received = application.last()
        assert received.line == f"{method} /reports/5?month=5 HTTP/1.1"
        assert received.all("host") == [HOST]
        honest = gateway.identity(cookie(session))
        assert len(honest) == 5 and received.identity() == honest
        assert len(received.all("x-request-id")) == 1
    bearer = [("Authorization", f"Bearer {session['session_jwt']}")]
    assert ask(front.port, "GET", "/x", bearer).status == 200


def test_who_has_no_session_does_not_pass(front, application):
    answer = ask(front.port, "GET", "/x")
    assert (answer.status, answer.first("www-authenticate")) == (401, "Bearer"), answer
    assert answer.first("x-stytch-code") == "unauthenticated"
    answer = ask(front.port, "GET", "/x", [("Cookie", "stytch_session_jwt=a.b.c")])
    assert (answer.status, answer.first("x-stytch-code")) == (401, "invalid_credential"), answer
    assert ask(front.port, "POST", "/x", body=b"a body").status == 401
    assert application.received == []


def test_routes_without_authentication_pass_without_identity(front, application, session):
    for target in ["/public/x", "/optional/x"]:
        assert ask(front.port, "GET", target).status == 200
        assert application.last().identity() == [], "not even an empty one"
    assert ask(front.port, "GET", "/public/x", [("Cookie", cookie(session))]).status == 200
    assert application.last().identity() == []
    assert ask(front.port, "GET", "/optional/x", [("Cookie", cookie(session))]).status == 200
    assert len(application.last().identity()) == 5


SPELLINGS = [
    "X-Stytch-Member-Id", "x-stytch-member-id", "X_Stytch_Member_Id", "X-Stytch_Member-Id", "X.Stytch.Member.Id",
    "X-Stytch-Roles", "X_STYTCH_ROLES", "X-Stytch-Future", "X~Stytch~Roles",
]


@pytest.mark.parametrize("name", SPELLINGS)
def test_no_spelling_of_an_identity_header_arrives(front, gateway, application, session, name):
    """It is refused or it is taken out; it never arrives, whether or not the gateway says something itself."""
    for headers, honest in [([("Cookie", cookie(session))], gateway.identity(cookie(session))), ([], [])]:
        for target in ["/optional/x", "/public/x"]:
            application.received.clear()
            answer = ask(front.port, "GET", target, [*headers, (name, "attacker")])
            if answer.status == 403:
                assert answer.first("x-stytch-code") == "spoofed_identity"
                assert application.received == []
            else:
                # Some proxies refuse such a name themselves.
                assert answer.status in (200, 400), answer
                wanted = honest if target.startswith("/optional") else []
                assert all(received.identity() == wanted for received in application.received)
    nominated = [("Cookie", cookie(session)), ("Connection", f"close, {name}")]
    application.received.clear()
    if ask(front.port, "GET", "/x", nominated).status == 200:
        assert application.last().identity() == gateway.identity(cookie(session))


@pytest.mark.parametrize("target", [
    "/public/../admin", "/public/%2e%2e/admin", "/public/.%2e/admin", "/public/%2e%2e%2fadmin", "/public%2f..%2fadmin",
    "/public/..;/admin", "/public;/../admin", "//admin", "/public//../admin", "/public/..%5cadmin", "/public\\..\\admin",
    "/%61dmin", "/admin;x=1", "/publicx", "/admin?/public/x", "/admin%00/public", "/public/%252e%252e/admin", "/%zz",
    "/_stytch/../admin", "/_stytch/auth/../../admin", "/_stytch/%2e%2e/admin",
])
def test_no_path_leads_around_a_session(front, application, target):
    answer = ask(front.port, "GET", target)
    assert answer.status in (400, 401, 403, 404), answer
    assert application.received == []


@pytest.mark.parametrize("name,value", [
    ("X-Original-URL", f"http://{HOST}/public/x"), ("X-Original-Method", "GET"), ("X-Original-Uri", "/public/x"),
    ("X-Forwarded-Uri", "/public/x"), ("X-Forwarded-Method", "GET"), ("X_Forwarded_Uri", "/public/x"),
    ("X-Rewrite-URL", "/public/x"), ("X-Forwarded-Host", "nowhere.test"), ("X-Forwarded-Path", "/public/x"),
    ("Forwarded", "for=127.0.0.1;host=nowhere.test"),
])
def test_no_header_leads_around_a_session(front, application, session, name, value):
    headers = [(name, value), ("X-Forwarded-For", "127.0.0.1")]
    assert ask(front.port, "GET", "/admin", headers).status in (401, 403)
    assert application.received == []
    # And the other way round: no application is told that what passed was something else.
    answer = ask(front.port, "GET", "/public/x", [(name, value.replace("public/x", "admin"))])
    assert answer.status in (200, 403), answer
    for received in application.received:
        assert not any("/admin" in value for _, value in received.headers), received.headers


def test_an_absolute_target_is_judged_by_what_is_forwarded(front, application):
    for target, host in [
        (f"http://{HOST}/admin", HOST), (f"http://{HOST}/admin", "nowhere.test"), ("http://nowhere.test/admin", HOST),
    ]:
        assert ask(front.port, "GET", target, host=host).status in (400, 401, 403, 404, 421)
    for host in [f"{HOST}/public", f"{HOST}/public/x?", f"{HOST}/public/x#", f"user@{HOST}", f"{HOST},nowhere.test"]:
        assert ask(front.port, "GET", "/admin", host=host).status in (400, 401, 403, 404)
    assert application.received == []


def test_methods_are_the_clients_own(front, application):
    for method in ["get", "TRACE", "TRACK", "CONNECT"]:
        answer = ask(front.port, method, "/admin")
        assert answer.status >= 400, answer
    assert application.received == []


def dial(front, headers):
    connection = Connection(front.port)
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
    connection.send("GET", "/ws", [*upgrade, ("Sec-WebSocket-Key", KEY), ("Sec-WebSocket-Version", "13"), *headers])
    return connection, connection.response()


def test_a_websocket_opens_with_a_session_from_our_own_site(front, gateway, application, session):
    connection, answer = dial(front, [("Cookie", cookie(session)), ("Origin", f"http://{HOST}")])
    assert answer.status == 101, answer
    assert application.last().identity() == gateway.identity(cookie(session))
    connection.socket.sendall(b"frames")
    assert connection.reader.read(6) == b"frames"
    connection.close()
    application.received.clear()
    for headers, status, code in [
        ([], 401, "unauthenticated"),
        ([("Cookie", cookie(session)), ("Origin", "http://evil.test")], 403, "cross_site_request"),
        ([("Cookie", cookie(session)), ("Origin", f"http://{HOST}"), ("X-Stytch-Roles", "admin")], 403, None),
    ]:
        connection, answer = dial(front, headers)
        if code:
            assert (answer.status, answer.first("x-stytch-code")) == (status, code), answer
        elif answer.status == 101:
            assert application.received.pop().identity() == gateway.identity(cookie(session))
        else:
            assert answer.status == status, answer
        connection.close()
    assert application.received == []


def test_a_form_of_another_site_is_refused(front, application, session):
    headers = [("Cookie", cookie(session)), ("Origin", "http://evil.test")]
    answer = ask(front.port, "POST", "/x", headers, b"amount=1")
    assert (answer.status, answer.first("x-stytch-code")) == (403, "cross_site_request"), answer
    assert application.received == []
    headers = [("Cookie", cookie(session)), ("Origin", f"http://{HOST}")]
    assert ask(front.port, "POST", "/x", headers, b"amount=1").status == 200


def test_an_outage_at_stytch_is_no_pass_and_no_sign_out(front, emulator, application, session):
    emulator.call("PUT", "faults", [{"path": "/v1/b2b/sessions/authenticate", "status": 503}])
    answer = ask(front.port, "GET", "/x", [("Cookie", opaque(session))])
    assert (answer.status, application.received) == (503, []), answer
    assert answer.first("retry-after") and answer.all("set-cookie") == []
    emulator.call("DELETE", "faults")


def test_a_gateway_that_is_gone_is_no_pass(front_alone, application):
    for target in ["/x", "/public/x"]:
        assert ask(front_alone.port, "GET", target).status in (502, 503)
    assert application.received == []


def test_nobody_asks_from_outside(front, application):
    asked = [("X-Original-Method", "GET"), ("X-Original-URL", f"http://{HOST}/public/x")]
    for path in [
        "/_stytch/auth", "/_stytch/auth/redirect", "/_stytch/auth/ext_authz/public/x", "/_stytch/%61uth",
        "/_stytch/%61uth/ext_authz/public/x", "/_stytch/auth%2fext_authz/public/x",
        "/_stytch/auth%2fredirect", "/%5fstytch/auth", "/_stytch/./auth", "/_stytch//auth", "/_STYTCH/auth",
    ]:
        answer = ask(front.port, "GET", path, asked)
        assert answer.status in (400, 401, 403, 404), (path, answer)
    assert application.received == []


def test_renewed_cookies_reach_the_browser(front, emulator, session):
    claims = json.loads(decoded(session["session_jwt"].split(".")[1]))
    for name in ["iat", "nbf", "exp"]:
        claims[name] -= 1000
    expired = emulator.call("POST", "tokens", {"claims": claims})["token"]
    cookies = f"{opaque(session)}; stytch_session_jwt={expired}"
    answer = ask(front.port, "GET", "/x", [("Cookie", cookies)])
    assert answer.status == 200, answer
    set_cookies = {value.partition("=")[0]: value for value in answer.all("set-cookie")}
    assert set_cookies.keys() == {"stytch_session", "stytch_session_jwt", "theme"}, answer.all("set-cookie")
    for name in ["stytch_session", "stytch_session_jwt"]:
        parts = set_cookies[name].split("; ")
        assert parts[1:5] == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"], parts
        time.strptime(parts[5], "Expires=%a, %d %b %Y %H:%M:%S GMT")
    fresh = set_cookies["stytch_session_jwt"].split("; ")[0]
    assert ask(front.port, "GET", "/x", [("Cookie", fresh)]).status == 200


def decoded(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_a_burst_asks_stytch_once(front, emulator, application, session):
    connection = Connection(front.port)
    for number in range(300):
        connection.send("GET", f"/thing/{number}", [("Cookie", opaque(session))])
        answer = connection.response()
        assert answer.status == 200, answer
        if answer.first("connection") == "close":
            connection.close()
            connection = Connection(front.port)
    connection.close()
    assert len(application.received) == 300
    assert emulator.questions() <= 2, "one for each worker at most"


@pytest.fixture
def visitor(front):
    return Visitor(lambda *asked: ask(front.port, *asked), HOST)


def test_a_browser_signs_in_and_lands_where_it_was_going(front, gateway, emulator, application, visitor):
    target = "/reports/5?month=5&q=a%20b"
    first = visitor.ask("GET", target)
    assert (first.status, first.first("x-stytch-code")) == (303, "unauthenticated"), first
    assert first.first("cache-control") == "no-store"
    login = f"http://{HOST}/_stytch/login?return_to=%2Freports%2F5%3Fmonth%3D5%26q%3Da%2520b"
    assert first.all("location") == [login]
    at, page = visitor.visit(target)
    assert page.status == 200 and at.startswith("/_stytch/login"), page
    assert application.received == []
    at, page = visitor.sign_in(page, "ben@acme.example", emulator.code)
    assert (at, page.status, page.body) == (target, 200, b"hello"), page
    received = application.last()
    assert received.line == f"GET {target} HTTP/1.1"
    cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    assert len(received.identity()) == 5 and received.identity() == gateway.identity(cookies)


def test_a_refused_session_leads_to_signing_in(front, visitor):
    visitor.cookies["stytch_session_jwt"] = "a.b.c"
    at, page = visitor.visit("/x")
    assert (at, page.status) == ("/_stytch/login?return_to=%2Fx", 200), page
    assert "stytch_session_jwt" not in visitor.cookies, "it was cleared on the way"


def test_whoever_is_no_browser_is_not_sent_to_sign_in(front, application):
    for method, headers in [("GET", []), ("POST", [PAGE]), ("GET", [("Accept", "application/json")]),
                            ("GET", [PAGE, ("X-Requested-With", "XMLHttpRequest")])]:
        answer = ask(front.port, method, "/x", headers)
        assert (answer.status, answer.all("location")) == (401, []), answer
        assert answer.all("www-authenticate") == ["Bearer"], answer
    assert application.received == []


def test_a_page_that_asks_for_more_leads_to_it_and_back(front, emulator, application, visitor):
    session = emulator.session("cho@acme.example", factors=["email_otp"])
    visitor.cookies["stytch_session"] = session["session_token"]
    visitor.cookies["stytch_session_jwt"] = session["session_jwt"]
    refused = visitor.ask("GET", "/mfa")
    assert refused.first("x-stytch-code") == "step_up_required", refused
    if front.kind == "nginx":
        # It drops what the gateway says, but for where to go.
        assert refused.status == 303
        target = visitor.goes_to(refused)
    else:
        assert refused.status == 403
        target = link(refused, "Sign in again").removeprefix(visitor.origin)
    at, page = visitor.visit(target)
    assert b"This page asks for a second factor" in page.body, page
    _, page = visitor.fill_in(page, action="sms")
    at, page = visitor.fill_in(page, action="code", code=emulator.code("+15005550123"))
    assert (at, page.status) == ("/mfa", 200), page
    script = ask(front.port, "GET", "/mfa", [("Cookie", cookie(emulator.session(factors=["email_otp"])))])
    assert (script.status, script.all("location")) == (403, [])
