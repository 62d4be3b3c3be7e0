"""What is proven when a call to Square goes wrong, and what is not."""

import time

import pytest

from payments.domain.failures import FailureCode
from payments.domain.outcomes import Authorized, Captured, Declined, InDoubt, NeverSent, NotFound, Undoing, Undone
from payments.gateways.square.adapter import SquareGateway
from tests.contract.sandbox_server import SandboxProcess, free_port
from tests.contract.square.asking import AMOUNT_MINOR, PATIENT_SECONDS, Asking, charge_request
from tests.contract.square.bench import make

AFTER = ["hang_after", "reset_after", "error_after", "garbage"]
BEFORE = ["hang_before", "reset_before", "error_before", "unavailable"]
SHORT_SECONDS = 0.5


@pytest.mark.parametrize("behaviour", AFTER)
def test_an_answer_lost_after_the_charge_is_a_doubt_that_asking_resolves(
    sandbox: SandboxProcess, square: Asking, behaviour: str
) -> None:
    unsure = square.authorize(f"tok_{behaviour}", deadline_seconds=SHORT_SECONDS)
    assert isinstance(unsure, InDoubt)
    assert isinstance(square.look_up(), Authorized)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR)]


@pytest.mark.parametrize("behaviour", BEFORE)
def test_an_answer_lost_before_the_charge_is_a_doubt_too(
    sandbox: SandboxProcess, square: Asking, behaviour: str
) -> None:
    assert isinstance(square.charge(f"tok_{behaviour}", deadline_seconds=SHORT_SECONDS), InDoubt)
    assert square.look_up() == NotFound()
    assert sandbox.operations() == []


def test_a_deadline_is_for_the_whole_answer(square: Asking) -> None:
    began = time.monotonic()
    unsure = square.charge("tok_slow_drip", deadline_seconds=1.0)
    assert isinstance(unsure, InDoubt)
    assert unsure.code is FailureCode.GATEWAY_TIMEOUT
    assert time.monotonic() - began < 3


def test_nothing_is_sent_where_nobody_listens() -> None:
    gateway = make(f"http://127.0.0.1:{free_port()}")
    never = gateway.charge(charge_request(), deadline_seconds=PATIENT_SECONDS)
    assert isinstance(never, NeverSent)
    assert never.code is FailureCode.GATEWAY_UNREACHABLE
    gateway.close()


def test_nothing_is_sent_when_no_time_is_left(sandbox: SandboxProcess, square: Asking) -> None:
    assert isinstance(square.charge(deadline_seconds=0), NeverSent)
    assert sandbox.ledger()["requests"] == []


def test_a_request_in_flight_under_the_same_key_is_a_doubt(sandbox: SandboxProcess, square: Asking) -> None:
    first = make(sandbox.url)
    assert isinstance(first.charge(charge_request("tok_hang_before"), deadline_seconds=SHORT_SECONDS), InDoubt)
    first.close()
    sandbox.behave("slow:2", operation="charge")
    assert isinstance(square.charge("tok_ok", deadline_seconds=SHORT_SECONDS), InDoubt)
    unsure = square.charge("tok_ok")
    assert isinstance(unsure, InDoubt)
    assert unsure.code is FailureCode.KEY_IN_FLIGHT


@pytest.mark.parametrize("behaviour", ["reset_after", "error_after", "garbage"])
def test_a_capture_whose_answer_was_lost_is_seen_when_asked(
    sandbox: SandboxProcess, square: Asking, behaviour: str
) -> None:
    held = square.authorize()
    assert isinstance(held, Authorized)
    sandbox.behave(behaviour, operation="capture", times=1)
    assert isinstance(square.capture(held.reference), InDoubt)
    assert square.look_up(held.reference) == Captured(reference=held.reference)
    assert square.capture(held.reference) == Captured(reference=held.reference)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR), ("capture", AMOUNT_MINOR)]


def test_a_declined_capture_leaves_the_hold(sandbox: SandboxProcess, square: Asking) -> None:
    held = square.authorize()
    assert isinstance(held, Authorized)
    sandbox.behave("declined", operation="capture", times=1)
    refused = square.capture(held.reference)
    assert refused == Declined(code=FailureCode.DECLINED, gateway_code="GENERIC_DECLINE", reference=held.reference)
    assert square.look_up(held.reference) == held


def test_a_refund_is_no_success_before_its_completion_was_seen(sandbox: SandboxProcess, square: Asking) -> None:
    taken = square.charge()
    assert isinstance(taken, Captured)
    sandbox.behave("unavailable", operation="lookup", times=1)
    assert isinstance(square.refund(taken.reference), InDoubt)
    assert square.look_up(taken.reference) == Undone(how=Undoing.REFUNDED, reference=taken.reference)
    assert sandbox.operations() == [("charge", AMOUNT_MINOR), ("refund", AMOUNT_MINOR)]


@pytest.mark.parametrize("act", ["refund", "capture"])
def test_a_question_that_was_not_let_in_does_not_make_an_act_unsent(
    sandbox: SandboxProcess, square: Asking, act: str
) -> None:
    taken = square.charge()
    assert isinstance(taken, Captured)
    sandbox.behave("rate_limited", operation="lookup")
    unsure = square.refund(taken.reference) if act == "refund" else square.capture(taken.reference)
    assert isinstance(unsure, InDoubt)
    assert unsure.code is FailureCode.RATE_LIMITED


def test_a_wrong_token_is_a_matter_of_configuration(sandbox: SandboxProcess, square: Asking) -> None:
    settings = {"url": f"{sandbox.url}/square", "access_token": "wrong", "location_id": "LSANDBOX"}
    gateway = SquareGateway.from_settings(settings, connect_seconds=20)
    refused = gateway.charge(charge_request(), deadline_seconds=PATIENT_SECONDS)
    assert refused == Declined(code=FailureCode.CONFIGURATION, gateway_code="UNAUTHORIZED", reference=None)
    unsure = gateway.look_up(square.question(), deadline_seconds=PATIENT_SECONDS)
    assert isinstance(unsure, InDoubt)
    assert unsure.code is FailureCode.CONFIGURATION
    gateway.close()
