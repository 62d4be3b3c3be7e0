"""The sweep at full strength: what stands in its way is set apart, told, and tried again; everything else ends."""

import threading
from collections.abc import Callable, Iterator, MutableMapping
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import DatabaseError, connection
from pytest_django import Settings

from payments import clocks, lifecycle
from payments.lifecycle.sweep import FAILURES_PER_RUN, FIRST_PAUSE_SECONDS, TRIES, Fate, Row
from payments.locks import SHORT_WAIT_MILLISECONDS
from payments.models import ExpiryFailure, Order, PaymentAttempt, StockItem
from tests import bulk, factories
from tests.factories import steps
from tests.overdue import due_order, heal, held, make_due_again, put_off
from tests.system import test_database_url

pytestmark = pytest.mark.django_db(transaction=True)


def test_one_poisoned_order_of_a_thousand_is_set_apart_and_the_others_end(
    customer: User, poisoned: str, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    """A trigger that raises stands for whatever may be wrong with one row."""
    item = factories.make_item("MANY", on_hand=1000)
    bad = factories.place_order(customer=customer, item=item, order_id=poisoned)
    factories.age_attempt(bad.id, seconds_left=-30)
    bulk.make_orders(
        999,
        prefix="GOOD",
        customers=[customer.pk],
        items=[item.pk],
        first_deadline_in=timedelta(minutes=-1),
        spread=timedelta(seconds=59),
    )
    bulk.count_stock()
    run = lifecycle.sweep_expired()
    assert (run.expired_orders, run.failed_orders, run.is_finished) == (999, 1, True)
    assert Order.objects.filter(status="cancelled", payment_status="expired").count() == 999
    assert steps(bad) == [("open", "customer", "opened")]
    assert factories.stock_of(item) == (1000, 1, 0)  # Of the one that could not end, nothing was half done.
    failure = ExpiryFailure.objects.get()
    assert (failure.order.order_id, failure.tries, failure.resolved_at) == (poisoned, 1, None)
    assert failure.reason == "order POISON-1 is poisoned"
    [line] = [event for event in captured_logs if event["event"] == "expiry_failed"]
    assert (line["log_level"], line["order_id"], line["reason"]) == ("error", poisoned, failure.reason)


def test_the_next_run_does_not_stall_on_what_failed(customer: User, item: StockItem, poisoned: str) -> None:
    due_order(customer, item, poisoned)
    assert lifecycle.sweep_expired().failed_orders == 1
    put_off()
    other = due_order(customer, item)
    run = lifecycle.sweep_expired()
    assert (run.expired_orders, run.failed_orders, run.batches) == (1, 0, 2)  # One batch of each source, no halves.
    assert steps(other)[-1] == ("expired", "sweep", "window_closed")
    assert ExpiryFailure.objects.get().tries == 1


def test_what_failed_is_tried_again_ever_more_seldom_and_ends_once_it_can(
    customer: User, item: StockItem, poisoned: str
) -> None:
    attempt = due_order(customer, item, poisoned)
    waits = []
    for tries in range(1, 5):
        assert lifecycle.sweep_expired().failed_orders == 1
        failure = ExpiryFailure.objects.get()
        assert failure.tries == tries
        waits.append((failure.due_at - failure.last_failed_at).total_seconds())
        put_off()
        assert lifecycle.sweep_expired().failed_orders == 0  # Not before it is due.
        make_due_again(failure)
    assert waits == [2, 4, 8, 16]
    heal()
    assert lifecycle.sweep_expired().expired_orders == 1
    assert ExpiryFailure.objects.get().resolved_at is not None
    assert steps(attempt)[-1] == ("expired", "sweep", "window_closed")
    assert factories.stock_of(item) == (100, 0, 0)


def test_a_clock_that_was_set_back_does_not_put_the_next_try_off(
    customer: User, item: StockItem, poisoned: str
) -> None:
    due_order(customer, item, poisoned)
    lifecycle.sweep_expired()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE payments_expiryfailure SET due_at = due_at + interval '1 day'")
    heal()
    assert lifecycle.sweep_expired().expired_orders == 1


def test_the_staff_are_told_once_of_each_order(
    customer: User, item: StockItem, poisoned: str, settings: Settings
) -> None:
    settings.ADMINS = [("", "ops@example.com")]
    due_order(customer, item, poisoned)
    lifecycle.sweep_expired()
    assert lifecycle.notify_staff() == 1
    [letter] = mail.outbox
    assert letter.to == ["ops@example.com"]
    assert "POISON-1" in letter.body
    assert "order POISON-1 is poisoned" in letter.body
    make_due_again(ExpiryFailure.objects.get())
    lifecycle.sweep_expired()
    assert lifecycle.notify_staff() == 0
    assert len(mail.outbox) == 1


def test_an_order_that_was_paid_meanwhile_is_told_to_nobody(
    customer: User, item: StockItem, poisoned: str, sandbox: object
) -> None:
    attempt = due_order(customer, item, poisoned)
    lifecycle.sweep_expired()
    factories.age_attempt(attempt.id, seconds_left=300)
    factories.submit(attempt)
    lifecycle.charge_attempt(attempt_id=attempt.id)
    assert lifecycle.notify_staff() == 0
    assert ExpiryFailure.objects.get().resolved_at is not None


def test_orders_that_somebody_holds_are_left_and_said_to_be(customer: User, item: StockItem) -> None:
    taken, free = due_order(customer, item), due_order(customer, item)
    with held("SELECT id FROM payments_order WHERE id = %s FOR UPDATE", taken.order_id):
        run = lifecycle.sweep_expired()
    assert (run.expired_orders, run.skipped_orders) == (1, 1)
    assert steps(free)[-1][0] == "expired"
    assert lifecycle.sweep_expired().expired_orders == 1


def test_a_stock_row_that_is_held_keeps_only_its_own_orders(
    customer: User, item: StockItem, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    """The session that holds it stands still for longer than the sweep tries."""
    other_item = factories.make_item("OTHER")
    stuck, free = due_order(customer, item), due_order(customer, other_item)
    rows: list[Any] = []
    with held("SELECT id FROM payments_stockitem WHERE id = %s FOR UPDATE", item.pk):
        run = lifecycle.sweep_expired(report=rows.append)
        assert (run.expired_orders, run.failed_orders, run.skipped_orders) == (1, 0, 1)
    assert [row.fate for row in rows] == [Fate.LEFT, Fate.EXPIRE]  # Told once each.
    assert [event["event"] for event in captured_logs].count("sweep_met_a_lock") == TRIES - 1
    assert steps(free)[-1][0] == "expired"
    assert lifecycle.sweep_expired().expired_orders == 1
    assert factories.stock_of(item) == factories.stock_of(other_item) == (100, 0, 0)
    assert steps(stuck)[-1][0] == "expired"


def test_a_lock_that_is_held_for_a_moment_costs_a_pause_and_no_failure(customer: User, item: StockItem) -> None:
    attempt = due_order(customer, item)
    # Longer than one try waits, and shorter than the second try and the pause before it.
    moment = SHORT_WAIT_MILLISECONDS / 1000 + FIRST_PAUSE_SECONDS
    with psycopg.connect(test_database_url()) as session:
        session.execute("SELECT id FROM payments_stockitem WHERE id = %s FOR UPDATE", [item.pk])
        release = threading.Timer(moment, session.rollback)
        release.start()
        run = lifecycle.sweep_expired()
        release.join()
    assert (run.expired_orders, run.failed_orders) == (1, 0)
    assert steps(attempt)[-1][0] == "expired"


@pytest.fixture
def sessions_that_end() -> Iterator[Callable[[], int]]:
    """Tell how many sessions of the database have ended orders."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE TABLE ended_by (pid int);
            CREATE FUNCTION note_session() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO ended_by VALUES (pg_backend_pid()); RETURN NULL; END $$;
            CREATE TRIGGER note_session AFTER UPDATE ON payments_order FOR EACH STATEMENT
            EXECUTE FUNCTION note_session()
            """
        )

    def count() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(DISTINCT pid) FROM ended_by")
            return int(cursor.fetchone()[0])

    yield count
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION note_session() CASCADE; DROP TABLE ended_by")


def test_a_backlog_is_ended_by_several_threads_each_order_once(
    customer: User, settings: Settings, sessions_that_end: Callable[[], int]
) -> None:
    settings.PAYMENT_SWEEP_BATCH_ROWS = 10
    items = [factories.make_item(f"ITEM-{number}", on_hand=1000) for number in range(3)]
    attempts = [factories.place_order(customer=customer, item=items[number % 3]) for number in range(200)]
    factories.age_attempt(*(attempt.id for attempt in attempts), seconds_left=-1)
    run = lifecycle.sweep_expired()
    assert (run.expired_orders, run.failed_orders, run.is_finished) == (200, 0, True)
    assert [factories.stock_of(item) for item in items] == [(1000, 0, 0)] * 3
    assert all(steps(attempt)[1:] == [("expired", "sweep", "window_closed")] for attempt in attempts)
    assert sessions_that_end() > 1


def test_what_fails_for_every_order_is_no_fault_of_the_orders(
    customer: User, item: StockItem, poisoned: str, settings: Settings
) -> None:
    """A hundred are set apart, and then the run ends with the error itself."""
    settings.PAYMENT_SWEEP_BATCH_ROWS = 50
    bulk.make_orders(
        160,
        prefix="POISON",
        customers=[customer.pk],
        items=[item.pk],
        first_deadline_in=timedelta(minutes=-1),
        spread=timedelta(seconds=30),
    )
    StockItem.objects.update(received=500, on_hand=500)
    bulk.count_stock()
    with pytest.raises(DatabaseError, match="is poisoned"):
        lifecycle.sweep_expired()
    assert FAILURES_PER_RUN <= ExpiryFailure.objects.count() < 160
    heal()
    ended = 0
    for _ in range(2):  # A hundred of those that failed in each run.
        ExpiryFailure.objects.update(due_at=clocks.database_now())
        ended += lifecycle.sweep_expired().expired_orders
    assert ended == 160


def test_a_statement_that_the_database_does_not_know_is_no_fault_of_the_orders(customer: User, item: StockItem) -> None:
    """As in a deployment whose migration is missing: nothing is set apart."""
    due_order(customer, item)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE payments_reservation RENAME COLUMN closed_at TO ended_at")
    try:
        with pytest.raises(DatabaseError, match="closed_at"):
            lifecycle.sweep_expired()
        assert ExpiryFailure.objects.count() == 0
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE payments_reservation RENAME COLUMN ended_at TO closed_at")
    assert lifecycle.sweep_expired().expired_orders == 1


def test_the_staff_are_told_of_an_order_that_fails_anew(
    customer: User, item: StockItem, poisoned: str, settings: Settings
) -> None:
    settings.ADMINS = [("", "ops@example.com")]
    due_order(customer, item, poisoned)
    lifecycle.sweep_expired()
    assert lifecycle.notify_staff() == 1
    ExpiryFailure.objects.update(resolved_at=clocks.database_now(), tries=7)
    assert lifecycle.sweep_expired().failed_orders == 1
    failure = ExpiryFailure.objects.get()
    assert (failure.tries, failure.notified_at, failure.resolved_at) == (1, None, None)
    assert lifecycle.notify_staff() == 1


def test_without_an_address_nobody_counts_as_told(customer: User, item: StockItem, poisoned: str) -> None:
    due_order(customer, item, poisoned)
    lifecycle.sweep_expired()
    assert lifecycle.notify_staff() == 0
    assert ExpiryFailure.objects.get().notified_at is None


def test_a_limit_takes_the_oldest_and_no_more(customer: User, item: StockItem) -> None:
    attempts = [factories.place_order(customer=customer, item=item) for _ in range(5)]
    for number, attempt in enumerate(attempts):
        factories.age_attempt(attempt.id, seconds_left=number - 10)
    run = lifecycle.sweep_expired(limit=2)
    assert (run.expired_orders, run.is_finished) == (2, True)
    assert [steps(attempt)[-1][0] for attempt in attempts] == ["expired", "expired", "open", "open", "open"]


def test_a_preview_names_what_the_run_then_does(customer: User, item: StockItem, poisoned: str) -> None:
    for number in range(4):
        attempt = factories.place_order(customer=customer, item=item, order_id=f"ORD-{number}")
        factories.age_attempt(attempt.id, seconds_left=number - 10)
    rows: list[Any] = []
    preview = list(lifecycle.preview_sweep(limit=3))
    assert PaymentAttempt.objects.filter(state="open").count() == 4
    lifecycle.sweep_expired(limit=3, report=rows.append)
    assert [row.candidate.order_number for row in preview] == ["ORD-0", "ORD-1", "ORD-2"]
    assert preview == rows
    assert {row.fate for row in rows} == {Fate.EXPIRE}


def test_a_run_says_how_late_it_was(
    customer: User, item: StockItem, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    late = factories.place_order(customer=customer, item=item)
    factories.age_attempt(late.id, seconds_left=-30)
    due_order(customer, item)
    run = lifecycle.sweep_expired()
    order = Order.objects.get(id=late.order_id)
    assert order.closed_at is not None
    assert run.lag_seconds == pytest.approx((order.closed_at - order.payment_expires_at).total_seconds(), abs=1e-6)
    [line] = [event for event in captured_logs if event["event"] == "sweep_finished"]
    assert (line["expired_orders"], line["skipped_orders"], line["failed_orders"]) == (2, 0, 0)
    assert line["lag_seconds"] == run.lag_seconds
    assert line["duration_seconds"] == run.duration_seconds


def test_a_listener_that_fails_is_no_fault_of_the_orders(customer: User, item: StockItem, poisoned: str) -> None:
    """Such as a terminal that was closed: what was committed stays, and nothing is written down against an order."""
    attempt = due_order(customer, item)

    def fail(row: Row) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        lifecycle.sweep_expired(report=fail)
    assert steps(attempt)[-1] == ("expired", "sweep", "window_closed")
    assert not ExpiryFailure.objects.exists()
    due_order(customer, item, poisoned)
    due_order(customer, item)
    with pytest.raises(BrokenPipeError):
        lifecycle.sweep_expired(report=fail)
    assert {failure.order.order_id for failure in ExpiryFailure.objects.all()} <= {poisoned}
