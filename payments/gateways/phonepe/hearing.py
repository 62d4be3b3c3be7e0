"""Reads what PhonePe sends word of. On our side of the wire, like answers.py.

What vouches for an event is one hash of a user name and a password that we chose, the same in every event: it covers
neither the body nor a time. Who has seen one event can word others, and old ones can be sent again. So an event is
worth the question what became of the order, nothing more, and none counts as timely.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

from payments.gateways.protocol import Event, NotGenuine, Tells
from payments.gateways.reading import is_storable

AUTHORIZATION_HEADER = "authorization"
_TELLS: Mapping[str, Tells] = {
    "checkout.order.completed": Tells.MONEY,
    "checkout.order.failed": Tells.NO_MONEY,
    "pg.order.completed": Tells.MONEY,
    "pg.order.failed": Tells.NO_MONEY,
    "pg.refund.completed": Tells.RETURNED,
}
_LONGEST_KIND, _LONGEST_PAYMENT_ID, _LONGEST_ACCOUNT, _LONGEST_MARK = 64, 64, 64, 64


def read_event(
    *, headers: Mapping[str, str], body: bytes, credentials: Sequence[str], merchant_id: str
) -> Event | NotGenuine:
    """Verify the header, and only then read the body. `credentials` are `username:password`, the newest first."""
    given = {name.lower(): value for name, value in headers.items()}.get(AUTHORIZATION_HEADER, "")
    mark = given.strip().lower().encode(errors="replace")
    expected = [hashlib.sha256(credential.encode()).hexdigest().encode() for credential in credentials]
    # Every one is compared, so that the time taken says nothing of which one fits.
    fits = [hmac.compare_digest(mark, digest) for digest in expected]
    if not any(fits):
        return NotGenuine("the header Authorization does not fit")
    return _read_content(body, merchant_id=merchant_id)


def _read_content(body: bytes, *, merchant_id: str) -> Event | NotGenuine:
    try:
        content = json.loads(body)
        kind, payload = content["event"], content["payload"]
        is_refund = "originalMerchantOrderId" in payload
        reference = payload["originalMerchantOrderId" if is_refund else "merchantOrderId"]
        account, mark = payload.get("merchantId") or "", _mark_of(payload, is_refund=is_refund)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return NotGenuine("the body is no event")
    lengths = [
        (kind, 1, _LONGEST_KIND),
        (reference, 0, _LONGEST_PAYMENT_ID),
        (account, 0, _LONGEST_ACCOUNT),
        (mark, 0, _LONGEST_MARK),
    ]
    if not all(is_storable(text, least=least, most=most) for text, least, most in lengths):
        return NotGenuine("the body is no event")
    if merchant_id and account != merchant_id:
        return NotGenuine("the event is of another merchant")
    return Event(
        event_id=f"{kind}:{reference}:{mark}",  # It has none of its own; the same event always makes the same.
        kind=kind,
        tells=_told(kind, payload),
        payment_id=reference,
        charge_reference=reference,
        is_timely=False,
        account=account,
    )


def _told(kind: str, payload: Mapping[str, Any]) -> Tells:
    """Say what an event is about. A refund that is not completed may fail yet, or has failed: then PhonePe is asked."""
    tells = _TELLS.get(kind, Tells.UNKNOWN)
    if tells is Tells.RETURNED and payload.get("state") != "COMPLETED":
        return Tells.UNKNOWN
    return tells


def _mark_of(payload: Mapping[str, Any], *, is_refund: bool) -> str:
    """Tell an event from others of its kind and order: by the refund, or by the last attempt at paying."""
    if is_refund:
        mark = payload.get("merchantRefundId") or payload.get("refundId")
    else:
        attempts = payload.get("paymentDetails") or [{}]
        mark = attempts[-1].get("transactionId")
    return mark or ""
