"""What scanners find of the TLS listener: sslscan, and OpenSSL where it looks closer."""

import contextlib
import socket
import ssl
import xml.etree.ElementTree as xml

import pytest

from stage import HOST, PATIENCE, run


@pytest.fixture(scope="module")
def scan(gateway):
    done = run("sslscan", "--xml=-", f"--sni-name={HOST}", "--timeout=1", f"127.0.0.1:{gateway.secure}")
    return xml.fromstring(done.stdout).find("ssltest")


def test_the_versions_are_two(scan):
    spoken = {f"{one.get('type')} {one.get('version')}" for one in scan.findall("protocol") if one.get("enabled") == "1"}
    known = {f"{one.get('type')} {one.get('version')}" for one in scan.findall("protocol")}
    assert known == {"ssl 2", "ssl 3", "tls 1.0", "tls 1.1", "tls 1.2", "tls 1.3"}
    assert spoken == {"tls 1.2", "tls 1.3"}


def test_every_cipher_is_strong(scan):
    ciphers = {(one.get("sslversion"), one.get("cipher")) for one in scan.findall("cipher")}
    # AEAD alone, and in TLS 1.2 with keys that nobody can have afterwards.
    assert ciphers == {
        ("TLSv1.3", "TLS_AES_256_GCM_SHA384"), ("TLSv1.3", "TLS_AES_128_GCM_SHA256"),
        ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"), ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"), ("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    }
    assert all(one.get("strength") in ("acceptable", "strong") for one in scan.findall("cipher"))


def test_every_group_is_strong(scan):
    groups = scan.findall("group")
    assert groups and all(int(one.get("bits")) >= 128 for one in groups)


def test_neither_renegotiation_nor_heartbeats(scan):
    assert scan.find("renegotiation").get("supported") == "0"
    heartbeats = scan.findall("heartbleed")
    assert heartbeats and all(one.get("vulnerable") == "0" for one in heartbeats)


def hello(offer):
    """The first record of a client of TLS 1.2, changed by `offer(suites, compressions)`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    sent = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=HOST).do_handshake()
    body = sent.read()[9:]
    at = 35 + body[34]
    suites_end = at + 2 + int.from_bytes(body[at:at + 2])
    compressions_end = suites_end + 1 + body[suites_end]
    suites, compressions = offer(body[at + 2:suites_end], body[suites_end + 1:compressions_end])
    body = (body[:at] + len(suites).to_bytes(2) + suites + bytes([len(compressions)]) + compressions
            + body[compressions_end:])
    handshake = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + len(handshake).to_bytes(2) + handshake


def answered(gateway, record):
    """The first record that comes back: its type and content."""
    with socket.create_connection(("127.0.0.1", gateway.secure), timeout=PATIENCE) as stream:
        stream.sendall(record)
        answer = stream.makefile("rb")
        kind, _, _, *length = answer.read(5)
        return kind, answer.read(int.from_bytes(bytes(length)))


HANDSHAKE, ALERT = 22, 21


def test_nothing_is_compressed(gateway):
    kind, content = answered(gateway, hello(lambda suites, _: (suites, b"\x01\x00")))
    assert kind == HANDSHAKE and content[0] == 2
    assert content[39 + content[38] + 2] == 0, "of deflate and nothing, nothing is chosen"
    kind, content = answered(gateway, hello(lambda suites, _: (suites, b"\x01")))
    assert kind == ALERT and content[0] == 2


@pytest.mark.parametrize("suite", [
    "002f", "0035", "009c", "c009", "c00a", "c013", "c027", "c02f", "0005", "000a", "0000", "0034", "c018"])
def test_suites_that_are_weak_or_need_another_key_are_never_agreed_on(gateway, suite):
    kind, content = answered(gateway, hello(lambda _, compressions: (bytes.fromhex(suite), compressions)))
    assert (kind, content) == (ALERT, b"\x02\x28"), "handshake_failure"


def test_renegotiation_is_refused_where_it_is_asked_for(gateway, pki):
    done = run(
        "openssl", "s_client", "-connect", f"127.0.0.1:{gateway.secure}", "-servername", HOST, "-CAfile", pki.ca,
        "-tls1_2", input=b"R\n")
    assert b"no renegotiation" in done.stderr or b"RENEGOTIATING" in done.stdout + done.stderr, done
    assert b"HTTP/" not in done.stdout
