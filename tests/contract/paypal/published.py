"""PayPal's own descriptions of its APIs (OpenAPI 3.0), and what they say of a request or an answer.

They are not part of this project: PAYWINDOW_CONTRACTS names the folder; unset, it is `../shared/contracts` beside the
checkout. Every object is taken as closed: a field that is not described is an error.
"""

import json
import os
import pathlib
import re
from functools import cache
from typing import Any

import jsonschema_rs
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
FOLDER = pathlib.Path(os.environ.get("PAYWINDOW_CONTRACTS") or ROOT.parent / "shared" / "contracts")
_FILES = ("paypal.orders.json", "paypal.payments.json", "paypal.webhooks.json")
# Of the headers that we set, those that a description lists as parameters.
_LISTED_HEADERS = ("paypal-", "prefer")

JSON = dict[str, Any]


@cache
def load(name: str) -> JSON:
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{path} is not there: PAYWINDOW_CONTRACTS names the folder with PayPal's OpenAPI descriptions")
    described: JSON = json.loads(path.read_text(encoding="utf-8"))
    return described


def complaints_about_request(*, method: str, path: str, headers: dict[str, str], body: bytes) -> list[str]:
    """Return what the descriptions have against a request; nothing if it is as described."""
    found = _operation(method, path)
    if found is None:
        return [f"there is no {method} {path}"]
    described, template, operation = found
    parameters = [_resolved(parameter, described) for parameter in operation.get("parameters", ())]
    complaints = []
    if "?" in path:
        complaints.append("there is a query")
    known = {parameter["name"].lower(): parameter for parameter in parameters if parameter["in"] == "header"}
    for name, value in headers.items():
        if name.startswith(_LISTED_HEADERS):
            schema = known[name]["schema"] if name in known else False
            complaints += _errors(value, schema, described, at=f"header {name}")
    values = re.fullmatch(_pattern(template), path)
    assert values is not None
    for parameter in parameters:
        if parameter["in"] == "path":
            value = values[parameter["name"]]
            complaints += _errors(value, parameter["schema"], described, at=f"path {parameter['name']}")
    asked = operation.get("requestBody")
    if asked is None:
        return complaints + ([f"a body where none belongs: {body!r}"] if body else [])
    schema = _resolved(asked, described)["content"]["application/json"]["schema"]
    return complaints + _errors(json.loads(body), schema, described, at="body")


def complaints_about_answer(*, method: str, path: str, status: int, answer: bytes) -> list[str]:
    """Return what the descriptions have against an answer; nothing if it is as described."""
    found = _operation(method, path)
    assert found is not None, f"there is no {method} {path}"
    described, _, operation = found
    responses = operation["responses"]
    if str(status) not in responses:
        return [f"a {status} is not described"]
    content = _resolved(responses[str(status)], described).get("content")
    if content is None:
        return [f"an answer where none belongs: {answer!r}"] if answer else []
    return _errors(json.loads(answer), content["application/json"]["schema"], described, at="answer")


def _operation(method: str, path: str) -> tuple[JSON, str, JSON] | None:
    for name in _FILES:
        described = load(name)
        for template, operations in described["paths"].items():
            if re.fullmatch(_pattern(template), path.partition("?")[0]) and method.lower() in operations:
                return described, template, operations[method.lower()]
    return None


def _pattern(template: str) -> str:
    return re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)


def _resolved(value: JSON, described: JSON) -> JSON:
    while "$ref" in value:
        found: Any = described
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        value = found
    return value


def _errors(value: object, schema: JSON | bool, described: JSON, *, at: str) -> list[str]:
    if isinstance(schema, bool):
        return [] if schema else [f"{at} is not described"]
    validator = jsonschema_rs.validator_for(_closed(schema, described))
    return [f"{at}{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]


def _closed(schema: JSON, described: JSON) -> JSON:
    """Return the schema without references, with every object closed and every `allOf` of objects joined."""
    schema = _resolved(schema, described)
    kept = {name: value for name, value in schema.items() if name in _CHECKED}
    if "items" in schema:
        kept["items"] = _closed(schema["items"], described)
    parts = [_closed(part, described) for part in schema.get("allOf", ())]
    properties = {name: _closed(part, described) for name, part in schema.get("properties", {}).items()}
    for part in parts:
        properties |= part.get("properties", {})
        kept["required"] = [*kept.get("required", ()), *part.get("required", ())]
    if properties:
        kept |= {"type": "object", "properties": properties}
        kept["additionalProperties"] = schema.get("additionalProperties", False)
    return kept


_CHECKED = frozenset({"type", "enum", "required", "pattern", "minLength", "maxLength", "minItems", "maxItems"})
