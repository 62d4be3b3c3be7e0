"""Reads what the sandbox sends word of (docs/sandbox.md, Webhooks). On our side of the wire, like answers.py."""

import json
from collections.abc import Mapping, Sequence

from payments.gateways import marks
from payments.gateways.protocol import Event, NotGenuine, Tells
from payments.gateways.reading import is_storable

_MOST_MARKS = 8  # One for each of the gateway's secrets; more is nobody's honest header.
_TELLS: Mapping[str, Tells] = {
    "charge.captured": Tells.MONEY,
    "charge.authorized": Tells.MONEY,
    "charge.pending": Tells.MONEY,
    "charge.declined": Tells.NO_MONEY,
    "charge.voided": Tells.NO_MONEY,
    "charge.expired": Tells.NO_MONEY,
    "charge.refunded": Tells.RETURNED,
}
_LONGEST_ID, _LONGEST_KIND, _LONGEST_PAYMENT_ID = 255, 64, 64


def read_event(
    *, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], unix_seconds: int
) -> Event | NotGenuine:
    """Verify the signature over the raw bytes, and only then read them."""
    timely = marks.is_timely(
        header="Sandbox-Signature",
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
        charge = content["data"]["charge"]
        event_id, kind = content["id"], content["type"]
        payment_id, charge_reference = charge["reference"], charge["id"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return NotGenuine("the body is no event")
    lengths = [
        (event_id, 1, _LONGEST_ID),
        (kind, 1, _LONGEST_KIND),
        (payment_id, 0, 200),
        (charge_reference, 0, _LONGEST_ID),
    ]
    if not all(is_storable(text, least=least, most=most) for text, least, most in lengths):
        return NotGenuine("the body is no event")
    return Event(
        event_id=event_id,
        kind=kind,
        tells=_TELLS.get(kind, Tells.UNKNOWN),
        payment_id=payment_id[:_LONGEST_PAYMENT_ID],  # A longer one is none of ours.
        charge_reference=charge_reference,
        is_timely=is_timely,
    )
