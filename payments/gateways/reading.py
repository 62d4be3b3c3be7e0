"""What every adapter does with what came back. What proves nothing is a doubt, and no text of a stranger is trusted."""

import json
from collections.abc import Callable
from typing import Any, TypeGuard, TypeVar

from payments.domain.failures import FailureCode
from payments.domain.outcomes import Declined, InDoubt, NeverSent
from payments.gateways.failures import FailureTable
from payments.gateways.transport import Answer, Broken, CallResult, Refused

# What our columns hold; an id or an address that was cut off would be another one.
LONGEST_ID, LONGEST_ADDRESS, LONGEST_CODE = 255, 2048, 64


_Read = TypeVar("_Read")


def read(result: CallResult, reader: Callable[[Answer], _Read]) -> _Read | NeverSent | InDoubt:
    """Give what `reader` makes of an answer, and what a call without one proves."""
    match result:
        case Refused(detail=detail):
            return NeverSent(code=FailureCode.GATEWAY_UNREACHABLE, detail=detail)
        case Broken(detail=detail, by_deadline=by_deadline):
            code = FailureCode.GATEWAY_TIMEOUT if by_deadline else FailureCode.GATEWAY_ERROR
            return InDoubt(code=code, detail=detail)
        case Answer() as answer:
            return reader(answer)


def content(answer: Answer) -> dict[str, Any]:
    """Return the JSON object that the answer is; an empty one, which proves nothing, if it is none."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def inner(value: object, *names: str) -> dict[str, Any]:
    """Return the object that `names` lead to, one inside the other; an empty one if there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def spelled(code: object) -> str:
    """Return a code as the gateway spelled it, fit for a column and a log."""
    if code is None:
        return ""
    return (code if isinstance(code, str) and code.isprintable() else ascii(code))[:LONGEST_CODE]


def is_text(value: object, *, longest: int) -> TypeGuard[str]:
    """Tell whether `value` is a printable text of 1 to `longest` characters."""
    return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()


def is_storable(value: object, *, least: int, most: int) -> TypeGuard[str]:
    """Tell whether `value` is a text of so many characters that a database takes: no NUL, no half a character."""
    if not isinstance(value, str) or not least <= len(value) <= most:
        return False
    return not any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in value)


def is_amount(value: object) -> TypeGuard[int]:
    """Tell whether `value` is an amount in minor units, 0 included."""
    # Not a truth value, which Python counts among the integers.
    return type(value) is int and value >= 0


def is_address(value: object) -> TypeGuard[str]:
    """Tell whether `value` is an address that a customer can be sent to."""
    return is_text(value, longest=LONGEST_ADDRESS) and value.startswith(("http://", "https://"))


def doubt(detail: str, *, code: FailureCode = FailureCode.GATEWAY_ERROR, reference: str = "") -> InDoubt:
    """Say that what came back proves nothing."""
    return InDoubt(code=code, detail=detail, reference=reference)


def declined(table: FailureTable, gateway_code: object, *, reference: str | None) -> Declined:
    """Say that the gateway refused, by what its table makes of its code."""
    code = spelled(gateway_code)
    return Declined(code=table.meaning(code), gateway_code=code, reference=reference)
