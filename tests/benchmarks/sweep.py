"""What the sweep can do: `make bench BENCH=sweep` prints one JSON object a line.

Three ways to end the same orders, in turn in one run, on the same tables with their triggers and constraints: the sweep
as it is; the best single SQL statement that we know, which asks no clock, waits for nobody and logs nothing; and the
loop that ends one order after the other. Each gets orders of its own with reservations of a thousand items. Then the
sweep alone, with ever more living attempts around what is due.
"""

import argparse
import logging
import os
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from django.db import connection

from payments import clocks, lifecycle, locks
from payments.domain.states import AttemptState, OrderStatus, PaymentStatus, ReservationState
from payments.lifecycle.transition import move_attempt
from payments.models import Order, PaymentAttempt
from payments.transactions import transaction
from tests import bulk
from tests.benchmarks._running import own_database, say

DATABASE = "paywindow_bench_sweep"

_BEST_SINGLE_STATEMENT = """
WITH due AS MATERIALIZED (
    SELECT id, order_id, state, expires_at, amount_minor FROM payments_paymentattempt
    WHERE state IN ('open', 'queued') AND expires_at <= %(now)s
), expired AS (
    UPDATE payments_paymentattempt a SET state = 'expired', version = a.version + 1, closed_at = %(now)s, due_at = NULL
    FROM due WHERE a.id = due.id RETURNING a.id, a.order_id, a.version, due.state AS from_state, a.expires_at,
        a.amount_minor
), recorded AS (
    INSERT INTO payments_historyentry (attempt_id, number, from_state, to_state, at, actor, reason, evidence)
    SELECT id, version, from_state, 'expired', %(now)s, 'sweep', 'window_closed',
        jsonb_build_object('now', %(now)s::timestamptz, 'expires_at', expires_at)
    FROM expired
), closed AS (
    UPDATE payments_order o SET status = 'cancelled', payment_status = 'expired', closed_at = %(now)s
    FROM due WHERE o.id = due.order_id AND o.status = 'under_paying' RETURNING o.id, o.order_id, o.currency
), released AS (
    UPDATE payments_reservation r SET state = 'released', closed_at = %(now)s
    FROM closed WHERE r.order_id = closed.id AND r.state = 'active' RETURNING r.item_id, r.quantity
), returned AS (
    UPDATE payments_stockitem s SET reserved = s.reserved - freed.quantity
    FROM (SELECT item_id, sum(quantity) AS quantity FROM released GROUP BY item_id) freed WHERE s.id = freed.item_id
), announced AS (
    INSERT INTO payments_announcement (id, order_id, attempt_id, number, kind, created_at, payload)
    SELECT gen_random_uuid(), closed.id, expired.id, 1, 'payment_expired', %(now)s, jsonb_build_object(
        'order_id', closed.order_id, 'amount_minor', expired.amount_minor, 'currency', closed.currency
    ) FROM closed JOIN expired ON expired.order_id = closed.id
)
SELECT count(*) FROM closed
"""


class Orders:
    """Makes what is due, and what is not."""

    def __init__(self, *, items: int) -> None:
        self._items, self._customers = bulk.make_items(items), bulk.make_customers(1000)
        self._made = 0

    def make(self, count: int, *, first_deadline_in: timedelta) -> None:
        self._made += 1
        bulk.make_orders(
            count,
            prefix=f"B{self._made}",
            customers=self._customers,
            items=self._items,
            first_deadline_in=first_deadline_in,
            spread=timedelta(seconds=60),
        )

    def make_due(self, count: int) -> None:
        self.make(count, first_deadline_in=timedelta(minutes=-2))
        bulk.count_stock()

    def make_living(self, count: int) -> None:
        self.make(count, first_deadline_in=timedelta(minutes=14))


def by_sweep() -> int:
    ended, is_finished = 0, False
    while not is_finished:
        run = lifecycle.sweep_expired()
        ended, is_finished = ended + run.expired_orders, run.is_finished
    return ended


def by_statement() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(_BEST_SINGLE_STATEMENT, {"now": clocks.database_now()})
        (ended,) = cursor.fetchone()
    return int(ended)


def by_loop() -> int:
    """The loop of the first design, on these tables: everything of one order in a transaction, then the next."""
    now = clocks.database_now()
    due = Order.objects.filter(status=OrderStatus.UNDER_PAYING, payment_expires_at__lt=now)
    ended = 0
    for order_id in list(due.values_list("order_id", flat=True)):
        with transaction():
            order = locks.lock_order(order_id=order_id)
            assert order is not None
            attempt = PaymentAttempt.objects.get(order=order, state=AttemptState.OPEN)
            move_attempt(
                attempt,
                to=AttemptState.EXPIRED,
                now=now,
                actor="loop",
                reason="window_closed",
                due_at=None,
                evidence={},
            )
            for reservation in order.reservations.filter(state=ReservationState.ACTIVE):
                locks.lock_stock_of_orders(order_ids=[order.id])
                item = reservation.item
                item.reserved -= reservation.quantity
                item.save()
                reservation.state, reservation.closed_at = ReservationState.RELEASED, now
                reservation.save()
            order.status, order.payment_status = OrderStatus.CANCELLED, PaymentStatus.EXPIRED
            order.closed_at = now
            order.save()
        ended += 1
    return ended


def rate(act: Callable[[], int], orders: Orders, *, due: int) -> float:
    """Orders a second that `act` ends, out of `due` of them made for it alone."""
    orders.make_due(due)
    began = time.perf_counter()
    ended = act()
    seconds = time.perf_counter() - began
    assert ended == due, f"{ended} of {due} ended"
    return ended / seconds


def compare(orders: Orders, arguments: argparse.Namespace) -> None:
    """The three ways in turn: the medians of their rates, and of the ratios within each round."""
    rounds = [
        (
            rate(by_sweep, orders, due=arguments.due),
            rate(by_statement, orders, due=arguments.due),
            rate(by_loop, orders, due=arguments.loop),
        )
        for _ in range(arguments.rounds)
    ]
    for name, rates in zip(("sweep", "sql", "loop"), zip(*rounds, strict=True), strict=True):
        say(f"sweep.rate_{name}", statistics.median(rates), "orders/s")
    say("sweep.ratio_to_sql", statistics.median(sweep / sql for sweep, sql, _ in rounds), "sweep/statement")
    say("sweep.ratio_to_loop", statistics.median(sweep / loop for sweep, _, loop in rounds), "sweep/loop")


def flatness(orders: Orders, arguments: argparse.Namespace) -> None:
    """The least rate as a share of the greatest, while the living attempts around grow."""
    rates, living = [], 0
    for target in arguments.living:
        orders.make_living(target - living)
        living = target
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        rates.append(statistics.median(rate(by_sweep, orders, due=arguments.flat_due) for _ in range(arguments.rounds)))
        say(f"sweep.rate_among_{target}", rates[-1], "orders/s")
    say("sweep.flatness", min(rates) / max(rates), "least/greatest rate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--due", type=int, default=100_000, help="orders that are due in each round")
    parser.add_argument("--loop", type=int, default=1_000, help="of them for the loop, which is slow")
    parser.add_argument("--items", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--living", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--flat-due", type=int, default=20_000)
    arguments = parser.parse_args()
    with own_database(DATABASE), Path(os.devnull).open("w") as nowhere:
        # Every expired attempt has its log line, rendered and written as always; only nobody keeps them.
        handler = logging.getLogger().handlers[0]
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(nowhere)
        logging.getLogger().setLevel(logging.INFO)
        orders = Orders(items=arguments.items)
        compare(orders, arguments)
        flatness(orders, arguments)


if __name__ == "__main__":
    main()
