"""Reads what Stripe sends word of: docs.stripe.com/webhooks, "Verify webhook signatures manually"."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from payments.gateways import marks
from payments.gateways.protocol import Event, NotGenuine, Tells
from payments.gateways.reading import LONGEST_CODE, LONGEST_ID, inner, is_storable
from payments.gateways.stripe.wording import CHARGE, MADE_BY, REFERENCE

_MOST_MARKS = 16  # One for each secret of the endpoint, of every scheme; more is nobody's honest header.
_LONGEST_PAYMENT_ID = 64

_TELLS: Mapping[str, Tells] = {
    **dict.fromkeys(
        (
            "payment_intent.created",
            "payment_intent.requires_action",
            "payment_intent.processing",
            "payment_intent.amount_capturable_updated",
            "payment_intent.succeeded",
            "charge.pending",
            "charge.captured",
            "charge.succeeded",
            "checkout.session.completed",
            "checkout.session.async_payment_succeeded",
        ),
        Tells.MONEY,
    ),
    **dict.fromkeys(
        (
            "payment_intent.payment_failed",
            "payment_intent.canceled",
            "charge.failed",
            "charge.expired",
            "checkout.session.expired",
            "checkout.session.async_payment_failed",
        ),
        Tells.NO_MONEY,
    ),
    # How a refund went on ("charge.refund.updated", "refund.updated", "refund.failed") is not here: it may have failed,
    # also long after it was done.
    **dict.fromkeys(("charge.refunded", "refund.created"), Tells.RETURNED),
}


def read_event(
    *, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], unix_seconds: int
) -> Event | NotGenuine:
    """Verify the signature over the raw bytes, and only then read them."""
    timely = marks.is_timely(
        header="Stripe-Signature",
        most_marks=_MOST_MARKS,
        headers=headers,
        body=body,
        secrets=secrets,
        unix_seconds=unix_seconds,
    )
    return timely if isinstance(timely, NotGenuine) else _read_content(body, is_timely=timely)


def _read_content(body: bytes, *, is_timely: bool) -> Event | NotGenuine:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return NotGenuine("the body is no event")
    event, told = inner(content), inner(content, "data", "object")
    event_id: Any = event.get("id")
    kind: Any = event.get("type")
    account: Any = event.get("account") or ""  # A connected account's; ours alone is not named.
    payment_id, charge_reference = _charge_of(told)
    lengths = [
        (event_id, 1, LONGEST_ID),
        (kind, 1, LONGEST_CODE),
        (payment_id, 0, 500),  # As long as metadata may be.
        (charge_reference, 0, LONGEST_ID),
        (account, 0, LONGEST_ID),
    ]
    if not told or not all(is_storable(text, least=least, most=most) for text, least, most in lengths):
        return NotGenuine("the body is no event")
    return Event(
        event_id=event_id,
        kind=kind,
        tells=_TELLS.get(kind, Tells.UNKNOWN),
        payment_id=payment_id[:_LONGEST_PAYMENT_ID],  # A longer one is none of ours.
        charge_reference=charge_reference,
        is_timely=is_timely,
        account=account,
    )


def _charge_of(told: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return our payment's id and the charge's, as far as the event's object names them.

    A charge that a checkout session made is known by the session's id, which its intent does not say.
    """
    labels = inner(told, "metadata")
    match told.get("object"):
        case "checkout.session":
            return told.get("client_reference_id") or "", told.get("id") or ""
        case "payment_intent":
            charge = told.get("id")
        case "charge":
            charge = told.get("payment_intent")
        case "refund":
            charge = labels.get(CHARGE) or told.get("payment_intent")
        case _:
            return "", ""
    return labels.get(REFERENCE) or "", "" if MADE_BY in labels else charge or ""
