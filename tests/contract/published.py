"""Gateways' own descriptions of their APIs (OpenAPI 3.0), and what they say of a request or an answer.

They are not part of this project: PAYWINDOW_CONTRACTS names the folder; unset, it is `../shared/contracts` beside the
checkout. What they do not describe is a complaint: a path, a parameter, a field, a body.
"""

import json
import os
import pathlib
import re
import urllib.parse
from dataclasses import dataclass
from functools import cache

import pytest

from tests.contract.closing import JSON, Closing
from tests.contract.forms import decoded
from tests.contract.recording import Exchange
from tests.contract.sandbox_server import ROOT

FOLDER = pathlib.Path(os.environ.get("PAYWINDOW_CONTRACTS") or ROOT.parent / "shared" / "contracts")
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Described:
    """Where a gateway describes its API, and how it does so."""

    files: tuple[str, ...]
    otherwise: str = ""  # The answer that stands for every status of which nothing is said; empty: there is none.
    listed_headers: tuple[str, ...] = ()  # How those headers' names begin that are listed as parameters.


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method does at one path."""

    said: JSON
    parameters: list[JSON]
    in_path: dict[str, str]  # What the path says where its template has names.
    closing: Closing


@cache
def load(name: str) -> JSON:
    """Return a description; skip the test, saying why, where it is missing."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{path} is not there: PAYWINDOW_CONTRACTS names the folder with the gateways' descriptions")
    described: JSON = json.loads(path.read_text(encoding="utf-8"))
    return described


@cache
def _closing(name: str) -> Closing:
    return Closing(load(name), name=name)


def operation_of(seen: Exchange, *, by: Described) -> Operation | None:
    """Return what is described of a request's method and path; None if that is nothing."""
    matching = [
        (file, operations, found)
        for file in by.files
        for template, operations in load(file)["paths"].items()
        if seen.method.lower() in operations
        and (found := re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template), seen.path))
    ]
    if not matching:
        return None
    # A path with fewer names in it is the better match: `search` is no id.
    file, operations, found = min(matching, key=lambda match: len(match[2].groups()))
    closing, said = _closing(file), operations[seen.method.lower()]
    return Operation(
        said=said,
        parameters=[
            closing.resolved(value) for value in (*operations.get("parameters", ()), *said.get("parameters", ()))
        ],
        in_path={name: urllib.parse.unquote(value) for name, value in found.groupdict().items()},
        closing=closing,
    )


def complaints_about_request(seen: Exchange, *, by: Described) -> list[str]:
    """Return what the descriptions have against a request; nothing if it is as described."""
    operation = operation_of(seen, by=by)
    if operation is None:
        return [f"there is no {seen.method} {seen.path}"]
    return [
        *_about_query(seen, operation),
        *_about_path(operation),
        *_about_headers(seen, operation, listed=by.listed_headers),
        *_about_body(seen, operation),
    ]


def complaints_about_answer(seen: Exchange, *, by: Described) -> list[str]:
    """Return what the descriptions have against an answer; nothing if it is as described."""
    operation = operation_of(seen, by=by)
    if operation is None:
        return [f"there is no {seen.method} {seen.path}"]
    responses = operation.said["responses"]
    response = responses.get(str(seen.status), responses.get(by.otherwise))
    if response is None:
        return [f"answer: a {seen.status} is not described"]
    content = operation.closing.resolved(response).get("content")
    if content is None:
        return [f"answer: there is one where none belongs: {seen.answer!r}"] if seen.answer else []
    return _about_json(seen.answer, content["application/json"]["schema"], operation.closing, at="answer")


def complaints_about_object(value: object, *, name: str, by: Described) -> list[str]:
    """Return what the descriptions have against an object of theirs that stands in something else."""
    (file,) = (file for file in by.files if name in load(file)["components"]["schemas"])
    return _closing(file).complaints(value, {"$ref": f"#/components/schemas/{name}"}, at=name)


def _about_query(seen: Exchange, operation: Operation) -> list[str]:
    said = decoded(seen.target.partition("?")[2])
    return operation.closing.complaints(said, _listed(operation, place="query"), at="query", is_text=True)


def _about_path(operation: Operation) -> list[str]:
    return operation.closing.complaints(operation.in_path, _listed(operation, place="path"), at="path", is_text=True)


def _about_headers(seen: Exchange, operation: Operation, *, listed: tuple[str, ...]) -> list[str]:
    said = {name: value for name, value in seen.headers.items() if name.startswith(listed)}
    return operation.closing.complaints(said, _listed(operation, place="header"), at="headers", is_text=True)


def _listed(operation: Operation, *, place: str) -> JSON:
    """Return the schema of the parameters that stand in one place of a request."""
    named = {
        # We keep the names of headers in lower case.
        parameter["name"].lower() if place == "header" else parameter["name"]: parameter
        for parameter in operation.parameters
        if parameter["in"] == place
    }
    return {
        "type": "object",
        "properties": {name: parameter["schema"] for name, parameter in named.items()},
        "required": [name for name, parameter in named.items() if parameter.get("required")],
    }


def _about_body(seen: Exchange, operation: Operation) -> list[str]:
    content = operation.closing.resolved(operation.said.get("requestBody", {})).get("content", {})
    if not content:
        return [f"body: there is one where none belongs: {seen.body!r}"] if seen.body else []
    if _FORM in content:
        form = decoded(seen.body.decode())
        return operation.closing.complaints(form, content[_FORM]["schema"], at="body", is_text=True)
    return _about_json(seen.body, content["application/json"]["schema"], operation.closing, at="body")


def _about_json(text: bytes, schema: JSON, closing: Closing, *, at: str) -> list[str]:
    try:
        value = json.loads(text)
    except ValueError:
        return [f"{at}: {text!r} is no JSON"]
    return closing.complaints(value, schema, at=at)
