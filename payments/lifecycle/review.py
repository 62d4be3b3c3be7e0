"""Review: a person decides what nobody could find out, and asks for refunds; each with a reason on record."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import structlog

from payments import clocks, idempotency, locks, queries
from payments.domain import late
from payments.domain.announcements import AnnouncementKind, GivenBack
from payments.domain.compensations import (
    CompensationKind,
    CompensationReason,
    CompensationState,
    Owed,
)
from payments.domain.errors import InvalidState, NotFound, RefundRefused
from payments.domain.failures import FailureCode
from payments.domain.states import AttemptState, OrderStatus, PaymentStatus
from payments.lifecycle.announce import stage
from payments.lifecycle.owe import owe
from payments.lifecycle.settle import announce_given_back, mark_paid, note_refund
from payments.lifecycle.transition import move_attempt, move_compensation
from payments.models import Compensation, Order, PaymentAttempt
from payments.transactions import transaction

log = structlog.get_logger(__name__)


def decide_review(
    *, attempt_id: UUID, verdict: Literal["succeeded", "failed"], reference: str = "", staff_id: int, reason: str
) -> AttemptState:
    """End an attempt under review. `reference` is the gateway's id of the charge, needed for a success.

    A success whose order cannot be paid any more (closed, or its stock is gone) ends as failed, and its money is owed
    back. Whatever else the gateway may hold under the attempt is let go: a failure is made true. Returns the state that
    the attempt ended in.

    :raises NotFound: when there is no such attempt.
    :raises InvalidState: when it is not under review, or a success comes without reference or with one that goes back.
    """
    with transaction():
        order = locks.lock_order_of(attempt_id=attempt_id)
        if order is None:
            message = "There is no such payment."
            raise NotFound(message)
        now = clocks.database_now()
        attempt = PaymentAttempt.objects.get(id=attempt_id)
        if attempt.state != AttemptState.NEEDS_REVIEW:
            message = f"The payment is {attempt.state}, not under review."
            raise InvalidState(message, state=attempt.state)
        if verdict == "succeeded" and not reference:
            message = "A success needs the gateway's reference of the charge."
            raise InvalidState(message, state=attempt.state)
        if verdict == "succeeded" and attempt.compensations.filter(charge_reference=reference).exists():
            message = f"The charge {reference} is being given back; it cannot pay the order."
            raise InvalidState(message, state=attempt.state)
        actor, known_reference = f"staff:{staff_id}", attempt.gateway_reference
        given_back = None
        if verdict == "succeeded":
            given_back = _why_given_back(attempt, order=order)
        if verdict == "succeeded" and given_back is None:
            state, code = AttemptState.SUCCEEDED, ""
        else:
            state, code = AttemptState.FAILED, attempt.doubt_code if given_back is None else FailureCode.GIVEN_BACK
        move_attempt(
            attempt,
            to=state,
            now=now,
            actor=actor,
            reason="reviewed",
            evidence={"reason": reason, "reference": reference, "doubt": attempt.doubt_code},
            doubt_code="",
            failure_code=code,
            gateway_reference=reference or attempt.gateway_reference,
        )
        if verdict == "failed" or known_reference not in {"", reference}:
            remains = Owed(CompensationKind.VOID, CompensationReason.DOUBT_AFTER_THE_END, known_reference)
            owe(remains, attempt=attempt, order=order, now=now, actor=actor)
        _follow(attempt, order=order, given_back=given_back, reference=reference, actor=actor, now=now)
    log.info("review_decided", payment_id=attempt.public_id, state=state.value, actor=actor)
    return state


def _why_given_back(attempt: PaymentAttempt, *, order: Order) -> CompensationReason | None:
    # A person accepts it: time is no objection, a closed order and lost stock are.
    return late.judge(
        late.Success(
            state=AttemptState(attempt.state),
            order_status=OrderStatus(order.status),
            is_stock_held=queries.is_stock_held(order=order),
            is_in_time=True,
        )
    )


def _follow(
    attempt: PaymentAttempt,
    *,
    order: Order,
    given_back: CompensationReason | None,
    reference: str,
    actor: str,
    now: datetime,
) -> None:
    if attempt.state == AttemptState.SUCCEEDED:
        mark_paid(order, attempt=attempt, now=now)
        return
    back = None
    if given_back is not None:
        owed = Owed(CompensationKind.REFUND, given_back, reference)
        back = GivenBack(kind=owed.kind, amount_minor=attempt.amount_minor, reason=owed.reason)
        owe(owed, attempt=attempt, order=order, now=now, actor=actor)
    Order.objects.filter(id=order.id, status=OrderStatus.UNDER_PAYING).update(payment_status=PaymentStatus.FAILED)
    stage(kind=AnnouncementKind.PAYMENT_FAILED, order=order, attempt=attempt, now=now, given_back=back)


def refund_payment(
    *,
    attempt_id: UUID,
    amount_minor: int | None = None,
    staff_id: int,
    reason: str,
    idempotency_id: UUID | None = None,
) -> Compensation:
    """Owe a customer the money of a succeeded payment, or `amount_minor` of it. Asking again gives the same refund.

    `idempotency_id` is the claim on a request's key that this is written under, if it has one.

    :raises NotFound: when there is no such attempt.
    :raises RefundRefused: when it did not succeed, the amount is too much, or a refund of another amount exists.
    :raises IdempotencyKeyInUse: when another request has taken over the claim meanwhile.
    """
    with transaction():
        order = locks.lock_order_of(attempt_id=attempt_id)
        if order is None:
            message = "There is no such payment."
            raise NotFound(message)
        now = clocks.database_now()
        attempt = PaymentAttempt.objects.get(id=attempt_id)
        wanted = attempt.amount_minor if amount_minor is None else amount_minor
        if attempt.state != AttemptState.SUCCEEDED:
            message = f"The payment is {attempt.state}; only a payment that succeeded can be refunded."
            raise RefundRefused(message, state=attempt.state)
        if not 0 < wanted <= attempt.amount_minor:
            message = f"{wanted} cannot be refunded of {attempt.amount_minor} (minor units)."
            raise RefundRefused(message, amount_minor=attempt.amount_minor)
        owed = Owed(CompensationKind.REFUND, CompensationReason.STAFF, attempt.gateway_reference)
        evidence: dict[str, object] = {"reason": reason}
        made = owe(
            owed,
            attempt=attempt,
            order=order,
            now=now,
            actor=f"staff:{staff_id}",
            amount_minor=wanted,
            evidence=evidence,
        )
        if made is None:
            made = queries.refund_of(attempt=attempt)
            if made.amount_minor != wanted:
                message = f"A refund of {made.amount_minor} (minor units) exists already; there is one a payment."
                raise RefundRefused(message, compensation_id=made.public_id, amount_minor=made.amount_minor)
        idempotency.note_effect(claim_id=idempotency_id, attempt_id=attempt_id)
    return made


def decide_compensation(
    *, compensation_id: UUID, verdict: Literal["done", "again"], staff_id: int, reason: str
) -> CompensationState:
    """End a compensation under review, or have it tried again. Returns the state that it is in now.

    :raises NotFound: when there is no such compensation.
    :raises InvalidState: when it is not under review.
    """
    with transaction():
        order = locks.lock_order_of_compensation(compensation_id=compensation_id)
        if order is None:
            message = "There is no such compensation."
            raise NotFound(message)
        now = clocks.database_now()
        row = Compensation.objects.select_related("attempt").get(id=compensation_id)
        if row.state != CompensationState.NEEDS_REVIEW:
            message = f"The compensation is {row.state}, not under review."
            raise InvalidState(message, state=row.state)
        to = CompensationState.DONE if verdict == "done" else CompensationState.OWED
        move_compensation(
            row,
            to=to,
            now=now,
            actor=f"staff:{staff_id}",
            reason="reviewed",
            due_at=None if verdict == "done" else now,
            evidence={"reason": reason},
            tries=0,
        )
        if verdict == "done":
            note_refund(row, order=order)
            announce_given_back(row, order=order, now=now)
    return to
