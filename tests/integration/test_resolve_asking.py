"""How long the resolver asks, who may ask, and what becomes of a claim whose worker fell silent."""

from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import config, dispatch, lifecycle
from payments.gateways import registry
from payments.lifecycle.calls import make_call
from payments.lifecycle.resolve import NotResolved, take_for_asking
from payments.models import GatewayCall, Order, PaymentAttempt, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import HELD, PAID, claim, close_window, operations_asked, resolve
from tests.factories import steps

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.submit(factories.place_order(customer=customer, item=item))


@pytest.fixture
def doubt(attempt: PaymentAttempt, sandbox: SandboxProcess) -> PaymentAttempt:
    """A charge that never happened and has no answer."""
    sandbox.behave("reset_before", operation="authorize", times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    return attempt


def waits_seconds(attempt: PaymentAttempt) -> float:
    """How long the attempt rests after the record of its latest call."""
    attempt.refresh_from_db()
    recorded_at = GatewayCall.objects.filter(attempt=attempt).order_by("-started_at", "-id")[0].finished_at
    assert attempt.due_at is not None
    assert recorded_at is not None
    return (attempt.due_at - recorded_at).total_seconds()


# Who may ask, and when.


def test_only_what_is_due_is_asked_about(doubt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    assert waits_seconds(doubt) == 5
    assert lifecycle.resolve_attempt(attempt_id=doubt.id) is NotResolved.NOT_DUE
    assert operations_asked(sandbox) == ["authorize"]


def test_a_job_delivered_twice_asks_once(doubt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    doubts.make_due(doubt)
    results = [lifecycle.resolve_attempt(attempt_id=doubt.id) for _ in range(3)]
    assert results == ["succeeded", NotResolved.NOT_OPEN, NotResolved.NOT_OPEN]
    assert operations_asked(sandbox) == ["authorize", "lookup", "authorize", "capture"]


def test_whoever_asks_has_the_attempt_for_a_lease(doubt: PaymentAttempt) -> None:
    doubts.make_due(doubt)
    assert not isinstance(take_for_asking(attempt_id=doubt.id), NotResolved)
    assert take_for_asking(attempt_id=doubt.id) is NotResolved.NOT_DUE
    doubt.refresh_from_db()
    assert doubt.due_at is not None
    left = doubt.due_at - GatewayCall.objects.latest("started_at").started_at
    assert left == timedelta(seconds=config.limits().lease_seconds)


def test_what_was_never_sent_or_has_ended_is_not_asked_about(
    customer: User, item: StockItem, attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    still_open = factories.place_order(customer=customer, item=item)
    for each in (still_open, attempt):
        assert resolve(each) is NotResolved.NOT_OPEN
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "succeeded"
    assert lifecycle.resolve_attempt(attempt_id=attempt.id) is NotResolved.NOT_OPEN
    assert lifecycle.resolve_attempt(attempt_id=uuid4()) is NotResolved.UNKNOWN
    assert operations_asked(sandbox) == ["authorize", "capture"]


def test_a_due_doubt_gets_one_job_and_another_only_when_that_one_is_lost(doubt: PaymentAttempt) -> None:
    assert lifecycle.publish_owed().jobs == []
    doubts.make_due(doubt)
    job = dispatch.resolve(attempt_id=doubt.id)
    assert lifecycle.publish_owed().jobs == [job]
    assert lifecycle.publish_owed().jobs == []
    PaymentAttempt.objects.filter(id=doubt.id).update(published_at=doubt.opened_at - timedelta(seconds=10))
    assert lifecycle.publish_owed().jobs == [job]


# A worker that fell silent.


@pytest.mark.parametrize("is_sent", [False, True])
def test_a_claim_whose_worker_was_lost_is_resolved_when_its_lease_is_over(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, is_sent: bool
) -> None:
    call = claim(attempt)
    if is_sent:
        make_call(call)  # And then the worker is killed.
    assert lifecycle.resolve_attempt(attempt_id=attempt.id) is NotResolved.NOT_DUE
    assert resolve(attempt) == "succeeded"
    assert [step[0] for step in steps(attempt)[2:]] == ["charging", "in_doubt", "succeeded"]
    assert steps(attempt)[3] == ("in_doubt", "resolver", "worker_lost")
    assert operations_asked(sandbox).count("authorize") == 1
    assert sandbox.operations() == PAID
    assert factories.stock_of(item) == (99, 0, 1)


def test_a_worker_lost_before_its_capture_leaves_what_is_held_to_the_resolver(
    attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    call = claim(attempt)
    recorded = lifecycle.record_outcome(call=call, outcome=make_call(call))
    assert recorded.following is not None
    assert (recorded.state, recorded.following.operation) == ("charging", "capture")
    attempt.refresh_from_db()
    assert sandbox.operations() == HELD
    assert resolve(attempt) == "succeeded"
    assert sandbox.operations() == PAID
    keys = [row["idempotency_key"] for row in doubts.asked(sandbox, "capture")]
    assert keys == [f"{attempt.public_id}:capture"]


def test_a_resolver_that_was_lost_is_followed_by_the_next(doubt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    for _ in range(2):
        doubts.make_due(doubt)
        assert not isinstance(take_for_asking(attempt_id=doubt.id), NotResolved)
    assert resolve(doubt) == "succeeded"
    assert sandbox.operations() == PAID


def test_a_charge_of_the_same_customer_does_not_wait_for_a_doubt(
    customer: User, item: StockItem, doubt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    second = factories.submit(factories.place_order(customer=customer, item=item))
    assert lifecycle.charge_attempt(attempt_id=second.id) == "succeeded"


# A gateway that is away.


def test_questions_without_answers_come_ever_more_rarely_up_to_an_hour(
    doubt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    close_window(doubt.id, seconds_ago=1)
    sandbox.behave("unavailable", operation="all")
    waits = []
    for _ in range(12):
        assert resolve(doubt) == "in_doubt"
        waits.append(waits_seconds(doubt))
    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    assert sandbox.operations() == []


def test_the_next_question_is_never_later_than_the_end_of_the_window(
    doubt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    sandbox.behave("unavailable", operation="all")
    factories.age_attempt(doubt.id, seconds_left=100)
    for _ in range(6):
        assert resolve(doubt) == "in_doubt"
    doubt.refresh_from_db()
    assert doubt.due_at == doubt.expires_at


def test_a_gateway_that_cannot_be_reached_is_asked_later(
    doubt: PaymentAttempt, sandbox: SandboxProcess, settings: Settings
) -> None:
    reachable = settings.PAYMENT_GATEWAYS
    settings.PAYMENT_GATEWAYS = {"sandbox": {"url": "http://127.0.0.1:9", "api_key": "x"}}
    registry.close_gateways()
    assert resolve(doubt) == "in_doubt"
    assert steps(doubt)[-1][0] == "in_doubt"  # Never sent, and yet not back in the queue.
    settings.PAYMENT_GATEWAYS = reachable
    registry.close_gateways()
    assert resolve(doubt) == "succeeded"
    assert sandbox.operations() == PAID


def test_after_a_day_of_asking_a_person_has_to_look(
    doubt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    close_window(doubt.id, seconds_ago=1)
    sandbox.behave("unavailable", operation="all")
    doubts.age_doubt(doubt, hours=23.9)
    assert resolve(doubt) == "in_doubt"
    doubts.age_doubt(doubt, hours=0.2)
    assert resolve(doubt) == "needs_review"
    assert steps(doubt)[-1] == ("needs_review", "resolver", "asking_is_exhausted")
    (alert,) = (event for event in captured_logs if event["event"] == "payment_needs_review")
    assert (alert["log_level"], alert["payment_id"]) == ("error", doubt.public_id)
    assert (doubt.due_at, doubt.doubt_code) == (None, "gateway_error")
    assert lifecycle.resolve_attempt(attempt_id=doubt.id) is NotResolved.NOT_OPEN
    assert lifecycle.sweep_expired().expired_orders == 0
    assert Order.objects.get().status == "under_paying"
    assert factories.stock_of(item) == (100, 1, 0)


def test_a_doubt_whose_questions_always_break_off_comes_to_a_person_too(
    doubt: PaymentAttempt, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    """Whoever takes it is killed, or its answer cannot be recorded: it does not go round for ever."""
    doubts.age_doubt(doubt, hours=25)
    for _ in range(3):
        doubts.make_due(doubt)
        assert not isinstance(take_for_asking(attempt_id=doubt.id), NotResolved)
    doubts.make_due(doubt)
    assert take_for_asking(attempt_id=doubt.id) is NotResolved.NOT_OPEN
    assert steps(doubt)[-1] == ("needs_review", "resolver", "asking_is_exhausted")
    assert [event["event"] for event in captured_logs].count("payment_needs_review") == 1


def test_after_a_long_outage_the_gateway_is_asked_before_anybody_gives_up(
    attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    claim(attempt)
    doubts.age_doubt(attempt, hours=25)
    close_window(attempt.id, seconds_ago=24 * 3600)
    assert resolve(attempt) == "expired"
    assert operations_asked(sandbox) == ["lookup", "cancel"]
