"""Rescue: the row is the outbox. Whatever is queued and has no fresh job is published again.

A message that the broker lost, a worker that died before it claimed, a charge that was put off: all look the same
here, a queued row whose `due_at` has passed. Sending a job twice is safe, so this may run anywhere and at any time.
"""

from datetime import timedelta

import structlog

from payments import clocks, config, dispatch, locks
from payments.models import PaymentAttempt
from payments.transactions import transaction

log = structlog.get_logger(__name__)

ROWS_PER_RUN = 500


def publish_owed() -> int:
    """Publish the jobs of overdue queued attempts, oldest first; returns how many the broker took."""
    with transaction():
        now = clocks.database_now()
        attempt_ids = locks.lock_attempts_owed(now=now, limit=ROWS_PER_RUN)
        if not attempt_ids:
            return 0
        next_look_at = now + timedelta(seconds=config.limits().redispatch_seconds)
        PaymentAttempt.objects.filter(id__in=attempt_ids).update(due_at=next_look_at)
    published = dispatch.publish_charges(attempt_ids=attempt_ids)
    log.info("jobs_published_again", owed=len(attempt_ids), published=published)
    return published
