"""Named reads. What speaks of a window takes the database's clock along, so that it is true when it is said."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from uuid import UUID

from django.db import connection
from django.db.models import OuterRef, Subquery

from payments import clocks, guard
from payments.domain.clock import Reading
from payments.domain.compensations import CompensationKind, CompensationState
from payments.domain.errors import NotFound
from payments.domain.ids import Prefix, parse_public_id
from payments.domain.messages import EXPIRING, attempt_message, returned_message
from payments.domain.states import TERMINAL, AttemptState, ReservationState
from payments.models import (
    Compensation,
    CompensationEntry,
    CustomerContact,
    HistoryEntry,
    Order,
    OrderLine,
    PaymentAttempt,
    Reservation,
    StockItem,
)
from payments.rows import Columns
from payments.transactions import require_transaction

MAX_UNDER_REVIEW = 1000  # More than a person reads.
MAX_GIVEN_BACK = 100  # One charge is the rule, and a second a fault of the gateway.


@dataclass(frozen=True, slots=True)
class GivenBack:
    """What became of money that does not stay with us."""

    kind: CompensationKind
    is_done: bool
    is_whole: bool


@dataclass(frozen=True)  # Without slots, so that it can keep what was judged once.
class AttemptView:
    """An attempt with its order, and the clocks when they were read."""

    attempt: PaymentAttempt
    reading: Reading
    latest: PaymentAttempt | None = None  # Of its order; None when it is this one.
    given_back: GivenBack | None = None  # Money of it that goes or went back.

    @property
    def server_now(self) -> datetime:
        """The database's time."""
        return self.reading.now

    @cached_property
    def state(self) -> AttemptState:
        """The state that its reader must see."""
        return guard.state_of(self.attempt, reading=self.reading)

    @property
    def message(self) -> str:
        """Where the attempt stands, in a sentence for its customer."""
        attempt, state, back = self.attempt, self.state, self.given_back
        if state is AttemptState.EXPIRED and attempt.state == AttemptState.QUEUED:
            return EXPIRING
        is_refund = back is not None and back.kind is CompensationKind.REFUND
        if back is not None and (is_refund or state is AttemptState.EXPIRED):  # Of a void a failure says enough.
            return returned_message(state=state, is_refund=is_refund, is_done=back.is_done, is_whole=back.is_whole)
        return attempt_message(state=state, failure_code=attempt.failure_code, doubt_code=attempt.doubt_code)


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order with its latest attempt, and the database's time when they were read."""

    order: Order
    server_now: datetime
    latest: AttemptView | None  # None when its attempts were archived.


def attempt_id_of(payment_id: str) -> UUID:
    """Read a payment's public id.

    :raises NotFound: when it is none: nothing can be found by it.
    """
    attempt_id = parse_public_id(Prefix.PAYMENT, payment_id)
    if attempt_id is None:
        message = "There is no such payment."
        raise NotFound(message)
    return attempt_id


def attempt_for(*, attempt_id: UUID, customer_id: int | None) -> AttemptView:
    """Read an attempt with its order. `customer_id` None reads anybody's, for staff.

    :raises NotFound: when there is none, or it belongs to another customer.
    """
    before = clocks.Before()
    with connection.cursor() as cursor:
        cursor.execute(_ATTEMPT_FOR, {"attempt_id": attempt_id, "customer_id": customer_id})
        row = cursor.fetchone()
    if row is None:
        message = "There is no such payment."
        raise NotFound(message)
    server_now, latest_id, *columns = row
    attempt = _ATTEMPT.read(columns[: len(_ATTEMPT)])
    attempt.order = _ORDER.read(columns[len(_ATTEMPT) :])
    return AttemptView(
        attempt=attempt,
        reading=before.reading(now=server_now),
        latest=None if latest_id == attempt.id else PaymentAttempt.objects.get(id=latest_id),
        given_back=_given_back(attempt),
    )


_ATTEMPT, _ORDER = Columns(PaymentAttempt), Columns(Order)

# Asked every second or two by everybody who waits.
_ATTEMPT_FOR = f"""
    SELECT clock_timestamp(),
        (SELECT id FROM payments_paymentattempt WHERE order_id = a.order_id ORDER BY number DESC LIMIT 1),
        {_ATTEMPT.of("a")}, {_ORDER.of("o")}
    FROM payments_paymentattempt a JOIN payments_order o ON o.id = a.order_id
    WHERE a.id = %(attempt_id)s AND (%(customer_id)s::bigint IS NULL OR a.customer_id = %(customer_id)s)
"""  # noqa: S608 - of our own columns' names


def order_id_of(*, payment_id: str, customer_id: int) -> str:
    """Read the shop's number of the order that a customer's payment is for.

    :raises NotFound: when there is no such payment, or it belongs to another customer.
    """
    rows = PaymentAttempt.objects.filter(id=attempt_id_of(payment_id), customer_id=customer_id)
    order_id = rows.values_list("order__order_id", flat=True).first()
    if order_id is None:
        message = "There is no such payment."
        raise NotFound(message)
    return order_id


def attempt_under_lock(*, attempt_id: UUID, order: Order) -> tuple[PaymentAttempt, Reading]:
    """Read an attempt, whose order is locked, and the clocks: one statement, which begins when the lock is held.

    :raises RuntimeError: outside a transaction, where nothing is locked.
    """
    require_transaction()
    before = clocks.Before()
    with connection.cursor() as cursor:
        cursor.execute(_ATTEMPT_AND_CLOCK, [attempt_id])
        now, *columns = cursor.fetchone()
    attempt = _ATTEMPT.read(columns)
    attempt.order = order
    return attempt, before.reading(now=now)


_ATTEMPT_AND_CLOCK = f"""
    SELECT clock_timestamp(), {_ATTEMPT.of("a")} FROM payments_paymentattempt a WHERE a.id = %s
"""  # noqa: S608 - the same


def latest_payments(*, customer_id: int, limit: int) -> list[AttemptView]:
    """Read the latest attempt of each of a customer's latest orders, newest first."""
    latest = PaymentAttempt.objects.filter(order=OuterRef("pk")).order_by("-number").values("id")
    orders = Order.objects.filter(customer_id=customer_id).annotate(latest_id=Subquery(latest[:1]))
    found = orders.exclude(latest_id=None).order_by("-created_at").values_list("latest_id", flat=True)[:limit]
    return [attempt_for(attempt_id=attempt_id, customer_id=customer_id) for attempt_id in found]


def _given_back(attempt: PaymentAttempt) -> GivenBack | None:
    """Read what goes back of an attempt that has ended: refunds before voids, since they are money that moved."""
    if attempt.state not in TERMINAL or not attempt.fence:
        return None
    rows = attempt.compensations.all()
    if attempt.state == AttemptState.SUCCEEDED:
        # A second charge under the attempt goes back too, and the payment itself stays.
        rows = rows.filter(charge_reference=attempt.gateway_reference)
    found = list(rows[:MAX_GIVEN_BACK])
    kinds = {row.kind for row in found}
    if not kinds:
        return None
    kind = CompensationKind.REFUND if CompensationKind.REFUND in kinds else CompensationKind.VOID
    found = [row for row in found if row.kind == kind]
    return GivenBack(
        kind=kind,
        is_done=all(row.state == CompensationState.DONE for row in found),
        is_whole=all(row.amount_minor == attempt.amount_minor for row in found),
    )


def refund_of(*, attempt: PaymentAttempt) -> Compensation:
    """Read the refund of a payment that succeeded.

    :raises Compensation.DoesNotExist: when there is none.
    """
    return Compensation.objects.select_related("attempt").get(
        gateway=attempt.gateway, charge_reference=attempt.gateway_reference, kind=CompensationKind.REFUND
    )


@dataclass(frozen=True, slots=True)
class UnderReview:
    """A payment or a compensation that waits for a person."""

    public_id: str
    order_id: str  # The shop's own number.
    since: datetime  # Database time.
    why: str  # A payment's doubt; of a compensation what is to be done, and the reason for it.
    amount_minor: int
    currency: str


def under_review() -> list[UnderReview]:
    """Read what waits for a person, oldest first; at most `MAX_UNDER_REVIEW`."""
    # Not its last line: what happened meanwhile, such as stock that went back, is one, too.
    entered = HistoryEntry.objects.filter(attempt=OuterRef("pk"), to_state=AttemptState.NEEDS_REVIEW)
    entered = entered.exclude(from_state=AttemptState.NEEDS_REVIEW).order_by("-number")
    attempts = PaymentAttempt.objects.filter(state=AttemptState.NEEDS_REVIEW).select_related("order")
    attempts = attempts.annotate(since=Subquery(entered.values("at")[:1]))
    since = CompensationEntry.objects.filter(compensation=OuterRef("pk"), number=OuterRef("version")).values("at")
    compensations = Compensation.objects.filter(state=CompensationState.NEEDS_REVIEW).select_related("order")
    rows: list[tuple[PaymentAttempt | Compensation, datetime, str]] = [
        *((row, row.since, row.doubt_code) for row in attempts.order_by("since", "id")[:MAX_UNDER_REVIEW]),
        *(
            (row, row.since, f"{row.kind}, {row.reason}")
            for row in compensations.annotate(since=Subquery(since)).order_by("since", "id")[:MAX_UNDER_REVIEW]
        ),
    ]
    found = [
        UnderReview(
            public_id=row.public_id,
            order_id=row.order.order_id,
            since=at,
            why=why,
            amount_minor=row.amount_minor,
            currency=row.currency,
        )
        for row, at, why in rows
    ]
    return sorted(found, key=lambda row: row.since)[:MAX_UNDER_REVIEW]


def order_for(*, order_id: str, customer_id: int | None) -> OrderView:
    """Read an order by the shop's number, with its latest attempt. `customer_id` None reads anybody's, for staff.

    :raises NotFound: when there is none, or it belongs to another customer.
    """
    before = clocks.Before()
    with connection.cursor() as cursor:
        # PostgreSQL has no NUL in a text, and paths may: there is no such order either.
        cursor.execute(_ORDER_FOR, {"order_id": order_id.replace("\x00", "?"), "customer_id": customer_id})
        row = cursor.fetchone()
    if row is None:
        message = "There is no such order."
        raise NotFound(message)
    server_now, *columns = row
    order = _ORDER.read(columns[: len(_ORDER)])
    latest = columns[len(_ORDER) :]
    if latest[0] is None:
        return OrderView(order=order, server_now=server_now, latest=None)
    attempt = _ATTEMPT.read(latest)
    attempt.order = order
    view = AttemptView(attempt=attempt, reading=before.reading(now=server_now), given_back=_given_back(attempt))
    return OrderView(order=order, server_now=server_now, latest=view)


# As often asked.
_ORDER_FOR = f"""
    SELECT clock_timestamp(), {_ORDER.of("o")}, {_ATTEMPT.of("a")}
    FROM payments_order o
    LEFT JOIN LATERAL (
        SELECT * FROM payments_paymentattempt WHERE order_id = o.id ORDER BY number DESC LIMIT 1
    ) a ON TRUE
    WHERE o.order_id = %(order_id)s AND (%(customer_id)s::bigint IS NULL OR o.customer_id = %(customer_id)s)
"""  # noqa: S608 - of our own columns' names


def lines_of(*, order: Order) -> list[OrderLine]:
    """Read an order's lines with their items, as they were ordered."""
    return list(order.lines.select_related("item").order_by("id"))


def is_stock_held(*, order: Order) -> bool:
    """Tell whether everything that was reserved for an order still is."""
    return not Reservation.objects.filter(order=order).exclude(state=ReservationState.ACTIVE).exists()


def history_of(*, attempt_id: UUID) -> list[HistoryEntry]:
    """Read an attempt's history, oldest first."""
    return list(HistoryEntry.objects.filter(attempt_id=attempt_id).order_by("number"))


def items_on_sale() -> list[StockItem]:
    """Read what the demo shop shows, by name; at most 100."""
    return list(StockItem.objects.order_by("name")[:100])


def are_reminders_stopped(*, customer_id: int) -> bool:
    """Tell whether a customer wants no reminders."""
    return CustomerContact.objects.filter(customer_id=customer_id, reminders_stopped_at__isnull=False).exists()
