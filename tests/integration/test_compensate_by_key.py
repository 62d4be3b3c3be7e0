"""A late call without an answer, under an attempt that has ended: whatever its key did is undone, or it never will."""

import pytest
from django.contrib.auth.models import User

from payments import lifecycle
from payments.domain.failures import FailureCode
from payments.domain.outcomes import InDoubt, Undoing, Undone
from payments.lifecycle.calls import Call, make_call
from payments.lifecycle.resolve import take_for_asking
from payments.models import Compensation, PaymentAttempt, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import LET_GO, asked, claim, close_window, give_back, operations_asked

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.submit(factories.place_order(customer=customer, item=item))


def owed_by_key(attempt: PaymentAttempt, *, is_made: bool) -> Compensation:
    """Expire the attempt while its charge is on its way, and then lose that charge's answer."""
    call = claim(attempt)
    close_window(attempt.id, seconds_ago=1)
    doubts.make_due(attempt)
    taken = take_for_asking(attempt_id=attempt.id)
    assert isinstance(taken, Call)
    assert lifecycle.record_outcome(call=taken, outcome=Undone(Undoing.BARRED, None)).state == "expired"
    if is_made:
        make_call(call)
    lifecycle.record_outcome(call=call, outcome=InDoubt(FailureCode.GATEWAY_TIMEOUT, ""))
    row = doubts.the_compensation(attempt)
    assert (row.kind, row.reason, row.charge_reference) == ("void", "doubt_after_the_end", "")
    assert row.charge_key == attempt.public_id
    return row


def test_a_key_that_did_nothing_is_barred(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    row = owed_by_key(attempt, is_made=False)
    assert give_back(row) == "done"
    assert doubts.compensation_steps(row)[-1] == ("done", "compensator", "barred")
    assert operations_asked(sandbox) == ["cancel"]
    assert sandbox.operations() == []


def test_what_a_key_did_is_undone(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    row = owed_by_key(attempt, is_made=True)
    assert give_back(row) == "done"
    assert doubts.compensation_steps(row)[-1] == ("done", "compensator", "voided")
    assert sandbox.operations() == LET_GO


def test_a_cancel_without_an_answer_is_found_to_be_done(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    row = owed_by_key(attempt, is_made=True)
    sandbox.behave("reset_after", operation="cancel", times=1)
    assert [give_back(row) for _ in range(2)] == ["in_doubt", "done"]
    assert operations_asked(sandbox) == ["authorize", "cancel", "lookup"]
    assert sandbox.operations() == LET_GO


def test_a_charge_that_is_found_instead_gets_a_void_of_its_own(
    attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    row = owed_by_key(attempt, is_made=True)
    sandbox.behave("reset_before", operation="cancel", times=1)
    assert [give_back(row) for _ in range(2)] == ["in_doubt", "done"]
    assert doubts.compensation_steps(row)[-1] == ("done", "compensator", "found_by_its_key")
    void = Compensation.objects.exclude(id=row.id).get()
    assert (void.kind, void.state) == ("void", "owed")
    assert give_back(void) == "done"
    assert sandbox.operations() == LET_GO


def test_nothing_found_is_believed_when_nothing_can_be_on_its_way_any_more(
    attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    """Three negatives, all of them later than the three hours in which a request may still be executed."""
    row = owed_by_key(attempt, is_made=False)
    sandbox.behave("reset_before", operation="cancel", times=1)
    assert [give_back(row) for _ in range(4)] == ["in_doubt"] * 4  # Early negatives prove nothing, however many.
    doubts.age_compensation(row, hours=3.1)
    assert [give_back(row) for _ in range(3)] == ["in_doubt", "in_doubt", "done"]
    assert doubts.compensation_steps(row)[-1] == ("done", "compensator", "nothing_found")
    assert len(asked(sandbox, "lookup")) == 6
