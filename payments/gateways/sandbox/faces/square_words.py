"""How Square words what happened: payments, refunds, orders, payment links, errors and events."""

import datetime as dt
import json
from typing import Any

from payments.gateways.sandbox.checks import JSON
from payments.gateways.sandbox.ledger import Row
from payments.gateways.sandbox.records import Answer, Change, Charge, Declined, Done, Outcome, Refused, Status

MERCHANT, LOCATION, APPLICATION = "MLSANDBOX", "LSANDBOX", "sandbox-sq0idb-paywindow"
ON_A_PAGE = "page"  # In a charge's metadata: it was begun on a payment link.

_STATUSES = {
    Status.PENDING: ("PENDING", "AUTHORIZED"),
    Status.AUTHORIZED: ("APPROVED", "AUTHORIZED"),
    Status.CAPTURED: ("COMPLETED", "CAPTURED"),
    Status.REFUNDED: ("COMPLETED", "CAPTURED"),
    Status.DECLINED: ("FAILED", "FAILED"),
    Status.VOIDED: ("CANCELED", "VOIDED"),
    Status.EXPIRED: ("CANCELED", "VOIDED"),
}
# Square has no word of its own for a stolen card, nor for an issuer that is away.
_DECLINES = {
    "declined": "GENERIC_DECLINE",
    "insufficient_funds": "INSUFFICIENT_FUNDS",
    "expired_card": "CARD_EXPIRED",
    "limit_exceeded": "TRANSACTION_LIMIT",
    "incorrect_cvc": "CVV_FAILURE",
    "stolen_card": "ACCOUNT_UNUSABLE",
    "authentication_required": "CARD_DECLINED_VERIFICATION_REQUIRED",
    "issuer_unavailable": "GENERIC_DECLINE",
}
_TOO_LATE = {
    Status.CAPTURED: "DELAYED_TRANSACTION_CAPTURED",
    Status.REFUNDED: "DELAYED_TRANSACTION_CAPTURED",
    Status.VOIDED: "DELAYED_TRANSACTION_CANCELED",
    Status.EXPIRED: "DELAYED_TRANSACTION_EXPIRED",
    Status.DECLINED: "DELAYED_TRANSACTION_FAILED",
}
_REFUSALS = {
    "not_found": (404, "INVALID_REQUEST_ERROR", "NOT_FOUND"),
    "idempotency_key_mismatch": (400, "INVALID_REQUEST_ERROR", "IDEMPOTENCY_KEY_REUSED"),
    "idempotency_key_in_use": (409, "INVALID_REQUEST_ERROR", "CONFLICT"),
    "key_cancelled": (400, "INVALID_REQUEST_ERROR", "BAD_REQUEST"),
    "refund_exceeds_captured": (400, "REFUND_ERROR", "REFUND_AMOUNT_INVALID"),
    "invalid_state": (400, "INVALID_REQUEST_ERROR", "BAD_REQUEST"),
    # Of the flow, not the engine.
    "unavailable": (503, "API_ERROR", "SERVICE_UNAVAILABLE"),
    "rate_limited": (429, "RATE_LIMIT_ERROR", "RATE_LIMITED"),
    "internal_error": (500, "API_ERROR", "INTERNAL_SERVER_ERROR"),
    "unauthorized": (401, "AUTHENTICATION_ERROR", "UNAUTHORIZED"),
}


def error(category: str, code: str, detail: str, *, field: str | None = None) -> JSON:
    """Return one error."""
    return {"category": category, "code": code, "detail": detail, **({} if field is None else {"field": field})}


def word_error(status: int, code: str, message: str) -> Answer:
    """Return the answer for what the flow says went wrong."""
    _, category, square_code = _REFUSALS[code]
    return Answer(status, json.dumps({"errors": [error(category, square_code, message)]}))


def word_refused(refused: Refused, *, charge: Charge | None = None) -> Answer:
    """Return the answer for what the engine refused to do to `charge`."""
    status, category, code = _REFUSALS[refused.code]
    if refused.code == "invalid_state" and charge is not None:
        code = _TOO_LATE.get(charge.status, code)
    return Answer(status, json.dumps({"errors": [error(category, code, refused.message)]}))


def is_page(charge: Charge) -> bool:
    """Tell whether a charge was begun on a payment link."""
    return ON_A_PAGE in charge.metadata


def is_payment(charge: Charge) -> bool:
    """Tell whether there is a payment: on a link there is none before somebody has tried to pay."""
    return not is_page(charge) or charge.status in {Status.CAPTURED, Status.REFUNDED, Status.DECLINED}


def order_id_of(charge_id: str) -> str:
    """Return the id of the order that a charge is for."""
    return charge_id.replace("ch_", "ord_", 1)


def link_id_of(charge_id: str) -> str:
    """Return the id of the link that a charge was begun on."""
    return charge_id.replace("ch_", "lnk_", 1)


def charge_id_of(their_id: str) -> str:
    """Return the charge that an order, a link, a refund or a payment belongs to."""
    return "ch_" + their_id.partition("_")[2].partition("_")[0]


def money(amount_minor: int, currency: str) -> JSON:
    """Return an amount."""
    return {"amount": amount_minor, "currency": currency}


def payment_object(charge: Charge, *, refunds: list[Row]) -> JSON:
    """Return a payment."""
    status, card_status = _STATUSES[charge.status]
    total = money(charge.amount_minor, charge.currency)
    shown: JSON = {
        "id": charge.id,
        "created_at": charge.created_at,
        "updated_at": charge.updated_at,
        "amount_money": total,
        "total_money": total,
        "status": status,
        "source_type": "CARD",
        "card_details": _card_details(charge, status=card_status),
        "location_id": charge.metadata["location_id"],
        "order_id": order_id_of(charge.id),
        "application_details": {"square_product": "ECOMMERCE_API", "application_id": APPLICATION},
        "version_token": f"{charge.id}-{charge.version}",
        "delay_action": "CANCEL",
    }
    if charge.expires_at is not None:
        # One that was made to expire early shows that as its time.
        until = min(charge.expires_at, charge.updated_at) if charge.status is Status.EXPIRED else charge.expires_at
        shown |= {"delay_duration": charge.metadata.get("delay_duration"), "delayed_until": until}
    if charge.status in {Status.AUTHORIZED, Status.CAPTURED, Status.REFUNDED}:
        shown["approved_money"] = total
    if not is_page(charge) and charge.reference:
        shown["reference_id"] = charge.reference
    if "note" in charge.metadata:
        shown["note"] = charge.metadata["note"]
    if charge.amount_refunded_minor:
        shown["refunded_money"] = money(charge.amount_refunded_minor, charge.currency)
        shown["refund_ids"] = [refund_id(charge, row) for row in refunds]
    return shown


def _card_details(charge: Charge, *, status: str) -> JSON:
    timeline: dict[str, Any] = {"authorized_at": charge.created_at}
    if charge.status in {Status.CAPTURED, Status.REFUNDED}:
        timeline["captured_at"] = charge.updated_at
    if charge.status in {Status.VOIDED, Status.EXPIRED}:
        timeline["voided_at"] = charge.updated_at
    details: JSON = {
        "status": status,
        "card": {"card_brand": "VISA", "last_4": "1111", "exp_month": 11, "exp_year": 2030},
        "entry_method": "KEYED",
        "cvv_status": "CVV_ACCEPTED",
        "avs_status": "AVS_ACCEPTED",
    }
    if charge.status is Status.DECLINED:
        return details | {"errors": [decline_error(charge.decline_code or "declined")]}
    return details | {"card_payment_timeline": timeline}


def decline_error(decline_code: str) -> JSON:
    """Return what Square says of a decline."""
    code = _DECLINES.get(decline_code, decline_code)
    return error("PAYMENT_METHOD_ERROR", code, f"Authorization error: '{code}'")


def word_payment(outcome: Outcome, *, refunds: list[Row], charge: Charge | None = None) -> Answer:
    """Return the answer to CreatePayment, GetPayment, CompletePayment or CancelPayment."""
    match outcome:
        case Done(done):
            return Answer(200, json.dumps({"payment": payment_object(done, refunds=refunds)}))
        case Declined(declined, code) if declined.status is Status.DECLINED:
            failed = payment_object(declined, refunds=refunds)
            return Answer(400, json.dumps({"errors": [decline_error(code)], "payment": failed}))
        case Declined(_, code):  # Of an act: the payment is as it was.
            return Answer(400, json.dumps({"errors": [decline_error(code)]}))
        case Refused() as refused:
            return word_refused(refused, charge=charge)


def refund_id(charge: Charge, row: Row) -> str:
    """Return the id of a refund."""
    return f"{charge.id}_{row['sequence']}"


def refund_object(charge: Charge, row: Row, *, status: str) -> JSON:
    """Return a refund."""
    return {
        "id": refund_id(charge, row),
        "status": status,
        "amount_money": money(row["amount_minor"], charge.currency),
        "payment_id": charge.id,
        "order_id": order_id_of(charge.id),
        "location_id": charge.metadata["location_id"],
        "created_at": row["at"],
        "updated_at": row["at"],
    }


def word_refund(outcome: Outcome, *, refunds: list[Row], charge: Charge | None) -> Answer:
    """Return the answer to RefundPayment: the refund is pending; who asks for it finds it completed."""
    match outcome:
        case Done(done):
            return Answer(200, json.dumps({"refund": refund_object(done, refunds[-1], status="PENDING")}))
        case Declined():
            refused = error("REFUND_ERROR", "REFUND_DECLINED", "The card issuer declined the refund.")
            return Answer(400, json.dumps({"errors": [refused]}))
        case Refused("invalid_state", message) if charge is not None:
            needs = charge.status is Status.AUTHORIZED
            code = "REFUND_ERROR_PAYMENT_NEEDS_COMPLETION" if needs else "PAYMENT_NOT_REFUNDABLE"
            return Answer(400, json.dumps({"errors": [error("REFUND_ERROR", code, message)]}))
        case Refused() as refused_by_engine:
            return word_refused(refused_by_engine)


def order_object(charge: Charge) -> JSON:
    """Return the order of a payment or a link."""
    total = money(charge.amount_minor, charge.currency)
    is_paid = charge.status in {Status.CAPTURED, Status.REFUNDED}
    state = "OPEN" if is_paid else "DRAFT" if charge.status is Status.PENDING else "CANCELED"
    shown: JSON = {
        "id": order_id_of(charge.id),
        "location_id": charge.metadata["location_id"],
        "state": state,
        "version": charge.version,
        "created_at": charge.created_at,
        "updated_at": charge.updated_at,
        "total_money": total,
        "line_items": [{"uid": "1", "name": "Item", "quantity": "1", "base_price_money": total, "total_money": total}],
    }
    if is_page(charge) and charge.reference:
        shown["reference_id"] = charge.reference
    if is_payment(charge):
        tender = {"id": charge.id, "payment_id": charge.id, "type": "CARD", "amount_money": total}
        shown["tenders"] = [{**tender, "location_id": charge.metadata["location_id"], "created_at": charge.updated_at}]
    return shown


def link_object(charge: Charge) -> JSON:
    """Return a payment link."""
    options = {} if charge.return_url is None else {"redirect_url": charge.return_url}
    note = {"payment_note": charge.metadata["note"]} if "note" in charge.metadata else {}
    return {
        "id": link_id_of(charge.id),
        "version": 1,
        "order_id": order_id_of(charge.id),
        "checkout_options": {"allow_tipping": False, **options},
        "url": charge.redirect_url,
        "long_url": charge.redirect_url,
        "created_at": charge.created_at,
        **note,
    }


def word_link_creation(outcome: Outcome) -> Answer:
    """Return the answer to CreatePaymentLink."""
    match outcome:
        case Done(charge):
            orders = {"orders": [order_object(charge)]}
            return Answer(200, json.dumps({"payment_link": link_object(charge), "related_resources": orders}))
        case Declined(_, code):
            return Answer(400, json.dumps({"errors": [decline_error(code)]}))
        case Refused() as refused:
            return word_refused(refused)


def word_link_deletion(outcome: Outcome) -> Answer:
    """Return the answer to DeletePaymentLink."""
    match outcome:
        case Done(charge):
            deleted = {"id": link_id_of(charge.id), "cancelled_order_id": order_id_of(charge.id)}
            return Answer(200, json.dumps(deleted))
        case Declined(_, code):
            return Answer(400, json.dumps({"errors": [decline_error(code)]}))
        case Refused() as refused:
            return word_refused(refused)


def word_event(event_id: str, change: Change, now: dt.datetime) -> str:
    """Return an event's JSON text: of a payment where there is one, else of the order."""
    charge = change.charge
    is_new = charge.version == 1
    if is_payment(charge):
        kind, name, their_id = f"payment.{'created' if is_new else 'updated'}", "payment", charge.id
        shown = payment_object(charge, refunds=[])
    else:
        kind, name, their_id = f"order.{'created' if is_new else 'updated'}", "order", order_id_of(charge.id)
        names = ("location_id", "state", "version", "created_at", "updated_at")
        order = order_object(charge)
        shown = {"order_id": their_id, **{field: order[field] for field in names}}
    event = {
        "merchant_id": MERCHANT,
        "type": kind,
        "event_id": event_id,
        "created_at": now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "data": {"type": name, "id": their_id, "object": {name: shown}},
    }
    return json.dumps(event)
