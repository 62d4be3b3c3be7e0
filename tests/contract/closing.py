"""Makes the schemas of an OpenAPI 3.0 description into JSON schemas that take nothing they do not describe.

What is unknown to a description is what a gateway refuses, or an answer that it never gives, so every object is
closed unless it says otherwise. References stay references: Stripe's objects lead back to themselves.
"""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jsonschema_rs

JSON = dict[str, Any]

_CHECKED = frozenset(
    {
        *("type", "enum", "required", "pattern", "minLength", "maxLength", "minItems", "maxItems"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    }
)
# How a form, a query, a path or a header says what is no text. Nothing that we ask with is below nought.
_TEXTS = {"integer": "^[0-9]+$", "number": "^[0-9]+([.][0-9]+)?$", "boolean": "^(true|false)$"}
_OF_TEXTS = frozenset({"minLength", "maxLength"})
_OF_LISTS = {"minItems": "minProperties", "maxItems": "maxProperties"}


class Closing:
    """The schemas of one description."""

    def __init__(self, content: JSON, *, name: str) -> None:
        self._content = content
        self._address = f"description:{name}"
        self._validators: dict[tuple[str, bool], jsonschema_rs.Draft4Validator] = {}

    @functools.cached_property
    def _registry(self) -> jsonschema_rs.Registry:
        schemas = self._content.get("components", {}).get("schemas", {})
        closed = {"definitions": {name: self._closed(schema) for name, schema in schemas.items()}}
        return jsonschema_rs.Registry([(self._address, closed)], draft=jsonschema_rs.Draft4)

    def complaints(self, value: object, schema: JSON, *, at: str, is_text: bool = False) -> list[str]:
        """Return what `schema` has against a value, or against texts and objects of them, as forms and queries are."""
        validator = self._validator(schema, is_text=is_text)
        return [told for error in validator.iter_errors(value) for told in _worded(error, at=at)]

    def resolved(self, value: JSON) -> JSON:
        """Return what a reference leads to."""
        while "$ref" in value:
            found: Any = self._content
            for step in value["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            value = found
        return value

    def _validator(self, schema: JSON, *, is_text: bool) -> jsonschema_rs.Draft4Validator:
        key = (json.dumps(schema), is_text)
        if key not in self._validators:
            closed = self._in_texts(schema) if is_text else self._closed(schema)
            # Draft 4 is what OpenAPI 3.0 is made of: 1.0 is no integer there.
            self._validators[key] = jsonschema_rs.Draft4Validator(closed, registry=self._registry)
        return self._validators[key]

    def _closed(self, schema: JSON) -> JSON:
        if "$ref" in schema:
            # A reference hides what stands beside it, but Square means it where it says `nullable` there.
            there = {"$ref": f"{self._address}#/definitions/{schema['$ref'].rpartition('/')[2]}"}
            return {"anyOf": [there, {"type": "null"}]} if schema.get("nullable") else there
        if "allOf" in schema:
            schema = self._joined([_without(schema, "allOf"), *schema["allOf"]])
        for several in ("anyOf", "oneOf"):  # What fits twice is no worse than what fits once.
            if several in schema:
                return self._closed_choice(_without(schema, several), schema[several])
        return self._closed_one(schema)

    def _closed_choice(self, common: JSON, choices: Sequence[JSON]) -> JSON:
        is_nullable = common.pop("nullable", False)
        says_more = not common.keys().isdisjoint({*_CHECKED, "properties", "items"})
        closed = [self._closed(self._joined([common, choice]) if says_more else choice) for choice in choices]
        return {"anyOf": [*closed, {"type": "null"}] if is_nullable else closed}

    def _closed_one(self, schema: JSON) -> JSON:
        # Draft 4 knows no empty list of what is required.
        closed = {name: value for name, value in schema.items() if name in _CHECKED and value != []}
        if "items" in schema:
            closed["items"] = self._closed(schema["items"])
        if schema.get("type") == "object" or "properties" in schema:
            closed["type"] = "object"
            closed["properties"] = {name: self._closed(part) for name, part in schema.get("properties", {}).items()}
            others = schema.get("additionalProperties", False)
            closed["additionalProperties"] = self._closed(others) if isinstance(others, dict) else others
        if schema.get("nullable") and "type" in closed:
            closed["type"] = [closed["type"], "null"]
        if schema.get("nullable") and "enum" in closed:
            closed["enum"] = [*closed["enum"], None]
        return closed

    def _joined(self, schemas: Sequence[JSON]) -> JSON:
        """Return one schema for what is all of these: closed each by itself, none would take the others' fields."""
        joined: JSON = {}
        for schema in schemas:
            part = self.resolved(schema)
            if "allOf" in part:
                part = self._joined([_without(part, "allOf"), *part["allOf"]])
            for name, value in part.items():
                if name == "properties":
                    joined[name] = _both(joined.get(name, {}), value)
                elif name == "items" and name in joined:
                    joined[name] = {"allOf": [joined[name], value]}
                elif name == "required":
                    joined[name] = [*joined.get(name, ()), *value]
                else:
                    assert name not in joined or name not in {"anyOf", "oneOf"}, "no description joins two choices"
                    joined[name] = value
        return joined

    def _in_texts(self, schema: JSON) -> JSON:
        schema = self.resolved(schema)  # Nothing that a form says leads back to itself.
        if "anyOf" in schema:
            return {"anyOf": [self._in_texts(choice) for choice in schema["anyOf"]]}
        kind = schema.get("type")
        if kind in _TEXTS:
            lengths = {name: value for name, value in schema.items() if name in _OF_TEXTS}
            listed = {"enum": [str(value).lower() for value in schema["enum"]]} if "enum" in schema else {}
            return {"type": "string", "pattern": _TEXTS[kind], **lengths, **listed}
        if kind == "array":  # Its parts are numbered, or have no name at all.
            counts = {said: schema[name] for name, said in _OF_LISTS.items() if name in schema}
            parts = {"^[0-9]*$": self._in_texts(schema["items"])}
            return {"type": "object", "patternProperties": parts, "additionalProperties": False, **counts}
        closed = self._closed_one(_without(schema, "properties", "additionalProperties"))
        if kind == "object":
            others = schema.get("additionalProperties", False)
            closed["properties"] = {name: self._in_texts(part) for name, part in schema.get("properties", {}).items()}
            closed["additionalProperties"] = self._in_texts(others) if isinstance(others, dict) else others
        return closed


def _without(schema: JSON, *names: str) -> JSON:
    return {name: value for name, value in schema.items() if name not in names}


def _both(one: Mapping[str, JSON], other: Mapping[str, JSON]) -> JSON:
    twice = {name: {"allOf": [one[name], other[name]]} for name in one.keys() & other.keys()}
    return {**one, **other, **twice}


def _worded(error: jsonschema_rs.ValidationError, *, at: str) -> Iterator[str]:
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.AnyOf):
        # Nobody wants to hear of all that it is not either: the choice that comes closest is what was meant.
        for inner in min(error.kind.context, key=len):
            yield from _worded(inner, at=at)
        return
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
    yield f"{at}{''.join(steps)}: {error.message}"
