"""Many at once over doubts and money that goes back: one acts, the others find nothing to do, and no deadline slips."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import clocks, lifecycle
from payments.domain.compensations import CompensationState
from payments.domain.errors import RetryRefused
from payments.domain.states import AttemptState
from payments.lifecycle.charge import run_calls
from payments.lifecycle.compensate import NotTaken
from payments.lifecycle.resolve import NotResolved
from payments.models import Compensation, Order, PaymentAttempt, StockItem
from tests import doubts, factories
from tests.concurrency.test_locks import another_session, at_once, waiting_for_locks
from tests.contract.sandbox_server import SandboxProcess, wait_until
from tests.doubts import GIVEN_BACK, LET_GO, PAID, asked, claim, operations_asked

pytestmark = pytest.mark.django_db(transaction=True)


def submitted(item: StockItem, *, token: str = "tok_visa") -> PaymentAttempt:
    return factories.submit(factories.place_order(customer=factories.make_user(), item=item), token=token)


def test_one_of_many_resolvers_asks(item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = submitted(item)
    sandbox.behave("reset_before", operation="authorize", times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    doubts.make_due(attempt)
    results = at_once([lambda: lifecycle.resolve_attempt(attempt_id=attempt.id)] * 8)
    assert results.count(AttemptState.SUCCEEDED) == 1
    assert set(results) - {AttemptState.SUCCEEDED} <= {NotResolved.NOT_DUE, NotResolved.NOT_OPEN}
    assert operations_asked(sandbox) == ["authorize", "lookup", "authorize", "capture"]
    assert sandbox.operations() == PAID


def test_one_of_many_compensators_gives_back(item: StockItem, sandbox: SandboxProcess, staff: User) -> None:
    attempt = submitted(item)
    assert run_calls(claim(attempt)) == "succeeded"
    refund = partial(lifecycle.refund_payment, attempt_id=attempt.id, staff_id=staff.id, reason="returned")
    asked_for = at_once([refund] * 4)
    assert len({row.id for row in asked_for if isinstance(row, Compensation)}) == 1
    row = Compensation.objects.get()
    results = at_once([lambda: lifecycle.compensate(compensation_id=row.id)] * 8)
    assert results.count(CompensationState.DONE) == 1
    assert set(results) - {CompensationState.DONE} <= {NotTaken.NOT_DUE, NotTaken.NOT_OPEN}
    assert sandbox.operations() == GIVEN_BACK
    assert len(asked(sandbox, "refund")) == 1
    assert Order.objects.get().payment_status == "refunded"


def test_one_of_many_retries_opens_an_attempt(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_declined")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "failed"
    order = Order.objects.get()
    results = at_once([lambda: lifecycle.retry_order(order_id=order.order_id, customer_id=customer.id)] * 6)
    refusals = [result for result in results if isinstance(result, RetryRefused)]
    assert len(refusals) == 5
    assert {refused.facts["reason"] for refused in refusals} == {"payment_in_progress"}
    assert list(order.attempts.order_by("number").values_list("number", "state")) == [(1, "failed"), (2, "open")]
    assert factories.stock_of(item) == (100, 1, 0)


def test_old_claims_and_resolvers_at_once_take_the_money_once(item: StockItem, sandbox: SandboxProcess) -> None:
    """Every worker wakes up with its call unmade in the moment in which the resolver takes its attempt."""
    attempts = [submitted(item) for _ in range(6)]
    calls = [claim(attempt) for attempt in attempts]
    PaymentAttempt.objects.update(due_at=clocks.database_now())
    acts: list[Callable[[], Any]] = [partial(run_calls, doubts.call_of(attempt)) for attempt in attempts]
    acts += [partial(lifecycle.resolve_attempt, attempt_id=attempt.id) for attempt in attempts]
    results = at_once(acts)
    assert [result for result in results if isinstance(result, Exception)] == []
    for _ in range(3):  # A key in flight, a question too early: the next one finds out.
        for attempt in PaymentAttempt.objects.exclude(state="succeeded"):
            doubts.resolve(attempt)
    doubts.give_everything_back()
    assert [call.fence for call in calls] == [1] * 6
    for attempt in attempts:
        assert sandbox.operations(reference=attempt.public_id) == PAID
    assert set(Order.objects.values_list("payment_status", flat=True)) == {"paid"}
    assert Compensation.objects.count() == 0
    assert factories.stock_of(item) == (94, 0, 6)


@pytest.mark.parametrize(
    ("fault", "end", "asked_for", "moved"),
    [
        ("reset_before", "expired", ["authorize", "lookup", "cancel"], []),
        ("reset_after", "expired", ["authorize", "lookup"], LET_GO),
    ],
)
def test_a_call_that_is_late_when_it_is_written_down_is_not_made(
    item: StockItem,
    sandbox: SandboxProcess,
    settings: Settings,
    fault: str,
    end: str,
    asked_for: list[str],
    moved: list[tuple[str, int]],
) -> None:
    """The repeat, or the capture, waits for a lock until the window has closed: the clock is read once more."""
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox", "grace_seconds": 0}}
    attempt = submitted(item)
    sandbox.behave(fault, operation="authorize", times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    doubts.make_due(attempt)
    sandbox.behave("slow:1", operation="lookup")
    results: list[Any] = []
    with another_session() as holder, another_session() as observer:
        observer.autocommit = True
        factories.age_attempt(attempt.id, seconds_left=6)
        deadline = PaymentAttempt.objects.get(id=attempt.id).expires_at
        resolve = partial(lifecycle.resolve_attempt, attempt_id=attempt.id)
        resolver = threading.Thread(target=lambda: results.extend(at_once([resolve])))
        resolver.start()
        wait_until(lambda: bool(asked(sandbox, "lookup")), what="the gateway is asked")
        holder.execute("SELECT id FROM payments_paymentattempt WHERE id = %s FOR UPDATE", [attempt.id])
        wait_until(lambda: waiting_for_locks(observer) == 1, what="the record waits for the row")
        assert clocks.database_now() < deadline
        wait_until(lambda: clocks.database_now() > deadline, what="the window has closed")
        holder.rollback()
        resolver.join()
    assert results == [end]
    assert operations_asked(sandbox) == asked_for
    doubts.give_everything_back()
    assert sandbox.operations() == moved
    assert factories.stock_of(item) == (100, 0, 0)
