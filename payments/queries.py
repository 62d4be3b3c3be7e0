"""Named reads. What speaks of a window takes the database's clock along, so that it is true when it is said."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import OuterRef, Subquery

from payments import clocks, guard
from payments.clocks import DatabaseClock
from payments.domain.clock import Reading
from payments.domain.compensations import CompensationKind, CompensationState
from payments.domain.errors import NotFound
from payments.domain.messages import EXPIRING, attempt_message, returned_message
from payments.domain.states import TERMINAL, UNRESOLVED, AttemptState, ReservationState
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

MAX_UNDER_REVIEW = 1000  # More than a person reads.
MAX_GIVEN_BACK = 100  # One charge is the rule, and a second a fault of the gateway.


@dataclass(frozen=True, slots=True)
class GivenBack:
    """What became of money that does not stay with us."""

    kind: CompensationKind
    is_done: bool
    is_whole: bool


@dataclass(frozen=True, slots=True)
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

    @property
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
    """An order, and the database's time when it was read."""

    order: Order
    server_now: datetime
    unresolved: AttemptState | None  # Of the attempt that the gateway may know of, if there is one.


def attempt_for(*, attempt_id: UUID, customer_id: int | None) -> AttemptView:
    """Read an attempt with its order. `customer_id` None reads anybody's, for staff.

    :raises NotFound: when there is none, or it belongs to another customer.
    """
    made = PaymentAttempt.objects.filter(order=OuterRef("order")).order_by("-number").values("id")
    rows = PaymentAttempt.objects.select_related("order").annotate(
        server_now=DatabaseClock(), latest_id=Subquery(made[:1])
    )
    if customer_id is not None:
        rows = rows.filter(customer_id=customer_id)
    before = clocks.Before()
    attempt = rows.filter(id=attempt_id).first()
    if attempt is None:
        message = "There is no such payment."
        raise NotFound(message)
    return AttemptView(
        attempt=attempt,
        reading=before.reading(now=attempt.server_now),
        latest=None if attempt.latest_id == attempt.id else PaymentAttempt.objects.get(id=attempt.latest_id),
        given_back=_given_back(attempt),
    )


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
