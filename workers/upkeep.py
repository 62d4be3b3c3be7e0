"""The `upkeep` queue: what keeps the rest going."""

from celery import shared_task
from structlog.contextvars import bind_contextvars, clear_contextvars

from payments import lifecycle


@shared_task(name="payments.publish_owed", max_retries=0)
def publish_owed(**_from_newer_senders: object) -> None:
    """Publish the jobs that the broker lost."""
    clear_contextvars()
    bind_contextvars(task="payments.publish_owed")
    lifecycle.publish_owed()
