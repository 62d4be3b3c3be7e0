"""Answers as PayPal documents them, for one payment of 12.50 USD."""

import json
from collections.abc import Mapping
from typing import Any

from payments.gateways.transport import Answer

ORDER = "5O190127TN364715T"
AUTHORIZATION, CAPTURE, REFUND = "0AW2184448108334S", "3C679366HH908993F", "1JU08902781691411"
REFERENCE = "pay_0123456789abcdef0123456789abcdef"
AMOUNT = {"currency_code": "USD", "value": "12.50"}


def answer(status: int, body: object) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, headers={}, body=raw)


def refusal(status: int, issue: str, *, name: str = "UNPROCESSABLE_ENTITY") -> Answer:
    return answer(status, {"name": name, "debug_id": "90957fca61718", "details": [{"issue": issue}]})


def refusals(*issues: str | None) -> Answer:
    """A 422 with several issues; None for a detail that names none."""
    details = [{"description": "x"} if issue is None else {"issue": issue} for issue in issues]
    return answer(422, {"name": "UNPROCESSABLE_ENTITY", "debug_id": "90957fca61718", "details": details})


def money(value: str) -> dict[str, str]:
    return {"currency_code": "USD", "value": value}


def authorization(status: str, **more: object) -> dict[str, Any]:
    return {"id": AUTHORIZATION, "status": status, "amount": AMOUNT, **more}


def capture(status: str, **more: object) -> dict[str, Any]:
    return {"id": CAPTURE, "status": status, "amount": AMOUNT, "final_capture": True, **more}


def refund(value: str, *, status: str = "COMPLETED") -> dict[str, Any]:
    return {"id": REFUND, "status": status, "amount": money(value)}


def order(status: str = "COMPLETED", *, unit: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """An order; keyword arguments replace its fields, `unit` those of its purchase unit, and lists its payments."""
    payments = {name: changes.pop(name) for name in ("authorizations", "captures", "refunds") if name in changes}
    shown = {"reference_id": "AUTHORIZE", "amount": AMOUNT, "custom_id": REFERENCE, **(unit or {})}
    if payments:
        shown["payments"] = payments
    return {
        "id": ORDER,
        "intent": "AUTHORIZE",
        "status": status,
        "purchase_units": [shown],
        "create_time": "2026-11-22T00:00:00Z",
        "links": [{"href": f"https://www.paypal.com/checkoutnow?token={ORDER}", "rel": "approve", "method": "GET"}],
        **changes,
    }
