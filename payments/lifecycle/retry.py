"""Retry: a new attempt for an order whose last one failed, with a new key and a full window.

Never after an expiry, never while anything of the order is unresolved, at most three attempts, and never so long that
the stock is held for more than a day.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn
from uuid import UUID

import structlog

from payments import clocks, config, guard, idempotency, locks, policies
from payments.domain.clock import Reading, Ruling
from payments.domain.errors import NotFound, PaymentExpired, RetryRefused
from payments.domain.failures import MESSAGES as FAILURES
from payments.domain.failures import FailureCode, may_retry
from payments.domain.states import MAX_ATTEMPTS_PER_ORDER, AttemptState, OrderStatus, PaymentStatus
from payments.domain.window import MAX_WINDOW
from payments.lifecycle.expire import Over, expire_locked_orders
from payments.lifecycle.open import open_attempt, require_currency, require_method
from payments.models import Order, PaymentAttempt
from payments.queries import AttemptView
from payments.transactions import transaction

log = structlog.get_logger(__name__)


class NoRetry(enum.StrEnum):
    """Why an order may not be tried again, in the order in which it is asked."""

    PAID = "order_paid"
    CLOSED = "order_closed"
    EXPIRED = "payment_expired"
    UNRESOLVED = "payment_in_progress"  # An attempt lives, or nobody knows what became of it.
    NOT_RETRYABLE = "not_retryable"  # A new attempt would only fail again.
    NO_ATTEMPTS_LEFT = "no_attempts_left"
    HELD_TOO_LONG = "held_too_long"  # Another full window would hold the stock for more than a day.


# Whatever happens, the order has no further attempt: none is left, however few were made.
FOR_GOOD = frozenset({NoRetry.PAID, NoRetry.CLOSED, NoRetry.EXPIRED, NoRetry.NOT_RETRYABLE, NoRetry.NO_ATTEMPTS_LEFT})

MESSAGES = {
    NoRetry.PAID: "This order is already paid.",
    NoRetry.CLOSED: "This order is closed. Please start again from the cart.",
    NoRetry.EXPIRED: "The payment window has closed. Please start again from the cart.",
    NoRetry.UNRESOLVED: "A payment of this order is still in progress. Please do not pay again.",
    NoRetry.NOT_RETRYABLE: "This payment cannot be tried again.",  # The failure says what happened to the money.
    NoRetry.NO_ATTEMPTS_LEFT: f"All {MAX_ATTEMPTS_PER_ORDER} attempts are used up. You have not been charged.",
    NoRetry.HELD_TOO_LONG: "This order was held for too long. Please start again from the cart.",
}


@dataclass(frozen=True, slots=True)
class Retryability:
    """Whether an order may be tried again, how many attempts are left, and why not."""

    attempts_left: int
    refused: NoRetry | None


def retryability(view: AttemptView) -> Retryability:
    """Judge a retry of an order with the same method, for a reader of one of its attempts."""
    last = view.latest or view.attempt

    def method() -> config.PaymentMethod:
        return policies.in_force(config.payment_method(last.method)).method

    return _judge(order=view.attempt.order, last=last, reading=view.reading, method=method)


def _judge(
    *, order: Order, last: PaymentAttempt, reading: Reading, method: Callable[[], config.PaymentMethod]
) -> Retryability:
    left = MAX_ATTEMPTS_PER_ORDER - last.number
    refused = _refusal(order=order, last=last, reading=reading, left=left, method=method)
    return Retryability(attempts_left=0 if refused in FOR_GOOD else left, refused=refused)


def _refusal(
    *, order: Order, last: PaymentAttempt, reading: Reading, left: int, method: Callable[[], config.PaymentMethod]
) -> NoRetry | None:
    state = guard.state_of(last, reading=reading)
    if order.status == OrderStatus.PAID:
        return NoRetry.PAID
    if state is AttemptState.EXPIRED or order.payment_status == PaymentStatus.EXPIRED:
        return NoRetry.EXPIRED
    if order.status != OrderStatus.UNDER_PAYING:
        return NoRetry.CLOSED
    if state is not AttemptState.FAILED:
        return NoRetry.UNRESOLVED
    if guard.judge(last, reading=reading).ruling is Ruling.EXPIRE:
        return NoRetry.EXPIRED
    if not may_retry(FailureCode(last.failure_code)):
        return NoRetry.NOT_RETRYABLE
    if left == 0:
        return NoRetry.NO_ATTEMPTS_LEFT
    following = method()  # Asked last: it may be a query, and front ends ask every second.
    if reading.now + following.window + following.grace > order.created_at + MAX_WINDOW:
        return NoRetry.HELD_TOO_LONG
    return None


def retry_order(
    *, order_id: str, customer_id: int, method: str | None = None, idempotency_id: UUID | None = None
) -> AttemptView:
    """Open the next attempt of a failed order, by the same method or another one.

    `idempotency_id` is the claim on a request's key that this is written under, if it has one.

    :raises NotFound: when there is no such order, or it belongs to another customer.
    :raises PaymentExpired: when the window has closed; the order is then cancelled for good.
    :raises RetryRefused: with why, and how many attempts are left.
    :raises UnsupportedMethod: for a method that is not offered.
    :raises UnsupportedCurrency: for a method that does not take the order's currency.
    :raises IdempotencyKeyInUse: when another request has taken over the claim meanwhile.
    """
    with transaction():
        order = locks.lock_order(order_id=order_id)
        if order is None or order.customer_id != customer_id:
            message = "There is no such order."
            raise NotFound(message)
        reading = clocks.read()
        last = PaymentAttempt.objects.filter(order=order).order_by("-number").first()
        if last is None:
            _refuse_without_attempt(order)
        in_force = require_method(method or last.method)
        require_currency(order.currency, method=in_force.method)
        judged = _judge(order=order, last=last, reading=reading, method=lambda: in_force.method)
        attempt = None
        if judged.refused is NoRetry.EXPIRED:
            # This must be committed, so the refusal is raised after the transaction.
            judgement = guard.judge(last, reading=reading)
            over = Over(order.id, order.order_id, last.id, last.expires_at, judgement)
            expire_locked_orders([over], now=reading.now, actor=f"customer:{customer_id}")
        elif judged.refused is None:
            attempt = open_attempt(order=order, in_force=in_force, number=last.number + 1, reading=reading)
            Order.objects.filter(id=order.id).update(
                payment_status=PaymentStatus.PENDING, payment_expires_at=attempt.expires_at
            )
            order.payment_status, order.payment_expires_at = PaymentStatus.PENDING, attempt.expires_at
            idempotency.note_effect(claim_id=idempotency_id, attempt_id=attempt.id)
    if attempt is None:
        _refuse(judged.refused or NoRetry.CLOSED, order=order, last=last, attempts_left=judged.attempts_left)
    log.info("payment_retried", order_id=order.order_id, payment_id=attempt.public_id, number=attempt.number)
    return AttemptView(attempt=attempt, reading=reading)


def _refuse_without_attempt(order: Order) -> NoReturn:
    """Refuse an order whose attempts were archived, or that never had one."""
    refused = NoRetry.PAID if order.status == OrderStatus.PAID else NoRetry.CLOSED
    raise RetryRefused(MESSAGES[refused], reason=refused.value, attempts_left=0)


def _refuse(refused: NoRetry, *, order: Order, last: PaymentAttempt, attempts_left: int) -> NoReturn:
    message = MESSAGES[refused]
    if refused is NoRetry.EXPIRED:
        raise PaymentExpired(
            message,
            payment_id=last.public_id,
            expires_at=order.payment_expires_at.isoformat(),
            attempts_left=attempts_left,
        )
    if refused is NoRetry.NOT_RETRYABLE:
        message = f"{message} {FAILURES[FailureCode(last.failure_code)]}"
    raise RetryRefused(message, reason=refused.value, attempts_left=attempts_left)
