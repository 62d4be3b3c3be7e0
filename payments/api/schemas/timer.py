"""The payment timer: an order by the shop's number, in the fields that its front ends know, and the countdown."""

from datetime import datetime
from typing import Any, Self

from pydantic import Field

from payments.api.schemas.parts import Countdown
from payments.domain.states import OrderStatus, PaymentStatus
from payments.standing import OrderPayment


class PaymentStatusOut(Countdown):
    """How long an order can still be paid."""

    order_id: str = Field(examples=["ORD-ABC123"])
    payment_id: str | None = Field(description="Its latest payment; null when that was archived.")
    status: OrderStatus
    payment_status: PaymentStatus
    payment_expires_at: datetime | None = Field(
        default=None, description="The deadline; present only while the window is active."
    )

    @classmethod
    def of(cls, order: OrderPayment) -> Self:
        """Describe an order."""
        return cls(**_fields(order))


class CheckOut(PaymentStatusOut):
    """Where an order stands, and whether somebody finds out more."""

    is_asking: bool = Field(description="Whether the gateway is asked now what became of the payment.")

    @classmethod
    def asking(cls, order: OrderPayment, *, is_asking: bool) -> Self:
        """Describe an order that somebody asks about."""
        return cls(**_fields(order), is_asking=is_asking)


def _fields(order: OrderPayment) -> dict[str, Any]:
    payment = order.payment
    # What is not set is left out of the answer, as the payment timer always did after the deadline.
    deadline = {"payment_expires_at": order.expires_at} if order.is_payment_window_active else {}
    return {
        "order_id": order.order_id,
        "payment_id": None if payment is None else payment.id,
        "status": order.status,
        "payment_status": order.payment_status,
        "expires_at": order.expires_at,
        "server_now": order.server_now,
        "time_remaining_seconds": order.time_remaining_seconds,
        "is_payment_window_active": order.is_payment_window_active,
        "can_pay": payment is not None and payment.can_pay,
        "can_retry": payment is not None and payment.can_retry,
        "attempts_left": 0 if payment is None else payment.attempts_left,
        "retry_after_seconds": order.retry_after_seconds,
        "message": order.message,
        **deadline,
    }
