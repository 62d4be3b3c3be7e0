"""Submit: the customer pays. While the window is open the attempt is queued; its job is published after the commit."""

from datetime import datetime, timedelta
from typing import NoReturn
from uuid import UUID

import structlog

from payments import clocks, config, dispatch, locks
from payments.domain.errors import AlreadySubmitted, InvalidState, NotFound, PaymentExpired
from payments.domain.states import AttemptState
from payments.lifecycle.expire import expire_locked_orders
from payments.lifecycle.transition import move_attempt
from payments.models import PaymentAttempt
from payments.queries import AttemptView
from payments.transactions import after_commit, transaction

log = structlog.get_logger(__name__)


def submit_attempt(*, attempt_id: UUID, customer_id: int, payment_token: str, correlation_id: str = "") -> AttemptView:
    """Queue an open attempt for its charge and publish the job.

    `payment_token` is the gateway's token for the customer's card or account; never card data.

    :raises NotFound: when there is no such attempt, or it belongs to another customer.
    :raises PaymentExpired: when the window has closed; the attempt is then expired for good.
    :raises AlreadySubmitted: when it was submitted before.
    :raises InvalidState: when it has failed or was cancelled.
    """
    with transaction():
        order = locks.lock_order_of(attempt_id=attempt_id)
        if order is None or order.customer_id != customer_id:
            message = "There is no such payment."
            raise NotFound(message)
        now = clocks.database_now()
        attempt = PaymentAttempt.objects.get(id=attempt_id)
        attempt.order = order
        is_late = attempt.state_at(now) is AttemptState.EXPIRED
        if is_late and attempt.state != AttemptState.EXPIRED:
            # This must be committed, so the refusal is raised after the transaction.
            expire_locked_orders(order_ids=[order.id], now=now, actor=f"customer:{customer_id}")
        is_refused = is_late or attempt.state != AttemptState.OPEN
        if not is_refused:
            move_attempt(
                attempt,
                to=AttemptState.QUEUED,
                now=now,
                actor=f"customer:{customer_id}",
                reason="submitted",
                due_at=now + timedelta(seconds=config.limits().redispatch_seconds),
                evidence={"correlation_id": correlation_id} if correlation_id else None,
                payment_token=payment_token,
                correlation_id=correlation_id,
            )
            after_commit(lambda: dispatch.publish_charge(attempt_id=attempt_id))
    if is_refused:
        _refuse(attempt, now=now)
    log.info("payment_submitted", order_id=order.order_id, payment_id=attempt.public_id)
    return AttemptView(attempt=attempt, server_now=now)


def _refuse(attempt: PaymentAttempt, *, now: datetime) -> NoReturn:
    match attempt.state_at(now):
        case AttemptState.EXPIRED:
            message = f"The payment window closed at {attempt.expires_at.isoformat()}. You have not been charged."
            raise PaymentExpired(message, payment_id=attempt.public_id, expires_at=attempt.expires_at.isoformat())
        case AttemptState.FAILED | AttemptState.CANCELLED as state:
            message = f"This payment has {'failed' if state is AttemptState.FAILED else 'been cancelled'}."
            raise InvalidState(message, state=state.value)
        case AttemptState.SUCCEEDED:
            message = "This order is already paid."
            raise AlreadySubmitted(message, state=AttemptState.SUCCEEDED.value)
        case state:
            message = "This payment was already submitted and is being processed."
            raise AlreadySubmitted(message, state=state.value)
