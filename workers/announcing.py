"""The `announce` queue: host and staff are told what happened, apart from charges and sweep: receivers may hang."""

import threading

from celery import shared_task
from structlog.contextvars import bind_contextvars, clear_contextvars

from payments import lifecycle


@shared_task(name="payments.announce", max_retries=0)
def announce(**_from_newer_senders: object) -> None:
    """Deliver what is due. Several at once share the work; none at all leaves it to the next."""
    clear_contextvars()
    bind_contextvars(task="payments.announce")
    lifecycle.perform_deliveries()


_telling = threading.Lock()


@shared_task(name="payments.notify_staff", max_retries=0)
def notify_staff(**_from_newer_senders: object) -> None:
    """Mail the administrators what needs them. One run a process: a mail server may hang."""
    clear_contextvars()
    bind_contextvars(task="payments.notify_staff")
    if not _telling.acquire(blocking=False):
        return
    try:
        lifecycle.notify_staff()
    finally:
        _telling.release()
