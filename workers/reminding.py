"""The `announce` queue too: customers who have not paid are reminded before their window closes."""

import threading

from celery import shared_task
from structlog.contextvars import bind_contextvars, clear_contextvars

from payments import lifecycle

REMINDERS_PER_RUN = 2000  # Over one channel: more than it has time for, and a bound all the same.

# One run a process, so that a mail server that hangs never takes more than one thread from the announcements.
_running = threading.Lock()


@shared_task(name="payments.send_reminders", max_retries=0)
def send_reminders(**_from_newer_senders: object) -> None:
    """Send what is due. Several at once share the work; none at all leaves customers without a reminder, no more."""
    clear_contextvars()
    bind_contextvars(task="payments.send_reminders")
    if not _running.acquire(blocking=False):
        return  # The run that goes on finds what is due now, too.
    try:
        lifecycle.send_due_reminders(limit=REMINDERS_PER_RUN)
    finally:
        _running.release()
