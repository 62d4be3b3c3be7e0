"""Rescue: the rows are the outbox. Whatever is due and has no fresh job is published again.

A message that the broker lost, a worker that died, a charge that was put off, a doubt whose time has come: all look
the same here, a row whose `due_at` has passed. Sending a job twice is safe, so this may run anywhere and at any time.
"""

from dataclasses import dataclass
from datetime import timedelta

import structlog

from payments import clocks, config, dispatch, locks
from payments.failpoints import reach
from payments.models import Compensation, PaymentAttempt, WebhookEvent
from payments.transactions import transaction

log = structlog.get_logger(__name__)

ROWS_PER_RUN = 500


@dataclass(frozen=True, slots=True)
class Owed:
    """The jobs that are owed now, and how many of them the broker took."""

    jobs: list[dispatch.Job]
    published: int


def publish_owed() -> Owed:
    """Publish the jobs of every due row, charges first, oldest first."""
    jobs = owed_jobs()
    if jobs:
        reach("rescue.taken")
    published = dispatch.publish(jobs=jobs)
    if jobs:
        log.info("jobs_published_again", owed=len(jobs), published=published)
    return Owed(jobs=jobs, published=published)


def owed_jobs() -> list[dispatch.Job]:
    """Take what is due: its next job is owed after the redispatch time, should this one be lost too."""
    limits = config.limits()
    again_after = timedelta(seconds=limits.redispatch_seconds)
    with transaction():
        reading = clocks.read()
        now = reading.now
        queued = locks.lock_attempts_owed(now=now, longest=limits.longest_queued, limit=ROWS_PER_RUN)
        if queued:
            PaymentAttempt.objects.filter(id__in=queued).update(
                due_at=now + again_after, enqueued_stamp=reading.as_stamp()
            )
        unresolved = locks.lock_attempts_to_resolve(
            now=now, longest=limits.longest_unresolved, published_before=now - again_after, limit=ROWS_PER_RUN
        )
        if unresolved:
            PaymentAttempt.objects.filter(id__in=unresolved).update(published_at=now)
        giving_back = locks.lock_compensations_due(
            now=now, longest=limits.longest_unresolved, published_before=now - again_after, limit=ROWS_PER_RUN
        )
        if giving_back:
            Compensation.objects.filter(id__in=giving_back).update(published_at=now)
        heard = locks.lock_webhook_events_due(
            now=now, longest=limits.longest_unresolved, published_before=now - again_after, limit=ROWS_PER_RUN
        )
        if heard:
            WebhookEvent.objects.filter(id__in=heard).update(published_at=now)
    return [
        *(dispatch.charge(attempt_id=attempt_id) for attempt_id in queued),
        *(dispatch.resolve(attempt_id=attempt_id) for attempt_id in unresolved),
        *(dispatch.compensate(compensation_id=compensation_id) for compensation_id in giving_back),
        *(dispatch.apply_event(event_id=event_id) for event_id in heard),
    ]
