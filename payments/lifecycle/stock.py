"""What happens to stock: reserved when an order is opened, consumed when it is paid, released when it expires.

Each is one statement over a set. The caller holds the order's lock; the stock rows' come after it (payments/locks.py).
Where an order expires, its reservations are released by the statement that expires (expire.py), and what they held is
given back after it.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db import connection

from payments import locks
from payments.transactions import require_transaction


def reserve_stock(*, quantities: Mapping[int, int]) -> None:
    """Add to what is reserved, by item id. The database refuses more than is on hand."""
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE payments_stockitem s SET reserved = s.reserved + wanted.quantity
            FROM unnest(%s::bigint[], %s::int[]) AS wanted(item_id, quantity) WHERE s.id = wanted.item_id
            """,
            [list(quantities), list(quantities.values())],
        )


def consume_stock(*, order_id: UUID, now: datetime) -> None:
    """Turn the active reservations of a paid order into sold stock, each exactly once."""
    require_transaction()
    locks.lock_stock_of_orders(order_ids=[order_id])
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH consumed AS (
                UPDATE payments_reservation SET state = 'consumed', closed_at = %(now)s
                WHERE order_id = %(order_id)s AND state = 'active' RETURNING item_id, quantity
            ), summed AS (
                SELECT item_id, sum(quantity) AS quantity FROM consumed GROUP BY item_id
            )
            UPDATE payments_stockitem s
            SET on_hand = s.on_hand - summed.quantity, reserved = s.reserved - summed.quantity,
                sold = s.sold + summed.quantity
            FROM summed WHERE s.id = summed.item_id
            """,
            {"order_id": order_id, "now": now},
        )


def release_stock(*, order_id: UUID, now: datetime) -> None:
    """Release what an order still has reserved, and give it back."""
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH released AS (
                UPDATE payments_reservation SET state = 'released', closed_at = %s
                WHERE order_id = %s AND state = 'active' RETURNING item_id, quantity
            ) SELECT item_id, sum(quantity)::int FROM released GROUP BY item_id
            """,
            [now, order_id],
        )
        quantities = dict(cursor.fetchall())
    give_back_stock(quantities=quantities)


def give_back_stock(*, quantities: Mapping[int, int]) -> None:
    """Take from what is reserved, by item id, what released reservations held.

    It is the last step of its transaction: many orders want these rows, and hold them for no longer than this.
    """
    require_transaction()
    if not quantities:
        return
    locks.lock_stock_by_id(item_ids=quantities.keys())
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE payments_stockitem s SET reserved = s.reserved - freed.quantity
            FROM unnest(%s::bigint[], %s::int[]) AS freed(item_id, quantity) WHERE s.id = freed.item_id
            """,
            [list(quantities), list(quantities.values())],
        )
