"""Stripe's own description of its API (OpenAPI 3.0), and what it says of a request or an answer.

It is not part of this project: PAYWINDOW_CONTRACTS names the folder; unset, it is `../shared/contracts` beside the
checkout.
"""

import json
import os
import pathlib
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
FOLDER = pathlib.Path(os.environ.get("PAYWINDOW_CONTRACTS") or ROOT.parent / "shared" / "contracts")
_STEP = re.compile(r"\[([^\]]*)\]")

JSON = Mapping[str, Any]


@cache
def _load(name: str) -> Any:
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{path} is not there: PAYWINDOW_CONTRACTS names the folder with Stripe's OpenAPI description")
    return json.loads(path.read_text(encoding="utf-8"))


def complaints_about_request(*, method: str, target: str, body: bytes) -> list[str]:
    """Return what the description has against a request; nothing if it is as described."""
    path, _, query = target.partition("?")
    operation = _operation(_load("stripe.requests.json"), method=method, path=path)
    if operation is None:
        return [f"there is no {method} {path}"]
    form = operation["requestBody"]["content"].get("application/x-www-form-urlencoded", {}).get("schema", {})
    parameters = {value["name"]: value for value in operation.get("parameters", ()) if value["in"] == "query"}
    asked = {
        "type": "object",
        "properties": {name: value["schema"] for name, value in parameters.items()},
        "required": [name for name, value in parameters.items() if value.get("required")],
    }
    found = list(_complaints(decoded(query), asked, at="query", of={}, is_form=True))
    if method == "POST":
        found += _complaints(decoded(body.decode()), form, at="body", of={}, is_form=True)
    elif body:
        found.append(f"a {method} has a body")
    return found


def complaints_about_answer(*, method: str, target: str, status: int, answer: object) -> list[str]:
    """Return what the description has against an answer; nothing if it is as described."""
    described = _load("stripe.payments.json")
    operation = _operation(described, method=method, path=target.partition("?")[0])
    assert operation is not None, f"there is no {method} {target}"
    responses = operation["responses"]
    schema = responses.get(str(status), responses["default"])["content"]["application/json"]["schema"]
    return list(_complaints(answer, schema, at="answer", of=described, is_form=False))


def decoded(text: str) -> dict[str, Any]:
    """Return a form as the values it stands for: `a[b][0]=c` is {"a": {"b": {"0": "c"}}}."""
    root: dict[str, Any] = {}
    for name, value in urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)):
        head, _, rest = name.partition("[")
        path = [head, *_STEP.findall(f"[{rest}" if rest else "")]
        at = root
        for step in path[:-1]:
            at = at.setdefault(step, {})
        assert path[-1] not in at, f"{name} stands twice"
        at[path[-1]] = value
    return root


def _operation(described: JSON, *, method: str, path: str) -> Any:
    for template, operations in described["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path) and method.lower() in operations:
            if "{" in template and path in described["paths"]:
                continue  # The literal path is the better match.
            return operations[method.lower()]
    return None


def _complaints(value: Any, schema: JSON, *, at: str, of: JSON, is_form: bool) -> Iterator[str]:
    if "$ref" in schema:
        schema = of["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if value is None and schema.get("nullable"):
        return
    if "anyOf" in schema:
        each = [list(_complaints(value, one, at=at, of=of, is_form=is_form)) for one in schema["anyOf"]]
        yield from min(each, key=len)
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} is {value!r}, none of {schema['enum']}"
    kind = schema.get("type")
    if kind == "object":
        yield from _complaints_about_object(value, schema, at=at, of=of, is_form=is_form)
    elif kind == "array":
        parts = list(value.values()) if is_form and isinstance(value, dict) else value
        if not isinstance(parts, list):
            yield f"{at} is no list"
            return
        for number, part in enumerate(parts):
            yield from _complaints(part, schema["items"], at=f"{at}[{number}]", of=of, is_form=is_form)
    elif kind is not None and not _is_scalar(value, kind=kind, longest=schema.get("maxLength"), is_form=is_form):
        yield f"{at} is {value!r}, no {kind}"


def _is_scalar(value: Any, *, kind: str, longest: int | None, is_form: bool) -> bool:
    if kind == "string" or is_form:
        is_text = isinstance(value, str) and (longest is None or len(value) <= longest)
        shape = {"integer": "-?[0-9]+", "boolean": "true|false", "number": "-?[0-9]+([.][0-9]+)?", "string": "(?s:.*)"}
        return is_text and re.fullmatch(shape[kind], value) is not None
    kinds: dict[str, set[type]] = {"integer": {int}, "boolean": {bool}, "number": {int, float}}
    return type(value) in kinds[kind]


def _complaints_about_object(value: Any, schema: JSON, *, at: str, of: JSON, is_form: bool) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at} is no object"
        return
    known, others = schema.get("properties", {}), schema.get("additionalProperties", False)
    yield from (f"{at} lacks {name}" for name in schema.get("required", ()) if name not in value)
    for name, part in value.items():
        inner = known.get(name, others)
        if inner is False:
            yield f"{at} has the unknown field {name}"
        elif isinstance(inner, dict):
            yield from _complaints(part, inner, at=f"{at}.{name}", of=of, is_form=is_form)
