"""The `charge` and `resolve` queues: one job, one row, a few calls to a gateway.

Delivering any of these twice is safe: whoever comes second finds nothing to do.
"""

from uuid import UUID

from celery import shared_task
from structlog.contextvars import bind_contextvars, clear_contextvars

from payments import lifecycle


@shared_task(name="payments.charge", max_retries=0)
def charge_attempt(*, attempt_id: str, **_from_newer_senders: object) -> None:
    """Run one attempt."""
    clear_contextvars()  # The thread served another payment before.
    bind_contextvars(task="payments.charge", attempt_id=attempt_id)
    lifecycle.charge_attempt(attempt_id=UUID(attempt_id))


@shared_task(name="payments.resolve", max_retries=0)
def resolve_attempt(*, attempt_id: str, **_from_newer_senders: object) -> None:
    """Find out what became of one attempt."""
    clear_contextvars()
    bind_contextvars(task="payments.resolve", attempt_id=attempt_id)
    lifecycle.resolve_attempt(attempt_id=UUID(attempt_id))


@shared_task(name="payments.apply_event", max_retries=0)
def apply_event(*, event_id: str, **_from_newer_senders: object) -> None:
    """Look at what a gateway sent word of."""
    clear_contextvars()
    bind_contextvars(task="payments.apply_event", event_id=event_id)
    lifecycle.apply_event(event_id=UUID(event_id))


@shared_task(name="payments.compensate", max_retries=0)
def compensate(*, compensation_id: str, **_from_newer_senders: object) -> None:
    """Give one charge back."""
    clear_contextvars()
    bind_contextvars(task="payments.compensate", compensation_id=compensation_id)
    lifecycle.compensate(compensation_id=UUID(compensation_id))
