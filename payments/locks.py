"""The only place that says FOR UPDATE.

The lock order, everywhere: first the order, then stock rows by ascending id. An order's row is the mutex of its
attempts, reservations and gateway calls; whoever changes one of those holds it. A stock row is locked last and
shortly. Two transactions that keep to this cannot deadlock.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db import connection

from payments.models import Order, PaymentAttempt, StockItem
from payments.transactions import require_transaction


def lock_order_of(*, attempt_id: UUID) -> Order | None:
    """Lock the order of an attempt and wait for it; None when there is no such attempt."""
    require_transaction()
    return Order.objects.select_for_update(of=("self",)).filter(attempts__id=attempt_id).first()


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


def lock_orders_due(*, now: datetime, limit: int) -> list[UUID]:
    """Lock the orders of the oldest due attempts, skipping those that somebody else holds.

    `now` only chooses candidates: whoever locks must read the clock again and re-check.
    """
    return _lock_due(
        """
        SELECT o.id FROM payments_paymentattempt a JOIN payments_order o ON o.id = a.order_id
        WHERE a.state IN ('open', 'queued') AND a.expires_at <= %s
        ORDER BY a.expires_at LIMIT %s FOR UPDATE OF o SKIP LOCKED
        """,
        now=now,
        limit=limit,
    )


def lock_orders_due_after_failure(*, now: datetime, limit: int) -> list[UUID]:
    """Lock the orders whose last attempt failed and whose deadline has passed, as `lock_orders_due` does."""
    return _lock_due(
        """
        SELECT o.id FROM payments_order o
        WHERE o.status = 'under_paying' AND o.payment_status = 'failed' AND o.payment_expires_at <= %s
        ORDER BY o.payment_expires_at LIMIT %s FOR UPDATE OF o SKIP LOCKED
        """,
        now=now,
        limit=limit,
    )


def lock_attempts_owed(*, now: datetime, limit: int) -> list[UUID]:
    """Lock queued attempts whose job is overdue, skipping those that another rescue or a claim holds.

    It locks attempts and not their orders, and whoever holds it changes nothing but `due_at`.
    """
    require_transaction()
    rows = PaymentAttempt.objects.select_for_update(skip_locked=True).filter(state="queued", due_at__lte=now)
    return list(rows.order_by("due_at").values_list("id", flat=True)[:limit])


def _lock_due(sql: str, *, now: datetime, limit: int) -> list[UUID]:
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(sql, [now, limit])
        return [order_id for (order_id,) in cursor.fetchall()]
