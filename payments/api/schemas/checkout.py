"""Orders and their payments: what checkout sends, and where a payment stands."""

from dataclasses import fields
from datetime import datetime
from typing import Annotated, Self

from ninja import Schema
from pydantic import Field, StringConstraints, model_validator

from payments.api.schemas.parts import Countdown, Name, Reason, Strict, Token
from payments.domain.money import MAX_AMOUNT_MINOR
from payments.domain.states import AttemptState, OrderStatus, PaymentStatus
from payments.models import Compensation
from payments.queries import AttemptView
from payments.standing import Payment

MAX_LINES = 100
MAX_QUANTITY = 10_000

PaymentId = Annotated[str, StringConstraints(min_length=1, max_length=64)]


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
    kind: Name | None = Field(
        default=None, description="Of PAYMENT_ORDER_KINDS; the ordinary one when absent.", examples=["astrology"]
    )


class SubmitIn(Strict):
    """How the customer pays: the gateway's token, never card data; nothing when they pay on the gateway's page."""

    payment_token: Token | None = Field(
        default=None,
        description="Required, except for a method that is paid on the gateway's own page; that one takes none.",
        examples=["tok_visa"],
    )


class NamedOnce(Strict):
    """Names an order by its number or by one of its payments, not by both."""

    order_id: Name | None = Field(default=None, description="The shop's number.", examples=["ORD-ABC123"])
    payment_id: PaymentId | None = Field(default=None, examples=["pay_0198f0c2e4b27c3a9d1e5f60718293a4"])

    @model_validator(mode="after")
    def names_one(self) -> Self:
        """Refuse what names no order, or perhaps two."""
        if (self.order_id is None) == (self.payment_id is None):
            message = "exactly one of order_id and payment_id has to be given"
            raise ValueError(message)
        return self


class StatusQuery(NamedOnce):
    """Which payment is asked about: this one, or the latest of an order."""


class RetryIn(NamedOnce):
    """Which order is tried again, and with which method, when another one is wanted."""

    payment_method: Name | None = Field(default=None, examples=["card"])


class CancelIn(Strict):
    """Why an order is given up."""

    reason: Reason | None = Field(
        default=None, description="Goes on record. Staff must give one for what somebody else ordered."
    )


class RefundIn(Strict):
    """What staff give back, and why."""

    reason: Reason
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


class AttemptOut(Countdown):
    """Where a payment attempt stands; times are the server's, in UTC."""

    id: str = Field(examples=["pay_0198f0c2e4b27c3a9d1e5f60718293a4"])
    order_id: str = Field(examples=["ORD-ABC123"])
    number: int = Field(ge=1, description="1 for the order's first attempt.")
    state: AttemptState
    amount_minor: int = Field(description="In minor units, such as cents.")
    currency: str
    payment_method: str
    opened_at: datetime
    redirect_url: str | None = Field(description="The gateway's page, while the customer has to go there.")
    failure: FailureOut | None
    doubt_code: str | None = Field(description="Why it is not known yet what became of the money.")
    retry_refused: str | None = Field(description="Why the order may not be tried again now.")

    @classmethod
    def of(cls, payment: Payment) -> Self:
        """Describe a payment."""
        # No `asdict`: it copies every value, which took a twentieth of a status answer.
        told = {field.name: getattr(payment, field.name) for field in fields(payment)}
        code = told.pop("failure_code")
        return cls(**told, failure=None if code is None else FailureOut(code=code, message=payment.message))


class OrderOut(Schema):
    """An order and its first payment attempt."""

    id: str = Field(examples=["ord_0198f0c2e4b27c3a9d1e5f60718293a4"])
    order_id: str = Field(examples=["ORD-ABC123"])
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
            payment=AttemptOut.of(Payment.of(view)),
        )
