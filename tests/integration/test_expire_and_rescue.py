"""What the sweep ends, what it leaves alone, and how lost jobs are found again."""

import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import clocks, guard, lifecycle, locks
from payments.domain.clock import Ruling
from payments.lifecycle.calls import Call
from payments.lifecycle.expire import Ended, Over, expire_locked_orders
from payments.models import Order, PaymentAttempt, StockItem
from payments.transactions import transaction
from tests import factories
from tests.contract.sandbox_server import SandboxProcess
from tests.factories import steps

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_sweep_ends_what_is_due_and_nothing_else(
    customer: User, item: StockItem, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    due_open, due_queued, living = (factories.place_order(customer=customer, item=item, quantity=2) for _ in range(3))
    factories.submit(due_queued)
    for attempt in (due_open, due_queued):
        factories.age_attempt(attempt.id, seconds_left=-1)
    run = lifecycle.sweep_expired()
    assert (run.expired_orders, run.is_finished) == (2, True)
    assert steps(due_open)[-1] == steps(due_queued)[-1] == ("expired", "sweep", "window_closed")
    assert steps(living) == [("open", "customer", "opened")]
    states = {order.pk: (order.status, order.payment_status) for order in Order.objects.all()}
    assert states[due_open.order_id] == states[due_queued.order_id] == ("cancelled", "expired")
    assert states[living.order_id] == ("under_paying", "pending")
    assert factories.stock_of(item) == (100, 2, 0)
    lines = [event for event in captured_logs if event["event"] == "payment_expired"]
    assert {line["payment_id"] for line in lines} == {due_open.public_id, due_queued.public_id}
    assert all(json.dumps(line) and line["order_id"] and line["expires_at"] for line in lines)
    assert lifecycle.sweep_expired().expired_orders == 0


def test_an_order_whose_attempt_failed_ends_at_its_deadline(
    customer: User, item: StockItem, sandbox: SandboxProcess, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_declined")
    lifecycle.charge_attempt(attempt_id=attempt.id)
    assert lifecycle.sweep_expired().expired_orders == 0
    factories.age_attempt(attempt.id, seconds_left=-1)
    assert lifecycle.sweep_expired().expired_orders == 1
    order = Order.objects.get()
    assert (order.status, order.payment_status) == ("cancelled", "expired")
    assert factories.stock_of(item) == (100, 0, 0)
    assert steps(attempt)[-1] == ("failed", "worker", "declined")
    ended = [event for event in captured_logs if event["event"] in {"payment_expired", "order_expired"}]
    assert [(event["event"], event["order_id"]) for event in ended] == [("order_expired", order.order_id)]


def test_a_sweep_goes_on_batch_by_batch_until_its_cap(customer: User, item: StockItem, settings: Settings) -> None:
    settings.PAYMENT_SWEEP_BATCH_ROWS, settings.PAYMENT_SWEEP_BATCHES_PER_RUN = 2, 2
    for _ in range(5):
        factories.age_attempt(factories.place_order(customer=customer, item=item).id, seconds_left=-1)
    first, second = lifecycle.sweep_expired(), lifecycle.sweep_expired()
    assert (first.expired_orders, first.is_finished) == (4, False)
    assert (second.expired_orders, second.is_finished) == (1, True)
    assert factories.stock_of(item) == (100, 0, 0)


def test_a_paid_order_is_never_swept(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    lifecycle.charge_attempt(attempt_id=attempt.id)
    factories.age_attempt(attempt.id, seconds_left=-1)
    assert lifecycle.sweep_expired().expired_orders == 0
    assert factories.stock_of(item) == (99, 0, 1)


def end(attempt: PaymentAttempt) -> list[Ended]:
    """What the sweep does under the lock with a candidate that it read before it had the lock."""
    with transaction():
        order = locks.lock_order_of(attempt_id=attempt.id)
        assert order is not None
        reading = clocks.read()
        judgement = guard.judge(attempt, reading=reading)
        assert judgement.ruling is Ruling.EXPIRE
        over = Over(order.id, order.order_id, attempt.id, attempt.expires_at, judgement)
        return expire_locked_orders([over], now=reading.now, actor="test")


def test_what_moved_on_before_the_lock_was_granted_is_left_alone(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    """Claimed meanwhile, or failed and tried again: another attempt, or another state, holds the order's slot."""
    claimed = factories.submit(factories.place_order(customer=customer, item=item))
    assert isinstance(lifecycle.claim_attempt(attempt_id=claimed.id), Call)
    factories.age_attempt(claimed.id, seconds_left=-1)
    failed = factories.submit(factories.place_order(customer=factories.make_user(), item=item), token="tok_declined")
    lifecycle.charge_attempt(attempt_id=failed.id)
    again = lifecycle.retry_order(order_id=failed.order.order_id, customer_id=failed.customer_id).attempt
    factories.age_attempt(failed.id, seconds_left=-1)
    for moved_on in (claimed, failed):
        moved_on.refresh_from_db()
        assert end(moved_on) == []
    assert (steps(claimed)[-1][0], steps(failed)[-1][0], steps(again)[-1][0]) == ("charging", "failed", "open")
    assert set(Order.objects.values_list("status", flat=True)) == {"under_paying"}
    assert factories.stock_of(item) == (100, 2, 0)


# Rescue


def test_a_lost_job_is_published_again_once_it_is_overdue(customer: User, item: StockItem) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    assert lifecycle.publish_owed().published == 0
    PaymentAttempt.objects.filter(id=attempt.id).update(due_at=attempt.opened_at)
    assert lifecycle.publish_owed().published == 1
    assert lifecycle.publish_owed().published == 0
    assert steps(attempt)[-1] == ("queued", "customer", "submitted")
