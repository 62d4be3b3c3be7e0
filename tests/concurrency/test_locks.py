"""Many at once, on real connections: what the locks and the clock behind them are for."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection

from payments import clocks, lifecycle
from payments.domain.errors import OutOfStock, PaymentError
from payments.lifecycle.claim import NotClaimed
from payments.models import GatewayCall, HistoryEntry, Order, PaymentAttempt, Reservation, StockItem
from tests import factories
from tests.contract.sandbox_server import SandboxProcess, wait_until
from tests.system import test_database_url

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")


def at_once(acts: Sequence[Callable[[], T]], *, when_ready: Callable[[], None] | None = None) -> list[T | Exception]:
    """Run every act in a thread of its own, all released at the same instant; refusals are results.

    `when_ready` runs just before, when every thread has its connection, so that what follows takes little time.
    """
    barrier = threading.Barrier(len(acts), action=when_ready)

    def run(act: Callable[[], T]) -> T | Exception:
        connection.ensure_connection()
        barrier.wait()
        try:
            return act()
        except PaymentError as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=len(acts)) as pool:
        return list(pool.map(run, acts))


@contextmanager
def another_session() -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(test_database_url()) as session:
        yield session


def waiting_for_locks(session: psycopg.Connection[Any]) -> int:
    row = session.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("table", ["payments_order", "payments_paymentattempt"])
def test_a_lock_held_past_the_deadline_does_not_let_the_charge_through(
    item: StockItem, sandbox: SandboxProcess, table: str
) -> None:
    """50 claims wait for a lock while the windows close, first for the order's or last of all; none gets through."""
    attempts = [factories.submit(factories.place_order(customer=factories.make_user(), item=item)) for _ in range(50)]
    results: list[Any] = []
    with another_session() as holder, another_session() as observer:
        observer.autocommit = True

        def close_the_windows_soon() -> None:
            factories.age_attempt(*(attempt.id for attempt in attempts), seconds_left=7)
            holder.execute(f"SELECT id FROM {table} FOR UPDATE")

        claims = [partial(lifecycle.charge_attempt, attempt_id=attempt.id) for attempt in attempts]
        charges = threading.Thread(target=lambda: results.extend(at_once(claims, when_ready=close_the_windows_soon)))
        charges.start()
        wait_until(
            lambda: waiting_for_locks(observer) == 50, what="every claim waits for its lock", deadline_seconds=30
        )
        (deadline,) = set(PaymentAttempt.objects.values_list("expires_at", flat=True))
        assert clocks.database_now() < deadline, "the claims must begin to wait inside their windows"
        wait_until(lambda: clocks.database_now() > deadline, what="every window has closed")
        holder.rollback()
        charges.join()
    assert results == [NotClaimed.EXPIRED] * 50
    assert sandbox.ledger()["requests"] == []
    assert GatewayCall.objects.count() == 0
    assert set(PaymentAttempt.objects.values_list("state", flat=True)) == {"expired"}
    assert factories.stock_of(item) == (100, 0, 0)


def test_a_claim_that_waited_for_the_customers_other_charge_looks_at_the_clock_again(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    """The wait is for an index entry: the other claim's transaction is open, and is then taken back."""
    first, second = (factories.submit(factories.place_order(customer=customer, item=item)) for _ in range(2))
    factories.age_attempt(second.id, seconds_left=5)
    deadline = PaymentAttempt.objects.get(id=second.id).expires_at
    results: list[Any] = []
    with another_session() as holder, another_session() as observer:
        observer.autocommit = True
        holder.execute(
            "UPDATE payments_paymentattempt SET state = 'charging', version = version + 1, fence = 1, gateway_key = 'k'"
            " WHERE id = %s",
            [first.id],
        )
        charge = threading.Thread(
            target=lambda: results.extend(at_once([lambda: lifecycle.charge_attempt(attempt_id=second.id)]))
        )
        charge.start()
        wait_until(lambda: waiting_for_locks(observer) == 1, what="the claim waits for the index")
        assert clocks.database_now() < deadline
        wait_until(lambda: clocks.database_now() > deadline, what="the window has closed")
        holder.rollback()
        charge.join()
    assert results == [NotClaimed.EXPIRED]
    assert sandbox.ledger()["requests"] == []


def test_one_of_many_claims_wins(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    results = at_once([lambda: lifecycle.charge_attempt(attempt_id=attempt.id)] * 12)
    assert sorted(map(str, results)) == ["not_queued"] * 11 + ["succeeded"]
    assert sandbox.operations() == [("authorize", 1250), ("capture", 1250)]
    assert GatewayCall.objects.count() == 2


@pytest.mark.usefixtures("without_redis")
def test_one_of_many_submits_wins(customer: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    results = at_once(
        [lambda: lifecycle.submit_attempt(attempt_id=attempt.id, customer_id=customer.id, payment_token="tok_visa")]
        * 12
    )
    refusals = [result for result in results if isinstance(result, PaymentError)]
    assert len(refusals) == 11
    assert {refusal.code for refusal in refusals} == {"already_submitted"}
    assert HistoryEntry.objects.filter(attempt=attempt).count() == 2


def test_the_last_items_are_sold_exactly_once(customer: User) -> None:
    rare, other = factories.make_item("RARE", on_hand=5), factories.make_item("OTHER", on_hand=100)

    def take(*skus: str) -> Callable[[], Any]:
        return lambda: lifecycle.open_order(
            customer_id=customer.id,
            lines=[lifecycle.RequestedLine(sku, 1) for sku in skus],
            expected_total_minor=2500,
            currency="USD",
            method="card",
        )

    # Half of them name the items in the opposite order: a lock order that followed the request would deadlock.
    results = at_once([take("RARE", "OTHER"), take("OTHER", "RARE")] * 8)
    assert sum(isinstance(result, OutOfStock) for result in results) == 11
    assert Order.objects.count() == Reservation.objects.filter(item=rare).count() == 5
    assert factories.stock_of(rare) == (5, 5, 0)
    assert factories.stock_of(other) == (100, 5, 0)


def test_attempts_whose_windows_close_during_the_race_end_once_and_never_late(
    item: StockItem, sandbox: SandboxProcess
) -> None:
    attempts = [factories.submit(factories.place_order(customer=factories.make_user(), item=item)) for _ in range(24)]
    in_time = attempts[:4]  # Their windows stay open, so that something is paid on however slow a machine.
    for index, attempt in enumerate(attempts[4:]):
        factories.age_attempt(attempt.id, seconds_left=0.5 + index * 0.01)
    pause = threading.Event()

    def sweep_until_all_have_ended() -> None:
        while PaymentAttempt.objects.filter(state__in=["queued", "charging"]).exists():
            lifecycle.sweep_expired()
            pause.wait(0.02)

    def charge(attempt: PaymentAttempt, delay_seconds: float) -> Any:
        pause.wait(delay_seconds)
        return lifecycle.charge_attempt(attempt_id=attempt.id)

    acts: list[Callable[[], Any]] = [sweep_until_all_have_ended] * 2
    acts += [partial(charge, attempt, index * 0.04) for index, attempt in enumerate(attempts)]
    results = at_once(acts)
    assert [result for result in results if isinstance(result, Exception)] == []
    paid = set(PaymentAttempt.objects.filter(state="succeeded").values_list("id", flat=True))
    assert paid >= {attempt.id for attempt in in_time}
    assert {row["reference"] for row in sandbox.ledger()["requests"]} == {
        attempt.public_id for attempt in attempts if attempt.id in paid
    }
    for call in GatewayCall.objects.select_related("attempt").filter(operation="authorize"):
        assert call.started_at < call.attempt.expires_at
    assert PaymentAttempt.objects.filter(state="expired").count() == 24 - len(paid)
    assert factories.stock_of(item) == (100 - len(paid), 0, len(paid))


def test_sweeps_claims_and_submits_end_each_attempt_once(item: StockItem, sandbox: SandboxProcess) -> None:
    attempts = [factories.place_order(customer=factories.make_user(), item=item) for _ in range(12)]
    for index, attempt in enumerate(attempts):
        if index % 3:
            factories.submit(attempt)
        factories.age_attempt(attempt.id, seconds_left=-1 if index % 2 else 60)
    acts: list[Callable[[], Any]] = [lifecycle.sweep_expired for _ in range(4)]
    for index, attempt in enumerate(attempts):
        acts.append(
            (lambda a=attempt: lifecycle.charge_attempt(attempt_id=a.id))  # type: ignore[misc] # a binds the loop's value
            if index % 3
            else (lambda a=attempt: factories.submit(a))  # type: ignore[misc] # a binds the loop's value
        )
    results = at_once(acts)
    assert [
        result for result in results if isinstance(result, Exception) and not isinstance(result, PaymentError)
    ] == []
    lifecycle.sweep_expired()
    states = [PaymentAttempt.objects.get(id=attempt.id).state for attempt in attempts]
    assert states == ["queued", "expired", "succeeded", "expired", "succeeded", "expired"] * 2
    for attempt in attempts:
        endings = HistoryEntry.objects.filter(attempt=attempt, to_state__in=["expired", "succeeded"]).count()
        assert endings == (0 if attempt in {attempts[0], attempts[6]} else 1)
    assert sorted(sandbox.operations()) == [("authorize", 1250)] * 4 + [("capture", 1250)] * 4
    assert factories.stock_of(item) == (96, 2, 4)


def test_a_sweep_steps_over_a_locked_order_and_takes_it_the_next_time(customer: User, item: StockItem) -> None:
    held, free = (factories.place_order(customer=customer, item=item) for _ in range(2))
    for attempt in (held, free):
        factories.age_attempt(attempt.id, seconds_left=-1)
    with another_session() as holder:
        holder.execute("SELECT id FROM payments_order WHERE id = %s FOR UPDATE", [held.order_id])
        assert lifecycle.sweep_expired().expired_orders == 1
        holder.rollback()
    assert lifecycle.sweep_expired().expired_orders == 1
    assert set(PaymentAttempt.objects.values_list("state", flat=True)) == {"expired"}
