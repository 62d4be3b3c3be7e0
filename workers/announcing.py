"""The `announce` queue: the host is told what happened, apart from charges and sweep, since receivers may hang."""

from celery import shared_task
from structlog.contextvars import bind_contextvars, clear_contextvars

from payments import lifecycle


@shared_task(name="payments.announce", max_retries=0)
def announce(**_from_newer_senders: object) -> None:
    """Deliver what is due. Several at once share the work; none at all leaves it to the next."""
    clear_contextvars()
    bind_contextvars(task="payments.announce")
    lifecycle.perform_deliveries()
