"""Whether years of payments slow today's: `make bench BENCH=history` prints one JSON object a line.

The same acts are timed among ten thousand attempts and among five million, most of which have ended, all with their
history: what the sweep asks for, opening, submitting and claiming, and what a customer reads. Five million take some
twenty minutes and gigabytes; `ARGS="--attempts 1000000"` takes fewer.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from datetime import timedelta

from django.db import connection

from payments import lifecycle, queries
from payments.lifecycle.calls import Call
from payments.models import PaymentAttempt
from project.celery import app
from tests import bulk, factories
from tests.benchmarks._running import own_database, say

DATABASE = "paywindow_bench_history"
FEW = 10_000
MINUTES = timedelta(minutes=1)


class Shop:
    """Everyday acts, each on payments of its own."""

    def __init__(self) -> None:
        self._item = factories.make_item("BENCH", on_hand=10_000_000)
        self._numbers = itertools.count()

    def prepared(self) -> PaymentAttempt:
        customer = factories.make_user(f"bench-{next(self._numbers)}")
        return factories.place_order(customer=customer, item=self._item)

    def open_to_claim(self) -> None:
        attempt = factories.submit(self.prepared())
        assert isinstance(lifecycle.claim_attempt(attempt_id=attempt.id), Call)


def seconds_of(act: Callable[[], object], *, times: int) -> float:
    """The median of some runs."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def measure(shop: Shop, *, times: int) -> dict[str, float]:
    known = shop.prepared()
    acts: dict[str, Callable[[], object]] = {
        "sweep_of_nothing": lifecycle.sweep_expired,
        "open_to_claim": shop.open_to_claim,
        "status": lambda: queries.attempt_for(attempt_id=known.id, customer_id=known.customer_id),
    }
    for act in acts.values():
        seconds_of(act, times=20)  # Fills caches.
    return {name: seconds_of(act, times=times) for name, act in acts.items()}


def grow(count: int, *, prefix: str, customers: list[int], items: list[int]) -> None:
    """Add attempts that have ended, and one in a hundred that lives."""
    living = count // 100
    for name, share, first, is_over in (
        ("O", count - living, -50_000 * MINUTES, True),
        ("L", living, 9 * MINUTES, False),
    ):
        bulk.make_orders(
            share,
            prefix=f"{prefix}-{name}",
            customers=customers,
            items=items,
            first_deadline_in=first,
            spread=5 * MINUTES,
            is_over=is_over,
            lines=0,
        )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=5_000_000)
    parser.add_argument("--times", type=int, default=200)
    arguments = parser.parse_args()
    app.conf.update(broker_url="memory://", broker_write_url="memory://", broker_read_url="memory://")
    with own_database(DATABASE):
        shop, customers, items = Shop(), bulk.make_customers(1000), bulk.make_items(1)
        grow(FEW, prefix="FEW", customers=customers, items=items)
        few = measure(shop, times=arguments.times)
        grow(arguments.attempts - FEW, prefix="MANY", customers=customers, items=items)
        many = measure(shop, times=arguments.times)
        for name, seconds in few.items():
            say(f"history.{name}_milliseconds", 1000 * many[name], f"ms among {arguments.attempts}")
            say(f"history.{name}_ratio", many[name] / seconds, f"among {arguments.attempts}/among {FEW}")


if __name__ == "__main__":
    main()
