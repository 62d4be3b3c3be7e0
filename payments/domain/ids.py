"""Public identifiers: a prefix that says what it is, and a time-ordered UUID (version 7, RFC 9562).

Time order keeps the indexes of busy tables compact; nothing relies on it for truth, so a clock that jumps only costs
locality.
"""

import enum
import uuid

import uuid_utils.compat


class Prefix(enum.StrEnum):
    """What a public id names."""

    ORDER = "ord"
    PAYMENT = "pay"
    COMPENSATION = "cmp"
    ANNOUNCEMENT = "ann"


def new_id() -> uuid.UUID:
    """Make a time-ordered UUID."""
    return uuid_utils.compat.uuid7()


def public_id(prefix: Prefix, value: uuid.UUID) -> str:
    """Write `value` for people and for the API: `pay_0198f0c2e4b27c3a9d1e5f60718293a4`."""
    return f"{prefix}_{value.hex}"


def parse_public_id(prefix: Prefix, text: str) -> uuid.UUID | None:
    """Read a public id back; None when it is not one of this kind, in its one canonical spelling."""
    head, _, digits = text.partition("_")
    if head != prefix or len(digits) != 32:  # noqa: PLR2004 - a UUID has 32 hexadecimal digits
        return None
    try:
        value = uuid.UUID(hex=digits)
    except ValueError:
        return None
    return value if value.hex == digits else None
