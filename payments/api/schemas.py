"""What goes in and out. Unknown fields are refused by name, so nobody can set what is not theirs to set."""

from datetime import datetime
from typing import Annotated, Self

from ninja import Schema
from pydantic import ConfigDict, Field, StringConstraints

from payments.domain.ids import Prefix, public_id
from payments.domain.messages import order_message
from payments.domain.money import MAX_AMOUNT_MINOR
from payments.domain.states import AttemptState, OrderStatus, PaymentStatus
from payments.domain.window import is_over, remaining_seconds
from payments.lifecycle import COUNTED_UP_TO, Backlog, Cleanup, Fate, Row, retryability
from payments.models import Compensation
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


class RetryIn(Strict):
    """Which order is tried again, and with which method, when another one is wanted."""

    order_id: Name = Field(examples=["ORD-ABC123"])
    payment_method: Name | None = Field(default=None, examples=["card"])


class RefundIn(Strict):
    """What staff give back, and why."""

    reason: Annotated[str, StringConstraints(min_length=3, max_length=500, pattern=r"^[^\x00-\x1f]+$")]
    amount_minor: int | None = Field(default=None, gt=0, le=MAX_AMOUNT_MINOR, description="Everything when absent.")


class RefundOut(Schema):
    """A refund that is owed; it is made, and made sure of, by itself."""

    id: str = Field(examples=["cmp_0198f0c2e4b27c3a9d1e5f60718293a4"])
    payment_id: str
    amount_minor: int
    currency: str
    state: str

    @classmethod
    def of(cls, row: Compensation) -> Self:
        """Describe a refund as it stands."""
        return cls(
            id=row.public_id,
            payment_id=row.attempt.public_id,
            amount_minor=row.amount_minor,
            currency=row.currency,
            state=row.state,
        )


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
    doubt_code: str | None = Field(description="Why it is not known yet what became of the money.")
    attempts_left: int = Field(description="How many more attempts the order may have.")
    can_retry: bool
    retry_refused: str | None = Field(description="Why the order may not be tried again now.")
    message: str

    @classmethod
    def of(cls, view: AttemptView) -> Self:
        """Describe an attempt at the moment when it was read."""
        attempt, now = view.attempt, view.server_now
        state, message = view.state, view.message
        retry = retryability(view)
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
            doubt_code=attempt.doubt_code or None,
            attempts_left=retry.attempts_left,
            can_retry=retry.refused is None,
            retry_refused=retry.refused,
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


class ExpiredCountOut(Schema):
    """How many orders are over and have not ended, by the database's clock."""

    expired_count: int = Field(description=f"Due now, those that failed included; counted up to {COUNTED_UP_TO}.")
    is_capped: bool = Field(description="Whether there are more than were counted.")
    failed_count: int = Field(description="How many of them could not be ended; they are tried again by themselves.")
    oldest_expires_at: datetime | None = Field(description="The deadline of the oldest; null when there is none.")
    server_now: datetime

    @classmethod
    def of(cls, backlog: Backlog) -> Self:
        """Describe what is due at the moment when it was read."""
        return cls(
            expired_count=backlog.orders,
            is_capped=backlog.is_capped,
            failed_count=backlog.failed_orders,
            oldest_expires_at=backlog.oldest_expires_at,
            server_now=backlog.server_now,
        )


class CleanupIn(Strict):
    """How much of a cleanup is wanted."""

    limit: int = Field(default=1000, ge=1, le=1000, description="How many are taken, the oldest first.")
    dry_run: bool = Field(default=False, description="Change nothing, and say what a run would do.")


class CleanupRowOut(Schema):
    """One order, and what the cleanup does with it."""

    order_id: str = Field(examples=["ORD-ABC123"])
    payment_id: str = Field(description="Its latest payment.", examples=["pay_0198f0c2e4b27c3a9d1e5f60718293a4"])
    expires_at: datetime
    fate: Fate = Field(
        description="expire: it ends. held: the clocks disagree about it. left: somebody else is at it, or it "
        "is not over. failed: it could not be ended, and is tried again later."
    )
    reason: str = Field(examples=["the window is over"])
    last_failure: str | None = Field(description="Why it could not be ended before, if it is tried again.")

    @classmethod
    def of(cls, row: Row) -> Self:
        """Describe a row of the sweep."""
        candidate = row.candidate
        return cls(
            order_id=candidate.order_number,
            payment_id=public_id(Prefix.PAYMENT, candidate.attempt_id),
            expires_at=candidate.expires_at,
            fate=row.fate,
            reason=row.why,
            last_failure=candidate.failure or None,
        )


class CleanupOut(Schema):
    """What a cleanup did or, dry, would do."""

    dry_run: bool
    ended_count: int
    held_count: int = Field(description="Left alone because the clocks disagree about them.")
    failed_count: int = Field(description="Could not be ended; tried again later by themselves.")
    left_count: int = Field(description="Somebody else was at them, or they were not over.")
    waiting_count: int = Field(description="Failed before, and not due again yet; not among the rows.")
    more_due_count: int = Field(description=f"Due, and past the limit; counted up to {COUNTED_UP_TO}.")
    duration_seconds: float
    rows: list[CleanupRowOut]

    @classmethod
    def of(cls, done: Cleanup, *, dry_run: bool, rows: list[CleanupRowOut]) -> Self:
        """Describe a cleanup by its rows and its counts."""
        return cls(
            dry_run=dry_run,
            ended_count=done.ended,
            held_count=done.held,
            failed_count=done.failed,
            left_count=done.left,
            waiting_count=done.waiting,
            more_due_count=done.more_due,
            duration_seconds=done.duration_seconds,
            rows=rows,
        )


class TriggeredOut(Schema):
    """A task that the broker has taken."""

    task: str = Field(examples=["payments.sweep_expired"])
    message: str = "The task was published; a worker takes it as soon as one is free."


class ProblemOut(Schema):
    """An RFC 9457 problem; `code` is stable and made for programs."""

    type: str = Field(examples=["urn:paywindow:problem:payment_expired"])
    title: str
    status: int
    code: str = Field(examples=["payment_expired"])
    detail: str
