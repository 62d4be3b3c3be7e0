"""Money that comes late, twice, or for an order that cannot use it: accepted by policy, or given back, all of it."""

from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import clocks, lifecycle
from payments.domain.failures import FailureCode
from payments.domain.outcomes import Authorized, Captured, NeverSent, Undoing, Undone
from payments.lifecycle.calls import make_call
from payments.lifecycle.charge import run_calls
from payments.models import Announcement, Compensation, Order, PaymentAttempt, Reservation, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import GIVEN_BACK, HELD, LET_GO, PAID, claim, close_window, resolve
from tests.factories import steps

pytestmark = pytest.mark.django_db(transaction=True)

STRICT = {"card": {"gateway": "sandbox", "grace_seconds": 0, "late_allowance_seconds": 0}}
IN_ONE_CALL = {"card": {"gateway": "sandbox", "authorizes_first": False}}


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.submit(factories.place_order(customer=customer, item=item))


def answered_late(attempt: PaymentAttempt, *, seconds_ago: float) -> str:
    """Charge, and let the window close while the answer to the first call is on its way."""
    call = claim(attempt)
    outcome = make_call(call)
    close_window(attempt.id, seconds_ago=seconds_ago)
    recorded = lifecycle.record_outcome(call=call, outcome=outcome)
    return recorded.state if recorded.following is None else run_calls(recorded.following)


def compensations(attempt: PaymentAttempt) -> list[tuple[str, str, str]]:
    return list(attempt.compensations.order_by("created_at", "id").values_list("kind", "reason", "state"))


# Held in time, and answered late.


def test_an_answer_after_the_window_and_inside_the_grace_is_taken(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    assert answered_late(attempt, seconds_ago=29) == "succeeded"
    assert sandbox.operations() == PAID
    assert factories.stock_of(item) == (99, 0, 1)


def test_an_answer_after_the_grace_is_let_go(attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess) -> None:
    assert answered_late(attempt, seconds_ago=30) == "expired"
    assert compensations(attempt) == [("void", "too_late", "owed")]
    assert sandbox.operations() == HELD
    doubts.give_everything_back()
    assert sandbox.operations() == LET_GO
    assert Order.objects.get().payment_status == "expired"
    assert factories.stock_of(item) == (100, 0, 0)


def test_a_strict_method_takes_nothing_after_its_window(
    customer: User, item: StockItem, sandbox: SandboxProcess, settings: Settings
) -> None:
    settings.PAYMENT_METHODS = STRICT
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    assert answered_late(attempt, seconds_ago=0) == "expired"
    doubts.give_everything_back()
    assert sandbox.operations() == LET_GO
    assert factories.stock_of(item) == (100, 0, 0)


# Taken, and seen late.


@pytest.mark.parametrize(("seconds_ago", "state"), [(329, "succeeded"), (330, "expired")])
def test_money_that_was_taken_is_accepted_until_the_late_allowance_is_over(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, seconds_ago: float, state: str
) -> None:
    sandbox.behave("reset_after", operation="capture", times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    close_window(attempt.id, seconds_ago=seconds_ago)
    assert resolve(attempt) == state
    doubts.give_everything_back()
    order = Order.objects.get()
    if state == "succeeded":
        assert (order.status, sandbox.operations()) == ("paid", PAID)
        assert factories.stock_of(item) == (99, 0, 1)
        assert compensations(attempt) == []
    else:
        assert (order.status, sandbox.operations()) == ("cancelled", GIVEN_BACK)
        assert factories.stock_of(item) == (100, 0, 0)
        assert compensations(attempt) == [("refund", "too_late", "done")]


@pytest.mark.parametrize(
    ("operation", "fault", "given_back", "sentence"),
    [
        ("capture", "reset_after", ("refund", "too_late"), "The money goes back to you by itself."),
        ("authorize", "reset_after", ("void", "too_late"), "you will not be charged."),
        ("authorize", "reset_before", None, "You have not been charged; please start again from the cart."),
    ],
)
def test_the_host_hears_with_the_end_what_becomes_of_money_that_came_too_late(
    attempt: PaymentAttempt,
    sandbox: SandboxProcess,
    operation: str,
    fault: str,
    given_back: tuple[str, str] | None,
    sentence: str,
) -> None:
    sandbox.behave(fault, operation=operation, times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    close_window(attempt.id, seconds_ago=330)
    assert resolve(attempt) == "expired"
    (announced,) = Announcement.objects.filter(kind="payment_expired")
    payload = announced.payload
    assert (payload["payment_id"], payload["state"]) == (attempt.public_id, "expired")
    assert payload["message"].endswith(sentence)
    if given_back is None:
        assert payload["given_back"] is None
    else:
        kind, reason = given_back
        assert payload["given_back"] == {"kind": kind, "amount_minor": attempt.amount_minor, "reason": reason}


@pytest.mark.breaks_invariants  # Nothing closes an order in doubt; the row is changed behind the lifecycle's back.
@pytest.mark.parametrize("is_window_open", [True, False])
@pytest.mark.parametrize(("fault", "moved"), [("authorize", LET_GO), ("capture", GIVEN_BACK)])
def test_money_for_an_order_that_was_closed_meanwhile_goes_back(
    attempt: PaymentAttempt,
    item: StockItem,
    sandbox: SandboxProcess,
    fault: str,
    moved: list[tuple[str, int]],
    is_window_open: bool,
) -> None:
    sandbox.behave("reset_after", operation=fault, times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    if not is_window_open:
        close_window(attempt.id, seconds_ago=1)
    now = clocks.database_now()
    Order.objects.update(status="cancelled", payment_status="cancelled", closed_at=now)
    assert resolve(attempt) == ("failed" if is_window_open else "expired")
    doubts.give_everything_back()
    assert sandbox.operations() == moved
    assert [row[1:] for row in compensations(attempt)] == [("order_closed", "done")]
    assert Order.objects.get().payment_status == "cancelled"


def test_money_for_stock_that_was_given_away_goes_back(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    sandbox.behave("reset_after", operation="capture", times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    close_window(attempt.id, seconds_ago=1)
    Reservation.objects.update(state="released", closed_at=clocks.database_now())
    StockItem.objects.update(reserved=0)
    assert resolve(attempt) == "expired"
    doubts.give_everything_back()
    assert sandbox.operations() == GIVEN_BACK
    assert compensations(attempt) == [("refund", "stock_gone", "done")]
    assert factories.stock_of(item) == (100, 0, 0)


# Twice.


def charged_again(attempt: PaymentAttempt, sandbox: SandboxProcess, *, capture: bool) -> None:
    """The gateway forgets its keys, and the same request reaches it once more."""
    sandbox.forget_keys()
    body = {"reference": attempt.public_id, "amount_minor": 1250, "currency": "USD", "payment_token": "tok_visa"}
    answer = sandbox.post("charges", {**body, "capture": capture}, key=attempt.public_id)
    assert answer.status_code == 201


def test_of_two_holds_under_one_payment_one_is_taken_and_the_other_let_go(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    sandbox.behave("reset_after", operation="authorize", times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    charged_again(attempt, sandbox, capture=False)
    assert resolve(attempt) == "succeeded"
    doubts.give_everything_back()
    assert sandbox.operations() == [*HELD, *HELD, ("capture", 1250), ("void", 1250)]
    assert sorted(charge["status"] for charge in sandbox.ledger()["charges"]) == ["captured", "voided"]
    assert compensations(attempt) == [("void", "second_charge", "done")]
    assert factories.stock_of(item) == (99, 0, 1)


@pytest.mark.parametrize(("seconds_ago", "stand"), [(-60, 1), (400, 0)])
def test_of_two_charges_under_one_payment_at_most_one_stands(
    attempt: PaymentAttempt,
    item: StockItem,
    sandbox: SandboxProcess,
    settings: Settings,
    seconds_ago: float,
    stand: int,
) -> None:
    settings.PAYMENT_METHODS = IN_ONE_CALL
    sandbox.behave("reset_after", operation="charge", times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    charged_again(attempt, sandbox, capture=True)
    close_window(attempt.id, seconds_ago=seconds_ago)
    assert resolve(attempt) == ("succeeded" if stand else "expired")
    doubts.give_everything_back()
    assert sandbox.operations() == [("charge", 1250)] * 2 + [("refund", 1250)] * (2 - stand)
    assert Compensation.objects.filter(kind="refund", state="done").count() == 2 - stand
    assert factories.stock_of(item) == (100 - stand, 0, stand)


def test_a_success_of_an_earlier_attempt_is_given_back_when_the_order_was_paid_by_a_later_one(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    first = factories.submit(factories.place_order(customer=customer, item=item), token="tok_declined")
    call = claim(first)
    assert lifecycle.record_outcome(call=call, outcome=make_call(call)).state == "failed"
    second = lifecycle.retry_order(order_id=first.order.order_id, customer_id=customer.id).attempt
    factories.submit(second)
    assert lifecycle.charge_attempt(attempt_id=second.id) == "succeeded"
    assert lifecycle.record_outcome(call=call, outcome=Captured("ch_strange")).state == "failed"
    assert compensations(first) == [("refund", "second_success", "owed")]
    assert Order.objects.get().payment_status == "paid"
    assert factories.stock_of(item) == (99, 0, 1)


# Answers that contradict what was believed.


@pytest.mark.parametrize("is_claimed", [True, False])
def test_money_that_was_taken_although_nothing_was_sent_pays_the_order(
    attempt: PaymentAttempt, item: StockItem, captured_logs: list[MutableMapping[str, Any]], is_claimed: bool
) -> None:
    call = claim(attempt)
    assert lifecycle.record_outcome(call=call, outcome=NeverSent(FailureCode.RATE_LIMITED, "")).state == "queued"
    if not is_claimed:
        attempt = factories.submit(factories.place_order(customer=factories.make_user(), item=item))
        call = replace(call, attempt_id=attempt.id)
    assert lifecycle.record_outcome(call=call, outcome=Captured("ch_1")).state == "succeeded"
    assert [step[0] for step in steps(attempt)[-3:]] == ["queued", "charging", "succeeded"]
    assert [event["event"] for event in captured_logs].count("captured_although_never_sent") == 1
    assert Order.objects.get(id=attempt.order_id).status == "paid"


def test_a_payment_that_our_own_cancel_refunded_is_no_longer_paid(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    """Nothing was found, the key is being cancelled, and the money is seen elsewhere before the cancel arrives."""
    call = claim(attempt)
    assert run_calls(call) == "succeeded"
    attempt.refresh_from_db()
    refunded = Undone(Undoing.REFUNDED, attempt.gateway_reference)
    for _ in range(2):
        assert lifecycle.record_outcome(call=call, outcome=refunded).state == "succeeded"
    assert compensations(attempt) == [("refund", "too_late", "done")]
    assert Order.objects.get(id=attempt.order_id).payment_status == "refunded"
    assert "paid_charge_was_given_back" in [event["event"] for event in captured_logs]
    assert lifecycle.record_outcome(call=call, outcome=Authorized(attempt.gateway_reference)).state == "succeeded"
    assert Compensation.objects.count() == 1
