"""The only place that says FOR UPDATE.

The lock order, everywhere: first the order, then stock rows by ascending id. An order's row is the mutex of its
attempts, reservations and gateway calls; whoever changes one of those holds it. A stock row is locked last and
shortly. Two transactions that keep to this cannot deadlock. The record of an idempotency key comes after all of them:
whoever waits for it alone holds nothing else.

Deliveries of announcements and events of gateways stand apart: whoever locks one locks neither order nor stock. Of
deliveries those that somebody else holds are stepped over, and none is waited for.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Q

from payments import due
from payments.domain.states import ASKED_ABOUT
from payments.due import Due, Source
from payments.models import (
    AnnouncementDelivery,
    Compensation,
    IdempotencyRecord,
    Order,
    PaymentAttempt,
    StockItem,
    WebhookEvent,
)
from payments.rows import Columns
from payments.transactions import require_transaction

SHORT_WAIT_MILLISECONDS = 1000


def wait_shortly() -> None:
    """Wait for no lock of this transaction longer than a second, since there is more to do; the database refuses it."""
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [str(SHORT_WAIT_MILLISECONDS)])


def lock_order_of(*, attempt_id: UUID) -> Order | None:
    """Lock the order of an attempt and wait for it; None when there is no such attempt."""
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(_ORDER_OF_ATTEMPT, [attempt_id])
        row = cursor.fetchone()
    return None if row is None else _ORDER.read(row)


_ORDER = Columns(Order)

# Nothing of the attempt is read along: after a wait it would be from before the wait.
_ORDER_OF_ATTEMPT = f"""
    SELECT {_ORDER.of("o")} FROM payments_order o JOIN payments_paymentattempt a ON a.order_id = o.id
    WHERE a.id = %s FOR UPDATE OF o
"""  # noqa: S608 - of our own columns' names


def lock_order(*, order_id: str) -> Order | None:
    """Lock an order by the shop's number and wait for it; None when there is no such order."""
    require_transaction()
    return Order.objects.select_for_update(of=("self",)).filter(order_id=order_id).first()


def lock_order_of_compensation(*, compensation_id: UUID) -> Order | None:
    """Lock the order of a compensation and wait for it; None when there is no such compensation."""
    require_transaction()
    return Order.objects.select_for_update(of=("self",)).filter(compensations__id=compensation_id).first()


def lock_stock(*, skus: Collection[str]) -> dict[str, StockItem]:
    """Lock stock rows in ascending order of id and return them by sku; unknown skus are missing from the answer."""
    require_transaction()
    rows = StockItem.objects.select_for_update().filter(sku__in=skus).order_by("id")
    return {row.sku: row for row in rows}


def lock_stock_of_orders(*, order_ids: Collection[UUID]) -> None:
    """Lock every stock row that active reservations of these orders hold, in ascending order of id."""
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(f"{_STOCK_OF_ORDERS} ORDER BY id FOR UPDATE", [list(order_ids)])


def lock_stock_by_id(*, item_ids: Collection[int]) -> None:
    """Lock stock rows in ascending order of id."""
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM payments_stockitem WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [list(item_ids)])


def lock_free_stock_of_orders(*, order_ids: Collection[UUID]) -> set[UUID]:
    """Lock the stock rows of these orders that nobody else holds; return the orders all of whose rows are locked."""
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(f"{_STOCK_OF_ORDERS} ORDER BY id FOR UPDATE SKIP LOCKED", [list(order_ids)])
        locked = [row[0] for row in cursor.fetchall()]
        cursor.execute(
            """
            SELECT order_id FROM payments_reservation
            WHERE order_id = ANY(%s) AND state = 'active' AND item_id <> ALL(%s)
            """,
            [list(order_ids), locked],
        )
        return set(order_ids) - {row[0] for row in cursor.fetchall()}


_STOCK_OF_ORDERS = """
    SELECT id FROM payments_stockitem
    WHERE id IN (SELECT item_id FROM payments_reservation WHERE order_id = ANY(%s) AND state = 'active')
"""


def lock_due(source: Source, *, now: datetime, after: Due | None, limit: int) -> list[Due]:
    """Lock the orders of the next candidates behind `after`, skipping those that somebody else holds.

    `now` only chooses candidates: whoever locks must read the clocks again and judge.
    """
    require_transaction()
    return due.read(source, now=now, after=after, limit=limit, lock="FOR UPDATE OF o SKIP LOCKED")


def lock_orders(*, order_ids: Collection[UUID]) -> set[UUID]:
    """Lock those of the orders that nobody else holds, and return which."""
    require_transaction()
    rows = Order.objects.select_for_update(skip_locked=True).filter(id__in=order_ids)
    return set(rows.order_by("id").values_list("id", flat=True))


class Candidate(NamedTuple):
    """An order of which something is due, with when it was."""

    due_at: datetime
    order_id: UUID


_BEFORE_ALL = Candidate(datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))


def lock_orders_to_remind(*, now: datetime, after: Candidate | None = None, limit: int) -> list[Candidate]:
    """Lock the orders of the open attempts whose reminder is due, skipping those that somebody else holds."""
    return _lock_due(
        """
        SELECT a.reminder_at, o.id FROM payments_paymentattempt a JOIN payments_order o ON o.id = a.order_id
        WHERE a.state = 'open' AND a.reminder_at <= %s AND (a.reminder_at, o.id) > (%s, %s)
        ORDER BY a.reminder_at, o.id LIMIT %s FOR UPDATE OF o SKIP LOCKED
        """,
        now=now,
        after=after,
        limit=limit,
    )


def lock_order_of_reminder_due(*, channel: str, now: datetime, after: Candidate | None = None) -> Candidate | None:
    """Lock the order of the next due reminder over a channel, behind `after`, skipping those that somebody else holds.

    After a clock that was set back a reminder may be found late, and is then too late: nothing is owed to it.
    """
    found = _lock_due(
        """
        SELECT r.due_at, o.id FROM payments_reminder r
        JOIN payments_paymentattempt a ON a.id = r.attempt_id JOIN payments_order o ON o.id = a.order_id
        WHERE r.channel = %s AND r.due_at <= %s AND (r.due_at, o.id) > (%s, %s)
        ORDER BY r.due_at, o.id LIMIT %s FOR UPDATE OF o SKIP LOCKED
        """,
        channel,
        now=now,
        after=after,
        limit=1,
    )
    return found[0] if found else None


def is_due(*, now: datetime, longest: timedelta) -> Q:
    """Ask for what is due at `now`.

    A due time further ahead than the `longest` wait is from a clock that was set back since, and is over, too.
    """
    return Q(due_at__lte=now) | Q(due_at__gt=now + longest)


def lock_attempts_owed(*, now: datetime, longest: timedelta, limit: int) -> list[UUID]:
    """Lock queued attempts whose job is overdue, skipping those that another rescue or a claim holds.

    It locks attempts and not their orders, and whoever holds it changes nothing but `due_at` and the enqueue's stamp.
    """
    require_transaction()
    rows = PaymentAttempt.objects.select_for_update(skip_locked=True).filter(state="queued")
    rows = rows.filter(is_due(now=now, longest=longest))
    return list(rows.order_by("due_at").values_list("id", flat=True)[:limit])


def lock_attempts_to_resolve(
    *, now: datetime, longest: timedelta, published_before: datetime, limit: int
) -> list[UUID]:
    """Lock attempts whose lease, doubt or wait is over and that have no fresh job, as `lock_attempts_owed` does.

    Whoever holds them changes nothing but `published_at`.
    """
    require_transaction()
    rows = PaymentAttempt.objects.select_for_update(skip_locked=True).filter(state__in=sorted(ASKED_ABOUT))
    rows = rows.filter(is_due(now=now, longest=longest))
    unpublished = rows.filter(Q(published_at=None) | Q(published_at__lte=published_before) | Q(published_at__gt=now))
    return list(unpublished.order_by("due_at").values_list("id", flat=True)[:limit])


def lock_compensations_due(*, now: datetime, longest: timedelta, published_before: datetime, limit: int) -> list[UUID]:
    """Lock compensations that are due and have no fresh job, as `lock_attempts_to_resolve` does."""
    require_transaction()
    rows = Compensation.objects.select_for_update(skip_locked=True)
    rows = rows.filter(is_due(now=now, longest=longest))
    unpublished = rows.filter(Q(published_at=None) | Q(published_at__lte=published_before) | Q(published_at__gt=now))
    return list(unpublished.order_by("due_at").values_list("id", flat=True)[:limit])


def lock_deliveries_due(*, destination: str, now: datetime, longest: timedelta, limit: int) -> list[int]:
    """Lock the oldest due deliveries to a destination, skipping those that another deliverer holds."""
    require_transaction()
    rows = AnnouncementDelivery.objects.select_for_update(skip_locked=True).filter(destination=destination)
    rows = rows.filter(is_due(now=now, longest=longest))
    return list(rows.order_by("due_at", "id").values_list("id", flat=True)[:limit])


def lock_webhook_event(*, event_id: UUID) -> WebhookEvent | None:
    """Lock an event of a gateway and wait for it; None when there is no such event. Wait for nothing else meanwhile."""
    require_transaction()
    return WebhookEvent.objects.select_for_update().filter(id=event_id).first()


def lock_webhook_events_due(*, now: datetime, longest: timedelta, published_before: datetime, limit: int) -> list[UUID]:
    """Lock events that are due and have no fresh job, as `lock_attempts_to_resolve` does."""
    require_transaction()
    rows = WebhookEvent.objects.select_for_update(skip_locked=True)
    rows = rows.filter(is_due(now=now, longest=longest))
    unpublished = rows.filter(Q(published_at=None) | Q(published_at__lte=published_before) | Q(published_at__gt=now))
    return list(unpublished.order_by("due_at").values_list("id", flat=True)[:limit])


def lock_idempotency_record(*, user_id: int, key: str) -> IdempotencyRecord | None:
    """Lock what is known of a user's idempotency key; None when nothing is. It is the last lock of a transaction."""
    require_transaction()
    return IdempotencyRecord.objects.select_for_update().filter(user_id=user_id, key=key).first()


def _lock_due(sql: str, *leading: str, now: datetime, after: Candidate | None, limit: int) -> list[Candidate]:
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(sql, [*leading, now, *(after or _BEFORE_ALL), limit])
        return [Candidate(*row) for row in cursor.fetchall()]
