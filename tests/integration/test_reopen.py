"""A charge that was given back, and that the gateway shows standing again: let go once more, or put before a person."""

import json
from dataclasses import replace

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import invariants, lifecycle
from payments.domain.outcomes import Authorized, Captured, Outcome, Several, Undoing, Undone
from payments.gateways import registry
from payments.gateways.sandbox.adapter import SandboxGateway
from payments.gateways.sandbox.webhooks import sign
from payments.lifecycle.compensate import NotTaken
from payments.lifecycle.hear import _begin_question
from payments.models import Announcement, Compensation, PaymentAttempt, StockItem, WebhookEvent
from tests import doubts, factories
from tests.contract.sandbox_server import API_KEY, SandboxProcess
from tests.doubts import GIVEN_BACK, LET_GO, asked, give_back
from tests.integration.test_compensate import owed_row

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def attempt(customer: User, item: StockItem, settings: Settings, broker_is_away: None) -> PaymentAttempt:
    settings.PAYMENT_GATEWAY_TOTAL_SECONDS = 1
    return factories.submit(factories.place_order(customer=customer, item=item))


def given_back(attempt: PaymentAttempt, kind: str) -> Compensation:
    row = owed_row(attempt, kind)
    assert give_back(row) == "done"
    row.refresh_from_db()
    return row


def seen(attempt: PaymentAttempt, outcome: Outcome) -> None:
    """Have a look-up that begins now bring `outcome`."""
    call = _begin_question(attempt_id=attempt.id, charge_reference="")
    assert call is not None
    lifecycle.record_outcome(call=call, outcome=outcome)


def state_of(row: Compensation) -> str:
    return Compensation.objects.get(id=row.id).state


def test_a_refund_that_failed_later_is_put_before_a_person_and_made_again_when_they_say_so(
    attempt: PaymentAttempt, sandbox: SandboxProcess, settings: Settings, staff: User
) -> None:
    settings.PAYMENT_GATEWAYS = {"sandbox": {"url": sandbox.url, "api_key": API_KEY, "webhook_secrets": "s"}}
    registry.close_gateways()
    row = given_back(attempt, "refund")
    charge = sandbox.settle(row.charge_reference, "fail_refund")
    body = json.dumps({"id": "evt_1", "type": "charge.refund_failed", "data": {"charge": charge}}).encode()
    now = int(row.created_at.timestamp())
    headers = {"sandbox-signature": sign(body, secrets=["s"], unix_seconds=now)}
    assert lifecycle.hear_event(gateway="sandbox", headers=headers, body=body)
    assert lifecycle.apply_event(event_id=WebhookEvent.objects.get().id) == "asked"
    assert doubts.compensation_steps(row)[-1] == ("needs_review", "gateway", "stands_again")
    assert Announcement.objects.filter(kind="needs_review").count() == 1
    assert list(invariants.broken()) == []
    assert give_back(row) == NotTaken.NOT_OPEN  # Nothing is sent twice by itself.
    why = "The bank has said so."
    lifecycle.decide_compensation(compensation_id=row.id, verdict="again", staff_id=staff.id, reason=why)
    assert give_back(row) == "done"
    assert sandbox.operations() == [*GIVEN_BACK, ("refund", 1250)]
    # Under the first key the gateway would have repeated its answer of then.
    assert [request["idempotency_key"] for request in asked(sandbox, "refund")] == [row.public_id, f"{row.public_id}-2"]


def test_what_was_let_go_and_is_held_again_is_let_go_once_more(
    attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    row = given_back(attempt, "void")
    seen(attempt, Authorized(row.charge_reference))
    assert state_of(row) == "owed"
    assert [give_back(row), give_back(row)] == [
        "in_doubt",
        "done",
    ]  # "Already done", says the gateway; then it is asked.
    assert [request["idempotency_key"] for request in asked(sandbox, "void")] == [row.public_id, f"{row.public_id}-2"]
    assert sandbox.operations() == LET_GO


@pytest.mark.parametrize("kind", ["void", "refund"])
def test_an_answer_that_agrees_reopens_nothing(attempt: PaymentAttempt, sandbox: SandboxProcess, kind: str) -> None:
    row = given_back(attempt, kind)
    how = Undoing.REFUNDED if kind == "refund" else Undoing.VOIDED
    seen(attempt, Undone(how=how, reference=row.charge_reference))
    seen(attempt, Captured(row.charge_reference, refunded_minor=row.amount_minor))
    assert state_of(row) == "done"


def test_what_was_seen_before_it_was_given_back_reopens_nothing(
    attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    row = owed_row(attempt, "refund")
    call = _begin_question(attempt_id=attempt.id, charge_reference="")
    assert call is not None
    assert give_back(row) == "done"
    lifecycle.record_outcome(call=call, outcome=Captured(row.charge_reference))
    assert state_of(row) == "done"


def test_one_of_several_charges_is_found_among_them(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    row = given_back(attempt, "refund")
    others = Undone(how=Undoing.VOIDED, reference="ch_other")
    seen(attempt, Several(charges=(others, Captured(row.charge_reference))))
    assert state_of(row) == "needs_review"


def test_where_a_void_is_not_final_it_is_looked_at_again_when_nothing_can_land_any_more(
    attempt: PaymentAttempt, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SandboxGateway, "capabilities", replace(SandboxGateway.capabilities, voids_are_final=False))
    sandbox.behave("reset_after", operation="authorize", times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    doubts.close_window(attempt.id, seconds_ago=330)
    assert doubts.resolve(attempt) == "expired"
    row = doubts.the_compensation(attempt)
    assert [give_back(row), give_back(row)] == ["in_doubt", "in_doubt"]
    assert sandbox.operations() == LET_GO
    doubts.age_calls(attempt, hours=30)
    assert give_back(row) == "done"
    assert sandbox.operations() == LET_GO
