"""Reopen: a charge that was given back or let go, and that a later look-up sees standing again.

A refund can fail at the gateway days after it was made, and a charge that was still on its way may come to be after it
was let go. What is held is let go once more by itself. Money that was sent back twice would be lost, so about a refund
a person decides.
"""

from datetime import datetime

import structlog

from payments.domain.announcements import AnnouncementKind, GivenBack
from payments.domain.compensations import CompensationKind, CompensationState
from payments.domain.outcomes import Authorized, Captured, ChargeSeen, Operation, Outcome, Several
from payments.lifecycle.announce import stage
from payments.lifecycle.calls import Call
from payments.lifecycle.transition import move_compensation
from payments.models import Compensation, GatewayCall, Order, PaymentAttempt

STANDS_AGAIN = "stands_again"

log = structlog.get_logger(__name__)


def reopen_what_stands(outcome: Outcome, *, call: Call, attempt: PaymentAttempt, order: Order, now: datetime) -> None:
    """Reopen every compensation that was done before the look-up `call` began and that its answer contradicts.

    Hold the order's lock.
    """
    if call.operation is not Operation.LOOK_UP:
        return  # What another call took may have been given back since.
    seen: tuple[object, ...] = outcome.charges if isinstance(outcome, Several) else (outcome,)
    for charge in seen:
        if isinstance(charge, Captured | Authorized):
            row = _contradicted(charge, call=call, attempt=attempt)
            if row is not None:
                _reopen(row, charge, order=order, now=now, actor=call.actor)


def _contradicted(charge: Captured | Authorized, *, call: Call, attempt: PaymentAttempt) -> Compensation | None:
    asked_at = GatewayCall.objects.values_list("started_at", flat=True).get(id=call.id)
    done = Compensation.objects.filter(
        attempt=attempt,
        charge_reference=charge.reference,
        state=CompensationState.DONE,
        closed_at__lt=asked_at,
        # Of a charge that was let go and is taken now, the money is owed back in a compensation of its own.
        kind=CompensationKind.REFUND if isinstance(charge, Captured) else CompensationKind.VOID,
    )
    if isinstance(charge, Captured):
        done = done.filter(amount_minor__gt=charge.refunded_minor)
    return done.select_related("attempt").first()


def _reopen(row: Compensation, charge: ChargeSeen, *, order: Order, now: datetime, actor: str) -> None:
    reason, evidence = STANDS_AGAIN, {"seen": type(charge).__name__.lower(), "reference": charge.reference}
    if row.kind == CompensationKind.VOID:
        owed = CompensationState.OWED
        move_compensation(row, to=owed, now=now, actor=actor, reason=reason, due_at=now, evidence=evidence, tries=0)
    else:
        review = CompensationState.NEEDS_REVIEW
        move_compensation(row, to=review, now=now, actor=actor, reason=reason, evidence=evidence)
        back = GivenBack(kind=row.kind, amount_minor=row.amount_minor, reason=row.reason)
        needs_review = AnnouncementKind.NEEDS_REVIEW
        stage(kind=needs_review, order=order, attempt=row.attempt, now=now, given_back=back, reason=reason)
    log.error("charge_stands_again", compensation_id=row.public_id, order_id=order.order_id, state=row.state)
