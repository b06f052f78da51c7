"""docs/configuration.md against the settings there are."""

import json
import re
import subprocess

import pytest

LATER = "Not available yet."


@pytest.fixture(scope="module")
def settings(gateway):
    """Each setting's schema by its dotted name. Lists of tables have their key, NAME is a name to choose."""
    shown = subprocess.run([gateway, "schema"], capture_output=True, check=True)
    found = {}

    def walk(schema, prefix):
        for key, value in schema.get("properties", {}).items():
            path = prefix + key
            table = value if "properties" in value else None
            if isinstance(value.get("items"), dict) and "properties" in value["items"]:
                table = value["items"]
            named = value.get("additionalProperties")
            if isinstance(named, dict) and "properties" in named:
                table, path = named, f"{path}.NAME"
            later = value.get("description", "").endswith(LATER)
            if table and not later:
                walk(table, f"{path}.")
            else:
                found[path] = value

    walk(json.loads(shown.stdout), "")
    return found


@pytest.fixture(scope="module")
def documented(root):
    """What the tables say: the default, as written, by the setting's dotted name."""
    text, _, later = (root / "docs/configuration.md").read_text().partition("## Not available yet")
    found, section = {}, None
    for line in text.splitlines():
        if line.startswith("#"):
            heading = re.match(r"#+ `\[+([\w.]+)\]+`$", line)
            section = heading and heading[1]
        row = re.match(r"\| `(\w+)` \| (.*?) \| (.+) \|$", line)
        if section and row:
            found[f"{section}.{row[1]}"] = row[2]
    return found, set(re.findall(r"`([\w.]+)`", later))


def test_every_setting_is_documented_and_no_other(settings, documented):
    tables, later = documented
    assert tables.keys() == {key for key, schema in settings.items() if not is_later(schema)}
    assert later == {key for key, schema in settings.items() if is_later(schema)}


def is_later(schema):
    return schema.get("description", "").endswith(LATER)


def test_the_defaults_are_what_they_are(settings, documented):
    tables, _ = documented
    for key, written in tables.items():
        default = settings[key].get("default")
        shown = re.fullmatch(r"`(.*)`", written)
        if default is None:
            assert not shown or shown[1].startswith("server."), f"{key} has no default"
        else:
            assert shown, f"{key}: {default}"
            assert comparable(json.loads(shown[1])) == comparable(default), key


def comparable(value):
    """`60s` and `1m` are the same."""
    if isinstance(value, str) and re.fullmatch(r"(\d+(ms|s|m|h|d))+", value):
        units = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
        return sum(int(count) * units[unit] for count, unit in re.findall(r"(\d+)(ms|s|m|h|d)", value))
    return value


def test_the_example_templates_are_templates(root, gateway, tmp_path):
    text = (root / "docs/configuration.md").read_text()
    [headers] = re.findall(r"^```toml\n(\[identity.headers\]\n.*?)^```", text, re.MULTILINE | re.DOTALL)
    secret = tmp_path / "secret"
    secret.write_text("secret-test-0000")
    config = tmp_path / "gateway.toml"
    minimal = (root / "config/minimal.toml").read_text()
    config.write_text(minimal.replace("/run/secrets/stytch", str(secret)) + headers)
    checked = subprocess.run([gateway, "check", "-c", config], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
