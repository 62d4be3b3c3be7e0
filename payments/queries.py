"""Named reads. Each takes the database's clock along, so that what it says about a window is true when it is said."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import DateTimeField, Func, OuterRef, Subquery

from payments.domain.errors import NotFound
from payments.domain.states import UNRESOLVED, AttemptState
from payments.models import HistoryEntry, Order, OrderLine, PaymentAttempt, StockItem


class DatabaseClock(Func):
    """`clock_timestamp()` in a read without a lock. Never use it in a statement that waits for one."""

    function = "clock_timestamp"
    output_field = DateTimeField()


@dataclass(frozen=True, slots=True)
class AttemptView:
    """An attempt with its order, and the database's time when they were read."""

    attempt: PaymentAttempt
    server_now: datetime


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order, and the database's time when it was read."""

    order: Order
    server_now: datetime
    unresolved: AttemptState | None  # Of the attempt that the gateway may know of, if there is one.


def attempt_for(*, attempt_id: UUID, customer_id: int | None) -> AttemptView:
    """Read an attempt with its order. `customer_id` None reads anybody's, for staff.

    :raises NotFound: when there is none, or it belongs to another customer.
    """
    rows = PaymentAttempt.objects.select_related("order").annotate(server_now=DatabaseClock())
    if customer_id is not None:
        rows = rows.filter(customer_id=customer_id)
    attempt = rows.filter(id=attempt_id).first()
    if attempt is None:
        message = "There is no such payment."
        raise NotFound(message)
    return AttemptView(attempt=attempt, server_now=attempt.server_now)


def order_for(*, order_id: str, customer_id: int | None) -> OrderView:
    """Read an order by the shop's number. `customer_id` None reads anybody's, for staff.

    :raises NotFound: when there is none, or it belongs to another customer.
    """
    unresolved = PaymentAttempt.objects.filter(order=OuterRef("pk"), state__in=sorted(UNRESOLVED)).values("state")
    rows = Order.objects.annotate(server_now=DatabaseClock(), unresolved=Subquery(unresolved[:1]))
    if customer_id is not None:
        rows = rows.filter(customer_id=customer_id)
    order = rows.filter(order_id=order_id).first()
    if order is None:
        message = "There is no such order."
        raise NotFound(message)
    return OrderView(
        order=order,
        server_now=order.server_now,
        unresolved=None if order.unresolved is None else AttemptState(order.unresolved),
    )


def lines_of(*, order: Order) -> list[OrderLine]:
    """Read an order's lines with their items, as they were ordered."""
    return list(order.lines.select_related("item").order_by("id"))


def history_of(*, attempt_id: UUID) -> list[HistoryEntry]:
    """Read an attempt's history, oldest first."""
    return list(HistoryEntry.objects.filter(attempt_id=attempt_id).order_by("number"))


def items_on_sale() -> list[StockItem]:
    """Read what the demo shop shows, by name; at most 100."""
    return list(StockItem.objects.order_by("name")[:100])
