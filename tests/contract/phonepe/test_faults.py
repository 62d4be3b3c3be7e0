"""The adapter against everything that goes wrong at PhonePe's face: never more is claimed than is proven."""

import time
from collections.abc import Callable, Iterator

import pytest

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Captured,
    Declined,
    InDoubt,
    NeverSent,
    NotFound,
    Outcome,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways.phonepe.adapter import PhonePeGateway
from tests.contract.phonepe.asking import AMOUNT_MINOR, ORDER, Asking, charge_request, question
from tests.contract.phonepe.bench import settings_for
from tests.contract.sandbox_server import SandboxProcess, free_port, wait_until

C = FailureCode
IMPATIENT_SECONDS = 0.7
PAID, REFUNDED = [("charge", AMOUNT_MINOR)], [("charge", AMOUNT_MINOR), ("refund", AMOUNT_MINOR)]

# What the caller sees, and whether there is an order afterwards.
FAULTS = {
    "hang_before": (C.GATEWAY_TIMEOUT, False),
    "hang_after": (C.GATEWAY_TIMEOUT, True),
    "slow_drip": (C.GATEWAY_TIMEOUT, True),
    "reset_before": (C.GATEWAY_ERROR, False),
    "reset_after": (C.GATEWAY_ERROR, True),
    "error_before": (C.GATEWAY_ERROR, False),
    "error_after": (C.GATEWAY_ERROR, True),
    "unavailable": (C.GATEWAY_ERROR, False),
    "garbage": (C.GATEWAY_ERROR, True),
}


@pytest.fixture
def impatient(phonepe: Asking) -> Asking:
    """One that has its token already, and little time."""
    assert phonepe.look_up() == NotFound()
    return Asking(phonepe.gateway, deadline_seconds=IMPATIENT_SECONDS)


@pytest.mark.parametrize(("behaviour", "code", "exists"), [(name, *rest) for name, rest in FAULTS.items()])
def test_a_lost_answer_is_a_doubt_and_only_the_status_tells(
    sandbox: SandboxProcess, impatient: Asking, behaviour: str, code: FailureCode, exists: bool
) -> None:
    sandbox.behave(behaviour, operation="charge", times=1)
    begun = impatient.charge()
    assert isinstance(begun, InDoubt)
    assert (begun.code, begun.reference) == (code, "")
    wait_until(lambda: sandbox.in_flight()["count"] == 0, what="nothing is on its way any more")
    seen = impatient.look_up()
    assert seen == (Pending(ORDER, None) if exists else NotFound())
    assert sandbox.operations() == []


def test_too_many_requests_did_nothing_and_the_same_may_be_sent_again(sandbox: SandboxProcess, phonepe: Asking) -> None:
    sandbox.behave("rate_limited", operation="charge", times=1)
    assert phonepe.charge() == NeverSent(C.RATE_LIMITED, "HTTP 429 RATE_LIMITED")
    assert isinstance(phonepe.charge(), Pending)


@pytest.mark.parametrize(("ending", "exists"), [(51, False), (52, True), (53, False), (54, True), (55, False)])
def test_the_amount_chooses_the_fault_too(
    sandbox: SandboxProcess, impatient: Asking, ending: int, exists: bool
) -> None:
    request = charge_request(amount_minor=1200 + ending)
    assert isinstance(impatient.charge(request), InDoubt)
    wait_until(lambda: sandbox.in_flight()["count"] == 0, what="nothing is on its way any more")
    seen: Outcome = impatient.look_up(question(amount_minor=1200 + ending))
    assert seen == (Pending(ORDER, None) if exists else NotFound())


@pytest.mark.parametrize("behaviour", [*FAULTS, "rate_limited"])
def test_a_question_without_an_answer_says_nothing(sandbox: SandboxProcess, impatient: Asking, behaviour: str) -> None:
    impatient.charge()
    sandbox.behave(behaviour, operation="lookup", times=1)
    seen = impatient.look_up()
    assert isinstance(seen, NeverSent if behaviour == "rate_limited" else InDoubt)


@pytest.mark.parametrize(("behaviour", "code", "executes"), [(name, *rest) for name, rest in FAULTS.items()])
def test_a_refund_whose_answer_is_lost_is_made_once(
    sandbox: SandboxProcess, impatient: Asking, behaviour: str, code: FailureCode, executes: bool
) -> None:
    impatient.pay(sandbox)
    sandbox.behave(behaviour, operation="refund", times=1)
    refunded = impatient.refund()
    assert isinstance(refunded, InDoubt)
    assert refunded.code == code
    wait_until(lambda: sandbox.in_flight()["count"] == 0, what="nothing is on its way any more")
    assert sandbox.operations() == (REFUNDED if executes else PAID)
    if behaviour != "error_before":  # The sandbox saves that one under its key.
        assert impatient.refund() == Undone(Undoing.REFUNDED, ORDER)
        assert sandbox.operations() == REFUNDED


def test_a_refund_that_the_bank_refuses_is_a_refusal(sandbox: SandboxProcess, phonepe: Asking) -> None:
    phonepe.pay(sandbox)
    sandbox.behave("declined", operation="refund", times=1)
    assert phonepe.refund() == Declined(C.ALREADY_DONE, "REFUND_NOT_ALLOWED", ORDER)
    assert sandbox.operations() == PAID
    assert phonepe.look_up() == Captured(ORDER)


@pytest.mark.parametrize("operation", ["charge", "refund", "lookup"])
def test_all_requests_of_one_call_share_its_time(sandbox: SandboxProcess, phonepe: Asking, operation: str) -> None:
    phonepe.pay(sandbox)
    sandbox.behave("hang_before", operation=operation)
    began = time.monotonic()
    asking = Asking(phonepe.gateway, deadline_seconds=IMPATIENT_SECONDS)
    asks: dict[str, Callable[[], Outcome]] = {
        "charge": asking.charge,
        "refund": asking.refund,
        "lookup": asking.look_up,
    }
    if operation == "charge":
        sandbox.reset()
        sandbox.behave("hang_before", operation=operation)
    assert isinstance(asks[operation](), InDoubt)
    assert time.monotonic() - began < IMPATIENT_SECONDS + 1


@pytest.mark.parametrize("deadline_seconds", [0.0, -1.0])
def test_without_time_nothing_is_sent(sandbox: SandboxProcess, phonepe: Asking, deadline_seconds: float) -> None:
    late = Asking(phonepe.gateway, deadline_seconds=deadline_seconds)
    assert isinstance(late.charge(), NeverSent)
    phonepe.look_up()  # Now there is a token.
    requests = len(sandbox.ledger()["requests"])
    assert isinstance(late.charge(), NeverSent)
    assert isinstance(late.refund(), NeverSent)
    assert len(sandbox.ledger()["requests"]) == requests


def test_a_gateway_that_is_not_there_was_sent_nothing() -> None:
    nowhere = PhonePeGateway.from_settings(settings_for(f"http://127.0.0.1:{free_port()}"), connect_seconds=1)
    asking = Asking(nowhere)
    for outcome in (asking.charge(), asking.void(), asking.refund(), asking.look_up()):
        assert isinstance(outcome, NeverSent)
        assert outcome.code == C.GATEWAY_UNREACHABLE
    nowhere.close()


def test_wrong_credentials_are_told_as_what_they_are(sandbox: SandboxProcess) -> None:
    wrong = PhonePeGateway.from_settings(settings_for(sandbox.url, client_secret="other"), connect_seconds=1)
    asking = Asking(wrong)
    refused = Declined(C.CONFIGURATION, "token_refused", None)
    assert (asking.charge(), isinstance(asking.look_up(), InDoubt)) == (refused, True)
    assert isinstance(asking.refund(), InDoubt)
    assert sandbox.ledger()["requests"] == []
    wrong.close()


@pytest.fixture
def restarted(sandbox: SandboxProcess, phonepe: Asking) -> Iterator[Asking]:
    """One whose token is of before the gateway's restart."""
    phonepe.pay(sandbox)
    sandbox.kill()
    sandbox.start()
    yield phonepe
    sandbox.reset()


def test_a_token_of_before_a_restart_is_renewed_and_nothing_is_done_twice(
    sandbox: SandboxProcess, restarted: Asking
) -> None:
    assert restarted.look_up() == Captured(ORDER)
    assert restarted.refund() == Undone(Undoing.REFUNDED, ORDER)
    assert sandbox.operations() == REFUNDED
