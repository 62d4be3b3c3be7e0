"""Typed reads of the environment: a value that does not fit is refused by its name."""

import json
import os

from django.core.exceptions import ImproperlyConfigured

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


def text(name: str, default: str) -> str:
    """Read a string."""
    return os.environ.get(name, default)


def required_text(name: str, why: str) -> str:
    """Read a string that has no safe default.

    :raises ImproperlyConfigured: when it is missing or empty.
    """
    value = os.environ.get(name, "")
    if not value:
        message = f"{name} is not set: {why}"
        raise ImproperlyConfigured(message)
    return value


def refuse(name: str, why: str) -> None:
    """Refuse a variable that must not be set here.

    :raises ImproperlyConfigured: when it is set.
    """
    if os.environ.get(name):
        message = f"{name} is set: {why}"
        raise ImproperlyConfigured(message)


def refuse_value(name: str, value: str, why: str) -> None:
    """Refuse one value of a variable.

    :raises ImproperlyConfigured: when it has that value.
    """
    if os.environ.get(name) == value:
        message = f"{name} is {value}: {why}"
        raise ImproperlyConfigured(message)


def require_one_of(variables: tuple[str, ...], why: str) -> None:
    """Demand exactly one of several variables.

    :raises ImproperlyConfigured: when none is set, or more than one.
    """
    given = [name for name in variables if os.environ.get(name)]
    if len(given) != 1:
        message = f"Exactly one of {' and '.join(variables)} must be set, not {' and '.join(given) or 'neither'}: {why}"
        raise ImproperlyConfigured(message)


def integer(name: str, default: int) -> int:
    """Read a whole number.

    :raises ImproperlyConfigured: when it is something else.
    """
    value = os.environ.get(name)
    if value is None:
        return default
    try:
        return int(value)
    except ValueError:
        message = f"{name} must be a whole number, not {value!r}"
        raise ImproperlyConfigured(message) from None


def flag(name: str, *, default: bool) -> bool:
    """Read yes or no.

    :raises ImproperlyConfigured: when it is neither.
    """
    value = os.environ.get(name)
    if value is None:
        return default
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    message = f"{name} must be one of 1, true, yes, on or 0, false, no, off, not {value!r}"
    raise ImproperlyConfigured(message)


def mapping(name: str) -> dict[str, dict[str, str]]:
    """Read a JSON object of objects of texts; empty when it is not set.

    :raises ImproperlyConfigured: when it is something else.
    """
    try:
        value = json.loads(os.environ.get(name) or "{}")
    except ValueError:
        value = None
    inner = value.values() if isinstance(value, dict) else [None]
    if not all(isinstance(one, dict) and all(isinstance(text, str) for text in one.values()) for one in inner):
        message = f'{name} must be a JSON object of objects of texts, such as {{"a": {{"b": "c"}}}}'
        raise ImproperlyConfigured(message)
    return dict(value)


def names(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """Read a comma-separated list."""
    value = os.environ.get(name)
    return list(default) if value is None else [part.strip() for part in value.split(",") if part.strip()]
