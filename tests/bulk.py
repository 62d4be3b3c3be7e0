"""Many orders with their attempts, lines, reservations and history, written by the database itself.

A hundred thousand rows made one by one would take longer than what is measured with them. They are rows as checkout
writes them, with chained history and stamps of this machine's clocks; only the foreign keys and triggers are not asked
one by one. Stock is counted at the end.
"""

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection

from payments import clocks
from payments.transactions import transaction

WINDOW = timedelta(minutes=15)
_ORDERS_PER_TRANSACTION = 20_000  # Each within the time that a transaction has.

_MADE = """
CREATE TEMPORARY TABLE made ON COMMIT DROP AS
SELECT n, %(prefix)s || '-' || n AS order_number,
    (lpad(to_hex(%(ids)s + n), 12, '0') || '7000' || '8' || lpad(to_hex(n), 15, '0'))::uuid AS order_id,
    (lpad(to_hex(%(ids)s + n), 12, '0') || '7001' || '8' || lpad(to_hex(n), 15, '0'))::uuid AS attempt_id,
    (%(customers)s::int[])[1 + n %% %(customer_count)s] AS customer_id,
    %(first)s::timestamptz + (n %% %(orders)s) * (%(spread)s::interval / %(orders)s) AS expires_at
FROM generate_series(1, %(orders)s) n
"""

_ORDERS = """
INSERT INTO payments_order (id, order_id, customer_id, status, payment_status, currency, total_minor,
    payment_expires_at, created_at, closed_at)
SELECT order_id, order_number, customer_id, %(order_status)s, %(payment_status)s, 'USD',
    1250, expires_at, expires_at - %(window)s, CASE WHEN %(is_over)s THEN expires_at END FROM made
"""

_LINES = """
WITH line AS (
    INSERT INTO payments_orderline (order_id, item_id, quantity, unit_price_minor)
    SELECT order_id, (%(items)s::bigint[])[1 + (n + line * (1 + n %% 3)) %% %(item_count)s], 1, 1250 / %(lines)s
    FROM made CROSS JOIN generate_series(0, %(lines)s - 1) line RETURNING id, order_id, item_id
)
INSERT INTO payments_reservation (line_id, order_id, item_id, quantity, state, closed_at)
SELECT line.id, line.order_id, line.item_id, 1, %(reservation)s, CASE WHEN %(is_over)s THEN expires_at END
FROM line JOIN made USING (order_id)
"""

_ATTEMPTS = """
INSERT INTO payments_paymentattempt (id, order_id, customer_id, number, method, gateway, amount_minor, currency, state,
    version, opened_at, expires_at, due_at, closed_at, opened_stamp, enqueued_stamp, payment_token, fence, gateway_key,
    gateway_reference, redirect_url, failure_code, doubt_code, questions, correlation_id, grace_seconds,
    late_allowance_seconds)
SELECT attempt_id, order_id, customer_id, 1, 'card', 'sandbox', 1250, 'USD', %(state)s,
    1, expires_at - %(window)s, expires_at, CASE WHEN NOT %(is_over)s THEN expires_at END,
    CASE WHEN %(is_over)s THEN expires_at END,
    %(stamp)s::jsonb || jsonb_build_object(
        'database', to_char((expires_at - %(window)s) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
        'boot', %(boot)s - extract(epoch FROM %(now)s - (expires_at - %(window)s)),
        'wall', %(wall)s - extract(epoch FROM %(now)s - (expires_at - %(window)s))
    ), '{}', '', 0, '', '', '', '', '', 0, '', 30, 300
FROM made
"""

_HISTORY = """
INSERT INTO payments_historyentry (attempt_id, number, from_state, to_state, at, actor, reason, evidence, previous_hash,
    entry_hash)
SELECT attempt_id, 1, '', %(state)s, at, 'customer:1', 'opened', '{}', '', (
    SELECT encode(sha256(convert_to(string_agg(length(part) || ':' || part || ',', '' ORDER BY place), 'UTF8')), 'hex')
    FROM unnest(ARRAY[
        attempt_id::text, '1', '', %(state)s, (extract(epoch FROM at) * 1000000)::bigint::text, 'customer:1', 'opened',
        '{}', ''
    ]) WITH ORDINALITY AS parts (part, place)
) FROM made, LATERAL (SELECT expires_at - %(window)s AS at) opened
"""

_STOCK = """
UPDATE payments_stockitem s SET reserved = coalesce(held.active, 0), sold = coalesce(held.consumed, 0),
    on_hand = s.received - coalesce(held.consumed, 0)
FROM (
    SELECT item_id, sum(quantity) FILTER (WHERE state = 'active') AS active,
        sum(quantity) FILTER (WHERE state = 'consumed') AS consumed
    FROM payments_reservation GROUP BY item_id
) held WHERE held.item_id = s.id
"""


def make_items(count: int, *, on_hand: int = 100_000_000) -> list[int]:
    """Make `count` items with plenty on hand; returns their ids."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO payments_stockitem (sku, name, unit_price_minor, currency, received, on_hand, reserved, sold)
            SELECT 'BULK-' || n, 'BULK-' || n, 1250, 'USD', %(on_hand)s, %(on_hand)s, 0, 0
            FROM generate_series(1, %(count)s) n RETURNING id
            """,
            {"on_hand": on_hand, "count": count},
        )
        return [row[0] for row in cursor.fetchall()]


def make_customers(count: int) -> list[int]:
    """Make `count` users; returns their ids."""
    users = User.objects.bulk_create(User(username=f"bulk-{number}") for number in range(count))
    return [user.pk for user in users]


def make_orders(
    count: int,
    *,
    prefix: str,
    customers: list[int],
    items: list[int],
    first_deadline_in: timedelta,
    spread: timedelta,
    is_over: bool = False,
    has_history: bool = True,
    lines: int = 1,
    counts_stock: bool = False,
) -> None:
    """Make `count` orders of so many lines and one open attempt each; `is_over` makes them expired from the beginning.

    Their deadlines begin `first_deadline_in` from now, which may be negative, and are spread evenly. `prefix` begins
    their numbers, and no two calls may share one. A crowd may do without lines and
    history, and then breaks the invariants. With `counts_stock` the stock adds up at every moment, for processes that
    look at it meanwhile; otherwise `count_stock` has to follow.
    """
    for first in range(0, count, _ORDERS_PER_TRANSACTION):
        share = min(_ORDERS_PER_TRANSACTION, count - first)
        _make_orders(
            share,
            prefix=f"{prefix}-{first}",
            customers=customers,
            items=items,
            first_deadline_in=first_deadline_in + spread * (first / count),
            spread=spread * (share / count),
            is_over=is_over,
            has_history=has_history,
            lines=lines,
            counts_stock=counts_stock,
        )


def _make_orders(
    count: int,
    *,
    prefix: str,
    customers: list[int],
    items: list[int],
    first_deadline_in: timedelta,
    spread: timedelta,
    is_over: bool,
    has_history: bool,
    lines: int,
    counts_stock: bool,
) -> None:
    reading = clocks.read()
    parameters: dict[str, Any] = {
        "orders": count,
        "prefix": prefix,
        "ids": int(reading.now.timestamp() * 1000),
        "customers": customers,
        "items": items,
        "customer_count": len(customers),
        "item_count": len(items),
        "first": reading.now + first_deadline_in,
        "spread": spread,
        "window": WINDOW,
        "now": reading.now,
        "boot": reading.boottime_seconds,
        "wall": reading.wall,
        "stamp": json.dumps({k: v for k, v in reading.as_stamp().items() if k not in {"expected", "watched_since"}}),
        "is_over": is_over,
        "lines": lines,
        "state": "expired" if is_over else "open",
        "order_status": "cancelled" if is_over else "under_paying",
        "payment_status": "expired" if is_over else "pending",
        "reservation": "released" if is_over else "active",
    }
    with transaction(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("SET LOCAL statement_timeout = 0")
        for statement, is_wanted in (
            (_MADE, True),
            (_ORDERS, True),
            (_ATTEMPTS, True),
            (_LINES, lines > 0),
            (_HISTORY, has_history),
            (_STOCK, counts_stock),
        ):
            if is_wanted:
                cursor.execute(statement, parameters)


def count_stock() -> None:
    """Set what every item has reserved and sold to what the reservations say, and tell the planner what there is."""
    with connection.cursor() as cursor:
        cursor.execute(_STOCK)
        cursor.execute("ANALYZE")
