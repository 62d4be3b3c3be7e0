"""How late attempts end, and what that costs the charges beside it: `make bench BENCH=expiry_lag`.

A worker and beat run as processes and sweep a database of a hundred thousand living attempts, of which 200 a second
come to their deadlines for a minute: how late these end is what is told. An observer asks many times a second for the
oldest deadline that is not swept yet: an attempt counts as terminal from the first look at which that one is later, so
what it waited for the commit is part of it. Meanwhile, and in short rounds before it, this process pays orders, from
opening to record, in turn without any deadline beside it and with them.
"""

import argparse
import itertools
import statistics
import tempfile
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from beat_schedules.write import write_schedule
from payments import clocks, clockwatch, lifecycle
from payments.domain.states import AttemptState
from payments.gateways import registry
from payments.models import PaymentAttempt
from project.celery import app
from tests import bulk, factories
from tests.benchmarks._running import own_database, say
from tests.contract.sandbox_server import API_KEY, SandboxProcess, wait_until
from tests.system import System

DATABASE = "paywindow_bench_expiry_lag"
LOOK_EVERY_SECONDS = 0.02


class Observer(threading.Thread):
    """Notes (the database's time, the oldest deadline that is still open), many times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.looks: list[tuple[datetime, datetime]] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        with connection.cursor() as cursor:
            while not self.is_over.wait(LOOK_EVERY_SECONDS):
                cursor.execute(
                    "SELECT min(expires_at), clock_timestamp() FROM payments_paymentattempt"
                    " WHERE state IN ('open', 'queued')"
                )
                oldest, now = cursor.fetchone()
                self.looks.append((now, oldest))
        connection.close()

    def lags(self, deadlines: list[datetime]) -> list[float]:
        """How long after each deadline it was seen to be over, in seconds."""
        oldest = list(itertools.accumulate((oldest for _, oldest in self.looks), max))
        seen = [self.looks[bisect_right(oldest, deadline)][0] for deadline in deadlines]
        return [(at - deadline).total_seconds() for at, deadline in zip(seen, deadlines, strict=True)]


class Payments:
    """Customers who pay, as fast as this process can."""

    def __init__(self, *, threads: int) -> None:
        self._item = factories.make_item("BENCH", on_hand=10_000_000)
        self._customers = [factories.make_user(f"bench-{number}") for number in range(threads)]
        self._pool = ThreadPoolExecutor(max_workers=threads)

    def rate_until(self, ends_at: float) -> float:
        """Payments a second, from now until the monotonic clock shows `ends_at`."""
        began = time.monotonic()
        return sum(self._pool.map(lambda customer: self._pay(customer, ends_at), self._customers)) / (ends_at - began)

    def _pay(self, customer: object, ends_at: float) -> int:
        paid = 0
        try:
            while time.monotonic() < ends_at:
                attempt = factories.submit(factories.place_order(customer=customer, item=self._item))  # type: ignore[arg-type] # a User
                assert lifecycle.charge_attempt(attempt_id=attempt.id) is AttemptState.SUCCEEDED
                paid += 1
        finally:
            connection.close()
        return paid


@dataclass(frozen=True, slots=True)
class Crowd:
    """Whose the orders are, and of what."""

    customers: list[int]
    items: list[int]


class Stretch(NamedTuple):
    """A time in which deadlines come evenly, in seconds from the beginning."""

    start: float
    seconds: float


def make_deadlines(stretches: list[Stretch], *, began: float, per_second: int, crowd: Crowd) -> None:
    """Make the orders of each stretch; `began` is of the monotonic clock."""
    for number, stretch in enumerate(stretches):
        bulk.make_orders(
            round(per_second * stretch.seconds),
            prefix=f"STRETCH-{number}",
            first_deadline_in=timedelta(seconds=began + stretch.start - time.monotonic()),
            spread=timedelta(seconds=stretch.seconds),
            customers=crowd.customers,
            items=crowd.items,
        )


def measure(arguments: argparse.Namespace) -> None:
    crowd, living = Crowd(customers=bulk.make_customers(1000), items=bulk.make_items(1000)), timedelta(minutes=60)
    bulk.make_orders(
        arguments.living,
        prefix="LIVING",
        first_deadline_in=living,
        spread=living,
        customers=crowd.customers,
        items=crowd.items,
    )
    payments = Payments(threads=arguments.threads)
    payments.rate_until(time.monotonic() + 3)  # Fills caches and pools.
    # Round 0 has no deadlines, round 1 has, and so on; the last has none, and then comes the long stretch.
    rounds, seconds, first_round = 2 * arguments.rounds + 1, arguments.seconds, 30.0
    ends = [first_round + (number + 1) * seconds for number in range(rounds)]
    long = Stretch(ends[-1], arguments.long_seconds)
    began, began_at = time.monotonic(), clocks.database_now()
    short = [Stretch(end, seconds) for end in ends[0:-1:2]]
    make_deadlines([*short, long], began=began, per_second=arguments.per_second, crowd=crowd)
    bulk.count_stock()
    left = began + first_round - time.monotonic()
    assert left > 0, f"making the orders took {-left:.1f} s too long"
    observer = Observer()
    observer.start()
    try:
        threading.Event().wait(left)
        rates = [payments.rate_until(began + end) for end in ends]
        payments.rate_until(began + long.start + long.seconds)
        wait_until(_nothing_is_due, what="the last is swept")
        threading.Event().wait(10 * LOOK_EVERY_SECONDS)  # For the observer's last look.
    finally:
        observer.is_over.set()
        observer.join()
    deadlines = list(
        PaymentAttempt.objects.filter(
            state="expired", expires_at__gte=began_at + timedelta(seconds=long.start - 0.5)
        ).values_list("expires_at", flat=True)
    )
    assert len(deadlines) == round(long.seconds * arguments.per_second), len(deadlines)
    lags = sorted(observer.lags(deadlines))
    say("expiry_lag.p50_seconds", statistics.median(lags), "s")
    say("expiry_lag.p99_seconds", statistics.quantiles(lags, n=100)[98], "s")
    say("expiry_lag.max_seconds", lags[-1], "s")
    without, beside = rates[0::2], rates[1::2]
    say("expiry_lag.charges_per_second", statistics.median(without), "1/s without expiries")
    # Each round beside its two neighbours without: what else the machine does falls on both.
    ratios = [2 * rate / (before + after) for before, rate, after in zip(without, beside, without[1:], strict=False)]
    say("expiry_lag.charge_rate_ratio", statistics.median(ratios), "with/without expiries")


def _nothing_is_due() -> bool:
    return not PaymentAttempt.objects.filter(state="open", expires_at__lte=clocks.database_now()).exists()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--living", type=int, default=100_000)
    parser.add_argument("--per-second", type=int, default=200, help="deadlines")
    parser.add_argument("--rounds", type=int, default=6, help="with deadlines; one more without")
    parser.add_argument("--seconds", type=int, default=10, help="of a round")
    parser.add_argument("--long-seconds", type=int, default=60, help="of the stretch that the lags are of")
    parser.add_argument("--threads", type=int, default=4, help="that pay")
    arguments = parser.parse_args()
    stops: list[Callable[[], None]] = []
    with (
        own_database(DATABASE),
        tempfile.TemporaryDirectory() as folder,
        SandboxProcess(ledger=Path(folder) / "ledger.sqlite") as sandbox,
    ):
        settings.PAYMENT_GATEWAYS = {"sandbox": {"url": sandbox.url, "api_key": API_KEY}}
        system = System(Path(folder), sandbox=sandbox, env={"LOG_LEVEL": "INFO"}, threads=4)
        # This process publishes nothing: it charges itself.
        app.conf.update(broker_url="memory://", broker_write_url="memory://", broker_read_url="memory://")
        write_schedule()
        clockwatch.start()
        try:
            for process in (system.worker, system.beat):
                process.start()
                stops.append(process.stop)
            wait_until(lambda: " ready." in system.worker.log, what="the worker is ready")
            measure(arguments)
        finally:
            for stop in stops:
                stop()
            clockwatch.stop()
            registry.close_gateways()


if __name__ == "__main__":
    main()
