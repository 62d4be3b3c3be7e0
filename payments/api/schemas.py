"""What goes in and out. Unknown fields are refused by name, so nobody can set what is not theirs to set."""

from datetime import datetime
from typing import Annotated, Self

from ninja import Schema
from pydantic import ConfigDict, Field, StringConstraints

from payments.domain.messages import EXPIRING, attempt_message, order_message
from payments.domain.money import MAX_AMOUNT_MINOR
from payments.domain.states import AttemptState, OrderStatus, PaymentStatus
from payments.domain.window import is_over, remaining_seconds
from payments.queries import AttemptView, OrderView

MAX_LINES = 100
MAX_QUANTITY = 10_000

# No control characters: PostgreSQL refuses NUL, and logs and pages show these texts.
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
Token = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]


class Strict(Schema):
    """A request body: exact types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


class LineIn(Strict):
    """One item of an order."""

    sku: Name = Field(examples=["MUG-BLUE"])
    quantity: int = Field(ge=1, le=MAX_QUANTITY, examples=[2])


class OrderIn(Strict):
    """An order that checkout hands over."""

    order_id: Name | None = Field(default=None, description="The shop's own number; made here when absent.")
    lines: list[LineIn] = Field(min_length=1, max_length=MAX_LINES)
    total_minor: int = Field(
        gt=0,
        le=MAX_AMOUNT_MINOR,
        description="What the customer saw, in minor units; refused unless the lines add up to it.",
        examples=[2500],
    )
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field(examples=["USD"])
    payment_method: Name = Field(default="card", examples=["card"])


class SubmitIn(Strict):
    """How the customer pays: the gateway's token, never card data."""

    payment_token: Token = Field(examples=["tok_visa"])


class FailureOut(Schema):
    """Why an attempt ended without money."""

    code: str = Field(examples=["payment_expired"])
    message: str


class AttemptOut(Schema):
    """Where a payment attempt stands; times are the server's, in UTC."""

    id: str = Field(examples=["pay_0198f0c2e4b27c3a9d1e5f60718293a4"])
    order_id: str
    number: int
    state: AttemptState
    amount_minor: int
    currency: str
    payment_method: str
    opened_at: datetime
    expires_at: datetime
    server_now: datetime
    time_remaining_seconds: int
    is_payment_window_active: bool
    can_pay: bool
    redirect_url: str | None
    failure: FailureOut | None
    message: str

    @classmethod
    def of(cls, view: AttemptView) -> Self:
        """Describe an attempt at the moment when it was read."""
        attempt, now = view.attempt, view.server_now
        state = attempt.state_at(now)
        message = attempt_message(state=state, failure_code=attempt.failure_code)
        if state is AttemptState.EXPIRED and attempt.state == AttemptState.QUEUED:
            message = EXPIRING
        code = {AttemptState.FAILED: attempt.failure_code, AttemptState.EXPIRED: "payment_expired"}.get(state)
        is_active = not is_over(expires_at=attempt.expires_at, now=now)
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
            time_remaining_seconds=remaining_seconds(expires_at=attempt.expires_at, now=now),
            is_payment_window_active=is_active,
            can_pay=state is AttemptState.OPEN,
            redirect_url=attempt.redirect_url or None,
            failure=None if code is None else FailureOut(code=code, message=message),
            message=message,
        )


class OrderOut(Schema):
    """An order and its first payment attempt."""

    id: str = Field(examples=["ord_0198f0c2e4b27c3a9d1e5f60718293a4"])
    order_id: str
    status: OrderStatus
    payment_status: PaymentStatus
    total_minor: int
    currency: str
    payment: AttemptOut

    @classmethod
    def of(cls, view: AttemptView) -> Self:
        """Describe an order by its attempt."""
        order = view.attempt.order
        return cls(
            id=order.public_id,
            order_id=order.order_id,
            status=OrderStatus(order.status),
            payment_status=PaymentStatus(order.payment_status),
            total_minor=order.total_minor,
            currency=order.currency,
            payment=AttemptOut.of(view),
        )


class PaymentStatusOut(Schema):
    """The fields of the payment timer, as its front ends know them."""

    order_id: str = Field(examples=["ORD-ABC123"])
    status: OrderStatus
    payment_status: PaymentStatus
    is_payment_window_active: bool
    time_remaining_seconds: int
    payment_expires_at: datetime | None = Field(default=None, description="Only while the window is active.")
    message: str

    @classmethod
    def of(cls, view: OrderView) -> Self:
        """Describe an order at the moment when it was read."""
        order, now = view.order, view.server_now
        status, payment_status = OrderStatus(order.status), PaymentStatus(order.payment_status)
        is_active = status is OrderStatus.UNDER_PAYING and not is_over(expires_at=order.payment_expires_at, now=now)
        return cls(
            order_id=order.order_id,
            status=status,
            payment_status=payment_status,
            is_payment_window_active=is_active,
            time_remaining_seconds=(
                remaining_seconds(expires_at=order.payment_expires_at, now=now) if is_active else 0
            ),
            payment_expires_at=order.payment_expires_at if is_active else None,
            message=order_message(
                status=status,
                payment_status=payment_status,
                is_window_active=is_active,
                unresolved=view.unresolved,
            ),
        )


class ProblemOut(Schema):
    """An RFC 9457 problem; `code` is stable and made for programs."""

    type: str = Field(examples=["urn:paywindow:problem:payment_expired"])
    title: str
    status: int
    code: str = Field(examples=["payment_expired"])
    detail: str
