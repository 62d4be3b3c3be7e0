"""Where a payment stands, for everybody who asks: the HTTP API, the pages, and a host in the same project.

This is the countdown contract. `server_now` and `expires_at` are the database's times; whoever counts down takes their
difference, and then counts on a clock of its own. What may be done now (`can_pay`, `can_retry`) was true when it was
read; doing it is judged anew, under the order's lock.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from payments.domain.messages import order_message
from payments.domain.polling import OPEN_SECONDS, PROCESSING_SECONDS, retry_after_seconds
from payments.domain.states import TERMINAL, UNRESOLVED, AttemptState, OrderStatus, PaymentStatus
from payments.domain.window import is_over, remaining_seconds
from payments.lifecycle import NoRetry, retryability
from payments.queries import AttemptView, OrderView


@dataclass(frozen=True, slots=True)
class Payment:
    """One attempt to pay an order, when it was read."""

    id: str  # pay_...
    order_id: str  # The shop's own number.
    number: int  # 1 for the order's first attempt.
    state: AttemptState
    amount_minor: int
    currency: str
    payment_method: str
    opened_at: datetime
    expires_at: datetime
    server_now: datetime
    time_remaining_seconds: int  # 0 once the window is over, or the payment has come to its end.
    is_payment_window_active: bool
    can_pay: bool
    can_retry: bool
    retry_refused: NoRetry | None  # Why not.
    attempts_left: int
    retry_after_seconds: int | None  # When asking again is worth it; None when nothing is going to change.
    redirect_url: str | None  # The gateway's page, while the customer has to go there.
    failure_code: str | None
    doubt_code: str | None  # Why nobody knows yet what became of the money.
    message: str  # For the customer.

    @classmethod
    def of(cls, view: AttemptView) -> Self:
        """Describe an attempt that was read."""
        attempt, now = view.attempt, view.server_now
        state, retry = view.state, retryability(view)
        is_active = state not in TERMINAL and not is_over(expires_at=attempt.expires_at, now=now)
        failure = {AttemptState.FAILED: attempt.failure_code, AttemptState.EXPIRED: "payment_expired"}.get(state)
        return cls(
            id=attempt.public_id,
            order_id=attempt.order.order_id,
            number=attempt.number,
            state=state,
            amount_minor=attempt.amount_minor,
            currency=attempt.currency,
            payment_method=attempt.method,
            opened_at=attempt.opened_at,
            expires_at=attempt.expires_at,
            server_now=now,
            time_remaining_seconds=remaining_seconds(expires_at=attempt.expires_at, now=now) if is_active else 0,
            is_payment_window_active=is_active,
            can_pay=state is AttemptState.OPEN and is_active,
            can_retry=retry.refused is None,
            retry_refused=retry.refused,
            attempts_left=retry.attempts_left,
            retry_after_seconds=retry_after_seconds(
                state,
                is_ended=attempt.state in TERMINAL,
                left_seconds=(attempt.expires_at - now).total_seconds(),
            ),
            redirect_url=attempt.redirect_url or None,
            failure_code=failure,
            doubt_code=attempt.doubt_code or None,
            message=view.message,
        )


@dataclass(frozen=True, slots=True)
class OrderPayment:
    """An order while it waits for its payment, and after it, when it was read."""

    order_id: str  # The shop's own number.
    status: OrderStatus
    payment_status: PaymentStatus
    payment: Payment | None  # Its latest attempt; None when it was archived.
    expires_at: datetime  # Of the attempt that holds, or last held, the order.
    server_now: datetime
    time_remaining_seconds: int
    is_payment_window_active: bool
    retry_after_seconds: int | None
    message: str

    @classmethod
    def of(cls, view: OrderView) -> Self:
        """Describe an order that was read."""
        order, now = view.order, view.server_now
        status, payment_status = OrderStatus(order.status), PaymentStatus(order.payment_status)
        payment = None if view.latest is None else Payment.of(view.latest)
        is_active = status is OrderStatus.UNDER_PAYING and not is_over(expires_at=order.payment_expires_at, now=now)
        left = remaining_seconds(expires_at=order.payment_expires_at, now=now) if is_active else 0
        return cls(
            order_id=order.order_id,
            status=status,
            payment_status=payment_status,
            payment=payment,
            expires_at=order.payment_expires_at,
            server_now=now,
            time_remaining_seconds=left,
            is_payment_window_active=is_active,
            retry_after_seconds=_asked_again(status, payment=payment, is_active=is_active, left_seconds=left),
            message=order_message(
                status=status,
                payment_status=payment_status,
                is_window_active=is_active,
                unresolved=payment.state if payment is not None and payment.state in UNRESOLVED else None,
            ),
        )


def _asked_again(status: OrderStatus, *, payment: Payment | None, is_active: bool, left_seconds: int) -> int | None:
    if status is not OrderStatus.UNDER_PAYING:
        return None
    if payment is not None and payment.retry_after_seconds is not None:
        return payment.retry_after_seconds
    # The last attempt failed: another one may be opened elsewhere, and the deadline ends the order.
    return max(1, min(OPEN_SECONDS, left_seconds)) if is_active else PROCESSING_SECONDS
