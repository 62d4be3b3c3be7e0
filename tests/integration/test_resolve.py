"""A call without an answer: the resolver alone finds out, and the gateway's ledger says what happened to the money."""

from collections.abc import MutableMapping
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import lifecycle
from payments.models import GatewayCall, Order, PaymentAttempt, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import HELD, LET_GO, PAID, asked, close_window, operations_asked, resolve
from tests.factories import steps

pytestmark = pytest.mark.django_db(transaction=True)

# What can become of one request, by whether the gateway did what it asked.
LOST_BEFORE = ("reset_before", "hang_before", "unavailable")
LOST_AFTER = ("reset_after", "hang_after", "error_after", "garbage", "slow_drip")


@pytest.fixture
def attempt(customer: User, item: StockItem, settings: Settings) -> PaymentAttempt:
    """A submitted payment of 12.50; calls of this test end after a second."""
    settings.PAYMENT_GATEWAY_TOTAL_SECONDS = 1
    return factories.submit(factories.place_order(customer=customer, item=item))


def doubt(attempt: PaymentAttempt, sandbox: SandboxProcess, fault: str, *, operation: str = "authorize") -> None:
    """Charge, and lose the answer to one request."""
    sandbox.behave(fault, operation=operation, times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    sandbox.wait_until_held(0)  # It notices that its client has left.


def end_of(attempt: PaymentAttempt) -> tuple[str, str, str]:
    """(attempt, order, order's payment) as they stand."""
    attempt.refresh_from_db()
    order = Order.objects.get(id=attempt.order_id)
    return attempt.state, order.status, order.payment_status


# The authorisation's answer is lost, and the window is open.


@pytest.mark.parametrize("fault", LOST_AFTER)
def test_what_is_held_without_an_answer_is_found_and_taken(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, fault: str
) -> None:
    doubt(attempt, sandbox, fault)
    assert resolve(attempt) == "succeeded"
    assert operations_asked(sandbox) == ["authorize", "lookup", "capture"]
    assert sandbox.operations() == PAID
    assert end_of(attempt) == ("succeeded", "paid", "paid")
    assert factories.stock_of(item) == (99, 0, 1)
    assert [call.operation for call in GatewayCall.objects.order_by("id")] == ["authorize", "look_up", "capture"]
    assert [step[:2] for step in steps(attempt)[-2:]] == [("in_doubt", "worker"), ("succeeded", "resolver")]


@pytest.mark.parametrize("fault", LOST_BEFORE)
def test_what_never_happened_is_repeated_as_the_very_same_request(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, fault: str
) -> None:
    doubt(attempt, sandbox, fault)
    assert resolve(attempt) == "succeeded"
    assert operations_asked(sandbox) == ["authorize", "lookup", "authorize", "capture"]
    first, again = asked(sandbox, "authorize")
    assert (first["executed"], again["executed"]) == (False, True)
    assert first["idempotency_key"] == again["idempotency_key"] == attempt.public_id
    assert first["body_hash"] == again["body_hash"]
    assert sandbox.operations() == PAID
    assert end_of(attempt) == ("succeeded", "paid", "paid")
    assert factories.stock_of(item) == (99, 0, 1)


def test_an_error_that_the_gateway_saved_is_repeated_until_the_window_closes_and_then_barred(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    """A replayed 500 proves nothing: only the cancelled key does."""
    doubt(attempt, sandbox, "error_before")
    for _ in range(2):
        assert resolve(attempt) == "in_doubt"
    close_window(attempt.id, seconds_ago=1)
    assert resolve(attempt) == "expired"
    assert operations_asked(sandbox) == ["authorize", *["lookup", "authorize"] * 2, "lookup", "cancel"]
    assert [row["ended"] for row in asked(sandbox, "authorize")] == ["answered", "replayed", "replayed"]
    assert sandbox.operations() == []
    assert end_of(attempt) == ("expired", "cancelled", "expired")
    assert factories.stock_of(item) == (100, 0, 0)


def test_keys_that_were_forgotten_do_not_make_a_second_charge(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    doubt(attempt, sandbox, "reset_after")
    assert sandbox.forget_keys() == 1
    assert resolve(attempt) == "succeeded"
    assert operations_asked(sandbox) == ["authorize", "lookup", "capture"]
    assert sandbox.operations() == PAID


def test_a_key_is_not_repeated_when_the_gateway_may_have_forgotten_it(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    doubt(attempt, sandbox, "reset_before")
    doubts.age_calls(attempt, hours=20)
    assert resolve(attempt) == "failed"
    assert operations_asked(sandbox) == ["authorize", "lookup", "cancel"]
    assert sandbox.operations() == []
    assert end_of(attempt) == ("failed", "under_paying", "failed")
    assert factories.stock_of(item) == (100, 1, 0)


# The window closed before anybody asked: nothing is repeated, it is only looked up or cancelled.


@pytest.mark.parametrize("fault", LOST_AFTER)
def test_what_was_held_in_time_is_taken_inside_the_grace_and_let_go_after_it(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, fault: str
) -> None:
    late = factories.submit(factories.place_order(customer=factories.make_user(), item=item))
    for each, seconds_ago, end in ((attempt, 1, "succeeded"), (late, 31, "expired")):
        doubt(each, sandbox, fault)
        close_window(each.id, seconds_ago=seconds_ago)
        assert resolve(each) == end
    doubts.give_everything_back()
    assert [row["operation"] for row in asked(sandbox, "authorize", "cancel")] == ["authorize"] * 2
    assert sandbox.operations(reference=attempt.public_id) == PAID
    assert sandbox.operations(reference=late.public_id) == LET_GO
    assert end_of(attempt) == ("succeeded", "paid", "paid")
    assert end_of(late) == ("expired", "cancelled", "expired")
    assert factories.stock_of(item) == (99, 0, 1)
    assert steps(attempt)[-1] == ("succeeded", "resolver", "captured_and_accepted_late")
    assert doubts.the_compensation(late).state == "done"


@pytest.mark.parametrize("fault", [*LOST_BEFORE, "error_before"])
def test_what_never_happened_is_barred_after_the_window(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, fault: str
) -> None:
    doubt(attempt, sandbox, fault)
    close_window(attempt.id, seconds_ago=0)
    assert resolve(attempt) == "expired"
    assert operations_asked(sandbox) == ["authorize", "lookup", "cancel"]
    assert sandbox.operations() == []
    assert end_of(attempt) == ("expired", "cancelled", "expired")
    assert factories.stock_of(item) == (100, 0, 0)
    key = attempt.public_id
    refused = sandbox.charge(key=key, reference=key, amount_minor=1250)
    assert refused.json()["error"]["code"] == "key_cancelled"  # Whatever still sleeps somewhere, comes too late.


def test_every_expired_payment_is_logged_with_its_order(
    attempt: PaymentAttempt, sandbox: SandboxProcess, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    doubt(attempt, sandbox, "reset_before")
    close_window(attempt.id, seconds_ago=1)
    assert resolve(attempt) == "expired"
    attempt.refresh_from_db()
    (line,) = (event for event in captured_logs if event["event"] == "payment_expired")
    assert (line["payment_id"], line["order_id"]) == (attempt.public_id, attempt.order.order_id)
    assert (line["expires_at"], line["actor"]) == (attempt.expires_at.isoformat(), "resolver")


# The capture's answer is lost.


@pytest.mark.parametrize("fault", LOST_AFTER)
def test_what_was_taken_without_an_answer_is_found(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, fault: str
) -> None:
    late = factories.submit(factories.place_order(customer=factories.make_user(), item=item))
    for each in (attempt, late):
        doubt(each, sandbox, fault, operation="capture")
        assert end_of(each) == ("in_doubt", "under_paying", "pending")
    close_window(late.id, seconds_ago=31)  # The grace is over; the late allowance is not.
    for each in (attempt, late):
        assert resolve(each) == "succeeded"
        assert sandbox.operations(reference=each.public_id) == PAID
        assert end_of(each) == ("succeeded", "paid", "paid")
    assert operations_asked(sandbox) == ["authorize", "capture"] * 2 + ["lookup"] * 2
    assert factories.stock_of(item) == (98, 0, 2)


@pytest.mark.parametrize("fault", [*LOST_BEFORE, "rate_limited"])
def test_what_was_not_taken_is_taken_once_inside_the_grace_and_let_go_after_it(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, fault: str
) -> None:
    late = factories.submit(factories.place_order(customer=factories.make_user(), item=item))
    for each, seconds_ago, end in ((attempt, 1, "succeeded"), (late, 31, "expired")):
        doubt(each, sandbox, fault, operation="capture")
        close_window(each.id, seconds_ago=seconds_ago)
        assert resolve(each) == end
    doubts.give_everything_back()
    first, again, refused = asked(sandbox, "capture")
    assert first["idempotency_key"] == again["idempotency_key"] == f"{attempt.public_id}:capture"
    assert first["body_hash"] == again["body_hash"]
    assert (again["executed"], refused["executed"]) == (True, False)
    assert sandbox.operations(reference=attempt.public_id) == PAID
    assert sandbox.operations(reference=late.public_id) == LET_GO
    assert end_of(late) == ("expired", "cancelled", "expired")
    assert factories.stock_of(item) == (99, 0, 1)


def test_a_capture_whose_error_the_gateway_saved_ends_with_the_grace(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    doubt(attempt, sandbox, "error_before", operation="capture")
    assert resolve(attempt) == "in_doubt"
    close_window(attempt.id, seconds_ago=31)
    assert resolve(attempt) == "expired"
    doubts.give_everything_back()
    assert sandbox.operations() == LET_GO
    assert factories.stock_of(item) == (100, 0, 0)


def test_a_declined_capture_fails_and_lets_go_of_what_is_held(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    sandbox.behave("insufficient_funds", operation="capture")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "failed"
    assert sandbox.operations() == HELD
    doubts.give_everything_back()
    assert sandbox.operations() == LET_GO
    assert end_of(attempt) == ("failed", "under_paying", "failed")
    assert attempt.failure_code == "insufficient_funds"
    assert factories.stock_of(item) == (100, 1, 0)


# The method charges in one call.


@pytest.mark.parametrize("fault", ["reset_after", "reset_before"])
def test_a_charge_in_one_call_is_resolved_too(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, settings: Settings, fault: str
) -> None:
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox", "authorizes_first": False}}
    doubt(attempt, sandbox, fault, operation="charge")
    assert resolve(attempt) == "succeeded"
    assert sandbox.operations() == [("charge", 1250)]
    assert [row["capture"] for row in sandbox.ledger()["charges"]] == [True]
    assert factories.stock_of(item) == (99, 0, 1)
