"""How PhonePe words orders, refunds, errors and events: its Standard Checkout v2, as documented."""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence

from payments.gateways.sandbox.checks import JSON
from payments.gateways.sandbox.records import Answer, Change, Charge, Declined, Done, Outcome, Refused, Status

# What the issuer says, as PhonePe spells it: error code and detailed error code.
_DECLINES: Mapping[str, tuple[str, str]] = {
    "declined": ("TRANSACTION_DECLINED", "TRANSACTION_DECLINED"),
    "insufficient_funds": ("INSUFFICIENT_BALANCE", "Z9"),
    "expired_card": ("CARD_EXPIRED", "CARD_EXPIRED"),
    "limit_exceeded": ("TXN_LIMIT_BREACHED", "Z8"),
    "incorrect_cvc": ("INVALID_CVV_EXPIRY", "INVALID_CVV_EXPIRY"),
    "stolen_card": ("TXN_BLOCKED", "K1"),
    "authentication_required": ("INVALID_MPIN", "ZM"),
    "issuer_unavailable": ("BANK_TECHNICAL_ISSUE", "U90"),
}
_STATES = {Status.PENDING: "PENDING", Status.CAPTURED: "COMPLETED", Status.REFUNDED: "COMPLETED"}  # Else it failed.
_ENDED = {
    Status.EXPIRED: ("TXN_NOT_COMPLETED", "ORDER_EXPIRED"),
    Status.VOIDED: ("TXN_CANCELLED", "ORDER_CANCELLED_BY_USER"),
}
_ORDER_EVENTS = {
    "charge.captured": "checkout.order.completed",
    "charge.declined": "checkout.order.failed",
    "charge.voided": "checkout.order.failed",
    "charge.expired": "checkout.order.failed",
}
_MERCHANT = "PAYWINDOWSANDBOX"
# A request that meets one with the same id, running or done, is refused like any other reuse.
_USED_ID = (417, "INVALID_MERCHANT_ORDER_ID", "The merchant order id was used before.")
_USED_KEYS = frozenset({"idempotency_key_in_use", "idempotency_key_mismatch", "key_cancelled"})


def order_id(charge: Charge) -> str:
    """Return PhonePe's own id of an order."""
    return f"OMO{charge.id.removeprefix('ch_').upper()}"


def refund_id(charge_id: str, *, at: str) -> str:
    """Return PhonePe's own id of the refund that was made of a charge at this time."""
    digits = "".join(character for character in at if character.isdigit())
    return f"OMR{digits}{charge_id[-6:].upper()}"


def epoch_milliseconds(at: str) -> int:
    """Return a time of the ledger as PhonePe words times."""
    return round(dt.datetime.fromisoformat(at).timestamp() * 1000)


def order_object(charge: Charge) -> JSON:
    """Return an order as its status shows it. That money went back is not seen in it."""
    order: JSON = {
        "orderId": order_id(charge),
        "state": _STATES.get(charge.status, "FAILED"),
        "amount": charge.amount_minor,
        "currency": charge.currency,
        "expireAt": epoch_milliseconds(charge.expires_at or charge.updated_at),
    }
    if charge.metadata:
        order["metaInfo"] = charge.metadata
    error: JSON = {}
    if charge.status is Status.DECLINED:
        code, detailed = _DECLINES.get(charge.decline_code or "", ("OTHERS", charge.decline_code or ""))
        error = {"errorCode": code, "detailedErrorCode": detailed}
    elif charge.status in _ENDED:
        code, detailed = _ENDED[charge.status]
        error = {"errorCode": code, "detailedErrorCode": detailed}
    was_tried = charge.status in {Status.DECLINED, Status.CAPTURED, Status.REFUNDED}
    attempt = {
        "paymentMode": "UPI_QR",
        "transactionId": f"OM{charge.id.removeprefix('ch_').upper()}",
        "timestamp": epoch_milliseconds(charge.updated_at),
        "amount": charge.amount_minor,
        "state": order["state"],
        **error,
    }
    return {**order, **error, "paymentDetails": [attempt] if was_tried else []}


def refund_object(charge: Charge, *, amount_minor: int, at: str) -> JSON:
    """Return a refund as its status shows it: the sandbox's banks are quick, so it is there already."""
    return {
        "originalMerchantOrderId": charge.reference,
        "currency": charge.currency,
        "amount": amount_minor,
        "state": "COMPLETED",
        "refundId": refund_id(charge.id, at=at),
        "timestamp": epoch_milliseconds(at),
    }


def word_error(status: int, code: str, message: str) -> Answer:
    """Return an error of the API."""
    return Answer(status, json.dumps({"success": False, "code": code.upper(), "message": message, "data": {}}))


def word_unknown_order() -> Answer:
    """Return the answer to a question after an order that does not exist."""
    return Answer(
        400,
        json.dumps({"code": "INVALID_MERCHANT_ORDER_ID", "message": "No entry found for given merchant order id"}),
    )


def word_used_id() -> Answer:
    """Return the refusal of an order or refund whose id is taken."""
    return word_error(*_USED_ID)


def word_creation(outcome: Outcome, *, page_origin: str) -> Answer:
    """Return the answer to a new order. Whatever its customer's bank will say, it begins unpaid."""
    match outcome:
        case Done(charge) | Declined(charge, _):
            order = order_object(charge)
            page = charge.redirect_url or f"{page_origin}/pay/{charge.id}"
            shown = {"orderId": order["orderId"], "state": "PENDING", "expireAt": order["expireAt"]}
            return Answer(200, json.dumps({**shown, "redirectUrl": page}))
        case Refused():
            return word_refusal(outcome)


def word_refund(outcome: Outcome, *, amount_minor: int) -> Answer:
    """Return the answer to a request for a refund: what becomes of it is told later."""
    match outcome:
        case Done(charge):
            shown = {"refundId": refund_id(charge.id, at=charge.updated_at), "amount": amount_minor, "state": "PENDING"}
            return Answer(200, json.dumps(shown))
        case Declined():
            return word_error(400, "REFUND_NOT_ALLOWED", "You cannot process this refund.")
        case Refused():
            return word_refusal(outcome)


def word_refusal(refused: Refused) -> Answer:
    """Return the answer for what the engine refuses."""
    if refused.code in _USED_KEYS:
        return word_used_id()
    return word_error(400, "BAD_REQUEST", refused.message)


def word_event(event_id: str, change: Change, now: dt.datetime) -> str:
    """Return an event's JSON text. It has no id, and of a new order nobody is told."""
    del event_id
    charge, kind = change.charge, _ORDER_EVENTS.get(change.event_type)
    if change.event_type == "charge.refunded":
        refund = refund_object(charge, amount_minor=change.amount_minor, at=charge.updated_at)
        return json.dumps({"event": "pg.refund.completed", "payload": {"merchantId": _MERCHANT, **refund}})
    if kind is None:
        return ""
    payload = {"merchantId": _MERCHANT, "merchantOrderId": charge.reference, **order_object(charge)}
    # PhonePe calls a `type` deprecated, and the time unspoken for; both are sent.
    kind_before, at = kind.replace(".", "_").upper(), round(now.timestamp() * 1000)
    return json.dumps({"event": kind, "type": kind_before, "timestamp": at, "payload": payload})


def sign_event(body: bytes, *, url: str, secrets: Sequence[str], unix_seconds: int) -> Mapping[str, str]:
    """Return the headers of an event: one hash of one `username:password`, whatever is sent, and whenever."""
    del body, url, unix_seconds
    return {"Authorization": hashlib.sha256(secrets[0].encode()).hexdigest()}
