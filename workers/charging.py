"""The `charge` queue: one job, one attempt, one call to a gateway."""

from uuid import UUID

from celery import shared_task
from structlog.contextvars import bind_contextvars, clear_contextvars

from payments import lifecycle


@shared_task(name="payments.charge", max_retries=0)
def charge_attempt(*, attempt_id: str, **_from_newer_senders: object) -> None:
    """Run one attempt. Delivering this twice is safe: the second claim finds nothing to do."""
    clear_contextvars()  # The thread served another payment before.
    bind_contextvars(task="payments.charge", attempt_id=attempt_id)
    lifecycle.charge_attempt(attempt_id=UUID(attempt_id))
