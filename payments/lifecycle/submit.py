"""Submit: the customer pays. While the window is open the attempt is queued; its job is published after the commit."""

from datetime import timedelta
from typing import NoReturn
from uuid import UUID

import structlog

from payments import config, dispatch, gate, guard, idempotency, locks, queries, returns
from payments.domain.cards import looks_like_card_number
from payments.domain.clock import Reading, Ruling
from payments.domain.errors import AlreadySubmitted, InvalidState, NotFound, TokenRefused, TokenRequired
from payments.domain.states import SWEEPABLE, AttemptState
from payments.lifecycle.expire import Over, expire_locked_orders, late
from payments.lifecycle.transition import move_attempt
from payments.models import PaymentAttempt
from payments.queries import AttemptView
from payments.transactions import after_commit, transaction

log = structlog.get_logger(__name__)


def submit_attempt(
    *,
    attempt_id: UUID,
    customer_id: int,
    payment_token: str = "",
    correlation_id: str = "",
    idempotency_id: UUID | None = None,
) -> AttemptView:
    """Queue an open attempt for its charge and leave the job to be published.

    `payment_token` is the gateway's token for the customer's card or account, never card data; empty for a method that
    is paid on the gateway's own page. `idempotency_id` is the claim on a request's key that this is written under, if
    it has one.

    :raises PaymentInFlight: when it was submitted a moment ago; the database is not asked.
    :raises NotFound: when there is no such attempt, or it belongs to another customer.
    :raises PaymentExpired: when the window has closed; the attempt is then expired for good.
    :raises AlreadySubmitted: when it was submitted before.
    :raises TokenRequired: when its method needs a token and there is none.
    :raises TokenRefused: when there is one and its method is paid on the gateway's page, or it is a card number.
    :raises InvalidState: when it has failed or was cancelled.
    :raises IdempotencyKeyInUse: when another request has taken over the claim meanwhile.
    """
    with gate.passing(attempt_id=attempt_id, customer_id=customer_id) as passage:
        view = _queue(
            attempt_id=attempt_id,
            customer_id=customer_id,
            payment_token=payment_token,
            correlation_id=correlation_id,
            idempotency_id=idempotency_id,
        )
        passage.end_with_window(left=view.attempt.expires_at - view.server_now)
    return view


def _queue(
    *, attempt_id: UUID, customer_id: int, payment_token: str, correlation_id: str, idempotency_id: UUID | None
) -> AttemptView:
    with transaction():
        order = locks.lock_order_of(attempt_id=attempt_id)
        if order is None or order.customer_id != customer_id:
            message = "There is no such payment."
            raise NotFound(message)
        attempt, reading = queries.attempt_under_lock(attempt_id=attempt_id, order=order)
        now = reading.now
        judgement = guard.judge(attempt, reading=reading)
        is_late = judgement.ruling is Ruling.EXPIRE
        if is_late and attempt.state in SWEEPABLE:
            # This must be committed, so the refusal is raised after the transaction.
            over = Over(order.id, order.order_id, attempt.id, attempt.expires_at, judgement)
            expire_locked_orders([over], now=now, actor=f"customer:{customer_id}")
        # What cannot be told yet, the claim judges again before it charges.
        is_refused = is_late or attempt.state != AttemptState.OPEN
        if not is_refused:
            _check_token(payment_token, method=config.payment_method(attempt.method))
            move_attempt(
                attempt,
                to=AttemptState.QUEUED,
                now=now,
                actor=f"customer:{customer_id}",
                reason="submitted",
                due_at=now + timedelta(seconds=config.limits().redispatch_seconds),
                evidence={"correlation_id": correlation_id} if correlation_id else None,
                payment_token=payment_token,
                return_url=returns.return_url(attempt),
                correlation_id=correlation_id,
                enqueued_stamp=reading.as_stamp(),
            )
            idempotency.note_effect(claim_id=idempotency_id, attempt_id=attempt_id)
            after_commit(lambda: dispatch.publish_later(job=dispatch.charge(attempt_id=attempt_id)))
    if is_refused:
        _refuse(attempt, reading=reading)
    log.info("payment_submitted", order_id=order.order_id, payment_id=attempt.public_id)
    return AttemptView(attempt=attempt, reading=reading)


def _check_token(payment_token: str, *, method: config.PaymentMethod) -> None:
    facts = {"method": method.name, "field": "payment_token"}
    if looks_like_card_number(payment_token):
        message = "This is a card number, and none may come here: send the token that the gateway gave for the card."
        raise TokenRefused(message, **facts)
    if method.is_hosted and payment_token:
        message = f"{method.name!r} is paid on the gateway's own page: submit it without a payment_token."
        raise TokenRefused(message, **facts)
    if not method.is_hosted and not payment_token:
        message = f"{method.name!r} is paid with the gateway's token of a card or account: payment_token is missing."
        raise TokenRequired(message, **facts)


def _refuse(attempt: PaymentAttempt, *, reading: Reading) -> NoReturn:
    match guard.state_of(attempt, reading=reading):
        case AttemptState.EXPIRED:
            raise late(attempt)
        case AttemptState.FAILED | AttemptState.CANCELLED as state:
            message = f"This payment has {'failed' if state is AttemptState.FAILED else 'been cancelled'}."
            raise InvalidState(message, state=state.value)
        case AttemptState.SUCCEEDED:
            message = "This order is already paid."
            raise AlreadySubmitted(message, state=AttemptState.SUCCEEDED.value)
        case state:
            message = "This payment was already submitted and is being processed."
            raise AlreadySubmitted(message, state=state.value)
