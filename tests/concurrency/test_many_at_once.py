"""Everybody at once around the deadlines: sweeps, beats, workers and customers, all after the same five items."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import Settings

from beat_schedules.write import write_schedule
from payments import clocks, lifecycle
from payments.domain.errors import PaymentError
from payments.domain.states import TERMINAL
from payments.models import HistoryEntry, Order, PaymentAttempt, StockItem
from tests import bulk
from tests.contract.sandbox_server import SandboxProcess, wait_until
from tests.system import ManagedProcess, System

pytestmark = pytest.mark.django_db(transaction=True)

CUSTOMERS, ATTEMPTS, ITEMS, SWEEPS, WORKERS = 50, 500, 5, 4, 4
DEADLINES, APART, STARTS_IN = 10, timedelta(seconds=1.2), timedelta(seconds=4)  # Fifty attempts end at each.


@pytest.fixture
def processes(tmp_path: Path, sandbox: SandboxProcess) -> Iterator[list[ManagedProcess]]:
    """Four workers and two beats, on the test database."""
    write_schedule()
    system = System(tmp_path, sandbox=sandbox, threads=4)
    workers = [system.make_worker(f"worker-{number}") for number in range(WORKERS)]
    second = ManagedProcess("beat-2", system.beat.argv, env=system.beat.env, folder=tmp_path)
    with ExitStack() as started:
        for process in (*workers, system.beat, second):
            process.start()
            started.callback(process.stop)
        for worker in workers:
            wait_until(lambda log=worker: "ready." in log.log, what=f"{worker.name} is ready", deadline_seconds=60)  # type: ignore[misc] # binds the loop's value
        yield [*workers, system.beat, second]


def deadlocks() -> int:
    """How many the database has ever broken here."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_stat_clear_snapshot(), deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        return int(cursor.fetchone()[1])


class Customers:
    """Each submits its payments, one after the other, each a moment before its deadline or after it."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self._lock = threading.Lock()

    def pay(self, customer_id: int) -> None:
        try:
            rows = PaymentAttempt.objects.filter(customer_id=customer_id).order_by("expires_at")
            for number, attempt in enumerate(rows):
                self._wait(attempt, lead_seconds=(2.0, 0.5, 0.02, -0.02)[number % 4])
                self._submit(attempt)
        finally:
            connection.close()

    @staticmethod
    def _wait(attempt: PaymentAttempt, *, lead_seconds: float) -> None:
        left = (attempt.expires_at - clocks.database_now()).total_seconds() - lead_seconds
        threading.Event().wait(max(0.0, left))

    def _submit(self, attempt: PaymentAttempt) -> None:
        try:
            lifecycle.submit_attempt(
                attempt_id=attempt.id, customer_id=attempt.customer_id, payment_token="tok_visa", correlation_id=""
            )
            answer = "submitted"
        except PaymentError as refusal:
            answer = refusal.code
        except Exception as error:  # noqa: BLE001 - whatever reaches a customer is what this is about
            answer = repr(error)
        with self._lock:
            self.answers[answer] += 1


def sweep_on(is_over: threading.Event, errors: list[Exception]) -> None:
    try:
        while not is_over.wait(0.01):
            lifecycle.sweep_expired()
    except Exception as error:  # noqa: BLE001 - told by the test
        errors.append(error)
    finally:
        connection.close()


@pytest.mark.timeout(300)
def test_everybody_around_the_deadlines_of_five_items(
    processes: list[ManagedProcess], sandbox: SandboxProcess, settings: Settings
) -> None:
    """No deadlock reaches anyone, each attempt ends exactly once, and the stock adds up."""
    items, users = bulk.make_items(ITEMS, on_hand=1000), bulk.make_customers(CUSTOMERS)
    settings.PAYMENT_SWEEP_BATCH_ROWS = 7  # So that several sweeps share what is due at once.
    for number in range(DEADLINES):
        bulk.make_orders(
            ATTEMPTS // DEADLINES,
            prefix=f"RUSH-{number}",
            customers=users,
            items=items,
            first_deadline_in=STARTS_IN + number * APART,
            spread=timedelta(0),
            lines=2,
            counts_stock=True,
        )
    bulk.count_stock()
    before, customers, errors, is_over = deadlocks(), Customers(), list[Exception](), threading.Event()
    sweeps = [threading.Thread(target=sweep_on, args=(is_over, errors)) for _ in range(SWEEPS)]
    for sweep in sweeps:
        sweep.start()
    try:
        with ThreadPoolExecutor(max_workers=CUSTOMERS) as pool:
            list(pool.map(customers.pay, users))
        wait_until(
            lambda: not PaymentAttempt.objects.exclude(state__in=TERMINAL).exists(),
            what="every attempt has ended",
            deadline_seconds=120,
        )
    finally:
        is_over.set()
        for sweep in sweeps:
            sweep.join()
    for process in processes:
        process.stop()  # What a session counted is seen when it has ended.

    assert errors == []
    assert set(customers.answers) == {"submitted", "payment_expired"}, customers.answers
    assert deadlocks() == before
    noise = [line for process in processes for line in process.log.splitlines() if '"level": "error"' in line]
    assert noise == []
    ended = Counter(PaymentAttempt.objects.values_list("state", flat=True))
    assert ended.keys() == {"succeeded", "expired"}, ended
    endings = HistoryEntry.objects.filter(to_state__in=sorted(TERMINAL)).values_list("attempt_id", flat=True)
    assert Counter(Counter(endings).values()) == {1: ATTEMPTS}
    assert Counter(Order.objects.values_list("status", flat=True)) == {
        "paid": ended["succeeded"],
        "cancelled": ended["expired"],
    }
    sold = sum(StockItem.objects.values_list("sold", flat=True)) // 2  # Two lines each.
    assert (sold, set(StockItem.objects.values_list("reserved", flat=True))) == (ended["succeeded"], {0})
    captured = [operation for operation, _ in sandbox.operations() if operation == "capture"]
    assert len(captured) == ended["succeeded"]
