"""Reconcile: what payments/reconcile.py finds wrong is put right where that is provable, else left to a person.

One small transaction for each item and each order: it takes the locks that every act takes, asks anew what is wrong,
and repairs only what still is. Items come first: their counters are counted from the reservations as they stand, so
that an order's repair then moves a reservation and its counters by the same number. Each repair writes a
`StockCorrection`.

A dry run is the same code: it does everything, and rolls each transaction back. What the items' repairs would have
changed is done again at the beginning of an order's transaction, under its locks, so that it meets what it will meet.
"""

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from uuid import UUID

import structlog
from django.db import DatabaseError, OperationalError, connection
from django.db.models import F
from psycopg.errors import IntegrityError, LockNotAvailable, RaiseException

from payments import clocks, guard, locks, reconcile
from payments.domain.clock import Judgement, Reading, Ruling
from payments.domain.states import AttemptState, PaymentStatus, ReservationState
from payments.lifecycle.expire import Over, expire_locked_orders
from payments.models import Order, PaymentAttempt, StockCorrection, StockItem
from payments.reconcile import Difference, Kind
from payments.transactions import TransactionTooLongError, after_commit, roll_back, savepoint, transaction

log = structlog.get_logger(__name__)


class Result(enum.StrEnum):
    """What became of a difference."""

    REPAIRED = "repaired"
    GONE = "no_longer_wrong"  # Under the locks it was right: it was in motion, or somebody was faster.
    LEFT = "left_to_a_person"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A difference and what became of it: what was there before a repair and after it, or why there was none."""

    difference: Difference
    result: Result
    why: str = ""
    before: Mapping[str, object] = field(default_factory=dict)
    after: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Shift:
    """By how much a dry run's repair would have moved an item's counters."""

    on_hand: int
    reserved: int
    sold: int


@dataclass(frozen=True, slots=True)
class _Run:
    """One run: on whose behalf, and what its dry repairs of items would have moved, by item id."""

    actor: str
    reason: str
    is_dry: bool
    shifts: dict[int, _Shift] = field(default_factory=dict)


_REFUSALS = (IntegrityError, RaiseException)  # Of constraints, and of triggers.

_Act = Callable[[Difference], Outcome]


def reconcile_stock(*, actor: str, reason: str, is_dry_run: bool = False) -> Iterator[Outcome]:
    """Repair every difference that can be, one transaction for each item and order, and tell of each what became of it.

    What was told is committed. A dry run tells the same and leaves nothing behind.
    """
    run = _Run(actor=actor, reason=reason, is_dry=is_dry_run)
    found = reconcile.differences_everywhere()
    items = [difference for difference in found if difference.kind in reconcile.OF_ITEMS]
    orders = [difference for difference in found if difference.kind not in reconcile.OF_ITEMS]
    for _, of_item in groupby(items, key=lambda difference: difference.item_id):
        yield from _repair(list(of_item), repair=partial(_repair_item, run=run))
    for _, of_order in groupby(orders, key=lambda difference: difference.order_id):
        yield from _repair(list(of_order), repair=partial(_repair_order, run=run))


def _repair(
    differences: Sequence[Difference], *, repair: Callable[[Sequence[Difference]], list[Outcome]]
) -> Sequence[Outcome]:
    """Repair what is wrong with one item or one order; without anything to repair no lock is taken."""
    if all(difference.obstacle for difference in differences):
        return [_left(difference, difference.obstacle) for difference in differences]
    try:
        return repair(differences)
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable) and not isinstance(error, TransactionTooLongError):
            raise
        return [_left(difference, "somebody holds its lock for too long: run it again") for difference in differences]


def _repair_item(differences: Sequence[Difference], *, run: _Run) -> list[Outcome]:
    with _transaction_of(run):
        item = locks.lock_stock(skus={differences[0].sku}).get(differences[0].sku)
        if item is None:
            return [_gone(difference) for difference in differences]
        current = reconcile.differences_of_item(item_id=item.id)
        after = item
        if current and not current[0].obstacle:
            after = _recount(item, run=run)
        act = partial(_recounted, before=item, after=after)
        return _follow(differences, current=current, act=act, run=run)


def _repair_order(differences: Sequence[Difference], *, run: _Run) -> list[Outcome]:
    with _transaction_of(run):
        order = locks.lock_order(order_id=differences[0].order_number)
        if order is None:
            return [_gone(difference) for difference in differences]
        locks.lock_stock_of_orders(order_ids=[order.id])
        reading = clocks.read()
        _shift_items(order, run=run)
        current = reconcile.differences_of_order(order_id=order.id)
        act = partial(_repair_of_order, order=order, reading=reading, actor=run.actor)
        return _follow(differences, current=current, act=act, run=run)


@contextmanager
def _transaction_of(run: _Run) -> Iterator[None]:
    with transaction():
        yield
        if run.is_dry:
            roll_back()


def _follow(differences: Sequence[Difference], *, current: Sequence[Difference], act: _Act, run: _Run) -> list[Outcome]:
    """Act on each of `differences` that is among the `current` ones, which were read under the locks."""
    found = {difference.key: difference for difference in current}
    outcomes = []
    for difference in differences:
        still = found.get(difference.key)
        if still is None:
            outcomes.append(_gone(difference))
        elif still.obstacle:
            outcomes.append(_left(still, still.obstacle))
        else:
            outcomes.append(_attempt(still, act=act, run=run))
    return outcomes


def _attempt(difference: Difference, *, act: _Act, run: _Run) -> Outcome:
    """Act and write it down, or leave all as it is where the database refuses it."""
    try:
        with savepoint():
            outcome = act(difference)
            if outcome.result is Result.REPAIRED:
                _write_down(outcome, run=run)
            with connection.cursor() as cursor:  # What it would refuse at the commit, it refuses here.
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except DatabaseError as error:
        if not isinstance(error.__cause__, _REFUSALS):
            raise
        return _left(difference, f"the database refuses it: {str(error).splitlines()[0]}")
    return outcome


def _write_down(outcome: Outcome, *, run: _Run) -> None:
    difference = outcome.difference
    StockCorrection.objects.create(
        what=difference.kind,
        detail=difference.detail,
        order_id=difference.order_id,
        item_id=difference.item_id,
        before=outcome.before,
        after=outcome.after,
        actor=run.actor,
        reason=run.reason,
        at=clocks.database_now(),
    )
    facts = {"kind": difference.kind.value, "of": difference.what, "actor": run.actor}
    after_commit(lambda: log.warning("stock_corrected", before=outcome.before, after=outcome.after, **facts))


def _recount(item: StockItem, *, run: _Run) -> StockItem:
    """Count an item's numbers from its reservations. The caller holds its lock, so none of them changes meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE payments_stockitem s
            SET reserved = c.active, sold = c.consumed, on_hand = s.received - c.consumed
            FROM (
                SELECT coalesce(sum(quantity) FILTER (WHERE state = 'active'), 0) AS active,
                    coalesce(sum(quantity) FILTER (WHERE state = 'consumed'), 0) AS consumed
                FROM payments_reservation WHERE item_id = %(item_id)s
            ) c WHERE s.id = %(item_id)s
            """,
            {"item_id": item.id},
        )
    after = StockItem.objects.get(id=item.id)
    if run.is_dry:
        run.shifts[item.id] = _Shift(
            on_hand=after.on_hand - item.on_hand, reserved=after.reserved - item.reserved, sold=after.sold - item.sold
        )
    return after


def _recounted(difference: Difference, *, before: StockItem, after: StockItem) -> Outcome:
    """Tell what the one recount did about one of the item's differences."""

    def of(item: StockItem) -> dict[str, object]:
        if difference.kind is Kind.RESERVED_DIFFERS:
            return {"reserved": item.reserved}
        return {"sold": item.sold, "on_hand": item.on_hand}

    return _repaired(difference, before=of(before), after=of(after))


def _shift_items(order: Order, *, run: _Run) -> None:
    """Bring the items of a dry run's order to where the repairs before it would have brought them."""
    held = order.reservations.filter(item_id__in=run.shifts, state=ReservationState.ACTIVE)
    for item_id in sorted(set(held.values_list("item_id", flat=True))):
        shift = run.shifts[item_id]
        StockItem.objects.filter(id=item_id).update(
            on_hand=F("on_hand") + shift.on_hand, reserved=F("reserved") + shift.reserved, sold=F("sold") + shift.sold
        )


def _repair_of_order(difference: Difference, *, order: Order, reading: Reading, actor: str) -> Outcome:
    match difference.kind:
        case Kind.HELD_FOR_CANCELLED:
            return _close_reservation(difference, to=ReservationState.RELEASED, reading=reading)
        case Kind.HELD_FOR_PAID:
            return _close_reservation(difference, to=ReservationState.CONSUMED, reading=reading)
        case Kind.WAITS_WITHOUT_ATTEMPT | Kind.WAITS_WITHOUT_LIVING_ATTEMPT | Kind.WAITS_FOR_SWEEP:
            return _end_or_mark(difference, order=order, reading=reading, actor=actor)
        case _:
            message = f"{difference.kind} has no repair"
            raise RuntimeError(message)


def _close_reservation(difference: Difference, *, to: ReservationState, reading: Reading) -> Outcome:
    """Close one reservation, and take what it held from its item's counters."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH closed AS (
                UPDATE payments_reservation SET state = %(to)s, closed_at = %(now)s
                WHERE line_id = %(line_id)s AND state = 'active'
                RETURNING item_id, quantity, CASE state WHEN 'consumed' THEN quantity ELSE 0 END AS consumed
            )
            UPDATE payments_stockitem s SET reserved = s.reserved - closed.quantity,
                on_hand = s.on_hand - closed.consumed, sold = s.sold + closed.consumed
            FROM closed WHERE s.id = closed.item_id RETURNING closed.quantity
            """,
            {"to": to.value, "now": reading.now, "line_id": difference.line_id},
        )
        ((quantity,),) = cursor.fetchall()
    facts: dict[str, object] = {"line": difference.line_id, "quantity": quantity}
    before = {"reservation": ReservationState.ACTIVE.value, **facts}
    return _repaired(difference, before=before, after={"reservation": to.value, **facts})


def _end_or_mark(difference: Difference, *, order: Order, reading: Reading, actor: str) -> Outcome:
    """End an order that waits for nothing if its window is over; if it is open and may be tried again, mark it so."""
    last = PaymentAttempt.objects.filter(order=order).order_by("-number").first()
    before = _standing(order.id)
    # An order without an attempt has no stamp to judge by, and nothing that could be paid: its deadline is enough.
    judgement = guard.judge(last or _unstamped(order), reading=reading)
    is_over = judgement.ruling is Ruling.EXPIRE or (last is None and reading.now >= order.payment_expires_at)
    if is_over:
        attempt_id = None if last is None else last.id
        over = Over(order.id, order.order_id, attempt_id, order.payment_expires_at, judgement)
        if not expire_locked_orders([over], now=reading.now, actor=actor):
            return _left(difference, "its expiry changed nothing: look at its attempts")
    elif judgement.ruling is Ruling.CHARGE and last is not None and last.state == AttemptState.FAILED:
        Order.objects.filter(id=order.id).update(payment_status=PaymentStatus.FAILED)
    else:
        return _left(difference, _why_not_over(judgement))
    return _repaired(difference, before=before, after=_standing(order.id))


def _unstamped(order: Order) -> PaymentAttempt:
    return PaymentAttempt(opened_at=order.created_at, expires_at=order.payment_expires_at)


def _why_not_over(judgement: Judgement) -> str:
    if judgement.ruling is Ruling.CHARGE:
        return "by the clocks its window is still open"
    return f"the clocks do not say whether its window is over ({judgement.why}); a worker's sweep may know more"


def _standing(order_id: UUID) -> dict[str, object]:
    order = Order.objects.get(id=order_id)
    states = PaymentAttempt.objects.filter(order_id=order_id).order_by("number").values_list("state", flat=True)
    reservations = order.reservations.order_by("line_id").values_list("state", flat=True)
    return {
        "status": order.status,
        "payment_status": order.payment_status,
        "attempts": list(states),
        "reservations": list(reservations),
    }


def _repaired(difference: Difference, *, before: Mapping[str, object], after: Mapping[str, object]) -> Outcome:
    return Outcome(difference=difference, result=Result.REPAIRED, before=before, after=after)


def _gone(difference: Difference) -> Outcome:
    # What would have been done, or kept somebody from it, does not matter any more.
    return Outcome(difference=replace(difference, obstacle=""), result=Result.GONE)


def _left(difference: Difference, why: str) -> Outcome:
    return Outcome(difference=difference, result=Result.LEFT, why=why)
