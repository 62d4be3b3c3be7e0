"""Announce: what the host must be told is written in the transaction that makes it true.

One announcement, and one delivery for each destination that is configured then. If the transaction is rolled back,
nothing was announced; once it has committed, deliver.py tells it at least once. The caller holds the order's lock: an
announcement's number is the next of its order.
"""

import json
from datetime import datetime

from django.db.models import Max

from payments import config
from payments.domain.announcements import ANNOUNCED_STATES, AnnouncementKind, GivenBack, Notice
from payments.domain.ids import Prefix, new_id, public_id
from payments.domain.messages import announcement_message
from payments.domain.states import AttemptState
from payments.models import Announcement, AnnouncementDelivery, Order, PaymentAttempt
from payments.transactions import require_transaction


def stage(
    *,
    kind: AnnouncementKind,
    order: Order,
    now: datetime,
    attempt: PaymentAttempt | None = None,
    given_back: GivenBack | None = None,
    reason: str = "",
) -> Announcement:
    """Announce what this transaction does. Hold the order's lock, and move the attempt first.

    `given_back` is the money of a `refunded` announcement; with another kind, money that is owed to the customer.
    `reason` is a code that says more, such as the doubt that was not resolved. Never pass text of a customer or a
    gateway.

    :raises ValueError: when the attempt's state is not what the kind says, or a refund has no amount.
    """
    require_transaction()
    state = None if attempt is None else AttemptState(attempt.state)
    if state not in ANNOUNCED_STATES[kind]:
        message = f"{kind} cannot be announced of an attempt in state {state}"
        raise ValueError(message)
    if kind is AnnouncementKind.REFUNDED and given_back is None:
        message = "refunded is announced with what was given back"
        raise ValueError(message)
    announcement_id = new_id()
    latest = Announcement.objects.filter(order_id=order.id).aggregate(number=Max("number"))["number"]
    failure_code = "" if attempt is None else attempt.failure_code
    notice = Notice(
        id=public_id(Prefix.ANNOUNCEMENT, announcement_id),
        number=(latest or 0) + 1,
        kind=kind,
        created_at=now,
        order_id=order.order_id,
        payment_id=None if attempt is None else attempt.public_id,
        state=state,
        amount_minor=order.total_minor if attempt is None else attempt.amount_minor,
        currency=order.currency,
        failure_code=failure_code or None,
        reason=reason or None,
        given_back=given_back,
        message=announcement_message(kind=kind, state=state, failure_code=failure_code, given_back=given_back),
    )
    announcement = Announcement.objects.create(
        id=announcement_id,
        order=order,
        attempt=attempt,
        number=notice.number,
        kind=kind,
        payload=notice.payload(),
        created_at=now,
    )
    AnnouncementDelivery.objects.bulk_create(
        AnnouncementDelivery(announcement=announcement, destination=destination, due_at=now)
        for destination in config.announcements().destinations
    )
    return announcement


def expiry_parameters(*, now: datetime) -> dict[str, list[str] | str]:
    """Give the statement that expires what it cannot know: the destinations, and the payloads.

    There is one payload for an attempt that ended and one for an order alone; the statement adds what each row knows.
    """
    return {
        "destinations": config.announcements().destinations,
        "attempt_payload": _expiry_payload(state=AttemptState.EXPIRED, now=now),
        "order_payload": _expiry_payload(state=None, now=now),
    }


def _expiry_payload(*, state: AttemptState | None, now: datetime) -> str:
    kind = AnnouncementKind.PAYMENT_EXPIRED
    notice = Notice(
        id="",
        number=0,
        kind=kind,
        created_at=now,
        order_id="",
        payment_id=None,
        state=state,
        amount_minor=0,
        currency="",
        failure_code=None,
        reason=None,
        given_back=None,
        message=announcement_message(kind=kind, state=state, failure_code="", given_back=None),
    )
    return json.dumps(notice.payload())
