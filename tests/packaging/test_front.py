"""config/front: what its files have in common, and what no proxy here checks."""

import re

import yaml


def test_every_file_is_explained(root):
    text = (root / "docs/front-proxies.md").read_text()
    for path in (root / "config/front").iterdir():
        assert f"config/front/{path.name})" in text, path.name


def test_the_same_identity_headers_are_handed_on(root):
    front = root / "config/front"
    nginx, caddy = (front / "nginx.conf").read_text(), (front / "Caddyfile").read_text()
    names = re.findall(r"proxy_set_header (X-Stytch-[\w-]+) +\$(\w+);", nginx)
    assert {"X-Stytch-Member-Id", "X-Stytch-User-Id", "X-Stytch-Client-Id"} <= {name for name, _ in names}
    for name, variable in names:
        folded = name.lower().replace("-", "_")
        assert re.search(rf"auth_request_set \${variable} +\$upstream_http_{folded};", nginx), name
        assert f"\t{name}\n" in caddy and re.search(rf"request_header @\w+ -{name}\n", caddy), name
    assert len(re.findall(r"^\t+X-Stytch-[\w-]+$", caddy, re.MULTILINE)) == len(names)


def test_traefik_believes_no_client(root):
    settings = yaml.safe_load((root / "config/front/traefik.yaml").read_text())["http"]
    assert settings["routers"]["application"]["middlewares"] == ["clean", "stytch"]
    asks = settings["middlewares"]["stytch"]["forwardAuth"]
    assert asks["trustForwardHeader"] is False and asks["address"].endswith("/_stytch/auth/redirect")
    for name in ["X-Stytch-Roles", "X_STYTCH_ROLES", "x.stytch.member.id"]:
        assert re.match(asks["authResponseHeadersRegex"], name), name
    assert set(settings["middlewares"]["clean"]["headers"]["customRequestHeaders"].values()) == {""}
