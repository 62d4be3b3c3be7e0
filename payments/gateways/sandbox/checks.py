"""Checking what came in: every field has one type, and a field nobody knows is an error, not a shrug."""

import json
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

JSON = dict[str, Any]
Check = Callable[[Any], bool]


class InvalidRequestError(Exception):
    """What was asked makes no sense; `param` says which field."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


def parse_object(text: bytes) -> JSON:
    """Return the JSON object in `text`; an empty text is an empty object.

    :raises InvalidRequestError: it is not a JSON object.
    """
    if not text:
        return {}
    try:
        body = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError("The body is not JSON.") from error
    if not isinstance(body, dict):
        raise InvalidRequestError("The body is not a JSON object.")
    return body


def check_fields(
    body: Mapping[str, Any], known: Mapping[str, tuple[str, Check]], *, required: frozenset[str] = frozenset()
) -> None:
    """Hold `body` against `known`, a mapping of field name to (what it must be, check).

    :raises InvalidRequestError: a field is unknown, missing, or not what it must be.
    """
    for name in body:
        if name not in known:
            raise InvalidRequestError(f"Unknown field {name[:80]!r}.", param=name[:80])
    for name, (what, check) in known.items():
        if name in body:
            if not check(body[name]):
                raise InvalidRequestError(f"{name} must be {what}.", param=name)
        elif name in required:
            raise InvalidRequestError(f"{name} is required.", param=name)


def is_text(*, longest: int) -> Check:
    """Return a check for a non-empty text of at most `longest` characters."""
    return lambda value: isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()


def is_whole(*, least: int, most: int) -> Check:
    """Return a check for an integer (never a boolean) between two bounds."""
    return lambda value: type(value) is int and least <= value <= most


def is_number(*, least: float, most: float) -> Check:
    """Return a check for a number (never a boolean) between two bounds."""
    return lambda value: type(value) in {int, float} and least <= value <= most


def is_flag(value: Any) -> bool:
    """Tell whether `value` is true or false."""
    return isinstance(value, bool)


def is_url(value: Any) -> bool:
    """Tell whether `value` is an absolute http(s) URL."""
    if not is_text(longest=2048)(value):
        return False
    try:
        parts = urllib.parse.urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


MOST_LABELS, LONGEST_LABEL, LONGEST_LABEL_TEXT = 50, 80, 500


def is_labels(value: Any) -> bool:
    """Tell whether `value` maps short texts to texts."""
    return (
        isinstance(value, dict)
        and len(value) <= MOST_LABELS
        and all(
            len(name) <= LONGEST_LABEL and isinstance(text, str) and len(text) <= LONGEST_LABEL_TEXT
            for name, text in value.items()
        )
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> JSON:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field appears twice")
    return found
