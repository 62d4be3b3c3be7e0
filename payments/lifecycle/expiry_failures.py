"""Orders that could not be ended: written down with the reason, tried again ever more seldom, and told to the staff."""

import structlog
from django.core.mail import mail_admins
from django.db import connection

from payments import clocks
from payments.clocks import DatabaseClock
from payments.domain.ids import Prefix, public_id
from payments.domain.states import OrderStatus
from payments.due import Due
from payments.models import ExpiryFailure
from payments.transactions import forbid_transaction, transaction

log = structlog.get_logger(__name__)

FIRST_WAIT_SECONDS = 2
LONGEST_WAIT_SECONDS = 3600
MOST_TOLD_AT_ONCE = 100


def note_failure(candidate: Due, *, why: str) -> None:
    """Write down that an order could not be ended. Its next try is twice as far away as the last one was."""
    reason = why[:500]
    with transaction(), connection.cursor() as cursor:
        now = clocks.database_now()
        cursor.execute(
            """
            INSERT INTO payments_expiryfailure AS f (order_id, reason, tries, first_failed_at, last_failed_at, due_at)
            VALUES (%(order_id)s, %(reason)s, 1, %(now)s, %(now)s,
                %(now)s::timestamptz + make_interval(secs => %(first)s))
            ON CONFLICT (order_id) DO UPDATE SET reason = %(reason)s, tries = f.tries + 1, last_failed_at = %(now)s,
                resolved_at = NULL, due_at = %(now)s::timestamptz
                    + make_interval(secs => least(%(longest)s, %(first)s * 2.0 ^ least(f.tries, 30)))
            RETURNING tries
            """,
            {
                "order_id": candidate.order_id,
                "reason": reason,
                "now": now,
                "first": FIRST_WAIT_SECONDS,
                "longest": LONGEST_WAIT_SECONDS,
            },
        )
        (tries,) = cursor.fetchone()
    log.error(
        "expiry_failed",
        order_id=candidate.order_number,
        payment_id=public_id(Prefix.PAYMENT, candidate.attempt_id),
        expires_at=candidate.expires_at.isoformat(),
        reason=reason,
        tries=tries,
    )


def notify_staff() -> int:
    """Mail the administrators about the orders that could not be ended, once each; returns how many were new.

    At least once: a process that dies between the mail and its record sends it again.
    """
    forbid_transaction()
    ended = ExpiryFailure.objects.filter(resolved_at=None).exclude(order__status=OrderStatus.UNDER_PAYING)
    ended.update(resolved_at=DatabaseClock())  # They ended by another way, such as a payment.
    rows = ExpiryFailure.objects.filter(resolved_at=None, notified_at=None).select_related("order")
    failures = list(rows.order_by("first_failed_at")[:MOST_TOLD_AT_ONCE])
    if not failures:
        return 0
    lines = [
        f"{failure.order.order_id}, due since {failure.order.payment_expires_at.isoformat()}: {failure.reason}"
        for failure in failures
    ]
    mail_admins(
        subject=f"{len(failures)} orders could not be ended",
        message="Their time is over, and this is what stood in the way. They keep their stock, and are tried again.\n\n"
        + "\n".join(lines),
    )
    ExpiryFailure.objects.filter(pk__in=[failure.pk for failure in failures]).update(notified_at=DatabaseClock())
    return len(failures)
