"""Cancel: the order is given up before anything was charged. Attempt, history, order and stock in one transaction.

What a worker has claimed is never cancelled: the gateway may know of it. An order whose last attempt failed waits for
another one; it can be given up, too, and the attempt stays failed.
"""

from uuid import UUID

import structlog

from payments import guard, idempotency, locks, queries
from payments.domain.announcements import AnnouncementKind
from payments.domain.clock import Reading, Ruling
from payments.domain.errors import InvalidState, NotFound, PaymentError, ReasonRequired
from payments.domain.states import SWEEPABLE, AttemptState, OrderStatus, PaymentStatus
from payments.lifecycle.announce import stage
from payments.lifecycle.expire import Over, expire_locked_orders, late
from payments.lifecycle.staff import note_staff_action
from payments.lifecycle.stock import release_stock
from payments.lifecycle.transition import move_attempt
from payments.models import ExpiryFailure, Order, PaymentAttempt
from payments.queries import AttemptView
from payments.transactions import after_commit, transaction

log = structlog.get_logger(__name__)

_WHY_NOT = {
    AttemptState.FAILED: "This payment has failed, and its order goes on without it.",
    AttemptState.SUCCEEDED: "This order is paid; what was paid can be refunded.",
}
_BEING_PROCESSED = "This payment is being processed and cannot be cancelled any more."


def cancel_payment(
    *,
    attempt_id: UUID,
    user_id: int,
    is_staff: bool = False,
    reason: str = "",
    idempotency_id: UUID | None = None,
) -> AttemptView:
    """Cancel an order by its latest attempt, and give its stock back. Cancelling twice does nothing the second time.

    Staff may cancel anybody's, with a reason, which is on record. `idempotency_id` is the claim on a request's key that
    this is written under, if it has one.

    :raises NotFound: when there is no such attempt, or it belongs to another customer.
    :raises ReasonRequired: when staff give no reason for what is not their own.
    :raises PaymentExpired: when the window has closed; the attempt is then expired for good.
    :raises InvalidState: when a worker has it, or it has ended otherwise.
    :raises IdempotencyKeyInUse: when another request has taken over the claim meanwhile.
    """
    refused: PaymentError | None = None
    with transaction():
        order = locks.lock_order_of(attempt_id=attempt_id)
        is_own = order is not None and order.customer_id == user_id
        if order is None or not (is_own or is_staff):
            message = "There is no such payment."
            raise NotFound(message)
        if not (is_own or reason):
            message = "reason: say why you cancel what somebody else ordered; it goes on record."
            raise ReasonRequired(message)
        attempt, reading = queries.attempt_under_lock(attempt_id=attempt_id, order=order)
        actor = _customer(order) if is_own else f"staff:{user_id}"
        refused = _end(attempt, order=order, reading=reading, actor=actor, reason=reason)
        if refused is None:
            idempotency.note_effect(claim_id=idempotency_id, attempt_id=attempt_id)
    if refused is not None:
        raise refused
    return AttemptView(attempt=attempt, reading=reading)


def _end(attempt: PaymentAttempt, *, order: Order, reading: Reading, actor: str, reason: str) -> PaymentError | None:
    """End what may be ended; a refusal is given back, since what it goes with has to be committed."""
    state = AttemptState(attempt.state)
    if state is AttemptState.CANCELLED or _was_given_up(order, state=state):
        return None
    judgement = guard.judge(attempt, reading=reading)
    is_waiting = state is AttemptState.FAILED and _is_to_be_tried_again(attempt, order=order)
    if (state in SWEEPABLE or is_waiting) and judgement.ruling is Ruling.EXPIRE:
        over = Over(order.id, order.order_id, attempt.id, attempt.expires_at, judgement)
        expire_locked_orders([over], now=reading.now, actor=actor)
        # The step that expires has a reason of its own.
        _note_staff(order, reading=reading, actor=actor, reason=reason)
        return late(attempt)
    if state is AttemptState.EXPIRED or order.payment_status == PaymentStatus.EXPIRED:
        return late(attempt)
    if not (state in SWEEPABLE or is_waiting):
        return InvalidState(_WHY_NOT.get(state, _BEING_PROCESSED), state=state.value)
    if state in SWEEPABLE:
        move_attempt(
            attempt,
            to=AttemptState.CANCELLED,
            now=reading.now,
            actor=actor,
            reason="cancelled",
            evidence={"reason": reason} if reason else None,
            held_since=None,
        )
    else:
        _note_staff(order, reading=reading, actor=actor, reason=reason)  # No step of the attempt tells of it.
    _close(order, attempt=attempt, reading=reading, actor=actor)
    return None


def _customer(order: Order) -> str:
    return f"customer:{order.customer_id}"


def _note_staff(order: Order, *, reading: Reading, actor: str, reason: str) -> None:
    if actor != _customer(order):
        note_staff_action(actor=actor, action="cancel_order", reason=reason, order=order, now=reading.now)


def _was_given_up(order: Order, *, state: AttemptState) -> bool:
    return state is AttemptState.FAILED and order.payment_status == PaymentStatus.CANCELLED


def _is_to_be_tried_again(attempt: PaymentAttempt, *, order: Order) -> bool:
    """Tell whether a failed attempt is the last that its order had, and the order waits for another."""
    is_latest = not PaymentAttempt.objects.filter(order=order, number__gt=attempt.number).exists()
    return is_latest and order.status == OrderStatus.UNDER_PAYING


def _close(order: Order, *, attempt: PaymentAttempt, reading: Reading, actor: str) -> None:
    now = reading.now
    closed = {"status": OrderStatus.CANCELLED, "payment_status": PaymentStatus.CANCELLED, "closed_at": now}
    Order.objects.filter(id=order.id).update(**closed)
    for name, value in closed.items():
        setattr(order, name, value)
    ExpiryFailure.objects.filter(order_id=order.id, resolved_at=None).update(resolved_at=now)
    told = attempt if attempt.state == AttemptState.CANCELLED else None
    stage(kind=AnnouncementKind.PAYMENT_CANCELLED, order=order, attempt=told, now=now)
    release_stock(order_id=order.id, now=now)
    after_commit(
        lambda: log.info("order_cancelled", order_id=order.order_id, payment_id=attempt.public_id, actor=actor)
    )
