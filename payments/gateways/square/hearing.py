"""Reads what Square sends word of: verified over the raw bytes, and only then parsed.

The signature covers the address that Square was told to send to, and the body. It has no time of its own; the body's
`created_at`, which it covers, tells when the event came about. Square repeats a delivery for three days
(developer.squareup.com/docs/webhooks-api/delivery-sla), so one that comes late is old, though genuine: it is stored,
and the gateway is asked.
"""

import base64
import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from payments.gateways.protocol import Event, NotGenuine, Tells
from payments.gateways.reading import LONGEST_CODE, LONGEST_ID, inner, is_amount, is_storable

SIGNATURE_HEADER = "x-square-hmacsha256-signature"
TOLERANCE_SECONDS = 300  # Between Square's clock and ours.
_LONGEST_PAYMENT_ID = 64
_TELLS: Mapping[str, Tells] = {
    "APPROVED": Tells.MONEY,
    "PENDING": Tells.MONEY,
    "COMPLETED": Tells.MONEY,
    "CANCELED": Tells.NO_MONEY,
    "FAILED": Tells.NO_MONEY,
}


@dataclass(frozen=True, slots=True)
class Subscription:
    """What Square was told of where to send events, and what it signs them with."""

    secrets: tuple[str, ...] = field(repr=False)
    notification_url: str
    merchant_id: str = ""  # Empty: whoever's account they are of.


def read_event(
    *, headers: Mapping[str, str], body: bytes, subscription: Subscription, unix_seconds: int
) -> Event | NotGenuine:
    """Verify the signature over address and raw bytes, and only then read them."""
    given = {name.lower(): value for name, value in headers.items()}.get(SIGNATURE_HEADER, "")
    if not given or not subscription.notification_url:
        return NotGenuine(f"the header {SIGNATURE_HEADER} is missing, or no address is configured")
    signed = subscription.notification_url.encode() + body
    expected = [
        base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()) for secret in subscription.secrets
    ]
    # Every one is compared, so that the time taken says nothing of which one fits.
    fits = [hmac.compare_digest(given.encode(errors="surrogatepass"), mark) for mark in expected]
    if not any(fits):
        return NotGenuine("the signature does not fit")
    return _read_content(body, merchant_id=subscription.merchant_id, unix_seconds=unix_seconds)


def _read_content(body: bytes, *, merchant_id: str, unix_seconds: int) -> Event | NotGenuine:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return NotGenuine("the body is no event")
    if not isinstance(content, dict):
        return NotGenuine("the body is no event")
    event_id, kind, account = content.get("event_id"), content.get("type"), content.get("merchant_id") or ""
    created_at = _unix(content.get("created_at"))
    if (
        not (is_storable(event_id, least=0, most=LONGEST_ID) and is_storable(kind, least=0, most=LONGEST_CODE))
        or not event_id
        or not kind
    ):
        return NotGenuine("the body is no event")
    if created_at is None or not is_storable(account, least=0, most=LONGEST_ID):
        return NotGenuine("the body is no event")
    if merchant_id and account != merchant_id:
        return NotGenuine("the event is of another account")
    told = _read_object(inner(content, "data", "object"))
    if told is None:
        return NotGenuine("the body is no event")
    tells, payment_id, charge_reference = told
    return Event(
        event_id=event_id,
        kind=kind,
        tells=tells,
        payment_id=payment_id,
        charge_reference=charge_reference,
        is_timely=abs(unix_seconds - created_at) <= TOLERANCE_SECONDS,
        account=account,
    )


def _read_object(shown: Mapping[str, Any]) -> tuple[Tells, str, str] | None:
    """Return what an event tells, of which payment of ours, under which id of theirs; None for what is none."""
    refund = inner(shown, "refund")
    if refund:
        # It names the payment by their id alone; a payment.updated, which comes along, names ours.
        charge_reference = refund.get("payment_id") or ""
        # One that is pending, or failed (also after it was done), says only that the payment is to be asked about.
        tells = Tells.RETURNED if refund.get("status") == "COMPLETED" else Tells.UNKNOWN
        return (tells, "", charge_reference) if is_storable(charge_reference, least=0, most=LONGEST_ID) else None
    payment = inner(shown, "payment")
    if not payment:
        return Tells.UNKNOWN, "", ""
    reference, note, charge_reference = (payment.get(name) or "" for name in ("reference_id", "note", "id"))
    if not all(is_storable(text, least=0, most=500) for text in (reference, note)):
        return None
    if not is_storable(charge_reference, least=0, most=LONGEST_ID) or not charge_reference:
        return None
    returned_minor, status = inner(payment, "refunded_money").get("amount"), payment.get("status")
    tells = _TELLS.get(status, Tells.UNKNOWN) if isinstance(status, str) else Tells.UNKNOWN
    if is_amount(returned_minor) and returned_minor:
        tells = Tells.RETURNED
    if reference:
        return tells, reference[:_LONGEST_PAYMENT_ID], charge_reference
    # Made on Square's page: our reference is its note, and we call the charge by its order and its link.
    return tells, note[:_LONGEST_PAYMENT_ID], ""


def _unix(value: object) -> int | None:
    if not isinstance(value, str):
        return None
    try:
        at = dt.datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if at.tzinfo is None else int(at.timestamp())
