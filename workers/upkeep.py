"""The `upkeep` queue: what keeps the rest going."""

import structlog
from celery import shared_task
from structlog.contextvars import bind_contextvars, clear_contextvars

from payments import clocks, idempotency, invariants, lifecycle

log = structlog.get_logger(__name__)

ROWS_PER_BATCH = 1000
BATCHES_PER_RUN = 1000


@shared_task(name="payments.publish_owed", max_retries=0)
def publish_owed(**_from_newer_senders: object) -> None:
    """Publish the jobs that the broker lost."""
    clear_contextvars()
    bind_contextvars(task="payments.publish_owed")
    lifecycle.perform_rescue()


@shared_task(name="payments.forget_idempotency_keys", max_retries=0)
def forget_idempotency_keys(**_from_newer_senders: object) -> None:
    """Delete the answers that are kept no longer, a batch at a time."""
    clear_contextvars()
    bind_contextvars(task="payments.forget_idempotency_keys")
    for _ in range(BATCHES_PER_RUN):
        if idempotency.delete_old(now=clocks.database_now(), limit=ROWS_PER_BATCH) < ROWS_PER_BATCH:
            break


@shared_task(name="payments.check_invariants", max_retries=0)
def check_invariants(**_from_newer_senders: object) -> None:
    """Look for rows that break what must always hold, and say so in the log, an error each."""
    clear_contextvars()
    bind_contextvars(task="payments.check_invariants")
    for found in invariants.broken((*invariants.SAFETY, *invariants.LIVENESS)):
        log.error("invariant_broken", rule=found.rule, what=found.what, detail=found.detail)
