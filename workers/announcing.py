"""The `announce` queue: the host is told what happened, apart from charges and sweep, since receivers may hang."""

from celery import shared_task
from structlog.contextvars import bind_contextvars, clear_contextvars

from payments import lifecycle

DELIVERIES_PER_RUN = 2000  # To one destination: more than it has time for, and a bound all the same.


@shared_task(name="payments.announce", max_retries=0)
def announce(**_from_newer_senders: object) -> None:
    """Deliver what is due. Several at once share the work; none at all leaves it to the next."""
    clear_contextvars()
    bind_contextvars(task="payments.announce")
    lifecycle.note_run(duty=lifecycle.DutyName.ANNOUNCE)
    lifecycle.deliver_due(limit=DELIVERIES_PER_RUN)
