"""The only module of `payments` that knows a queue exists.

A job is a hint, "look at attempt X": the row owes the work, and whatever is lost here is published again from there.
"""

from collections.abc import Iterable
from uuid import UUID

import structlog
from celery import current_app

CHARGE_TASK = "payments.charge"
CONFIRM_SECONDS = 2  # For a broker that confirms: a frozen RabbitMQ would otherwise hold the caller for half a minute.

log = structlog.get_logger(__name__)


def publish_charge(*, attempt_id: UUID) -> bool:
    """Ask a worker to look at the attempt. False when the broker did not take it: the rescue task will try again."""
    try:
        current_app.send_task(
            CHARGE_TASK,
            kwargs={"attempt_id": str(attempt_id)},
            ignore_result=True,
            confirm_timeout=CONFIRM_SECONDS,
        )
    except Exception as error:  # noqa: BLE001 - brokers fail in many ways, and none is a reason to fail the caller
        log.warning("job_not_published", task=CHARGE_TASK, attempt_id=str(attempt_id), error=str(error))
        return False
    return True


def publish_charges(*, attempt_ids: Iterable[UUID]) -> int:
    """Publish several; stop at the first that the broker refuses. Returns how many it took."""
    taken = 0
    for attempt_id in attempt_ids:
        if not publish_charge(attempt_id=attempt_id):
            break
        taken += 1
    return taken
