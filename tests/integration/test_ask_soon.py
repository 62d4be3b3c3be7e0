"""Somebody waits for a payment: the next question to the gateway is pulled forward, and never too often."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db.models import F

from payments import clocks, lifecycle
from payments.models import PaymentAttempt, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import operations_asked

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def nobody_works(broker_is_away: None) -> None:
    """The jobs go nowhere: each test asks by itself."""


@pytest.fixture
def attempt(customer: User, item: StockItem, sandbox: SandboxProcess) -> PaymentAttempt:
    """A payment that waits on the hosted page; its only call was made a while ago."""
    return doubts.confirming(customer=customer, item=item, hours_ago=0.01)


def ask_soon(attempt: PaymentAttempt) -> bool:
    return lifecycle.ask_soon(attempt_id=attempt.id)


def test_a_question_that_waits_is_due_at_once(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    sandbox.settle(attempt.gateway_reference, "pay")
    assert lifecycle.resolve_attempt(attempt_id=attempt.id) == "not_due"
    assert ask_soon(attempt)
    assert lifecycle.resolve_attempt(attempt_id=attempt.id) == "succeeded"


def test_who_waits_makes_later_questions_no_rarer(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    PaymentAttempt.objects.filter(id=attempt.id).update(questions=10)
    assert ask_soon(attempt)
    assert lifecycle.resolve_attempt(attempt_id=attempt.id) == "confirming"
    attempt.refresh_from_db()
    assert attempt.questions == 1
    assert attempt.due_at is not None
    assert attempt.due_at < clocks.database_now() + timedelta(minutes=1)


def test_a_doubt_is_asked_about_at_once(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_reset_after")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    doubts.age_calls(attempt, hours=0.01)
    assert ask_soon(attempt)
    assert lifecycle.resolve_attempt(attempt_id=attempt.id) == "succeeded"


def test_it_is_not_asked_again_within_the_first_wait(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    assert ask_soon(attempt)
    assert lifecycle.resolve_attempt(attempt_id=attempt.id) == "confirming"
    assert [ask_soon(attempt) for _ in range(20)] == [False] * 20
    assert lifecycle.resolve_attempt(attempt_id=attempt.id) == "not_due"
    assert operations_asked(sandbox) == ["authorize", "lookup"]
    doubts.age_calls(attempt, hours=0.01)
    assert ask_soon(attempt)


def test_many_who_wait_make_one_job(attempt: PaymentAttempt) -> None:
    assert [ask_soon(attempt) for _ in range(20)] == [True] + [False] * 19


def test_a_due_question_whose_job_is_lost_gets_another(attempt: PaymentAttempt) -> None:
    assert ask_soon(attempt)
    attempt.refresh_from_db()
    due_at = attempt.due_at
    PaymentAttempt.objects.filter(id=attempt.id).update(published_at=F("published_at") - HOUR)
    assert ask_soon(attempt)
    attempt.refresh_from_db()
    assert attempt.due_at == due_at


def test_the_lease_of_a_claim_is_never_touched(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    call = doubts.claim(attempt)
    doubts.age_calls(attempt, hours=0.01)  # Long ago, so that only the lease speaks against it.
    attempt.refresh_from_db()
    lease_until = attempt.due_at
    assert not ask_soon(attempt)
    attempt.refresh_from_db()
    assert (attempt.state, attempt.due_at, attempt.fence) == ("charging", lease_until, call.fence)


def test_the_lease_of_a_running_question_is_never_touched(attempt: PaymentAttempt) -> None:
    from payments.lifecycle.resolve import take_for_asking

    doubts.make_due(attempt)
    take_for_asking(attempt_id=attempt.id)
    doubts.age_calls(attempt, hours=0.01)
    attempt.refresh_from_db()
    lease_until = attempt.due_at
    assert not ask_soon(attempt)
    attempt.refresh_from_db()
    assert attempt.due_at == lease_until


def test_a_claim_whose_lease_has_lapsed_is_asked_about(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    doubts.claim(attempt)
    doubts.age_calls(attempt, hours=0.01)
    doubts.make_due(attempt)
    assert ask_soon(attempt)
    assert lifecycle.resolve_attempt(attempt_id=attempt.id) == "succeeded"  # Sent now, under the same key.


def test_a_due_time_from_a_clock_that_was_set_back_holds_nobody_up(attempt: PaymentAttempt) -> None:
    PaymentAttempt.objects.filter(id=attempt.id).update(due_at=clocks.database_now() + 48 * HOUR)
    assert ask_soon(attempt)


@pytest.mark.parametrize("token", ["", "tok_visa", "tok_declined"])
def test_nothing_is_asked_about_what_is_open_or_over(
    customer: User, item: StockItem, sandbox: SandboxProcess, token: str
) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    if token:
        factories.submit(attempt, token=token)
        assert lifecycle.charge_attempt(attempt_id=attempt.id) in {"succeeded", "failed"}
        doubts.age_calls(attempt, hours=0.01)
    before = PaymentAttempt.objects.values().get(id=attempt.id)
    assert not ask_soon(attempt)
    assert PaymentAttempt.objects.values().get(id=attempt.id) == before


def test_nothing_is_asked_about_an_attempt_that_does_not_exist(db: None) -> None:
    assert not lifecycle.ask_soon(attempt_id=uuid4())
