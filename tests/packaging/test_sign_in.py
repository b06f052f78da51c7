"""docs/sign-in.md against Stytch's schemas of the calls that sign-in is made of."""

import json
import re

import pytest

FOUNDING = [
    "api_otp_v1_AuthenticateRequest",
    "api_otp_v1_AuthenticateResponse",
    "api_b2b_otp_v1_b2b_otp_email_AuthenticateResponse",
    "api_oauth_v1_AuthenticateResponse",
    "api_b2b_session_v1_AuthenticateResponse",
]


@pytest.fixture(scope="module")
def schemas(root):
    bundle = json.loads((root / "stytch-emulator/tests/schemas/json-schema.bundle.json").read_text())
    return bundle["$defs"]


@pytest.fixture(scope="module")
def tables(root):
    """The names in the first column of each table, in order, by the schema it is about."""
    text = (root / "docs/sign-in.md").read_text()
    sections = re.findall(r"^### `(api_\w+)`\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    found = {}
    for schema, section in sections:
        assert schema not in found, schema
        rows = re.findall(r"^\| (`.+?`) \| (.+) \|$", section, re.MULTILINE)
        found[schema] = [name for cell, told in rows for name in re.findall(r"`([^`]+)`", cell)]
    return found


def referred(field):
    """The schema that a field's value has, and whether it is a list of such."""
    choices = [field, *field.get("anyOf", [])]
    for choice in choices:
        for one, is_list in [(choice, False), (choice.get("items", {}), True)]:
            if "$ref" in one:
                return one["$ref"].rsplit("/", 1)[1], is_list
    return None, False


def fields(schemas, schema, tabled, prefix="", within=()):
    """All there are, as `a`, `a.b` and `a[].b`; not what is below a schema that has its own table."""
    for name, field in schemas[schema].get("properties", {}).items():
        below, is_list = referred(field)
        nested = below and "properties" in schemas[below] and below not in tabled
        path = prefix + name + ("[]" if nested and is_list else "")
        yield path
        if nested:
            assert below not in within, below
            yield from fields(schemas, below, tabled, f"{path}.", (*within, schema))


def below(schemas, schema):
    """All schemas that one refers to, itself included."""
    found, waiting = set(), [schema]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            properties = schemas[name].get("properties", {}).values()
            waiting.extend(one for one, _ in map(referred, properties) if one)
    return found


def test_the_founding_schemas_have_a_table_each(schemas, tables):
    assert list(tables)[: len(FOUNDING)] == FOUNDING
    reachable = set().union(*(below(schemas, schema) for schema in FOUNDING))
    assert set(tables) <= reachable


@pytest.mark.parametrize("schema", FOUNDING)
def test_what_they_hold_has_a_table_or_its_fields_are_told_in_place(schemas, tables, schema):
    for name in below(schemas, schema) & set(tables):
        told, there = tables[name], set(fields(schemas, name, set(tables)))
        assert len(told) == len(set(told)), f"{name}: told twice"
        covered = set()
        for row in told:
            if row.endswith(".*"):
                matched = {path for path in there if path.startswith(row[:-1])}
                assert len(matched) > 1, f"{name}: {row} stands for one field or none"
            else:
                matched = {row} & there
            assert matched, f"{name} has no {row}"
            assert not matched & covered, f"{name}: {row} is told twice"
            covered |= matched
        assert there - covered == set(), f"{name}: not told of"
