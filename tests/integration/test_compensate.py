"""Voids and refunds: each is made once, whatever becomes of its calls, and the ledger says so."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pgtrigger
import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import clocks, lifecycle
from payments.gateways import registry
from payments.lifecycle.calls import Call, make_call
from payments.lifecycle.compensate import NotTaken, _record, _take
from payments.models import Compensation, GatewayCall, PaymentAttempt, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import GIVEN_BACK, HELD, LET_GO, PAID, asked, claim, close_window, give_back, operations_asked

pytestmark = pytest.mark.django_db(transaction=True)

LOST_BEFORE = ("reset_before", "hang_before", "unavailable")
LOST_AFTER = ("reset_after", "hang_after", "error_after", "garbage", "slow_drip")


# How an attempt comes to owe each, what had moved before, and what has moved when it is done.
class Road(NamedTuple):
    kind: str
    before: list[tuple[str, int]]
    after: list[tuple[str, int]]


ROADS = (Road("void", HELD, LET_GO), Road("refund", PAID, GIVEN_BACK))


@pytest.fixture(params=ROADS, ids=[road.kind for road in ROADS])
def road(request: pytest.FixtureRequest) -> Road:
    """Each of both, one after the other."""
    found: Road = request.param
    return found


@pytest.fixture
def attempt(customer: User, item: StockItem, settings: Settings) -> PaymentAttempt:
    settings.PAYMENT_GATEWAY_TOTAL_SECONDS = 1
    return factories.submit(factories.place_order(customer=customer, item=item))


def owed_row(attempt: PaymentAttempt, kind: str) -> Compensation:
    """Let the window close on what is held, or on what was taken: it is owed back."""
    call = claim(attempt)
    outcome = make_call(call)
    if kind == "refund":
        following = lifecycle.record_outcome(call=call, outcome=outcome).following
        assert following is not None
        call, outcome = following, make_call(following)
    close_window(attempt.id, seconds_ago=330)
    assert lifecycle.record_outcome(call=call, outcome=outcome).state == "expired"
    row = doubts.the_compensation(attempt)
    assert (row.kind, row.state) == (kind, "owed")
    return row


def taken(row: Compensation) -> Call:
    Compensation.objects.filter(id=row.id).update(due_at=row.created_at)
    call = _take(compensation_id=row.id)
    assert isinstance(call, Call)
    return call


def test_what_is_owed_is_given_back_once_under_a_key_of_its_own(
    attempt: PaymentAttempt,
    item: StockItem,
    sandbox: SandboxProcess,
    road: Road,
) -> None:
    row = owed_row(attempt, road.kind)
    assert sandbox.operations() == road.before
    results = [lifecycle.compensate(compensation_id=row.id) for _ in range(3)]
    assert results == ["done", NotTaken.NOT_OPEN, NotTaken.NOT_OPEN]
    assert sandbox.operations() == road.after
    (request,) = asked(sandbox, road.kind)
    assert request["idempotency_key"] == row.public_id
    assert doubts.compensation_steps(row) == [
        ("owed", "worker", "too_late"),
        ("calling", "compensator", "called"),
        ("done", "compensator", f"{road.kind}ed" if road.kind == "refund" else "voided"),
    ]
    call = GatewayCall.objects.get(compensation=row)
    assert (call.operation, call.idempotency_key, len(call.request_hash)) == (road.kind, row.public_id, 64)
    assert row.closed_at is not None
    assert factories.stock_of(item) == (100, 0, 0)


@pytest.mark.parametrize("fault", LOST_AFTER)
def test_one_that_was_made_without_an_answer_is_found_and_not_made_again(
    attempt: PaymentAttempt,
    sandbox: SandboxProcess,
    fault: str,
    road: Road,
) -> None:
    row = owed_row(attempt, road.kind)
    assert sandbox.operations() == road.before
    sandbox.behave(fault, operation=road.kind, times=1)
    assert give_back(row) == "in_doubt"
    sandbox.wait_until_held(0)  # It notices that its client has left.
    assert give_back(row) == "done"
    assert sandbox.operations() == road.after
    assert operations_asked(sandbox)[-2:] == [road.kind, "lookup"]
    assert len(asked(sandbox, road.kind)) == 1


@pytest.mark.parametrize("fault", LOST_BEFORE)
def test_one_that_was_not_made_is_asked_about_and_made_under_the_same_key(
    attempt: PaymentAttempt,
    sandbox: SandboxProcess,
    fault: str,
    road: Road,
) -> None:
    row = owed_row(attempt, road.kind)
    sandbox.behave(fault, operation=road.kind, times=1)
    assert give_back(row) == "in_doubt"
    sandbox.wait_until_held(0)  # It notices that its client has left.
    assert sandbox.operations() == road.before
    assert give_back(row) == "done"
    assert operations_asked(sandbox)[-3:] == [road.kind, "lookup", road.kind]
    first, again = asked(sandbox, road.kind)
    assert first["idempotency_key"] == again["idempotency_key"] == row.public_id
    assert first["body_hash"] == again["body_hash"]
    assert sandbox.operations() == road.after


def test_one_that_the_gateway_was_too_busy_for_is_owed_as_before(
    attempt: PaymentAttempt,
    sandbox: SandboxProcess,
    road: Road,
) -> None:
    row = owed_row(attempt, road.kind)
    sandbox.behave("rate_limited", operation=road.kind, times=2)
    assert [give_back(row) for _ in range(3)] == ["owed", "owed", "done"]
    assert sandbox.operations() == road.after
    assert "lookup" not in operations_asked(sandbox)


def test_an_error_that_the_gateway_saved_is_repeated_until_it_has_forgotten_the_key(
    attempt: PaymentAttempt,
    sandbox: SandboxProcess,
    road: Road,
) -> None:
    """Between the time that the key may be forgotten and the end of what may still be on its way, nothing is sent."""
    row = owed_row(attempt, road.kind)
    sandbox.behave("error_before", operation=road.kind, times=1)
    assert [give_back(row) for _ in range(2)] == ["in_doubt", "in_doubt"]
    assert sandbox.operations() == road.before
    doubts.age_compensation(row, hours=20.1)
    freshen_latest_call(row)
    calls = len(asked(sandbox, road.kind))
    assert give_back(row) == "in_doubt"
    assert len(asked(sandbox, road.kind)) == calls
    doubts.age_compensation(row, hours=3.5)
    sandbox.forget_keys()
    assert give_back(row) == "done"
    assert sandbox.operations() == road.after


def freshen_latest_call(row: Compensation) -> None:
    """Let the latest call of its own be one that may still be on its way."""
    latest = row.gateway_calls.filter(operation=row.kind).latest("started_at")
    with pgtrigger.ignore("payments.GatewayCall:gateway_call_facts"):
        GatewayCall.objects.filter(id=latest.id).update(started_at=clocks.database_now())


def test_a_decline_is_looked_into_and_never_counts_as_done(
    attempt: PaymentAttempt,
    sandbox: SandboxProcess,
    road: Road,
) -> None:
    row = owed_row(attempt, road.kind)
    sandbox.behave("declined", operation=road.kind)
    assert [give_back(row) for _ in range(3)] == ["in_doubt"] * 3
    assert sandbox.operations() == road.before
    assert doubts.compensation_steps(row)[2][2] == "declined"


# A void that comes too late.


def test_a_void_that_finds_the_charge_captured_becomes_a_refund(
    attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    row = owed_row(attempt, "void")
    captured = sandbox.post(f"charges/{row.charge_reference}/capture", {"amount_minor": 1250}, key="somebody-else")
    assert captured.status_code == 200
    assert [give_back(row) for _ in range(2)] == ["in_doubt", "done"]
    assert doubts.compensation_steps(row)[-1] == ("done", "compensator", "captured_meanwhile")
    refund = Compensation.objects.get(kind="refund")
    assert (refund.reason, refund.charge_reference) == ("captured_meanwhile", row.charge_reference)
    assert refund.history.get(number=1).evidence["after"] == row.public_id
    assert give_back(refund) == "done"
    assert sandbox.operations() == GIVEN_BACK


# A compensator that fell silent.


@pytest.mark.parametrize("is_made", [False, True])
def test_one_whose_worker_was_lost_is_asked_about_when_its_lease_is_over(
    attempt: PaymentAttempt,
    sandbox: SandboxProcess,
    road: Road,
    is_made: bool,
) -> None:
    row = owed_row(attempt, road.kind)
    call = taken(row)
    if is_made:
        make_call(call)  # And then the worker is killed.
    assert lifecycle.compensate(compensation_id=row.id) is NotTaken.NOT_DUE
    assert give_back(row) == "done"
    assert doubts.compensation_steps(row)[2] == ("in_doubt", "compensator", "worker_lost")
    assert len(asked(sandbox, road.kind)) == 1
    assert sandbox.operations() == road.after


def test_a_compensator_that_wakes_up_late_gives_nothing_back_twice(
    attempt: PaymentAttempt,
    sandbox: SandboxProcess,
    road: Road,
) -> None:
    row = owed_row(attempt, road.kind)
    call = taken(row)
    assert give_back(row) == "done"
    now = clocks.boottime_seconds()
    woken = replace(call, checked_at_boottime=now, ends_at_boottime=now + 30)
    assert _record(call, outcome=make_call(woken)).state == "done"
    first, second = asked(sandbox, road.kind)
    assert first["idempotency_key"] == second["idempotency_key"] == row.public_id
    assert sandbox.operations() == road.after
    assert len(doubts.compensation_steps(row)) == 5


# Who may, and when.


def test_only_what_is_due_is_taken_and_whoever_takes_it_has_it_for_a_lease(
    attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    row = owed_row(attempt, "void")
    taken(row)
    assert _take(compensation_id=row.id) is NotTaken.NOT_DUE
    assert _take(compensation_id=attempt.id) is NotTaken.UNKNOWN


def test_tries_come_ever_more_rarely_up_to_an_hour(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    row = owed_row(attempt, "void")
    sandbox.behave("unavailable", operation="all")
    assert waits(row, lambda: give_back(row), times=12) == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]


def test_a_gateway_that_cannot_be_reached_is_tried_later(
    attempt: PaymentAttempt, sandbox: SandboxProcess, settings: Settings
) -> None:
    row = owed_row(attempt, "refund")
    reachable = settings.PAYMENT_GATEWAYS
    settings.PAYMENT_GATEWAYS = {"sandbox": {"url": "http://127.0.0.1:9", "api_key": "x"}}
    registry.close_gateways()
    assert waits(row, lambda: give_back(row), times=3) == [5, 10, 20]
    assert row.state == "owed"
    settings.PAYMENT_GATEWAYS = reachable
    registry.close_gateways()
    assert give_back(row) == "done"
    assert sandbox.operations() == GIVEN_BACK


def waits(row: Compensation, act: Callable[[], object], *, times: int) -> list[float]:
    """How long the compensation rests after each act, in seconds."""
    found = []
    for _ in range(times):
        act()
        row.refresh_from_db()
        recorded_at = row.gateway_calls.latest("started_at").finished_at
        assert row.due_at is not None
        assert recorded_at is not None
        found.append((row.due_at - recorded_at).total_seconds())
    return found
