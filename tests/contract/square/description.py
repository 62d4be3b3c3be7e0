"""Holds requests and answers against Square's own description of its API, which is not part of this project.

Stricter than the description: a field or a parameter that it does not know is an error.
"""

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.contract.sandbox_server import ROOT

_FOLDER = Path(os.environ.get("PAYWINDOW_CONTRACTS") or ROOT.parent / "shared" / "contracts")
_FILE = _FOLDER / "square.payments.json"
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "number": (int, float),
}

needs_description = pytest.mark.skipif(
    not _FILE.exists(), reason=f"Square's description is not at {_FILE} (PAYWINDOW_CONTRACTS names its folder)"
)


@cache
def description() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return content


def operation(method: str, path: str) -> dict[str, Any] | None:
    """Return the operation that a path belongs to; None for one that is not described."""
    matching = [
        methods[method.lower()]
        for template, methods in description()["paths"].items()
        if method.lower() in methods and re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path)
    ]
    # A fixed path comes before one with a name in it.
    return matching[0] if matching else None


def check_query(described: dict[str, Any], query: dict[str, list[str]]) -> None:
    known = {
        parameter["name"]: parameter for parameter in described.get("parameters", []) if parameter["in"] == "query"
    }
    for name, values in query.items():
        assert name in known, f"unknown parameter {name}"
        assert len(values) == 1, f"{name} is given {len(values)} times"
        schema = known[name]["schema"]
        if schema.get("type") == "integer":
            assert values[0].isdecimal(), f"{name} is {values[0]!r}"
    for name, parameter in known.items():
        assert name in query or not parameter.get("required"), f"{name} is missing"


def check_request(described: dict[str, Any], body: bytes) -> None:
    content = described.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        assert not body, f"a body where none is described: {body!r}"
        return
    check(json.loads(body), content["schema"], at="request")


def check_answer(described: dict[str, Any], body: bytes) -> None:
    check(json.loads(body), described["responses"]["200"]["content"]["application/json"]["schema"], at="answer")


def check_schema(value: object, name: str) -> None:
    check(value, {"$ref": f"#/components/schemas/{name}"}, at=name)


def check(value: object, schema: dict[str, Any], *, at: str) -> None:
    """Fail unless `value` is what `schema` says."""
    if "$ref" in schema:
        nullable = schema.get("nullable", False)
        schema = description()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        schema = {**schema, "nullable": nullable or schema.get("nullable", False)}
    if value is None:
        assert schema.get("nullable"), f"{at} is null"
        return
    kind = schema.get("type")
    if kind == "integer":
        assert type(value) is int, f"{at} is {value!r}"
    elif kind is not None:
        assert isinstance(value, _TYPES[kind]), f"{at} is {value!r}, not of type {kind}"
    if "enum" in schema:
        assert value in schema["enum"], f"{at} is {value!r}"
    if isinstance(value, str):
        assert schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)), f"{at} has {len(value)}"
    if isinstance(value, list):
        for number, item in enumerate(value):
            check(item, schema["items"], at=f"{at}[{number}]")
    if isinstance(value, dict):
        _check_object(value, schema, at=at)


def _check_object(value: dict[str, Any], schema: dict[str, Any], *, at: str) -> None:
    known: dict[str, Any] = schema.get("properties", {})
    for name in schema.get("required", []):
        assert name in value, f"{at}.{name} is missing"
    for name, item in value.items():
        inner = known.get(name) or schema.get("additionalProperties")
        assert inner, f"{at}.{name} is not described"
        check(item, inner, at=f"{at}.{name}")
