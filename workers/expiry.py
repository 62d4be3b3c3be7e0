"""The `expiry` queue: the sweep."""

from dataclasses import asdict
from typing import Any

from celery import Task, shared_task
from celery.states import SUCCESS
from structlog.contextvars import bind_contextvars, clear_contextvars

from payments import dispatch, lifecycle


@shared_task(name="payments.sweep_expired", bind=True, max_retries=0)
def sweep_expired(self: "Task[[], None]", **_from_newer_senders: object) -> None:
    """Expire what is due. Several at once share the work; none at all leaves it to the next.

    A run that ends at its cap has the next one begin at once. A run that ended something leaves a row among the task
    results; the thousands that found nothing do not.
    """
    clear_contextvars()
    bind_contextvars(task="payments.sweep_expired")
    run = lifecycle.perform_sweep()
    if run.may_go_on:
        dispatch.publish(jobs=[dispatch.Job(self.name)])
    if run.expired_orders and self.request.id:
        result: dict[str, Any] = asdict(run)
        self.backend.store_result(self.request.id, result, SUCCESS, request=self.request)
