"""A worker that wakes up after its lease: it begins and moves nothing, but money that it took is not lost."""

from dataclasses import replace

import pytest
from django.contrib.auth.models import User

from payments import clocks, lifecycle
from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
    Captured,
    Declined,
    InDoubt,
    NeverSent,
    NotFound,
    Operation,
    Outcome,
    Pending,
    Undoing,
    Undone,
)
from payments.lifecycle.calls import Call, make_call
from payments.lifecycle.resolve import take_for_asking
from payments.models import GatewayCall, Order, PaymentAttempt, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import GIVEN_BACK, HELD, LET_GO, PAID, asked, claim, close_window, resolve

pytestmark = pytest.mark.django_db(transaction=True)

F = FailureCode
SILENCE = InDoubt(F.GATEWAY_TIMEOUT, "")


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.submit(factories.place_order(customer=customer, item=item))


def woken(call: Call) -> Call:
    """The call of a worker that was stopped between its look at the clock and the sending: it does not know."""
    now = clocks.boottime_seconds()
    return replace(call, checked_at_boottime=now, ends_at_boottime=now + 30)


def overtaken(attempt: PaymentAttempt, *, by: Outcome, seconds_ago: float = -600) -> Call:
    """Claim, let the lease lapse, and have the resolver record `by`; returns the call of the claim."""
    call = claim(attempt)
    close_window(attempt.id, seconds_ago=seconds_ago)
    doubts.make_due(attempt)
    taken = take_for_asking(attempt_id=attempt.id)
    assert isinstance(taken, Call)
    assert (call.fence, taken.fence) == (1, 2)
    lifecycle.record_outcome(call=taken, outcome=by)
    return call


def owed(attempt: PaymentAttempt) -> list[tuple[str, str, str]]:
    return list(attempt.compensations.values_list("kind", "reason", "charge_reference"))


# What the resolver saw, and then what the old claim brings: the state that follows, and what goes back.
WAKES: tuple[tuple[Outcome, Outcome, str, list[tuple[str, str, str]]], ...] = (
    # Nobody knows yet: only taken money moves it.
    (SILENCE, Captured("ch_1"), "succeeded", []),
    (SILENCE, Authorized("ch_1"), "in_doubt", []),
    (SILENCE, Pending("ch_1", None), "in_doubt", []),
    (SILENCE, Declined(F.BLOCKED, "x", "ch_1"), "in_doubt", []),
    (SILENCE, NeverSent(F.RATE_LIMITED, ""), "in_doubt", []),
    (SILENCE, SILENCE, "in_doubt", []),
    (SILENCE, Undone(Undoing.BARRED, None), "in_doubt", []),
    # The resolver found it waiting for its confirmation.
    (Pending("ch_1", None), Captured("ch_1"), "succeeded", []),
    (Pending("ch_1", None), Authorized("ch_1"), "confirming", []),
    (Pending("ch_1", None), Declined(F.BLOCKED, "x", "ch_1"), "confirming", []),
    (Pending("ch_1", None), NeverSent(F.RATE_LIMITED, ""), "confirming", []),
    (Pending("ch_1", None), SILENCE, "confirming", []),
    # The resolver found it paid.
    (Captured("ch_1"), Captured("ch_1"), "succeeded", []),
    (Captured("ch_1"), Captured("ch_2"), "succeeded", [("refund", "second_success", "ch_2")]),
    (Captured("ch_1"), Authorized("ch_1"), "succeeded", []),
    (Captured("ch_1"), Authorized("ch_2"), "succeeded", [("void", "second_charge", "ch_2")]),
    (Captured("ch_1"), Pending("ch_2", None), "succeeded", [("void", "second_charge", "ch_2")]),
    (Captured("ch_1"), Declined(F.BLOCKED, "x", "ch_1"), "succeeded", []),
    (Captured("ch_1"), NeverSent(F.RATE_LIMITED, ""), "succeeded", []),
    (Captured("ch_1"), SILENCE, "succeeded", []),
    # The resolver found it declined.
    (Declined(F.BLOCKED, "x", "ch_1"), Captured("ch_2"), "failed", [("refund", "too_late", "ch_2")]),
    (Declined(F.BLOCKED, "x", "ch_1"), Authorized("ch_2"), "failed", [("void", "too_late", "ch_2")]),
    (Declined(F.BLOCKED, "x", "ch_1"), Pending("ch_2", None), "failed", [("void", "too_late", "ch_2")]),
    (Declined(F.BLOCKED, "x", "ch_1"), NeverSent(F.RATE_LIMITED, ""), "failed", []),
    (Declined(F.BLOCKED, "x", "ch_1"), SILENCE, "failed", [("void", "doubt_after_the_end", "ch_1")]),
    (Undone(Undoing.BARRED, None), SILENCE, "failed", [("void", "doubt_after_the_end", "")]),
    (Undone(Undoing.BARRED, None), Undone(Undoing.BARRED, None), "failed", []),
)


@pytest.mark.django_db
def test_an_old_claim_moves_nothing_but_what_its_money_moves(item: StockItem) -> None:
    for number, (seen, brought, state, goes_back) in enumerate(WAKES):
        attempt = factories.submit(factories.place_order(customer=factories.make_user(), item=item))
        call = overtaken(attempt, by=own(seen, number))
        attempt.refresh_from_db()
        due_at, fence = attempt.due_at, attempt.fence
        case = (seen, brought)
        for _ in range(2):  # Recording it twice changes nothing more.
            recorded = lifecycle.record_outcome(call=call, outcome=own(brought, number))
            assert (recorded.state, recorded.following) == (state, None), case
        assert owed(attempt) == [(*what, reference and f"{reference}_{number}") for *what, reference in goes_back], case
        attempt.refresh_from_db()
        assert attempt.fence == fence, case
        assert attempt.due_at == (None if state in {"succeeded", "failed"} else due_at), case
        stored = GatewayCall.objects.get(id=call.id)
        assert stored.finished_at is not None, case
        assert stored.outcome == type_name(brought), case
        assert factories.steps(attempt)[3] == ("in_doubt", "resolver", "worker_lost"), case


def own(outcome: Outcome, number: int) -> Outcome:
    """Give the charge an id of this case: at a gateway no two have the same."""
    match outcome:
        case Captured(reference=str(id_)) | Authorized(reference=str(id_)) | Pending(reference=str(id_)):
            return replace(outcome, reference=f"{id_}_{number}")
        case Declined(reference=str(id_)) | Undone(reference=str(id_)):
            return replace(outcome, reference=f"{id_}_{number}")
        case _:
            return outcome


def type_name(outcome: Outcome) -> str:
    return {"InDoubt": "in_doubt", "NeverSent": "never_sent"}.get(
        type(outcome).__name__, type(outcome).__name__.lower()
    )


@pytest.mark.parametrize(
    ("brought", "goes_back"),
    [
        (Captured("ch_1"), [("refund", "order_closed", "ch_1")]),
        (Authorized("ch_1"), [("void", "too_late", "ch_1")]),
        (Pending("ch_1", None), [("void", "too_late", "ch_1")]),
        (SILENCE, [("void", "doubt_after_the_end", "")]),
        (Declined(F.BLOCKED, "x", "ch_1"), []),
        (NeverSent(F.STALE_CHECK, ""), []),
    ],
)
def test_what_an_old_claim_brings_after_the_expiry_goes_back(
    attempt: PaymentAttempt, item: StockItem, brought: Outcome, goes_back: list[tuple[str, str, str]]
) -> None:
    call = overtaken(attempt, by=Undone(Undoing.BARRED, None), seconds_ago=1)
    assert lifecycle.record_outcome(call=call, outcome=brought).state == "expired"
    assert owed(attempt) == goes_back
    assert Order.objects.get().status == "cancelled"
    assert factories.stock_of(item) == (100, 0, 0)


def test_an_old_look_up_begins_nothing(attempt: PaymentAttempt) -> None:
    """Neither a repeat nor a cancel nor a capture: the latest claim does that."""
    overtaken(attempt, by=SILENCE)
    doubts.make_due(attempt)
    old = take_for_asking(attempt_id=attempt.id)
    doubts.make_due(attempt)
    latest = take_for_asking(attempt_id=attempt.id)
    assert isinstance(old, Call)
    assert isinstance(latest, Call)
    for outcome in (NotFound(), Authorized("ch_1"), Pending("ch_1", None), SILENCE):
        assert lifecycle.record_outcome(call=old, outcome=outcome).following is None
    following = lifecycle.record_outcome(call=latest, outcome=NotFound()).following
    assert following is not None
    assert (following.operation, following.fence) == (Operation.AUTHORIZE, latest.fence)


# The same with a real gateway: the old call is really made.


def test_an_old_charge_that_arrives_after_its_repeat_charges_nothing(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    call = claim(attempt)
    assert resolve(attempt) == "succeeded"
    assert lifecycle.record_outcome(call=call, outcome=make_call(woken(call))).state == "succeeded"
    first, second = asked(sandbox, "authorize")
    assert (first["body_hash"], first["idempotency_key"]) == (second["body_hash"], second["idempotency_key"])
    assert second["ended"] == "replayed"
    assert sandbox.operations() == PAID
    assert owed(attempt) == []
    assert factories.stock_of(item) == (99, 0, 1)


def test_an_old_charge_that_arrives_after_the_expiry_meets_a_barred_key(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    call = claim(attempt)
    close_window(attempt.id, seconds_ago=1)
    assert resolve(attempt) == "expired"
    outcome = make_call(woken(call))
    assert outcome == Undone(Undoing.BARRED, None)
    assert lifecycle.record_outcome(call=call, outcome=outcome).state == "expired"
    assert sandbox.operations() == []
    assert owed(attempt) == []
    assert factories.stock_of(item) == (100, 0, 0)


def test_an_old_capture_that_arrives_after_the_void_takes_nothing(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    call = claim(attempt)
    capture = lifecycle.record_outcome(call=call, outcome=make_call(call)).following
    assert capture is not None
    close_window(attempt.id, seconds_ago=31)
    assert resolve(attempt) == "expired"
    doubts.give_everything_back()
    assert lifecycle.record_outcome(call=capture, outcome=make_call(woken(capture))).state == "expired"
    doubts.give_everything_back()
    assert sandbox.operations() == LET_GO
    assert owed(attempt) == [("void", "too_late", capture_reference(capture))]


def test_an_old_capture_that_arrives_before_the_void_is_refunded_once(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    call = claim(attempt)
    capture = lifecycle.record_outcome(call=call, outcome=make_call(call)).following
    assert capture is not None
    close_window(attempt.id, seconds_ago=31)
    assert resolve(attempt) == "expired"
    assert sandbox.operations() == HELD
    assert lifecycle.record_outcome(call=capture, outcome=make_call(woken(capture))).state == "expired"
    doubts.give_everything_back()
    assert sandbox.operations() == GIVEN_BACK
    assert sorted(owed(attempt)) == [
        ("refund", "order_closed", capture_reference(capture)),
        ("void", "too_late", capture_reference(capture)),
    ]
    assert set(attempt.compensations.values_list("state", flat=True)) == {"done"}
    assert factories.stock_of(item) == (100, 0, 0)


def capture_reference(capture: Call) -> str:
    return GatewayCall.objects.filter(attempt_id=capture.attempt_id, operation="authorize").get().reference


def test_a_worker_that_slept_over_its_clock_sends_nothing(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    call = claim(attempt)
    close_window(attempt.id, seconds_ago=1)
    assert resolve(attempt) == "expired"
    slept = replace(call, checked_at_boottime=call.checked_at_boottime - 60)
    assert lifecycle.record_outcome(call=call, outcome=make_call(slept)).state == "expired"
    assert asked(sandbox, "authorize", "charge") == []
