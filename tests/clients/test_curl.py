"""curl: both versions of HTTP, both versions of TLS, certificates of clients, and every kind of listener."""

import hashlib
import json
import os

import pytest

from scene import until
from stage import HOST, Gateway, has_ipv6, run


def curl(*arguments):
    """What curl wrote of one transfer, and the answer's body."""
    told = "\n%{json}"
    done = run("curl", "--silent", "--show-error", "--max-time", 30, "--write-out", told, *arguments)
    body, _, written = done.stdout.rpartition(b"\n")
    written = json.loads(written)
    written["error"], written["body"] = done.stderr.decode(), body
    return written


def secure(gateway, pki, *arguments, path="/public/x", host=HOST):
    port = gateway.secure
    return curl(
        "--cacert", pki.ca, "--resolve", f"{host}:{port}:127.0.0.1", f"https://{host}:{port}{path}", *arguments)


def cookie(session):
    return "--cookie", f"stytch_session_jwt={session['session_jwt']}"


def told(answer):
    assert answer["http_code"] == 200, answer
    return json.loads(answer["body"])


def headers(answer, name):
    return [value for known, value in told(answer)["headers"] if known.lower() == name.lower()]


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("tls", [["--tls-max", "1.2"], ["--tlsv1.3"]])
def test_versions_of_http_and_of_tls(gateway, pki, session, version, tls):
    answer = secure(gateway, pki, version, *tls, *cookie(session), path="/reports?x=1")
    assert answer["http_version"] == {"--http1.1": "1.1", "--http2": "2"}[version]
    assert told(answer)["path"] == "/reports?x=1"
    assert headers(answer, "x-stytch-session-id") == [session["session_id"]]
    assert headers(answer, "x-forwarded-proto") == ["https"]
    assert headers(answer, "host") == [f"{HOST}:{gateway.secure}"]
    assert headers(answer, "cookie") == []
    refused = secure(gateway, pki, version, *tls, path="/reports")
    assert refused["http_code"] == 401 and json.loads(refused["body"])["code"] == "unauthenticated"


def test_http_2_is_what_is_agreed_on(gateway, pki):
    assert secure(gateway, pki)["http_version"] == "2"
    assert secure(gateway, pki, "--no-alpn")["http_version"] == "1.1"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_versions_of_tls_that_are_over(gateway, pki, version):
    # Its own library must be willing, or it is not the gateway that refuses.
    answer = secure(gateway, pki, f"--tlsv{version}", "--tls-max", version, "--ciphers", "ALL:@SECLEVEL=0")
    assert answer["exitcode"] == 35 and " alert " in answer["error"], answer


def test_http_2_in_clear_text_is_not_spoken(gateway):
    known = curl("--http2-prior-knowledge", f"http://127.0.0.1:{gateway.plain}/public/x")
    assert known["exitcode"] != 0 and known["http_code"] in (0, 400), known
    asked = curl("--http2", "-H", f"Host: {HOST}", f"http://127.0.0.1:{gateway.plain}/public/x")
    assert asked["http_version"] == "1.1"
    assert headers(asked, "upgrade") == headers(asked, "http2-settings") == []


def test_the_name_of_the_handshake_is_that_of_the_request(gateway, pki):
    for version in ["--http1.1", "--http2"]:
        answer = secure(gateway, pki, version, "-H", "Host: other.test")
        assert answer["http_code"] == 421
        assert json.loads(answer["body"])["code"] == "misdirected_request"
    assert secure(gateway, pki, host="other.test")["http_code"] == 200


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("framing", [[], ["-H", "Transfer-Encoding: chunked"]])
def test_uploads(gateway, pki, tmp_path, version, framing):
    body = os.urandom(3 << 20)
    (tmp_path / "body").write_bytes(body)
    if framing and version == "--http2":
        # Has no length there, as from a pipe.
        framing = ["--header", "Content-Length:"]
    # Beyond a megabyte curl says `Expect: 100-continue` and waits for a second, or for the gateway.
    answer = secure(gateway, pki, version, *framing, "--upload-file", tmp_path / "body")
    assert (told(answer)["length"], told(answer)["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert told(answer)["method"] == "PUT"


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_downloads(gateway, pki, version):
    answer = secure(gateway, pki, version, path="/public/download/8000000")
    assert answer["http_code"] == 200 and answer["body"] == b"x" * 8_000_000


def test_who_expects_to_be_told_to_go_on_is_told(gateway, pki, tmp_path):
    (tmp_path / "body").write_bytes(b"x" * 2_000_000)
    expecting = ["--http1.1", "-H", "Expect: 100-continue", "--expect100-timeout", 20, "--upload-file", tmp_path / "body"]
    answer = secure(gateway, pki, *expecting, "--include")
    assert answer["body"].startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert answer["time_total"] < 20, "it did not wait in vain"
    # Whoever is refused is told before the body is sent.
    refused = secure(gateway, pki, *expecting, path="/reports")
    assert (refused["http_code"], refused["size_upload"]) == (401, 0)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_one_connection_serves_many_requests(gateway, pki, version):
    port = gateway.secure
    before = gateway.metric("stytch_gateway_connections_accepted_total")
    done = run(
        "curl", "--silent", version, "--cacert", pki.ca, "--resolve", f"{HOST}:{port}:127.0.0.1",
        "--write-out", "%{http_code} %{num_connects} ", "--output", "/dev/null", f"https://{HOST}:{port}/public/[1-20]")
    assert done.stdout.split() == [b"200", b"1"] + [b"200", b"0"] * 19
    assert gateway.metric("stytch_gateway_connections_accepted_total") == before + 1


def test_a_session_of_tls_is_resumed(gateway, pki):
    """By OpenSSL, which keeps it in a file."""
    for version in ["-tls1_2", "-tls1_3"]:
        kept = gateway.folder / f"session{version}"
        connect = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.secure}", "-servername", HOST,
                   "-CAfile", pki.ca, "-verify_return_error", version, "-alpn", "http/1.1", "-ign_eof"]
        ask = f"GET /public/x HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
        first = run(*connect, "-sess_out", kept, input=ask)
        assert b"HTTP/1.1 200 OK" in first.stdout and b"New, TLSv1." in first.stdout, first
        again = run(*connect, "-sess_in", kept, input=ask)
        assert b"HTTP/1.1 200 OK" in again.stdout and b"Reused, TLSv1." in again.stdout, again
        assert b"Early data was not sent" in again.stdout or version == "-tls1_2"


def test_a_unix_socket(gateway):
    answer = curl("--unix-socket", gateway.socket, f"http://{HOST}/public/x")
    assert told(answer)["path"] == "/public/x" and headers(answer, "host") == [HOST]


@pytest.fixture(scope="module")
def demanding(tmp_path_factory, emulator, places):
    """A gateway that asks for certificates, behind a proxy that says whose a connection is, on IPv6 too."""
    six = '"[::1]:$SECURE", ' if has_ipv6() else ""
    gateway = Gateway(tmp_path_factory.mktemp("demanding"), emulator, places, f"""
[server]
listen = ["127.0.0.1:$PLAIN"]
trusted_proxies = ["127.0.0.1"]
proxy_protocol = true
[server.tls]
listen = [{six}"127.0.0.1:$SECURE"]
cert = "$CERTIFICATE"
key = "$KEY"
client_ca = "$CA"
[identity.headers]
X-Client-Subject = "{{client_certificate.subject}}"
X-Client-Name = "{{client_certificate.common_name}}"
[upstreams.app]
url = "$APP"
[[routes]]
path = "/public/*"
upstream = "app"
auth = "none"
""")
    yield gateway
    gateway.stop()


def showing(pair):
    return ["--cert", pair[0], "--key", pair[1]]


FROM_A_PROXY = ["--haproxy-protocol"]


@pytest.mark.parametrize("version", [["--http1.1"], ["--http2"], ["--http2", "--tls-max", "1.2"]])
def test_a_client_with_a_certificate(demanding, pki, version):
    answer = secure(demanding, pki, *version, *FROM_A_PROXY, *showing(pki.client), "-H", "X-Client-Subject: forged")
    assert headers(answer, "x-client-subject") == ["CN=service,O=Acme"]
    assert headers(answer, "x-client-name") == ["service"]


@pytest.mark.parametrize("tls", [["--tls-max", "1.2"], ["--tlsv1.3"]])
def test_clients_without_one_of_ours(demanding, pki, app, tls):
    asked = len(app.requests)
    for shown in [], showing(pki.foreign):
        answer = secure(demanding, pki, *tls, *FROM_A_PROXY, *shown)
        assert answer["exitcode"] != 0 and answer["http_code"] == 0, answer
    assert len(app.requests) == asked
    assert secure(demanding, pki, *tls, *FROM_A_PROXY, *showing(pki.client))["http_code"] == 200


def test_the_proxy_protocol(demanding, pki):
    answer = curl(*FROM_A_PROXY, f"http://127.0.0.1:{demanding.plain}/public/x", "-H", "X-Forwarded-For: 192.0.2.1")
    # curl tells of itself: the connection is from where it is.
    assert headers(answer, "x-forwarded-for")[-1].endswith("127.0.0.1")
    without = curl(f"http://127.0.0.1:{demanding.plain}/public/x")
    assert without["exitcode"] != 0 and without["http_code"] in (0, 400), without
    until(lambda: demanding.metric("stytch_gateway_connections_refused_total"), "it is counted")


def test_who_is_no_trusted_proxy_sends_no_header_of_one(gateway):
    answer = curl(*FROM_A_PROXY, f"http://127.0.0.1:{gateway.plain}/public/x")
    assert answer["http_code"] == 400


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")
def test_ipv6(demanding, pki):
    # From there nobody is a proxy, and the address is in brackets where a host is written.
    port = demanding.secure
    answer = curl(
        "--cacert", pki.ca, *showing(pki.client), "--resolve", f"{HOST}:{port}:[::1]", f"https://{HOST}:{port}/public/x")
    assert headers(answer, "x-forwarded-for") == ["::1"]
