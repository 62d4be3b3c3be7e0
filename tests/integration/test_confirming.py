"""Payments that the gateway confirms later: paid, declined or forgotten on its hosted page."""

from collections.abc import MutableMapping
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import lifecycle
from payments.models import GatewayCall, Order, PaymentAttempt, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import LET_GO, PAID, close_window, operations_asked, resolve
from tests.factories import steps

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def attempt(customer: User, item: StockItem, sandbox: SandboxProcess) -> PaymentAttempt:
    """A payment that waits on the hosted page."""
    return doubts.confirming(customer=customer, item=item)


def rests_seconds(attempt: PaymentAttempt) -> float:
    attempt.refresh_from_db()
    recorded_at = GatewayCall.objects.filter(attempt=attempt).order_by("-started_at", "-id")[0].finished_at
    assert attempt.due_at is not None
    assert recorded_at is not None
    return (attempt.due_at - recorded_at).total_seconds()


def test_a_payment_on_the_hosted_page_pays_the_order(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    sandbox.settle(attempt.gateway_reference, "pay")
    assert resolve(attempt) == "succeeded"
    assert operations_asked(sandbox) == ["authorize", "lookup", "capture"]
    assert sandbox.operations() == PAID
    assert steps(attempt)[-2:] == [
        ("confirming", "worker", "gateway_confirms_later"),
        ("succeeded", "resolver", "captured"),
    ]
    assert factories.stock_of(item) == (99, 0, 1)


@pytest.mark.parametrize(("action", "code"), [("decline", "declined"), ("cancel", "confirmation_missing")])
def test_a_payment_declined_or_given_up_on_the_hosted_page_has_failed(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, action: str, code: str
) -> None:
    sandbox.settle(attempt.gateway_reference, action)
    assert resolve(attempt) == "failed"
    assert steps(attempt)[-1] == ("failed", "resolver", code)
    assert sandbox.operations() == []
    assert factories.stock_of(item) == (100, 1, 0)


def test_the_gateway_is_asked_after_a_minute_and_then_again_until_the_window_closes(
    attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    assert rests_seconds(attempt) == 60
    waits = []
    for _ in range(4):
        assert resolve(attempt) == "confirming"
        waits.append(rests_seconds(attempt))
    assert waits == [5, 10, 20, 40]
    factories.age_attempt(attempt.id, seconds_left=50)
    assert resolve(attempt) == "confirming"
    attempt.refresh_from_db()
    assert attempt.due_at == attempt.expires_at
    assert steps(attempt)[-1][0] == "confirming"


def test_a_short_window_is_waited_for_and_no_longer(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_pending")
    factories.age_attempt(attempt.id, seconds_left=30)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "confirming"
    attempt.refresh_from_db()
    assert attempt.due_at == attempt.expires_at


def test_a_payment_that_nobody_decides_is_let_go_when_the_window_closes(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    close_window(attempt.id, seconds_ago=0)
    assert resolve(attempt) == "expired"
    assert Order.objects.get().status == "cancelled"
    assert factories.stock_of(item) == (100, 0, 0)
    doubts.give_everything_back()
    row = doubts.the_compensation(attempt)
    assert (row.state, row.kind, row.reason) == ("done", "void", "too_late")
    assert [charge["status"] for charge in sandbox.ledger()["charges"]] == ["voided"]
    assert sandbox.operations() == []


def test_a_payment_made_in_time_is_taken_inside_the_grace_and_let_go_after_it(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    late = factories.submit(factories.place_order(customer=factories.make_user(), item=item), token="tok_hosted")
    lifecycle.charge_attempt(attempt_id=late.id)
    late.refresh_from_db()
    for each, seconds_ago, end in ((attempt, 29, "succeeded"), (late, 30, "expired")):
        sandbox.settle(each.gateway_reference, "pay")
        close_window(each.id, seconds_ago=seconds_ago)
        assert resolve(each) == end
    doubts.give_everything_back()
    assert sandbox.operations(reference=attempt.public_id) == PAID
    assert sandbox.operations(reference=late.public_id) == LET_GO
    assert factories.stock_of(item) == (99, 0, 1)


def test_a_customer_who_pays_after_the_end_gets_the_money_back(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    """The page was open when the window closed, and the void had not been made yet."""
    close_window(attempt.id, seconds_ago=1)
    assert resolve(attempt) == "expired"
    sandbox.settle(attempt.gateway_reference, "pay")
    doubts.give_everything_back()
    assert sandbox.operations() == LET_GO
    assert factories.stock_of(item) == (100, 0, 0)


def test_a_charge_in_one_call_that_is_paid_after_the_end_is_refunded(
    customer: User, item: StockItem, sandbox: SandboxProcess, settings: Settings
) -> None:
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox", "authorizes_first": False}}
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_hosted")
    lifecycle.charge_attempt(attempt_id=attempt.id)
    attempt.refresh_from_db()
    close_window(attempt.id, seconds_ago=1)
    assert resolve(attempt) == "expired"
    sandbox.settle(attempt.gateway_reference, "pay")
    doubts.give_everything_back()
    assert sandbox.operations() == [("charge", 1250), ("refund", 1250)]
    void, refund = attempt.compensations.order_by("created_at")
    assert doubts.compensation_steps(void)[-1] == ("done", "compensator", "captured_meanwhile")
    assert (refund.kind, refund.reason, refund.state) == ("refund", "captured_meanwhile", "done")


@pytest.mark.parametrize(
    ("seconds_ago", "end", "moved"),
    [
        (329, "succeeded", [("charge", 1250)]),
        (330, "expired", [("charge", 1250), ("refund", 1250)]),
    ],
)
def test_a_charge_in_one_call_is_accepted_until_the_late_allowance_is_over(
    customer: User,
    item: StockItem,
    sandbox: SandboxProcess,
    settings: Settings,
    seconds_ago: float,
    end: str,
    moved: list[tuple[str, int]],
) -> None:
    """Grace 30 s, late allowance 300 s: the customer paid in time, and nobody could tell us until now."""
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox", "authorizes_first": False}}
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_hosted")
    lifecycle.charge_attempt(attempt_id=attempt.id)
    attempt.refresh_from_db()
    sandbox.settle(attempt.gateway_reference, "pay")
    close_window(attempt.id, seconds_ago=seconds_ago)
    assert resolve(attempt) == end
    doubts.give_everything_back()
    assert sandbox.operations() == moved


def test_a_gateway_that_never_tells_brings_a_person_a_day_after_the_window(
    attempt: PaymentAttempt, sandbox: SandboxProcess, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    sandbox.behave("unavailable", operation="all")
    doubts.age_doubt(attempt, hours=30)  # Its window may be as long as a day: that is not yet asking.
    close_window(attempt.id, seconds_ago=23.9 * 3600)
    assert resolve(attempt) == "confirming"
    close_window(attempt.id, seconds_ago=24.1 * 3600)
    assert resolve(attempt) == "needs_review"
    assert [step[0] for step in steps(attempt)[-3:]] == ["confirming", "in_doubt", "needs_review"]
    assert attempt.doubt_code == "confirmation_missing"
    assert [event["event"] for event in captured_logs].count("payment_needs_review") == 1
    assert sandbox.operations() == []
