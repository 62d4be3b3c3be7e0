"""Bodies as docs.stripe.com/api documents them: intents, sessions, charges, refunds and errors."""

import json
from typing import Any

from payments.gateways.transport import Answer
from tests.contract.stripe.asking import AMOUNT_MINOR, PAYMENT

INTENT, SESSION, CHARGE = (
    "pi_3MtwBwLkdIwHu7ix28a3tqPa",
    "cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4WRmzW0zWJO2znZKd",
    "ch_3Mm",
)
JSON = dict[str, Any]


def answer(status: int, body: object) -> Answer:
    return Answer(status=status, headers={"content-type": "application/json"}, body=json.dumps(body).encode())


def charge(*, amount_refunded: Any = 0, **more: Any) -> JSON:
    """Return a charge, with the one refund that its sum is of."""
    refunds = [given_back(amount_refunded)] if amount_refunded else []
    said = {
        "id": CHARGE,
        "object": "charge",
        "amount": AMOUNT_MINOR,
        "amount_captured": AMOUNT_MINOR,
        "amount_refunded": amount_refunded,
        "captured": True,
        "currency": "usd",
        "payment_intent": INTENT,
        "refunded": False,
        "refunds": refund_list(*refunds),
        "status": "succeeded",
    }
    return {**said, **more}


def refund_list(*refunds: JSON, **more: Any) -> JSON:
    return {"object": "list", "data": list(refunds), "has_more": False, **more}


def given_back(amount: Any, status: str = "succeeded") -> JSON:
    return {"id": f"re_{status}", "object": "refund", "amount": amount, "status": status}


def intent(status: str, **more: Any) -> JSON:
    said = {
        "id": INTENT,
        "object": "payment_intent",
        "amount": AMOUNT_MINOR,
        "amount_capturable": AMOUNT_MINOR if status == "requires_capture" else 0,
        "amount_received": AMOUNT_MINOR if status == "succeeded" else 0,
        "cancellation_reason": None,
        "currency": "usd",
        "last_payment_error": None,
        "latest_charge": charge() if status == "succeeded" else None,
        "metadata": {"reference": PAYMENT},
        "next_action": None,
        "status": status,
    }
    return {**said, **more}


def declined_intent(code: str = "card_declined", decline_code: str | None = "do_not_honor") -> JSON:
    return intent("requires_payment_method", last_payment_error=card_error(code, decline_code))


def card_error(code: str = "card_declined", decline_code: str | None = "do_not_honor") -> JSON:
    error = {"code": code, "decline_code": decline_code, "message": "Your card was declined.", "type": "card_error"}
    return {name: value for name, value in error.items() if value is not None}


def session(status: Any, **more: Any) -> JSON:
    said = {
        "id": SESSION,
        "object": "checkout.session",
        "amount_total": AMOUNT_MINOR,
        "client_reference_id": PAYMENT,
        "created": 1679600215,
        "currency": "usd",
        "mode": "payment",
        "payment_intent": intent("succeeded") if status == "complete" else None,
        "payment_status": "paid" if status == "complete" else "unpaid",
        "status": status,
        "url": "https://checkout.stripe.com/c/pay/cs_test_a11" if status == "open" else None,
    }
    return {**said, **more}


def refund(**more: Any) -> JSON:
    said = {
        "id": "re_1Nispe2eZvKYlo2Cd31jOCgZ",
        "object": "refund",
        "amount": AMOUNT_MINOR,
        "charge": charge(amount_refunded=AMOUNT_MINOR, refunded=True),
        "currency": "usd",
        "payment_intent": INTENT,
        "status": "succeeded",
    }
    return {**said, **more}


def error(kind: str = "invalid_request_error", **more: Any) -> JSON:
    return {"error": {"type": kind, "message": "What is wrong.", **more}}
