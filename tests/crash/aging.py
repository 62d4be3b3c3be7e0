"""Lets time pass for attempts, with all that happened to them, where a test cannot wait a quarter of an hour."""

from datetime import timedelta
from uuid import UUID

import pgtrigger
from django.db.models import F

from payments import clocks
from payments.models import GatewayCall, HistoryEntry, Order, PaymentAttempt
from tests.factories import aged

_KEEPERS = (
    "payments.PaymentAttempt:attempt_facts",
    "payments.GatewayCall:gateway_call_facts",
    "payments.HistoryEntry:history_append_only",
)


def age(attempt_id: UUID, *, seconds_left: float) -> None:
    """Move an attempt and its whole past back in time, until `seconds_left` are left of its window.

    The database never lets any of this be moved, so the triggers are off for these statements. What is due stays due:
    an attempt that waits for somebody is waited for from now on.
    """
    attempt = PaymentAttempt.objects.get(id=attempt_id)
    now = clocks.database_now()
    passed = attempt.expires_at - (now + timedelta(seconds=seconds_left))
    with pgtrigger.ignore(*_KEEPERS):
        PaymentAttempt.objects.filter(id=attempt_id).update(
            opened_at=F("opened_at") - passed,
            expires_at=F("expires_at") - passed,
            reminder_at=F("reminder_at") - passed,
            opened_stamp=aged(attempt.opened_stamp, by=passed),
            enqueued_stamp=aged(attempt.enqueued_stamp, by=passed),
            unresolved_since=F("unresolved_since") - passed,
            due_at=now,
        )
        GatewayCall.objects.filter(attempt=attempt).update(
            started_at=F("started_at") - passed, finished_at=F("finished_at") - passed
        )
        HistoryEntry.objects.filter(attempt=attempt).update(at=F("at") - passed)
    Order.objects.filter(id=attempt.order_id).update(payment_expires_at=attempt.expires_at - passed)
