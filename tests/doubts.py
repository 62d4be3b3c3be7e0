"""Doubts for tests: how they come due without waiting, and what the gateway's books say of them."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pgtrigger
from django.contrib.auth.models import User
from django.db.models import F

from payments import clocks, lifecycle
from payments.domain.compensations import CompensationState
from payments.domain.outcomes import Operation
from payments.domain.states import AttemptState
from payments.lifecycle.calls import Call, charge_request
from payments.lifecycle.compensate import NotTaken
from payments.lifecycle.resolve import NotResolved
from payments.models import Compensation, CompensationEntry, GatewayCall, PaymentAttempt, StockItem
from tests import factories
from tests.contract.sandbox_server import SandboxProcess

# Money that moved, as the sandbox's ledger has it for an order of 12.50.
HELD = [("authorize", 1250)]
PAID = [*HELD, ("capture", 1250)]
LET_GO = [*HELD, ("void", 1250)]
GIVEN_BACK = [*PAID, ("refund", 1250)]


def confirming(*, customer: User, item: StockItem, hours_ago: float = 0.0) -> PaymentAttempt:
    """A payment that waits on the hosted page; its only call was made so long ago."""
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_hosted")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "confirming"
    age_calls(attempt, hours=hours_ago)
    attempt.refresh_from_db()
    return attempt


def make_due(attempt: PaymentAttempt) -> None:
    """Let the time pass that an attempt waits for: its next question, or the end of its claim's lease."""
    PaymentAttempt.objects.filter(id=attempt.id, due_at__isnull=False).update(due_at=F("opened_at"))


def resolve(attempt: PaymentAttempt) -> AttemptState | NotResolved:
    make_due(attempt)
    return lifecycle.resolve_attempt(attempt_id=attempt.id)


def claim(attempt: PaymentAttempt) -> Call:
    call = lifecycle.claim_attempt(attempt_id=attempt.id)
    assert isinstance(call, Call)
    return call


def call_of(attempt: PaymentAttempt) -> Call:
    """The first call of an attempt, as a worker would hold it that never recorded its end."""
    row = GatewayCall.objects.filter(attempt=attempt).order_by("started_at", "id")[0]
    now = clocks.boottime_seconds()
    return Call(
        id=row.id,
        attempt_id=attempt.id,
        compensation_id=None,
        payment_id=attempt.public_id,
        correlation_id="",
        gateway=attempt.gateway,
        operation=Operation(row.operation),
        request=charge_request(attempt),
        actor="worker",
        fence=row.fence,
        checked_at_boottime=now,
        ends_at_boottime=now + 30,
    )


def age_doubt(attempt: PaymentAttempt, *, hours: float) -> None:
    """Let a doubt be older than it is, with every call that was made in it."""
    earlier = timedelta(hours=hours)
    PaymentAttempt.objects.filter(id=attempt.id).update(unresolved_since=F("unresolved_since") - earlier)
    age_calls(attempt, hours=hours)


def age_calls(attempt: PaymentAttempt, *, hours: float) -> None:
    earlier = timedelta(hours=hours)
    with pgtrigger.ignore("payments.GatewayCall:gateway_call_facts"):
        calls = GatewayCall.objects.filter(attempt=attempt)
        calls.update(started_at=F("started_at") - earlier, finished_at=F("finished_at") - earlier)


def the_compensation(attempt: PaymentAttempt) -> Compensation:
    return Compensation.objects.get(attempt=attempt)


def give_back(row: Compensation) -> CompensationState | NotTaken:
    """Run a compensation as soon as it is due."""
    Compensation.objects.filter(id=row.id, due_at__isnull=False).update(due_at=F("created_at"))
    return lifecycle.compensate(compensation_id=row.id)


def give_everything_back() -> None:
    """Run every compensation that is owed, the ones that follow from it too."""
    for _ in range(3):
        for row in Compensation.objects.filter(due_at__isnull=False):
            give_back(row)


def age_compensation(row: Compensation, *, hours: float) -> None:
    """Let a compensation be owed for longer than it is, with every call that was made for it."""
    earlier = timedelta(hours=hours)
    with pgtrigger.ignore("payments.Compensation:compensation_facts"):
        Compensation.objects.filter(id=row.id).update(created_at=F("created_at") - earlier)
    with pgtrigger.ignore("payments.CompensationEntry:compensation_history_append_only"):
        CompensationEntry.objects.filter(compensation=row).update(at=F("at") - earlier)
    with pgtrigger.ignore("payments.GatewayCall:gateway_call_facts"):
        calls = GatewayCall.objects.filter(compensation=row)
        calls.update(started_at=F("started_at") - earlier, finished_at=F("finished_at") - earlier)


def compensation_steps(row: Compensation) -> list[tuple[str, str, str]]:
    """(to, actor, reason) of a compensation's history; the numbers have no gap and each step starts where one ended."""
    rows = list(row.history.order_by("number"))
    assert [entry.number for entry in rows] == list(range(1, len(rows) + 1))
    assert [entry.from_state for entry in rows] == ["", *(entry.to_state for entry in rows[:-1])]
    row.refresh_from_db()
    assert (rows[-1].to_state, rows[-1].number) == (row.state, row.version)
    return [(entry.to_state, entry.actor.partition(":")[0], entry.reason) for entry in rows]


def asked(sandbox: SandboxProcess, *operations: str) -> list[dict[str, Any]]:
    """The requests for `operations` that arrived at the gateway, oldest first."""
    return [row for row in sandbox.ledger()["requests"] if row["operation"] in operations]


def operations_asked(sandbox: SandboxProcess) -> list[str]:
    return [row["operation"] for row in sandbox.ledger()["requests"]]


def close_window(attempt_id: UUID, *, seconds_ago: float) -> None:
    factories.age_attempt(attempt_id, seconds_left=-seconds_ago)


def put_under_review(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    """Ask about a doubt for a day, in vain."""
    sandbox.behave("unavailable", operation="all")
    age_doubt(attempt, hours=25)
    assert resolve(attempt) == "needs_review"
    sandbox.behave_normally()
