"""What the server answers, as values. Fields of newer servers are ignored, and states are texts for the same reason."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from payments.client.failures import BadAnswer
from payments.domain.states import TERMINAL

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Line:
    """What is ordered, and how many of it."""

    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a payment ended without money."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Payment:
    """Where a payment attempt stands. Times are the server's, in UTC."""

    id: str
    order_id: str
    number: int
    state: str
    amount_minor: int
    currency: str
    payment_method: str
    opened_at: datetime
    expires_at: datetime
    server_now: datetime
    time_remaining_seconds: int
    is_payment_window_active: bool
    can_pay: bool
    can_retry: bool
    attempts_left: int
    message: str
    failure: Failure | None = None
    doubt_code: str | None = None
    retry_refused: str | None = None
    redirect_url: str | None = field(default=None, repr=False)  # Whoever has it may pay there.
    retry_after_seconds: float | None = None  # When to ask again; None when nothing will change by itself.
    etag: str | None = field(default=None, repr=False)  # From the header, for the next question.

    @property
    def is_settled(self) -> bool:
        """Whether it has ended, one way or the other.

        A payment whose time is over reads as expired at once, but is worth another question until it is certain that
        nothing was charged.
        """
        return self.state in TERMINAL and self.retry_after_seconds is None


@dataclass(frozen=True, slots=True)
class Order:
    """An order and its first payment attempt."""

    id: str
    order_id: str
    status: str
    payment_status: str
    total_minor: int
    currency: str
    payment: Payment


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """An order's payment window, by the shop's number."""

    order_id: str
    status: str
    payment_status: str
    is_payment_window_active: bool
    time_remaining_seconds: int
    message: str
    payment_expires_at: datetime | None = None  # Only while the window is active.
    payment_id: str | None = None  # Its latest payment; None when that was archived.
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class CheckedStatus(OrderStatus):
    """An order's payment window, and whether somebody finds out more about its payment."""

    is_asking: bool = False


@dataclass(frozen=True, slots=True)
class Refund:
    """Money that is owed back; it is made, and made sure of, by the server."""

    id: str
    payment_id: str
    amount_minor: int
    currency: str
    state: str


@cache  # There are as many as kinds of answers, and each takes longer to make than to use.
def _reader(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_answer(kind: type[_Value], *, body: bytes) -> _Value:
    """Read an answer of this kind.

    :raises BadAnswer: when it is none.
    """
    try:
        value: _Value = _reader(kind).validate_json(body)  # type: ignore[arg-type] # a class is hashable
    except ValidationError as error:
        # Where it is wrong, and not what it says there: that may be an address at which somebody can pay.
        wrong = {".".join(map(str, entry["loc"])) or "the whole" for entry in error.errors(include_input=False)}
        raise BadAnswer(f"The answer is no {kind.__name__}: {', '.join(sorted(wrong))}.") from None
    return value
