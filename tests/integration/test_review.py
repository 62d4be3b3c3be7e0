"""What a person decides when asking is exhausted: with a reason on record, and without losing anybody's money."""

from collections.abc import MutableMapping
from typing import Any, Literal
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from payments import clocks, lifecycle
from payments.domain.compensations import CompensationKind, CompensationReason, Owed
from payments.domain.errors import InvalidState, NotFound
from payments.domain.outcomes import Captured
from payments.lifecycle.charge import run_calls
from payments.lifecycle.compensate import NotTaken, _take
from payments.lifecycle.owe import owe
from payments.models import Compensation, HistoryEntry, Order, PaymentAttempt, StockItem
from payments.transactions import transaction
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import GIVEN_BACK, HELD, LET_GO, PAID, claim, close_window, give_back, resolve
from tests.factories import steps

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def submitted(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.submit(factories.place_order(customer=customer, item=item))


def under_review(attempt: PaymentAttempt, sandbox: SandboxProcess, *, lost: str = "authorize") -> PaymentAttempt:
    """Lose an answer, and let the gateway be away for a day."""
    sandbox.behave("reset_after", operation=lost, times=1)
    lifecycle.charge_attempt(attempt_id=attempt.id)
    close_window(attempt.id, seconds_ago=24 * 3600)
    doubts.age_doubt(attempt, hours=24)
    sandbox.behave("unavailable", operation="all")
    assert resolve(attempt) == "needs_review"
    sandbox.behave_normally()
    attempt.refresh_from_db()
    return attempt


def decide(
    attempt: PaymentAttempt, verdict: Literal["succeeded", "failed"], *, reference: str = "", staff: User
) -> str:
    return lifecycle.decide_review(
        attempt_id=attempt.id, verdict=verdict, reference=reference, staff_id=staff.id, reason="seen in the dashboard"
    )


def charge_of(sandbox: SandboxProcess) -> str:
    (charge,) = sandbox.ledger()["charges"]
    return str(charge["id"])


def test_a_person_who_found_the_money_pays_the_order(
    submitted: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, staff: User
) -> None:
    attempt = under_review(submitted, sandbox, lost="capture")
    assert decide(attempt, "succeeded", reference=charge_of(sandbox), staff=staff) == "succeeded"
    assert steps(attempt)[-1] == ("succeeded", "staff", "reviewed")
    entry = HistoryEntry.objects.filter(attempt=attempt).latest("number")
    assert entry.actor == f"staff:{staff.id}"
    assert entry.evidence == {
        "reason": "seen in the dashboard",
        "reference": charge_of(sandbox),
        "doubt": "gateway_error",
    }
    assert (Order.objects.get().status, attempt.gateway_reference) == ("paid", charge_of(sandbox))
    assert factories.stock_of(item) == (99, 0, 1)
    assert Compensation.objects.count() == 0
    assert sandbox.operations() == PAID


@pytest.mark.parametrize(("lost", "moved"), [("authorize", LET_GO), ("capture", GIVEN_BACK)])
def test_a_person_who_found_nothing_fails_it_and_nothing_remains_at_the_gateway(
    submitted: PaymentAttempt,
    item: StockItem,
    sandbox: SandboxProcess,
    staff: User,
    lost: str,
    moved: list[tuple[str, int]],
) -> None:
    """Even if the person was wrong: what is held is let go, what was taken goes back."""
    attempt = under_review(submitted, sandbox, lost=lost)
    assert decide(attempt, "failed", staff=staff) == "failed"
    assert attempt_code(attempt) == "gateway_error"
    doubts.give_everything_back()
    assert sandbox.operations() == moved
    assert set(Compensation.objects.values_list("state", flat=True)) == {"done"}
    assert lifecycle.sweep_expired().expired_orders == 1  # The order's time has long been over.
    assert Order.objects.get().payment_status == "expired"
    assert factories.stock_of(item) == (100, 0, 0)


def attempt_code(attempt: PaymentAttempt) -> str:
    attempt.refresh_from_db()
    return attempt.failure_code


@pytest.mark.breaks_invariants  # Nothing closes an order in doubt; the row is changed behind the lifecycle's back.
def test_a_success_that_the_order_cannot_use_is_given_back(
    submitted: PaymentAttempt, sandbox: SandboxProcess, staff: User
) -> None:
    attempt = under_review(submitted, sandbox, lost="capture")
    Order.objects.update(status="cancelled", payment_status="cancelled", closed_at=clocks.database_now())
    assert decide(attempt, "succeeded", reference=charge_of(sandbox), staff=staff) == "failed"
    assert attempt_code(attempt) == "given_back"
    row = doubts.the_compensation(attempt)
    assert (row.kind, row.reason) == ("refund", "order_closed")
    assert give_back(row) == "done"
    assert sandbox.operations() == GIVEN_BACK
    assert Order.objects.get().payment_status == "cancelled"


def test_a_charge_that_goes_back_cannot_pay_the_order(
    submitted: PaymentAttempt, sandbox: SandboxProcess, staff: User
) -> None:
    """Two charges were found under one payment: the second goes back while the first waits for its person."""
    attempt = under_review(submitted, sandbox)
    second = Owed(CompensationKind.REFUND, CompensationReason.SECOND_CHARGE, "ch_back")
    with transaction():
        owe(second, attempt=attempt, order=attempt.order, now=clocks.database_now(), actor="resolver")
    with pytest.raises(InvalidState, match="being given back"):
        decide(attempt, "succeeded", reference="ch_back", staff=staff)
    assert steps(attempt)[-1][0] == "needs_review"


def test_a_success_with_another_charge_lets_go_of_the_one_that_is_known(
    submitted: PaymentAttempt, sandbox: SandboxProcess, staff: User
) -> None:
    attempt = under_review(submitted, sandbox, lost="capture")
    PaymentAttempt.objects.filter(id=attempt.id).update(gateway_reference="ch_known")
    assert decide(attempt, "succeeded", reference="ch_other", staff=staff) == "succeeded"
    row = doubts.the_compensation(attempt)
    assert (row.kind, row.charge_reference) == ("void", "ch_known")


def test_money_that_comes_in_time_ends_a_review(
    submitted: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    """A worker slept, and wakes with the answer."""
    call = claim(submitted)
    doubts.age_doubt(submitted, hours=25)
    sandbox.behave("unavailable", operation="all")
    assert resolve(submitted) == "needs_review"
    assert lifecycle.record_outcome(call=call, outcome=Captured("ch_1")).state == "succeeded"
    assert factories.stock_of(item) == (99, 0, 1)


def test_late_money_leaves_the_review_open(submitted: PaymentAttempt, sandbox: SandboxProcess, staff: User) -> None:
    call = claim(submitted)
    doubts.age_doubt(submitted, hours=25)
    close_window(submitted.id, seconds_ago=24 * 3600)
    sandbox.behave("unavailable", operation="all")
    assert resolve(submitted) == "needs_review"
    assert lifecycle.record_outcome(call=call, outcome=Captured("ch_1")).state == "needs_review"
    assert Compensation.objects.count() == 0
    assert decide(submitted, "succeeded", reference="ch_1", staff=staff) == "succeeded"


def test_only_a_review_can_be_decided_and_a_success_needs_its_charge(
    submitted: PaymentAttempt, sandbox: SandboxProcess, staff: User
) -> None:
    with pytest.raises(InvalidState, match="queued, not under review"):
        decide(submitted, "failed", staff=staff)
    attempt = under_review(submitted, sandbox)
    with pytest.raises(InvalidState, match="reference"):
        decide(attempt, "succeeded", staff=staff)
    with pytest.raises(NotFound):
        lifecycle.decide_review(attempt_id=uuid4(), verdict="failed", staff_id=staff.id, reason="x")
    assert steps(attempt)[-1][0] == "needs_review"
    assert sandbox.operations() == HELD


# Compensations under review.


def exhausted(submitted: PaymentAttempt, sandbox: SandboxProcess, staff: User) -> Compensation:
    """A refund that the gateway has not made for a day."""
    assert run_calls(claim(submitted)) == "succeeded"
    row = lifecycle.refund_payment(attempt_id=submitted.id, staff_id=staff.id, reason="returned")
    sandbox.behave("unavailable", operation="all")
    assert give_back(row) == "in_doubt"
    doubts.age_compensation(row, hours=24)
    assert give_back(row) == "needs_review"
    sandbox.behave_normally()
    return row


def test_a_refund_that_cannot_be_made_for_a_day_comes_to_a_person(
    submitted: PaymentAttempt, sandbox: SandboxProcess, staff: User, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    row = exhausted(submitted, sandbox, staff)
    assert doubts.compensation_steps(row)[-1] == ("needs_review", "compensator", "asking_is_exhausted")
    (alert,) = (event for event in captured_logs if event["event"] == "compensation_needs_review")
    assert (alert["log_level"], alert["compensation_id"]) == ("error", row.public_id)
    assert lifecycle.compensate(compensation_id=row.id) is NotTaken.NOT_OPEN
    assert lifecycle.publish_owed().jobs == []
    assert Order.objects.get().payment_status == "paid"


def test_a_person_may_have_it_tried_again_for_another_day(
    submitted: PaymentAttempt, sandbox: SandboxProcess, staff: User
) -> None:
    row = exhausted(submitted, sandbox, staff)
    again = lifecycle.decide_compensation(
        compensation_id=row.id, verdict="again", staff_id=staff.id, reason="the gateway is back"
    )
    assert again == "owed"
    assert doubts.compensation_steps(row)[-1] == ("owed", "staff", "reviewed")
    sandbox.behave("reset_before", operation="refund", times=1)
    assert [give_back(row) for _ in range(2)] == ["in_doubt", "in_doubt"]  # What was just sent may still arrive.
    doubts.age_compensation(row, hours=3.5)
    assert give_back(row) == "done"
    assert sandbox.operations() == GIVEN_BACK
    assert Order.objects.get().payment_status == "refunded"


def test_a_person_who_gave_the_money_back_by_hand_ends_it(
    submitted: PaymentAttempt, sandbox: SandboxProcess, staff: User
) -> None:
    row = exhausted(submitted, sandbox, staff)
    done = lifecycle.decide_compensation(compensation_id=row.id, verdict="done", staff_id=staff.id, reason="by hand")
    assert done == "done"
    assert doubts.compensation_steps(row)[-1] == ("done", "staff", "reviewed")
    assert row.history.latest("number").evidence == {"reason": "by hand"}
    assert Order.objects.get().payment_status == "refunded"
    for compensation_id, error in ((row.id, InvalidState), (uuid4(), NotFound)):
        with pytest.raises(error):
            lifecycle.decide_compensation(
                compensation_id=compensation_id, verdict="again", staff_id=staff.id, reason="x"
            )


def test_a_compensation_whose_calls_always_break_off_comes_to_a_person_too(
    submitted: PaymentAttempt, sandbox: SandboxProcess, staff: User
) -> None:
    assert run_calls(claim(submitted)) == "succeeded"
    row = lifecycle.refund_payment(attempt_id=submitted.id, staff_id=staff.id, reason="returned")
    doubts.age_compensation(row, hours=25)
    for _ in range(3):
        Compensation.objects.filter(id=row.id).update(due_at=row.created_at)
        assert not isinstance(_take(compensation_id=row.id), NotTaken)
    assert give_back(row) is NotTaken.NOT_OPEN
    assert doubts.compensation_steps(row)[-1][0] == "needs_review"
