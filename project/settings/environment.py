"""Typed reads of the environment: a value that does not fit is refused by its name."""

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


def names(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """Read a comma-separated list."""
    value = os.environ.get(name)
    return list(default) if value is None else [part.strip() for part in value.split(",") if part.strip()]
