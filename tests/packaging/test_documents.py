"""What documents list against what there is."""

import re
import tomllib


def rows(text):
    """The names in the first column of all tables."""
    cells = re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_code_is_explained(root):
    source = (root / "src/access/rejection.rs").read_text()
    codes = dict(re.findall(r'Self::(\w+) => "([a-z_]+)"', source))
    assert len(codes) >= 20
    constants = {
        "UNAUTHORIZED": 401, "FORBIDDEN": 403, "NOT_FOUND": 404, "BAD_REQUEST": 400, "METHOD_NOT_ALLOWED": 405,
        "REQUEST_HEADER_FIELDS_TOO_LARGE": 431, "PAYLOAD_TOO_LARGE": 413, "LOOP_DETECTED": 508,
        "TOO_MANY_REQUESTS": 429, "BAD_GATEWAY": 502, "GATEWAY_TIMEOUT": 504, "SERVICE_UNAVAILABLE": 503,
        "MISDIRECTED_REQUEST": 421, "REQUEST_TIMEOUT": 408,
    }
    arms = re.findall(r"((?:Self::\w+[\s|]*)+)=> \{?\s*StatusCode::(\w+)", source)
    statuses = {codes[name]: constants[status] for names, status in arms for name in re.findall(r"Self::(\w+)", names)}
    text = (root / "docs/errors.md").read_text()
    explained = {code: int(status) for code, status in re.findall(r"^\| `(\w+)` \| (\d{3}) \|", text, re.MULTILINE)}
    assert explained == statuses


def test_every_metric_is_explained(root):
    source = (root / "src/metrics/exposition.rs").read_text().partition("#[cfg(test)]")[0]
    kinds = re.findall(r'(?:out|self)\s*\.(counter|gauge|histogram|family)\(\s*"(\w+)",', source)
    assert len(kinds) >= 20
    suffix = {"counter": "_total", "histogram": "_seconds", "family": "_info", "gauge": ""}
    names = {name + suffix[kind] for kind, name in kinds}
    names = {f"{name}_seconds" if name.endswith("_age") else name for name in names}
    section = (root / "docs/operations.md").read_text().partition("## Metrics")[2].partition("\n## ")[0]
    assert {name for name in names if f"`{name}`" not in section} == set()


def test_every_field_of_the_access_log_is_explained(root):
    source = (root / "src/telemetry/access_log/line.rs").read_text().partition("#[cfg(test)]")[0]
    fields = set(re.findall(r'\\"(\w+)\\":', source))
    assert {"time", "code", "bytes_out", "reason"} <= fields
    section = (root / "docs/operations.md").read_text().partition("## Logs")[2].partition("\n## ")[0]
    assert rows(section) >= fields


def test_every_field_and_event_of_the_audit_log_is_explained(root):
    lines, audit = (root / f"src/telemetry/{name}.rs" for name in ["access_log/line", "audit_log"])
    shared = lines.read_text().partition("pub(super) fn begin(")[2].partition("\n}\n")[0]
    source = audit.read_text().partition("#[cfg(test)]")[0]
    fields = {field for text in [shared, source] for field in re.findall(r'\\"(\w+)\\":', text)}
    events = set(re.findall(r'Self::\w+ => "(\w+)"', source))
    assert {"time", "path", "event", "access_before"} <= fields and "sign_in" in events
    section = (root / "docs/operations.md").read_text().partition("### Audit log")[2].partition("\n## ")[0]
    assert rows(section) - {"event"} == (fields | events) - {"event"}


def test_every_dependency_has_its_reason(root):
    wanted = tomllib.loads((root / "Cargo.toml").read_text())["dependencies"].keys()
    section = (root / "ARCHITECTURE.md").read_text().partition("## Dependencies")[2].partition("\n## ")[0]
    assert rows(section) == wanted


def test_the_map_names_what_is_there(root):
    section = (root / "ARCHITECTURE.md").read_text().partition("## The map")[2].partition("\n## ")[0]
    modules = re.findall(r"^pub mod (\w+);", (root / "src/lib.rs").read_text(), re.MULTILINE)
    assert rows(section) - {"main"} == set(modules)


def test_scripts_can_be_run(root):
    names = ["scripts/check", "scripts/test", "scripts/bench", "scripts/bench-ext-authz", "scripts/screenshots", ".ci/run"]
    scripts = [root / name for name in names]
    for path in [*scripts, *root.glob("tests/*/run")]:
        assert path.stat().st_mode & 0o100 and path.read_text().startswith("#!/usr/bin/env bash\n"), path
