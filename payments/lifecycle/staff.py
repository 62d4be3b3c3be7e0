"""Staff: who had something done that is no single payment's, and why, is written down before it is done."""

from collections.abc import Mapping
from datetime import datetime

import structlog

from payments import clocks
from payments.models import Order, StaffAction

log = structlog.get_logger(__name__)


def note_staff_action(
    *,
    actor: str,
    action: str,
    reason: str,
    order: Order | None = None,
    now: datetime | None = None,
    evidence: Mapping[str, object] | None = None,
) -> None:
    """Write down what a member of staff, `staff:7`, does. `now` is the time of the transaction that it is part of."""
    StaffAction.objects.create(
        at=now or clocks.database_now(),
        actor=actor,
        action=action,
        reason=reason,
        order=order,
        evidence=dict(evidence or {}),
    )
    log.info("staff_action", actor=actor, action=action, order_id=None if order is None else order.order_id)
