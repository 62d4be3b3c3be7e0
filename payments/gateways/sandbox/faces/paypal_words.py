"""How the PayPal dialect words a charge: as an order, its authorisation, its capture, its refunds, or a refusal."""

import dataclasses
import datetime as dt
import json
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from payments.gateways.sandbox.checks import JSON
from payments.gateways.sandbox.records import Answer, Charge, Declined, Outcome, Refused, Status

# The digits of the currencies that the dialect takes, of PayPal's list of currency codes. INR is not among them.
_DIGITS = {"AUD": 2, "CAD": 2, "CHF": 2, "EUR": 2, "GBP": 2, "JPY": 0, "USD": 2}
_VALUE = re.compile(r"([0-9]{1,10})(?:\.([0-9]{2}))?")
_PROCESSOR_CODES = {
    "declined": "0500",
    "insufficient_funds": "5120",
    "expired_card": "5400",
    "limit_exceeded": "PPAX",
    "incorrect_cvc": "5110",
    "stolen_card": "9520",
    "issuer_unavailable": "5920",
    "authentication_required": "5650",
}
_NAMES = {401: "AUTHENTICATION_FAILURE", 429: "RATE_LIMIT_REACHED", 503: "SERVICE_UNAVAILABLE"}
_REFUSALS = {
    "idempotency_key_mismatch": (422, "DUPLICATE_REQUEST_ID"),
    "idempotency_key_in_use": (409, "PREVIOUS_REQUEST_IN_PROGRESS"),
    "key_cancelled": (422, "TRANSACTION_REFUSED"),
    "wrong_intent": (422, "ACTION_DOES_NOT_MATCH_INTENT"),
    "not_approved": (422, "ORDER_NOT_APPROVED"),
    "capture_exceeds_authorized": (422, "MAX_CAPTURE_AMOUNT_EXCEEDED"),
}
_REFUSAL_NAMES = {404: "RESOURCE_NOT_FOUND", 409: "RESOURCE_CONFLICT", 422: "UNPROCESSABLE_ENTITY"}
_AUTHORIZATIONS = {
    Status.PENDING: "PENDING",
    Status.AUTHORIZED: "CREATED",
    Status.CAPTURED: "CAPTURED",
    Status.REFUNDED: "CAPTURED",
    Status.DECLINED: "DENIED",
    Status.VOIDED: "VOIDED",
    Status.EXPIRED: "VOIDED",  # PayPal voids what reaches the end of its validity.
}
_CAPTURES = {
    Status.PENDING: "PENDING",
    Status.CAPTURED: "COMPLETED",
    Status.REFUNDED: "REFUNDED",
    Status.DECLINED: "DECLINED",
    Status.VOIDED: "DECLINED",
    Status.EXPIRED: "DECLINED",
}
AUTHENTICATION_REQUIRED = "authentication_required"
_API = "https://api-m.sandbox.paypal.com"  # Links are shown as PayPal's; nobody follows them here.

Word = Callable[[Outcome, Charge | None, Sequence[int]], Answer]  # The charge as it is, and what was given back of it.


def money(amount_minor: int, currency: str) -> JSON:
    """Word an amount."""
    digits = _DIGITS.get(currency, 2)
    whole, rest = divmod(amount_minor, 10**digits)
    return {"currency_code": currency, "value": f"{whole}.{rest:0{digits}d}" if digits else str(whole)}


def money_minor(value: Any) -> int | None:
    """Read an amount above zero; None for what is none."""
    if not isinstance(value, dict) or value.keys() != {"currency_code", "value"}:
        return None
    digits, text = _DIGITS.get(str(value["currency_code"])), value["value"]
    match = _VALUE.fullmatch(text) if isinstance(text, str) else None
    if digits is None or match is None or (digits == 0 and match[2]):
        return None
    return int(match[1] + (match[2] or "0" * digits)) or None


def to_order_id(payment_id: str) -> str:
    """Return the id of the order that a payment belongs to: they differ in the first character."""
    return "5" + payment_id[1:]


def _authorization_id(charge: Charge) -> str:
    return "8" + charge.id[1:]


def _capture_id(charge: Charge) -> str:
    return "3" + charge.id[1:]


def refund_id(charge: Charge, *, refunded_minor: int) -> str:
    """Return the id of the refund after which `refunded_minor` were given back in all."""
    return f"1{charge.id[1:]}{refunded_minor}"


def order(charge: Charge, *, refunds: Sequence[int]) -> JSON:
    """Word a charge as an order."""
    is_barred = charge.is_order and charge.status is Status.VOIDED
    unit = {
        "reference_id": charge.metadata.get("reference_id", "default"),
        "amount": money(charge.amount_minor, charge.currency),
        "custom_id": charge.reference,
        "payee": {"merchant_id": "SANDBXMERCHNT"},
    }
    paid = payments(charge, refunds=refunds)
    if paid:
        unit["payments"] = paid
    return {
        "id": charge.id,
        "intent": "CAPTURE" if charge.capture is not is_barred else "AUTHORIZE",
        "status": _order_status(charge),
        "purchase_units": [unit],
        "create_time": _time(charge.created_at),
        "update_time": _time(charge.updated_at),
        "links": [
            {
                "href": f"{_API}/v2/checkout/orders/{charge.id}",
                "rel": "self",
                "method": "GET",
            },
            {"href": charge.redirect_url, "rel": "approve", "method": "GET"},
        ],
    }


def _order_status(charge: Charge) -> str:
    if charge.decline_code == AUTHENTICATION_REQUIRED:
        return "PAYER_ACTION_REQUIRED"
    if charge.status is Status.APPROVED:
        return "APPROVED"
    return "CREATED" if charge.is_order and charge.status in {Status.PENDING, Status.VOIDED} else "COMPLETED"


def payments(charge: Charge, *, refunds: Sequence[int]) -> JSON:
    """Word what an order was paid with, and what was given back."""
    is_unpaid = charge.is_order and charge.status is not Status.DECLINED
    if is_unpaid or charge.decline_code == AUTHENTICATION_REQUIRED:
        return {}
    shown: JSON = {}
    if not charge.capture:
        shown["authorizations"] = [_inside_order(authorization(charge))]
    if charge.capture or charge.amount_captured_minor:
        shown["captures"] = [_inside_order(capture(charge))]
    if refunds:
        totals = [sum(refunds[: count + 1]) for count in range(len(refunds))]
        shown["refunds"] = [
            refund(charge, amount_minor=amount, refunded_minor=total)
            for amount, total in zip(refunds, totals, strict=True)
        ]
    return shown


def _inside_order(payment: JSON) -> JSON:
    """Leave out the order's id, which is said only of a payment on its own."""
    return {name: value for name, value in payment.items() if name != "supplementary_data"}


def authorization(charge: Charge) -> JSON:
    """Word a charge as an authorisation."""
    return {
        "id": _authorization_id(charge),
        "status": _AUTHORIZATIONS[charge.status],
        "amount": money(charge.amount_minor, charge.currency),
        "expiration_time": _time(charge.expires_at or charge.created_at),
        **_common(charge, authorization_id=_authorization_id(charge)),
    }


def capture(charge: Charge) -> JSON:
    """Word a charge as a capture."""
    status = _CAPTURES[charge.status]
    if charge.status is Status.CAPTURED and charge.amount_refunded_minor:
        status = "PARTIALLY_REFUNDED"
    return {
        "id": _capture_id(charge),
        "status": status,
        "amount": money(charge.amount_captured_minor or charge.amount_minor, charge.currency),
        "final_capture": True,
        **_common(charge, capture_id=_capture_id(charge)),
    }


def refund(charge: Charge, *, amount_minor: int, refunded_minor: int) -> JSON:
    """Word one refund, after which `refunded_minor` were given back in all."""
    return {
        "id": refund_id(charge, refunded_minor=refunded_minor),
        "status": "COMPLETED",
        "amount": money(amount_minor, charge.currency),
        "custom_id": charge.reference,
        "seller_payable_breakdown": {
            "gross_amount": money(amount_minor, charge.currency),
            "total_refunded_amount": money(refunded_minor, charge.currency),
        },
        "create_time": _time(charge.updated_at),
        "update_time": _time(charge.updated_at),
        "links": [
            {
                "href": f"{_API}/v2/payments/captures/{_capture_id(charge)}",
                "rel": "up",
                "method": "GET",
            }
        ],
    }


def _common(charge: Charge, **ids: str) -> JSON:
    shown: JSON = {
        "custom_id": charge.reference,
        "supplementary_data": {"related_ids": {"order_id": charge.id, **ids}},
        "create_time": _time(charge.created_at),
        "update_time": _time(charge.updated_at),
    }
    if charge.decline_code is not None:
        code = _PROCESSOR_CODES.get(charge.decline_code, charge.decline_code)
        shown["processor_response"] = {"avs_code": "U", "cvv_code": "P", "response_code": code}
    return shown


def _time(stamped: str) -> str:
    return dt.datetime.fromisoformat(stamped).strftime("%Y-%m-%dT%H:%M:%SZ")


# Answers


def problem(status: int, name: str, issue: str | None, message: str, *, field: str | None = None) -> Answer:
    """Word an error as PayPal does."""
    detail = {"issue": issue, "description": message, **({} if field is None else {"field": f"/{field}"})}
    said = {"name": name, "message": message, "debug_id": secrets.token_hex(7), "links": []}
    return Answer(status, json.dumps(said if issue is None else {**said, "details": [detail]}))


def word_error(status: int, code: str, message: str) -> Answer:
    """Word what is no outcome: a gateway that is down, or too busy, or does not know who asks."""
    del code
    return problem(status, _NAMES.get(status, "INTERNAL_SERVER_ERROR"), None, message)


def shorten(answer: Answer, *, is_whole: bool) -> Answer:
    """Cut an answer down to what PayPal says without `Prefer: return=representation`."""
    said = json.loads(answer.body) if answer.body else {}
    if is_whole or "status" not in said:
        return answer
    return Answer(answer.status, json.dumps({name: said[name] for name in ("id", "status", "links") if name in said}))


def word_order(outcome: Outcome, charge: Charge | None, refunds: Sequence[int]) -> Answer:
    """Answer a new order."""
    if isinstance(outcome, Refused) or charge is None:
        return _refusal(outcome, "INVALID_PARAMETER_VALUE", charge)
    return Answer(201, json.dumps(order(charge, refunds=refunds)))


def word_payment_of_order(outcome: Outcome, charge: Charge | None, refunds: Sequence[int]) -> Answer:
    """Answer an authorisation or a capture of an order: a card that is declined is an answer like any other."""
    if isinstance(outcome, Refused) or charge is None:
        if charge is not None and charge.is_order and charge.status is Status.VOIDED:
            return _refusal(outcome, "ACTION_DOES_NOT_MATCH_INTENT", charge)
        verb = "CAPTURED" if charge is not None and charge.capture else "AUTHORIZED"
        return _refusal(outcome, f"ORDER_ALREADY_{verb}", charge)
    if charge.decline_code == AUTHENTICATION_REQUIRED:
        return problem(422, "UNPROCESSABLE_ENTITY", "PAYER_ACTION_REQUIRED", "The buyer has to return to PayPal.")
    return Answer(201, json.dumps(order(charge, refunds=refunds)))


def word_patch(outcome: Outcome, charge: Charge | None, refunds: Sequence[int]) -> Answer:
    """Answer a change of an order."""
    del refunds
    if isinstance(outcome, Refused | Declined):
        return _refusal(outcome, "INCOMPATIBLE_PARAMETER_VALUE", charge)
    return Answer(204, "")


def word_capture(outcome: Outcome, charge: Charge | None, refunds: Sequence[int]) -> Answer:
    """Answer a capture of what is held; one that is declined leaves the hold as it was."""
    del refunds
    if isinstance(outcome, Refused) or charge is None:
        issues = {Status.VOIDED: "VOIDED", Status.EXPIRED: "EXPIRED", Status.DECLINED: "DENIED"}
        issue = "ALREADY_CAPTURED" if charge is None else issues.get(charge.status, "ALREADY_CAPTURED")
        return _refusal(outcome, f"AUTHORIZATION_{issue}", charge)
    if isinstance(outcome, Declined):
        tried = dataclasses.replace(charge, status=Status.DECLINED, decline_code=outcome.decline_code)
        return Answer(201, json.dumps(capture(tried)))
    return Answer(201, json.dumps(capture(charge)))


def word_void(outcome: Outcome, charge: Charge | None, refunds: Sequence[int]) -> Answer:
    """Answer a void."""
    del refunds
    if isinstance(outcome, Refused) or charge is None:
        is_over = charge is not None and charge.status in {Status.VOIDED, Status.EXPIRED}
        return _refusal(outcome, "PREVIOUSLY_VOIDED" if is_over else "PREVIOUSLY_CAPTURED", charge)
    if isinstance(outcome, Declined):
        return problem(422, "UNPROCESSABLE_ENTITY", "TRANSACTION_REFUSED", "The request was refused.")
    return Answer(200, json.dumps(authorization(charge)))


def word_refund(outcome: Outcome, charge: Charge | None, refunds: Sequence[int]) -> Answer:
    """Answer a refund."""
    if isinstance(outcome, Refused) or charge is None:
        is_over = charge is not None and charge.status is Status.REFUNDED
        return _refusal(outcome, "CAPTURE_FULLY_REFUNDED" if is_over else "REFUND_AMOUNT_EXCEEDED", charge)
    if isinstance(outcome, Declined):
        is_poor = outcome.decline_code == "insufficient_funds"
        issue = "REFUND_FAILED_INSUFFICIENT_FUNDS" if is_poor else "REFUND_NOT_ALLOWED"
        return problem(422, "UNPROCESSABLE_ENTITY", issue, "The capture cannot be refunded.")
    shown = refund(charge, amount_minor=refunds[-1], refunded_minor=charge.amount_refunded_minor)
    return Answer(201, json.dumps(shown))


def _refusal(outcome: Outcome, issue: str, charge: Charge | None) -> Answer:
    """Word what the engine refused: `issue` for a charge that is in no state for it."""
    code = outcome.code if isinstance(outcome, Refused) else ""
    message = outcome.message if isinstance(outcome, Refused) else "The request was refused."
    if code == "not_found" or (charge is None and code not in _REFUSALS):
        status, issue = 404, "INVALID_RESOURCE_ID"
    else:
        status, issue = _REFUSALS.get(code, (422, issue))
    return problem(status, _REFUSAL_NAMES[status], issue, message)
