"""While the clocks contradict each other nothing is charged and nothing expires; it ends by evidence.

No clock of the database can be set here, so a test moves what the database's clock had said at the opening: the effect
on every age is the same. Clocks of real processes are shifted in tests/jumps.
"""

from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any

import pgtrigger
import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import audit, clockevents, config, lifecycle, queries
from payments.domain.errors import PaymentExpired
from payments.domain.outcomes import Authorized
from payments.lifecycle.calls import make_call
from payments.lifecycle.charge import run_calls
from payments.lifecycle.claim import NotClaimed
from payments.lifecycle.record import record_outcome
from payments.models import ClockEvent, Compensation, Duty, GatewayCall, Order, PaymentAttempt, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.factories import steps

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


def step_database(*attempts: PaymentAttempt, by: timedelta) -> None:
    """Let it be as if the database's clock had stepped since these were opened, forward if positive."""
    with pgtrigger.ignore("payments.PaymentAttempt:attempt_facts"):
        for attempt in attempts:
            attempt.refresh_from_db()
            opened_at = attempt.opened_at - by
            PaymentAttempt.objects.filter(id=attempt.id).update(
                opened_at=opened_at,
                expires_at=attempt.expires_at - by,
                opened_stamp={**attempt.opened_stamp, "database": opened_at.isoformat()},
            )
            Order.objects.filter(id=attempt.order_id).update(payment_expires_at=attempt.expires_at - by)


def open_elsewhere(attempt: PaymentAttempt) -> None:
    """Let it be as if another boot had opened this, which nobody here has watched."""
    with pgtrigger.ignore("payments.PaymentAttempt:attempt_facts"):
        stamp = {**attempt.opened_stamp, "domain": "boot:another"}
        PaymentAttempt.objects.filter(id=attempt.id).update(opened_stamp=stamp)


def kinds() -> list[str]:
    assert clockevents.flush()
    return sorted(ClockEvent.objects.values_list("kind", flat=True))


@pytest.fixture
def queued(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.submit(factories.place_order(customer=customer, item=item))


def test_a_charge_is_held_while_the_database_is_ahead_and_goes_on_when_it_comes_back(
    queued: PaymentAttempt, sandbox: SandboxProcess, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    step_database(queued, by=HOUR)
    for _ in range(3):
        assert lifecycle.charge_attempt(attempt_id=queued.id) is NotClaimed.HELD
    queued.refresh_from_db()
    assert (queued.state, queued.fence) == ("queued", 0)
    assert queued.held_since is not None
    assert queued.due_at == pytest.approx(
        queries.attempt_for(attempt_id=queued.id, customer_id=None).server_now, abs=timedelta(seconds=3)
    )
    assert steps(queued)[2:] == [("queued", "worker", "held")]  # One line, however often it is judged.
    assert sandbox.operations(reference=queued.public_id) == []
    assert kinds().count("no_quorum") == 1
    assert kinds().count("db_step_forward") == 1
    assert {event["event"] for event in captured_logs} >= {"charge_held", "clock_event"}
    [verdict] = audit.verify_histories(chain=audit.ATTEMPTS, owner_id=queued.id)
    assert verdict.broken is None
    step_database(queued, by=-HOUR)
    assert lifecycle.charge_attempt(attempt_id=queued.id) == "succeeded"
    queued.refresh_from_db()
    assert queued.held_since is None


def test_a_charge_is_not_made_while_the_database_says_that_it_was_not_opened_yet(
    queued: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    step_database(queued, by=-HOUR)
    assert lifecycle.charge_attempt(attempt_id=queued.id) is NotClaimed.HELD
    assert "db_step_back" in kinds()


def test_the_boot_clock_expires_what_a_database_that_was_set_back_would_charge(
    queued: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    factories.age_attempt(queued.id, seconds_left=-1)
    step_database(queued, by=-HOUR)
    assert lifecycle.charge_attempt(attempt_id=queued.id) is NotClaimed.EXPIRED
    queued.refresh_from_db()
    assert queued.state == "expired"
    evidence = queries.history_of(attempt_id=queued.id)[-1].evidence["clocks"]
    assert evidence["why"] == "the boot clock proves that the window is over"
    assert evidence["at_least"] > evidence["window"] > evidence["ages"]["database"][1]


@pytest.mark.parametrize("seconds", [2, -2, 60, -9])
def test_a_small_step_is_recorded_and_holds_nobody_up(
    queued: PaymentAttempt, sandbox: SandboxProcess, seconds: int
) -> None:
    factories.age_attempt(queued.id, seconds_left=600)
    step_database(queued, by=timedelta(seconds=seconds))
    assert lifecycle.charge_attempt(attempt_id=queued.id) == "succeeded"
    assert kinds() == ["db_step_forward" if seconds > 0 else "db_step_back"]
    event = ClockEvent.objects.get()
    assert (event.attempt_id, round(event.seconds)) == (queued.id, seconds)
    assert steps(queued)[2:] == [("charging", "worker", "claimed"), ("succeeded", "worker", "captured")]
    claimed = queries.history_of(attempt_id=queued.id)[2].evidence["clocks"]
    assert claimed["ages"].keys() == {"database", "boot"}


def test_the_sweep_stands_still_and_says_so_and_goes_on(
    customer: User, item: StockItem, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    living, over = (factories.place_order(customer=customer, item=item) for _ in range(2))
    factories.age_attempt(over.id, seconds_left=-1)
    step_database(living, over, by=HOUR)
    run = lifecycle.sweep_expired()
    assert (run.expired_orders, run.held_orders) == (1, 1)
    assert run.held_why == "the clocks contradict each other"
    lifecycle.note_sweep(run)
    lifecycle.note_sweep(lifecycle.sweep_expired())
    duty = Duty.objects.get(name="sweep")
    assert duty.stands_still_since is not None
    assert duty.stands_still_why == "1 due orders are held: the clocks contradict each other"
    assert kinds() == ["no_quorum"]
    assert [e["event"] for e in captured_logs].count("sweep_stands_still") == 1
    view = queries.attempt_for(attempt_id=living.id, customer_id=customer.id)
    assert view.state == "open"  # And its customer is told nothing else.
    step_database(living, by=-HOUR)
    lifecycle.note_sweep(lifecycle.sweep_expired())
    assert Duty.objects.filter(name="sweep", stands_still_since=None, stands_still_why="").exists()
    assert "sweep_goes_on" in {event["event"] for event in captured_logs}
    assert [a.state for a in PaymentAttempt.objects.order_by("id")] == ["open", "expired"]


def test_held_attempts_do_not_stand_in_the_way_of_others(customer: User, item: StockItem, settings: Settings) -> None:
    settings.PAYMENT_SWEEP_BATCH_ROWS = 2
    held = [factories.place_order(customer=customer, item=item) for _ in range(5)]
    step_database(*held, by=HOUR)
    over = [factories.place_order(customer=customer, item=item) for _ in range(3)]
    for attempt in over:
        factories.age_attempt(attempt.id, seconds_left=-1)
    run = lifecycle.sweep_expired()
    assert (run.expired_orders, run.held_orders, run.is_finished) == (3, 5, True)


def test_an_order_whose_attempt_failed_is_judged_too(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    lifecycle.submit_attempt(attempt_id=attempt.id, customer_id=customer.id, payment_token="tok_declined")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "failed"
    step_database(attempt, by=HOUR)
    assert lifecycle.sweep_expired().held_orders == 1
    assert (Order.objects.get().status, factories.stock_of(item)) == ("under_paying", (100, 1, 0))
    step_database(attempt, by=-HOUR)
    assert lifecycle.sweep_expired().held_orders == 0


def test_a_database_that_was_set_back_does_not_keep_the_sweep_from_what_the_boot_clock_proves(
    customer: User, item: StockItem
) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    factories.age_attempt(attempt.id, seconds_left=-1)
    step_database(attempt, by=-timedelta(seconds=30))
    # Only a process that watched knows that the clock is behind; see tests/jumps.
    assert lifecycle.sweep_expired().expired_orders == 0
    with pytest.raises(PaymentExpired):
        factories.submit(attempt)
    attempt.refresh_from_db()
    assert attempt.state == "expired"


def test_what_cannot_be_told_is_accepted_and_judged_again_before_it_is_charged(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    step_database(attempt, by=HOUR)
    assert factories.submit(attempt).state == "queued"
    assert lifecycle.charge_attempt(attempt_id=attempt.id) is NotClaimed.HELD


def test_nobody_takes_or_lets_go_of_money_while_the_clocks_contradict_each_other(
    queued: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    call = doubts.claim(queued)
    held = make_call(call)
    assert isinstance(held, Authorized)
    step_database(queued, by=HOUR)
    recorded = record_outcome(call=call, outcome=held)
    assert (recorded.state, recorded.following) == ("in_doubt", None)
    queued.refresh_from_db()
    assert queued.doubt_code == "clocks_disagree"
    assert doubts.resolve(queued) == "in_doubt"  # The gateway says that it holds the money, and still nobody can tell.
    assert sandbox.operations(reference=queued.public_id) == [("authorize", 1250)]
    step_database(queued, by=-HOUR)
    assert doubts.resolve(queued) == "succeeded"
    assert sandbox.operations(reference=queued.public_id) == [("authorize", 1250), ("capture", 1250)]


def test_a_step_between_the_claim_and_its_last_look_takes_the_claim_back(
    queued: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    call = doubts.claim(queued)
    step_database(queued, by=-HOUR)
    # Under its lease the call is made, and judged again before the money is taken.
    assert run_calls(call) == "in_doubt"
    assert GatewayCall.objects.filter(operation="capture").count() == 0


def test_a_boot_that_nobody_knows_is_no_quorum_and_another_look_decides(
    queued: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    domain = queued.opened_stamp["domain"]
    open_elsewhere(queued)
    assert lifecycle.charge_attempt(attempt_id=queued.id) is NotClaimed.HELD
    assert kinds() == ["no_quorum"]
    assert ClockEvent.objects.get().evidence["ages"].keys() == {"database"}
    with pgtrigger.ignore("payments.PaymentAttempt:attempt_facts"):
        queued.refresh_from_db()
        PaymentAttempt.objects.filter(id=queued.id).update(opened_stamp={**queued.opened_stamp, "domain": domain})
    assert lifecycle.charge_attempt(attempt_id=queued.id) == "succeeded"


def test_an_attempt_without_a_stamp_is_held_and_not_lost(queued: PaymentAttempt, sandbox: SandboxProcess) -> None:
    with pgtrigger.ignore("payments.PaymentAttempt:attempt_facts"):
        PaymentAttempt.objects.filter(id=queued.id).update(opened_stamp={})
    assert lifecycle.charge_attempt(attempt_id=queued.id) is NotClaimed.HELD


def test_a_long_hold_calls_a_person(
    queued: PaymentAttempt, settings: Settings, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    settings.PAYMENT_CLOCK_HOLD_ALERT_SECONDS = 0
    step_database(queued, by=HOUR)
    lifecycle.charge_attempt(attempt_id=queued.id)
    [held] = [event for event in captured_logs if event["event"] == "charge_held"]
    assert (held["log_level"], held["ruling"]) == ("error", "hold")
    assert held["payment_id"] == queued.public_id


def test_due_times_of_a_clock_that_was_set_back_are_over(queued: PaymentAttempt, sandbox: SandboxProcess) -> None:
    limits = config.limits()
    call = doubts.claim(queued)
    queued.refresh_from_db()
    assert queued.due_at is not None
    PaymentAttempt.objects.filter(id=queued.id).update(due_at=queued.due_at + HOUR + limits.longest_unresolved)
    assert [job.task for job in lifecycle.publish_owed().jobs] == ["payments.resolve"]
    assert lifecycle.resolve_attempt(attempt_id=queued.id) == "succeeded"
    assert run_calls(call) == "succeeded"  # Its worker was alive, and is overtaken like any other.
    assert sandbox.operations(reference=queued.public_id) == [("authorize", 1250), ("capture", 1250)]


def test_money_is_given_back_although_a_clock_that_was_set_back_says_that_it_is_not_due_for_long(
    queued: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    sandbox.behave("reset_after", operation="capture", times=1)
    lifecycle.charge_attempt(attempt_id=queued.id)
    doubts.close_window(queued.id, seconds_ago=330)
    assert doubts.resolve(queued) == "expired"
    row = doubts.the_compensation(queued)
    ahead = row.created_at + HOUR + config.limits().longest_unresolved
    Compensation.objects.filter(id=row.id).update(due_at=ahead, published_at=ahead)
    assert [job.task for job in lifecycle.publish_owed().jobs] == ["payments.compensate"]
    assert lifecycle.publish_owed().jobs == []
    assert lifecycle.compensate(compensation_id=row.id) == "done"


def test_a_job_of_a_clock_that_was_set_back_is_published_again(queued: PaymentAttempt) -> None:
    stamp = queued.enqueued_stamp
    PaymentAttempt.objects.filter(id=queued.id).update(due_at=queued.expires_at + HOUR)
    assert [job.task for job in lifecycle.publish_owed().jobs] == ["payments.charge"]
    queued.refresh_from_db()
    assert queued.enqueued_stamp["boot"] > stamp["boot"]
    assert lifecycle.publish_owed().jobs == []


def test_a_wall_that_jumped_between_enqueue_and_execution_is_recorded_and_harmless(
    queued: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    stamp = {**queued.enqueued_stamp, "wall": queued.enqueued_stamp["wall"] - 7200}
    PaymentAttempt.objects.filter(id=queued.id).update(enqueued_stamp=stamp)
    assert lifecycle.charge_attempt(attempt_id=queued.id) == "succeeded"
    event = ClockEvent.objects.get(kind="enqueue_skew") if kinds() else None
    assert event is not None
    assert event.seconds == pytest.approx(7200, abs=1)
    assert event.attempt_id == queued.id
