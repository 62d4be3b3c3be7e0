"""Owe: money that has to go back is written down, in the transaction that decided it."""

from collections.abc import Mapping
from datetime import datetime

import structlog
from django.db import IntegrityError

from payments.domain.compensations import CompensationState, Owed
from payments.domain.states import AttemptState
from payments.models import Compensation, CompensationEntry, Order, PaymentAttempt
from payments.transactions import require_transaction, savepoint

log = structlog.get_logger(__name__)


def owe(
    owed: Owed,
    *,
    attempt: PaymentAttempt,
    order: Order,
    now: datetime,
    actor: str,
    amount_minor: int | None = None,
    evidence: Mapping[str, object] | None = None,
) -> Compensation | None:
    """Write a compensation down, due at once. Hold the order's lock.

    `amount_minor` None gives everything back. Returns None when this charge has its compensation already: whoever
    found it and however often, it is made once.
    """
    return _write(
        owed,
        attempt=attempt,
        order=order,
        now=now,
        actor=actor,
        amount_minor=amount_minor,
        state=CompensationState.OWED,
        evidence=evidence,
    )


def write_down_returned(owed: Owed, *, attempt: PaymentAttempt, order: Order, now: datetime) -> Compensation | None:
    """Write down that the gateway gave a charge back by itself: a success was seen, and this is what became of it.

    Returns None when the charge has its compensation already.
    """
    return _write(
        owed,
        attempt=attempt,
        order=order,
        now=now,
        actor="gateway",
        amount_minor=None,
        state=CompensationState.DONE,
        evidence=None,
    )


def _write(
    owed: Owed,
    *,
    attempt: PaymentAttempt,
    order: Order,
    now: datetime,
    actor: str,
    amount_minor: int | None,
    state: CompensationState,
    evidence: Mapping[str, object] | None,
) -> Compensation | None:
    require_transaction()
    is_done = state is CompensationState.DONE
    try:
        with savepoint():
            row = Compensation.objects.create(
                order=order,
                attempt=attempt,
                gateway=attempt.gateway,
                charge_key=attempt.gateway_key,
                charge_reference=owed.reference,
                kind=owed.kind,
                reason=owed.reason,
                amount_minor=attempt.amount_minor if amount_minor is None else amount_minor,
                currency=attempt.currency,
                state=state,
                version=1,
                created_at=now,
                closed_at=now if is_done else None,
                due_at=None if is_done else now,
            )
    except IntegrityError as error:
        if "compensation_once_per" not in str(error):
            raise
        return None
    CompensationEntry.objects.create(
        compensation=row,
        number=1,
        to_state=state,
        at=now,
        actor=actor,
        reason=owed.reason,
        evidence={"attempt_state": AttemptState(attempt.state).value, **(evidence or {})},
    )
    log.warning(
        "compensation_owed" if not is_done else "charge_returned_by_the_gateway",
        compensation_id=row.public_id,
        payment_id=attempt.public_id,
        order_id=order.order_id,
        kind=row.kind,
        reason=row.reason,
        reference=owed.reference,
    )
    return row
