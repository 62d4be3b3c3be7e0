"""Orders that could not be ended: written down with the reason, tried again ever more seldom, and told to the staff."""

import structlog
from django.conf import settings
from django.core.mail import mail_admins
from django.db import Error, connection

from payments import clocks, config, locks
from payments.clocks import DatabaseClock
from payments.domain.ids import Prefix, public_id
from payments.domain.states import OrderStatus
from payments.due import Due
from payments.messaging.bounded import Point, within
from payments.messaging.endings import Ending, NotSent, Sent
from payments.models import ExpiryFailure
from payments.transactions import is_lock_conflict, transaction

log = structlog.get_logger(__name__)

FIRST_WAIT_SECONDS = 2
LONGEST_WAIT_SECONDS = 3600
MOST_TOLD_AT_ONCE = 100


def reason_of(error: Exception) -> str:
    """Give the first line of what an error says, or else its name."""
    return (str(error).partition("\n")[0] or type(error).__name__)[:500]


def note_failure(candidate: Due, *, why: str) -> bool:
    """Write down that an order could not be ended. Its next try is twice as far away as the last one was.

    False when somebody holds the order for so long that it cannot be written down: the next run finds it again.
    """
    try:
        tries = _write(candidate, reason=why[:500])
    except Error as error:
        if not is_lock_conflict(error):
            raise
        return False
    log.error(
        "expiry_failed",
        order_id=candidate.order_number,
        payment_id=public_id(Prefix.PAYMENT, candidate.attempt_id),
        expires_at=candidate.expires_at.isoformat(),
        reason=why,
        tries=tries,
    )
    return True


def _write(candidate: Due, *, reason: str) -> int:
    with transaction(), connection.cursor() as cursor:
        locks.wait_shortly()
        now = clocks.database_now()
        cursor.execute(
            """
            INSERT INTO payments_expiryfailure AS f (order_id, reason, tries, first_failed_at, last_failed_at, due_at)
            VALUES (%(order_id)s, %(reason)s, 1, %(now)s, %(now)s,
                %(now)s::timestamptz + make_interval(secs => %(first)s))
            ON CONFLICT (order_id) DO UPDATE SET
                -- What was resolved, and fails again, begins anew.
                (tries, first_failed_at, notified_at, due_at) = (
                    SELECT 1 + earlier, CASE WHEN earlier = 0 THEN %(now)s ELSE f.first_failed_at END,
                        CASE WHEN earlier > 0 THEN f.notified_at END, %(now)s::timestamptz
                            + make_interval(secs => least(%(longest)s, %(first)s * 2.0 ^ least(earlier, 30)))
                    FROM (SELECT CASE WHEN f.resolved_at IS NULL THEN f.tries ELSE 0 END AS earlier) before
                ), reason = %(reason)s, last_failed_at = %(now)s, resolved_at = NULL
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
    return int(tries)


def _mail(subject: str, message: str) -> Ending:
    """Mail the administrators, and wait for it no longer than for any other message."""

    def send(point: Point) -> Ending:
        if not point.pass_by():
            return NotSent(why="nobody waits any more", may_retry=True)
        mail_admins(subject=subject, message=message)
        return Sent()

    return within(config.reminders().total_seconds, send)


def notify_staff() -> int:
    """Mail the administrators about the orders that could not be ended, once each; returns how many were new.

    At least once: a process that dies between the mail and its record sends it again.
    """
    ended = ExpiryFailure.objects.filter(resolved_at=None).exclude(order__status=OrderStatus.UNDER_PAYING)
    ended.update(resolved_at=DatabaseClock())  # They ended by another way, such as a payment.
    if not settings.ADMINS:
        return 0  # They stay untold, until there is somebody to tell.
    rows = ExpiryFailure.objects.filter(resolved_at=None, notified_at=None).select_related("order")
    failures = list(rows.order_by("first_failed_at")[:MOST_TOLD_AT_ONCE])
    if not failures:
        return 0
    lines = [
        f"{failure.order.order_id}, due since {failure.order.payment_expires_at.isoformat()}: {failure.reason}"
        for failure in failures
    ]
    text = "Their time is over, and this is what stood in the way. They keep their stock, and are tried again."
    ending = _mail(f"{len(failures)} orders could not be ended", "\n".join([text, "", *lines]))
    if not isinstance(ending, Sent):
        log.warning("staff_not_told", why=ending.why)
        return 0  # The next run tries again.
    ExpiryFailure.objects.filter(pk__in=[failure.pk for failure in failures]).update(notified_at=DatabaseClock())
    return len(failures)
