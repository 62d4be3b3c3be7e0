"""What Square takes in a request's body: a field nobody knows, here or inside another, is an error."""

import re
from typing import Any

from payments.gateways.sandbox import checks
from payments.gateways.sandbox.behaviours import token_exists

Fields = dict[str, tuple[str, checks.Check]]

_LARGEST_AMOUNT_MINOR = 999_999_999_999
_SHORTEST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 60, 7 * 24 * 3600
_CURRENCY = re.compile("[A-Z]{3}")
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")


def _is_money(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"amount", "currency"}
        and checks.is_whole(least=1, most=_LARGEST_AMOUNT_MINOR)(value["amount"])
        and isinstance(value["currency"], str)
        and _CURRENCY.fullmatch(value["currency"]) is not None
    )


def seconds(duration: str) -> int | None:
    """Return the seconds of an RFC 3339 duration, such as PT15M; None for what is none."""
    match = _DURATION.fullmatch(duration)
    if match is None or not any(match.groups()):
        return None
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def _is_delay(value: Any) -> bool:
    length = seconds(value) if isinstance(value, str) else None
    return length is not None and _SHORTEST_DELAY_SECONDS <= length <= _LONGEST_DELAY_SECONDS


def _is_line(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"name", "quantity", "base_price_money"}
        and checks.is_text(longest=512)(value["name"])
        and value["quantity"] == "1"
        and _is_money(value["base_price_money"])
    )


def _is_order(value: Any) -> bool:
    lines = value.get("line_items") if isinstance(value, dict) else None
    return (
        isinstance(value, dict)
        and value.keys() <= {"location_id", "reference_id", "line_items"}
        and checks.is_text(longest=50)(value.get("location_id"))
        and checks.is_text(longest=40)(value.get("reference_id", "-"))
        and isinstance(lines, list)
        and len(lines) == 1
        and _is_line(lines[0])
    )


def _is_options(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= {"redirect_url", "allow_tipping"}
        and checks.is_flag(value.get("allow_tipping", False))
        and checks.is_url(value.get("redirect_url", "https://example.com"))
    )


COMPLETE_FIELDS: Fields = {"version_token": ("a text of 1 to 99 characters", checks.is_text(longest=99))}
_MONEY = ("an amount in the smallest unit and a currency", _is_money)
_KEY = ("a text of 1 to 45 characters", checks.is_text(longest=45))
PAYMENT_FIELDS: Fields = {
    "source_id": ("a source that exists", lambda value: checks.is_text(longest=200)(value) and token_exists(value)),
    "idempotency_key": _KEY,
    "amount_money": _MONEY,
    "autocomplete": ("true or false", checks.is_flag),
    "delay_duration": ("a duration from a minute to 7 days", _is_delay),
    "delay_action": ("CANCEL", lambda value: value == "CANCEL"),
    "location_id": ("a text of 1 to 50 characters", checks.is_text(longest=50)),
    "reference_id": ("a text of 1 to 40 characters", checks.is_text(longest=40)),
    "note": ("a text of 1 to 500 characters", checks.is_text(longest=500)),
}
REFUND_FIELDS: Fields = {
    "idempotency_key": _KEY,
    "payment_id": ("a text", checks.is_text(longest=192)),
    "amount_money": _MONEY,
    "reason": ("a text of 1 to 192 characters", checks.is_text(longest=192)),
}
LINK_FIELDS: Fields = {
    "idempotency_key": ("a text of 1 to 192 characters", checks.is_text(longest=192)),
    "order": ("an order of one line", _is_order),
    "checkout_options": ("options that are known here", _is_options),
    "payment_note": ("a text of 1 to 500 characters", checks.is_text(longest=500)),
}
