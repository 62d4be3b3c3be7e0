"""The only place that says FOR UPDATE.

The lock order, everywhere: first the order, then stock rows by ascending id. An order's row is the mutex of its
attempts, reservations and gateway calls; whoever changes one of those holds it. A stock row is locked last and
shortly. Two transactions that keep to this cannot deadlock. The record of an idempotency key comes after all of them:
whoever waits for it alone holds nothing else.

Deliveries of announcements stand apart: whoever locks one locks neither order nor stock, steps over those that somebody
else holds, and waits for none.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from django.db import connection
from django.db.models import Q

from payments.domain.states import ASKED_ABOUT
from payments.models import (
    AnnouncementDelivery,
    Compensation,
    IdempotencyRecord,
    Order,
    PaymentAttempt,
    StockItem,
)
from payments.transactions import require_transaction


def lock_order_of(*, attempt_id: UUID) -> Order | None:
    """Lock the order of an attempt and wait for it; None when there is no such attempt."""
    require_transaction()
    return Order.objects.select_for_update(of=("self",)).filter(attempts__id=attempt_id).first()


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
        cursor.execute(
            """
            SELECT id FROM payments_stockitem
            WHERE id IN (SELECT item_id FROM payments_reservation WHERE order_id = ANY(%s) AND state = 'active')
            ORDER BY id FOR UPDATE
            """,
            [list(order_ids)],
        )


class Candidate(NamedTuple):
    """An order that may be over, with its deadline."""

    expires_at: datetime
    order_id: UUID


class LockCandidates(Protocol):
    """Lock the next candidates behind `after`, by ascending deadline."""

    def __call__(self, *, now: datetime, after: Candidate | None, limit: int) -> list[Candidate]:
        """Wait for none of them; hold a transaction."""


_BEFORE_ALL = Candidate(datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))


def lock_orders_due(*, now: datetime, after: Candidate | None = None, limit: int) -> list[Candidate]:
    """Lock the orders of the oldest due attempts, skipping those that somebody else holds.

    `now` only chooses candidates: whoever locks must read the clocks again and judge.
    """
    return _lock_due(
        """
        SELECT a.expires_at, o.id FROM payments_paymentattempt a JOIN payments_order o ON o.id = a.order_id
        WHERE a.state IN ('open', 'queued') AND a.expires_at <= %s AND (a.expires_at, o.id) > (%s, %s)
        ORDER BY a.expires_at, o.id LIMIT %s FOR UPDATE OF o SKIP LOCKED
        """,
        now=now,
        after=after,
        limit=limit,
    )


def lock_orders_due_after_failure(*, now: datetime, after: Candidate | None = None, limit: int) -> list[Candidate]:
    """Lock the orders whose last attempt failed and whose deadline has passed, as `lock_orders_due` does."""
    return _lock_due(
        """
        SELECT o.payment_expires_at, o.id FROM payments_order o
        WHERE o.status = 'under_paying' AND o.payment_status = 'failed' AND o.payment_expires_at <= %s
            AND (o.payment_expires_at, o.id) > (%s, %s)
        ORDER BY o.payment_expires_at, o.id LIMIT %s FOR UPDATE OF o SKIP LOCKED
        """,
        now=now,
        after=after,
        limit=limit,
    )


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


def lock_idempotency_record(*, user_id: int, key: str) -> IdempotencyRecord | None:
    """Lock what is known of a user's idempotency key; None when nothing is. It is the last lock of a transaction."""
    require_transaction()
    return IdempotencyRecord.objects.select_for_update().filter(user_id=user_id, key=key).first()


def _lock_due(sql: str, *, now: datetime, after: Candidate | None, limit: int) -> list[Candidate]:
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(sql, [now, *(after or _BEFORE_ALL), limit])
        return [Candidate(*row) for row in cursor.fetchall()]
