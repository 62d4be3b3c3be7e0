"""Ask soon: somebody waits, so the next question to the gateway is not left to its backoff.

A customer who comes back from a hosted page, a shop that checks a payment, a gateway that sends word: each only makes
the question due, and the resolver asks it. Nothing is believed here, and nobody can make a gateway be asked more often
than it would be asked after a fresh doubt.
"""

from datetime import timedelta
from uuid import UUID

import structlog

from payments import clocks, config, dispatch, locks
from payments.domain.states import ASKED_ABOUT
from payments.models import GatewayCall, PaymentAttempt
from payments.transactions import after_commit, transaction

log = structlog.get_logger(__name__)


def ask_soon(*, attempt_id: UUID) -> bool:
    """Make the next question about an attempt due now, and publish its job after the commit.

    From then on it is asked as after a fresh doubt: whoever waited does not make the questions after it rarer.

    Returns whether that was done. It is not while a call of the attempt runs, whose lease `due_at` is then; nor within
    PAYMENT_RESOLVE_AFTER_SECONDS of its last call; nor while a job of it is fresh; nor for an attempt that nobody asks
    about.
    """
    limits = config.limits()
    if not PaymentAttempt.objects.filter(id=attempt_id, state__in=sorted(ASKED_ABOUT)).exists():
        return False  # Without a lock, which claims and records want; under it the state is looked at again.
    with transaction():
        if locks.lock_order_of(attempt_id=attempt_id) is None:
            return False
        now = clocks.database_now()
        attempt = PaymentAttempt.objects.get(id=attempt_id)
        if attempt.state not in ASKED_ABOUT or attempt.due_at is None:
            return False
        # As the rescue reads it: a due time beyond the longest wait is from a clock that was set back since.
        is_due = not now < attempt.due_at <= now + limits.longest_unresolved
        calls = GatewayCall.objects.filter(attempt=attempt, compensation=None)
        is_leased = calls.filter(fence=attempt.fence, finished_at=None).exists()
        if is_leased and not is_due:
            return False
        asked_after = now - timedelta(seconds=limits.resolve_after_seconds)
        if calls.filter(started_at__gt=asked_after, started_at__lte=now).exists():
            return False
        fresh_after = now - timedelta(seconds=limits.redispatch_seconds)
        if is_due and attempt.published_at is not None and fresh_after < attempt.published_at <= now:
            return False
        due_at = attempt.due_at if is_due else now
        PaymentAttempt.objects.filter(id=attempt.id).update(due_at=due_at, published_at=now, questions=0)
        after_commit(lambda: dispatch.publish_later(job=dispatch.resolve(attempt_id=attempt_id)))
    log.info("question_pulled_forward", payment_id=attempt.public_id)
    return True
